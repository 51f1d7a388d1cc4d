//! Full-jitter exponential backoff: computes the pause before the next connection
//! attempt.

use std::time::Duration;

use fastrand::Rng;

use crate::defaults::BACKOFF_FLOOR;

/// Counts failed attempts and draws a random pause for each.
///
/// The upper bound of the pause doubles with every failure. The pause is random between
/// zero and this bound. Clients that lost the same server at the same moment therefore
/// come back at different moments.
#[derive(Debug)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
    rng: Rng,
}

impl Backoff {
    pub(crate) fn new(base: Duration, cap: Duration, rng: Rng) -> Self {
        Self {
            base,
            cap,
            failures: 0,
            rng,
        }
    }

    /// Counts one more failure and returns the pause before the next attempt. The pause
    /// is at least [`BACKOFF_FLOOR`], or the cap if the cap is smaller.
    pub(crate) fn pause(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let bound = self.base.saturating_mul(factor).min(self.cap);
        let drawn = bound.mul_f64(self.rng.f64());
        drawn.max(BACKOFF_FLOOR.min(self.cap))
    }

    /// Forgets the failures, after a connection has stayed up for a while.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(250);
    const CAP: Duration = Duration::from_secs(15);

    #[test]
    fn pauses_stay_between_the_floor_and_a_bound_that_doubles_up_to_the_cap() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(BASE, CAP, Rng::with_seed(seed));
            let mut bound = BASE;
            for _ in 0..100 {
                let pause = backoff.pause();
                assert!(pause >= BACKOFF_FLOOR && pause <= bound, "seed {seed}");
                bound = (bound * 2).min(CAP);
            }
        }
    }

    #[test]
    fn pauses_are_spread_over_the_whole_range() {
        let mut rng = Rng::with_seed(7);
        let pauses: Vec<_> = (0..1_000)
            .map(|_| {
                let mut backoff = Backoff::new(CAP, CAP, rng.fork());
                backoff.pause()
            })
            .collect();
        for quarter in 0..4 {
            let range = CAP * quarter / 4..CAP * (quarter + 1) / 4;
            let count = pauses.iter().filter(|pause| range.contains(*pause)).count();
            assert!((150..350).contains(&count), "{count} in {range:?}");
        }
    }

    #[test]
    fn a_reset_starts_over() {
        let mut backoff = Backoff::new(BASE, CAP, Rng::with_seed(1));
        for _ in 0..20 {
            backoff.pause();
        }
        backoff.reset();
        assert!(backoff.pause() <= BASE);
    }
}
