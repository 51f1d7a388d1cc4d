//! Leases: when a task that falls silent is to be noticed.
//!
//! Two pure parts: [`Deadlines`] orders what comes due, and [`judge`] decides
//! about one lease. The driver below them is one timer for all tasks.
//!
//! An event renews a lease in its task and leaves the order alone: the entry
//! comes up at its old time, sees that the deadline has moved, and goes back in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use tidings_protocol::{Lease, LeaseExpiry, NewEvent, TaskError};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::publish::append::{Prepared, PublishError, Refused};
use crate::shared::Shared;
use crate::tasks::task::{Rules, Task};

/// Expiries that are published at a time.
const AT_A_TIME: usize = 64;

/// Names an entry, to cancel it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket {
    at: Instant,
    serial: u64,
}

/// Deadlines to come, the earliest first. Cancelled entries leave nothing.
#[derive(Debug)]
pub(crate) struct Deadlines<T> {
    queue: BTreeMap<Ticket, T>,
    serial: u64,
}

impl<T> Default for Deadlines<T> {
    fn default() -> Self {
        Self {
            queue: BTreeMap::new(),
            serial: 0,
        }
    }
}

impl<T> Deadlines<T> {
    /// Adds an entry. Returns its name, and whether it comes before all others.
    pub(crate) fn add(&mut self, at: Instant, what: T) -> (Ticket, bool) {
        self.serial += 1;
        let serial = self.serial;
        let ticket = Ticket { at, serial };
        self.queue.insert(ticket, what);
        let first = self.queue.first_key_value();
        (ticket, first.is_some_and(|(first, _)| *first == ticket))
    }

    /// Takes an entry out. It may have come due already.
    pub(crate) fn cancel(&mut self, ticket: Ticket) {
        self.queue.remove(&ticket);
    }

    /// Returns when the first entry comes due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first_key_value().map(|(ticket, _)| ticket.at)
    }

    /// Takes the entries out that have come due.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<T> {
        let later = Ticket {
            at: now,
            serial: u64::MAX,
        };
        let rest = self.queue.split_off(&later);
        std::mem::replace(&mut self.queue, rest)
            .into_values()
            .collect()
    }
}

/// The action that a lease needs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing before its deadline.
    Wait,
    /// The producer could not be heard: the lease is this one instead.
    Extend(Lease),
    /// Say so, and if that succeeds the lease is this one.
    Expired(LeaseExpiry, Lease),
}

/// Decides about a lease at `now`. `refused` is when the bus last refused an event
/// because its store was unavailable. A producer may have been silent for that
/// reason only, so it gets all of its time once more from then on.
pub(crate) fn judge(lease: Lease, now: Duration, refused: Option<Duration>) -> Verdict {
    let mut next = lease;
    let Some(expiry) = next.poll(now) else {
        return Verdict::Wait;
    };
    let began = lease.deadline().saturating_sub(lease.duration());
    match refused {
        Some(refused) if refused >= began => {
            let mut extended = lease;
            extended.extend(refused);
            if now < extended.deadline() {
                return Verdict::Extend(extended);
            }
        }
        _ => {}
    }
    Verdict::Expired(expiry, next)
}

/// Something of a task that comes due.
pub(crate) enum Deadline {
    /// Its lease runs out.
    Lease(Weak<Task>),
    /// One of its questions expires.
    Question(Weak<Task>),
}

/// The deadlines of all tasks, and who waits for them.
#[derive(Default)]
pub(crate) struct Leases {
    deadlines: Mutex<Deadlines<Deadline>>,
    changed: Notify,
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, Deadlines<Deadline>> {
        self.deadlines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces an entry by one that comes due at `at`, or by none. Returns the name
    /// of the new one.
    pub(crate) fn replace(
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
}

impl Shared {
    /// Has the lease of a task come up at its deadline, and not at any earlier
    /// one; called with the task's rules whenever a lease begins, changes or ends.
    pub(crate) fn schedule_lease(&self, task: &Arc<Task>, rules: &mut Rules) {
        let lease = rules.lease.as_ref();
        // A deadline that no clock will reach is none.
        let at = lease.and_then(|lease| self.started.checked_add(lease.deadline()));
        let ticket = rules.ticket.take();
        rules.ticket = self
            .leases
            .replace(ticket, at, || Deadline::Lease(Arc::downgrade(task)));
    }

    /// Notes that the store made the bus refuse an event.
    pub(crate) fn note_refused(&self) {
        *self
            .refused_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Returns when that was last, counted from the bus's start.
    fn refused_since_start(&self) -> Option<Duration> {
        let store = self.store.as_ref();
        if store.is_some_and(|store| !store.is_available()) {
            self.note_refused();
        }
        let refused = *self
            .refused_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        refused.map(|at| at.duration_since(self.started))
    }
}

/// Publishes `task_stalled` and `task_failed` when leases run out, and
/// `input_expired` when the time of questions is up.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let next = shared.leases.lock().next();
        let timer = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = timer => {}
            () = shared.leases.changed.notified() => continue,
            () = stop.cancelled() => return,
        }
        let due = shared.leases.lock().due(Instant::now());
        futures_util::stream::iter(due)
            .for_each_concurrent(AT_A_TIME, |deadline| come_due(&shared, deadline))
            .await;
    }
}

async fn come_due(shared: &Arc<Shared>, deadline: Deadline) {
    match deadline {
        Deadline::Lease(task) => {
            if let Some(task) = task.upgrade() {
                expire(shared, task).await;
            }
        }
        Deadline::Question(task) => {
            if let Some(task) = task.upgrade() {
                shared.expire_questions(&task).await;
            }
        }
    }
}

