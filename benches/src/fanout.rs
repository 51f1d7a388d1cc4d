//! How fast does one publish reach a thousand watchers, and how long would a bare `write(2)` to
//! each of them take?
//!
//! `cargo bench --bench fanout` runs each server in its own process on one core, and the loader on
//! the other core, in interleaved rounds. It prints the medians and the ratios. Times alone say
//! little, because machines differ and are noisy. Both sides of a ratio ran within the same minute
//! on the same cores.
//!
//! * `bare`: writes ready frames to one socket after another, and so shows the cost of the system
//!   call.
//! * `tidings`: the real server. It decodes and validates JSON, and has offsets, history,
//!   snapshots, statistics and heartbeats.
//! * `axum`: one task per connection over `tokio::sync::broadcast`, like a server that is written
//!   in an afternoon.
//!
//! `-- --quick` runs one short round of each. `-- --only='4 in flight'` runs a single shape.
//!
//! The loader checks the invariant on everything that it reads. A lost or repeated offset fails the
//! bench.

use std::time::Duration;

use crate::support::loader::{EVENT_BYTES, Load, Loader, Pace};
use crate::support::process::{self, ServerProcess};
use crate::support::report::{DELIVERIES, Measured, P50, P99, Report, USER};
use crate::support::{Args, servers};

/// The number of rounds of each measurement. The result is their median.
const ROUNDS: usize = 7;
/// The duration of one measurement.
const WINDOW: Duration = Duration::from_millis(1_500);

const ONE: &str = "1 task x 1,000, 1 in flight";
const FOUR: &str = "1 task x 1,000, 4 in flight";
const MANY: &str = "1 task x 1,000, 64 in flight";
const PACED: &str = "1 task x 1,000, 50 a second";
const TASKS: &str = "1,000 tasks x 1, 64 in flight";
/// Each publish has a `ref`, which only Tidings answers.
const ANSWERED: &str = "1,000 tasks x 1, 64 in flight, with ref";
const LARGE: &str = "10 tasks x 1,000, 10 in flight";

fn load(tasks: usize, watchers: usize, pace: Pace) -> Load {
    Load {
        tasks,
        watchers,
        pace,
        event_bytes: EVENT_BYTES,
    }
}

pub(crate) fn main() {
    let args = Args::read();
    let (rounds, window) = if args.quick {
        (1, Duration::from_millis(300))
    } else {
        (ROUNDS, WINDOW)
    };
    process::pin_to_core(1);
    let mut report = Report::default();
    for (shape, load) in [
        (ONE, load(1, 1_000, Pace::InFlight(1))),
        (FOUR, load(1, 1_000, Pace::InFlight(4))),
        (MANY, load(1, 1_000, Pace::InFlight(64))),
        (PACED, load(1, 1_000, Pace::Rate(50))),
        (TASKS, load(1_000, 1_000, Pace::InFlight(64))),
        (ANSWERED, load(1_000, 1_000, Pace::InFlight(64))),
        (LARGE, load(10, 10_000, Pace::InFlight(10))),
    ] {
        if !args.wants(shape) {
            continue;
        }
        // Ten thousand handshakes per round take longer than the measurement itself.
        let rounds = if shape == LARGE {
            rounds.min(3)
        } else {
            rounds
        };
        for round in 0..rounds {
            for kind in servers::KINDS {
                let server = ServerProcess::start(kind);
                let mut loader = Loader::connect(server.addr(), &load, *kind != "bare");
                if shape == ANSWERED {
                    loader.ask_for_answers(load.event_bytes);
                }
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
    report.record_ratio("fanout_1_to_bare", ONE, "bare", DELIVERIES);
    report.record_ratio("fanout_4_to_bare", FOUR, "bare", DELIVERIES);
    report.record_ratio("fanout_4_p50_to_bare", FOUR, "bare", P50);
    report.record_ratio("fanout_64_to_axum", MANY, "axum", DELIVERIES);
    report.record_ratio("many_tasks_to_axum", TASKS, "axum", DELIVERIES);
    report.record_ratio("many_tasks_answered_to_axum", ANSWERED, "axum", DELIVERIES);
    report.record_ratio("paced_p99_to_bare", PACED, "bare", P99);
    report.record_ratio("user_to_bare", ONE, "bare", USER);
}
