//! The registry: all tasks in order of their ids, and who waits for new ones.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, RwLock};

use slab::Slab;
use tidings_protocol::{Pattern, TaskId};

use crate::tasks::task::Task;

/// Told of every new task that its pattern matches, before the task's first event.
pub trait PatternWatcher: Send + Sync {
    /// A task has appeared; its log is empty. `key` is what the watcher named its pattern.
    fn discovered(&self, key: usize, task: &Arc<Task>);
}

/// Names an attached pattern, to detach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatternId(usize);

struct PatternEntry {
    pattern: Pattern,
    watcher: Arc<dyn PatternWatcher>,
    key: usize,
}

#[derive(Default)]
struct Inner {
    tasks: BTreeMap<TaskId, Arc<Task>>,
    patterns: Slab<PatternEntry>,
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

    /// The task, made by `make` if it is new; then pattern watchers hear of it
    /// before this returns, so they have a cursor before its first event.
    pub(crate) fn get_or_insert(
        &self,
        id: &TaskId,
        make: impl FnOnce() -> Arc<Task>,
    ) -> (Arc<Task>, bool) {
        if let Some(task) = self.get(id) {
            return (task, false);
        }
        let (task, interested) = {
            let mut inner = self.write();
            if let Some(task) = inner.tasks.get(id) {
                return (Arc::clone(task), false);
            }
            let task = make();
            inner.tasks.insert(id.clone(), Arc::clone(&task));
            let interested: Vec<_> = inner
                .patterns
                .iter()
                .filter(|(_, entry)| entry.pattern.matches(id))
                .map(|(_, entry)| (Arc::clone(&entry.watcher), entry.key))
                .collect();
            (task, interested)
        };
        for (watcher, key) in interested {
            watcher.discovered(key, &task);
        }
        (task, true)
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

    /// Attaches a pattern and gives the tasks that already match: one critical
    /// section, so a task is either in the list or will be discovered.
    pub(crate) fn watch(
        &self,
        pattern: &Pattern,
        watcher: Arc<dyn PatternWatcher>,
        key: usize,
    ) -> (PatternId, Vec<Arc<Task>>) {
        let mut inner = self.write();
        let id = inner.patterns.insert(PatternEntry {
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
        (PatternId(id), tasks)
    }

    /// Attaches a pattern. Tasks that match already are the caller's to page through.
    pub(crate) fn attach(
        &self,
        pattern: &Pattern,
        watcher: Arc<dyn PatternWatcher>,
        key: usize,
    ) -> PatternId {
        let mut inner = self.write();
        PatternId(inner.patterns.insert(PatternEntry {
            pattern: pattern.clone(),
            watcher,
            key,
        }))
    }

    pub(crate) fn unwatch(&self, id: PatternId) {
        let mut inner = self.write();
        inner.patterns.try_remove(id.0);
        if inner.patterns.is_empty() {
            inner.patterns = Slab::new();
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
