//! A log together with those who watch it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use slab::Slab;
use tidings_protocol::{Epoch, Offset, Position, Since, TaskId, TaskSnapshot};
use tokio::time::Instant;

use crate::cluster::interest::Interest;
use crate::deliver::cursor::Cursor;
use crate::deliver::pass::Fanout;
use crate::log::{Log, Standing, View};

/// What became of a watcher's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    /// It took what there was, or will come back for it by itself.
    Done,
    /// It has ended; the pass forgets it.
    Gone,
}

/// Something that takes what a log has past its cursor: a socket's writer, or
/// a stream that is to be woken.
///
/// Called by the fan-out pass, which holds no lock meanwhile. It must not
/// block: a socket that is full keeps its cursor where it is, remembers the
/// key, and catches up from its own task when it can write again.
pub trait Watcher: Send + Sync {
    /// Takes what is new. `key` is what the watcher named this cursor when it attached.
    fn advance(&self, key: usize, topic: &Arc<Topic>, view: &mut View) -> Advance;
}

/// Names an attached watcher, to detach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachId {
    slot: u32,
    /// A slot has one tenant after the other; this tells them apart: it would
    /// take four billion attachments while one of them holds its id to fail.
    serial: u32,
}

impl AttachId {
    pub(crate) fn new(slot: usize, serial: u32) -> Self {
        let slot = u32::try_from(slot).expect("memory ends before four billion watchers");
        Self { slot, serial }
    }

    fn slot(self) -> usize {
        self.slot as usize
    }
}

pub(crate) struct Entry {
    pub(crate) serial: u32,
    pub(crate) watcher: Arc<dyn Watcher>,
    pub(crate) key: usize,
    pub(crate) hold: Hold,
}

/// The watchers of one topic and how far the current pass has come.
#[derive(Default)]
pub(crate) struct Watchers {
    pub(crate) entries: Slab<Entry>,
    /// Entries ever made.
    serial: u32,
    /// One past the highest slot in use since the slab was last empty.
    pub(crate) slots: usize,
    /// Where the pass goes on; each pass begins one further than the last.
    pub(crate) position: usize,
    /// Slots that the pass has still to visit.
    pub(crate) left: usize,
}

impl Watchers {
    /// Makes room up to so many slots. A walk that is under way goes through the new
    /// ones before it comes round to those at the beginning, so it has that many
    /// more to visit, or would end before it gets there.
    fn grow(&mut self, slots: usize) {
        let new = slots.saturating_sub(self.slots);
        self.slots += new;
        if self.left > 0 {
            self.left += new;
        }
    }
}

/// What a watcher's presence means for the life of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It asked for this task: the task stays known for as long as it watches.
    Keeps,
    /// It watches whatever its pattern matches: when retention says so the task
    /// goes, and the watcher lets go of it. Otherwise one dashboard would keep
    /// every task there ever was.
    Follows,
}

/// Where a new cursor starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At the head: what comes next is the first event.
    Live,
    /// With up to so many of the newest retained events.
    History(u64),
    /// With everything that is retained.
    Retained,
    /// The same, for a task that has appeared while the subscriber was there: what is
    /// missing has overrun it, and did not expire before it came.
    Appeared,
    /// After the last event that the subscriber has seen.
    After(Position),
}

impl From<Since> for Start {
    fn from(since: Since) -> Self {
        match since {
            Since::Start => Start::Retained,
            Since::After(position) => Start::After(position),
        }
    }
}

/// What joining gave: a cursor, and how its start relates to what was asked for.
///
/// What is missing between the two is what the cursor's first step says.
#[derive(Debug, Clone)]
pub struct Joined {
    /// Where delivery begins.
    pub cursor: Cursor,
    /// Whether everything asked for is there.
    pub recovered: bool,
    /// The position asked for lies after the head: to be said before the first event,
    /// by a reset.
    pub ahead: bool,
    /// Where the log stood at that moment.
    pub standing: Standing,
}

