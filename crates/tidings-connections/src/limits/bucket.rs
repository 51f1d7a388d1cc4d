//! A rate as a pure state machine: the generic cell rate algorithm.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

/// The wait that is reported to a client that asks for more than a burst. No wait would really be
/// long enough.
const NEVER: Duration = Duration::from_secs(60);

/// A rate: a number per second, and the burst that may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

impl Rate {
    /// Creates a rate of `per_second` on average, and at most `burst` at once. Zero counts as one.
    /// A burst below `per_second` is raised to `per_second`.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        Self {
            per_second: at_least_one(per_second),
            burst: at_least_one(burst.max(per_second)),
        }
    }

    /// Creates a rate of `per_second` on average, and at most `burst` at once. Here the burst may
    /// be smaller than `per_second`. Zero counts as one.
    pub fn steady(per_second: u32, burst: u32) -> Self {
        Self {
            burst: NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN),
            ..Self::new(per_second, per_second)
        }
    }

    /// Creates a rate with the usual burst: twice the number per second.
    pub fn per_second(per_second: u32) -> Self {
        Self::new(per_second, per_second.saturating_mul(2))
    }

    /// Returns the time in which the rate yields `count`.
    fn time_for(self, count: u64) -> Duration {
        let nanos = u128::from(count) * 1_000_000_000 / u128::from(self.per_second.get());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The bucket of one client. It fills at a [`Rate`], and holds a burst.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    /// When the bucket is full again. `None` if nothing was ever taken.
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes `count` out of the bucket.
    ///
    /// # Errors
    /// Returns the time until the bucket holds `count`. Nothing was taken.
    pub(super) fn take(&mut self, rate: Rate, count: usize, now: Instant) -> Result<(), Duration> {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        if count > u64::from(rate.burst.get()) {
            return Err(NEVER);
        }
        let from = self.full_at.map_or(now, |full_at| full_at.max(now));
        let full_at = from + rate.time_for(count);
        let burst = rate.time_for(u64::from(rate.burst.get()));
        match full_at.saturating_duration_since(now).checked_sub(burst) {
            None | Some(Duration::ZERO) => {
                self.full_at = Some(full_at);
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }

    /// Takes `count` out of the bucket, even if the bucket holds less. The client then owes the
    /// difference.
    pub(super) fn owe(&mut self, rate: Rate, count: usize, now: Instant) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let from = self.full_at.map_or(now, |full_at| full_at.max(now));
        self.full_at = from.checked_add(rate.time_for(count)).or(self.full_at);
    }

    /// Takes `count` out of the bucket ahead of time. Returns how long the client must wait before
    /// it uses `count`.
    ///
    /// # Errors
    /// Returns the time until the client owes nothing, if that is longer than `most`. Nothing was
    /// taken.
    pub(super) fn reserve(
        &mut self,
        rate: Rate,
        count: usize,
        most: Duration,
        now: Instant,
    ) -> Result<Duration, Duration> {
        let wait = self.check(rate, now).err().unwrap_or_default();
        if wait > most {
            return Err(wait);
        }
        self.owe(rate, count, now);
        Ok(wait)
    }

    /// Puts back a reserved amount that was not used.
    pub(super) fn give_back(&mut self, rate: Rate, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let full_at = self.full_at;
        self.full_at = full_at.and_then(|full_at| full_at.checked_sub(rate.time_for(count)));
    }

    /// Checks that the client of the bucket owes nothing.
    ///
    /// # Errors
    /// Returns the time until the client owes nothing.
    pub(super) fn check(&self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let mut copy = *self;
        copy.take(rate, 0, now)
    }

    /// Returns whether the bucket is full, as if nothing had ever been taken.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| full_at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn a_burst_goes_at_once_and_then_only_what_the_rate_yields() {
        let (rate, now) = (Rate::new(10, 20), Instant::now());
        let mut bucket = Bucket::default();
        for _ in 0..20 {
            bucket.take(rate, 1, now).unwrap();
        }
        assert_eq!(bucket.take(rate, 1, now), Err(100 * MILLISECOND));
        assert_eq!(bucket.take(rate, 3, now), Err(300 * MILLISECOND));
        bucket.take(rate, 1, now + 100 * MILLISECOND).unwrap();
        assert!(!bucket.is_full(now + 2_099 * MILLISECOND));
        assert!(bucket.is_full(now + 2_100 * MILLISECOND));
    }

    #[test]
    fn those_who_reserve_wait_one_after_the_other() {
        let (rate, now) = (Rate::steady(100, 20), Instant::now());
        let mut bucket = Bucket::default();
        let mut reserve = |most| bucket.reserve(rate, 10, most, now);
        let most = 200 * MILLISECOND;
        let waits: Vec<_> = (0..5).map(|_| reserve(most)).collect();
        // The burst, and one more item that is allowed only after the burst is used up.
        assert_eq!(waits, [0, 0, 0, 100, 200].map(|ms| Ok(ms * MILLISECOND)));
        assert_eq!(reserve(most), Err(300 * MILLISECOND));
        bucket.give_back(rate, 20);
        assert_eq!(
            bucket.reserve(rate, 10, most, now),
            Ok(100 * MILLISECOND),
            "two of them were given back"
        );
    }

    #[test]
    fn more_than_a_burst_never_goes_and_costs_nothing() {
        let (rate, now) = (Rate::new(10, 20), Instant::now());
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(rate, 21, now), Err(NEVER));
        assert_eq!(bucket.take(rate, usize::MAX, now), Err(NEVER));
        bucket.take(rate, 20, now).unwrap();
    }

    #[test]
    fn whatever_is_asked_no_span_has_more_than_its_burst_and_its_rate() {
        for seed in 0..500 {
            let mut random = fastrand::Rng::with_seed(seed);
            let per_second = random.u32(1..2_000_000);
            let rate = Rate::new(per_second, random.u32(1..4_000_000));
            let mut now = Instant::now();
            let mut bucket = Bucket::default();
            let mut taken: Vec<(Instant, u64)> = Vec::new();
            for _ in 0..60 {
                now += Duration::from_nanos(random.u64(0..500_000_000));
                let count = random.u32(0..=rate.burst.get());
                match bucket.take(rate, count as usize, now) {
                    Ok(()) => taken.push((now, u64::from(count))),
                    Err(wait) => {
                        // The returned wait is exact: a try just before its end fails, and a try at
                        // its end succeeds.
                        let mut copy = bucket;
                        let early = now + wait - Duration::from_nanos(1);
                        let refused = copy.take(rate, count as usize, early);
                        assert!(refused.is_err(), "seed {seed}: {wait:?} is too long");
                        let late = copy.take(rate, count as usize, now + wait);
                        assert!(late.is_ok(), "seed {seed}: {wait:?} is too short");
                    }
                }
                let mut sum = 0;
                for (at, count) in taken.iter().rev() {
                    sum += count;
                    let span = now.duration_since(*at).as_secs_f64();
                    // Rounding to whole nanoseconds loses less than one item for each.
                    let most = f64::from(rate.burst.get())
                        + span * f64::from(per_second)
                        + taken.len() as f64;
                    assert!(sum as f64 <= most, "seed {seed}: {sum} in {span} s");
                }
            }
            assert!(!taken.is_empty(), "seed {seed} took nothing");
        }
    }
}
