//! Leases: the time at which the bus notices a silent task.
//!
//! The module has two pure parts. [`Deadlines`] orders the deadlines, and [`judge`] decides
//! about one lease. The driver below them is one timer for all tasks.
//!
//! An event renews the lease in its task and does not change the order. The entry comes up at
//! its old time, finds the later deadline, and goes back.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use tidings_protocol::{Lease, LeaseExpiry, NewEvent, Position, TaskError, TaskId};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::lock::{Guard, Lock, place};
use crate::publish::append::{Prepared, PublishError, Refused};
use crate::shared::Shared;
use crate::store::{Store, StoreError};
use crate::tasks::task::{Rules, Task};

/// The most expiries that are published at a time.
const AT_A_TIME: usize = 64;

/// How often the bus asks a shared store for ended leases.
const POLL: Duration = Duration::from_secs(1);

/// The id of an entry, to cancel it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket {
    at: Instant,
    serial: u64,
}

/// Future deadlines, the earliest first. Cancelled entries leave nothing behind.
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
    /// Adds an entry. Returns its id, and whether it comes before all others.
    pub(crate) fn add(&mut self, at: Instant, what: T) -> (Ticket, bool) {
        self.serial += 1;
        let serial = self.serial;
        let ticket = Ticket { at, serial };
        self.queue.insert(ticket, what);
        let first = self.queue.first_key_value();
        (ticket, first.is_some_and(|(first, _)| *first == ticket))
    }

    /// Removes an entry. The entry may have come due already.
    pub(crate) fn cancel(&mut self, ticket: Ticket) {
        self.queue.remove(&ticket);
    }

    /// Returns the time at which the first entry comes due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first_key_value().map(|(ticket, _)| ticket.at)
    }

    /// Removes and returns the entries that have come due.
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
    /// Nothing to do before the deadline.
    Wait,
    /// The bus could not hear the producer. This lease replaces the old one.
    Extend(Lease),
    /// Publish the expiry. If that succeeds, this lease replaces the old one.
    Expired(LeaseExpiry, Lease),
}

/// Decides about a lease at `now`. `refused` is the last time at which the bus refused an event
/// because its store was unavailable. The refusal may be the only reason for the silence. The
/// producer therefore gets the full time again from then on.
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

/// A deadline of a task.
pub(crate) enum Deadline {
    /// The end of the task's lease.
    Lease(Weak<Task>),
    /// The expiry of one of the task's questions.
    Question(Weak<Task>),
}

/// The deadlines of all tasks, and the driver that waits for them.
#[derive(Default)]
pub(crate) struct Leases {
    deadlines: Lock<Deadlines<Deadline>, place::Leaf>,
    changed: Notify,
}

impl Leases {
    fn lock(&self) -> Guard<'_, Deadlines<Deadline>, place::Leaf> {
        self.deadlines.lock()
    }

    /// Replaces an entry by one that comes due at `at`, or removes it. Returns the id of the new
    /// entry.
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
    /// Makes the lease of a task come up at its deadline, and at no earlier one. The caller
    /// holds the task's rules, and calls it whenever a lease begins, changes or ends.
    pub(crate) fn schedule_lease(&self, task: &Arc<Task>, rules: &mut Rules) {
        // A store that keeps the time of leases tells when one ends.
        let lease = rules.lease.as_ref();
        let lease = lease.filter(|_| self.lease_keeper().is_none());
        // A deadline beyond the range of the clock counts as no deadline.
        let at = lease.and_then(|lease| self.started.checked_add(lease.deadline()));
        let ticket = rules.ticket.take();
        rules.ticket = self
            .leases
            .replace(ticket, at, || Deadline::Lease(Arc::downgrade(task)));
        rules.charge_lease();
    }

    /// Returns the store, if nodes share it and it keeps the time of leases for all of them.
    pub(crate) fn lease_keeper(&self) -> Option<&Arc<dyn Store>> {
        self.interest.as_ref()?;
        self.store.as_ref().filter(|store| store.keeps_leases())
    }

    /// Records that the store made the bus refuse an event.
    pub(crate) fn note_refused(&self) {
        *self.refused_at.lock() = Some(Instant::now());
    }

    /// Returns the time of the last refusal, counted from the start of the bus.
    fn refused_since_start(&self) -> Option<Duration> {
        let store = self.store.as_ref();
        if store.is_some_and(|store| !store.is_available()) {
            self.note_refused();
        }
        let refused = *self.refused_at.lock();
        refused.map(|at| at.duration_since(self.started))
    }
}

