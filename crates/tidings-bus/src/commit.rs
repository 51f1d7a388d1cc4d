//! Publishing through a store: first there, then visible here.

use std::collections::VecDeque;
use std::sync::Arc;

use tidings_protocol::{
    Event, EventType, Offset, Payload, TaskId, TaskSnapshot, Timestamp, encode_event,
};
use tokio::time::Instant;

use crate::log::{Appended, Log};
use crate::publish::{Prepared, PublishError, Published, Refused};
use crate::shared::Shared;
use crate::store::{Append, Store, StoreError, StoredEvent, StoredTask};
use crate::task::{Rules, Task};

/// How often a publish that another node outran is decided anew.
const MAX_CONFLICTS: usize = 16;

/// Bytes read from a store at a time.
const READ_BYTES: usize = 256 * 1024;

/// An event that is decided but not yet stored.
struct Staged {
    append: Append,
    line: Line,
}

/// One encoded event on its way into a log.
struct Line {
    offset: Offset,
    json: Arc<[u8]>,
    /// Where `data` lies within it.
    data: (usize, usize),
    event_type: EventType,
    at: Timestamp,
}

impl Shared {
    /// Publishes one event; publishers of one task take turns meanwhile.
    pub(crate) async fn commit(
        self: &Arc<Self>,
        store: &Arc<dyn Store>,
        task: &Arc<Task>,
        prepared: &Prepared,
    ) -> Result<Published, Refused> {
        let _turn = task.commit.lock().await;
        for _ in 0..MAX_CONFLICTS {
            let staged = self.stage(task, prepared)?;
            let line = staged.line;
            let snapshot = Arc::clone(&staged.append.snapshot);
            match store.append(staged.append).await {
                Ok(()) => return self.reveal(task, prepared, line, snapshot),
                Err(StoreError::Conflict { .. }) => {
                    // Another node was first: take in what it wrote, decide anew.
                    self.catch_up(store, task)
                        .await
                        .map_err(|error| unavailable(self, error))?;
                }
                Err(error) => {
                    tracing::warn!(task_id = %task.id(), %error, "the store refused an event");
                    return Err(unavailable(self, error));
                }
            }
        }
        Err(unavailable(
            self,
            StoreError::Unavailable("other nodes publish to this task without a pause".into()),
        ))
    }

    /// What the event would make of the task, without making it yet.
    fn stage(&self, task: &Arc<Task>, prepared: &Prepared) -> Result<Staged, Refused> {
        let mut rules = task.lock_rules();
        self.admit(&mut rules, prepared, Instant::now(), || task.epoch())?;
        let log = task.topic().lock();
        self.check(&log, prepared)?;
        let at = self.config.clock.now();
        let offset = log.head_offset().next();
        let mut json = Vec::with_capacity(prepared.event.data.as_str().len() + 160);
        let data = encode_event(&mut json, task.id(), offset, at, &prepared.event);
        let mut snapshot = snapshot_of(task.id(), &log);
        Arc::make_mut(&mut snapshot).apply(&prepared.payload, offset, at);
        let json: Arc<[u8]> = json.into();
        Ok(Staged {
            append: Append {
                task_id: task.id().clone(),
                epoch: log.epoch().clone(),
                events: vec![StoredEvent {
                    offset,
                    event_id: prepared.event.event_id.clone(),
                    json: Arc::clone(&json),
                }],
                snapshot,
            },
            line: Line {
                offset,
                json,
                data: (data.start, data.end),
                event_type: prepared.event.event_type.clone(),
                at,
            },
        })
    }

    /// Makes a stored event visible.
    fn reveal(
        self: &Arc<Self>,
        task: &Arc<Task>,
        prepared: &Prepared,
        line: Line,
        snapshot: Arc<TaskSnapshot>,
    ) -> Result<Published, Refused> {
        let mut rules = task.lock_rules();
        let mut log = task.topic().lock();
        if log.closed {
            return Err(Refused::Removed);
        }
        let offset = line.offset;
        let status = snapshot.status;
        self.lay_down(&mut log, line);
        log.snapshot = Some(snapshot);
        let published = Published {
            epoch: log.epoch().clone(),
            offset,
            duplicate: false,
        };
        task.topic().mirror(&log);
        drop(log);
        self.settle(
            task,
            &mut rules,
            prepared,
            offset,
            Some(status),
            Instant::now(),
        );
        Ok(published)
    }

    fn lay_down(&self, log: &mut Log, line: Line) {
        self.edit(log, |log| {
            log.append(
                &self.config.framing,
                |_, text| {
                    text.extend_from_slice(&line.json);
                    Appended {
                        event_type: line.event_type,
                        timestamp: line.at,
                        data: line.data,
                    }
                },
                &mut Vec::new(),
            )
        });
    }

