//! The registry: all tasks in order of their ids, and the patterns that wait for new tasks.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use slab::Slab;
use tidings_protocol::{Pattern, TaskId};

use crate::lock::{SharedLock, place};
use crate::tasks::task::Task;

#[cfg(test)]
mod tests;

/// A receiver of every new task that matches its pattern.
pub trait PatternWatcher: Send + Sync {
    /// Announces a task that has appeared. The task may have events already, and none of them
    /// was delivered. Attach with [`Start::Appeared`](crate::watch::Start::Appeared). The
    /// fan-out pass calls this method, like [`Watcher::advance`](crate::Watcher::advance), and
    /// it must not block. `key` is the name that the watcher gave its pattern.
    fn discovered(&self, key: usize, task: &Arc<Task>);
}

/// The id of an attached pattern. Use it to detach the pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatternId {
    slot: usize,
    /// Distinguishes the patterns that used one slot one after the other.
    serial: u64,
}

/// A task that has appeared, and the patterns that must still be told.
pub(crate) struct Appeared<T = Arc<Task>> {
    pub(crate) task: T,
    /// The serial of the newest pattern when the task appeared. Later patterns found the task in
    /// the registry.
    last: u64,
    /// The next slot to visit. `None` when all patterns have been told.
    next: Option<usize>,
}

impl<T> Appeared<T> {
    pub(crate) fn is_over(&self) -> bool {
        self.next.is_none()
    }
}

struct PatternEntry<W> {
    serial: u64,
    pattern: Pattern,
    watcher: W,
    key: usize,
}

/// The tasks `T` and the watchers `W` of patterns. The tests use others than the bus.
pub(crate) struct Inner<T, W> {
    tasks: BTreeMap<TaskId, T>,
    patterns: Slab<PatternEntry<W>>,
    /// The number of patterns that were ever attached.
    serial: u64,
}

impl<T, W> Default for Inner<T, W> {
    fn default() -> Self {
        Self {
            tasks: BTreeMap::new(),
            patterns: Slab::new(),
            serial: 0,
        }
    }
}

/// A lock that threads share. The tests use the lock of a model checker.
pub(crate) trait Access: Default {
    type Inside;
    fn read<R>(&self, look: impl FnOnce(&Self::Inside) -> R) -> R;
    fn write<R>(&self, change: impl FnOnce(&mut Self::Inside) -> R) -> R;
}

type Plain = SharedLock<Inner<Arc<Task>, Arc<dyn PatternWatcher>>, place::Tasks>;

impl Access for Plain {
    type Inside = Inner<Arc<Task>, Arc<dyn PatternWatcher>>;

    fn read<R>(&self, look: impl FnOnce(&Self::Inside) -> R) -> R {
        look(&SharedLock::read(self))
    }

    fn write<R>(&self, change: impl FnOnce(&mut Self::Inside) -> R) -> R {
        change(&mut SharedLock::write(self))
    }
}

/// A task that was found or created.
pub(crate) struct Inserted<T = Arc<Task>> {
    pub(crate) task: T,
    pub(crate) new: bool,
    /// The announcement for pattern watchers, if the task is new.
    pub(crate) appeared: Option<Appeared<T>>,
}

impl<T> Inserted<T> {
    fn known(task: T) -> Self {
        Self {
            task,
            new: false,
            appeared: None,
        }
    }
}

/// Tasks by id. Lists are paged by id and patterns are prefixes, so both are ranges of a
/// `BTreeMap`. A publisher that needs speed keeps its `Arc<Task>`.
#[derive(Default)]
pub(crate) struct Tasks<L = Plain> {
    inner: L,
}

impl<T: Clone, W: Clone, L: Access<Inside = Inner<T, W>>> Tasks<L> {
    pub(crate) fn get(&self, id: &TaskId) -> Option<T> {
        self.inner.read(|inner| inner.tasks.get(id).cloned())
    }

    pub(crate) fn len(&self) -> usize {
        self.inner.read(|inner| inner.tasks.len())
    }

    /// Returns the task. `make` creates a new task, which is then announced to the patterns, if
    /// there are any.
    pub(crate) fn get_or_insert(&self, id: &TaskId, make: impl FnOnce() -> T) -> Inserted<T> {
        if let Some(task) = self.get(id) {
            return Inserted::known(task);
        }
        self.inner.write(|inner| {
            if let Some(task) = inner.tasks.get(id) {
                return Inserted::known(task.clone());
            }
            let task = make();
            inner.tasks.insert(id.clone(), task.clone());
            let appeared = (!inner.patterns.is_empty()).then(|| Appeared {
                task: task.clone(),
                last: inner.serial,
                next: Some(0),
            });
            Inserted {
                task,
                new: true,
                appeared,
            }
        })
    }

