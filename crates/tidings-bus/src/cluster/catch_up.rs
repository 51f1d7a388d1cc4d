//! Between a store and a log: what is read from the one and laid down in the other.

use std::collections::VecDeque;
use std::sync::Arc;

use tidings_protocol::{
    Epoch, Event, EventType, ItemId, Offset, Payload, ResetReason, TaskId, TaskSnapshot, Timestamp,
};
use tokio::time::Instant;

use crate::deliver::cold::finished;
use crate::log::{Appended, Framing, Log, Outputs};
use crate::publish::append::{opens_new_run, output_of};
use crate::shared::Shared;
use crate::store::{Store, StoreError, StoredEvent, StoredTask};
use crate::tasks::eviction::Lane;
use crate::tasks::listing::Listed;
use crate::tasks::task::{Rules, Task};

/// Bytes read from a store at a time.
const READ_BYTES: usize = 256 * 1024;

/// What brings a log up to the store. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing: the log has all that the store has.
    Done,
    /// Read the events from the log's next offset on.
    Read,
    /// Read the whole task: the log cannot go on.
    Reload,
    /// The store has lost events that were delivered here.
    WentBack,
}

/// Decides what comes next for a log whose next offset is `next` of `epoch`, when
/// the store has the events from `first` to `head` of `stored`.
fn next_step(
    (epoch, next): (&Epoch, Offset),
    (stored, first, head): (&Epoch, Offset, Offset),
) -> Next {
    if epoch != stored || next < first {
        Next::Reload
    } else if head.next() < next {
        Next::WentBack
    } else if head < next {
        Next::Done
    } else {
        Next::Read
    }
}

/// A task as it was read from the store.
pub(crate) struct Loaded {
    /// What follows the newest event.
    next: Offset,
    snapshot: Option<TaskSnapshot>,
    outputs: Outputs,
    events: VecDeque<(Event, Payload, Arc<[u8]>)>,
}

impl Loaded {
    /// Nothing to take in.
    pub(crate) fn nothing() -> Self {
        Self {
            next: Offset::FIRST,
            snapshot: None,
            outputs: Outputs::default(),
            events: VecDeque::new(),
        }
    }
}

/// One encoded event on its way into a log.
pub(crate) struct Line {
    pub(crate) offset: Offset,
    pub(crate) json: Arc<[u8]>,
    /// Where `data` lies within it.
    pub(crate) data: (usize, usize),
    pub(crate) event_type: EventType,
    /// Of an `output_delta`: its output.
    pub(crate) output: Option<ItemId>,
    pub(crate) at: Timestamp,
}

impl Line {
    /// Appends it to a log.
    pub(crate) fn lay_down(self, log: &mut Log, framing: &Framing) {
        log.append(
            framing,
            |_, text| {
                text.extend_from_slice(&self.json);
                Appended {
                    event_type: self.event_type,
                    timestamp: self.at,
                    data: self.data,
                    output: self.output,
                }
            },
            &mut Vec::new(),
        );
    }
}

impl Shared {
    pub(crate) fn lay_down(&self, log: &mut Log, line: Line) {
        self.edit(log, |log| line.lay_down(log, self.framing()));
    }