/// Publishes `task_stalled` and `task_failed` when leases end, and `input_expired` when
/// questions expire.
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
            biased;
            () = stop.cancelled() => return,
            () = shared.leases.changed.notified() => continue,
            () = timer => {}
        }
        let due = shared.leases.lock().due(Instant::now());
        futures_util::stream::iter(due)
            .for_each_concurrent(AT_A_TIME, |deadline| come_due(&shared, deadline))
            .await;
    }
}

/// Publishes the ends of leases that the shared store reports. No node owns a lease, so the death
/// of a node ends none.
pub(crate) async fn take_overdue(shared: Arc<Shared>, stop: CancellationToken) {
    let Some(store) = shared.lease_keeper().cloned() else {
        return;
    };
    let mut timer = tokio::time::interval(POLL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = timer.tick() => {}
        }
        let overdue = match store.overdue(AT_A_TIME).await {
            Ok(overdue) => overdue,
            Err(_) => {
                // The store reports its own failure. Producers could not be heard either.
                shared.note_refused();
                continue;
            }
        };
        futures_util::stream::iter(overdue)
            .for_each_concurrent(AT_A_TIME, |(task_id, at)| {
                end_lease(&shared, &store, task_id, at)
            })
            .await;
    }
}

/// Publishes the end of a task's lease, unless the task has had an event after `at`. If the event
/// was no sign of life, the store reports the lease again.
async fn end_lease(shared: &Arc<Shared>, store: &Arc<dyn Store>, task_id: TaskId, at: Position) {
    let current = async {
        let Some(task) = shared.fetch(&task_id, None).await? else {
            return Ok(None);
        };
        let turn = task.commit.lock().await;
        shared.catch_up(store, &task).await?;
        drop(turn);
        Ok(Some(task))
    };
    let task = match current.await {
        Ok(Some(task)) => task,
        Ok(None) => return,
        Err(error) => {
            let error: StoreError = error;
            shared.note_refused();
            tracing::debug!(%task_id, %error, "a task whose lease is over could not be read");
            return;
        }
    };
    {
        let mut rules = task.lock_rules();
        let state = task.snapshot();
        if state.epoch != at.epoch || state.offset > at.offset {
            // A node has published since the store looked.
            return;
        }
        let Some(lease) = rules.lease else { return };
        // The lease has ended just now. A bus that is younger than the lease does not know whether
        // the producer could reach a node before. The lease then runs for the rest of its time.
        let now = Instant::now().duration_since(shared.started);
        let began = now.saturating_sub(lease.duration());
        rules.lease = Some(Lease::resume(lease.duration(), began, state.stalled));
    }
    expire(shared, task).await;
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
            // The lease has not changed, so it comes up again.
            shared.note_refused();
            tracing::warn!(task_id = %task.id(), %error, "the end of a lease could not be published yet");
        }
    }
    shared.schedule_lease(&task, &mut task.lock_rules());
}

enum Decision {
    Nothing,
    /// Published under the lock of the decision, so that no event could come in between.
    Published(Result<(), PublishError>),
    /// To be published through the store, if the lease is still the same then.
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

/// The lease that an event of the bus ends, and the lease after it.
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
        // A refusal before the producer's last event does not count.
        let before = judge(lease, 11 * SECOND, Some(SECOND / 2));
        assert!(matches!(before, Verdict::Expired(LeaseExpiry::Stalled, _)));
        // A reported stall stays reported.
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
