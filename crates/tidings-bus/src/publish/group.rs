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
//! possible, one worker serves several tasks, see `together.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidings_protocol::{EventId, Offset, Payload, TaskSnapshot, TaskStatus, encode_event};
use tokio::sync::MutexGuard;
use tokio::time::Instant;

use crate::cluster::broker::Announcement;
use crate::cluster::catch_up;
use crate::log::{Extents, OutputChanges, changes_outputs};
use crate::publish::append;
use crate::publish::error::{PublishError, Published, Refused};
use crate::publish::prepared::{Prepared, opened, opens_new_run, placed, text_at};
use crate::publish::ready::Worker;
use crate::publish::waiting::{Answer, Waiter};
use crate::shared::Shared;
use crate::store::line::{Line, output_of};
use crate::store::{Append, Store, StoreError, StoredEvent, StoredRules};
use crate::tasks::listed::Listed;
use crate::tasks::task::{Rules, Task, state_of};
use crate::tasks::{evict, life, shelf};

/// How many times events are checked again because another node was faster.
const MAX_CONFLICTS: usize = 16;

/// The result of storing a group.
pub(crate) struct Outcome {
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
    pub(crate) fn nothing_stored(group: Vec<Waiter>, verdicts: Vec<Verdict>) -> Self {
        let answers = group.into_iter().zip(verdicts);
        Self::unchanged(answers.filter_map(|(waiter, verdict)| match verdict {
            Verdict::Refused { why, .. } => Some((waiter, Err(why))),
            // These two only occur if something is stored.
            Verdict::Taken(..) | Verdict::Repeats(..) => None,
        }))
    }