/// A log and its watchers. Tasks have one; so has every client's inbox.
pub struct Topic {
    log: Mutex<Log>,
    /// Mirrors the log's head for those who only want to know how far behind they are.
    head: AtomicU64,
    pub(crate) watchers: Mutex<Watchers>,
    watcher_count: AtomicUsize,
    /// Those of them that keep the topic.
    keeper_count: AtomicUsize,
    /// Mirrors the log's `closed`.
    closed: AtomicBool,
    /// Something was published since the pass last looked.
    pub(crate) moved: AtomicBool,
    /// The topic is in the fan-out queue or being passed over.
    pub(crate) queued: AtomicBool,
    /// All of the pass's watchers have had everything up to here.
    pub(crate) settled: AtomicU64,
    fanout: Arc<Fanout>,
    /// Who is to know whether anybody watches.
    interest: Option<(TaskId, Arc<dyn Interest>)>,
}

impl Topic {
    pub(crate) fn new(log: Log, fanout: Arc<Fanout>) -> Arc<Self> {
        Self::of_interest(log, fanout, None)
    }

    /// One of which is said elsewhere whether anybody watches it.
    pub(crate) fn of_interest(
        log: Log,
        fanout: Arc<Fanout>,
        interest: Option<(TaskId, Arc<dyn Interest>)>,
    ) -> Arc<Self> {
        let head = log.head();
        Arc::new(Self {
            log: Mutex::new(log),
            head: AtomicU64::new(head),
            watchers: Mutex::default(),
            watcher_count: AtomicUsize::new(0),
            keeper_count: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            moved: AtomicBool::new(false),
            queued: AtomicBool::new(false),
            settled: AtomicU64::new(head),
            fanout,
            interest,
        })
    }

    /// The newest offset; 0 while there is none.
    pub fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// How many watchers are attached.
    pub fn watcher_count(&self) -> usize {
        self.watcher_count.load(Ordering::Acquire)
    }

    /// How many of them keep it.
    pub(crate) fn keeper_count(&self) -> usize {
        self.keeper_count.load(Ordering::Acquire)
    }

    /// Whether the topic has left the registry. A follower that has taken what
    /// there was lets go of it then; the task may come back as another topic.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Log> {
        self.log
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn lock_watchers(&self) -> MutexGuard<'_, Watchers> {
        self.watchers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Mirrors the head, and charges what the log holds; called under the log's lock whenever it has changed.
    pub(crate) fn mirror(&self, log: &mut Log) {
        log.recount();
        self.head.store(log.head(), Ordering::Release);
        self.closed.store(log.closed, Ordering::Release);
    }

    /// Has the watchers look; called after a change, without the log's lock.
    pub(crate) fn announce(self: &Arc<Self>) {
        self.announce_since(Instant::now());
    }

    /// The same, of a change that began earlier, for whoever has the time at hand.
    pub(crate) fn announce_since(self: &Arc<Self>, since: Instant) {
        if self.watcher_count() == 0 {
            return;
        }
        self.moved.store(true, Ordering::SeqCst);
        if !self.queued.swap(true, Ordering::SeqCst) {
            self.fanout.push(Arc::clone(self), since);
        }
    }

    /// Takes a picture of the log, with the chunks from `from` on.
    pub fn fill(&self, view: &mut View, from: u64) {
        let mut log = self.lock();
        log.seal();
        view.first = log.oldest();
        view.hot = log.first();
        view.ahead = 0;
        view.head = log.head();
        view.generation = log.generation();
        view.naming = log.naming();
        view.reset = log.reset_reason();
        log.collect(from.max(log.first()), &mut view.chunks);
    }

    /// Where the log stands.
    pub fn standing(&self) -> Standing {
        standing(&self.lock())
    }

    /// The task's state; none for an inbox.
    pub fn snapshot(&self) -> Option<Arc<TaskSnapshot>> {
        self.lock().snapshot.clone()
    }

    /// Attaches a watcher. Next it asks for a cursor by [`join`](Self::join).
    ///
    /// In this order nothing falls between: a publisher that appends after the
    /// join finds the watcher here, one that appended before is in what it sees.
    ///
    /// None when the topic has left the registry: look the task up again.
    pub fn attach(&self, watcher: Arc<dyn Watcher>, key: usize, hold: Hold) -> Option<AttachId> {
        let id = {
            let mut watchers = self.lock_watchers();
            watchers.serial = watchers.serial.wrapping_add(1);
            let serial = watchers.serial;
            let slot = watchers.entries.insert(Entry {
                serial,
                watcher,
                key,
                hold,
            });
            watchers.grow(slot + 1);
            let before = self.watcher_count.fetch_add(1, Ordering::SeqCst);
            if let (0, Some((task_id, interest))) = (before, &self.interest) {
                interest.watch(task_id);
            }
            self.count_keeper(hold, true);
            AttachId::new(slot, serial)
        };
        if self.lock().closed {
            self.detach(id);
            return None;
        }
        Some(id)
    }

