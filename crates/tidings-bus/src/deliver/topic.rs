//! A log together with its watchers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use slab::Slab;
use tidings_protocol::{TaskId, TaskSnapshot};
use tokio::time::Instant;

use crate::cluster::broker::Interest;
use crate::deliver::signal::Signal;
use crate::deliver::walk::Walk;
use crate::lock::{Guard, Lock, place};
use crate::log::{Log, Standing, View};

/// The result of a watcher's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    /// The watcher took all events, or will come back for them without another call.
    Done,
    /// The watcher has ended. The pass forgets it.
    Gone,
}

/// A consumer of a log's events after its cursor: a socket's writer, or a stream that must be
/// woken.
///
/// The fan-out pass calls it and holds no lock during the call. It must not block. A watcher
/// with a full socket leaves its cursor where it is and remembers the key. It catches up from
/// its own task when the socket can be written again.
pub trait Watcher: Send + Sync {
    /// Takes the new events. `key` is the name that the watcher gave this cursor when it
    /// attached.
    fn advance(&self, key: usize, topic: &Arc<Topic>, view: &mut View) -> Advance;
}

/// The queue of topics that have moved.
pub(crate) trait Queue: Send + Sync {
    /// Adds a topic that moved at `since`. Its watchers are visited soon.
    fn moved(&self, topic: Arc<Topic>, since: Instant);
}

/// The id of an attached watcher. Use it to detach the watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachId {
    slot: u32,
    /// Distinguishes the watchers that used one slot one after the other. This fails only after
    /// four billion attachments while one watcher holds its id.
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

/// A watcher of a topic, in 24 bytes. A server has one for each task of each pattern subscription.
pub(crate) struct Entry {
    pub(crate) watcher: Arc<dyn Watcher>,
    pub(crate) serial: u32,
    /// The watcher's key, and in the highest bit whether the watcher keeps the task.
    key: u32,
}

const _: () = assert!(size_of::<Entry>() == 24);

/// The bit of [`Entry::key`] that says whether the watcher keeps the task.
const KEEPS: u32 = 1 << 31;

impl Entry {
    fn new(watcher: Arc<dyn Watcher>, serial: u32, key: usize, hold: Hold) -> Self {
        let key = u32::try_from(key).ok().filter(|key| key & KEEPS == 0);
        let mut entry = Self {
            watcher,
            serial,
            key: key.expect("memory ends before two billion cursors of one watcher"),
        };
        entry.set_hold(hold);
        entry
    }

    pub(crate) fn key(&self) -> usize {
        (self.key & !KEEPS) as usize
    }

    fn hold(&self) -> Hold {
        match self.key & KEEPS {
            0 => Hold::Follows,
            _ => Hold::Keeps,
        }
    }

    fn set_hold(&mut self, hold: Hold) {
        match hold {
            Hold::Keeps => self.key |= KEEPS,
            Hold::Follows => self.key &= !KEEPS,
        }
    }
}

/// The watchers of one topic and how far the current pass has come.
#[derive(Default)]
pub(crate) struct Watchers {
    pub(crate) entries: Slab<Entry>,
    /// The number of entries that were ever made.
    serial: u32,
    pub(crate) walk: Walk,
}

/// Makes room for one more entry. The list grows by a quarter. If it doubled, a server with many
/// subscriptions would hold up to half of its lists for nothing.
fn make_room<T>(list: &mut Slab<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 4).max(1));
    }
}

/// The effect of a watcher on the life of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The watcher asked for this task. The bus keeps the task while it watches.
    Keeps,
    /// The watcher asked for a pattern. Retention may remove the task, and the watcher then drops
    /// it. Otherwise one dashboard would keep every task for ever.
    Follows,
}

/// A log and its watchers. Each task has a topic, and so does each client's inbox.
pub struct Topic {
    log: Lock<Log, place::Topic>,
    /// A copy of the log's head. Readers that need only the lag read it without the log's lock.
    head: AtomicU64,
    pub(crate) watchers: Lock<Watchers, place::Topic>,
    watcher_count: AtomicUsize,
    /// The number of watchers that keep the topic.
    keeper_count: AtomicUsize,
    /// A copy of the log's `closed`.
    closed: AtomicBool,
    /// Tells the pass that the topic has moved.
    pub(crate) signal: Signal,
    /// All of the pass's watchers have received everything up to this offset.
    pub(crate) settled: AtomicU64,
    fanout: Arc<dyn Queue>,
    /// The receiver of the news whether the task has a watcher.
    interest: Option<(TaskId, Arc<dyn Interest>)>,
}

impl Topic {
    pub(crate) fn new(log: Log, fanout: Arc<impl Queue + 'static>) -> Arc<Self> {
        Self::of_interest(log, fanout, None)
    }

