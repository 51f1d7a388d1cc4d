//! From a producer's event to a record in the log.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;
use tidings_protocol::{
    Admission, Epoch, ErrorCode, FenceError, IdError, InvalidEvent, InvalidTransition, ItemId,
    Lease, NewEvent, Offset, OutputDelta, Payload, PendingInput, ProducerLedger, TaskSnapshot,
    encode_event,
};
use tokio::time::Instant;

use crate::ledger::Account;
use crate::log::{Appended, Extents, Log};
use crate::shared::Shared;
use crate::store::StoreError;
use crate::tasks::eviction::Lane;
use crate::tasks::lease::Expiry;
use crate::tasks::listing::Listed;
use crate::tasks::questions::Unfit;
use crate::tasks::task::{Rules, Task};
use crate::tasks::trees::forest::TreeError;

/// The answer to a publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Published {
    /// The epoch of `offset`.
    pub epoch: Epoch,
    /// The event's place in its task's log.
    pub offset: Offset,
    /// Whether the event was accepted before, under its `event_id` or its producer's `seq`. If so,
    /// it was not published again. `offset` is then the original one, or 0 if it is no longer
    /// known.
    pub duplicate: bool,
    /// The run that a `task_started` event has opened, or `None` for other events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<u32>,
}

/// The reason why an event was refused. Nothing has changed, unless a variant says that the
/// outcome is not known.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The event's data does not fit its type. Correct the data.
    #[error(transparent)]
    Invalid(#[from] InvalidEvent),
    /// The task's status does not allow the event: the report is late or repeated.
    #[error(transparent)]
    Transition(#[from] InvalidTransition),
    /// Another run of the producer has taken over, or one of its events is missing.
    #[error(transparent)]
    Fenced(#[from] FenceError),
    /// The event names a run that has ended or never existed. Stop reporting for that run.
    #[error("the event belongs to run {named}, the task's current run is {current}")]
    WrongRun {
        /// The run that the event names.
        named: u32,
        /// The task's current run, or 0 before the first.
        current: u32,
    },
    /// The event is too large. Publish a link instead.
    #[error("the event has {size} bytes, {max} are allowed")]
    TooLarge {
        /// The size of the event's data in bytes.
        size: usize,
        /// The largest size allowed, in bytes.
        max: usize,
    },
    /// The store did not confirm the event, but it may have stored it. Try again with the same
    /// `event_id`. The answer then says whether the event was stored.
    #[error("the event could not be stored")]
    Unavailable(#[source] Arc<StoreError>),
    /// No task can have this id. Correct the id.
    #[error("the task has no valid id")]
    InvalidTaskId(#[from] IdError),
    /// The task has ended, so nothing can be reported for it any more.
    #[error("the task has ended and accepts no more reports")]
    Ended,
    /// The question of this answer has an answer already, or has expired. Read the task's state.
    #[error("the question `{input_id}` {}", How(.by.as_deref()))]
    QuestionEnded {
        /// The question.
        input_id: ItemId,
        /// The subject that has answered the question. `None` if the question expired.
        by: Option<String>,
    },
    /// The task has ended, and its questions with it. Nobody waits for the answer any more.
    #[error("the task has ended, and the question `{input_id}` with it")]
    QuestionDropped {
        /// The question.
        input_id: ItemId,
    },
    /// The task has no such open question. It was never asked, it ended with an older run, or
    /// newer questions have displaced it from the state.
    #[error("the task has no open question `{input_id}`")]
    NoQuestion {
        /// The question.
        input_id: ItemId,
    },
    /// The value does not answer the question, which stays open. Correct the value.
    #[error("the value does not answer `{input_id}`")]
    UnfitAnswer {
        /// The question.
        input_id: ItemId,
        /// The reason why the value does not fit.
        #[source]
        reason: Unfit,
    },
    /// Another question with this id was asked in the meantime. Read it, and answer that
    /// question.
    #[error("the question `{input_id}` was asked anew meanwhile")]
    QuestionChanged {
        /// The question.
        input_id: ItemId,
    },
    /// The task cannot have the parent that it names. Name another parent.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The schema of a question cannot be used. Correct the schema.
    #[error("input_required: `schema` cannot be used")]
    Schema(#[source] Unfit),
    /// The bus was shut down. The store may have stored an event that was on its way.
    #[error("the bus is closed")]
    Closed,
}

/// How a question ended.
struct How<'a>(Option<&'a str>);

impl std::fmt::Display for How<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(by) => write!(f, "was answered by {by}"),
            None => f.write_str("has expired"),
        }
    }
}

impl PublishError {
    /// Returns the protocol's code for this error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::InvalidEvent,
            Self::QuestionEnded { by: Some(_), .. } => ErrorCode::AlreadyAnswered,
            Self::QuestionEnded { .. }
            | Self::QuestionDropped { .. }
            | Self::NoQuestion { .. }
            | Self::QuestionChanged { .. } => ErrorCode::InputNotOpen,
            Self::Transition(_) | Self::Ended => ErrorCode::InvalidTransition,
            Self::Schema(_) | Self::Tree(_) | Self::UnfitAnswer { .. } => ErrorCode::InvalidEvent,
            Self::Fenced(error) => error.code(),
            Self::WrongRun { .. } => ErrorCode::WrongRun,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::InvalidTaskId(_) => ErrorCode::InvalidTaskId,
            Self::Unavailable(_) | Self::Closed => ErrorCode::Unavailable,
        }
    }
}

