//! How fast does one publish reach a thousand watchers, and what would a bare
//! `write(2)` to each of them take?
//!
//! `cargo bench --bench fanout` runs each server in a process of its own on one
//! core and the loader on the other, in interleaved rounds, and prints the
//! medians and the ratios. Times alone say little: machines differ and are
//! noisy; both sides of a ratio ran in the same minute on the same cores.
//!
//! * `bare`: ready frames, socket after socket: what the system call costs.
//! * `tidings`: the real thing: JSON decoded and validated, offsets, history,
//!   snapshot, statistics, heartbeats.
//! * `axum`: a task per connection over `tokio::sync::broadcast`, as one would
//!   write it in an afternoon.
//!
//! `-- --quick` takes one short round of each, `-- --only='4 in flight'` one shape.
//!
//! The loader checks the invariant on what it reads: a lost or doubled offset
//! fails the bench.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a program that prints"
)]
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
#[path = "support/report.rs"]
mod report;
#[path = "support/servers.rs"]
mod servers;

use std::time::Duration;

use loader::{Load, Loader};
use process::ServerProcess;
use report::{Measured, Report};

/// Rounds of each measurement; the median counts.
const ROUNDS: usize = 5;
/// How long one measurement takes.
const WINDOW: Duration = Duration::from_millis(1_500);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, kind] = args.as_slice()
        && flag == "--serve"
    {
        servers::run(kind);
        return;
    }
    let quick = args.iter().any(|arg| arg == "--quick");
    let only = args.iter().find_map(|arg| arg.strip_prefix("--only="));
    let (rounds, window) = if quick {
        (1, Duration::from_millis(300))
    } else {
        (ROUNDS, WINDOW)
    };
    process::pin_to_core(1);
    let mut report = Report::default();
    for (shape, load) in [
        (
            "1 task x 1,000, 1 in flight",
            Load {
                tasks: 1,
                watchers: 1_000,
                in_flight: 1,
            },
        ),
        (
            "1 task x 1,000, 4 in flight",
            Load {
                tasks: 1,
                watchers: 1_000,
                in_flight: 4,
            },
        ),
        (
            "1 task x 1,000, 64 in flight",
            Load {
                tasks: 1,
                watchers: 1_000,
                in_flight: 64,
            },
        ),
        (
            "1,000 tasks x 1, 64 in flight",
            Load {
                tasks: 1_000,
                watchers: 1_000,
                in_flight: 64,
            },
        ),
    ] {
        if only.is_some_and(|only| !shape.contains(only)) {
            continue;
        }
        for round in 0..rounds {
            for kind in servers::KINDS {
                let server = ServerProcess::start(kind);
                let mut loader = Loader::connect(server.addr(), &load, *kind != "bare");
                let before = server.cpu();
                let seen = loader.run(window);
                let cpu = server.cpu().since(&before);
                eprintln!(
                    "{shape}: {kind} round {}: {:.0} deliveries/s",
                    round + 1,
                    seen.deliveries as f64 / seen.elapsed.as_secs_f64()
                );
                report.add(shape, kind, Measured::new(&seen, cpu));
            }
        }
    }
    println!("{report}");
}
