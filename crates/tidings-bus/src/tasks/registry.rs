//! The registry: all tasks in order of their ids, and who waits for new ones.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, RwLock};

use slab::Slab;
use tidings_protocol::{Pattern, TaskId};

use crate::tasks::task::Task;

/// Told of every new task that its pattern matches.
pub trait PatternWatcher: Send + Sync {
    /// A task has appeared. It may have events by now, and none of them was
    /// delivered: attach with [`Start::Appeared`](crate::watch::Start::Appeared). Called
    /// by the fan-out pass, like [`Watcher::advance`](crate::Watcher::advance), and
    /// must not block. `key` is what the watcher named its pattern.
    fn discovered(&self, key: usize, task: &Arc<Task>);
}

/// Names an attached pattern, to detach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatternId {
    slot: usize,
    /// A slot has one tenant after the other. This tells them apart.
    serial: u64,
}

/// A task that has appeared, and how many patterns have heard of it.
pub(crate) struct Appeared {
    pub(crate) task: Arc<Task>,
    /// Patterns up to this serial were there when it appeared. Later ones found
    /// it in the registry.
    last: u64,
    /// The slot to look at next; none when all have heard.
    next: Option<usize>,
}

impl Appeared {
    pub(crate) fn is_over(&self) -> bool {
        self.next.is_none()
    }
}

struct PatternEntry {
    serial: u64,
    pattern: Pattern,
    watcher: Arc<dyn PatternWatcher>,
    key: usize,
}

#[derive(Default)]
struct Inner {
    tasks: BTreeMap<TaskId, Arc<Task>>,
    patterns: Slab<PatternEntry>,
    /// Patterns ever attached.
    serial: u64,
}

/// A task that was looked up, or made.
pub(crate) struct Inserted {
    pub(crate) task: Arc<Task>,
    pub(crate) new: bool,
    /// The announcement that pattern watchers have yet to hear, if the task is new.
    pub(crate) appeared: Option<Appeared>,
}

impl Inserted {
    fn known(task: Arc<Task>) -> Self {
        Self {
            task,
            new: false,
            appeared: None,
        }
    }
}

/// Tasks by id. A `BTreeMap`, because lists are paged by id and patterns are
/// prefixes, so both are ranges; a publisher that cares keeps its `Arc<Task>`.
#[derive(Default)]
pub(crate) struct Tasks {
    inner: RwLock<Inner>,
}

impl Tasks {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn get(&self, id: &TaskId) -> Option<Arc<Task>> {
        self.read().tasks.get(id).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.read().tasks.len()
    }

    /// The task, made by `make` if it is new; then patterns are to hear of it,
    /// unless there are none.
    pub(crate) fn get_or_insert(&self, id: &TaskId, make: impl FnOnce() -> Arc<Task>) -> Inserted {
        if let Some(task) = self.get(id) {
            return Inserted::known(task);
        }
        let mut inner = self.write();
        if let Some(task) = inner.tasks.get(id) {
            return Inserted::known(Arc::clone(task));
        }
        let task = make();
        inner.tasks.insert(id.clone(), Arc::clone(&task));
        let appeared = (!inner.patterns.is_empty()).then(|| Appeared {
            task: Arc::clone(&task),
            last: inner.serial,
            next: Some(0),
        });
        Inserted {
            task,
            new: true,
            appeared,
        }
    }

    /// The next pattern watchers that are to hear of a task, up to `limit`.
    pub(crate) fn interested(
        &self,
        appeared: &mut Appeared,
        limit: usize,
    ) -> Vec<(Arc<dyn PatternWatcher>, usize)> {
        let inner = self.read();
        let mut interested = Vec::new();
        let from = appeared.next.take().unwrap_or(usize::MAX);
        let entries = inner.patterns.iter().skip_while(|(slot, _)| *slot < from);
        for (slot, entry) in entries {
            if interested.len() >= limit {
                appeared.next = Some(slot);
                break;
            }
            if entry.serial <= appeared.last && entry.pattern.matches(appeared.task.id()) {
                interested.push((Arc::clone(&entry.watcher), entry.key));
            }
        }
        interested
    }

    /// Takes a task out if `still` holds under the registry's lock.
    pub(crate) fn remove_if(&self, id: &TaskId, still: impl FnOnce(&Arc<Task>) -> bool) -> bool {
        let mut inner = self.write();
        let remove = inner.tasks.get(id).is_some_and(still);
        if remove {
            inner.tasks.remove(id);
        }
        remove
    }

    /// Attaches a pattern, which calls `comes` under the registry's lock, and gives the tasks that already match: one critical
    /// section, so a task is either in the list or will be discovered.
    pub(crate) fn watch(
        &self,
        pattern: &Pattern,
        watcher: Arc<dyn PatternWatcher>,
        key: usize,
        comes: impl FnOnce(),
    ) -> (PatternId, Vec<Arc<Task>>) {
        let mut inner = self.write();
        comes();
        inner.serial += 1;
        let serial = inner.serial;
        let slot = inner.patterns.insert(PatternEntry {
            serial,
            pattern: pattern.clone(),
            watcher,
            key,
        });
        let tasks = inner
            .tasks
            .range::<str, _>((Bound::Included(pattern.prefix()), Bound::Unbounded))
            .take_while(|(id, _)| pattern.matches(id))
            .map(|(_, task)| Arc::clone(task))
            .collect();
        (PatternId { slot, serial }, tasks)
    }

    /// Attaches a pattern. Tasks that match already are the caller's to page through.
    pub(crate) fn attach(
        &self,
        pattern: &Pattern,
        watcher: Arc<dyn PatternWatcher>,
        key: usize,
        comes: impl FnOnce(),
    ) -> PatternId {
        let mut inner = self.write();
        comes();
        inner.serial += 1;
        let serial = inner.serial;
        let slot = inner.patterns.insert(PatternEntry {
            serial,
            pattern: pattern.clone(),
            watcher,
            key,
        });
        PatternId { slot, serial }
    }

    /// Detaches a pattern. Calls `last_goes` if there are none left, under the
    /// registry's lock: a pattern that comes at this moment comes before or after.
    pub(crate) fn unwatch(&self, id: PatternId, last_goes: impl FnOnce()) {
        let mut inner = self.write();
        let entry = inner.patterns.get(id.slot);
        if entry.is_some_and(|entry| entry.serial == id.serial) {
            inner.patterns.remove(id.slot);
            if inner.patterns.is_empty() {
                inner.patterns = Slab::new();
                last_goes();
            }
        }
    }

    /// Whether a pattern that is watched wants this task.
    pub(crate) fn is_matched(&self, id: &TaskId) -> bool {
        let inner = self.read();
        inner
            .patterns
            .iter()
            .any(|(_, entry)| entry.pattern.matches(id))
    }

    /// The patterns that are watched.
    pub(crate) fn patterns(&self) -> Vec<Pattern> {
        let inner = self.read();
        let patterns = inner.patterns.iter();
        patterns.map(|(_, entry)| entry.pattern.clone()).collect()
    }

    /// Up to `limit` tasks after `after`, in order, as long as they begin with `prefix`.
    pub(crate) fn page(
        &self,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Vec<Arc<Task>> {
        let start = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        self.read()
            .tasks
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(id, _)| id.as_str().starts_with(prefix))
            .take(limit)
            .map(|(_, task)| Arc::clone(task))
            .collect()
    }
}
