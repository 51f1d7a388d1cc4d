//! A machine that is watched and controlled. Its measurements are the progress of a task, and
//! commands change what it does.
//!
//! Start a server, then this, then watch it and tell it what to do:
//!
//! ```sh
//! cargo run --release
//! cargo run --example host_monitor
//! tidings watch host
//! tidings command host set_interval seconds=0.5
//! tidings command host snapshot
//! tidings command host stop
//! ```
//!
//! `TIDINGS_URL` says where the server is, the first argument the task's id.

use std::error::Error;
use std::time::Duration;

use serde_json::{Value, json};
use sysinfo::{Disks, System};
use tidings::client::{Client, Command, Task};
use tidings::protocol::{Data, EventType, NewEvent};
use tokio::time::{Instant, interval_at};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("TIDINGS_URL").unwrap_or_else(|_| "http://127.0.0.1:8000".to_owned());
    let id = std::env::args().nth(1).unwrap_or_else(|| "host".to_owned());
    let client = Client::connect(url).await?;
    let name = System::host_name().unwrap_or_else(|| "A machine".to_owned());
    let task = client.task(id.as_str()).name(name).start().await?;
    println!("watching this machine as task {id}");

    let mut commands = task.commands();
    let mut machine = Machine::default();
    let mut pause = Duration::from_secs(2);
    let mut ticks = interval_at(Instant::now(), pause);
    loop {
        tokio::select! {
            _ = ticks.tick() => machine.tell(&task)?,
            command = commands.recv() => match command? {
                Some(command) if command.name() == "stop" => {
                    command.complete(None).await?;
                    break;
                }
                Some(command) => {
                    if let Some(changed) = obey(command, &mut machine) {
                        pause = changed;
                        ticks = interval_at(Instant::now() + pause, pause);
                    }
                }
                None => break,
            },
        }
    }
    task.complete(None).await?;
    client.close(Duration::from_secs(5)).await;
    Ok(())
}

/// Does what is asked, and answers; gives the new interval if that was asked for.
fn obey(mut command: Command, machine: &mut Machine) -> Option<Duration> {
    // The receipts are dropped: the answers are on their way, whatever breaks.
    match command.name() {
        "snapshot" => {
            drop(command.accept());
            drop(command.complete(machine.look()));
            None
        }
        "set_interval" => {
            let args = command
                .args()
                .map(|args| args.to_value())
                .unwrap_or_default();
            match args["seconds"].as_f64() {
                Some(seconds) if (0.1..=3_600.0).contains(&seconds) => {
                    drop(command.accept());
                    drop(command.complete(json!({ "seconds": seconds })));
                    Some(Duration::from_secs_f64(seconds))
                }
                _ => {
                    drop(command.reject("`seconds` must be a number from 0.1 to 3600"));
                    None
                }
            }
        }
        other => {
            let reason = format!("this machine knows set_interval, snapshot and stop, not {other}");
            drop(command.reject(reason));
            None
        }
    }
}

/// The measurements of this machine.
#[derive(Default)]
struct Machine {
    system: System,
    disks: Disks,
}

impl Machine {
    /// Measures again, in per cent, in bytes, and as counts.
    fn look(&mut self) -> Value {
        self.system.refresh_all();
        self.disks.refresh(true);
        let total: u64 = self.disks.iter().map(|disk| disk.total_space()).sum();
        let free: u64 = self.disks.iter().map(|disk| disk.available_space()).sum();
        json!({
            "cpu_percent": f64::from(self.system.global_cpu_usage().round()),
            "memory_used": self.system.used_memory(),
            "memory_total": self.system.total_memory(),
            "disk_used": total.saturating_sub(free),
            "disk_total": total,
            "processes": self.system.processes().len(),
        })
    }

    /// Publishes the measurements as an event, and prints them in one line.
    fn tell(&mut self, task: &Task) -> Result<(), Box<dyn Error>> {
        let figures = self.look();
        let gib = |key: &str| figures[key].as_f64().unwrap_or(0.0) / f64::from(1 << 30);
        let cpu = figures["cpu_percent"]
            .as_f64()
            .unwrap_or(0.0)
            .clamp(0.0, 100.0);
        let line = format!(
            "cpu {cpu} %, memory {:.1} of {:.1} GiB, {} processes",
            gib("memory_used"),
            gib("memory_total"),
            figures["processes"],
        );
        let event_type = EventType::new("host.figures")?;
        task.publish(NewEvent::new(event_type, Data::from_value(figures)?));
        task.progress(cpu, line.as_str());
        Ok(())
    }
}