/// An event that has passed every check that does not involve a task.
pub(crate) struct Prepared {
    pub(crate) event: NewEvent,
    pub(crate) payload: Payload,
    /// The account that is charged for the task if this is its first event. `None` charges the bus.
    pub(crate) account: Option<Account>,
    /// The expiry that this event ends, if the bus publishes the event for that reason.
    pub(crate) expiry: Option<Expiry>,
    /// The question that the event ends. Boxed, because few events end one.
    pub(crate) question: Option<Box<PendingInput>>,
}

impl Prepared {
    pub(crate) fn new(event: NewEvent, max: usize) -> Result<Self, PublishError> {
        let payload = payload_of(&event, max)?;
        Ok(Self::of(None, event, payload))
    }

    pub(crate) fn of(account: Option<&Account>, event: NewEvent, payload: Payload) -> Self {
        Self {
            event,
            payload,
            account: account.cloned(),
            expiry: None,
            question: None,
        }
    }
}

/// Reads an event's data, if it has at most `max` bytes.
pub(crate) fn payload_of(event: &NewEvent, max: usize) -> Result<Payload, PublishError> {
    let size = event.data.as_str().len();
    if size > max {
        return Err(PublishError::TooLarge { size, max });
    }
    Ok(Payload::parse(&event.event_type, &event.data)?)
}

impl From<PublishError> for Refused {
    fn from(error: PublishError) -> Self {
        Self::Answer(Err(error))
    }
}

/// Why an event was not appended.
pub(crate) enum Refused {
    /// The answer is known without an append: an error, or the offset of a repeated event.
    Answer(Result<Published, PublishError>),
    /// The task has left the registry in the meantime. Look it up again.
    Removed,
}

