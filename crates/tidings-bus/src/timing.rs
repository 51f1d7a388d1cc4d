//! Measured durations, counted in buckets for a histogram.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper limits of the buckets in microseconds, from the time of a publish in memory up to
/// times that nobody would accept.
const BOUNDS_MICROS: [u64; 15] = [
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000,
    10_000_000,
];

/// Counts durations. It uses only atomics, so every thread can record durations.
#[derive(Debug, Default)]
pub struct Timing {
    /// One bucket for each limit, and one for longer durations.
    buckets: [AtomicU64; BOUNDS_MICROS.len() + 1],
    nanos: AtomicU64,
}

/// The values of a [`Timing`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TimingCounts {
    /// The upper limit of each bucket in seconds, and the number of durations in it. The last limit
    /// is infinite. Each duration is counted in one bucket only.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all durations, in seconds.
    pub sum: f64,
    /// The number of durations.
    pub count: u64,
}

impl Timing {
    /// Records one duration.
    pub fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Returns the current values.
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

/// The durations that a bus measures.
#[derive(Debug, Default)]
pub struct Timings {
    /// From a call of [`publish`](crate::EventBus::publish) to its answer.
    pub publish: Timing,
    /// From the publish that wakes a log's subscribers until all of them have been visited. A
    /// subscriber whose socket is full counts as visited.
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