    /// Where a cursor starts, and what the log and the task's state are at that
    /// very moment: one critical section, so replay and live have no seam.
    pub fn join(&self, start: &Start) -> Joined {
        join(&self.lock(), start)
    }

    /// Where a cursor is, to go on from later.
    pub fn position(&self, cursor: &Cursor) -> Position {
        let log = self.lock();
        if cursor.generation() == log.generation() {
            return Position {
                epoch: log.epoch().clone(),
                offset: cursor.delivered(),
            };
        }
        // Its numbers are another log's; no epoch of ours has this text. An offset of 0
        // would be good in any epoch, and the subscriber would not be told.
        Position {
            epoch: Epoch::new("gone").expect("a literal of the epoch's alphabet"),
            offset: Offset::FIRST,
        }
    }

    /// Changes what a watcher's presence means.
    pub fn set_hold(&self, id: AttachId, hold: Hold) {
        let mut watchers = self.lock_watchers();
        let entry = watchers.entries.get_mut(id.slot());
        if let Some(entry) = entry.filter(|entry| entry.serial == id.serial) {
            let before = std::mem::replace(&mut entry.hold, hold);
            self.count_keeper(hold, true);
            self.count_keeper(before, false);
        }
    }

    fn count_keeper(&self, hold: Hold, comes: bool) {
        match (hold, comes) {
            (Hold::Keeps, true) => self.keeper_count.fetch_add(1, Ordering::SeqCst),
            (Hold::Keeps, false) => self.keeper_count.fetch_sub(1, Ordering::SeqCst),
            (Hold::Follows, _) => 0,
        };
    }

    /// Takes a watcher away. Its `advance` may be running once more meanwhile.
    pub fn detach(&self, id: AttachId) {
        let mut watchers = self.lock_watchers();
        // The pass may have forgotten it already, and the slot may be another's.
        let same = |entry: &Entry| entry.serial == id.serial;
        if watchers.entries.get(id.slot()).is_some_and(same) {
            let entry = watchers.entries.remove(id.slot());
            self.count_keeper(entry.hold, false);
            self.watcher_count.fetch_sub(1, Ordering::SeqCst);
            if watchers.entries.is_empty() {
                if let Some((task_id, interest)) = &self.interest {
                    interest.unwatch(task_id);
                }
                *watchers = Watchers {
                    serial: watchers.serial,
                    ..Watchers::default()
                };
            }
        }
    }
}

impl std::fmt::Debug for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topic")
            .field("head", &self.head())
            .field("watchers", &self.watcher_count())
            .finish_non_exhaustive()
    }
}

fn standing(log: &Log) -> Standing {
    Standing {
        epoch: log.epoch().clone(),
        offset: log.head_offset(),
        snapshot: log.snapshot.clone(),
    }
}

fn join(log: &Log, start: &Start) -> Joined {
    let (first, head) = (log.oldest(), log.head());
    let (generation, naming) = (log.generation(), log.naming());
    let at = |next| Cursor::new(next, (generation, naming)).joining(first);
    let mut ahead = false;
    let (cursor, recovered) = match start {
        Start::Live => (at(head + 1), true),
        Start::History(count) => (at(first.max((head + 1).saturating_sub(*count))), true),
        Start::Retained => (at(1), first == 1),
        Start::Appeared => (Cursor::new(1, (generation, naming)), first == 1),
        // Before the first event there is one place, whatever its epoch was called:
        // another node may have begun the task since.
        Start::After(position) if position.offset == Offset::ZERO => (at(1), first == 1),
        // A cursor of another generation finds out at its first step.
        Start::After(position) if position.epoch != *log.epoch() => {
            (Cursor::new(1, (generation.wrapping_sub(1), naming)), false)
        }
        Start::After(position) => {
            let wanted = position.offset.get() + 1;
            if wanted > head + 1 {
                ahead = true;
                (at(head + 1), false)
            } else {
                (at(wanted), wanted >= first)
            }
        }
    };
    Joined {
        cursor,
        recovered,
        ahead,
        standing: standing(log),
    }
}
