//! Reads tasks and events from a store, and writes them into logs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidings_protocol::{
    Epoch, Event, EventType, Lease, Offset, Payload, ResetReason, TaskId, TaskSnapshot,
};
use tokio::time::Instant;

use crate::cluster::catch_up::{CatchUp, Here, Next, There};
use crate::log::{Log, Outputs};
use crate::publish::prepared::opens_new_run;
use crate::shared::Shared;
use crate::store::line::{decode, line_of};
use crate::store::{Store, StoreError, StoredEvent, StoredRules, StoredTask};
use crate::tasks::life;
use crate::tasks::listed::Listed;
use crate::tasks::task::{Rules, Task, finished, state_of};

/// Bytes read from a store at a time.
const READ_BYTES: usize = 256 * 1024;

/// A task as the store had it.
pub(crate) struct Loaded {
    /// The offset after the newest event.
    next: Offset,
    snapshot: Option<TaskSnapshot>,
    /// The rules after the newest event. `None` if newer events were read than the rules.
    rules: Option<StoredRules>,
    outputs: Outputs,
    events: VecDeque<(Event, Payload, Arc<[u8]>)>,
}

impl Loaded {
    /// Creates a value with nothing to take in.
    pub(crate) fn nothing() -> Self {
        Self {
            next: Offset::FIRST,
            snapshot: None,
            rules: None,
            outputs: Outputs::default(),
            events: VecDeque::new(),
        }
    }
}

/// Takes in the events that the store has and this node does not have. The caller holds the
/// task's turn. The task may have left the registry in the meantime.
pub(crate) async fn catch_up(
    shared: &Arc<Shared>,
    store: &Arc<dyn Store>,
    task: &Arc<Task>,
) -> Result<(), StoreError> {
    let mut catching_up = CatchUp::default();
    loop {
        let stored = store.find(task.id()).await?;
        let here = {
            let log = task.topic().lock();
            if log.closed {
                // The task has left the registry. The next lookup reads it again.
                return Ok(());
            }
            Here {
                epoch: log.epoch().clone(),
                next: log.head_offset().next(),
            }
        };
        let there = stored.as_ref().map(There::of);
        let next = catching_up.next(&here, there.as_ref());
        let next = next.map_err(|stuck| {
            let cause = format!("event {} of {} cannot be read", stuck.at, task.id());
            StoreError::Unavailable(cause.into())
        })?;
        match next {
            Next::Done => {
                if let Some(stored) = stored {
                    // These are the rules after the newest event, which is here.
                    take_rules(shared, task, &mut task.lock_rules(), stored.rules);
                }
                return Ok(());
            }
            Next::Removed => {
                life::discard(shared, task);
                return Ok(());
            }
            Next::WentBack => {
                // The bus must not assign the delivered offsets again.
                tracing::warn!(task_id = %task.id(), next = %here.next, "the store has lost events of a task; it starts over");
                store.remove(task.id()).await?;
                life::discard(shared, task);
                return Ok(());
            }
            Next::Reload => {
                let Some(loaded) = load(shared, store, task.id()).await? else {
                    continue;
                };
                let current = loaded.rules.is_some();
                install(shared, task, loaded);
                task.topic().announce();
                if current {
                    return Ok(());
                }
                // Another node has published during the read, so the rules are still missing.
            }
            Next::Read => {
                let events = store.read(task.id(), here.next, READ_BYTES).await?;
                match events.first() {
                    Some(first) if first.offset == here.next => {}
                    // The store has trimmed the events since. The next look sees a later first
                    // offset.
                    Some(first) if first.offset > here.next => continue,
                    _ => return Ok(()),
                }
                // The events belong to this epoch only if the task still had this epoch when they
                // were read.
                let still = store.find(task.id()).await?;
                if still.is_some_and(|still| still.snapshot.epoch == here.epoch) {
                    let epoch = || here.epoch.clone();
                    let events = events.into_iter().map(|event| (epoch(), event));
                    take_in_events(shared, task, events.collect());
                    catching_up.note_read(here);
                }
            }
        }
    }
}

