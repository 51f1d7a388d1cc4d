//! Tasks in a store that several nodes share, as this node asks for them.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tidings_protocol::{Pattern, Since, TaskId, TaskSnapshot, TaskStatus};

use crate::bus::EventBus;
use crate::cluster::catch_up::Loaded;
use crate::ledger::Group;
use crate::shared::Shared;
use crate::store::StoreError;
use crate::tasks::task::Task;

/// The number of tasks that are fetched at the same time.
const AT_A_TIME: usize = 32;

/// The number of ids that are listed at a time.
const PAGE: usize = 1_000;

impl Shared {
    /// Updates this node's copy of a task from the store. Returns `None` if there is no such
    /// task.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        task_id: &TaskId,
        since: Option<&Since>,
    ) -> Result<Option<Arc<Task>>, StoreError> {
        let (Some(store), Some(interest)) = (&self.store, &self.interest) else {
            return self.fetch_own(task_id).await;
        };
        if let Some(task) = self.tasks.get(task_id) {
            // Another node may have delivered more events than this node has.
            let behind = match since {
                Some(Since::After(position)) => {
                    let standing = task.topic().standing();
                    standing.epoch != position.epoch || standing.offset < position.offset
                }
                _ => false,
            };
            if behind || task.topic().watcher_count() == 0 || !interest.is_watching(task_id) {
                let _turn = task.commit.lock().await;
                self.catch_up(store, &task).await?;
            }
            return Ok(Some(task));
        }
        // Make room before the task is read, as for a task of the bus's own store. Room made
        // afterwards could evict the task itself, again and again.
        self.keep_to_limit();
        let Some(loaded) = self.load(store, task_id).await? else {
            return Ok(None);
        };
        // Fill the task before it becomes visible. Watchers of a pattern then see it with its
        // events, instead of an empty task that changes later.
        let mut loaded = Some(loaded);
        let make = || {
            let task = self.new_task(task_id, self.ledger.own());
            self.install(&task, loaded.take().unwrap_or_else(Loaded::nothing));
            task
        };
        let (task, new) = self.get_or_insert(task_id, make);
        if !new {
            let _turn = task.commit.lock().await;
            self.catch_up(store, &task).await?;
        }
        Ok(Some(task))
    }

    /// Fetches every task that a pattern matches.
    pub(crate) async fn fetch_matching(
        self: &Arc<Self>,
        pattern: &Pattern,
    ) -> Result<(), StoreError> {
        let store = match &self.interest {
            Some(_) => self.store.as_ref(),
            None => self.shelf(),
        };
        let Some(store) = store else {
            return Ok(());
        };
        let mut after: Option<TaskId> = None;
        loop {
            if self.interest.is_none() && self.ledger.is_over(Group::Tasks) {
                // More tasks would evict the tasks that were fetched before.
                return Ok(());
            }
            let page = match &self.interest {
                Some(interest) => {
                    let page = interest.list(pattern.prefix(), after.as_ref(), PAGE).await;
                    page.map_err(|error| StoreError::Unavailable(error.into()))?
                }
                None => store.list(pattern.prefix(), after.as_ref(), PAGE).await?,
            };
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            stream::iter(page)
                .map(|task_id| async move { self.fetch(&task_id, None).await.map(drop) })
                .buffer_unordered(AT_A_TIME)
                .try_collect::<()>()
                .await?;
            self.keep_to_limit();
        }
    }

    pub(crate) fn spawn_fetch_matching(self: &Arc<Self>, pattern: Pattern) {
        if self.interest.is_none() {
            return;
        }
        let shared = Arc::clone(self);
        self.spawn(async move {
            if let Err(error) = shared.fetch_matching(&pattern).await {
                // The broker sends a notice when the store is back.
                tracing::debug!(%pattern, %error, "tasks of a pattern could not be read");
            }
        });
    }

    /// Forgets a task of a shared store on this node, because it has no watcher. Returns false
    /// if a watcher or a publisher uses the task now.
    pub(crate) fn release(&self, task: &Arc<Task>) -> bool {
        // A publisher with the turn stores its event first and then looks at the log again. It
        // must find the log open.
        let Ok(_turn) = task.commit.try_lock() else {
            return false;
        };
        if !task.lock_waiting().is_idle() {
            // Their publisher would have to read the task again.
            return false;
        }
        let removed = self.tasks.remove_if(task.id(), |known| {
            if !Arc::ptr_eq(known, task) {
                return false;
            }
            let mut log = task.topic().lock();
            if log.closed || task.topic().watcher_count() > 0 {
                return false;
            }
            log.trim_all();
            log.closed = true;
            task.topic().mirror(&mut log);
            true
        });
        if removed {
            let mut rules = task.lock_rules();
            self.displace(&mut rules);
            self.relist(task, &mut rules, None);
            rules.lease = None;
            self.schedule_lease(task, &mut rules);
        }
        removed
    }
}