async fn expire(shared: &Arc<Shared>, task: Arc<Task>) {
    let published = match decide(shared, &task) {
        Decision::Nothing => return,
        Decision::Published(result) => result,
        Decision::Publish(prepared) => {
            let published = shared.publish_prepared(task.id(), *prepared).await;
            published.map(|_| ())
        }
    };
    task.topic().announce();
    match published {
        Ok(()) => {}
        Err(error @ PublishError::Transition(_)) => {
            tracing::debug!(task_id = %task.id(), %error, "a lease ran out as an event came");
        }
        Err(error) => {
            // The lease is as it was before, so it comes up again.
            shared.note_refused();
            tracing::warn!(task_id = %task.id(), %error, "the end of a lease could not be published yet");
        }
    }
    shared.schedule_lease(&task, &mut task.lock_rules());
}

enum Decision {
    Nothing,
    /// Done under the lock of the decision, so that no event could slip in between.
    Published(Result<(), PublishError>),
    /// To be done through the store, if the lease is still the same then.
    Publish(Box<Prepared>),
}

fn decide(shared: &Arc<Shared>, task: &Arc<Task>) -> Decision {
    let refused = shared.refused_since_start();
    let mut guard = task.lock_rules();
    let rules = &mut *guard;
    let Some(lease) = rules.lease else {
        return Decision::Nothing;
    };
    let now = Instant::now();
    let (expiry, next) = match judge(lease, now.duration_since(shared.started), refused) {
        Verdict::Expired(expiry, next) => (expiry, next),
        Verdict::Extend(extended) => {
            rules.lease = Some(extended);
            shared.schedule_lease(task, rules);
            return Decision::Nothing;
        }
        Verdict::Wait => {
            shared.schedule_lease(task, rules);
            return Decision::Nothing;
        }
    };
    let event = match expiry {
        LeaseExpiry::Stalled => NewEvent::task_stalled(),
        LeaseExpiry::Lost => NewEvent::task_failed(TaskError::lost()),
    };
    // The bus's own events are small and well-formed.
    let Ok(mut prepared) = Prepared::new(event, usize::MAX) else {
        return Decision::Nothing;
    };
    prepared.expiry = Some(Expiry { lease, next });
    if shared.writes_through().is_some() {
        return Decision::Publish(Box::new(prepared));
    }
    Decision::Published(match shared.append(task, rules, &prepared, now) {
        Err(Refused::Answer(Err(error))) => Err(error),
        _ => Ok(()),
    })
}

/// The lease that an event of the bus ends, and what it becomes by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expiry {
    pub(crate) lease: Lease,
    pub(crate) next: Lease,
}

#[cfg(test)]
mod tests {
    use tidings_protocol::{Data, EventType, TaskId};

    use super::*;
    use crate::{BusConfig, EventBus};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn entries_come_up_in_order_and_cancelled_ones_leave_nothing() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        let (_, first) = deadlines.add(start + 3 * SECOND, "c");
        assert!(first);
        let (a, first) = deadlines.add(start + SECOND, "a");
        assert!(first);
        let (_, first) = deadlines.add(start + 2 * SECOND, "b");
        assert!(!first);
        deadlines.cancel(a);
        assert_eq!(deadlines.next(), Some(start + 2 * SECOND));
        assert_eq!(deadlines.due(start + SECOND), [""; 0]);
        assert_eq!(deadlines.due(start + 3 * SECOND), ["b", "c"], "inclusive");
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_lease_stalls_and_then_is_lost() {
        let lease = Lease::new(10 * SECOND, SECOND);
        assert_eq!(judge(lease, 10 * SECOND, None), Verdict::Wait);
        let Verdict::Expired(LeaseExpiry::Stalled, next) = judge(lease, 11 * SECOND, None) else {
            panic!("it has run out");
        };
        assert_eq!(judge(next, 20 * SECOND, None), Verdict::Wait);
        let lost = judge(next, 21 * SECOND, None);
        assert!(matches!(lost, Verdict::Expired(LeaseExpiry::Lost, _)));
    }

    #[test]
    fn a_producer_that_was_refused_gets_all_of_its_time_once_more() {
        let lease = Lease::new(10 * SECOND, SECOND);
        let Verdict::Extend(extended) = judge(lease, 11 * SECOND, Some(5 * SECOND)) else {
            panic!("the bus refused events meanwhile");
        };
        assert_eq!(extended.deadline(), 15 * SECOND);
        // A refusal before the producer's last event is no excuse.
        let before = judge(lease, 11 * SECOND, Some(SECOND / 2));
        assert!(matches!(before, Verdict::Expired(LeaseExpiry::Stalled, _)));
        // A stall that was told stays told.
        let Verdict::Expired(_, stalled) = judge(lease, 11 * SECOND, None) else {
            panic!("it has run out");
        };
        let Verdict::Extend(extended) = judge(stalled, 21 * SECOND, Some(20 * SECOND)) else {
            panic!("the bus refused events meanwhile");
        };
        let next = judge(extended, 30 * SECOND, Some(20 * SECOND));
        assert!(matches!(next, Verdict::Expired(LeaseExpiry::Lost, _)));
    }

    fn started(lease_ms: u64) -> NewEvent {
        let data = format!(r#"{{"name":"work","lease_ms":{lease_ms}}}"#);
        NewEvent::new(EventType::TaskStarted, Data::parse(&data).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_has_one_deadline_however_often_it_is_started() {
        let bus = EventBus::new(BusConfig::default()).unwrap();
        let task = TaskId::new("t").unwrap();
        let waiting = || bus.shared.leases.lock().queue.len();
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
