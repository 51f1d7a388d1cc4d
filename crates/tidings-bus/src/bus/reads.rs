//! Reads of tasks, in memory and in a store.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tidings_protocol::{Pattern, Since, TaskId, TaskSnapshot, TaskStatus};

use super::EventBus;
use crate::cluster::fetch;
use crate::deliver::cold;
use crate::deliver::cursor::Cursor;
use crate::ledger::{Account, OverLimit};
use crate::log::View;
use crate::store::StoreError;
use crate::tasks::shelf;
use crate::tasks::task::Task;

/// The number of tasks that are fetched at the same time.
const AT_A_TIME: usize = 32;

/// The number of ids that are listed at a time.
const PAGE: usize = 1_000;

impl EventBus {
    /// Returns the task with this id, if the bus knows it.
    pub fn task(&self, task_id: &TaskId) -> Option<Arc<Task>> {
        self.shared.tasks.get(task_id)
    }

    /// Returns the task with this id. Creates the task if it is new, so that it can be watched.
    ///
    /// Attach to the task's topic next. If that returns `None`, the bus forgot the task in the
    /// meantime: call this method again. [`detach`](Self::detach) forgets a task without
    /// watchers and events.
    pub fn task_or_new(&self, task_id: &TaskId) -> Arc<Task> {
        shelf::task_or_new(&self.shared, task_id)
    }

    /// Returns the task with this id. A task that is new is charged to `account`
    /// until its first event, because it exists for a subscriber alone. See
    /// [`task_or_new`](Self::task_or_new), which charges the bus's own account.
    ///
    /// # Errors
    /// Fails if the account, or all clients together, have reached their limit. The bus has then
    /// not created the task.
    pub fn task_for(&self, account: &Account, task_id: &TaskId) -> Result<Arc<Task>, OverLimit> {
        shelf::task_for(&self.shared, account, task_id)
    }

    /// Returns the task's state. Returns `None` if no event was published to the task, or if
    /// only the store has it. [`find`](Self::find) reads the store too.
    pub fn snapshot(&self, task_id: &TaskId) -> Option<Arc<TaskSnapshot>> {
        self.task(task_id)
            .filter(|task| task.is_declared())
            .map(|task| task.snapshot())
    }

    /// Returns the states of up to `limit` tasks, in order of their ids, after `after`. The ids
    /// begin with `prefix`, and the tasks have the status `status`.
    pub fn list(
        &self,
        prefix: &str,
        status: Option<TaskStatus>,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Vec<Arc<TaskSnapshot>> {
        let shared = &self.shared;
        let mut found = Vec::new();
        let mut after = after.cloned();
        while found.len() < limit {
            let wanted = (limit - found.len()).clamp(64, 1_024);
            let page = match status {
                Some(status) => shared.listing.page(status, prefix, after.as_ref(), wanted),
                None => shared.tasks.page(prefix, after.as_ref(), wanted),
            };
            let Some(last) = page.last() else { break };
            after = Some(last.id().clone());
            let left = limit - found.len();
            found.extend(
                page.iter()
                    .filter(|task| task.is_declared())
                    .map(|task| task.snapshot())
                    .filter(|snapshot| status.is_none_or(|status| snapshot.status == status))
                    .take(left),
            );
        }
        found
    }

    /// Returns up to `limit` tasks that match a pattern, in order of their ids, after the given
    /// id. Tasks without events are included.
    pub fn tasks_matching(
        &self,
        pattern: &Pattern,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Vec<Arc<Task>> {
        self.shared.tasks.page(pattern.prefix(), after, limit)
    }

    /// Reads a page of events from the store, for a cursor that is [`Cold`](crate::Step::Cold).
    /// The page is empty if the events are gone. The cursor's next step on the topic then
    /// reports this.
    ///
    /// Waits while the store cannot be read.
    pub fn fetch_page(
        &self,
        task: &Arc<Task>,
        cursor: &Cursor,
    ) -> impl Future<Output = View> + Send + use<> {
        cold::fetch_page(Arc::clone(&self.shared), Arc::clone(task), *cursor)
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
        fetch::fetch(&self.shared, task_id, since).await
    }

    /// Fetches every task that a pattern matches.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    ///
    /// # Cancel safety
    /// A dropped future may have fetched a part. A later call fetches the rest.
    pub async fn fetch_matching(&self, pattern: &Pattern) -> Result<(), StoreError> {
        fetch::fetch_matching(&self.shared, pattern).await
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
            return shelf::find_own(&self.shared, task_id).await;
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
                    shelf::find_all_own(shared, store, prefix, status, after, limit).await
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
