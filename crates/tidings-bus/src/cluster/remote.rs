//! Tasks that lie in a store which several nodes share, asked for by those here.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tidings_protocol::{Pattern, Since, TaskId, TaskSnapshot, TaskStatus};

use crate::bus::EventBus;
use crate::cluster::catch_up::Loaded;
use crate::ledger::Group;
use crate::shared::Shared;
use crate::store::StoreError;
use crate::tasks::task::Task;

/// Tasks asked for at a time.
const AT_A_TIME: usize = 32;

/// Ids listed at a time.
const PAGE: usize = 1_000;

impl Shared {
    /// Brings what this node has of a task up to what the store has; none if
    /// there is no such task.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        task_id: &TaskId,
        since: Option<&Since>,
    ) -> Result<Option<Arc<Task>>, StoreError> {
        let (Some(store), Some(interest)) = (&self.store, &self.interest) else {
            return self.fetch_own(task_id).await;
        };
        if let Some(task) = self.tasks.get(task_id) {
            // Another node may have shown more than has come in here.
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
        let Some(loaded) = self.load(store, task_id).await? else {
            return Ok(None);
        };
        // Complete before anybody sees it: to those who watch a pattern it
        // appears with its events, and not empty and then changed.
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
        self.keep_to_limit();
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
                // The rest would push out what was brought before it.
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
        }
    }

    pub(crate) fn spawn_fetch_matching(self: &Arc<Self>, pattern: Pattern) {
        if self.interest.is_none() {
            return;
        }
        let shared = Arc::clone(self);
        self.spawn(async move {
            if let Err(error) = shared.fetch_matching(&pattern).await {
                // Told again when the store is back.
                tracing::debug!(%pattern, %error, "tasks of a pattern could not be read");
            }
        });
    }

    /// Forgets a task of a shared store here: nobody watches it. False if
    /// somebody does, or publishes to it just now.
    pub(crate) fn release(&self, task: &Arc<Task>) -> bool {
        // A publisher that has its turn has the event stored by the time it
        // looks at the log again, and must find it open.
        let Ok(_turn) = task.commit.try_lock() else {
            return false;
        };
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

/// For a bus whose store is shared with other nodes and too large to have all of
/// it here; on any other bus each answers from memory.
impl EventBus {
    /// Whether tasks are fetched from a store when they are asked for: from one that
    /// nodes share, or from the bus's own when memory was short.
    pub fn is_shared(&self) -> bool {
        self.shared.store.is_some()
    }

    /// Brings what this node has of a task up to what all nodes have, so that
    /// who joins it next, at `since`, finds it complete. None if there is no such
    /// task.
    ///
    /// # Errors
    /// The store cannot be read. The task is not to be joined then: what this
    /// node has may lie behind what a client has seen on another.
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
    /// The store cannot be read.
    pub async fn fetch_matching(&self, pattern: &Pattern) -> Result<(), StoreError> {
        self.shared.fetch_matching(pattern).await
    }

    /// The task's state, wherever it is; none for a task to which nothing was
    /// published.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn find(&self, task_id: &TaskId) -> Result<Option<Arc<TaskSnapshot>>, StoreError> {
        let (Some(store), Some(interest)) = (&self.shared.store, &self.shared.interest) else {
            return self.shared.find_own(task_id).await;
        };
        let live = self
            .task(task_id)
            .is_some_and(|task| task.topic().watcher_count() > 0 && interest.is_watching(task_id));
        if live {
            return Ok(self.snapshot(task_id));
        }
        Ok(store.find(task_id).await?.map(|stored| stored.snapshot))
    }

    /// As [`list`](Self::list), over the tasks of all nodes.
    ///
    /// # Errors
    /// The store cannot be read.
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
