//! Endurance: does a server under churn stay the same?
//!
//! Watchers connect, disconnect with and without a close, read slowly, follow patterns and resume.
//! Every message is checked against the invariant. Publishers finish tasks and start new ones.
//! Meanwhile the server's memory, descriptors and tasks are read from its `/metrics` and written to
//! a file for a plot.
//!
//! ```text
//! cargo run --release --package tidings-server -- --listen 127.0.0.1:8000 --max-total-bytes 32MiB --finished-ttl 10s --pinned-ttl 20s
//! cargo run --release -p tidings-testkit --example soak -- 127.0.0.1:8000 --seconds 1200 --out soak.csv
//! ```
//!
//! Fails if a promise is broken. Also fails if the server holds more in the last third of the run
//! than in the second third, beyond noise.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    clippy::semicolon_if_nothing_returned,
    reason = "a program that prints"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tidings_testkit::WireChecker;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

type Failure = Box<dyn Error + Send + Sync>;

/// The number of tasks at a time. Each ends after [`EVENTS`] events, and another one starts.
const TASKS: u64 = 40;
const EVENTS: u64 = 150;

/// The number of watchers of each kind.
const WATCHERS: u64 = 120;
const SLOW: u64 = 20;
const DROPPERS: u64 = 40;
const PATTERNS: u64 = 10;

#[derive(Default)]
struct Counts {
    published: AtomicU64,
    received: AtomicU64,
    connected: AtomicU64,
    resumed: AtomicU64,
    refused: AtomicU64,
}

struct Soak {
    addr: SocketAddr,
    until: Instant,
    counts: Counts,
    violation: tokio::sync::mpsc::Sender<String>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let addr: SocketAddr = arguments
        .next()
        .ok_or("usage: soak ADDR:PORT [--seconds N] [--out FILE]")?
        .parse()?;
    let (mut seconds, mut out) = (60, "soak.csv".to_owned());
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or("a flag needs a value")?;
        match flag.as_str() {
            "--seconds" => seconds = value.parse()?,
            "--out" => out = value,
            _ => return Err(format!("{flag} is not known").into()),
        }
    }
    let (violation, mut violations) = tokio::sync::mpsc::channel(1);
    let soak = Arc::new(Soak {
        addr,
        until: Instant::now() + Duration::from_secs(seconds),
        counts: Counts::default(),
        violation,
    });
    for number in 0..TASKS {
        tokio::spawn(publisher(Arc::clone(&soak), number));
    }
    for number in 0..WATCHERS + SLOW + DROPPERS + PATTERNS {
        tokio::spawn(watcher(Arc::clone(&soak), number));
    }
    let samples = tokio::select! {
        samples = sample(&soak, seconds) => samples?,
        Some(violation) = violations.recv() => return Err(violation.into()),
    };
    std::fs::write(&out, table(&samples))?;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counts = &soak.counts;
    println!(
        "{seconds} s: {} events published, {} messages received, {} connections made ({} of them resumed), {} refused",
        count(&counts.published),
        count(&counts.received),
        count(&counts.connected),
        count(&counts.resumed),
        count(&counts.refused),
    );
    for (what, counter) in [
        ("published", &counts.published),
        ("received", &counts.received),
        ("resumed", &counts.resumed),
    ] {
        if count(counter) == 0 {
            return Err(format!("nothing was {what}: there was no load").into());
        }
    }
    if judge(&samples) {
        Ok(())
    } else {
        Err("the server grew".into())
    }
}

impl Soak {
    fn over(&self) -> bool {
        Instant::now() >= self.until
    }
}

