//! A task: its log with watchers, and the rules that a publish must pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidings_protocol::{Epoch, Lease, ProducerLedger, TaskId, TaskSnapshot};
use tokio::time::Instant;

use crate::cluster::incoming::Incoming;
use crate::deliver::topic::Topic;
use crate::ledger::{Account, Kind, Tally};
use crate::lock::{Guard, Lock, place};
use crate::log::Log;
use crate::publish::waiting::Waiting;
use crate::store::StoredRules;
use crate::tasks::deadlines::Ticket;
use crate::tasks::eviction::Place;
use crate::tasks::idempotency::IdempotencyWindow;
use crate::tasks::listed::{Asking, Listed};
use crate::tasks::starts::Starts;
use crate::tasks::trees::kin::KIN_BYTES;

/// Bytes that the stamp of one producer costs: two ids, two numbers, and the numbers of its
/// last events.
const PRODUCER_BYTES: u64 = 256;

/// Bytes that a lease costs: its entry among the deadlines.
const LEASE_BYTES: u64 = 128;

/// A task known to the bus.
pub struct Task {
    id: TaskId,
    topic: Arc<Topic>,
    rules: Lock<Rules, place::Rules>,
    /// The turn of the task. A change of the task in a store, or from there, needs the turn.
    pub(crate) commit: tokio::sync::Mutex<()>,
    /// Events that wait to be stored.
    waiting: Lock<Waiting, place::Leaf>,
    /// News from other nodes.
    incoming: Lock<Incoming, place::Leaf>,
    /// True if the task came from a store, and the ids of its events must still be read.
    pub(crate) cold: AtomicBool,
    /// True if the store has the task, and it must still be read.
    pub(crate) absent: AtomicBool,
    /// True if the task waits to be saved.
    pub(crate) unsaved: AtomicBool,
}

/// The state that decides about a publish, and the times for retention.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) ids: IdempotencyWindow,
    pub(crate) producers: ProducerLedger,
    pub(crate) lease: Option<Lease>,
    /// The starts of the latest runs.
    pub(crate) starts: Starts,
    /// The time of the last event, or of the task's creation.
    pub(crate) touched: Instant,
    /// The time at which the task ended. `None` while it runs.
    pub(crate) finished: Option<Instant>,
    /// True if events of another node were taken in, and the rules after them must still be read.
    pub(crate) outdated: bool,
    /// The number of changes of the stored rules. The count continues over resets.
    pub(crate) changes: u64,
    /// The number of changes that a write-behind store has.
    pub(crate) saved: u64,
    /// The lease's entry among the deadlines. `None` if there is no lease.
    pub(crate) ticket: Option<Ticket>,
    /// The entry of the next question expiry among the deadlines.
    pub(crate) expiry: Option<Ticket>,
    /// The keys under which the task is listed.
    pub(crate) listed: Option<Listed>,
    /// The place of the task in the order of eviction. `None` while it cannot release memory.
    pub(crate) place: Option<Place>,
    /// The bytes of the rules, and the account that pays for them.
    tally: Tally,
}

impl Rules {
    pub(crate) fn new(now: Instant, account: &Account) -> Self {
        Self {
            ids: IdempotencyWindow::default(),
            producers: ProducerLedger::default(),
            lease: None,
            starts: Starts::default(),
            touched: now,
            finished: None,
            outdated: false,
            changes: 0,
            saved: 0,
            ticket: None,
            expiry: None,
            listed: None,
            place: None,
            tally: account.tally(),
        }
    }

    /// Starts again. The task keeps its account and its entries in other tables. The caller
    /// schedules the lease and lists the task again.
    pub(crate) fn reset(&mut self, now: Instant) {
        let changes = self.changes + 1;
        let (ticket, place) = (self.ticket.take(), self.place.take());
        let expiry = self.expiry.take();
        let listed = self.listed.take();
        *self = Self {
            changes,
            // The store forgets the task, with its rules.
            saved: changes,
            ticket,
            expiry,
            listed,
            place,
            ..Self::new(now, &self.tally.account().clone())
        };
    }

    /// Returns the known open questions of the task.
    pub(crate) fn asking(&self) -> Asking {
        let listed = self.listed.as_ref();
        listed.map(|listed| listed.asking).unwrap_or_default()
    }

    /// Returns whether the bus must keep track of the task, because it has a lease or an open
    /// question.
    pub(crate) fn is_due_some_time(&self) -> bool {
        self.lease.is_some() || self.asking().open
    }

