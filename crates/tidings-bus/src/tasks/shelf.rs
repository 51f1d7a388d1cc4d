//! Tasks of the bus's own store, which are loaded on demand.
//!
//! When memory is short, a task without a watcher leaves memory. The store keeps its events,
//! its state and its rules. A read or a publish loads the task again. A task that was created
//! here before it was read is *absent*. It is an empty place, and accepts no event until it was
//! read.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidings_protocol::{TaskId, TaskSnapshot, TaskStatus};

use crate::shared::Shared;
use crate::store::{Store, StoreError};
use crate::tasks::task::Task;

/// The number of ids that are read for a page of a list.
const PAGE: usize = 1_024;

/// The state of a task that decides whether it may leave memory. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leaving {
    /// The store has the task.
    pub(crate) stored: bool,
    /// The store has all events of the task, and its current rules.
    pub(crate) saved: bool,
    /// The task has a lease or an open question, so the bus must keep track of it.
    pub(crate) leased: bool,
    /// The task has a watcher.
    pub(crate) watched: bool,
}

impl Leaving {
    /// Decides whether the task may leave memory.
    pub(crate) fn may(self) -> bool {
        self.stored && self.saved && !self.leased && !self.watched
    }
}

impl Shared {
    /// Returns the store, if only this bus uses it.
    pub(crate) fn own_store(&self) -> Option<&Arc<dyn Store>> {
        self.store.as_ref().filter(|_| self.interest.is_none())
    }

    /// Returns the bus's own store, if it has tasks that are not in memory.
    pub(crate) fn shelf(&self) -> Option<&Arc<dyn Store>> {
        let own = self.own_store();
        own.filter(|_| !self.all_here.load(Ordering::SeqCst))
    }

    /// Returns whether the bus's own store has a task.
    pub(crate) fn is_stored(&self, task_id: &TaskId) -> bool {
        let store = self.own_store();
        store.is_some_and(|store| store.has(task_id))
    }

    /// Loads a task of the bus's own store. Returns `None` if there is no such task.
    pub(crate) async fn fetch_own(
        self: &Arc<Self>,
        task_id: &TaskId,
    ) -> Result<Option<Arc<Task>>, StoreError> {
        loop {
            let task = match self.tasks.get(task_id) {
                Some(task) if !task.is_absent() => return Ok(Some(task)),
                Some(task) => task,
                None if !self.is_stored(task_id) => return Ok(None),
                None => {
                    // Make room before the task is read. Room made afterwards could evict the task
                    // itself, again and again, and its publisher would never find it in memory.
                    self.keep_to_limit();
                    self.task_or_absent(task_id)
                }
            };
            self.fill_absent(&task).await?;
            if !task.topic().is_closed() {
                return Ok(Some(task));
            }
        }
    }

    /// Reads a task that is absent.
    async fn fill_absent(self: &Arc<Self>, task: &Arc<Task>) -> Result<(), StoreError> {
        let Some(store) = self.own_store() else {
            return Ok(());
        };
        let _turn = task.commit.lock().await;
        if task.is_absent() {
            match store.find(task.id()).await? {
                Some(stored) => self.adopt_cold(task, stored),
                None => task.absent.store(false, Ordering::SeqCst),
            }
        }
        Ok(())
    }

    /// Starts to read an absent task that has a watcher already.
    pub(crate) fn spawn_fill(self: &Arc<Self>, task: &Arc<Task>) {
        let (shared, task) = (Arc::clone(self), Arc::clone(task));
        self.spawn(async move {
            if let Err(error) = shared.fill_absent(&task).await {
                tracing::warn!(task_id = %task.id(), %error, "a task could not be read from the store");
            }
        });
    }