    /// Creates a topic that tells `interest` whether it has a watcher.
    pub(crate) fn of_interest(
        log: Log,
        fanout: Arc<impl Queue + 'static>,
        interest: Option<(TaskId, Arc<dyn Interest>)>,
    ) -> Arc<Self> {
        let head = log.head();
        Arc::new(Self {
            log: Lock::new(log),
            head: AtomicU64::new(head),
            watchers: Lock::default(),
            watcher_count: AtomicUsize::new(0),
            keeper_count: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            signal: Signal::default(),
            settled: AtomicU64::new(head),
            fanout,
            interest,
        })
    }

    /// Returns the newest offset, or 0 if there is none.
    pub fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// Returns the number of attached watchers.
    pub fn watcher_count(&self) -> usize {
        self.watcher_count.load(Ordering::Acquire)
    }

    /// Returns the number of watchers that keep the topic.
    pub(crate) fn keeper_count(&self) -> usize {
        self.keeper_count.load(Ordering::Acquire)
    }

    /// Returns whether the topic has left the registry. A follower that has taken the remaining
    /// events then detaches. The task may come back as another topic.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn lock(&self) -> Guard<'_, Log, place::Topic> {
        self.log.lock()
    }

    pub(crate) fn lock_watchers(&self) -> Guard<'_, Watchers, place::Topic> {
        self.watchers.lock()
    }

    /// Copies the head, and charges the bytes of the log. The caller holds the log's lock after
    /// a change.
    pub(crate) fn mirror(&self, log: &mut Log) {
        log.recount();
        self.head.store(log.head(), Ordering::Release);
        self.closed.store(log.closed, Ordering::Release);
    }

    /// Makes the watchers look. The caller calls it after a change, without the log's lock.
    pub(crate) fn announce(self: &Arc<Self>) {
        self.announce_since(Instant::now());
    }

    /// Makes the watchers look after a change that began at `since`.
    pub(crate) fn announce_since(self: &Arc<Self>, since: Instant) {
        if self.watcher_count() == 0 {
            return;
        }
        if self.signal.raise() {
            self.fanout.moved(Arc::clone(self), since);
        }
    }

    /// Fills a view of the log, with the chunks from `from` on.
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

    /// Returns the state of the log.
    pub fn standing(&self) -> Standing {
        standing(&self.lock())
    }

    /// Returns the task's state. Returns `None` for an inbox.
    pub fn snapshot(&self) -> Option<Arc<TaskSnapshot>> {
        self.lock().snapshot.clone()
    }

    /// Attaches a watcher. Call [`join`](Self::join) next to get a cursor.
    ///
    /// In this order no event is lost. A publisher that appends after the join finds the watcher
    /// attached. An event that was appended before is in the cursor's view.
    ///
    /// Returns `None` if the topic has left the registry. Look the task up again.
    pub fn attach(&self, watcher: Arc<dyn Watcher>, key: usize, hold: Hold) -> Option<AttachId> {
        let id = {
            let mut watchers = self.lock_watchers();
            watchers.serial = watchers.serial.wrapping_add(1);
            let serial = watchers.serial;
            make_room(&mut watchers.entries);
            let entry = Entry::new(watcher, serial, key, hold);
            let slot = watchers.entries.insert(entry);
            watchers.walk.grow(slot + 1);
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

    /// Changes the effect of a watcher on the life of the task.
    pub fn set_hold(&self, id: AttachId, hold: Hold) {
        let mut watchers = self.lock_watchers();
        let entry = watchers.entries.get_mut(id.slot());
        if let Some(entry) = entry.filter(|entry| entry.serial == id.serial) {
            let before = entry.hold();
            entry.set_hold(hold);
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

    /// Detaches a watcher. Its `advance` may run once more in the meantime.
    pub fn detach(&self, id: AttachId) {
        let mut watchers = self.lock_watchers();
        // The pass may have removed it already, and the slot may belong to another watcher.
        let same = |entry: &Entry| entry.serial == id.serial;
        if watchers.entries.get(id.slot()).is_some_and(same) {
            let entry = watchers.entries.remove(id.slot());
            self.count_keeper(entry.hold(), false);
            self.watcher_count.fetch_sub(1, Ordering::SeqCst);
            if watchers.entries.is_empty() {
                if let Some((task_id, interest)) = &self.interest {
                    interest.unwatch(task_id);
                }
                watchers.entries = Slab::new();
                watchers.walk.clear();
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

pub(crate) fn standing(log: &Log) -> Standing {
    Standing {
        epoch: log.epoch().clone(),
        offset: log.head_offset(),
        snapshot: log.snapshot.clone(),
    }
}
