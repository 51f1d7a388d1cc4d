//! The registry: all tasks in order of their ids, and the patterns that wait for new tasks.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use slab::Slab;
use tidings_protocol::{Pattern, TaskId};

use crate::lock::{Reading, SharedLock, Writing, place};
use crate::tasks::task::Task;

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
pub(crate) struct Appeared {
    pub(crate) task: Arc<Task>,
    /// The serial of the newest pattern when the task appeared. Later patterns found the task in
    /// the registry.
    last: u64,
    /// The next slot to visit. `None` when all patterns have been told.
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
    /// The number of patterns that were ever attached.
    serial: u64,
}

impl Inner {
    fn attach(
        &mut self,
        pattern: &Pattern,
        watcher: Arc<dyn PatternWatcher>,
        key: usize,
    ) -> PatternId {
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

/// A task that was found or created.
pub(crate) struct Inserted {
    pub(crate) task: Arc<Task>,
    pub(crate) new: bool,
    /// The announcement for pattern watchers, if the task is new.
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

/// Tasks by id. Lists are paged by id and patterns are prefixes, so both are ranges of a
/// `BTreeMap`. A publisher that needs speed keeps its `Arc<Task>`.
#[derive(Default)]
pub(crate) struct Tasks {
    inner: SharedLock<Inner, place::Tasks>,
}

impl Tasks {
    fn read(&self) -> Reading<'_, Inner, place::Tasks> {
        self.inner.read()
    }

    fn write(&self) -> Writing<'_, Inner, place::Tasks> {
        self.inner.write()
    }

    pub(crate) fn get(&self, id: &TaskId) -> Option<Arc<Task>> {
        self.read().tasks.get(id).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.read().tasks.len()
    }

    /// Returns the task. `make` creates a new task, which is then announced to the patterns, if
    /// there are any.
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

    /// Returns the next pattern watchers to tell about a task, up to `limit`.
    pub(crate) fn interested(
        &self,
        appeared: &mut Appeared,
        limit: usize,
    ) -> Vec<(Arc<dyn PatternWatcher>, usize)> {
        let inner = self.read();
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
            if entry.serial <= appeared.last && entry.pattern.matches(appeared.task.id()) {
                interested.push((Arc::clone(&entry.watcher), entry.key));
            }
        }
        interested
    }

    /// Removes a task if `still` holds under the registry's lock.
    pub(crate) fn remove_if(&self, id: &TaskId, still: impl FnOnce(&Arc<Task>) -> bool) -> bool {
        let mut inner = self.write();
        let remove = inner.tasks.get(id).is_some_and(still);
        if remove {
            inner.tasks.remove(id);
        }
        remove
    }

    /// Attaches a pattern, and calls `comes` under the registry's lock. Returns the tasks that
    /// match already. This is one critical section, so every matching task is either in the list
    /// or announced later.
    pub(crate) fn watch(
        &self,
        pattern: &Pattern,
        watcher: Arc<dyn PatternWatcher>,
        key: usize,
        comes: impl FnOnce(),
    ) -> (PatternId, Vec<Arc<Task>>) {
        let mut inner = self.write();
        comes();
        let id = inner.attach(pattern, watcher, key);
        let tasks = inner
            .tasks
            .range::<str, _>((Bound::Included(pattern.prefix()), Bound::Unbounded))
            .take_while(|(id, _)| pattern.matches(id))
            .map(|(_, task)| Arc::clone(task))
            .collect();
        (id, tasks)
    }

    /// Attaches a pattern. The caller itself must page through the tasks that match already.
    pub(crate) fn attach(
        &self,
        pattern: &Pattern,
        watcher: Arc<dyn PatternWatcher>,
        key: usize,
        comes: impl FnOnce(),
    ) -> PatternId {
        let mut inner = self.write();
        comes();
        inner.attach(pattern, watcher, key)
    }

    /// Detaches a pattern. Calls `last_goes` under the registry's lock if no pattern is left. A
    /// pattern that attaches at the same time comes before or after.
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

    /// Returns whether a watched pattern matches this task.
    pub(crate) fn is_matched(&self, id: &TaskId) -> bool {
        let inner = self.read();
        inner
            .patterns
            .iter()
            .any(|(_, entry)| entry.pattern.matches(id))
    }

    /// Returns the watched patterns.
    pub(crate) fn patterns(&self) -> Vec<Pattern> {
        let inner = self.read();
        let patterns = inner.patterns.iter();
        patterns.map(|(_, entry)| entry.pattern.clone()).collect()
    }

    /// Returns up to `limit` tasks after `after`, in order, with ids that begin with `prefix`.
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
