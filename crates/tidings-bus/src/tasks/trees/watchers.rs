//! The watchers of new children.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidings_protocol::TaskId;

use crate::lock::{Guard, Lock, place};
use crate::tasks::task::Task;

/// A receiver of every new child of a task.
pub trait ChildWatcher: Send + Sync {
    /// Announces a task that has named the watched task as its parent. The child may have events
    /// already. Attach with [`Start::Appeared`](crate::watch::Start::Appeared). The same child
    /// may be announced more than once.
    ///
    /// The fan-out pass calls this method, like [`Watcher::advance`](crate::Watcher::advance),
    /// and it must not block. `key` is the name that the watcher gave its parent.
    fn child_appeared(&self, key: usize, child: &Arc<Task>);

    /// Announces that the watched task was removed. The watch stays, because the task need not
    /// exist. If nodes share a store, only the node that removes the task announces it.
    fn parent_removed(&self, key: usize, parent: &TaskId) {
        _ = (key, parent);
    }
}

/// The id of a watched parent. Use it to end the watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildWatchId {
    parent: TaskId,
    serial: u64,
}

struct Entry {
    serial: u64,
    watcher: Arc<dyn ChildWatcher>,
    key: usize,
}

#[derive(Default)]
struct Inner {
    parents: HashMap<TaskId, Vec<Entry>>,
    serial: u64,
}

/// The watchers of all parents.
#[derive(Default)]
pub(crate) struct ChildWatchers {
    inner: Lock<Inner, place::ChildWatchers>,
    /// The number of watched parents. With none, publishes take no lock.
    watched: AtomicUsize,
}

impl ChildWatchers {
    fn lock(&self) -> Guard<'_, Inner, place::ChildWatchers> {
        self.inner.lock()
    }

    /// Adds a watcher. Calls `comes` under the lock.
    pub(crate) fn watch(
        &self,
        parent: &TaskId,
        watcher: Arc<dyn ChildWatcher>,
        key: usize,
        comes: impl FnOnce(),
    ) -> ChildWatchId {
        let mut inner = self.lock();
        comes();
        inner.serial += 1;
        let serial = inner.serial;
        let entries = inner.parents.entry(parent.clone()).or_default();
        entries.push(Entry {
            serial,
            watcher,
            key,
        });
        self.watched.store(inner.parents.len(), Ordering::SeqCst);
        ChildWatchId {
            parent: parent.clone(),
            serial,
        }
    }

    /// Removes a watcher. Calls `last_goes` under the lock if there is none left.
    pub(crate) fn unwatch(&self, id: &ChildWatchId, last_goes: impl FnOnce()) {
        let mut inner = self.lock();
        let Some(entries) = inner.parents.get_mut(&id.parent) else {
            return;
        };
        entries.retain(|entry| entry.serial != id.serial);
        if entries.is_empty() {
            inner.parents.remove(&id.parent);
        }
        self.watched.store(inner.parents.len(), Ordering::SeqCst);
        if inner.parents.is_empty() {
            last_goes();
        }
    }

    /// Returns whether this parent has a watcher.
    pub(crate) fn is_watched(&self, parent: &TaskId) -> bool {
        self.watched.load(Ordering::SeqCst) > 0 && self.lock().parents.contains_key(parent)
    }

    /// Returns the watched parents.
    pub(crate) fn parents(&self) -> Vec<TaskId> {
        self.lock().parents.keys().cloned().collect()
    }

    /// Returns the watchers of a parent.
    pub(crate) fn of(&self, parent: &TaskId) -> Vec<(Arc<dyn ChildWatcher>, usize)> {
        let inner = self.lock();
        let entries = inner.parents.get(parent).into_iter().flatten();
        let watchers = entries.map(|entry| (Arc::clone(&entry.watcher), entry.key));
        watchers.collect()
    }
}
