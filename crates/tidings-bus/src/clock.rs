//! The wall clock, which tests can replace.
//!
//! It is only used for the timestamps of events. Durations (retention, leases, windows) are
//! measured with `tokio::time::Instant`, which does not jump with the wall clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tidings_protocol::Timestamp;

/// A wall clock.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time in UTC.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from(SystemTime::now())
    }
}

/// A clock that shows the same time until it is set.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Creates a clock that shows `millis` milliseconds after the Unix epoch.
    pub fn new(millis: u64) -> Self {
        Self(AtomicU64::new(millis))
    }

    /// Sets the clock, forward or back.
    pub fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}
