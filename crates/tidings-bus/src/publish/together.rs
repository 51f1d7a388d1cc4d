//! Storing events of several tasks in one call.
//!
//! Publishers of different tasks that publish at the same time share a sync anyway. Without this
//! module each task would also need its own worker, its own call of the store, and its own wake-up.
//! So one worker takes all tasks that wait. With 256 publishers, one task each, a publish took 13
//! to 15 µs of two cores instead of 17 to 20.
//!
//! It is not used if nodes share a store. There a call is a message to another machine, and the
//! answer of one task would delay all others.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidings_protocol::TaskId;
use tokio::sync::{MutexGuard, oneshot};

use crate::cluster::fetch;
use crate::publish::error::{PublishError, Published, Refused};
use crate::publish::group::{self, After, Outcome, Staged, Verdict};
use crate::publish::prepared::Prepared;
use crate::publish::ready::Worker;
use crate::publish::waiting::{Answer, Waiter};
use crate::shared::Shared;
use crate::store::{Store, StoreError};
use crate::tasks::shelf;
use crate::tasks::task::Task;

/// The most tasks that one worker takes. The rest is left for another core. On two cores, 32, 64
/// and 256 made no difference that was larger than the noise.
const MAX_TASKS: usize = 32;

/// A worker that is about to take the ready tasks.
struct Errand {
    shared: Arc<Shared>,
    done: bool,
}

impl Errand {
    fn run(mut self) -> Vec<Worker> {
        self.done = true;
        self.shared.ready.take()
    }
}

impl Drop for Errand {
    /// The runtime ended before the worker started. The waiting publishers get an error.
    fn drop(&mut self) {
        if !self.done {
            drop(self.shared.ready.take());
        }
    }
}

/// A task whose turn the worker holds.
struct Member<'a> {
    worker: Worker,
    task: &'a Arc<Task>,
    turn: MutexGuard<'a, ()>,
    group: Vec<Waiter>,
    verdicts: Vec<Verdict>,
    /// The state of the task afterwards. `None` if nothing of it must be stored.
    after: Option<After>,
}

/// Publishes events to one task, in order, through a store.
pub(crate) async fn publish_through(
    shared: &Arc<Shared>,
    store: &Arc<dyn Store>,
    task_id: &TaskId,
    events: &[Arc<Prepared>],
) -> Vec<Result<Published, PublishError>> {
    let mut answers = Vec::with_capacity(events.len());
    while let Some(left) = events.get(answers.len()..).filter(|left| !left.is_empty()) {
        let task = match task_to_publish(shared, task_id).await {
            Ok(task) => task,
            Err(error) => {
                let error = PublishError::Unavailable(Arc::new(error));
                answers.resize_with(events.len(), || Err(error.clone()));
                break;
            }
        };
        for answered in enqueue(shared, store, &task, left) {
            match answered.await {
                Ok(Ok(published)) => answers.push(Ok(published)),
                Ok(Err(Refused::Answer(answer))) => answers.push(answer),
                // All later events are refused as well.
                Ok(Err(Refused::Removed)) => break,
                Err(_) => answers.push(Err(PublishError::Closed)),
            }
        }
    }
    answers
}

async fn task_to_publish(shared: &Arc<Shared>, task_id: &TaskId) -> Result<Arc<Task>, StoreError> {
    if let Some(task) = shelf::fetch_own(shared, task_id).await? {
        return Ok(task);
    }
    // If nodes share a store, the task may be stored and only unknown to this node.
    if shared.interest.is_some()
        && let Some(task) = fetch::fetch(shared, task_id, None).await?
    {
        return Ok(task);
    }
    Ok(shelf::task_or_new(shared, task_id))
}

/// Adds events to the waiting events of the task. They are stored and become visible even if
/// their publishers stop waiting for the answers.
fn enqueue(
    shared: &Arc<Shared>,
    store: &Arc<dyn Store>,
    task: &Arc<Task>,
    events: &[Arc<Prepared>],
) -> Vec<oneshot::Receiver<Answer>> {
    let mut waiting = task.lock_waiting();
    let answered = events.iter().map(|prepared| {
        let (answer, answered) = oneshot::channel();
        waiting.events.push_back(Waiter {
            prepared: Arc::clone(prepared),
            answer,
        });
        answered
    });
    let answered = answered.collect();
    let working = std::mem::replace(&mut waiting.working, true);
    drop(waiting);
    if !working {
        let worker = Worker {
            task: Arc::clone(task),
            done: false,
        };
        take_up(shared, store, worker);
    }
    answered
}

