//! Publishes the ends of leases and questions. One timer serves all tasks.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tidings_protocol::{Lease, LeaseExpiry, NewEvent, PendingInput, Position, TaskError, TaskId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::{fetch, take_in};
use crate::publish::error::{PublishError, Refused};
use crate::publish::prepared::Prepared;
use crate::publish::{append, drive};
use crate::shared::Shared;
use crate::store::{Store, StoreError};
use crate::tasks::lease::{Expiry, Verdict, judge};
use crate::tasks::leases::Deadline;
use crate::tasks::task::Task;

/// The most expiries that are published at a time.
const AT_A_TIME: usize = 64;

/// How often the bus asks a shared store for ended leases.
const POLL: Duration = Duration::from_secs(1);

/// The pause after an expiry that could not be published.
const RETRY: Duration = Duration::from_secs(1);

/// How often the bus asks a shared store for expired questions. A node with the task in memory
/// sees the deadline without asking.
const POLL_QUESTIONS: Duration = Duration::from_secs(5);

/// Publishes `task_stalled` and `task_failed` when leases end, and `input_expired` when
/// questions expire.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let next = shared.leases.next();
        let timer = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = shared.leases.changed() => continue,
            () = timer => {}
        }
        let due = shared.leases.due(Instant::now());
        futures_util::stream::iter(due)
            .for_each_concurrent(AT_A_TIME, |deadline| come_due(&shared, deadline))
            .await;
    }
}

/// Publishes the ends of leases that the shared store reports. No node owns a lease, so the death
/// of a node ends none.
pub(crate) async fn take_overdue(shared: Arc<Shared>, stop: CancellationToken) {
    let Some(store) = shared.lease_keeper().cloned() else {
        return;
    };
    let mut timer = tokio::time::interval(POLL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = timer.tick() => {}
        }
        let overdue = match store.overdue(AT_A_TIME).await {
            Ok(overdue) => overdue,
            Err(_) => {
                // The store reports its own failure. Producers could not be heard either.
                shared.leases.note_refused();
                continue;
            }
        };
        futures_util::stream::iter(overdue)
            .for_each_concurrent(AT_A_TIME, |(task_id, at)| {
                end_lease(&shared, &store, task_id, at)
            })
            .await;
    }
}

/// Publishes the end of a task's lease, unless the task has had an event after `at`. If the event
/// was no sign of life, the store reports the lease again.
async fn end_lease(shared: &Arc<Shared>, store: &Arc<dyn Store>, task_id: TaskId, at: Position) {
    let current = async {
        let Some(task) = fetch::fetch(shared, &task_id, None).await? else {
            return Ok(None);
        };
        let turn = task.commit.lock().await;
        take_in::catch_up(shared, store, &task).await?;
        drop(turn);
        Ok(Some(task))
    };
    let task = match current.await {
        Ok(Some(task)) => task,
        Ok(None) => return,
        Err(error) => {
            let error: StoreError = error;
            shared.leases.note_refused();
            tracing::debug!(%task_id, %error, "a task whose lease is over could not be read");
            return;
        }
    };
    {
        let mut rules = task.lock_rules();
        let state = task.snapshot();
        if state.epoch != at.epoch || state.offset > at.offset {
            // A node has published since the store looked.
            return;
        }
        let Some(lease) = rules.lease else { return };
        // The lease has ended just now. A bus that is younger than the lease does not know whether
        // the producer could reach a node before. The lease then runs for the rest of its time.
        let now = Instant::now().duration_since(shared.started);
        let began = now.saturating_sub(lease.duration());
        rules.lease = Some(Lease::resume(lease.duration(), began, state.stalled));
    }
    expire(shared, task).await;
}

async fn come_due(shared: &Arc<Shared>, deadline: Deadline) {
    match deadline {
        Deadline::Lease(task) => {
            if let Some(task) = task.upgrade() {
                expire(shared, task).await;
            }
        }
        Deadline::Question(task) => {
            if let Some(task) = task.upgrade() {
                expire_questions(shared, &task).await;
            }
        }
    }
}

async fn expire(shared: &Arc<Shared>, task: Arc<Task>) {
    let published = match decide(shared, &task) {
        Decision::Nothing => return,
        Decision::Published(result) => result,
        Decision::Publish(prepared) => {
            let published = drive::publish_prepared(shared, task.id(), *prepared).await;
            published.map(|_| ())
        }
    };
    task.topic().announce();
    match published {
        Ok(()) => {}
        Err(error @ PublishError::Transition(_)) => {
            tracing::debug!(task_id = %task.id(), %error, "a lease ran out as an event came");
        }
        Err(error) => {
            // The lease has not changed, so it comes up again.
            shared.leases.note_refused();
            tracing::warn!(task_id = %task.id(), %error, "the end of a lease could not be published yet");
        }
    }
    shared.leases.schedule(&task, &mut task.lock_rules());
}

