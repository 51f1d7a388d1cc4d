//! Reads of trees.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tidings_protocol::{TaskId, TaskSnapshot, TaskStatus};

use super::EventBus;
use crate::store::StoreError;
use crate::tasks::trees::forest::MAX_TREE_DEPTH;
use crate::tasks::trees::watchers::{ChildWatchId, ChildWatcher};

/// The number of states that are read at a time.
const AT_A_TIME: usize = 32;

/// The number of ids that are read for a page of a list.
const PAGE: usize = 1_000;

/// Trees: a task may name the task that contains it as its `parent_task_id`.
impl EventBus {
    /// Returns up to `limit` ids of a task's children that begin with `prefix`, in order, after
    /// `after`. A child may be in the store alone, and its parent need not exist.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn children(
        &self,
        parent: &TaskId,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, StoreError> {
        let shared = &self.shared;
        match shared.families() {
            Some(families) => families.children(parent, prefix, after, limit).await,
            None => Ok(shared
                .trees
                .lock()
                .forest
                .page(parent, prefix, after, limit)),
        }
    }

    /// Returns the parent that a task names. Returns `None` if it names none, and if
    /// there is no such task.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn parent(&self, task: &TaskId) -> Result<Option<TaskId>, StoreError> {
        if self.shared.families().is_none() {
            return Ok(self.shared.trees.lock().forest.parent(task).cloned());
        }
        let found = self.find(task).await?;
        Ok(found.and_then(|state| state.parent_task_id.clone()))
    }

    /// Returns whether a task names a parent. Returns `None` if nodes share a store, because only
    /// the store knows then.
    pub fn names_parent(&self, task: &TaskId) -> Option<bool> {
        let here = self.shared.families().is_none();
        here.then(|| self.shared.trees.lock().forest.parent(task).is_some())
    }

    /// Returns whether tasks name a task as their parent. Returns `None` if nodes share a store,
    /// because only the store knows then.
    pub fn has_children(&self, task: &TaskId) -> Option<bool> {
        let here = self.shared.families().is_none();
        here.then(|| self.shared.trees.lock().forest.has_children(task))
    }

    /// Returns the tasks above a task, the nearest first: its parent, its parent's parent, and
    /// so on. The last task need not exist.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn ancestors(&self, task: &TaskId) -> Result<Vec<TaskId>, StoreError> {
        if self.shared.families().is_none() {
            return Ok(self.shared.trees.lock().forest.ancestors(task));
        }
        let mut found = Vec::new();
        let mut at = task.clone();
        while found.len() < MAX_TREE_DEPTH {
            let Some(parent) = self.parent(&at).await? else {
                break;
            };
            at = parent.clone();
            found.push(parent);
        }
        Ok(found)
    }

    /// Returns the states of up to `limit` children of a task, as [`find_all`](Self::find_all)
    /// does for all tasks.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn find_children(
        &self,
        parent: &TaskId,
        prefix: &str,
        status: Option<TaskStatus>,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<Arc<TaskSnapshot>>, StoreError> {
        let mut found = Vec::new();
        let mut after = after.cloned();
        while found.len() < limit {
            let wanted = (limit - found.len()).clamp(64, PAGE);
            let page = self
                .children(parent, prefix, after.as_ref(), wanted)
                .await?;
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            let states: Vec<_> = stream::iter(page)
                .map(|task_id| async move { self.find(&task_id).await })
                .buffered(AT_A_TIME)
                .try_collect()
                .await?;
            let wanted = |state: &Arc<TaskSnapshot>| {
                // The listed child may have changed by now.
                state.parent_task_id.as_ref() == Some(parent)
                    && status.is_none_or(|status| state.status == status)
            };
            let left = limit - found.len();
            found.extend(states.into_iter().flatten().filter(wanted).take(left));
            tokio::task::yield_now().await;
        }
        Ok(found)
    }

    /// Announces every new child of a task to `watcher` from now on. The parent need not exist
    /// yet. Call [`children`](Self::children) after this method to get the existing children, so
    /// that none is missed.
    pub fn watch_children(
        &self,
        parent: &TaskId,
        watcher: Arc<dyn ChildWatcher>,
        key: usize,
    ) -> ChildWatchId {
        let interest = self.shared.interest.as_ref();
        let comes = || {
            if let Some(interest) = interest {
                interest.watch_children(true);
            }
        };
        let watchers = &self.shared.trees.watchers;
        watchers.watch(parent, watcher, key, comes)
    }

    /// Ends a watch. The watcher itself must detach its cursors on the children.
    pub fn unwatch_children(&self, id: &ChildWatchId) {
        let interest = self.shared.interest.as_ref();
        self.shared.trees.watchers.unwatch(id, || {
            if let Some(interest) = interest {
                interest.watch_children(false);
            }
        });
    }
}