thread_local! {
    /// The buffer in which an event's text is written before it goes to its log.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Shared {
    /// Publishes to a task. The caller holds the lock of the task's rules, and wakes the topic
    /// afterwards.
    pub(crate) fn append(
        self: &Arc<Self>,
        task: &Arc<Task>,
        rules: &mut Rules,
        prepared: &Prepared,
        now: Instant,
    ) -> Result<Published, Refused> {
        let _open = self.enter().map_err(|closed| self.refuse(closed))?;
        let before = self.accepted_before(rules, prepared, now)?;
        if let Some(offset) = before {
            let state = task.snapshot();
            return Err(self.repeat(rules, &state, prepared, offset));
        }
        let mut log = task.topic().lock();
        self.check(task, &log, prepared)?;
        if log.head() == 0 {
            let payer = self.payer(prepared.account.as_ref());
            log.charge_to(payer);
            rules.charge_to(payer);
        }
        let at = self.config.clock.now();
        let extents = Some(log.outputs.extents());
        let text_at = text_at(extents, log.snapshot.as_deref(), &prepared.payload);
        let waiting = log.waiting();
        let offset = SCRATCH.with_borrow_mut(|scratch| {
            log.append(
                self.framing(),
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
        self.trim(&mut log);
        let offset = Offset::new(offset).unwrap_or(Offset::MAX);
        let payload = placed(&prepared.payload, text_at);
        let new_run = log.snapshot.as_ref().is_some_and(opens_new_run);
        if let Some(snapshot) = &mut log.snapshot {
            Arc::make_mut(snapshot).apply(&payload, offset, at);
        }
        let listed = log.snapshot.as_deref().map(Listed::of);
        let run = log.snapshot.as_ref().map(|snapshot| snapshot.run);
        log.outputs
            .take((&payload, offset), new_run, self.config.output_limits);
        let published = Published {
            epoch: log.epoch().clone(),
            offset,
            duplicate: false,
            run: opened(prepared, run),
        };
        let waiting = log.waiting() - waiting;
        task.topic().mirror(&mut log);
        drop(log);
        self.settle(task, rules, prepared, offset, listed, now);
        if let Some(behind) = &self.behind {
            behind.note(task, waiting);
        }
        Ok(published)
    }

    /// Returns the offset of an event that was accepted before, under its id or its producer's
    /// `seq`. Returns zero if the offset is no longer known.
    pub(crate) fn accepted_before(
        &self,
        rules: &mut Rules,
        prepared: &Prepared,
        now: Instant,
    ) -> Result<Option<Offset>, Refused> {
        if let Some(id) = &prepared.event.event_id {
            let found = rules.ids.find(id, now, self.config.idempotency_ttl);
            if found.is_some() {
                return Ok(found);
            }
        }
        self.fence(&rules.producers, prepared)
    }

    /// Answers an event that was accepted before.
    pub(crate) fn repeat(
        &self,
        rules: &Rules,
        state: &TaskSnapshot,
        prepared: &Prepared,
        offset: Offset,
    ) -> Refused {
        self.counters.duplicates.fetch_add(1, Ordering::Relaxed);
        let starts = matches!(prepared.payload, Payload::TaskStarted(_));
        Refused::Answer(Ok(Published {
            epoch: state.epoch.clone(),
            offset,
            duplicate: true,
            run: if starts {
                rules.starts.run_at(offset, state.run)
            } else {
                None
            },
        }))
    }

    /// Checks the event's producer against the ledger. Returns `None` for a new event, and the
    /// offset of an event that was accepted before.
    pub(crate) fn fence(
        &self,
        producers: &ProducerLedger,
        prepared: &Prepared,
    ) -> Result<Option<Offset>, Refused> {
        let Some(stamp) = &prepared.event.producer else {
            return Ok(None);
        };
        match producers.check(stamp) {
            Ok(Admission::New) => Ok(None),
            Ok(Admission::Repeat { offset }) => Ok(Some(offset.unwrap_or(Offset::ZERO))),
            Err(error) => Err(self.refuse(error.into())),
        }
    }

    /// Checks the event against the state of the log.
    pub(crate) fn check(&self, task: &Task, log: &Log, prepared: &Prepared) -> Result<(), Refused> {
        if log.closed {
            return Err(Refused::Removed);
        }
        match &log.snapshot {
            Some(snapshot) => self.check_state(task, snapshot, prepared),
            None => Ok(()),
        }
    }

    /// Checks the event against the task's state.
    pub(crate) fn check_state(
        &self,
        task: &Task,
        snapshot: &TaskSnapshot,
        prepared: &Prepared,
    ) -> Result<(), Refused> {
        if let Some(named) = prepared.event.run
            && named != snapshot.run
        {
            let current = snapshot.run;
            return Err(self.refuse(PublishError::WrongRun { named, current }));
        }
        snapshot
            .check(&prepared.event.event_type)
            .map_err(PublishError::from)
            .and_then(|()| match &prepared.payload {
                Payload::InputProvided(_) | Payload::InputExpired(_) => {
                    self.check_question(snapshot, prepared)
                }
                Payload::ChildrenUpdate(_) => Ok(self.check_children(snapshot, prepared)?),
                // Notes that the event is on its way.
                Payload::TaskStarted(_) => Ok(self.check_tree(task.id(), prepared)?),
                _ => Ok(()),
            })
            .map_err(|error| self.refuse(error))
    }

    pub(crate) fn refuse(&self, error: PublishError) -> Refused {
        Refused::Answer(Err(error))
    }

    /// Applies the limits of a log after a change. The caller mirrors the log.
    pub(crate) fn trim(&self, log: &mut Log) {
        let dropped = log.trim(&self.config.log_limits);
        if dropped > 0 {
            self.counters.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
    }

    /// Applies the changes of an accepted event outside the log.
    pub(crate) fn settle(
        self: &Arc<Self>,
        task: &Arc<Task>,
        rules: &mut Rules,
        prepared: &Prepared,
        offset: Offset,
        listed: Option<Listed>,
        now: Instant,
    ) {
        self.counters.published.fetch_add(1, Ordering::Relaxed);
        let bytes = prepared.event.data.as_str().len() as u64;
        self.counters
            .bytes_published
            .fetch_add(bytes, Ordering::Relaxed);
        if let Some(stamp) = &prepared.event.producer {
            rules.producers.record(stamp, offset);
            rules.changes += 1;
        }
        if let Some(id) = &prepared.event.event_id {
            rules
                .ids
                .remember(id.clone(), offset, now, self.config.idempotency_ids);
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
            self.schedule_lease(task, rules);
        } else {
            rules.finished = None;
            self.keep_lease(task, rules, prepared, now);
        }
        self.mark_parents(rules, listed.as_ref());
        self.relist(task, rules, listed);
        self.place(task, rules, Lane::of(ended, true));
    }

    /// Starts or renews the lease of a running task.
    fn keep_lease(&self, task: &Arc<Task>, rules: &mut Rules, prepared: &Prepared, now: Instant) {
        let since_start = || now.duration_since(self.started);
        match &prepared.payload {
            Payload::TaskStarted(started) => {
                let had = rules.lease.is_some();
                rules.changes += u64::from(had || started.lease_ms.is_some());
                rules.lease = started.lease_ms.map(|lease_ms| {
                    Lease::new(std::time::Duration::from_millis(lease_ms), since_start())
                });
                self.schedule_lease(task, rules);
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
}

/// Returns the length of an `output_delta`'s output before its text. Returns `None` for other
/// events. A snapshot has no room for all kept outputs.
pub(crate) fn text_at(
    kept: Option<&Extents>,
    snapshot: Option<&TaskSnapshot>,
    payload: &Payload,
) -> Option<u64> {
    let Payload::OutputDelta(delta) = payload else {
        return None;
    };
    let known = kept.and_then(|kept| kept.find(&delta.output_id));
    let known = known.map(|output| output.length);
    Some(known.or_else(|| length_in(snapshot?, delta)).unwrap_or(0))
}

/// Returns the length of a delta's output according to the task's state.
fn length_in(snapshot: &TaskSnapshot, delta: &OutputDelta) -> Option<u64> {
    let mut outputs = snapshot.outputs.iter().rev();
    let known = outputs.find(|output| output.output_id == delta.output_id);
    known.map(|output| output.length)
}

/// Returns whether a `task_started` opens a new run in this state. The new run starts without
/// the outputs of the last run.
pub(crate) fn opens_new_run(before: &Arc<TaskSnapshot>) -> bool {
    before.status.is_terminal()
}

/// Returns the output that an event adds text to.
pub(crate) fn output_of(payload: &Payload) -> Option<ItemId> {
    match payload {
        Payload::OutputDelta(delta) => Some(delta.output_id.clone()),
        _ => None,
    }
}

/// Returns the payload with the place of its text in the output.
pub(crate) fn placed(payload: &Payload, text_at: Option<u64>) -> Cow<'_, Payload> {
    match payload {
        Payload::OutputDelta(delta) if delta.at != text_at => {
            let mut delta = delta.clone();
            delta.at = text_at;
            Cow::Owned(Payload::OutputDelta(delta))
        }
        _ => Cow::Borrowed(payload),
    }
}

/// Returns the run that an accepted event has opened: `run` for `task_started`.
pub(crate) fn opened(prepared: &Prepared, run: Option<u32>) -> Option<u32> {
    run.filter(|_| matches!(prepared.payload, Payload::TaskStarted(_)))
}
