//! Reads the trees of a store.

use std::sync::Arc;

use tidings_protocol::TaskId;

use super::forest::{MAX_TREE_DEPTH, TreeError};
use super::kin::named_parent;
use crate::publish::error::PublishError;
use crate::publish::prepared::Prepared;
use crate::shared::Shared;
use crate::store::{Store, StoreError};

/// Rows of a store that are read at a time at the start.
const PAGE: usize = 4_096;

/// Reads the trees of the bus's own store, with the tasks that are not in memory.
pub(crate) async fn read_trees(shared: &Shared, store: &Arc<dyn Store>) -> Result<(), StoreError> {
    let mut after: Option<TaskId> = None;
    loop {
        let page = store.related(after.as_ref(), PAGE).await?;
        let Some((last, _)) = page.last() else {
            // Some children may have changed before the last stop, without an event of their
            // parents.
            for parent in shared.trees.lock().forest.parents() {
                shared.trees.due.mark(&parent);
            }
            return Ok(());
        };
        after = Some(last.clone());
        for (task, related) in page {
            if related.says_children {
                // All its children may have gone since its last update.
                shared.trees.due.mark(&task);
            }
            shared.trees.set(&task, related.kin);
        }
    }
}

/// Decides whether the tree allows the named parent, if nodes share a store. Two nodes that
/// decide at the same time may each miss the other's event.
pub(crate) async fn check_shared_tree(
    shared: &Shared,
    task: &TaskId,
    prepared: &Prepared,
) -> Result<(), PublishError> {
    let (Some(parent), Some(store), Some(_)) = (
        named_parent(&prepared.payload),
        &shared.store,
        &shared.interest,
    ) else {
        return Ok(());
    };
    let mut at = parent.clone();
    for _ in 0..MAX_TREE_DEPTH {
        if at == *task {
            return Err(PublishError::Tree(TreeError::Cycle {
                task: task.clone(),
                parent: parent.clone(),
            }));
        }
        let found = store.find(&at).await;
        let found = found.map_err(|error| PublishError::Unavailable(Arc::new(error)))?;
        match found.and_then(|stored| stored.snapshot.parent_task_id.clone()) {
            Some(above) => at = above,
            None => return Ok(()),
        }
    }
    Err(PublishError::Tree(TreeError::TooDeep {
        parent: parent.clone(),
    }))
}