    /// Takes in what the store has of a task and this node does not; called
    /// with the task's turn. The task may have left the registry meanwhile.
    pub(crate) async fn catch_up(
        self: &Arc<Self>,
        store: &Arc<dyn Store>,
        task: &Arc<Task>,
    ) -> Result<(), StoreError> {
        loop {
            let Some(stored) = store.find(task.id()).await? else {
                if task.is_declared() {
                    // Another node has removed it.
                    self.discard(task);
                }
                return Ok(());
            };
            let (epoch, from) = {
                let log = task.topic().lock();
                (log.epoch().clone(), log.head_offset().next())
            };
            let head = stored.snapshot.offset;
            match next_step((&epoch, from), (&stored.snapshot.epoch, stored.first, head)) {
                Next::Done => return Ok(()),
                Next::Reload => {
                    if let Some(loaded) = self.load(store, task.id()).await? {
                        self.install(task, loaded);
                        task.topic().announce();
                    }
                    return Ok(());
                }
                Next::WentBack => {
                    // Behind what was delivered, in the same numbers: they must not
                    // be given out again.
                    tracing::warn!(task_id = %task.id(), %head, "the store has lost events of a task; it starts over");
                    store.remove(task.id()).await?;
                    self.discard(task);
                    return Ok(());
                }
                Next::Read => {}
            }
            let events = store.read(task.id(), from, READ_BYTES).await?;
            if events.first().is_none_or(|event| event.offset != from) {
                // Trimmed since; the next look sees a later first offset.
                if events.is_empty() || events[0].offset < from {
                    return Ok(());
                }
                continue;
            }
            // The events are of this epoch only if it was still the task's when
            // they were read.
            let still = store.find(task.id()).await?;
            if let Some(still) = still.filter(|still| still.snapshot.epoch == epoch) {
                let events = events.into_iter().map(|event| (epoch.clone(), event));
                self.take_in_events(task, events.collect());
                let (closed, moved) = {
                    let log = task.topic().lock();
                    (log.closed, log.head_offset().next() != from)
                };
                if closed {
                    // It has left the registry: whoever looks it up again reads it.
                    return Ok(());
                }
                if !moved {
                    // A newer node wrote it, say. To read it again would be the same,
                    // for ever, with the task's turn held.
                    let what = format!("event {from} of {} cannot be read", task.id());
                    return Err(StoreError::Unavailable(what.into()));
                }
                // With the events come the stamps that they had, where the store
                // keeps them: a retry of one of them is then known for what it is.
                if !still.rules.producers.is_empty() {
                    task.lock_rules().producers = still.rules.producers;
                }
            }
        }
    }

    /// Takes in events that came with a notice or from the store; called with
    /// the task's turn. False if something is missing before one of them.
    pub(crate) fn take_in_events(
        self: &Arc<Self>,
        task: &Arc<Task>,
        events: Vec<(Epoch, StoredEvent)>,
    ) -> bool {
        let mut complete = true;
        let mut taken = false;
        let mut heard = false;
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
            let mut snapshot = snapshot_of(task.id(), &log);
            let new_run = opens_new_run(&snapshot);
            Arc::make_mut(&mut snapshot).apply(&payload, event.offset, event.timestamp);
            let limits = self.config.output_limits;
            log.outputs.take((&payload, event.offset), new_run, limits);
            let event_type = event.event_type.clone();
            self.take_in(&mut rules, &mut log, event, &payload, stored.json);
            log.snapshot = Some(snapshot);
            taken = true;
            heard |= !event_type.is_made_by_bus();
        }
        if taken {
            rules.touched = Instant::now();
            rules.finished = finished(&log, rules.touched);
            let since_start = rules.touched.duration_since(self.started);
            if rules.finished.is_some() {
                rules.lease = None;
                self.schedule_lease(task, &mut rules);
            } else if let Some(lease) = rules.lease.as_mut().filter(|_| heard) {
                lease.renew(since_start);
            }
            task.topic().mirror(&mut log);
        }
        drop(log);
        if taken {
            rules.recount();
            let listed = Listed::of(&task.snapshot());
            self.relist(task, &mut rules, Some(listed));
            let lane = Lane::of(rules.finished.is_some(), true);
            self.place(task, &mut rules, lane);
        }
        drop(rules);
        if taken {
            task.topic().announce();
        }
        complete
    }

    /// Reads a task from the store; none if it is not there.
    pub(crate) async fn load(
        &self,
        store: &Arc<dyn Store>,
        task_id: &TaskId,
    ) -> Result<Option<Loaded>, StoreError> {
        let Some(mut stored) = store.find(task_id).await? else {
            return Ok(None);
        };
        loop {
            let loaded = self.load_from(store, &stored).await?;
            // What was read is of this epoch only if it still is the task's.
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
        &self,
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
                    // It came after the state was read.
                    let new_run = snapshot.status.is_terminal();
                    let limits = self.config.output_limits;
                    outputs.take((&payload, event.offset), new_run, limits);
                    snapshot.apply(&payload, event.offset, event.timestamp);
                }
                bytes += stored.json.len();
                events.push_back((event, payload, stored.json));
            }
            // The log keeps to the limits by itself. This one bounds what is read.
            while bytes > self.config.log_limits.max_bytes
                && events.len() > 1
                && let Some((_, _, json)) = events.pop_front()
            {
                bytes -= json.len();
            }
        }
        Ok(Loaded {
            next: from,
            snapshot: Some(snapshot),
            outputs,
            events,
        })
    }

    /// Replaces a task's log by what was read from the store: all of it becomes
    /// visible at once, so that whoever joins finds a snapshot that fits the head.
    pub(crate) fn install(&self, task: &Arc<Task>, loaded: Loaded) {
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
            self.take_in(&mut rules, &mut log, event, &payload, json);
        }
        let listed = Listed::of(&snapshot);
        log.snapshot = Some(Arc::new(snapshot));
        rules.touched = Instant::now();
        rules.finished = finished(&log, rules.touched);
        task.topic().mirror(&mut log);
        let has_events = log.retained_events() > 0;
        drop(log);
        self.schedule_lease(task, &mut rules);
        rules.recount();
        self.relist(task, &mut rules, Some(listed));
        let lane = Lane::of(rules.finished.is_some(), has_events);
        self.place(task, &mut rules, lane);
    }

    fn take_in(
        &self,
        rules: &mut Rules,
        log: &mut Log,
        event: Event,
        payload: &Payload,
        json: Arc<[u8]>,
    ) {
        if let Some(id) = event.event_id.clone() {
            let max = self.config.idempotency_ids;
            rules.ids.remember(id, event.offset, Instant::now(), max);
        }
        if event.event_type == EventType::TaskStarted {
            rules.starts.note(event.offset);
        }
        self.lay_down(log, line_of(event, payload, json));
    }
}

