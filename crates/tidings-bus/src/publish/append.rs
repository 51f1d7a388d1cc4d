//! From a producer's event to a record in the log.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidings_protocol::{Lease, Offset, Payload, TaskSnapshot, encode_event};
use tokio::time::Instant;

use crate::log::{Appended, Extents, Log, OutputChanges};
use crate::publish::error::{PublishError, Published, Refused};
use crate::publish::prepared::{Prepared, opened, opens_new_run, placed, text_at};
use crate::publish::stage::{Verdict, accepted_before, not_now, repeat};
use crate::publish::waiting::{Answer, Waiter};
use crate::shared::Shared;
use crate::store::line::output_of;
use crate::tasks::eviction::Lane;
use crate::tasks::life;
use crate::tasks::listed::Listed;
use crate::tasks::questions;
use crate::tasks::task::{Rules, Task};
use crate::tasks::trees::update;

thread_local! {
    /// The buffer in which an event's text is written before it goes to its log.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Publishes to a task. The caller holds the lock of the task's rules, and wakes the topic
/// afterwards.
pub(crate) fn append(
    shared: &Arc<Shared>,
    task: &Arc<Task>,
    rules: &mut Rules,
    prepared: &Prepared,
    now: Instant,
) -> Result<Published, Refused> {
    let _open = shared.enter().map_err(Refused::from)?;
    let before = accepted_before(rules, None, prepared, (now, &shared.config))?;
    if let Some(offset) = before {
        return Err(repeat(&rules.starts, &task.snapshot(), prepared, offset));
    }
    let mut log = task.topic().lock();
    check(shared, task, &log, prepared)?;
    if log.head() == 0 {
        let payer = shared.payer(prepared.account.as_ref());
        log.charge_to(payer);
        rules.charge_to(payer);
    }
    let at = shared.config.clock.now();
    let extents = Some(log.outputs.extents());
    let text_at = text_at(extents, log.snapshot.as_deref(), &prepared.payload);
    let waiting = log.waiting();
    let offset = SCRATCH.with_borrow_mut(|scratch| {
        log.append(
            shared.framing(),
            |offset, text| {
                let offset = Offset::new(offset).unwrap_or(Offset::MAX);
                let data = encode_event(text, task.id(), offset, at, text_at, &prepared.event);
                Appended {
                    event_type: prepared.event.event_type.clone(),
                    timestamp: at,
                    data: (data.start, data.end),
                    output: output_of(&prepared.payload),
                }
            },
            scratch,
        )
    });
    shared.trim(&mut log);
    let offset = Offset::new(offset).unwrap_or(Offset::MAX);
    let payload = placed(&prepared.payload, text_at);
    let new_run = log.snapshot.as_ref().is_some_and(opens_new_run);
    if let Some(snapshot) = &mut log.snapshot {
        Arc::make_mut(snapshot).apply(&payload, offset, at);
    }
    let listed = log.snapshot.as_deref().map(Listed::of);
    let run = log.snapshot.as_ref().map(|snapshot| snapshot.run);
    log.outputs
        .take((&payload, offset), new_run, shared.config.output_limits);
    let published = Published {
        epoch: log.epoch().clone(),
        offset,
        duplicate: false,
        run: opened(prepared, run),
    };
    let waiting = log.waiting() - waiting;
    task.topic().mirror(&mut log);
    drop(log);
    settle(shared, task, rules, prepared, offset, listed, now);
    if let Some(behind) = &shared.behind {
        behind.note(task, waiting);
    }
    Ok(published)
}

/// Checks the event against the state of the log.
fn check(shared: &Shared, task: &Task, log: &Log, prepared: &Prepared) -> Result<(), Refused> {
    if log.closed {
        return Err(Refused::Removed);
    }
    match &log.snapshot {
        Some(snapshot) => Ok(check_state(shared, task, snapshot, prepared)?),
        None => Ok(()),
    }
}

/// Checks the event against the task's state.
pub(crate) fn check_state(
    shared: &Shared,
    task: &Task,
    snapshot: &TaskSnapshot,
    prepared: &Prepared,
) -> Result<(), PublishError> {
    if let Some(named) = prepared.event.run
        && named != snapshot.run
    {
        let current = snapshot.run;
        return Err(PublishError::WrongRun { named, current });
    }
    snapshot
        .check(&prepared.event.event_type)
        .map_err(PublishError::from)
        .and_then(|()| match &prepared.payload {
            Payload::InputProvided(_) | Payload::InputExpired(_) => {
                questions::check_question(&shared.config, snapshot, prepared)
            }
            Payload::ChildrenUpdate(children) => {
                let pause = shared.update_pause(snapshot);
                match update::is_due(snapshot, children, pause) {
                    true => Ok(()),
                    false => Err(not_now(snapshot, prepared)),
                }
            }
            // Notes that the event is on its way.
            Payload::TaskStarted(_) => Ok(shared.trees.claim(task.id(), &prepared.payload)?),
            _ => Ok(()),
        })
}

/// Makes stored events visible. Returns their answers, and whether the log has grown.
pub(crate) fn reveal(
    shared: &Arc<Shared>,
    task: &Arc<Task>,
    (group, verdicts): (&[Waiter], Vec<Verdict>),
    (snapshot, outputs): (&Arc<TaskSnapshot>, Option<(Extents, Arc<OutputChanges>)>),
) -> (Vec<Answer>, bool) {
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
            Verdict::Repeats(offset, run) => Err(Refused::Answer(Ok(published(offset, true, run)))),
            Verdict::Refused { why, .. } => Err(why),
        });
    }
    if !closed {
        log.snapshot = Some(Arc::clone(snapshot));
        if let Some((extents, changes)) = outputs {
            let limits = shared.config.output_limits;
            log.outputs.take_staged(extents, &changes, limits);
        }
        shared.note_first(&mut log, task.id());
        task.topic().mirror(&mut log);
    }
    drop(log);
    for (prepared, offset, listed) in settled {
        settle(
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
    (answers, !closed)
}

/// Applies the changes of an accepted event outside the log.
fn settle(
    shared: &Arc<Shared>,
    task: &Arc<Task>,
    rules: &mut Rules,
    prepared: &Prepared,
    offset: Offset,
    listed: Option<Listed>,
    now: Instant,
) {
    shared.counters.published.fetch_add(1, Ordering::Relaxed);
    let bytes = prepared.event.data.as_str().len() as u64;
    shared
        .counters
        .bytes_published
        .fetch_add(bytes, Ordering::Relaxed);
    if let Some(stamp) = &prepared.event.producer {
        rules.producers.record(stamp, offset);
        rules.changes += 1;
    }
    if let Some(id) = &prepared.event.event_id {
        rules
            .ids
            .remember(id.clone(), offset, now, shared.config.idempotency_ids);
    }
    if prepared.event.producer.is_some() || prepared.event.event_id.is_some() {
        rules.recount();
    }
    if matches!(prepared.payload, Payload::TaskStarted(_)) {
        rules.starts.note(offset);
        rules.changes += 1;
    }
    let ended = listed.as_ref();
    let ended = ended.is_some_and(|listed| listed.status.is_terminal());
    if !ended || !matches!(prepared.payload, Payload::ChildrenUpdate(_)) {
        // Events of children do not extend the life of a task that has ended.
        rules.touched = now;
    }
    if ended {
        rules.finished.get_or_insert(now);
        rules.changes += u64::from(rules.lease.take().is_some());
        shared.leases.schedule(task, rules);
    } else {
        rules.finished = None;
        keep_lease(shared, task, rules, prepared, now);
    }
    shared
        .trees
        .mark_parents(rules.listed.as_ref(), listed.as_ref());
    life::relist(shared, task, rules, listed);
    shared.room.place(task, rules, Lane::of(ended, true));
}

/// Starts or renews the lease of a running task.
fn keep_lease(
    shared: &Shared,
    task: &Arc<Task>,
    rules: &mut Rules,
    prepared: &Prepared,
    now: Instant,
) {
    let since_start = || now.duration_since(shared.started);
    match &prepared.payload {
        Payload::TaskStarted(started) => {
            let had = rules.lease.is_some();
            rules.changes += u64::from(had || started.lease_ms.is_some());
            rules.lease = started.lease_ms.map(|lease_ms| {
                Lease::new(std::time::Duration::from_millis(lease_ms), since_start())
            });
            shared.leases.schedule(task, rules);
        }
        Payload::TaskStalled => {
            if let Some(expiry) = prepared.expiry {
                rules.lease = Some(expiry.next);
            }
        }
        _ if prepared.event.event_type.is_sign_of_life() => {
            if let Some(lease) = &mut rules.lease {
                lease.renew(since_start());
            }
        }
        _ => {}
    }
}
