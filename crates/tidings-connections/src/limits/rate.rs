//! So much a second, and so much at once (the generic cell rate algorithm).

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, MonotonicClock};
use governor::state::keyed::HashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::Who;

/// How long whoever asks for more at once than there ever is is told to wait.
const NEVER: Duration = Duration::from_secs(60);

/// A rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

impl Rate {
    /// So much a second on average, and `burst` at once; of each at least one.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        Self {
            per_second: at_least_one(per_second),
            burst: at_least_one(burst.max(per_second)),
        }
    }

    /// What twice as much at once makes: the usual burst.
    pub fn per_second(per_second: u32) -> Self {
        Self::new(per_second, per_second.saturating_mul(2))
    }

    fn quota(self) -> Quota {
        Quota::per_second(self.per_second).allow_burst(self.burst)
    }
}

fn cells(count: usize) -> NonZeroU32 {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)
}

/// One rate for each of many clients.
pub(crate) struct Keyed(RateLimiter<Who, HashMapStateStore<Who>, MonotonicClock>);

impl Keyed {
    pub(crate) fn new(rate: Rate) -> Self {
        let store = HashMapStateStore::default();
        Self(RateLimiter::new(rate.quota(), store, MonotonicClock))
    }

    /// Takes some; else says how long until there is as much.
    pub(crate) fn take(&self, who: &Who, count: usize) -> Result<(), Duration> {
        match self.0.check_key_n(who, cells(count)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(not_until.wait_time_from(MonotonicClock.now())),
            Err(_) => Err(NEVER),
        }
    }

    pub(crate) fn tidy(&self) {
        self.0.retain_recent();
        self.0.shrink_to_fit();
    }
}

type Direct = RateLimiter<NotKeyed, InMemoryState, MonotonicClock>;

/// The rates of one connection.
pub(crate) struct Own {
    messages: Option<Direct>,
    bytes: Option<Direct>,
    /// Messages refused since the last one that was not.
    pub(crate) refused: u32,
}

fn take(rate: Option<&Direct>, count: usize) -> Result<(), Duration> {
    let Some(rate) = rate else { return Ok(()) };
    match rate.check_n(cells(count)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(not_until)) => Err(not_until.wait_time_from(MonotonicClock.now())),
        Err(_) => Err(NEVER),
    }
}

impl Own {
    pub(crate) fn new(messages: Option<Rate>, bytes: Option<Rate>) -> Self {
        let direct =
            |rate: Rate| RateLimiter::new(rate.quota(), InMemoryState::default(), MonotonicClock);
        Self {
            messages: messages.map(direct),
            bytes: bytes.map(direct),
            refused: 0,
        }
    }

    pub(crate) fn message(&self) -> Result<(), Duration> {
        take(self.messages.as_ref(), 1)
    }

    pub(crate) fn bytes(&self, count: usize) -> Result<(), Duration> {
        take(self.bytes.as_ref(), count)
    }
}
