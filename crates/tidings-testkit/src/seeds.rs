//! Simulations by seed. A failing seed is printed, and can be repeated.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Simulates every `parts`-th of the seeds `0..seeds`, starting with `part`. Each simulation has
/// its own runtime with paused time. Dividing the seeds into parts uses several cores.
///
/// `TIDINGS_SEEDS` sets another number of seeds. `TIDINGS_SEED` repeats a single seed.
///
/// # Panics
///
/// Panics with the first simulation that panics, after printing its seed.
pub fn simulate_seeds<F: Future<Output = ()>>(
    part: u64,
    parts: usize,
    seeds: u64,
    simulate: impl Fn(u64) -> F,
) {
    if let Some(seed) = number("TIDINGS_SEED") {
        return replayable(seed, simulate(seed));
    }
    let seeds = number("TIDINGS_SEEDS").unwrap_or(seeds);
    for seed in (part..seeds).step_by(parts) {
        replayable(seed, simulate(seed));
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number"))
}

#[allow(clippy::print_stderr, reason = "a failing seed is printed")]
fn replayable(seed: u64, simulation: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| runtime.block_on(simulation))) {
        eprintln!("failing seed: replay with TIDINGS_SEED={seed}");
        resume_unwind(panic);
    }
}