    /// Creates the result of a group that the store refused.
    pub(crate) fn refused(group: Vec<Waiter>, verdicts: Vec<Verdict>, error: StoreError) -> Self {
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

/// The decision about an event. It assumes that all events before it are stored.
pub(crate) enum Verdict {
    /// The event is accepted. Contains the task's entry for lists after it, and the run that it
    /// opens.
    Taken(Line, Listed, Option<u32>),
    /// The event repeats one of the same group, which opens this run.
    Repeats(Offset, Option<u32>),
    /// The event is refused. `anyway` means that the refusal does not depend on the events before
    /// it.
    Refused { why: Refused, anyway: bool },
}

impl Verdict {
    /// Returns whether the event has its answer without an append.
    fn is_answer(&self) -> bool {
        let Self::Refused { why, .. } = self else {
            return false;
        };
        matches!(why, Refused::Answer(_))
    }
}

/// Events that are checked, but not stored yet.
pub(crate) struct Staged {
    /// The decisions, in the order of the group.
    pub(crate) verdicts: Vec<Verdict>,
    /// The append for the store, or `None` if nothing needs to be stored.
    pub(crate) append: Option<Append>,
    /// The task's state after the append, or `None` if nothing needs to be stored.
    pub(crate) after: Option<After>,
    /// Whether the events need the task's rules, and this node's copy of them is old. The events
    /// must then be checked again.
    pub(crate) outdated: bool,
}

/// The state of a task after its events are stored.
pub(crate) struct After {
    pub(crate) snapshot: Arc<TaskSnapshot>,
    /// The kept parts of the outputs, and their changes, if there are any.
    outputs: Option<(Extents, Arc<OutputChanges>)>,
}

struct StagedOutputs {
    extents: Extents,
    changes: OutputChanges,
}

/// Stores the waiting events of a task until none are left.
pub(crate) async fn work(shared: &Arc<Shared>, store: &Arc<dyn Store>, worker: Worker) {
    let task = Arc::clone(&worker.task);
    loop {
        let turn = task.commit.lock().await;
        let Some(group) = task.lock_waiting().take() else {
            break;
        };
        store_and_finish(shared, store, &task, turn, group).await;
    }
    leave(shared, worker);
}

/// Ends the work for a task without waiting events.
pub(crate) fn leave(shared: &Shared, mut worker: Worker) {
    worker.done = true;
    life::forget_if_unused(shared, &worker.task);
}

/// Stores a group, and sends all answers after releasing the task's turn.
pub(crate) async fn store_and_finish(
    shared: &Arc<Shared>,
    store: &Arc<dyn Store>,
    task: &Arc<Task>,
    turn: MutexGuard<'_, ()>,
    group: Vec<Waiter>,
) {
    match store_group(shared, store, task, group).await {
        Ok(outcome) => {
            drop(turn);
            finish(shared, task, outcome).await;
        }
        Err(group) => {
            for waiter in group {
                // An event that is stored alone always gets an answer.
                if let Ok(outcome) = store_group(shared, store, task, vec![waiter]).await {
                    finish(shared, task, outcome).await;
                }
            }
        }
    }
}

/// Announces the result of a group, and then answers its publishers.
pub(crate) async fn finish(shared: &Arc<Shared>, task: &Arc<Task>, outcome: Outcome) {
    if let Some(grown) = outcome.grown {
        task.topic().announce();
        shared.tell_others(grown).await;
        evict::keep_to_limit(shared);
    }
    for (waiter, answer) in outcome.answers {
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
) -> Result<Outcome, Vec<Waiter>> {
    if group.iter().any(Waiter::has_id)
        && let Err(error) = shelf::read_ids(shared, store, task).await
    {
        return Ok(Outcome::refused(group, Vec::new(), error));
    }
    // An append shows whether this node's copy of the task is current. Without an append, the
    // copy may be old, and only the store can tell whether the refusals are right.
    let mut current = shared.config.broker.is_none();
    for _ in 0..MAX_CONFLICTS {
        let Staged {
            verdicts,
            append,
            after,
            outdated,
        } = stage(shared, task, &group);
        if outdated && !current {
            // Another node has published since. Its stamps and leases are in the store.
            if let Err(error) = catch_up::catch_up(shared, store, task).await {
                return Ok(Outcome::refused(group, Vec::new(), error));
            }
            current = true;
            continue;
        }
        let (Some(append), Some(after)) = (append, after) else {
            if current || !verdicts.iter().any(Verdict::is_answer) {
                return Ok(Outcome::nothing_stored(group, verdicts));
            }
            if let Err(error) = catch_up::catch_up(shared, store, task).await {
                return Ok(Outcome::refused(group, Vec::new(), error));
            }
            current = true;
            continue;
        };
        match store.append(append).await {
            Ok(()) => return Ok(reveal(shared, task, group, verdicts, after)),
            Err(StoreError::Conflict { .. }) => {
                // Another node was faster. Read its events, and check ours again.
                if let Err(error) = catch_up::catch_up(shared, store, task).await {
                    return Ok(Outcome::refused(group, verdicts, error));
                }
                current = true;
            }
            Err(StoreError::Duplicate { .. }) if group.len() > 1 => return Err(group),
            Err(StoreError::Duplicate { offset }) => {
                let rules = task.lock_rules();
                let state = task.snapshot();
                let answers = group.into_iter().map(|waiter| {
                    let repeat = append::repeat(shared, &rules, &state, &waiter.prepared, offset);
                    (waiter, Err(repeat))
                });
                return Ok(Outcome::unchanged(answers));
            }
            Err(error) => {
                tracing::warn!(task_id = %task.id(), %error, "the store refused events");
                return Ok(Outcome::refused(group, verdicts, error));
            }
        }
    }
    let busy = "other nodes publish to this task without a pause";
    let error = StoreError::Unavailable(busy.into());
    Ok(Outcome::refused(group, Vec::new(), error))
}

/// Computes how the events would change the task, without changing it.
pub(crate) fn stage(shared: &Shared, task: &Arc<Task>, group: &[Waiter]) -> Staged {
    let now = Instant::now();
    let mut rules = task.lock_rules();
    // Encoding a group takes a while. Publishers wait for it, because the lock of the rules is
    // held. Readers need only the log, whose lock is free.
    let log = task.topic().lock();
    let closed = log.closed;
    let epoch = log.epoch().clone();
    let head = log.head_offset();
    let mut next = head.next();
    let mut snapshot = state_of(task.id(), &log);
    let touches = |waiter: &Waiter| changes_outputs(&waiter.prepared.payload);
    let mut outputs = group.iter().any(touches).then(|| StagedOutputs {
        extents: log.outputs.extents().clone(),
        changes: OutputChanges::default(),
    });
    drop(log);
    let mut rules_after: Option<StoredRules> = None;
    let mut ids: HashMap<&EventId, Offset> = HashMap::new();
    let mut events = Vec::new();
    let mut verdicts = Vec::with_capacity(group.len());
    for Waiter { prepared, .. } in group {
        let event = &prepared.event;
        let known = event.event_id.as_ref().and_then(|id| ids.get(id)).copied();
        let before = match (known, &rules_after) {
            (Some(offset), _) => Ok(Some(offset)),
            (None, Some(after)) => {
                let id = event.event_id.as_ref();
                let ttl = shared.config.idempotency_ttl;
                match id.and_then(|id| rules.ids.find(id, now, ttl)) {
                    Some(offset) => Ok(Some(offset)),
                    None => append::fence(&after.producers, prepared),
                }
            }
            (None, None) => append::accepted_before(shared, &mut rules, prepared, now),
        };
        if let Ok(Some(offset)) = before {
            // The repeated event is in this group, so both are stored or neither is.
            let here = offset > head || (offset == Offset::ZERO && next > head.next());
            verdicts.push(if here {
                let starts = rules_after.as_ref().map(|rules| &rules.starts);
                let run = starts.and_then(|starts| starts.run_at(offset, snapshot.run));
                Verdict::Repeats(offset, opened(prepared, run))
            } else {
                let why = append::repeat(shared, &rules, &snapshot, prepared, offset);
                Verdict::Refused { why, anyway: true }
            });
            continue;
        }
        let admitted = match closed || task.is_absent() {
            true => Err(Refused::Removed),
            false => still_due(&rules, &snapshot, prepared, events.is_empty())
                .and(before)
                .and_then(|_| append::check_state(shared, task, &snapshot, prepared)),
        };
        if let Err(why) = admitted {
            let anyway = events.is_empty();
            verdicts.push(Verdict::Refused { why, anyway });
            continue;
        }
        let at = shared.config.clock.now();
        let mut json = Vec::with_capacity(event.data.as_str().len() + 160);
        let extents = outputs.as_ref().map(|outputs| &outputs.extents);
        let text_at = text_at(extents, Some(&snapshot), &prepared.payload);
        let data = encode_event(&mut json, task.id(), next, at, text_at, event);
        let payload = placed(&prepared.payload, text_at);
        let new_run = opens_new_run(&snapshot);
        let state = Arc::make_mut(&mut snapshot);
        state.apply(&payload, next, at);
        if let Some(StagedOutputs { extents, changes }) = &mut outputs {
            let limits = shared.config.output_limits;
            extents.take((&payload, next), new_run, limits, changes);
        }
        let listed = Listed::of(state);
        let before = rules_after
            .as_ref()
            .map_or_else(|| rules.lease_ms(), |rules| rules.lease_ms);
        let lease_ms = lease_after(before, &prepared.payload, listed.status);
        let run = opened(prepared, Some(state.run));
        if event.producer.is_some() || run.is_some() || lease_ms != before {
            let after = rules_after.get_or_insert_with(|| rules.stored());
            after.lease_ms = lease_ms;
            if let Some(stamp) = &event.producer {
                after.producers.record(stamp, next);
            }
            if run.is_some() {
                after.starts.note(next);
            }
        }
        if let Some(id) = &event.event_id {
            ids.insert(id, next);
        }
        let json: Arc<[u8]> = json.into();
        events.push(StoredEvent {
            offset: next,
            json: Arc::clone(&json),
        });
        let line = Line {
            offset: next,
            json,
            data: (data.start, data.end),
            event_type: event.event_type.clone(),
            output: output_of(&prepared.payload),
            at,
        };
        verdicts.push(Verdict::Taken(line, listed, run));
        next = next.next();
    }
    let stamped = group.iter().any(Waiter::has_stamp);
    let outdated = rules.outdated && (rules_after.is_some() || stamped);
    let outputs = outputs.filter(|outputs| !outputs.changes.is_empty());
    let (extents, changes) = outputs.map_or((None, None), |outputs| {
        (Some(outputs.extents), Some(Arc::new(outputs.changes)))
    });
    let after = (!events.is_empty()).then(|| After {
        snapshot: Arc::clone(&snapshot),
        outputs: extents.zip(changes.clone()),
    });
    let append = after.is_some().then(|| Append {
        task_id: task.id().clone(),
        epoch,
        events,
        snapshot,
        rules: rules_after.map(Arc::new),
        outputs: changes,
    });
    Staged {
        verdicts,
        append,
        after,
        outdated,
    }
}

/// Returns whether the lease that an event ends is still the task's lease. `alone` means that
/// no event of the same group comes before it.
fn still_due(
    rules: &Rules,
    snapshot: &TaskSnapshot,
    prepared: &Prepared,
    alone: bool,
) -> Result<(), Refused> {
    let Some(expiry) = prepared.expiry else {
        return Ok(());
    };
    if alone && rules.lease == Some(expiry.lease) {
        return Ok(());
    }
    Err(append::not_now(snapshot, prepared).into())
}

/// Makes stored events visible.
pub(crate) fn reveal(
    shared: &Arc<Shared>,
    task: &Arc<Task>,
    group: Vec<Waiter>,
    verdicts: Vec<Verdict>,
    after: After,
) -> Outcome {
    let snapshot = &after.snapshot;
    let now = Instant::now();
    let mut answers = Vec::with_capacity(group.len());
    let mut settled = Vec::with_capacity(group.len());
    let mut rules = task.lock_rules();
    let mut log = task.topic().lock();
    let closed = log.closed;
    if log.head() == 0
        && let Some(first) = group.first()
    {
        let payer = shared.payer(first.prepared.account.as_ref());
        log.charge_to(payer);
        rules.charge_to(payer);
    }
    let published = |offset, duplicate, run| Published {
        epoch: snapshot.epoch.clone(),
        offset,
        duplicate,
        run,
    };
    for (waiter, verdict) in group.iter().zip(verdicts) {
        answers.push(match verdict {
            _ if closed => Err(Refused::Removed),
            Verdict::Taken(line, listed, run) => {
                let offset = line.offset;
                line.lay_down(&mut log, shared.framing());
                shared.trim(&mut log);
                settled.push((&waiter.prepared, offset, listed));
                Ok(published(offset, false, run))
            }
            Verdict::Repeats(offset, run) => {
                shared.counters.duplicates.fetch_add(1, Ordering::Relaxed);
                Err(Refused::Answer(Ok(published(offset, true, run))))
            }
            Verdict::Refused { why, .. } => Err(why),
        });
    }
    if !closed {
        log.snapshot = Some(Arc::clone(snapshot));
        if let Some((extents, changes)) = after.outputs {
            let limits = shared.config.output_limits;
            log.outputs.take_staged(extents, &changes, limits);
        }
        shared.note_first(&mut log, task.id());
        task.topic().mirror(&mut log);
    }
    drop(log);
    for (prepared, offset, listed) in settled {
        append::settle(
            shared,
            task,
            &mut rules,
            prepared,
            offset,
            Some(listed),
            now,
        );
    }
    drop(rules);
    Outcome {
        answers: group.into_iter().zip(answers).collect(),
        grown: (!closed).then(|| Announcement {
            task_id: task.id().clone(),
            epoch: snapshot.epoch.clone(),
            head: snapshot.offset,
        }),
    }
}

/// Returns a task's lease in milliseconds, after an event that gave the task this status.
fn lease_after(before: Option<u64>, payload: &Payload, status: TaskStatus) -> Option<u64> {
    match payload {
        _ if status.is_terminal() => None,
        Payload::TaskStarted(started) => started.lease_ms,
        _ => before,
    }
}
