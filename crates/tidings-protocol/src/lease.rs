//! Leases: a task that falls silent is noticed.

use std::time::Duration;

/// What a lease that has run out asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseExpiry {
    /// Nothing was heard for as long as the lease: say that the task stalls.
    Stalled,
    /// Nor for as long again: the task is lost.
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Alive,
    Stalled,
    Lost,
}

/// One task's lease. Times are distances from a start that the caller chooses.
///
/// ```
/// use std::time::Duration;
/// use tidings_protocol::{Lease, LeaseExpiry};
///
/// let second = Duration::from_secs;
/// let mut lease = Lease::new(second(10), second(0));
/// assert_eq!(lease.poll(second(9)), None);
/// assert_eq!(lease.poll(second(10)), Some(LeaseExpiry::Stalled));
/// assert_eq!(lease.poll(second(10)), None);
/// assert_eq!(lease.deadline(), second(20));
/// assert_eq!(lease.poll(second(20)), Some(LeaseExpiry::Lost));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    duration: Duration,
    deadline: Duration,
    state: State,
}

impl Lease {
    /// A lease that begins at `now`.
    pub fn new(duration: Duration, now: Duration) -> Self {
        Self {
            duration,
            deadline: now.saturating_add(duration),
            state: State::Alive,
        }
    }

    /// A lease that goes on at `now`, after whoever keeps it was away: that was
    /// no silence of the producer's, so it has all of its time once more.
    /// `stalled` if the first expiry was told before.
    pub fn resume(duration: Duration, now: Duration, stalled: bool) -> Self {
        let state = if stalled {
            State::Stalled
        } else {
            State::Alive
        };
        Self {
            state,
            ..Self::new(duration, now)
        }
    }

    /// The producer was heard.
    pub fn renew(&mut self, now: Duration) {
        *self = Self::new(self.duration, now);
    }

    /// Gives the producer all of its time once more from `now` on, because it
    /// could not be heard before. What was told about it stays told.
    pub fn extend(&mut self, now: Duration) {
        if self.state != State::Lost {
            self.deadline = now.saturating_add(self.duration);
        }
    }

    /// What has come due: each expiry once, and the second never before the
    /// first was told as long ago as the lease lasts.
    pub fn poll(&mut self, now: Duration) -> Option<LeaseExpiry> {
        if now < self.deadline {
            return None;
        }
        match self.state {
            State::Alive => {
                self.state = State::Stalled;
                // From now and not from the deadline: whoever polls late has
                // given the producer no notice before.
                self.deadline = now.saturating_add(self.duration);
                Some(LeaseExpiry::Stalled)
            }
            State::Stalled => {
                self.state = State::Lost;
                self.deadline = Duration::MAX;
                Some(LeaseExpiry::Lost)
            }
            State::Lost => None,
        }
    }

    /// When to poll next; `Duration::MAX` once the task is lost.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// How long it lasts.
    pub fn duration(&self) -> Duration {
        self.duration
    }
}
