//! Tasks in a store that several nodes share, as this node asks for them.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tidings_protocol::{Pattern, Since, TaskId};

use crate::cluster::take_in::{self, Loaded};
use crate::ledger::Group;
use crate::shared::Shared;
use crate::store::StoreError;
use crate::tasks::task::Task;
use crate::tasks::{evict, life, shelf};

/// The number of tasks that are fetched at the same time.
const AT_A_TIME: usize = 32;

/// The number of ids that are listed at a time.
const PAGE: usize = 1_000;

/// Updates this node's copy of a task from the store. Returns `None` if there is no such
/// task.
pub(crate) async fn fetch(
    shared: &Arc<Shared>,
    task_id: &TaskId,
    since: Option<&Since>,
) -> Result<Option<Arc<Task>>, StoreError> {
    let (Some(store), Some(interest)) = (&shared.store, &shared.interest) else {
        return shelf::fetch_own(shared, task_id).await;
    };
    if let Some(task) = shared.tasks.get(task_id) {
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
            take_in::catch_up(shared, store, &task).await?;
        }
        return Ok(Some(task));
    }
    // Make room before the task is read, as for a task of the bus's own store. Room made
    // afterwards could evict the task itself, again and again.
    evict::keep_to_limit(shared);
    let Some(loaded) = take_in::load(shared, store, task_id).await? else {
        return Ok(None);
    };
    // Fill the task before it becomes visible. Watchers of a pattern then see it with its
    // events, instead of an empty task that changes later.
    let mut loaded = Some(loaded);
    let make = || {
        let task = life::new_task(shared, task_id, shared.ledger.own());
        take_in::install(shared, &task, loaded.take().unwrap_or_else(Loaded::nothing));
        task
    };
    let (task, new) = life::get_or_insert(shared, task_id, make);
    if !new {
        let _turn = task.commit.lock().await;
        take_in::catch_up(shared, store, &task).await?;
    }
    Ok(Some(task))
}

/// Fetches every task that a pattern matches.
pub(crate) async fn fetch_matching(
    shared: &Arc<Shared>,
    pattern: &Pattern,
) -> Result<(), StoreError> {
    let store = match &shared.interest {
        Some(_) => shared.store.as_ref(),
        None => shared.shelf(),
    };
    let Some(store) = store else {
        return Ok(());
    };
    let mut after: Option<TaskId> = None;
    loop {
        if shared.interest.is_none() && shared.ledger.is_over(Group::Tasks) {
            // More tasks would evict the tasks that were fetched before.
            return Ok(());
        }
        let page = match &shared.interest {
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
            .map(|task_id| async move { fetch(shared, &task_id, None).await.map(drop) })
            .buffer_unordered(AT_A_TIME)
            .try_collect::<()>()
            .await?;
        evict::keep_to_limit(shared);
    }
}

pub(crate) fn spawn_fetch_matching(shared: &Arc<Shared>, pattern: Pattern) {
    if shared.interest.is_none() {
        return;
    }
    let owned = Arc::clone(shared);
    shared.spawn(async move {
        if let Err(error) = fetch_matching(&owned, &pattern).await {
            // The broker sends a notice when the store is back.
            tracing::debug!(%pattern, %error, "tasks of a pattern could not be read");
        }
    });
}
