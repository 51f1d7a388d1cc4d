//! Publishing through a store: an event is stored first and becomes visible afterwards.
//!
//! Events of one task that arrive at the same time share one append, and therefore one sync. While
//! some are on their way to the store, the others wait, and go together in the next append. They
//! are checked one after the other, each against the state that those before it would create. They
//! are stored together and become visible together. If the store refuses, all are refused, as if
//! none had been checked.
//!
//! A task with waiting events has one worker. The worker is not the publisher, for two reasons. The
//! store may have an event even if its publisher stops waiting, so the work must be finished
//! without the publisher. And a publisher that is not polled for a while would delay the others. If
//! possible, one worker serves several tasks.
//!
//! Publishers of different tasks that publish at the same time share a sync anyway. So one worker
//! takes all tasks that wait, with one call of the store and one wake-up. With 256 publishers, one
//! task each, a publish took 13 to 15 µs of two cores instead of 17 to 20. If nodes share a store,
//! each task has its own worker. A call is then a message to another machine, and the answer of
//! one task would delay all others.
//!
//! If memory gets an event first, or alone, the publisher itself appends it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidings_protocol::{NewEvent, Payload, TaskId, TaskSnapshot};
use tokio::sync::{MutexGuard, oneshot};
use tokio::time::Instant;

use crate::cluster::broker::Announcement;
use crate::cluster::{fetch, take_in};
use crate::log::changes_outputs;
use crate::publish::append::{self, check_state};
use crate::publish::error::{PublishError, Published, Refused};
use crate::publish::prepared::{Prepared, payload_of};
use crate::publish::ready::Worker;
use crate::publish::stage::{self, Before, Next, Staged, Stored, Verdict};
use crate::publish::waiting::{Answer, Waiter};
use crate::shared::Shared;
use crate::store::{Store, StoreError};
use crate::tasks::task::{Task, state_of};
use crate::tasks::trees::read;
use crate::tasks::{evict, life, questions, shelf};

/// How many times events are checked again because another node was faster.
const MAX_CONFLICTS: usize = 16;

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

/// A task whose turn the worker holds, and its checked events.
struct Member<'a> {
    worker: Worker,
    task: &'a Arc<Task>,
    turn: MutexGuard<'a, ()>,
    group: Vec<Waiter>,
    staged: Staged,
    /// Whether an event of the task must be stored.
    stores: bool,
}

/// Checked events, and the store's answer.
type Tried = (Staged, Result<(), StoreError>);

/// The result of storing a group.
struct Outcome {
    answers: Vec<(Waiter, Answer)>,
    /// The announcement to other nodes, if anything has changed.
    grown: Option<Announcement>,
}

impl Outcome {
    /// Creates a result that changes nothing.
    fn unchanged(answers: impl Iterator<Item = (Waiter, Answer)>) -> Self {
        Self {
            answers: answers.collect(),
            grown: None,
        }
    }

    /// Creates the result of a group without events to store.
    fn nothing_stored(group: Vec<Waiter>, verdicts: Vec<Verdict>) -> Self {
        let answers = group.into_iter().zip(verdicts);
        Self::unchanged(answers.filter_map(|(waiter, verdict)| match verdict {
            Verdict::Refused { why, .. } => Some((waiter, Err(why))),
            // These two only occur if something is stored.
            Verdict::Taken(..) | Verdict::Repeats(..) => None,
        }))
    }

