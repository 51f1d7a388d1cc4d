//! Writing behind: the store is one more cursor into each log.
//!
//! A publish appends to memory and adds its task to a list. Every few milliseconds the writer takes
//! the list. For each task it writes everything in the log after the last saved event. The log
//! itself keeps the order, nothing is queued twice, and a burst becomes one commit. A log keeps
//! unsaved events even beyond its limits. This module limits the number of unsaved bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidings_protocol::Offset;
use tokio::sync::Notify;

use crate::defaults::TASK_BYTES;
use crate::lock::{Guard, Lock, Reading, SharedLock, place};
use crate::store::{Store, StoreError};
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
    fn end(&self, tasks: usize) {
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

    /// Takes all tasks from the list.
    pub(crate) fn take(&self) -> Round<'_> {
        let tasks = std::mem::take(&mut *self.lock());
        Round {
            behind: self,
            tasks,
        }
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

/// The tasks of one round of the writer. If a round is dropped in the middle, its remaining tasks
/// go back to the list.
pub(crate) struct Round<'a> {
    behind: &'a Behind,
    tasks: Vec<Arc<Task>>,
}

impl Round<'_> {
    /// Returns the next tasks to write, `limit` at most.
    pub(crate) fn next(&self, limit: usize) -> Vec<Arc<Task>> {
        self.tasks[self.tasks.len().saturating_sub(limit)..].to_vec()
    }

    /// Records that the writes of the last `tasks` tasks have ended.
    pub(crate) fn end(&mut self, tasks: usize) {
        self.tasks.truncate(self.tasks.len() - tasks);
        self.behind.end(tasks);
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        if self.tasks.is_empty() {
            return;
        }
        for task in &self.tasks {
            task.unsaved.store(true, Ordering::SeqCst);
        }
        // A task that an append has added meanwhile is on the list twice. Its second turn finds
        // nothing to write.
        self.behind.lock().append(&mut self.tasks);
        self.behind.ready.notify_one();
    }
}

/// The meaning of a store's answer for a task that is written behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Saved {
    /// The store has every event up to this offset, as it was asked to.
    UpTo(u64),
    /// The store has every event up to this offset, and no more. It kept more of an earlier
    /// attempt than it reported. Or it lost events that were not synced when it failed. Memory
    /// still has the later events: write them again.
    Again(u64),
    /// The store lacks events that memory no longer has.
    Lost,
}

impl Saved {
    /// Reads the answer to an append that ended with `last`. Memory has the events from `first`
    /// to `head`.
    ///
    /// # Errors
    /// Returns the store's error if the store does not tell what it has.
    pub(crate) fn of(
        answer: Result<(), StoreError>,
        last: Offset,
        (first, head): (u64, u64),
    ) -> Result<Self, StoreError> {
        match answer {
            Ok(()) => Ok(Self::UpTo(last.get())),
            Err(StoreError::Conflict { expected, .. }) => {
                let known = first..=head + 1;
                Ok(match known.contains(&expected.get()) {
                    true => Self::Again(expected.get() - 1),
                    false => Self::Lost,
                })
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The writer needs at most two attempts, whatever the store has. It starts over only if
        /// memory cannot fill the hole.
        #[test]
        fn the_store_gets_every_event_or_the_task_starts_over(
            (head, saved, first) in (1u64..20)
                .prop_flat_map(|head| (Just(head), 0..head))
                .prop_flat_map(|(head, saved)| (Just(head), Just(saved), 1..saved + 2)),
            stored in 0u64..25,
        ) {
            let offset = |value| Offset::new(value).unwrap();
            let (mut saved, mut stored) = (saved, stored);
            let fills = (first..=head + 1).contains(&(stored + 1));
            for attempt in 0.. {
                prop_assert!(attempt < 2, "the writer goes on for ever");
                let answer = match saved == stored {
                    true => {
                        stored = head;
                        Ok(())
                    }
                    false => Err(StoreError::Conflict {
                        expected: offset(stored + 1),
                        got: offset(saved + 1),
                    }),
                };
                match Saved::of(answer, offset(head), (first, head)).unwrap() {
                    Saved::UpTo(upto) => {
                        prop_assert_eq!(upto, stored);
                        break;
                    }
                    Saved::Again(upto) => saved = upto,
                    Saved::Lost => {
                        prop_assert!(!fills);
                        return Ok(());
                    }
                }
                if saved == head {
                    break;
                }
            }
            prop_assert!(fills && stored == head);
        }
    }
}