pub(crate) fn snapshot_of(task_id: &TaskId, log: &Log) -> Arc<TaskSnapshot> {
    log.snapshot
        .clone()
        .unwrap_or_else(|| Arc::new(TaskSnapshot::new(task_id.clone(), log.epoch().clone())))
}

pub(crate) fn decode(stored: &StoredEvent) -> Result<(Event, Payload), StoreError> {
    let event: Event = serde_json::from_slice(&stored.json)
        .map_err(|error| StoreError::Unavailable(error.into()))?;
    let payload = Payload::of(&event).map_err(|error| StoreError::Unavailable(error.into()))?;
    Ok((event, payload))
}

pub(crate) fn line_of(event: Event, payload: &Payload, json: Arc<[u8]>) -> Line {
    // `data` is the last field, so it ends one byte before the object does.
    let end = json.len() - 1;
    let start = end - event.data.as_str().len();
    Line {
        offset: event.offset,
        json,
        data: (start, end),
        output: output_of(payload),
        event_type: event.event_type,
        at: event.timestamp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_brought_up_to_the_store_step_by_step() {
        let [e, other] = ["e", "other"].map(|text| Epoch::new(text).unwrap());
        let at = |value| Offset::new(value).unwrap();
        let next = |next, first, head| next_step((&e, at(next)), (&e, at(first), at(head)));
        assert_eq!(next(4, 1, 3), Next::Done);
        assert_eq!(next(4, 1, 4), Next::Read);
        assert_eq!(next(4, 4, 9), Next::Read, "what came before is here");
        assert_eq!(next(4, 5, 9), Next::Reload, "4 is nowhere any more");
        assert_eq!(next(4, 1, 2), Next::WentBack);
        let renamed = next_step((&e, at(4)), (&other, at(1), at(3)));
        assert_eq!(renamed, Next::Reload);
    }
}