enum Decision {
    Nothing,
    /// Published under the lock of the decision, so that no event could come in between.
    Published(Result<(), PublishError>),
    /// To be published through the store, if the lease is still the same then.
    Publish(Box<Prepared>),
}

fn decide(shared: &Arc<Shared>, task: &Arc<Task>) -> Decision {
    let refused = refused_since_start(shared);
    let mut guard = task.lock_rules();
    let rules = &mut *guard;
    let Some(lease) = rules.lease else {
        return Decision::Nothing;
    };
    let now = Instant::now();
    let (expiry, next) = match judge(lease, now.duration_since(shared.started), refused) {
        Verdict::Expired(expiry, next) => (expiry, next),
        Verdict::Extend(extended) => {
            rules.lease = Some(extended);
            shared.leases.schedule(task, rules);
            return Decision::Nothing;
        }
        Verdict::Wait => {
            shared.leases.schedule(task, rules);
            return Decision::Nothing;
        }
    };
    let event = match expiry {
        LeaseExpiry::Stalled => NewEvent::task_stalled(),
        LeaseExpiry::Lost => NewEvent::task_failed(TaskError::lost()),
    };
    // The bus's own events are small and well-formed.
    let Ok(mut prepared) = Prepared::new(event, usize::MAX) else {
        return Decision::Nothing;
    };
    prepared.expiry = Some(Expiry { lease, next });
    if shared.writes_through().is_some() {
        return Decision::Publish(Box::new(prepared));
    }
    Decision::Published(match append::append(shared, task, rules, &prepared, now) {
        Err(Refused::Answer(Err(error))) => Err(error),
        _ => Ok(()),
    })
}

/// Returns the time at which the bus last could not hear producers.
fn refused_since_start(shared: &Shared) -> Option<Duration> {
    let store = shared.store.as_ref();
    if store.is_some_and(|store| !store.is_available()) {
        shared.leases.note_refused();
    }
    shared.leases.refused()
}

/// Ends the expired questions of a task.
async fn expire_questions(shared: &Arc<Shared>, task: &Arc<Task>) {
    let until = {
        let mut rules = task.lock_rules();
        // The deadline has come up.
        rules.expiry = None;
        rules.asking().until
    };
    let Some(until) = until else { return };
    let state = task.snapshot();
    let due = |input: &&PendingInput| input.expires_at.is_some_and(|at| at <= until);
    for question in state.pending_inputs.iter().filter(due) {
        let event = NewEvent::input_expired(&question.input_id);
        // The bus's own events are small and well-formed.
        let Ok(mut prepared) = Prepared::new(event, usize::MAX) else {
            return;
        };
        prepared.question = Some(Box::new(question.clone()));
        match drive::publish_prepared(shared, task.id(), prepared).await {
            Ok(_) => {}
            Err(error @ PublishError::Unavailable(_)) => {
                tracing::warn!(task_id = %task.id(), %error, "the end of a question could not be published yet");
                let mut rules = task.lock_rules();
                return shared
                    .leases
                    .schedule_question_in(task, &mut rules, Some(RETRY));
            }
            Err(error) => {
                tracing::debug!(task_id = %task.id(), %error, "a question ended as its time was up");
            }
        }
    }
    let mut rules = task.lock_rules();
    if rules.expiry.is_none() {
        let now = shared.config.clock.now();
        shared.leases.schedule_question(task, &mut rules, now);
    }
}

/// Loads tasks of a shared store with questions that no node watches. Their node has stopped,
/// or needed the memory.
pub(crate) async fn take_due(shared: Arc<Shared>, stop: CancellationToken) {
    let (Some(store), Some(_)) = (shared.store.clone(), &shared.interest) else {
        return;
    };
    let mut timer = tokio::time::interval(POLL_QUESTIONS);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = timer.tick() => {}
        }
        let Ok(due) = store.due(shared.config.clock.now(), AT_A_TIME).await else {
            // The store reports its own failure.
            continue;
        };
        for task_id in due {
            match fetch::fetch(&shared, &task_id, None).await {
                Ok(Some(task)) => expire_questions(&shared, &task).await,
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%task_id, %error, "a task whose question is over could not be read");
                }
            }
        }
    }
}