    /// Creates the result of a group that the store refused.
    fn refused(group: Vec<Waiter>, verdicts: Vec<Verdict>, error: StoreError) -> Self {
        let error = PublishError::Unavailable(Arc::new(error));
        let mut verdicts = verdicts.into_iter();
        Self::unchanged(group.into_iter().map(|waiter| {
            let why = match verdicts.next() {
                Some(Verdict::Refused { why, anyway: true }) => why,
                _ => error.clone().into(),
            };
            (waiter, Err(why))
        }))
    }
}

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
        None => publish_through(shared, store, task_id, &events).await,
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
                if answer.is_ok() {
                    shared.counters.duplicates.fetch_add(1, Ordering::Relaxed);
                } else {
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

/// Publishes events to one task, in order, through a store.
async fn publish_through(
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
fn take_up(shared: &Arc<Shared>, store: &Arc<dyn Store>, worker: Worker) {
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
    shared.spawn(async move { work(&owned, &store, worker).await });
}

/// Stores the waiting events of these tasks.
async fn work_together(shared: &Arc<Shared>, store: &Arc<dyn Store>, mut workers: Vec<Worker>) {
    if workers.len() == 1
        && let Some(worker) = workers.pop()
    {
        return work(shared, store, worker).await;
    }
    let tasks: Vec<_> = workers
        .iter()
        .map(|worker| Arc::clone(&worker.task))
        .collect();
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
            leave(shared, worker);
            continue;
        };
        drop(waiting);
        let mut staged = stage_group(shared, task, &group);
        let append = staged.append.take();
        members.push(Member {
            worker,
            task,
            turn,
            group,
            staged,
            stores: append.is_some(),
        });
        appends.extend(append);
    }
    let mut stored = match appends.is_empty() {
        true => Vec::new(),
        false => store.append_all(appends).await,
    }
    .into_iter();
    for member in members {
        let Member {
            worker,
            task,
            turn,
            group,
            staged,
            stores,
        } = member;
        if stores {
            let tried = stored.next().map(|answer| (staged, answer));
            store_and_finish(shared, store, task, turn, (group, tried)).await;
        } else {
            drop(turn);
            let outcome = Outcome::nothing_stored(group, staged.verdicts);
            finish(shared, task, outcome).await;
        }
        go_on(shared, store, worker);
    }
}

/// Takes the task again if events have arrived in the meantime.
fn go_on(shared: &Arc<Shared>, store: &Arc<dyn Store>, worker: Worker) {
    if worker.task.lock_waiting().is_over() {
        leave(shared, worker);
    } else {
        take_up(shared, store, worker);
    }
}

/// Stores the waiting events of a task until none are left.
async fn work(shared: &Arc<Shared>, store: &Arc<dyn Store>, worker: Worker) {
    let task = Arc::clone(&worker.task);
    loop {
        let turn = task.commit.lock().await;
        let Some(group) = task.lock_waiting().take() else {
            break;
        };
        store_and_finish(shared, store, &task, turn, (group, None)).await;
    }
    leave(shared, worker);
}

/// Ends the work for a task without waiting events.
fn leave(shared: &Shared, mut worker: Worker) {
    worker.done = true;
    life::forget_if_unused(shared, &worker.task);
}

/// Stores a group, unless the store has answered already. Releases the task's turn, and then sends
/// all answers.
async fn store_and_finish(
    shared: &Arc<Shared>,
    store: &Arc<dyn Store>,
    task: &Arc<Task>,
    turn: MutexGuard<'_, ()>,
    (group, tried): (Vec<Waiter>, Option<Tried>),
) {
    match store_group(shared, store, task, group, tried).await {
        Ok(outcome) => {
            drop(turn);
            finish(shared, task, outcome).await;
        }
        Err(group) => {
            for waiter in group {
                // An event that is stored alone always gets an answer.
                if let Ok(outcome) = store_group(shared, store, task, vec![waiter], None).await {
                    finish(shared, task, outcome).await;
                }
            }
        }
    }
}

/// Announces the result of a group, and then answers its publishers.
async fn finish(shared: &Arc<Shared>, task: &Arc<Task>, outcome: Outcome) {
    if let Some(grown) = outcome.grown {
        task.topic().announce();
        shared.tell_others(grown).await;
        evict::keep_to_limit(shared);
    }
    for (waiter, answer) in outcome.answers {
        if matches!(answer, Err(Refused::Answer(Ok(_)))) {
            shared.counters.duplicates.fetch_add(1, Ordering::Relaxed);
        }
        if answer.is_err() {
            shared.trees.end_claim(task.id(), &waiter.prepared.payload);
        }
        // The publisher may have stopped waiting, which is not an error.
        let _ = waiter.answer.send(answer);
    }
}

