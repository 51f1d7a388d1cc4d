//! The deadlines of all tasks.
//!
//! An event renews the lease in its task and does not change the order. The entry comes up at
//! its old time, finds the later deadline, and goes back.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tidings_protocol::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::lock::{Guard, Lock, place};
use crate::tasks::deadlines::{Deadlines, Ticket};
use crate::tasks::task::{Rules, Task};

/// A deadline of a task.
pub(crate) enum Deadline {
    /// The end of the task's lease.
    Lease(Weak<Task>),
    /// The expiry of one of the task's questions.
    Question(Weak<Task>),
}

/// The deadlines of all tasks, and the last time at which the bus could not hear producers.
pub(crate) struct Leases {
    deadlines: Lock<Deadlines<Deadline>, place::Leaf>,
    changed: Notify,
    /// The times of leases count from here.
    started: Instant,
    /// Whether a shared store keeps the time of leases. This node then has no timers for them.
    kept_elsewhere: bool,
    /// When the store last made the bus refuse an event.
    refused_at: Lock<Option<Instant>, place::Leaf>,
}

impl Leases {
    pub(crate) fn new(started: Instant, kept_elsewhere: bool) -> Self {
        Self {
            deadlines: Lock::default(),
            changed: Notify::new(),
            started,
            kept_elsewhere,
            refused_at: Lock::default(),
        }
    }

    fn lock(&self) -> Guard<'_, Deadlines<Deadline>, place::Leaf> {
        self.deadlines.lock()
    }

    /// Makes the lease of a task come up at its deadline, and at no earlier one. The caller
    /// holds the task's rules, and calls it whenever a lease begins, changes or ends.
    pub(crate) fn schedule(&self, task: &Arc<Task>, rules: &mut Rules) {
        let lease = rules.lease.as_ref().filter(|_| !self.kept_elsewhere);
        // A deadline beyond the range of the clock counts as no deadline.
        let at = lease.and_then(|lease| self.started.checked_add(lease.deadline()));
        let ticket = rules.ticket.take();
        rules.ticket = self.replace(ticket, at, || Deadline::Lease(Arc::downgrade(task)));
        rules.charge_lease();
    }

    /// Makes the first expiry of a task's questions come up. The caller holds the task's rules.
    pub(crate) fn schedule_question(&self, task: &Arc<Task>, rules: &mut Rules, now: Timestamp) {
        let until = rules.asking().until;
        let wait = until
            .map(|until| Duration::from_millis(until.as_millis().saturating_sub(now.as_millis())));
        self.schedule_question_in(task, rules, wait);
    }

    /// Makes the questions of a task come up after `wait`, or never.
    pub(crate) fn schedule_question_in(
        &self,
        task: &Arc<Task>,
        rules: &mut Rules,
        wait: Option<Duration>,
    ) {
        let at = wait.and_then(|wait| Instant::now().checked_add(wait));
        let ticket = rules.expiry.take();
        rules.expiry = self.replace(ticket, at, || Deadline::Question(Arc::downgrade(task)));
    }

    /// Replaces an entry by one that comes due at `at`, or removes it. Returns the id of the new
    /// entry.
    fn replace(
        &self,
        ticket: Option<Ticket>,
        at: Option<Instant>,
        deadline: impl FnOnce() -> Deadline,
    ) -> Option<Ticket> {
        if ticket.is_none() && at.is_none() {
            return None;
        }
        let mut deadlines = self.lock();
        if let Some(ticket) = ticket {
            deadlines.cancel(ticket);
        }
        let (ticket, first) = deadlines.add(at?, deadline());
        if first {
            self.changed.notify_one();
        }
        Some(ticket)
    }

    /// Returns the time of the first deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.lock().next()
    }

    /// Removes and returns the deadlines that have come due.
    pub(crate) fn due(&self, now: Instant) -> Vec<Deadline> {
        self.lock().due(now)
    }

    /// Waits until another deadline comes first.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Records that the store made the bus refuse an event.
    pub(crate) fn note_refused(&self) {
        *self.refused_at.lock() = Some(Instant::now());
    }

    /// Returns the time of the last refusal, counted from the start of the bus.
    pub(crate) fn refused(&self) -> Option<Duration> {
        let refused = *self.refused_at.lock();
        refused.map(|at| at.duration_since(self.started))
    }
}

#[cfg(test)]
mod tests {
    use tidings_protocol::{Data, EventType, NewEvent, TaskId};

    use crate::bus::EventBus;
    use crate::config::BusConfig;

    fn started(lease_ms: u64) -> NewEvent {
        let data = format!(r#"{{"name":"work","lease_ms":{lease_ms}}}"#);
        NewEvent::new(EventType::TaskStarted, Data::parse(&data).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_has_one_deadline_however_often_it_is_started() {
        let bus = EventBus::new(BusConfig::default()).unwrap();
        let task = TaskId::new("t").unwrap();
        let waiting = || bus.shared.leases.lock().len();
        for _ in 0..1_000 {
            bus.publish(&task, started(30_000)).await.unwrap();
            assert_eq!(waiting(), 1);
            bus.task_completed(&task, None).await.unwrap();
            assert_eq!(waiting(), 0, "an ended task has no deadline");
        }
        bus.publish(&task, started(30_000)).await.unwrap();
        bus.remove(&task).await.unwrap();
        assert_eq!(waiting(), 0, "nor has a removed one");
    }
}