/// Publishes tasks from start to end, one after another.
async fn publisher(soak: Arc<Soak>, number: u64) {
    let mut run = 0;
    while !soak.over() {
        // Most ids are used again and again, and some are used only once.
        let task = if number.is_multiple_of(4) {
            format!("once-{number}-{run}")
        } else {
            format!("task-{number}")
        };
        run += 1;
        if publish(&soak, &task).await.is_err() {
            soak.counts.refused.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn publish(soak: &Soak, task: &str) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(soak.addr).await?;
    let started = json!({ "event_type": "task_started", "data": { "name": task } });
    post(&mut stream, task, &started).await?;
    for step in 0..EVENTS {
        if soak.over() {
            return Ok(());
        }
        let event = match step % 10 {
            0 => json!({ "event_type": "log", "data": { "message": "x".repeat(400) } }),
            _ => {
                json!({ "event_type": "progress_update", "data": { "progress": step * 100 / EVENTS, "message": "step" } })
            }
        };
        post(&mut stream, task, &event).await?;
        soak.counts.published.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(20)).await;
    }
    let end = json!({ "event_type": "task_completed", "data": {} });
    post(&mut stream, task, &end).await
}

/// Sends one request on a connection that stays open.
async fn post(stream: &mut TcpStream, task: &str, body: &Value) -> Result<(), Failure> {
    let body = body.to_string();
    let request = format!(
        "POST /api/tasks/{task}/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = vec![0; 2_048];
    let mut filled = 0;
    loop {
        let count = timeout(Duration::from_secs(30), stream.read(&mut answer[filled..])).await??;
        if count == 0 {
            return Err("the server closed the connection".into());
        }
        filled += count;
        // Every answer here ends with a JSON object.
        if answer[..filled].ends_with(b"}") {
            let accepted = answer.starts_with(b"HTTP/1.1 2");
            return if accepted {
                Ok(())
            } else {
                Err(String::from_utf8_lossy(&answer[..filled]).into())
            };
        }
    }
}

/// Connects, watches for a while, disconnects, and starts again.
async fn watcher(soak: Arc<Soak>, number: u64) {
    let mut round = 0;
    while !soak.over() {
        round += 1;
        match watch(&soak, number, round).await {
            Ok(()) => {}
            Err(Ended::Refused) => {
                soak.counts.refused.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(500)).await;
            }
            Err(Ended::Violation(text)) => {
                let _ = soak.violation.try_send(text);
                return;
            }
        }
    }
}

enum Ended {
    Refused,
    Violation(String),
}

async fn watch(soak: &Soak, number: u64, round: u64) -> Result<(), Ended> {
    let slow = number % 10 == 1 && number < 10 * SLOW;
    let pattern = number >= WATCHERS + SLOW + DROPPERS;
    let task = format!("task-{}", number % TASKS);
    let path = if pattern {
        "/ws".to_owned()
    } else {
        format!("/ws/tasks/{task}")
    };
    let mut checker = WireChecker::default();
    let mut position = None;
    // Connect twice per round. The second connection continues where the first one ended.
    for part in 0..2 {
        let mut url = format!("ws://{}{path}", soak.addr);
        if let Some(position) = position.take() {
            let _ = write!(url, "?since={position}");
            checker = WireChecker::default();
            checker.ask_since(&task, position);
            soak.counts.resumed.fetch_add(1, Ordering::Relaxed);
        }
        let connect = timeout(
            Duration::from_secs(20),
            tokio_tungstenite::connect_async(url),
        )
        .await;
        let Ok(Ok((mut stream, _))) = connect else {
            return Err(Ended::Refused);
        };
        soak.counts.connected.fetch_add(1, Ordering::Relaxed);
        if pattern {
            let subscribe =
                json!({ "type": "subscribe", "pattern": format!("task-{}*", number % 10) });
            let _ = stream.send(Message::text(subscribe.to_string())).await;
        }
        let stay = Duration::from_millis(1_000 + (number * 37 + round * 613 + part * 271) % 4_000);
        let leave = Instant::now() + stay;
        while Instant::now() < leave && !soak.over() {
            let left = leave.saturating_duration_since(Instant::now());
            match timeout(left, stream.next()).await {
                Err(_) => break,
                Ok(Some(Ok(Message::Text(text)))) => {
                    soak.counts.received.fetch_add(1, Ordering::Relaxed);
                    checker
                        .message(&text)
                        .map_err(|violation| Ended::Violation(format!("{task}: {violation}")))?;
                }
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(_)) | None) => break,
            }
            if slow {
                sleep(Duration::from_millis(30)).await;
            }
        }
        position = checker.task(&task).and_then(|task| task.position());
        // Some clients send a close, and others are cut off.
        if number.is_multiple_of(3) {
            let _ = timeout(Duration::from_secs(2), stream.close(None)).await;
        }
        if pattern || position.is_none() {
            break;
        }
    }
    Ok(())
}

/// The values that are read from the server, by the name of their metric.
const WATCHED: [&str; 7] = [
    "process_resident_memory_bytes",
    "process_open_fds",
    "tidings_runtime_tasks",
    "tidings_memory_bytes",
    "tidings_tasks",
    "tidings_connections",
    "tidings_clients_away",
];

type Sample = BTreeMap<&'static str, f64>;

async fn sample(soak: &Soak, seconds: u64) -> Result<Vec<(f64, Sample)>, Failure> {
    let every = Duration::from_secs_f64((seconds as f64 / 200.0).max(0.5));
    let began = Instant::now();
    let mut samples = Vec::new();
    while !soak.over() {
        samples.push((began.elapsed().as_secs_f64(), scrape(soak.addr).await?));
        sleep(every).await;
    }
    Ok(samples)
}

async fn scrape(addr: SocketAddr) -> Result<Sample, Failure> {
    let mut stream = TcpStream::connect(addr).await?;
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await?;
    let mut text = String::new();
    timeout(Duration::from_secs(30), stream.read_to_string(&mut text)).await??;
    let mut sample = Sample::new();
    for line in text.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let name = series.split('{').next().unwrap_or_default();
        if let (Some(name), Ok(value)) = (
            WATCHED.iter().find(|known| **known == name),
            value.parse::<f64>(),
        ) {
            *sample.entry(name).or_default() += value;
        }
    }
    match WATCHED.iter().find(|name| !sample.contains_key(*name)) {
        Some(missing) => Err(format!("/metrics has no {missing}:\n{text}").into()),
        None => Ok(sample),
    }
}

fn table(samples: &[(f64, Sample)]) -> String {
    let mut text = format!("seconds,{}\n", WATCHED.join(","));
    for (at, sample) in samples {
        let _ = write!(text, "{at:.1}");
        for name in WATCHED {
            let _ = write!(text, ",{}", sample.get(name).copied().unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

/// Compares the maximum of each value in the last third with that in the second third.
fn judge(samples: &[(f64, Sample)]) -> bool {
    let third = samples.len() / 3;
    let mut flat = third > 0;
    for (name, slack) in [
        ("process_resident_memory_bytes", 4.0 * 1024.0 * 1024.0),
        ("process_open_fds", 30.0),
        ("tidings_runtime_tasks", 30.0),
    ] {
        let most = |part: &[(f64, Sample)]| {
            part.iter()
                .filter_map(|(_, sample)| sample.get(name).copied())
                .fold(0.0, f64::max)
        };
        let (before, after) = (
            most(&samples[third..2 * third]),
            most(&samples[2 * third..]),
        );
        let holds = after <= before * 1.1 + slack;
        println!(
            "{name}: at most {before} in the second third, {after} in the last{}",
            if holds { "" } else { ": it grew" }
        );
        flat &= holds;
    }
    flat
}
