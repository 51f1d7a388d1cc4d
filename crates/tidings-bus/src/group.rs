//! Publishing through a store: first there, then visible here.
//!
//! Publishers of one task that come at the same time share one append, and so
//! one sync: whoever has the task's turn takes along what waits. The events are
//! decided one after the other, each against what those before it would make of
//! the task; stored together; and made visible together. If the store refuses,
//! all are refused, and it is as if none of them had been decided.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidings_protocol::{EventId, Offset, Payload, TaskSnapshot, TaskStatus, encode_event};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::commit::{Line, snapshot_of};
use crate::publish::{Prepared, PublishError, Published, Refused};
use crate::shared::Shared;
use crate::store::{Append, Store, StoreError, StoredEvent, StoredRules};
use crate::task::Task;

/// How often events that another node outran are decided anew.
const MAX_CONFLICTS: usize = 16;

/// Events that are stored together, and bytes of their data, at most: a few
/// milliseconds of a processor, for which the first of them waits.
const MAX_EVENTS: usize = 256;
const MAX_BYTES: usize = 1024 * 1024;

type Answer = Result<Published, Refused>;

/// An event that waits for its task's turn.
pub(crate) struct Waiting {
    prepared: Arc<Prepared>,
    answer: oneshot::Sender<Answer>,
}

/// What was decided about an event, as long as all before it are stored.
enum Verdict {
    Taken(Line, TaskStatus),
    /// It has the id of one that is taken along with it.
    Repeats(Offset),
    /// `anyway`: whatever becomes of those before it.
    Refused {
        why: Refused,
        anyway: bool,
    },
}

/// Events that are decided but not yet stored.
struct Staged {
    /// In the order of the group.
    verdicts: Vec<Verdict>,
    /// None if there is nothing to store.
    append: Option<Append>,
}