    /// Returns the next watchers of patterns that match the id of a task, up to `limit`.
    fn interested_in(
        &self,
        id: &TaskId,
        appeared: &mut Appeared<T>,
        limit: usize,
    ) -> Vec<(W, usize)> {
        self.inner.read(|inner| {
            let mut interested = Vec::new();
            let from = appeared.next.take().unwrap_or(usize::MAX);
            // From the slot on, because a walk from the first slot would be quadratic.
            for slot in from..inner.patterns.capacity() {
                let Some(entry) = inner.patterns.get(slot) else {
                    continue;
                };
                if interested.len() >= limit {
                    appeared.next = Some(slot);
                    break;
                }
                if entry.serial <= appeared.last && entry.pattern.matches(id) {
                    interested.push((entry.watcher.clone(), entry.key));
                }
            }
            interested
        })
    }

    /// Removes a task if `still` holds under the registry's lock.
    pub(crate) fn remove_if(&self, id: &TaskId, still: impl FnOnce(&T) -> bool) -> bool {
        self.inner.write(|inner| {
            let remove = inner.tasks.get(id).is_some_and(still);
            if remove {
                inner.tasks.remove(id);
            }
            remove
        })
    }

    /// Attaches a pattern, and calls `comes` under the registry's lock. Returns the tasks that
    /// match already. This is one critical section, so every matching task is either in the list
    /// or announced later.
    pub(crate) fn watch(
        &self,
        pattern: &Pattern,
        watcher: W,
        key: usize,
        comes: impl FnOnce(),
    ) -> (PatternId, Vec<T>) {
        self.inner.write(|inner| {
            comes();
            let id = inner.insert(pattern, watcher, key);
            let tasks = inner
                .tasks
                .range::<str, _>((Bound::Included(pattern.prefix()), Bound::Unbounded))
                .take_while(|(id, _)| pattern.matches(id))
                .map(|(_, task)| task.clone())
                .collect();
            (id, tasks)
        })
    }

    /// Attaches a pattern. The caller itself must page through the tasks that match already.
    pub(crate) fn attach(
        &self,
        pattern: &Pattern,
        watcher: W,
        key: usize,
        comes: impl FnOnce(),
    ) -> PatternId {
        self.inner.write(|inner| {
            comes();
            inner.insert(pattern, watcher, key)
        })
    }

    /// Detaches a pattern. Calls `last_goes` under the registry's lock if no pattern is left. A
    /// pattern that attaches at the same time comes before or after.
    pub(crate) fn unwatch(&self, id: PatternId, last_goes: impl FnOnce()) {
        self.inner.write(|inner| {
            let entry = inner.patterns.get(id.slot);
            if entry.is_some_and(|entry| entry.serial == id.serial) {
                inner.patterns.remove(id.slot);
                if inner.patterns.is_empty() {
                    inner.patterns = Slab::new();
                    last_goes();
                }
            }
        });
    }

    /// Returns whether a watched pattern matches this task.
    pub(crate) fn is_matched(&self, id: &TaskId) -> bool {
        self.inner.read(|inner| {
            let mut patterns = inner.patterns.iter();
            patterns.any(|(_, entry)| entry.pattern.matches(id))
        })
    }

    /// Returns the watched patterns.
    pub(crate) fn patterns(&self) -> Vec<Pattern> {
        self.inner.read(|inner| {
            let patterns = inner.patterns.iter();
            patterns.map(|(_, entry)| entry.pattern.clone()).collect()
        })
    }

    /// Returns up to `limit` tasks after `after`, in order, with ids that begin with `prefix`.
    pub(crate) fn page(&self, prefix: &str, after: Option<&TaskId>, limit: usize) -> Vec<T> {
        let start = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        self.inner.read(|inner| {
            let tasks = inner.tasks.range::<str, _>((start, Bound::Unbounded));
            tasks
                .take_while(|(id, _)| id.as_str().starts_with(prefix))
                .take(limit)
                .map(|(_, task)| task.clone())
                .collect()
        })
    }
}

impl Tasks {
    /// Returns the next pattern watchers to tell about a task, up to `limit`.
    pub(crate) fn interested(
        &self,
        appeared: &mut Appeared,
        limit: usize,
    ) -> Vec<(Arc<dyn PatternWatcher>, usize)> {
        let id = appeared.task.id().clone();
        self.interested_in(&id, appeared, limit)
    }
}

impl<T, W> Inner<T, W> {
    fn insert(&mut self, pattern: &Pattern, watcher: W, key: usize) -> PatternId {
        self.serial += 1;
        let serial = self.serial;
        let slot = self.patterns.insert(PatternEntry {
            serial,
            pattern: pattern.clone(),
            watcher,
            key,
        });
        PatternId { slot, serial }
    }
}
