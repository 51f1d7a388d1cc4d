//! A task: its log with watchers, and the rules that a publish must pass.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tidings_protocol::{Epoch, Lease, ProducerLedger, TaskId, TaskSnapshot};
use tokio::time::Instant;

use crate::cluster::mirror::Incoming;
use crate::deliver::topic::Topic;
use crate::ledger::{Account, Kind, Tally};
use crate::publish::group::Waiting;
use crate::store::StoredRules;
use crate::tasks::eviction::Place;
use crate::tasks::idempotency::IdempotencyWindow;
use crate::tasks::lease::Ticket;
use crate::tasks::listing::Listed;
use crate::tasks::questions::Asking;
use crate::tasks::starts::Starts;

/// Bytes that the stamp of one producer is charged with: two ids, two numbers,
/// and the numbers of its last events.
const PRODUCER_BYTES: u64 = 256;

/// Bytes that a lease is charged with: its entry among those to come due.
const LEASE_BYTES: u64 = 128;

/// A task known to the bus.
pub struct Task {
    id: TaskId,
    topic: Arc<Topic>,
    rules: Mutex<Rules>,
    /// What changes the task in a store, or brings changes from there, takes turns.
    pub(crate) commit: tokio::sync::Mutex<()>,
    /// Events that are to be stored next.
    waiting: Mutex<Waiting>,
    /// News from other nodes.
    incoming: Mutex<Incoming>,
    /// It came from a store, and the ids of its events have yet to be read.
    pub(crate) cold: AtomicBool,
    /// The store has it, and it has yet to be read.
    pub(crate) absent: AtomicBool,
    /// It waits to be saved.
    pub(crate) unsaved: AtomicBool,
}

/// What decides about a publish, and the times that retention goes by.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) ids: IdempotencyWindow,
    pub(crate) producers: ProducerLedger,
    pub(crate) lease: Option<Lease>,
    /// Where the latest runs began.
    pub(crate) starts: Starts,
    /// When the last event came (or the task was made).
    pub(crate) touched: Instant,
    /// When the task ended; none while it has not.
    pub(crate) finished: Option<Instant>,
    /// Counts changes of what is stored of them, over resets too.
    pub(crate) changes: u64,
    /// Those of them that a store that is written behind has.
    pub(crate) saved: u64,
    /// The lease's entry among the deadlines; none while there is no lease.
    pub(crate) ticket: Option<Ticket>,
    /// The entry of the next question that expires among the deadlines.
    pub(crate) expiry: Option<Ticket>,
    /// What the task is listed under.
    pub(crate) listed: Option<Listed>,
    /// Where the task waits to give memory back; none while it cannot.
    pub(crate) place: Option<Place>,
    /// What the rules hold, and whom it is charged to.
    tally: Tally,
}

impl Rules {
    fn new(now: Instant, account: &Account) -> Self {
        Self {
            ids: IdempotencyWindow::default(),
            producers: ProducerLedger::default(),
            lease: None,
            starts: Starts::default(),
            touched: now,
            finished: None,
            changes: 0,
            saved: 0,
            ticket: None,
            expiry: None,
            listed: None,
            place: None,
            tally: account.tally(),
        }
    }

    /// Starts over. The task keeps its account, and the entries under which others
    /// find it: the caller schedules the lease, and lists the task, anew.
    pub(crate) fn reset(&mut self, now: Instant) {
        let changes = self.changes + 1;
        let (ticket, place) = (self.ticket.take(), self.place.take());
        let expiry = self.expiry.take();
        let listed = self.listed;
        *self = Self {
            changes,
            // The store forgets the task, and its rules with it.
            saved: changes,
            ticket,
            expiry,
            listed,
            place,
            ..Self::new(now, &self.tally.account().clone())
        };
    }

    /// Returns what is known of the task's open questions.
    pub(crate) fn asking(&self) -> Asking {
        self.listed.map(|listed| listed.asking).unwrap_or_default()
    }

    /// Whether somebody has to look after the task: it has a lease, or an open
    /// question.
    pub(crate) fn is_due_some_time(&self) -> bool {
        self.lease.is_some() || self.asking().open
    }

    /// Charges what the rules hold now; called whenever that has changed.
    pub(crate) fn recount(&mut self) {
        self.tally.set(Kind::EventIds, self.ids.bytes());
        let producers = self.producers.len() as u64;
        self.tally.set(Kind::Producers, producers * PRODUCER_BYTES);
        let lease = self.lease.as_ref().map_or(0, |_| LEASE_BYTES);
        self.tally.set(Kind::Lease, lease);
    }

    /// Charges what the rules hold to an account from here on.
    pub(crate) fn charge_to(&mut self, account: &Account) {
        self.tally.move_to(account);
    }

    /// Returns whom the task is charged to.
    pub(crate) fn account(&self) -> &Account {
        self.tally.account()
    }

    /// What is to be stored of them.
    pub(crate) fn stored(&self) -> StoredRules {
        StoredRules {
            producers: self.producers.clone(),
            lease_ms: self.lease_ms(),
            starts: self.starts.clone(),
        }
    }

    /// The lease in milliseconds, if it has one.
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
            rules: Mutex::new(Rules::new(now, account)),
            commit: tokio::sync::Mutex::new(()),
            waiting: Mutex::default(),
            incoming: Mutex::default(),
            cold: AtomicBool::new(false),
            absent: AtomicBool::new(false),
            unsaved: AtomicBool::new(false),
        })
    }

    /// The task's id.
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// The task's log and its watchers.
    pub fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }

    /// The task's state at its newest event.
    pub fn snapshot(&self) -> Arc<TaskSnapshot> {
        self.topic.snapshot().unwrap_or_else(|| {
            // Only an inbox has no snapshot, and an inbox is never a task's topic.
            Arc::new(TaskSnapshot::new(self.id.clone(), self.epoch()))
        })
    }

    /// The epoch that the task's offsets count in.
    pub fn epoch(&self) -> Epoch {
        self.topic.lock().epoch().clone()
    }

    /// Whether anything was ever published to it; a task that was only watched
    /// does not appear in lists.
    pub fn is_declared(&self) -> bool {
        self.topic.head() > 0
    }

    /// Whether the store has the task and it has yet to be read.
    pub(crate) fn is_absent(&self) -> bool {
        self.absent.load(Ordering::SeqCst)
    }

    pub(crate) fn lock_waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn lock_incoming(&self) -> MutexGuard<'_, Incoming> {
        self.incoming
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn lock_rules(&self) -> MutexGuard<'_, Rules> {
        self.rules
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
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
