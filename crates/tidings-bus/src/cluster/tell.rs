//! Children that other nodes publish. If nodes share a store, most children come from there.

use std::sync::Arc;

use tidings_protocol::TaskId;

use crate::cluster::fetch;
use crate::shared::Shared;
use crate::store::StoreError;

/// Children of a store that are read at a time.
const PAGE: usize = 4_096;

/// Announces a child that another node has published to the watchers of its parent.
pub(crate) fn spawn_tell_child(shared: &Arc<Shared>, parent: TaskId, child: TaskId) {
    if !shared.trees.watchers.is_watched(&parent) {
        return;
    }
    let owned = Arc::clone(shared);
    shared.spawn(async move { tell_child(&owned, &parent, &child).await });
}

async fn tell_child(shared: &Arc<Shared>, parent: &TaskId, child: &TaskId) {
    match fetch::fetch(shared, child, None).await {
        Ok(Some(task)) => shared.fanout.born(parent.clone(), task),
        Ok(None) => {}
        // The broker sends a notice when the store is back.
        Err(error) => tracing::debug!(%child, %error, "a new child could not be read"),
    }
}

/// Announces all children of watched parents to the watchers, because notices were lost.
pub(crate) fn spawn_tell_children(shared: &Arc<Shared>) {
    for parent in shared.trees.watchers.parents() {
        let owned = Arc::clone(shared);
        shared.spawn(async move {
            if let Err(error) = tell_children(&owned, &parent).await {
                tracing::debug!(%parent, %error, "children could not be read");
            }
        });
    }
}

async fn tell_children(shared: &Arc<Shared>, parent: &TaskId) -> Result<(), StoreError> {
    let Some(families) = shared.families() else {
        return Ok(());
    };
    let mut after: Option<TaskId> = None;
    loop {
        let page = families.children(parent, "", after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.clone());
        for child in page {
            tell_child(shared, parent, &child).await;
        }
    }
}
