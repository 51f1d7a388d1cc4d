//! How long things take, as counts in buckets: what a histogram is drawn from.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in microseconds: from what a publish takes in
/// memory to what nobody waits for any more.
const BOUNDS_MICROS: [u64; 15] = [
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000,
    10_000_000,
];

/// Durations, counted. Atomics only, so that it can be noted from anywhere.
#[derive(Debug, Default)]
pub struct Timing {
    /// One a bound, and one for what is beyond the last.
    buckets: [AtomicU64; BOUNDS_MICROS.len() + 1],
    nanos: AtomicU64,
}

/// What a [`Timing`] stands at.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TimingCounts {
    /// Each bucket's upper bound in seconds, the last one infinite, and how many
    /// durations fell into it and into none before it.
    pub buckets: Vec<(f64, u64)>,
    /// All durations together, in seconds.
    pub sum: f64,
    /// How many there were.
    pub count: u64,
}

impl Timing {
    /// Notes one duration.
    pub fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What it stands at.
    pub fn read(&self) -> TimingCounts {
        let bounds = BOUNDS_MICROS
            .iter()
            .map(|micros| Duration::from_micros(*micros).as_secs_f64())
            .chain([f64::INFINITY]);
        let counts = self
            .buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        TimingCounts {
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
            sum: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64(),
        }
    }
}

/// The durations that a bus notes.
#[derive(Debug, Default)]
pub struct Timings {
    /// From a call of [`publish`](crate::EventBus::publish) to its answer.
    pub publish: Timing,
    /// From the publish that sets a log's watchers going until all of them have
    /// been visited. A watcher whose socket is full counts as visited.
    pub delivery: Timing,
    /// Calls of the store that write.
    pub store_write: Timing,
    /// Calls of the store that read.
    pub store_read: Timing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_holds_it() {
        let timing = Timing::default();
        for micros in [0, 5, 6, 10_000_000, 10_000_001] {
            timing.note(Duration::from_micros(micros));
        }
        let read = timing.read();
        let filled: Vec<_> = read
            .buckets
            .iter()
            .filter(|(_, count)| *count > 0)
            .copied()
            .collect();
        assert_eq!(
            filled,
            [(5e-6, 2), (1e-5, 1), (10.0, 1), (f64::INFINITY, 1)]
        );
        assert_eq!(read.count, 5);
        assert!((read.sum - 20.000_012).abs() < 1e-9);
    }
}
