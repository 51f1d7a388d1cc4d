//! What does a watcher cost that only waits?
//!
//! `cargo bench --bench idle` measures the server's resident memory per connection, when the
//! connection is new, and after an hour of heartbeats. The hour is compressed by configuration:
//! each of its 144 heartbeats creates the read side of every connection for a moment, because of
//! the pong. The bench also measures connections that watch a pattern. Set `TIDINGS_BENCH_WATCHERS`
//! to use another number than 15,000. Each connection needs a file descriptor on both sides.

use crate::support::peers::{HEARTBEAT, Peers};
use crate::support::process::{self, ServerProcess};
use crate::support::{Args, frames, results};

/// The heartbeats of one hour at the usual interval of 25 s.
const HEARTBEATS: u32 = 144;

pub(crate) fn main() {
    let args = Args::read();
    let set = std::env::var("TIDINGS_BENCH_WATCHERS").ok();
    let watchers: usize = set.map_or(if args.quick { 1_000 } else { 15_000 }, |text| {
        text.parse().expect("TIDINGS_BENCH_WATCHERS is a number")
    });
    let beats = if args.quick { 4 } else { HEARTBEATS };
    process::pin_to_core(1);
    println!(
        "{:<30}{:>12}{:>20}{:>20}",
        "what waits", "connections", "fresh KiB each", "later KiB each"
    );
    let measure = |name: &str, kind: &str, path: &str, pattern: bool, beats: u32| {
        if !args.wants(name) {
            return None;
        }
        let server = ServerProcess::start(kind);
        let base = server.resident();
        let mut peers = Peers::new(server.addr());
        let subscribe = frames::masked("{\"type\":\"subscribe\",\"pattern\":\"bench-*\"}");
        peers.come_all(watchers, |_| path.to_owned());
        if pattern {
            (0..watchers).for_each(|number| peers.say(number, &subscribe));
        }
        peers.idle(HEARTBEAT);
        let each = |now: u64| now.saturating_sub(base) as f64 / watchers as f64 / 1_024.0;
        let fresh = each(server.resident());
        peers.idle(HEARTBEAT * beats);
        let later = each(server.resident());
        println!("{name:<30}{watchers:>12}{fresh:>20.2}{later:>20.2}");
        Some(later)
    };
    let task = "/ws/tasks/bench";
    let idle = measure(
        "a watcher of one task",
        "tidings-heartbeats",
        task,
        false,
        beats,
    );
    measure(
        "a watcher of a pattern",
        "tidings-heartbeats",
        "/ws",
        true,
        beats.min(10),
    );
    measure("axum and broadcast", "axum", task, false, 1);
    if let Some(idle) = idle.filter(|_| watchers == 15_000) {
        results::record("idle_kib", idle);
    }
}