/// Reads of a store that is shared with other nodes and too large for the memory of one node.
/// Any other bus answers these calls from memory.
impl EventBus {
    /// Returns whether the bus fetches tasks from a store on demand. The store is shared by
    /// nodes, or it is the bus's own and memory was short.
    pub fn is_shared(&self) -> bool {
        self.shared.store.is_some()
    }

    /// Updates this node's copy of a task to the state of all nodes. A subscriber that joins
    /// next, at `since`, then finds the task complete. Returns `None` if there is no such task.
    ///
    /// # Errors
    /// Fails if the store cannot be read. Do not join the task then. A client may have seen
    /// newer events on another node.
    ///
    /// # Cancel safety
    /// A dropped future may have fetched a part. A later call fetches the rest.
    pub async fn fetch(
        &self,
        task_id: &TaskId,
        since: Option<&Since>,
    ) -> Result<Option<Arc<Task>>, StoreError> {
        self.shared.fetch(task_id, since).await
    }

    /// Fetches every task that a pattern matches.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    ///
    /// # Cancel safety
    /// A dropped future may have fetched a part. A later call fetches the rest.
    pub async fn fetch_matching(&self, pattern: &Pattern) -> Result<(), StoreError> {
        self.shared.fetch_matching(pattern).await
    }

    /// Returns the task's state, from memory or from the store. Returns `None` if no event was
    /// published to the task.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn find(&self, task_id: &TaskId) -> Result<Option<Arc<TaskSnapshot>>, StoreError> {
        let (Some(store), Some(interest)) = (&self.shared.store, &self.shared.interest) else {
            return self.shared.find_own(task_id).await;
        };
        let live = self
            .task(task_id)
            .is_some_and(|task| task.topic().watcher_count() > 0 && interest.is_watching(task_id));
        // Another node may have published the first event a moment ago. Only the store can tell
        // that there is no such task.
        if live && let Some(state) = self.snapshot(task_id) {
            return Ok(Some(state));
        }
        Ok(store.find(task_id).await?.map(|stored| stored.snapshot))
    }

    /// Lists the tasks of all nodes, as [`list`](Self::list) does.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn find_all(
        &self,
        prefix: &str,
        status: Option<TaskStatus>,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<Arc<TaskSnapshot>>, StoreError> {
        let (Some(store), Some(interest)) = (&self.shared.store, &self.shared.interest) else {
            return match self.shared.shelf() {
                None => Ok(self.list(prefix, status, after, limit)),
                Some(store) => {
                    let shared = &self.shared;
                    shared
                        .find_all_own(store, prefix, status, after, limit)
                        .await
                }
            };
        };
        let mut found = Vec::new();
        let mut after = after.cloned();
        while found.len() < limit {
            let page = interest
                .list(prefix, after.as_ref(), limit.clamp(64, PAGE))
                .await;
            let page = page.map_err(|error| StoreError::Unavailable(error.into()))?;
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            let tasks: Vec<_> = stream::iter(page)
                .map(|task_id| async move { store.find(&task_id).await })
                .buffered(AT_A_TIME)
                .try_collect()
                .await?;
            let wanted = limit - found.len();
            found.extend(
                tasks
                    .into_iter()
                    .flatten()
                    .map(|task| task.snapshot)
                    .filter(|snapshot| status.is_none_or(|status| snapshot.status == status))
                    .take(wanted),
            );
        }
        Ok(found)
    }
}