    /// Charges the current bytes of the rules. The caller calls it after every change.
    pub(crate) fn recount(&mut self) {
        self.tally.set(Kind::EventIds, self.ids.bytes());
        let producers = self.producers.len() as u64;
        self.tally.set(Kind::Producers, producers * PRODUCER_BYTES);
        self.charge_lease();
        self.charge_tree();
    }

    /// Charges the task's lease.
    pub(crate) fn charge_lease(&mut self) {
        let lease = self.lease.as_ref().map_or(0, |_| LEASE_BYTES);
        self.tally.set(Kind::Lease, lease);
    }

    /// Charges the task's entry among the children of its parent.
    pub(crate) fn charge_tree(&mut self) {
        let listed = self.listed.as_ref();
        let has_parent = listed.is_some_and(|listed| listed.kin.is_some());
        let tree = if has_parent { KIN_BYTES } else { 0 };
        self.tally.set(Kind::Tree, tree);
    }

    /// Charges the bytes of the rules to `account` from now on.
    pub(crate) fn charge_to(&mut self, account: &Account) {
        self.tally.move_to(account);
    }

    /// Returns the account that pays for the task.
    pub(crate) fn account(&self) -> &Account {
        self.tally.account()
    }

    /// Returns the part of the rules that a store keeps.
    pub(crate) fn stored(&self) -> StoredRules {
        StoredRules {
            producers: self.producers.clone(),
            lease_ms: self.lease_ms(),
            starts: self.starts.clone(),
        }
    }

    /// Returns the lease in milliseconds, if there is one.
    pub(crate) fn lease_ms(&self) -> Option<u64> {
        let lease = self.lease.as_ref()?;
        Some(u64::try_from(lease.duration().as_millis()).unwrap_or(u64::MAX))
    }
}

impl Task {
    pub(crate) fn new(id: TaskId, topic: Arc<Topic>, account: &Account, now: Instant) -> Arc<Self> {
        Arc::new(Self {
            id,
            topic,
            rules: Lock::new(Rules::new(now, account)),
            commit: tokio::sync::Mutex::new(()),
            waiting: Lock::default(),
            incoming: Lock::default(),
            cold: AtomicBool::new(false),
            absent: AtomicBool::new(false),
            unsaved: AtomicBool::new(false),
        })
    }

    /// Returns the task's id.
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// Returns the task's log and its watchers.
    pub fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }

    /// Returns the task's state at its newest event.
    pub fn snapshot(&self) -> Arc<TaskSnapshot> {
        self.topic.snapshot().unwrap_or_else(|| {
            // Only an inbox has no snapshot, and an inbox is never a task's topic.
            Arc::new(TaskSnapshot::new(self.id.clone(), self.epoch()))
        })
    }

    /// Returns the epoch of the task's offsets.
    pub fn epoch(&self) -> Epoch {
        self.topic.lock().epoch().clone()
    }

    /// Returns whether the task has ever had an event. A task that was only watched does not
    /// appear in lists.
    pub fn is_declared(&self) -> bool {
        self.topic.head() > 0
    }

    /// Returns whether the store has the task and it must still be read.
    pub(crate) fn is_absent(&self) -> bool {
        self.absent.load(Ordering::SeqCst)
    }

    pub(crate) fn lock_waiting(&self) -> Guard<'_, Waiting, place::Leaf> {
        self.waiting.lock()
    }

    pub(crate) fn lock_incoming(&self) -> Guard<'_, Incoming, place::Leaf> {
        self.incoming.lock()
    }

    pub(crate) fn lock_rules(&self) -> Guard<'_, Rules, place::Rules> {
        self.rules.lock()
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.id)
            .field("topic", &self.topic)
            .finish()
    }
}

/// Returns the state of a task at the head of its log.
pub(crate) fn state_of(task_id: &TaskId, log: &Log) -> Arc<TaskSnapshot> {
    log.snapshot
        .clone()
        .unwrap_or_else(|| Arc::new(TaskSnapshot::new(task_id.clone(), log.epoch().clone())))
}

/// Returns the instant at which a task that was read from the store counts as ended.
pub(crate) fn finished(log: &Log, touched: Instant) -> Option<Instant> {
    let ended = |snapshot: &Arc<TaskSnapshot>| snapshot.status.is_terminal();
    log.snapshot.as_ref().is_some_and(ended).then_some(touched)
}
