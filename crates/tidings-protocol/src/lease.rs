//! Leases: how the bus notices that a task has fallen silent.

use std::time::Duration;

/// The action that an expired lease needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseExpiry {
    /// The producer was silent for one lease. Report that the task stalls.
    Stalled,
    /// The producer was silent for a second lease after that. The task is lost.
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Alive,
    Stalled,
    Lost,
}

/// The lease of one task. Times are durations since a moment that the caller chooses.
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
    /// Creates a lease that begins at `now`.
    pub fn new(duration: Duration, now: Duration) -> Self {
        Self {
            duration,
            deadline: now.saturating_add(duration),
            state: State::Alive,
        }
    }

    /// Creates a lease that continues at `now`, after the process that keeps it was away. The
    /// producer gets the full duration again, because it could not be heard in the meantime.
    /// `stalled` says whether the first expiry was already reported.
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

    /// Restarts the lease, because the producer was heard.
    pub fn renew(&mut self, now: Duration) {
        *self = Self::new(self.duration, now);
    }

    /// Gives the producer the full duration again from `now` on, because it could not be heard
    /// before. An expiry that was already reported is not reported again.
    pub fn extend(&mut self, now: Duration) {
        if self.state != State::Lost {
            self.deadline = now.saturating_add(self.duration);
        }
    }

    /// Returns the expiry that is due at `now`, each one once. The second expiry comes at least one
    /// lease after the first was reported.
    pub fn poll(&mut self, now: Duration) -> Option<LeaseExpiry> {
        if now < self.deadline {
            return None;
        }
        match self.state {
            State::Alive => {
                self.state = State::Stalled;
                // Count from now, not from the deadline: a late poll has not warned the producer
                // earlier.
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

    /// Returns the time of the next poll, or `Duration::MAX` once the task is lost.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Returns the duration of the lease.
    pub fn duration(&self) -> Duration {
        self.duration
    }
}