/// Takes in events from a notice or from the store. The caller holds the task's turn.
/// Returns false if an event before one of them is missing.
pub(crate) fn take_in_events(
    shared: &Arc<Shared>,
    task: &Arc<Task>,
    events: Vec<(Epoch, StoredEvent)>,
) -> bool {
    let mut complete = true;
    let mut taken = false;
    let mut rules = task.lock_rules();
    let mut log = task.topic().lock();
    if log.closed {
        return true;
    }
    for (epoch, stored) in events {
        let next = log.head_offset().next();
        if epoch == *log.epoch() && stored.offset < next {
            continue;
        }
        let decoded = decode(&stored);
        let (true, Ok((event, payload))) =
            (epoch == *log.epoch() && stored.offset == next, decoded)
        else {
            complete = false;
            break;
        };
        // Taken out of the log. A copy of the state for each event would cost more than the event.
        let mut snapshot = log
            .snapshot
            .take()
            .unwrap_or_else(|| state_of(task.id(), &log));
        let new_run = opens_new_run(&snapshot);
        Arc::make_mut(&mut snapshot).apply(&payload, event.offset, event.timestamp);
        let limits = shared.config.output_limits;
        log.outputs.take((&payload, event.offset), new_run, limits);
        if let Some(lease) = &mut rules.lease {
            let now = shared.started.elapsed();
            match &event.event_type {
                // Another node has reported the stall. The time until the loss begins.
                EventType::TaskStalled => *lease = Lease::resume(lease.duration(), now, true),
                kind if kind.is_sign_of_life() => lease.renew(now),
                _ => {}
            }
        }
        take_in(shared, &mut rules, &mut log, event, &payload, stored.json);
        log.snapshot = Some(snapshot);
        taken = true;
    }
    if taken {
        rules.outdated = true;
        rules.touched = Instant::now();
        rules.finished = finished(&log, rules.touched);
        if rules.finished.is_some() {
            rules.lease = None;
            shared.leases.schedule(task, &mut rules);
        }
        task.topic().mirror(&mut log);
    }
    drop(log);
    if taken {
        let listed = Listed::of(&task.snapshot());
        life::came_in(shared, task, &mut rules, (listed, true));
    }
    drop(rules);
    if taken {
        task.topic().announce();
    }
    complete
}

/// Reads a task from the store. Returns `None` if the store does not have it.
pub(crate) async fn load(
    shared: &Shared,
    store: &Arc<dyn Store>,
    task_id: &TaskId,
) -> Result<Option<Loaded>, StoreError> {
    let Some(mut stored) = store.find(task_id).await? else {
        return Ok(None);
    };
    loop {
        let loaded = load_from(shared, store, &stored).await?;
        // The events belong to this epoch only if the task still has this epoch.
        match store.find(task_id).await? {
            None => return Ok(None),
            Some(still) if still.snapshot.epoch == stored.snapshot.epoch => {
                return Ok(Some(loaded));
            }
            Some(other) => stored = other,
        }
    }
}

async fn load_from(
    shared: &Shared,
    store: &Arc<dyn Store>,
    stored: &StoredTask,
) -> Result<Loaded, StoreError> {
    let mut snapshot = TaskSnapshot::clone(&stored.snapshot);
    let mut outputs = Outputs::default();
    outputs.seed(stored.outputs.clone(), &snapshot);
    let mut events = VecDeque::new();
    let mut bytes = 0;
    let mut from = stored.first;
    loop {
        let page = store.read(&snapshot.task_id, from, READ_BYTES).await?;
        let Some(last) = page.last() else { break };
        from = last.offset.next();
        for stored in page {
            let (event, payload) = decode(&stored)?;
            if event.offset > snapshot.offset {
                // The event came after the state was read.
                let new_run = snapshot.status.is_terminal();
                let limits = shared.config.output_limits;
                outputs.take((&payload, event.offset), new_run, limits);
                snapshot.apply(&payload, event.offset, event.timestamp);
            }
            bytes += stored.json.len();
            events.push_back((event, payload, stored.json));
        }
        // The log applies its own limits. This limit bounds the events that are read here.
        while bytes > shared.config.log_limits.max_bytes
            && events.len() > 1
            && let Some((_, _, json)) = events.pop_front()
        {
            bytes -= json.len();
        }
    }
    let same = snapshot.offset == stored.snapshot.offset;
    Ok(Loaded {
        next: from,
        rules: same.then(|| stored.rules.clone()),
        snapshot: Some(snapshot),
        outputs,
        events,
    })
}