    /// Takes in what the store has of a task and this node does not; called
    /// with the task's turn. The task may have left the registry meanwhile.
    pub(crate) async fn catch_up(
        self: &Arc<Self>,
        store: &Arc<dyn Store>,
        task: &Arc<Task>,
    ) -> Result<(), StoreError> {
        let Some(stored) = store.find(task.id()).await? else {
            if task.is_declared() {
                // Another node has removed it.
                self.discard(task);
            }
            return Ok(());
        };
        let behind = {
            let log = task.topic().lock();
            *log.epoch() != stored.snapshot.epoch || log.head_offset().next() < stored.first
        };
        if behind {
            return self.adopt(store, task, stored).await;
        }
        loop {
            let from = task.topic().lock().head_offset().next();
            let events = store.read(task.id(), from, READ_BYTES).await?;
            if events.first().is_none_or(|event| event.offset != from) {
                return Ok(());
            }
            let mut rules = task.lock_rules();
            let mut log = task.topic().lock();
            for stored in events {
                let (event, payload) = decode(&stored)?;
                let mut snapshot = snapshot_of(task.id(), &log);
                Arc::make_mut(&mut snapshot).apply(&payload, event.offset, event.timestamp);
                self.take_in(&mut rules, &mut log, event, stored.json);
                log.snapshot = Some(snapshot);
            }
            rules.touched = Instant::now();
            rules.finished = finished(&log, rules.touched);
            task.topic().mirror(&log);
            drop(log);
            drop(rules);
            task.topic().announce();
        }
    }

    /// Replaces a task's log by what the store has: all of it becomes visible
    /// at once, so that whoever joins finds a snapshot that fits the head.
    pub(crate) async fn adopt(
        self: &Arc<Self>,
        store: &Arc<dyn Store>,
        task: &Arc<Task>,
        stored: StoredTask,
    ) -> Result<(), StoreError> {
        let mut snapshot = TaskSnapshot::clone(&stored.snapshot);
        let mut events = VecDeque::new();
        let mut from = stored.first;
        loop {
            let page = store.read(task.id(), from, READ_BYTES).await?;
            let Some(last) = page.last() else { break };
            from = last.offset.next();
            for stored in page {
                let (event, payload) = decode(&stored)?;
                if event.offset > snapshot.offset {
                    // It came after the state was read.
                    snapshot.apply(&payload, event.offset, event.timestamp);
                }
                events.push_back((event, stored.json));
            }
            while events.len() as u64 > self.config.log_limits.max_events {
                events.pop_front();
            }
        }
        let first = events.front().map_or(from, |(event, _)| event.offset);
        let mut rules = task.lock_rules();
        let mut log = task.topic().lock();
        if log.closed {
            return Ok(());
        }
        let before = log.retained_bytes();
        if *log.epoch() == snapshot.epoch {
            log.trim_all();
        } else {
            rules.reset(Instant::now());
            log.reset(snapshot.epoch.clone());
        }
        self.counters.resized(before, 0);
        log.resume(snapshot.epoch.clone(), first.get(), snapshot.clone());
        for (event, json) in events {
            self.take_in(&mut rules, &mut log, event, json);
        }
        log.snapshot = Some(Arc::new(snapshot));
        rules.touched = Instant::now();
        rules.finished = finished(&log, rules.touched);
        task.topic().mirror(&log);
        drop(log);
        drop(rules);
        task.topic().announce();
        Ok(())
    }

    fn take_in(&self, rules: &mut Rules, log: &mut Log, event: Event, json: Arc<[u8]>) {
        if let Some(id) = event.event_id.clone() {
            let max = self.config.idempotency_ids;
            rules.ids.remember(id, event.offset, Instant::now(), max);
        }
        self.lay_down(log, line_of(event, json));
    }
}

/// When a task that was read from the store counts as ended.
fn finished(log: &Log, now: Instant) -> Option<Instant> {
    let ended = |snapshot: &Arc<TaskSnapshot>| snapshot.status.is_terminal();
    log.snapshot.as_ref().is_some_and(ended).then_some(now)
}

fn unavailable(shared: &Shared, error: StoreError) -> Refused {
    shared.refuse(PublishError::Unavailable(Arc::new(error)))
}

fn snapshot_of(task_id: &TaskId, log: &Log) -> Arc<TaskSnapshot> {
    log.snapshot
        .clone()
        .unwrap_or_else(|| Arc::new(TaskSnapshot::new(task_id.clone(), log.epoch().clone())))
}

fn decode(stored: &StoredEvent) -> Result<(Event, Payload), StoreError> {
    let event: Event = serde_json::from_slice(&stored.json)
        .map_err(|error| StoreError::Unavailable(error.into()))?;
    let payload = Payload::parse(&event.event_type, &event.data)
        .map_err(|error| StoreError::Unavailable(error.into()))?;
    Ok((event, payload))
}

fn line_of(event: Event, json: Arc<[u8]>) -> Line {
    // `data` is the last field, so it ends one byte before the object does.
    let end = json.len() - 1;
    let start = end - event.data.as_str().len();
    Line {
        offset: event.offset,
        json,
        data: (start, end),
        event_type: event.event_type,
        at: event.timestamp,
    }
}
