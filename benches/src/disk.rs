//! How many events does a durable server take, and what would the disk allow?
//!
//! `cargo bench --bench disk` publishes over HTTP with keep-alive, one event at a time on each
//! connection, and over one WebSocket with as many events in flight. Each publisher has a task of
//! its own. In each round and on the same disk it measures:
//! * `memory`, `interval` and `every-commit`: the real server with each way to sync;
//! * `plain server`: axum with a thread that appends all waiting events to a file, syncs it once,
//!   and then answers them. It parses JSON and checks nothing;
//! * `plain loop`: no network, one append of as many events as there are publishers, one sync;
//! * `SQLite`: the same loop with a table, one transaction for as many events. It runs in Python,
//!   whose share is below 1 µs for each event. Skipped without Python.
//!
//! `-- --quick` runs one short round of each. `-- --only=WebSocket` runs one of the transports.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::disk::{HttpLoad, SocketLoad};
use crate::support::loader::EVENT_BYTES;
use crate::support::process::ServerProcess;
use crate::support::report::median;
use crate::support::{Args, results};

const ROUNDS: usize = 3;
const WINDOW: Duration = Duration::from_millis(1_000);
const PUBLISHERS: [usize; 4] = [1, 16, 256, 4_096];
const SERVERS: [(&str, &str); 4] = [
    ("memory", "tidings-memory"),
    ("interval", "tidings-interval"),
    ("every-commit", "tidings-every-commit"),
    ("plain server", "plain-disk"),
];
/// The most connections of HTTP. The server closes some of 4,096 idle ones to make room.
const MOST_CONNECTIONS: usize = 256;
const LOOPS: [&str; 2] = ["plain loop", "SQLite"];

#[derive(Clone, Copy, PartialEq)]
enum Over {
    Http,
    WebSocket,
}

impl Over {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::WebSocket => "WebSocket",
        }
    }

    fn is_measured(self, args: &Args, publishers: usize) -> bool {
        let too_many = self == Self::Http && publishers > MOST_CONNECTIONS;
        args.wants(self.name()) && !too_many
    }

    /// Returns the acknowledged events per second.
    fn rate(self, server: &ServerProcess, publishers: usize, window: Duration) -> f64 {
        match self {
            Self::Http => HttpLoad::connect(server.addr(), publishers).run(window),
            Self::WebSocket => SocketLoad::connect(server.addr(), publishers).run(window),
        }
    }
}

pub(crate) fn main() {
    let args = Args::read();
    let (rounds, window) = if args.quick {
        (1, Duration::from_millis(200))
    } else {
        (ROUNDS, WINDOW)
    };
    let root = results::directory().join("disk-bench");
    for publishers in PUBLISHERS {
        let mut loops = [Vec::new(), Vec::new()];
        let mut seen =
            [Over::Http, Over::WebSocket].map(|over| (over, [(); 4].map(|()| Vec::new())));
        for _ in 0..rounds {
            loops[0].push(plain_loop(&fresh(&root), publishers, window));
            loops[1].extend(sqlite(&fresh(&root), publishers, window));
            for (over, rates) in seen
                .iter_mut()
                .filter(|(over, _)| over.is_measured(&args, publishers))
            {
                for (at, (_, kind)) in SERVERS.iter().enumerate() {
                    let server = ServerProcess::with_disk(kind, &fresh(&root));
                    rates[at].push(over.rate(&server, publishers, window));
                }
            }
        }
        println!("\n{publishers} publishers, events/s");
        for (name, rates) in LOOPS.iter().zip(&loops) {
            if !rates.is_empty() {
                println!("{name:<28}{:>12.0}", median(rates.iter().copied()));
            }
        }
        for (over, rates) in seen
            .iter()
            .filter(|(over, _)| over.is_measured(&args, publishers))
        {
            print(*over, publishers, rates, &loops[0]);
        }
    }
    let _ = std::fs::remove_dir_all(&root);
}

/// Prints the rates of the servers, and their ratios round by round.
fn print(over: Over, publishers: usize, rates: &[Vec<f64>; 4], plain_loop: &[f64]) {
    let ratio =
        |own: &[f64], other: &[f64]| median(own.iter().zip(other).map(|(own, other)| own / other));
    for (at, (name, _)) in SERVERS.iter().enumerate() {
        print!(
            "{:<28}{:>12.0}{:>8.2} of memory{:>8.2} of the plain server{:>8.2} of the plain loop",
            format!("{name}, {}", over.name()),
            median(rates[at].iter().copied()),
            ratio(&rates[at], &rates[0]),
            ratio(&rates[at], &rates[3]),
            ratio(&rates[at], plain_loop),
        );
        println!();
    }
    if publishers == 256 && over == Over::Http {
        results::record("disk_interval_to_memory", ratio(&rates[1], &rates[0]));
        results::record("disk_every_commit_to_plain", ratio(&rates[2], &rates[3]));
    }
}

/// Returns an empty directory next to the build, on an ordinary disk.
fn fresh(root: &Path) -> PathBuf {
    let _ = std::fs::remove_dir_all(root);
    std::fs::create_dir_all(root).unwrap();
    root.to_owned()
}

/// Appends groups of events to a file, with a sync after each group. Returns the events per second.
fn plain_loop(path: &Path, group: usize, window: Duration) -> f64 {
    let mut file = std::fs::File::create(path.join("log")).unwrap();
    let events = vec![b'x'; EVENT_BYTES * group];
    let started = Instant::now();
    let mut groups = 0;
    while started.elapsed() < window {
        file.write_all(&events).unwrap();
        file.sync_data().unwrap();
        groups += 1;
    }
    (groups * group) as f64 / started.elapsed().as_secs_f64()
}

/// Does the same with SQLite. Returns `None` without Python.
fn sqlite(path: &Path, group: usize, window: Duration) -> Option<f64> {
    let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers/sqlite_log.py");
    let answer = Command::new("python3")
        .arg(program)
        .arg(path.join("log.sqlite"))
        .args([group, EVENT_BYTES].map(|number| number.to_string()))
        .arg(window.as_secs_f64().to_string())
        .output();
    let answer = answer.ok().filter(|answer| answer.status.success())?;
    String::from_utf8_lossy(&answer.stdout).trim().parse().ok()
}
