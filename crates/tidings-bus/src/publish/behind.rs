//! Writing behind: the store is one more cursor into each log.
//!
//! A publish appends to memory and adds its task to a list. Every few milliseconds the writer takes
//! the list. For each task it writes everything in the log after the last saved event. The log
//! itself keeps the order, nothing is queued twice, and a burst becomes one commit. A log keeps
//! unsaved events even beyond its limits. This module limits the number of unsaved bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::defaults::TASK_BYTES;
use crate::lock::{Guard, Lock, Reading, SharedLock, place};
use crate::store::Store;
use crate::tasks::task::Task;

/// The most bytes that wait to be saved. Beyond it, publishers wait. A disk that writes 100 MB/s
/// needs less than a second for this amount of events.
const MAX_UNSAVED: usize = 64 * 1024 * 1024;

/// The part of the memory of all tasks that may wait to be saved. It cannot be freed before that.
const PART: u64 = 8;

/// The tasks with unsaved events.
pub(crate) struct Behind {
    tasks: Lock<Vec<Arc<Task>>, place::Leaf>,
    /// The bytes of unsaved events.
    waiting: AtomicUsize,
    /// The number of tasks that are on the list or being written. A task cannot leave memory
    /// before it is saved.
    pending: AtomicUsize,
    /// The most bytes that wait to be saved.
    most: usize,
    ready: Notify,
    room: Notify,
    /// Whether publishing is closed. Publishers hold the lock for reading while they append an
    /// event.
    closed: SharedLock<bool, place::Publishing>,
}

impl Behind {
    /// Creates an empty list. `memory` is the memory of all tasks, in bytes.
    pub(crate) fn new(memory: u64) -> Self {
        let most = usize::try_from(memory / PART).unwrap_or(usize::MAX);
        Self {
            tasks: Lock::default(),
            waiting: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            most: most.min(MAX_UNSAVED),
            ready: Notify::new(),
            room: Notify::new(),
            closed: SharedLock::new(false),
        }
    }

    pub(crate) fn enter(&self) -> Reading<'_, bool, place::Publishing> {
        self.closed.read()
    }

    /// Closes publishing. When this returns, no append is running.
    pub(crate) fn close(&self) {
        *self.closed.write() = true;
    }

    /// Returns the number of unsaved bytes.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Records that bytes were appended to `task`.
    pub(crate) fn note(&self, task: &Arc<Task>, bytes: usize) {
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        self.queue(task);
    }

    /// Records that bytes have been saved or no longer need to be.
    pub(crate) fn settle(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        self.room.notify_waiters();
    }

    /// Records how many bytes of a task were unsaved before, and how many are now.
    pub(crate) fn changed(&self, before: usize, after: usize) {
        match before.checked_sub(after) {
            Some(less) => self.settle(less),
            None => _ = self.waiting.fetch_add(after - before, Ordering::Relaxed),
        }
    }

    /// Returns whether the unsaved bytes are below their limit.
    fn has_room(&self) -> bool {
        let pending = self.pending.load(Ordering::Relaxed);
        self.waiting() + pending * TASK_BYTES <= self.most
    }

    /// Records that `tasks` tasks have left the list and that their writes have ended.
    pub(crate) fn end(&self, tasks: usize) {
        self.pending.fetch_sub(tasks, Ordering::Relaxed);
        self.room.notify_waiters();
    }

    pub(crate) fn queue(&self, task: &Arc<Task>) {
        if !task.unsaved.swap(true, Ordering::SeqCst) {
            self.pending.fetch_add(1, Ordering::Relaxed);
            self.lock().push(Arc::clone(task));
            self.ready.notify_one();
        }
    }

    /// Waits until there is room for another event. Returns `false` if the store is not available,
    /// because the wait could then be endless.
    pub(crate) async fn room(&self, store: &dyn Store) -> bool {
        while !self.has_room() {
            let room = self.room.notified();
            if !store.is_available() {
                return false;
            }
            if !self.has_room() {
                room.await;
            }
        }
        true
    }

    pub(crate) fn take(&self) -> Vec<Arc<Task>> {
        std::mem::take(&mut *self.lock())
    }

    /// Waits until a task waits to be saved.
    pub(crate) async fn filled(&self) {
        self.ready.notified().await;
    }

    /// Wakes the publishers that wait for room, so that they look at the store again.
    pub(crate) fn wake(&self) {
        self.room.notify_waiters();
    }

    fn lock(&self) -> Guard<'_, Vec<Arc<Task>>, place::Leaf> {
        self.tasks.lock()
    }
}
