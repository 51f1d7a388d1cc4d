//! What does a watcher cost that only waits?
//!
//! `cargo bench --bench idle`: resident memory of the server per connection,
//! fresh, and after heartbeats have come and gone (each makes the read side of
//! every connection for a moment, for the pong). Set `TIDINGS_BENCH_WATCHERS` for
//! another number than 15,000; each takes a file descriptor on both sides.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a program that prints"
)]
#![allow(dead_code, reason = "the support modules serve other benches too")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::result_large_err,
    reason = "a bench stops where something is wrong"
)]

#[path = "support/loader.rs"]
mod loader;
#[path = "support/process.rs"]
mod process;
#[path = "support/servers.rs"]
mod servers;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use process::ServerProcess;

/// Heartbeats to sit through, at the two seconds that the server is set to.
const HEARTBEATS: u32 = 5;
const INTERVAL: Duration = Duration::from_secs(2);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, kind] = args.as_slice()
        && flag == "--serve"
    {
        servers::run(kind);
        return;
    }
    let watchers: usize = std::env::var("TIDINGS_BENCH_WATCHERS")
        .ok()
        .map_or(15_000, |text| {
            text.parse().expect("TIDINGS_BENCH_WATCHERS is a number")
        });
    process::pin_to_core(1);
    println!(
        "{:<22}{:>12}{:>22}{:>22}",
        "server", "watchers", "fresh KiB each", "later KiB each"
    );
    for kind in ["tidings-heartbeats", "axum"] {
        let server = ServerProcess::start(kind);
        let base = server.resident();
        let mut sockets: Vec<TcpStream> = Vec::with_capacity(watchers);
        let mut answered = Instant::now();
        for _ in 0..watchers {
            let (socket, _) = loader::handshake(server.addr(), "/ws/tasks/bench");
            socket.set_nonblocking(true).unwrap();
            sockets.push(socket);
            if answered.elapsed() > INTERVAL / 4 {
                sockets.iter_mut().for_each(answer_pings);
                answered = Instant::now();
            }
        }
        let each = |now: u64| (now.saturating_sub(base)) as f64 / watchers as f64 / 1_024.0;
        let fresh = each(server.resident());
        let start = Instant::now();
        while start.elapsed() < INTERVAL * (HEARTBEATS + 1) {
            sockets.iter_mut().for_each(answer_pings);
            std::thread::sleep(Duration::from_millis(50));
        }
        let later = each(server.resident());
        println!("{kind:<22}{watchers:>12}{fresh:>22.2}{later:>22.2}");
    }
}

/// Reads what there is; answers a ping with a pong, masked with zeros.
fn answer_pings(socket: &mut TcpStream) {
    let mut buffer = [0; 4_096];
    match socket.read(&mut buffer) {
        Ok(0) => panic!("the server closed a watcher's connection"),
        Ok(count) => {
            let mut at = 0;
            while at + 2 <= count {
                let payload = match buffer[at + 1] {
                    126 => 4 + usize::from(u16::from_be_bytes([buffer[at + 2], buffer[at + 3]])),
                    short => 2 + usize::from(short),
                };
                if buffer[at] == 0x89 {
                    socket.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).unwrap();
                }
                at += payload;
            }
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => panic!("a watcher's connection broke: {error}"),
    }
}
