//! When the bus looks at a parent whose children have changed.
//!
//! [`Schedule`] is the pure part: at most four looks a second, for any number of changes.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tidings_protocol::TaskId;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::lock::{Guard, Lock, place};

/// The state of one parent that was looked at recently, or will be.
#[derive(Debug, Default)]
struct Parent {
    /// True if a child has changed since the look began.
    changed: bool,
    /// True while a worker looks at the parent.
    busy: bool,
}

/// The times at which parents are looked at. Pure.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    parents: HashMap<TaskId, Parent>,
    queue: BTreeSet<(Instant, TaskId)>,
}

impl Schedule {
    /// Records that a child has changed. Returns whether the parent is due at once.
    pub(crate) fn mark(&mut self, parent: &TaskId, now: Instant) -> bool {
        if let Some(known) = self.parents.get_mut(parent) {
            known.changed = true;
            return false;
        }
        let (changed, busy) = (true, false);
        self.parents
            .insert(parent.clone(), Parent { changed, busy });
        self.queue.insert((now, parent.clone()));
        true
    }

    /// Returns when the next parent comes up.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes the parents that need a look now. The caller returns each of them with
    /// [`done`](Self::done).
    pub(crate) fn due(&mut self, now: Instant) -> Vec<TaskId> {
        let mut due = Vec::new();
        while self.queue.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, parent)) = self.queue.pop_first() else {
                break;
            };
            let Some(known) = self.parents.get_mut(&parent) else {
                continue;
            };
            if known.changed {
                (known.changed, known.busy) = (false, true);
                due.push(parent);
            } else {
                // The pause is over, and nothing has changed.
                self.parents.remove(&parent);
            }
        }
        due
    }

    /// Ends a look at a parent. If something has changed since the look began, or if `again`,
    /// the parent is looked at again after `pause`.
    pub(crate) fn done(&mut self, parent: &TaskId, again: bool, pause: Duration, now: Instant) {
        let Some(known) = self.parents.get_mut(parent) else {
            return;
        };
        known.busy = false;
        known.changed |= again;
        self.queue.insert((now + pause, parent.clone()));
    }
}

/// The schedule of a bus, and the driver that waits for it.
#[derive(Default)]
pub(crate) struct Due {
    schedule: Lock<Schedule, place::Leaf>,
    changed: Notify,
}

impl Due {
    pub(super) fn lock(&self) -> Guard<'_, Schedule, place::Leaf> {
        self.schedule.lock()
    }

    /// Waits until a parent is due at once.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Asks for a look at a parent soon.
    pub(super) fn mark(&self, parent: &TaskId) {
        if self.lock().mark(parent, Instant::now()) {
            self.changed.notify_one();
        }
    }
}
