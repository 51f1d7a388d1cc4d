//! A node of a cluster dies. How long does it take until its watchers are back?
//!
//! `cargo run -p tidings-testkit --example reconnect_storm` prints a table. An optional argument is
//! the seed. No socket is opened: clients, nodes and Redis are simulated with one queue of events,
//! and the same seed gives the same result. One simulated watcher stands for ten, and costs as much
//! as ten.
//!
//! A client chooses its pauses like `tidings-client`: with full jitter below a bound that doubles
//! from 250 ms to 15 s. A node serves one handshake after another. A client that has waited 5 s for
//! its turn gives up and chooses a new pause. A node that drains tells each client when to
//! reconnect, over 10 s.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    clippy::semicolon_if_nothing_returned,
    reason = "a program that prints"
)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fastrand::Rng;

/// The assumed costs of one node and of Redis, in microseconds of one core each.
const HANDSHAKE_US: u64 = 250;
const CLAIM_US: u64 = 40;

/// The number of watchers that one simulated watcher stands for.
const EACH: u64 = 10;

const BASE_US: u64 = 250_000;
const CAP_US: u64 = 15_000_000;
const FLOOR_US: u64 = 50_000;
const PATIENCE_US: u64 = 5_000_000;
const DRAIN_US: u64 = 10_000_000;

/// How clients lose their node.
#[derive(Clone, Copy)]
enum Loss {
    /// All at once. Each client chooses its own pause.
    Killed,
    /// One after another over the drain window.
    Drained,
}

struct Outcome {
    /// The time until half of the watchers were back, in seconds.
    half: f64,
    all: f64,
    attempts: u64,
    /// The handshakes of one node in its busiest second.
    peak: u64,
}

fn pause(rng: &mut Rng, failures: u32) -> u64 {
    let bound = BASE_US.saturating_mul(1 << failures.min(16)).min(CAP_US);
    rng.u64(0..=bound).max(FLOOR_US)
}

/// Simulates `cut` clients that reconnect to `nodes` nodes, which share `shards` Redis masters.
fn storm(cut: u64, nodes: u64, shards: u64, loss: Loss, seed: u64) -> Outcome {
    let mut rng = Rng::with_seed(seed);
    let cut = cut / EACH;
    // The time of each client's next attempt, and the number of its failures.
    let mut due = BinaryHeap::new();
    for client in 0..cut {
        let at = match loss {
            Loss::Killed => pause(&mut rng, 0),
            Loss::Drained => BASE_US + DRAIN_US * client / cut,
        };
        due.push(Reverse((at, 0_u32)));
    }
    let mut node_free = vec![0_u64; usize::try_from(nodes).unwrap_or(1)];
    let mut shard_free = vec![0_u64; usize::try_from(shards).unwrap_or(1)];
    let mut seconds = vec![0_u64; 600];
    let (mut back, mut attempts, mut half) = (0, 0, 0);
    let mut last = 0;
    while let Some(Reverse((now, failures))) = due.pop() {
        attempts += EACH;
        let node = rng.usize(..node_free.len());
        let shard = rng.usize(..shard_free.len());
        let starts = node_free[node].max(now);
        if starts - now > PATIENCE_US {
            let again = now + PATIENCE_US + pause(&mut rng, failures + 1);
            due.push(Reverse((again, failures + 1)));
            continue;
        }
        node_free[node] = starts + EACH * HANDSHAKE_US;
        // While a handshake waits for Redis, the node does other work.
        shard_free[shard] = shard_free[shard].max(starts) + EACH * CLAIM_US;
        let done = (starts + EACH * HANDSHAKE_US).max(shard_free[shard]);
        let second = usize::try_from(starts / 1_000_000).unwrap_or(usize::MAX);
        if node == 0
            && let Some(count) = seconds.get_mut(second)
        {
            *count += EACH;
        }
        back += 1;
        last = last.max(done);
        if back == cut / 2 {
            half = done;
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "seconds for people")]
    let seconds_of = |micros: u64| micros as f64 / 1e6;
    Outcome {
        half: seconds_of(half),
        all: seconds_of(last),
        attempts,
        peak: seconds.into_iter().max().unwrap_or(0),
    }
}

fn main() {
    let seed = std::env::args().nth(1);
    let seed = seed.and_then(|text| text.parse().ok()).unwrap_or(1);
    println!(
        "seed {seed}; a handshake {HANDSHAKE_US} µs of a node's core, a claim {CLAIM_US} µs of Redis's\n"
    );
    println!(
        "watchers    lost      nodes left  shards  how      half back  all back  attempts  peak/s a node"
    );
    for (watchers, nodes, shards) in [(1_000_000, 20, 1), (10_000_000, 200, 16)] {
        let each = watchers / nodes;
        for (lost, how, loss) in [
            (1, "killed", Loss::Killed),
            (1, "drained", Loss::Drained),
            (nodes / 4, "killed", Loss::Killed),
        ] {
            let outcome = storm(each * lost, nodes - lost, shards, loss, seed);
            println!(
                "{watchers:<10}  {:<8}  {:<10}  {shards:<6}  {how:<7}  {:>7.1} s  {:>6.1} s  {:>8}  {:>8}",
                each * lost,
                nodes - lost,
                outcome.half,
                outcome.all,
                outcome.attempts,
                outcome.peak,
            );
        }
        // The load balancer is back, and so are all watchers.
        let outcome = storm(watchers, nodes, shards, Loss::Killed, seed);
        println!(
            "{watchers:<10}  {watchers:<8}  {nodes:<10}  {shards:<6}  {:<7}  {:>7.1} s  {:>6.1} s  {:>8}  {:>8}",
            "all cut", outcome.half, outcome.all, outcome.attempts, outcome.peak,
        );
    }
}