impl Shared {
    /// Publishes one event, together with others that wait for the same task.
    pub(crate) async fn commit(
        self: &Arc<Self>,
        store: &Arc<dyn Store>,
        task: &Arc<Task>,
        prepared: &Arc<Prepared>,
    ) -> Answer {
        let (answer, mut answered) = oneshot::channel();
        task.lock_waiting().push_back(Waiting {
            prepared: Arc::clone(prepared),
            answer,
        });
        loop {
            let _turn = tokio::select! {
                biased;
                answer = &mut answered => {
                    return answer.unwrap_or(Err(PublishError::Closed.into()));
                }
                turn = task.commit.lock() => turn,
            };
            // Whoever had the turn may have taken it along.
            match answered.try_recv() {
                Ok(answer) => return answer,
                Err(oneshot::error::TryRecvError::Closed) => {
                    return Err(PublishError::Closed.into());
                }
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            // Nodes that share a store tell each other of one event at a time.
            let most = if self.interest.is_some() {
                1
            } else {
                MAX_EVENTS
            };
            let group = take(&mut task.lock_waiting(), most);
            if let Err(group) = self.store_group(store, task, group).await {
                for waiting in group {
                    // Alone it is always answered.
                    let _ = self.store_group(store, task, vec![waiting]).await;
                }
            }
        }
    }

    /// Stores and answers a group; called with the task's turn. Gives it back if
    /// the store speaks of one event of several.
    async fn store_group(
        self: &Arc<Self>,
        store: &Arc<dyn Store>,
        task: &Arc<Task>,
        group: Vec<Waiting>,
    ) -> Result<(), Vec<Waiting>> {
        let has_ids = |waiting: &Waiting| waiting.prepared.event.event_id.is_some();
        if group.iter().any(has_ids)
            && let Err(error) = self.read_ids(store, task).await
        {
            refuse(group, Vec::new(), error);
            return Ok(());
        }
        for _ in 0..MAX_CONFLICTS {
            let Staged { verdicts, append } = self.stage(task, &group);
            let Some(append) = append else {
                answer(group, verdicts);
                return Ok(());
            };
            let snapshot = Arc::clone(&append.snapshot);
            match store.append(append).await {
                Ok(()) => {
                    self.reveal(task, group, verdicts, &snapshot);
                    return Ok(());
                }
                Err(StoreError::Conflict { .. }) => {
                    // Another node was first: take in what it wrote, decide anew.
                    if let Err(error) = self.catch_up(store, task).await {
                        refuse(group, verdicts, error);
                        return Ok(());
                    }
                }
                Err(StoreError::Duplicate { .. }) if group.len() > 1 => return Err(group),
                Err(StoreError::Duplicate { offset }) => {
                    let published = Published {
                        epoch: task.epoch(),
                        offset,
                        duplicate: true,
                    };
                    for waiting in group {
                        let _ = waiting
                            .answer
                            .send(Err(Refused::Answer(Ok(published.clone()))));
                    }
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(task_id = %task.id(), %error, "the store refused events");
                    refuse(group, verdicts, error);
                    return Ok(());
                }
            }
        }
        let busy = "other nodes publish to this task without a pause";
        refuse(group, Vec::new(), StoreError::Unavailable(busy.into()));
        Ok(())
    }

    /// What the events would make of the task, without making it yet.
    fn stage(&self, task: &Arc<Task>, group: &[Waiting]) -> Staged {
        let now = Instant::now();
        let mut rules = task.lock_rules();
        // Encoding a group takes a while, and only publishers wait for it: they
        // are kept out by the rules, so readers may have the log meanwhile.
        let log = task.topic().lock();
        let closed = log.closed;
        let epoch = log.epoch().clone();
        let mut next = log.head_offset().next();
        let mut snapshot = snapshot_of(task.id(), &log);
        drop(log);
        let mut after: Option<StoredRules> = None;
        let mut ids: HashMap<&EventId, Offset> = HashMap::new();
        let mut events = Vec::new();
        let mut verdicts = Vec::with_capacity(group.len());
        for Waiting { prepared, .. } in group {
            let event = &prepared.event;
            if let Err(why) = self.repeated(&mut rules, prepared, now, || epoch.clone()) {
                verdicts.push(Verdict::Refused { why, anyway: true });
                continue;
            }
            let known = event.event_id.as_ref().and_then(|id| ids.get(id));
            if let Some(offset) = known {
                verdicts.push(Verdict::Repeats(*offset));
                continue;
            }
            let producers = after
                .as_ref()
                .map_or(&rules.producers, |rules| &rules.producers);
            let admitted = match closed {
                true => Err(Refused::Removed),
                false => self
                    .fence(producers, prepared)
                    .and_then(|()| self.check_state(&snapshot, prepared)),
            };
            if let Err(why) = admitted {
                let anyway = events.is_empty();
                verdicts.push(Verdict::Refused { why, anyway });
                continue;
            }
            let at = self.config.clock.now();
            let mut json = Vec::with_capacity(event.data.as_str().len() + 160);
            let data = encode_event(&mut json, task.id(), next, at, event);
            let state = Arc::make_mut(&mut snapshot);
            state.apply(&prepared.payload, next, at);
            let status = state.status;
            let before = after
                .as_ref()
                .map_or_else(|| rules.lease_ms(), |rules| rules.lease_ms);
            let lease_ms = lease_after(before, &prepared.payload, status);
            if event.producer.is_some() || lease_ms != before {
                let after = after.get_or_insert_with(|| rules.stored());
                after.lease_ms = lease_ms;
                if let Some(stamp) = &event.producer {
                    after.producers.record(stamp);
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
                at,
            };
            verdicts.push(Verdict::Taken(line, status));
            next = next.next();
        }
        let append = (!events.is_empty()).then(|| Append {
            task_id: task.id().clone(),
            epoch,
            events,
            snapshot,
            rules: after.map(Arc::new),
        });
        Staged { verdicts, append }
    }

    /// Makes stored events visible, and answers.
    fn reveal(
        self: &Arc<Self>,
        task: &Arc<Task>,
        group: Vec<Waiting>,
        verdicts: Vec<Verdict>,
        snapshot: &Arc<TaskSnapshot>,
    ) {
        let now = Instant::now();
        let mut answers = Vec::with_capacity(group.len());
        let mut settled = Vec::with_capacity(group.len());
        let mut rules = task.lock_rules();
        let mut log = task.topic().lock();
        let closed = log.closed;
        let published = |offset, duplicate| Published {
            epoch: snapshot.epoch.clone(),
            offset,
            duplicate,
        };
        for (waiting, verdict) in group.iter().zip(verdicts) {
            answers.push(match verdict {
                _ if closed => Err(Refused::Removed),
                Verdict::Taken(line, status) => {
                    let offset = line.offset;
                    self.lay_down(&mut log, line);
                    settled.push((&waiting.prepared, offset, status));
                    Ok(published(offset, false))
                }
                Verdict::Repeats(offset) => {
                    self.counters.duplicates.fetch_add(1, Ordering::Relaxed);
                    Err(Refused::Answer(Ok(published(offset, true))))
                }
                Verdict::Refused { why, .. } => Err(why),
            });
        }
        if !closed {
            log.snapshot = Some(Arc::clone(snapshot));
            self.note_first(&mut log, task.id());
            task.topic().mirror(&log);
        }
        drop(log);
        for (prepared, offset, status) in settled {
            self.settle(task, &mut rules, prepared, offset, Some(status), now);
        }
        drop(rules);
        for (waiting, answer) in group.into_iter().zip(answers) {
            // Whoever stopped waiting has its reasons.
            let _ = waiting.answer.send(answer);
        }
    }
}

/// The lease of a task, in milliseconds, after an event that made it `status`.
fn lease_after(before: Option<u64>, payload: &Payload, status: TaskStatus) -> Option<u64> {
    match payload {
        _ if status.is_terminal() => None,
        Payload::TaskStarted(started) => started.lease_ms,
        _ => before,
    }
}

/// Takes the first of what waits, one at least.
fn take(waiting: &mut VecDeque<Waiting>, most: usize) -> Vec<Waiting> {
    let mut bytes = 0;
    let fits = |waiting: &&Waiting| {
        let first = bytes == 0;
        bytes += waiting.prepared.event.data.as_str().len();
        first || bytes <= MAX_BYTES
    };
    let count = waiting.iter().take(most).take_while(fits).count();
    waiting.drain(..count).collect()
}

/// Answers a group of which nothing is to be stored.
fn answer(group: Vec<Waiting>, verdicts: Vec<Verdict>) {
    for (waiting, verdict) in group.into_iter().zip(verdicts) {
        if let Verdict::Refused { why, .. } = verdict {
            let _ = waiting.answer.send(Err(why));
        }
    }
}

/// Answers a group that the store did not take.
fn refuse(group: Vec<Waiting>, verdicts: Vec<Verdict>, error: StoreError) {
    let error = PublishError::Unavailable(Arc::new(error));
    let mut verdicts = verdicts.into_iter();
    for waiting in group {
        let why = match verdicts.next() {
            Some(Verdict::Refused { why, anyway: true }) => why,
            _ => error.clone().into(),
        };
        let _ = waiting.answer.send(Err(why));
    }
}