/// Stores a group and makes it visible. The caller holds the task's turn. Returns the group if
/// the store's answer concerns one event of several.
async fn store_group(
    shared: &Arc<Shared>,
    store: &Arc<dyn Store>,
    task: &Arc<Task>,
    group: Vec<Waiter>,
    mut tried: Option<Tried>,
) -> Result<Outcome, Vec<Waiter>> {
    if tried.is_none()
        && group.iter().any(Waiter::has_id)
        && let Err(error) = shelf::read_ids(shared, store, task).await
    {
        return Ok(Outcome::refused(group, Vec::new(), error));
    }
    let mut current = shared.config.broker.is_none();
    for _ in 0..MAX_CONFLICTS {
        let (staged, answer) = match tried.take() {
            Some(tried) => tried,
            None => {
                let mut staged = stage_group(shared, task, &group);
                match (staged.next(current), staged.append.take()) {
                    (Next::Store, Some(append)) => (staged, store.append(append).await),
                    (Next::CatchUp, _) => {
                        // Another node may have published since. Its stamps and leases are in
                        // the store.
                        if let Err(error) = take_in::catch_up(shared, store, task).await {
                            return Ok(Outcome::refused(group, Vec::new(), error));
                        }
                        current = true;
                        continue;
                    }
                    (Next::Answer | Next::Store, _) => {
                        return Ok(Outcome::nothing_stored(group, staged.verdicts));
                    }
                }
            }
        };
        let verdicts = staged.verdicts;
        match Stored::of(answer, group.len()) {
            Stored::All => {
                let after = (&staged.snapshot, staged.outputs);
                let (answers, grown) = append::reveal(shared, task, (&group, verdicts), after);
                return Ok(Outcome {
                    answers: group.into_iter().zip(answers).collect(),
                    grown: grown.then(|| Announcement {
                        task_id: task.id().clone(),
                        epoch: staged.snapshot.epoch.clone(),
                        head: staged.snapshot.offset,
                    }),
                });
            }
            Stored::Behind => {
                if let Err(error) = take_in::catch_up(shared, store, task).await {
                    return Ok(Outcome::refused(group, verdicts, error));
                }
                current = true;
            }
            Stored::OneOfSeveral => return Err(group),
            Stored::Repeats(offset) => {
                let rules = task.lock_rules();
                let state = task.snapshot();
                let answers = group.into_iter().map(|waiter| {
                    let repeat = stage::repeat(&rules.starts, &state, &waiter.prepared, offset);
                    (waiter, Err(repeat))
                });
                return Ok(Outcome::unchanged(answers));
            }
            Stored::Refused(error) => {
                tracing::warn!(task_id = %task.id(), %error, "the store refused events");
                return Ok(Outcome::refused(group, verdicts, error));
            }
        }
    }
    let busy = "other nodes publish to this task without a pause";
    let error = StoreError::Unavailable(busy.into());
    Ok(Outcome::refused(group, Vec::new(), error))
}

/// Decides how the events would change the task, without changing it.
fn stage_group(shared: &Shared, task: &Arc<Task>, group: &[Waiter]) -> Staged {
    // Encoding a group takes a while. Publishers wait for it, because the lock of the rules is
    // held. Readers need only the log, whose lock is free.
    let mut rules = task.lock_rules();
    let touches = |waiter: &Waiter| changes_outputs(&waiter.prepared.payload);
    let before = {
        let log = task.topic().lock();
        Before {
            task_id: task.id(),
            epoch: log.epoch().clone(),
            head: log.head_offset(),
            snapshot: state_of(task.id(), &log),
            outputs: (group.iter().any(touches)).then(|| log.outputs.extents().clone()),
            rules: &mut rules,
            gone: log.closed || task.is_absent(),
            now: Instant::now(),
        }
    };
    let check =
        |state: &TaskSnapshot, prepared: &Prepared| check_state(shared, task, state, prepared);
    let group = group.iter().map(|waiter| &*waiter.prepared);
    stage::stage(before, &shared.config, group, check)
}
