//! The events of a task that wait to be stored.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::publish::error::{Published, Refused};
use crate::publish::prepared::Prepared;

/// The most events, and the most bytes of their data, that are stored together. They take a few
/// milliseconds of CPU time, for which the first event waits.
const MAX_EVENTS: usize = 256;
const MAX_BYTES: usize = 1024 * 1024;

pub(crate) type Answer = Result<Published, Refused>;

/// An event on its way to the store, and the channel for its answer.
pub(crate) struct Waiter {
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// The waiting events of a task.
#[derive(Default)]
pub(crate) struct Waiting {
    pub(crate) events: VecDeque<Waiter>,
    /// Whether the task has a worker, which continues until no events wait.
    pub(crate) working: bool,
}

impl Waiting {
    /// Returns whether an event has an id under which it may already be stored.
    pub(crate) fn has_ids(&self) -> bool {
        self.events.iter().any(Waiter::has_id)
    }

    /// Returns whether no events wait and no worker runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.events.is_empty() && !self.working
    }

    /// Returns whether no events wait. If so, the worker's work is over.
    pub(crate) fn is_over(&mut self) -> bool {
        self.working = !self.events.is_empty();
        !self.working
    }

    /// Takes the first waiting events. Returns `None`, and ends the worker's work, if there are
    /// none.
    pub(crate) fn take(&mut self) -> Option<Vec<Waiter>> {
        let mut bytes = 0;
        let fits = |waiter: &&Waiter| {
            let first = bytes == 0;
            bytes += waiter.prepared.event.data.as_str().len();
            first || bytes <= MAX_BYTES
        };
        let count = self.events.iter().take(MAX_EVENTS).take_while(fits).count();
        self.working = count > 0;
        self.working.then(|| self.events.drain(..count).collect())
    }
}

impl Waiter {
    pub(crate) fn has_id(&self) -> bool {
        self.prepared.event.event_id.is_some()
    }
}
