//! The buckets of many clients, and those of one connection.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Who;
use super::bucket::{Bucket, Rate};

/// One rate for each of many clients.
pub(crate) struct Keyed {
    rate: Rate,
    /// A leaf lock, held for the length of one step.
    buckets: Mutex<HashMap<Who, Bucket>>,
}

impl Keyed {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            buckets: Mutex::default(),
        }
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<Who, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes some; else says how long until there is as much.
    pub(crate) fn take(&self, who: Who, count: usize) -> Result<(), Duration> {
        let mut buckets = self.buckets();
        // Under the lock, so that the times of one client never go back.
        let now = Instant::now();
        let bucket = buckets.entry(who).or_default();
        bucket.take(self.rate, count, now)
    }

    /// Forgets the clients whose bucket is full.
    pub(crate) fn tidy(&self) {
        let mut buckets = self.buckets();
        let now = Instant::now();
        buckets.retain(|_, bucket| !bucket.is_full(now));
        buckets.shrink_to_fit();
    }
}

/// The rates of one connection.
pub(crate) struct Own {
    messages: Option<(Rate, Bucket)>,
    bytes: Option<(Rate, Bucket)>,
}

fn take(own: &mut Option<(Rate, Bucket)>, count: usize) -> Result<(), Duration> {
    let Some((rate, bucket)) = own else {
        return Ok(());
    };
    bucket.take(*rate, count, Instant::now())
}

impl Own {
    pub(crate) fn new(messages: Option<Rate>, bytes: Option<Rate>) -> Self {
        let full = |rate: Rate| (rate, Bucket::default());
        Self {
            messages: messages.map(full),
            bytes: bytes.map(full),
        }
    }

    /// Takes some messages, or frames that are none.
    pub(crate) fn messages(&mut self, count: usize) -> Result<(), Duration> {
        take(&mut self.messages, count)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<(), Duration> {
        take(&mut self.bytes, count)
    }
}
