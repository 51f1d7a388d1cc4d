//! The settings of the store.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tidings_bus::{Clock, SystemClock};

use crate::defaults;

/// When written events are on disk. This decides what the acknowledgement of an event means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Each event is on disk before a subscriber sees it and before its publisher gets an answer.
    /// Publishers at the same time share one sync.
    EveryCommit,
    /// Events are delivered and acknowledged at once. They are on disk after this interval and the
    /// time of one sync. A crash of the process or of the machine loses at most the events of this
    /// time.
    Interval(Duration),
    /// Like `Interval`, but the operating system decides when written data goes to disk. A crash of
    /// the process loses the events of some ten milliseconds, which were not written yet. A crash
    /// of the machine also loses everything that the system had not put on disk, often half a
    /// minute.
    Os,
}

impl Default for Sync {
    fn default() -> Self {
        Self::Interval(defaults::SYNC_INTERVAL)
    }
}

impl fmt::Display for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EveryCommit => f.write_str("every-commit"),
            Self::Interval(time) => write!(f, "interval:{}", time.as_millis()),
            Self::Os => f.write_str("os"),
        }
    }
}

/// Returned when a text is not the name of a way to sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected every-commit, interval, interval:MS (1 to 60000 milliseconds) or os")]
pub struct InvalidSync;

impl FromStr for Sync {
    type Err = InvalidSync;

    fn from_str(text: &str) -> Result<Self, InvalidSync> {
        match text {
            "every-commit" => Ok(Self::EveryCommit),
            "interval" => Ok(Self::default()),
            "os" => Ok(Self::Os),
            _ => {
                let ms = text.strip_prefix("interval:").ok_or(InvalidSync)?;
                let ms = ms.parse().map_err(|_| InvalidSync)?;
                if !(1..=60_000).contains(&ms) {
                    return Err(InvalidSync);
                }
                Ok(Self::Interval(Duration::from_millis(ms)))
            }
        }
    }
}

/// The settings of a [`DiskStore`](crate::DiskStore). [`defaults`] explains the default values.
#[derive(Clone)]
#[non_exhaustive]
pub struct StoreConfig {
    /// When written events are on disk. Default: every 50 ms.
    pub sync: Sync,
    /// The most bytes of events to keep for each task. The oldest events are removed. Default: 64
    /// MiB.
    pub max_task_bytes: u64,
    /// The most bytes of events to keep over all tasks. Default: 8 GiB.
    pub max_total_bytes: u64,
    /// How long an event is kept. Default: 7 days.
    pub events_ttl: Duration,
    /// The clock that decides which events are too old. Default: the system's clock.
    pub clock: Arc<dyn Clock>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            sync: Sync::default(),
            max_task_bytes: defaults::MAX_TASK_BYTES,
            max_total_bytes: defaults::MAX_TOTAL_BYTES,
            events_ttl: defaults::EVENTS_TTL,
            clock: Arc::new(SystemClock),
        }
    }
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreConfig")
            .field("sync", &self.sync)
            .field("max_task_bytes", &self.max_task_bytes)
            .field("max_total_bytes", &self.max_total_bytes)
            .field("events_ttl", &self.events_ttl)
            .finish_non_exhaustive()
    }
}

impl StoreConfig {
    /// Sets [`sync`](Self::sync).
    #[must_use]
    pub fn sync(mut self, sync: Sync) -> Self {
        self.sync = sync;
        self
    }

    /// Sets [`max_task_bytes`](Self::max_task_bytes).
    #[must_use]
    pub fn max_task_bytes(mut self, bytes: u64) -> Self {
        self.max_task_bytes = bytes;
        self
    }

    /// Sets [`max_total_bytes`](Self::max_total_bytes).
    #[must_use]
    pub fn max_total_bytes(mut self, bytes: u64) -> Self {
        self.max_total_bytes = bytes;
        self
    }

    /// Sets [`events_ttl`](Self::events_ttl).
    #[must_use]
    pub fn events_ttl(mut self, ttl: Duration) -> Self {
        self.events_ttl = ttl;
        self
    }

    /// Sets [`clock`](Self::clock).
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_sync_are_named() {
        for text in ["every-commit", "interval:20", "os"] {
            assert_eq!(text.parse::<Sync>().unwrap().to_string(), text);
        }
        assert_eq!("interval".parse(), Ok(Sync::default()));
        for wrong in ["", "interval:", "interval:0", "interval:1s", "always"] {
            assert_eq!(wrong.parse::<Sync>(), Err(InvalidSync), "{wrong}");
        }
    }
}
