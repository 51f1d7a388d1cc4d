//! Takes events of other nodes into this node's logs.
//!
//! Each task with news gets a tokio task of its own. Taking in its events waits for publishers
//! of that task, and the news of other tasks must not wait for them.

use std::sync::Arc;

use tidings_protocol::{Epoch, TaskId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cluster::broker::Notice;
use crate::cluster::{fetch, take_in, tell};
use crate::shared::Shared;
use crate::store::{Store, StoredEvent};
use crate::tasks::task::Task;
use crate::tasks::{evict, life, shelf};

/// Takes in the events that other nodes publish.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut notices: mpsc::Receiver<Notice>,
    stop: CancellationToken,
) {
    let Some(store) = shared.store.clone() else {
        tracing::warn!("a broker without a shared store has nothing to read; it is not used");
        return;
    };
    loop {
        let notice = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            notice = notices.recv() => notice,
        };
        match notice {
            None => return,
            Some(Notice::Grown(grown)) => note(&shared, &store, &grown.task_id, None),
            Some(Notice::Look(task_id)) => note(&shared, &store, &task_id, None),
            Some(Notice::Event {
                task_id,
                epoch,
                event,
            }) => note(&shared, &store, &task_id, Some((epoch, event))),
            Some(Notice::Child { parent, child }) => tell::spawn_tell_child(&shared, parent, child),
            Some(Notice::Lost) => {
                for task in shared.tasks.page("", None, usize::MAX) {
                    if shared.interest.is_none() || task.topic().watcher_count() > 0 {
                        note(&shared, &store, task.id(), None);
                    }
                }
                tell::spawn_tell_children(&shared);
                for pattern in shared.tasks.patterns() {
                    fetch::spawn_fetch_matching(&shared, pattern);
                }
            }
        }
    }
}

fn note(
    shared: &Arc<Shared>,
    store: &Arc<dyn Store>,
    task_id: &TaskId,
    event: Option<(Epoch, StoredEvent)>,
) {
    let known = shared.tasks.get(task_id);
    let task = match (known, &shared.interest) {
        (Some(task), _) => task,
        (None, None) => shelf::task_or_new(shared, task_id),
        (None, Some(_)) => {
            // The task is new to this node. The node takes it in only if a pattern matches it.
            if shared.tasks.is_matched(task_id) {
                let (shared, task_id) = (Arc::clone(shared), task_id.clone());
                shared.clone().spawn(async move {
                    if let Err(error) = fetch::fetch(&shared, &task_id, None).await {
                        tracing::debug!(%task_id, %error, "a new task could not be read");
                    }
                });
            }
            return;
        }
    };
    if let Some((epoch, event)) = &event
        && task.topic().head() >= event.offset.get()
        && task.epoch() == *epoch
    {
        // Most of the time, this node published the event itself.
        return;
    }
    if task.lock_incoming().note(event) {
        shared.spawn(work(Arc::clone(shared), Arc::clone(store), task));
    }
}

async fn work(shared: Arc<Shared>, store: Arc<dyn Store>, task: Arc<Task>) {
    loop {
        let Some((events, look)) = task.lock_incoming().take() else {
            break;
        };
        let _one = shared.mirroring.acquire().await;
        let _turn = task.commit.lock().await;
        let complete = take_in::take_in_events(&shared, &task, events);
        if (look || !complete)
            && let Err(error) = take_in::catch_up(&shared, &store, &task).await
        {
            // The broker sends a notice when the store is back.
            tracing::debug!(task_id = %task.id(), %error, "events of another node could not be read");
        }
    }
    // The bus forgot the task before it had any content. Look the task up again.
    if task.topic().is_closed() {
        if shared.interest.is_none() || shared.tasks.get(task.id()).is_some() {
            note(&shared, &store, task.id(), None);
        }
    } else {
        life::forget_if_unused(&shared, &task);
    }
    evict::keep_to_limit(&shared);
}
