//! The buckets of many clients, and those of one connection.

use std::collections::HashMap;
use std::time::Duration;

use tidings_bus::lock::{Guard, Lock, place};
use tokio::time::Instant;

use super::Who;
use super::bucket::{Bucket, Rate};

/// One rate for each of many clients.
pub(crate) struct Keyed {
    rate: Rate,
    /// No other lock is taken while this lock is held. It is held for one step only.
    buckets: Lock<HashMap<Who, Bucket>, place::Leaf>,
}

impl Keyed {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            buckets: Lock::default(),
        }
    }

    fn buckets(&self) -> Guard<'_, HashMap<Who, Bucket>, place::Leaf> {
        self.buckets.lock()
    }

    /// Takes `count` for this client. Otherwise returns the time until there is as much.
    pub(crate) fn take(&self, who: Who, count: usize) -> Result<(), Duration> {
        let mut buckets = self.buckets();
        // The clock is read under the lock, so that the times of one client never go back.
        let now = Instant::now();
        let bucket = buckets.entry(who).or_default();
        bucket.take(self.rate, count, now)
    }

    /// Removes the clients whose bucket is full.
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

    /// Takes messages, or frames that are no messages.
    pub(crate) fn messages(&mut self, count: usize) -> Result<(), Duration> {
        take(&mut self.messages, count)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<(), Duration> {
        take(&mut self.bytes, count)
    }
}