/// Replaces a task's log by a task that was read from the store. The whole log becomes
/// visible at once, so that a new subscriber gets a snapshot that matches the head.
pub(crate) fn install(shared: &Shared, task: &Arc<Task>, loaded: Loaded) {
    let Some(snapshot) = loaded.snapshot else {
        return;
    };
    let first = loaded.events.front();
    let first = first.map_or(loaded.next, |(event, _, _)| event.offset);
    let mut rules = task.lock_rules();
    let mut log = task.topic().lock();
    if log.closed {
        return;
    }
    if *log.epoch() == snapshot.epoch {
        log.trim_all();
        // Events that are not read may have renewed the lease. The store's rules set it anew.
        rules.lease = None;
    } else {
        rules.reset(Instant::now());
        if log.head() == 0 {
            log.adopt(snapshot.epoch.clone());
        } else {
            log.reset(snapshot.epoch.clone(), ResetReason::EpochChanged);
        }
    }
    let mut snapshot = snapshot;
    snapshot.count_bytes();
    log.resume(snapshot.epoch.clone(), first.get(), snapshot.clone());
    log.outputs = loaded.outputs;
    for (event, payload, json) in loaded.events {
        take_in(shared, &mut rules, &mut log, event, &payload, json);
    }
    let listed = Listed::of(&snapshot);
    log.snapshot = Some(Arc::new(snapshot));
    rules.touched = Instant::now();
    rules.finished = finished(&log, rules.touched);
    rules.outdated = true;
    task.topic().mirror(&mut log);
    let has_events = log.retained_events() > 0;
    drop(log);
    match loaded.rules {
        Some(stored) => take_rules(shared, task, &mut rules, stored),
        None => shared.leases.schedule(task, &mut rules),
    }
    life::came_in(shared, task, &mut rules, (listed, has_events));
}

/// Takes in the rules that the store has, after the newest event here. The caller holds the
/// task's rules.
fn take_rules(shared: &Shared, task: &Arc<Task>, rules: &mut Rules, stored: StoredRules) {
    rules.outdated = false;
    if stored.is_empty() {
        // Nothing is known, or the store does not keep rules.
        return;
    }
    rules.producers = stored.producers;
    rules.starts = stored.starts;
    let known = rules.lease.take();
    let lease_ms = stored.lease_ms.filter(|_| rules.finished.is_none());
    rules.lease = lease_ms.map(|lease_ms| {
        let duration = Duration::from_millis(lease_ms);
        let known = known.filter(|known| known.duration() == duration);
        known.unwrap_or_else(|| {
            let stalled = task.snapshot().stalled;
            Lease::resume(duration, shared.started.elapsed(), stalled)
        })
    });
    rules.recount();
    shared.leases.schedule(task, rules);
}

fn take_in(
    shared: &Shared,
    rules: &mut Rules,
    log: &mut Log,
    event: Event,
    payload: &Payload,
    json: Arc<[u8]>,
) {
    if let Some(id) = event.event_id.clone() {
        let max = shared.config.idempotency_ids;
        rules.ids.remember(id, event.offset, Instant::now(), max);
    }
    if event.event_type == EventType::TaskStarted {
        rules.starts.note(event.offset);
    }
    line_of(event, payload, json).lay_down(log, shared.framing());
    shared.trim(log);
}