    /// Removes a task from memory if it may leave. Returns false if it stays.
    pub(crate) fn shelve(&self, task: &Arc<Task>) -> bool {
        let stored = self.is_stored(task.id());
        // Set this first. Other readers must not take memory for complete.
        self.all_here.store(false, Ordering::SeqCst);
        // A publisher that has the turn must find the log open when it looks again.
        let Ok(_turn) = task.commit.try_lock() else {
            return false;
        };
        let rules = task.lock_rules();
        let rules_saved = self.behind.is_none() || rules.changes == rules.saved;
        let leased = rules.is_due_some_time();
        drop(rules);
        let idle = task.lock_waiting().is_idle() && !task.unsaved.load(Ordering::SeqCst);
        let left = self.tasks.remove_if(task.id(), |known| {
            let mut log = task.topic().lock();
            let leaving = Leaving {
                stored,
                saved: rules_saved && idle && log.saved() >= log.head(),
                leased,
                watched: task.topic().watcher_count() > 0,
            };
            if !Arc::ptr_eq(known, task) || log.closed || !leaving.may() {
                return false;
            }
            log.trim_all();
            log.closed = true;
            task.topic().mirror(&mut log);
            true
        });
        if left {
            let mut rules = task.lock_rules();
            self.displace(&mut rules);
            self.relist(task, &mut rules, None);
            self.counters.shelved.fetch_add(1, Ordering::Relaxed);
        }
        left
    }

    /// Returns the state of a task of the bus's own store, in memory or not. Does not load the
    /// task.
    pub(crate) async fn find_own(
        &self,
        task_id: &TaskId,
    ) -> Result<Option<Arc<TaskSnapshot>>, StoreError> {
        if let Some(task) = self.tasks.get(task_id)
            && !task.is_absent()
        {
            return Ok(task.is_declared().then(|| task.snapshot()));
        }
        match self.own_store() {
            Some(store) if store.has(task_id) => {
                Ok(store.find(task_id).await?.map(|stored| stored.snapshot))
            }
            _ => Ok(None),
        }
    }

    /// Returns the states of tasks in memory and in the bus's own store, in the order of their
    /// ids.
    pub(crate) async fn find_all_own(
        &self,
        store: &Arc<dyn Store>,
        prefix: &str,
        status: Option<TaskStatus>,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<Arc<TaskSnapshot>>, StoreError> {
        let mut found = Vec::new();
        let mut after = after.cloned();
        while found.len() < limit {
            let wanted = (limit - found.len()).clamp(64, PAGE);
            let here = self.tasks.page(prefix, after.as_ref(), wanted);
            let here = here.iter().map(|task| task.id().clone()).collect();
            let there = store.list(prefix, after.as_ref(), wanted).await?;
            let page = merge(here, there, wanted);
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            for task_id in page {
                if found.len() >= limit {
                    break;
                }
                let snapshot = self.find_own(&task_id).await?;
                let wanted = |snapshot: &Arc<TaskSnapshot>| {
                    status.is_none_or(|status| snapshot.status == status)
                };
                found.extend(snapshot.filter(wanted));
            }
            tokio::task::yield_now().await;
        }
        Ok(found)
    }
}

/// Returns the first `limit` ids of two pages in order, each id once.
fn merge(here: Vec<TaskId>, there: Vec<TaskId>, limit: usize) -> Vec<TaskId> {
    let mut all = [here, there].concat();
    all.sort_unstable();
    all.dedup();
    all.truncate(limit);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_store_has_whole_and_nobody_needs_leaves_memory() {
        let may = Leaving {
            stored: true,
            saved: true,
            leased: false,
            watched: false,
        };
        assert!(may.may());
        let stays = [
            Leaving {
                stored: false,
                ..may
            },
            Leaving {
                saved: false,
                ..may
            },
            Leaving {
                leased: true,
                ..may
            },
            Leaving {
                watched: true,
                ..may
            },
        ];
        for stays in stays {
            assert!(!stays.may(), "{stays:?}");
        }
    }

    #[test]
    fn two_pages_become_one_in_order() {
        let ids = |ids: &[&str]| ids.iter().map(|id| id.parse().unwrap()).collect();
        let merged = merge(ids(&["a", "c", "e"]), ids(&["b", "c", "d"]), 4);
        assert_eq!(merged, ids(&["a", "b", "c", "d"]) as Vec<TaskId>);
    }
}
