//! The ways of a publish: through a store, before a store, or without one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidings_protocol::{NewEvent, Payload, TaskId};
use tokio::time::Instant;

use crate::publish::error::{PublishError, Published, Refused};
use crate::publish::prepared::{Prepared, payload_of};
use crate::publish::{append, together};
use crate::shared::Shared;
use crate::store::{Store, StoreError};
use crate::tasks::trees::read;
use crate::tasks::{evict, life, questions, shelf};

/// Reads an event's data, and makes the checks that involve no task.
pub(crate) fn read(shared: &Shared, event: &NewEvent) -> Result<Payload, PublishError> {
    let read = payload_of(event, shared.config.max_event_bytes);
    let checked = read
        .and_then(|payload| questions::check_schema(&shared.config, &payload).map(|()| payload));
    checked.inspect_err(|error| shared.note_refusal(error))
}

/// Publishes an event on a bus with a store. The store gets the event first, or later.
pub(crate) async fn publish_prepared(
    shared: &Arc<Shared>,
    task_id: &TaskId,
    prepared: Prepared,
) -> Result<Published, PublishError> {
    read::check_shared_tree(shared, task_id, &prepared).await?;
    if let Some(store) = shared.writes_through() {
        let mut answers = publish_all(shared, store, task_id, vec![Arc::new(prepared)]).await;
        return answers.pop().unwrap_or(Err(PublishError::Closed));
    }
    loop {
        ready_behind(shared, task_id, &prepared)
            .await
            .inspect_err(|error| shared.note_refusal(error))?;
        if let Some(published) = publish_present(shared, task_id, &prepared, Instant::now()) {
            return published;
        }
    }
}

/// Publishes events to one task, in order, if the store gets events first.
pub(crate) async fn publish_all(
    shared: &Arc<Shared>,
    store: &Arc<dyn Store>,
    task_id: &TaskId,
    events: Vec<Arc<Prepared>>,
) -> Vec<Result<Published, PublishError>> {
    let refusal = if shared.is_stopped() {
        Some(PublishError::Closed)
    } else {
        (!store.is_available()).then(unavailable)
    };
    let answers = match refusal {
        Some(error) => vec![Err(error); events.len()],
        None => together::publish_through(shared, store, task_id, &events).await,
    };
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        shared.note_refusal(error);
    }
    answers
}

/// Waits until the bus can accept an event that will be saved later.
async fn ready_behind(
    shared: &Arc<Shared>,
    task_id: &TaskId,
    prepared: &Prepared,
) -> Result<(), PublishError> {
    if shared.is_stopped() {
        return Err(PublishError::Closed);
    }
    let (Some(store), Some(behind)) = (&shared.store, &shared.behind) else {
        return Ok(());
    };
    if !store.is_available() || !behind.room(&**store).await {
        return Err(unavailable());
    }
    let read = match shelf::fetch_own(shared, task_id).await {
        Ok(_) => read_ids_for(shared, task_id, prepared).await,
        Err(error) => Err(error),
    };
    read.map_err(|error| PublishError::Unavailable(Arc::new(error)))
}

/// Publishes an event that memory gets first. A store may get it later.
pub(crate) fn publish_alone(
    shared: &Arc<Shared>,
    task_id: &TaskId,
    prepared: &Prepared,
    now: Instant,
) -> Result<Published, PublishError> {
    let published = publish_present(shared, task_id, prepared, now);
    // Without a store no task is absent.
    published.unwrap_or_else(|| Err(PublishError::Closed))
}

/// Publishes an event to a task in memory. Returns `None` if the task must first be read
/// from the store.
fn publish_present(
    shared: &Arc<Shared>,
    task_id: &TaskId,
    prepared: &Prepared,
    now: Instant,
) -> Option<Result<Published, PublishError>> {
    let result = publish_in_memory(shared, task_id, prepared, now);
    if let Some(Err(error)) = &result {
        shared.note_refusal(error);
    }
    result
}

fn publish_in_memory(
    shared: &Arc<Shared>,
    task_id: &TaskId,
    prepared: &Prepared,
    now: Instant,
) -> Option<Result<Published, PublishError>> {
    if shared.is_stopped() {
        return Some(Err(PublishError::Closed));
    }
    loop {
        let task = life::task_or_absent(shared, task_id);
        if task.is_absent() {
            return None;
        }
        let result = append::append(shared, &task, &mut task.lock_rules(), prepared, now);
        match result {
            Ok(published) => {
                task.topic().announce_since(now);
                evict::keep_to_limit(shared);
                return Some(Ok(published));
            }
            Err(Refused::Answer(answer)) => {
                if answer.is_err() {
                    life::forget_if_unused(shared, &task);
                }
                return Some(answer);
            }
            Err(Refused::Removed) => {}
        }
    }
}

/// Reads the ids of a task's events from the store, if this event has an id and they are not
/// known.
async fn read_ids_for(
    shared: &Shared,
    task_id: &TaskId,
    prepared: &Prepared,
) -> Result<(), StoreError> {
    let Some(store) = &shared.store else {
        return Ok(());
    };
    if prepared.event.event_id.is_none() {
        return Ok(());
    }
    match shared.tasks.get(task_id) {
        Some(task) if task.cold.load(Ordering::SeqCst) => {
            let _turn = task.commit.lock().await;
            shelf::read_ids(shared, store, &task).await
        }
        _ => Ok(()),
    }
}

fn unavailable() -> PublishError {
    let cause = StoreError::Unavailable(
        "the store accepts no events at the moment. Publishing resumes without your help".into(),
    );
    PublishError::Unavailable(Arc::new(cause))
}