/// Lets a worker store the task's events soon, possibly together with those of other tasks.
pub(crate) fn take_up(shared: &Arc<Shared>, store: &Arc<dyn Store>, worker: Worker) {
    if shared.config.broker.is_some() {
        take_up_alone(shared, store, worker);
        return;
    }
    if !shared.ready.push(worker) {
        return;
    }
    let errand = Errand {
        shared: Arc::clone(shared),
        done: false,
    };
    let (owned, store) = (Arc::clone(shared), Arc::clone(store));
    shared.spawn(async move {
        // Yield once, so that publishers that are about to publish are included.
        tokio::task::yield_now().await;
        let mut workers = errand.run();
        while workers.len() > MAX_TASKS {
            let rest = workers.split_off(MAX_TASKS);
            let (other, store) = (Arc::clone(&owned), Arc::clone(&store));
            owned.spawn(async move { work_together(&other, &store, workers).await });
            workers = rest;
        }
        work_together(&owned, &store, workers).await;
    });
}

fn take_up_alone(shared: &Arc<Shared>, store: &Arc<dyn Store>, worker: Worker) {
    let (owned, store) = (Arc::clone(shared), Arc::clone(store));
    shared.spawn(async move { group::work(&owned, &store, worker).await });
}

/// Stores the waiting events of these tasks.
async fn work_together(shared: &Arc<Shared>, store: &Arc<dyn Store>, mut workers: Vec<Worker>) {
    if workers.len() == 1
        && let Some(worker) = workers.pop()
    {
        return group::work(shared, store, worker).await;
    }
    let tasks: Vec<_> = workers.iter().map(|worker| worker.task().clone()).collect();
    let mut members = Vec::with_capacity(tasks.len());
    let mut appends = Vec::with_capacity(tasks.len());
    for (worker, task) in workers.into_iter().zip(&tasks) {
        // A task that must wait, or must be read first, is handled by a worker of its own.
        let Ok(turn) = task.commit.try_lock() else {
            take_up_alone(shared, store, worker);
            continue;
        };
        let mut waiting = task.lock_waiting();
        if waiting.has_ids() && task.cold.load(Ordering::SeqCst) {
            drop((waiting, turn));
            take_up_alone(shared, store, worker);
            continue;
        }
        let Some(group) = waiting.take() else {
            drop((waiting, turn));
            group::leave(shared, worker);
            continue;
        };
        drop(waiting);
        let Staged {
            verdicts,
            append,
            after,
            // No other node publishes here.
            outdated: _,
        } = group::stage(shared, task, &group);
        members.push(Member {
            worker,
            task,
            turn,
            group,
            verdicts,
            after,
        });
        appends.extend(append);
    }
    let mut stored = match appends.is_empty() {
        true => Vec::new(),
        false => store.append_all(appends).await,
    }
    .into_iter();
    for member in members {
        settle_member(shared, store, member, &mut stored).await;
    }
}

/// Answers a task's publishers, and continues with events that have arrived in the meantime.
async fn settle_member(
    shared: &Arc<Shared>,
    store: &Arc<dyn Store>,
    member: Member<'_>,
    stored: &mut impl Iterator<Item = Result<(), StoreError>>,
) {
    let Member {
        worker,
        task,
        turn,
        group,
        verdicts,
        after,
    } = member;
    let outcome = match after.map(|after| (stored.next(), after)) {
        // Another node may know better. The events are decided again.
        None if shared.config.broker.is_some() => {
            group::store_and_finish(shared, store, task, turn, group).await;
            return go_on(shared, store, worker);
        }
        None => Outcome::nothing_stored(group, verdicts),
        Some((Some(Ok(())), after)) => group::reveal(shared, task, group, verdicts, after),
        // The events of this task are decided again, or one by one.
        Some((Some(Err(StoreError::Conflict { .. } | StoreError::Duplicate { .. })) | None, _)) => {
            group::store_and_finish(shared, store, task, turn, group).await;
            return go_on(shared, store, worker);
        }
        Some((Some(Err(error)), _)) => {
            tracing::warn!(task_id = %task.id(), %error, "the store refused events");
            Outcome::refused(group, verdicts, error)
        }
    };
    drop(turn);
    group::finish(shared, task, outcome).await;
    go_on(shared, store, worker);
}

/// Takes the task again if events have arrived in the meantime.
fn go_on(shared: &Arc<Shared>, store: &Arc<dyn Store>, worker: Worker) {
    if worker.task().lock_waiting().is_over() {
        group::leave(shared, worker);
    } else {
        take_up(shared, store, worker);
    }
}
