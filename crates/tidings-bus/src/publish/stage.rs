//! Decides about a group of events, without changing anything. Pure.
//!
//! Events are checked one after the other, each against the state that those before it would
//! create. An event is accepted, repeats an earlier one, or is refused. All accepted events of a
//! group are stored together.

use std::collections::HashMap;
use std::sync::Arc;

use tidings_protocol::{
    Admission, Epoch, EventId, InvalidTransition, Offset, Payload, ProducerLedger, TaskId,
    TaskSnapshot, TaskStatus, Timestamp, encode_event,
};
use tokio::time::Instant;

use crate::config::BusConfig;
use crate::log::{Extents, OutputChanges};
use crate::publish::error::{PublishError, Published, Refused};
use crate::publish::prepared::{Prepared, opened, opens_new_run, placed, text_at};
use crate::store::line::{Line, output_of};
use crate::store::{Append, StoreError, StoredEvent, StoredRules};
use crate::tasks::listed::Listed;
use crate::tasks::starts::Starts;
use crate::tasks::task::Rules;

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

/// A task before a group of events.
pub(crate) struct Before<'a> {
    pub(crate) task_id: &'a TaskId,
    pub(crate) epoch: Epoch,
    pub(crate) head: Offset,
    /// The state at the head of the log.
    pub(crate) snapshot: Arc<TaskSnapshot>,
    /// The kept parts of the outputs. `None` if no event of the group changes them.
    pub(crate) outputs: Option<Extents>,
    pub(crate) rules: &'a mut Rules,
    /// Whether the task has left memory, or must be read first.
    pub(crate) gone: bool,
    pub(crate) now: Instant,
}

/// Events that are checked, but not stored yet.
pub(crate) struct Staged {
    /// The decisions, in the order of the group.
    pub(crate) verdicts: Vec<Verdict>,
    /// The append for the store, or `None` if nothing needs to be stored.
    pub(crate) append: Option<Append>,
    /// The state after the accepted events.
    pub(crate) snapshot: Arc<TaskSnapshot>,
    /// The kept parts of the outputs after the append, and their changes, if there are any.
    pub(crate) outputs: Option<(Extents, Arc<OutputChanges>)>,
    /// Whether the events need the task's rules, and this node's copy of them is old. The events
    /// must then be checked again.
    outdated: bool,
}

/// The next step for checked events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Store the events.
    Store,
    /// Answer the events. Nothing needs to be stored.
    Answer,
    /// Take in the events of other nodes, and check the group again.
    CatchUp,
}

impl Staged {
    /// Returns the next step. `current` means that this node's copy of the task is known to be
    /// current.
    ///
    /// An append shows whether the copy is current. Without an append, the copy may be old, and
    /// only the store can tell whether the refusals are right.
    pub(crate) fn next(&self, current: bool) -> Next {
        match &self.append {
            _ if self.outdated && !current => Next::CatchUp,
            Some(_) => Next::Store,
            None if !current && self.verdicts.iter().any(Verdict::is_answer) => Next::CatchUp,
            None => Next::Answer,
        }
    }
}

/// The meaning of a store's answer for the events of one task.
#[derive(Debug)]
pub(crate) enum Stored {
    /// The events are stored.
    All,
    /// Another node was faster. Take in its events, and check the group again.
    Behind,
    /// The answer concerns one event of several. Store each event alone.
    OneOfSeveral,
    /// The only event was stored before, at this offset.
    Repeats(Offset),
    /// The store refused the events.
    Refused(StoreError),
}

impl Stored {
    /// Reads the answer for a group of `events` events.
    pub(crate) fn of(answer: Result<(), StoreError>, events: usize) -> Self {
        match answer {
            Ok(()) => Self::All,
            Err(StoreError::Conflict { .. }) => Self::Behind,
            Err(StoreError::Duplicate { .. }) if events > 1 => Self::OneOfSeveral,
            Err(StoreError::Duplicate { offset }) => Self::Repeats(offset),
            Err(error) => Self::Refused(error),
        }
    }
}

/// Decides about a group of events. `check` decides whether a state allows an event.
pub(crate) fn stage<'a>(
    before: Before<'_>,
    config: &BusConfig,
    group: impl Iterator<Item = &'a Prepared>,
    check: impl Fn(&TaskSnapshot, &Prepared) -> Result<(), PublishError>,
) -> Staged {
    let head = before.head;
    let mut stage = Stage {
        config,
        task_id: before.task_id,
        rules: before.rules,
        gone: before.gone,
        now: before.now,
        head,
        next: head.next(),
        snapshot: before.snapshot,
        outputs: before.outputs.map(|kept| (kept, OutputChanges::default())),
        rules_after: None,
        ids: HashMap::new(),
        events: Vec::new(),
        stamped: false,
    };
    let verdicts = group
        .map(|prepared| stage.decide(prepared, &check))
        .collect();
    let outdated = stage.rules.outdated && (stage.rules_after.is_some() || stage.stamped);
    let outputs = stage.outputs.filter(|(_, changes)| !changes.is_empty());
    let outputs = outputs.map(|(kept, changes)| (kept, Arc::new(changes)));
    let append = (!stage.events.is_empty()).then(|| Append {
        task_id: before.task_id.clone(),
        epoch: before.epoch,
        events: stage.events,
        snapshot: Arc::clone(&stage.snapshot),
        rules: stage.rules_after.map(Arc::new),
        outputs: outputs.as_ref().map(|(_, changes)| Arc::clone(changes)),
    });
    Staged {
        verdicts,
        append,
        snapshot: stage.snapshot,
        outputs,
        outdated,
    }
}

/// A task after the events that were decided so far.
struct Stage<'a> {
    config: &'a BusConfig,
    task_id: &'a TaskId,
    rules: &'a mut Rules,
    gone: bool,
    now: Instant,
    /// The newest offset before the group.
    head: Offset,
    next: Offset,
    snapshot: Arc<TaskSnapshot>,
    outputs: Option<(Extents, OutputChanges)>,
    /// The rules after the accepted events, if these change the rules.
    rules_after: Option<StoredRules>,
    /// The ids of the accepted events.
    ids: HashMap<&'a EventId, Offset>,
    events: Vec<StoredEvent>,
    /// Whether an event has a producer's stamp.
    stamped: bool,
}

impl<'a> Stage<'a> {
    fn decide(
        &mut self,
        prepared: &'a Prepared,
        check: &impl Fn(&TaskSnapshot, &Prepared) -> Result<(), PublishError>,
    ) -> Verdict {
        self.stamped |= prepared.event.producer.is_some();
        let alone = self.events.is_empty();
        let admitted = match self.accepted_before(prepared) {
            Ok(Some(offset)) => return self.repeated(prepared, offset),
            _ if self.gone => Err(Refused::Removed),
            Ok(None) => still_due(self.rules, &self.snapshot, prepared, alone)
                .and_then(|()| Ok(check(&self.snapshot, prepared)?)),
            Err(why) => Err(why),
        };
        match admitted {
            Ok(()) => self.accept(prepared),
            Err(why) => Verdict::Refused { why, anyway: alone },
        }
    }

    /// Returns the offset of an event that was accepted before, in this group or earlier.
    fn accepted_before(&mut self, prepared: &Prepared) -> Result<Option<Offset>, Refused> {
        let id = prepared.event.event_id.as_ref();
        if let Some(offset) = id.and_then(|id| self.ids.get(id)) {
            return Ok(Some(*offset));
        }
        let (rules, after) = (&mut *self.rules, &self.rules_after);
        let producers = after.as_ref().map(|after| &after.producers);
        accepted_before(rules, producers, prepared, (self.now, self.config))
    }

    fn repeated(&self, prepared: &Prepared, offset: Offset) -> Verdict {
        // If the repeated event is in this group, both are stored or neither is.
        let some = self.next > self.head.next();
        if offset > self.head || (offset == Offset::ZERO && some) {
            let run = self.starts().run_at(offset, self.snapshot.run);
            return Verdict::Repeats(offset, opened(prepared, run));
        }
        let why = repeat(self.starts(), &self.snapshot, prepared, offset);
        Verdict::Refused { why, anyway: true }
    }

    /// Returns the starts, those of this group included.
    fn starts(&self) -> &Starts {
        let after = self.rules_after.as_ref();
        after.map_or(&self.rules.starts, |after| &after.starts)
    }

    fn accept(&mut self, prepared: &'a Prepared) -> Verdict {
        let (event, offset) = (&prepared.event, self.next);
        let at = self.config.clock.now();
        let kept = self.outputs.as_ref().map(|(kept, _)| kept);
        let text_at = text_at(kept, Some(&self.snapshot), &prepared.payload);
        let mut json = Vec::with_capacity(event.data.as_str().len() + 160);
        let data = encode_event(&mut json, self.task_id, offset, at, text_at, event);
        self.apply(&placed(&prepared.payload, text_at), at);
        let listed = Listed::of(&self.snapshot);
        let run = opened(prepared, Some(self.snapshot.run));
        self.change_rules(prepared, listed.status, run);
        if let Some(id) = &event.event_id {
            self.ids.insert(id, offset);
        }
        let json: Arc<[u8]> = json.into();
        self.events.push(StoredEvent {
            offset,
            json: Arc::clone(&json),
        });
        let line = Line {
            offset,
            json,
            data: (data.start, data.end),
            event_type: event.event_type.clone(),
            output: output_of(&prepared.payload),
            at,
        };
        self.next = offset.next();
        Verdict::Taken(line, listed, run)
    }

    fn apply(&mut self, payload: &Payload, at: Timestamp) {
        let new_run = opens_new_run(&self.snapshot);
        Arc::make_mut(&mut self.snapshot).apply(payload, self.next, at);
        if let Some((kept, changes)) = &mut self.outputs {
            let limits = self.config.output_limits;
            kept.take((payload, self.next), new_run, limits, changes);
        }
    }

    fn change_rules(&mut self, prepared: &Prepared, status: TaskStatus, run: Option<u32>) {
        let stamp = prepared.event.producer.as_ref();
        let after = self.rules_after.as_ref();
        let before = after.map_or_else(|| self.rules.lease_ms(), |after| after.lease_ms);
        let lease_ms = lease_after(before, &prepared.payload, status);
        if stamp.is_none() && run.is_none() && lease_ms == before {
            return;
        }
        let after = self.rules_after.get_or_insert_with(|| self.rules.stored());
        after.lease_ms = lease_ms;
        if let Some(stamp) = stamp {
            after.producers.record(stamp, self.next);
        }
        if run.is_some() {
            after.starts.note(self.next);
        }
    }
}

/// Returns the offset of an event that was accepted before, under its id or its producer's
/// `seq`. Returns zero if the offset is no longer known. `producers` are those after earlier
/// events of the same group.
pub(crate) fn accepted_before(
    rules: &mut Rules,
    producers: Option<&ProducerLedger>,
    prepared: &Prepared,
    (now, config): (Instant, &BusConfig),
) -> Result<Option<Offset>, Refused> {
    if let Some(id) = &prepared.event.event_id {
        let found = rules.ids.find(id, now, config.idempotency_ttl);
        if found.is_some() {
            return Ok(found);
        }
    }
    fence(producers.unwrap_or(&rules.producers), prepared)
}

/// Checks the event's producer against the ledger. Returns `None` for a new event, and the
/// offset of an event that was accepted before.
fn fence(producers: &ProducerLedger, prepared: &Prepared) -> Result<Option<Offset>, Refused> {
    let Some(stamp) = &prepared.event.producer else {
        return Ok(None);
    };
    match producers.check(stamp) {
        Ok(Admission::New) => Ok(None),
        Ok(Admission::Repeat { offset }) => Ok(Some(offset.unwrap_or(Offset::ZERO))),
        Err(error) => Err(PublishError::from(error).into()),
    }
}

/// Answers an event that was accepted before.
pub(crate) fn repeat(
    starts: &Starts,
    state: &TaskSnapshot,
    prepared: &Prepared,
    offset: Offset,
) -> Refused {
    Refused::Answer(Ok(Published {
        epoch: state.epoch.clone(),
        offset,
        duplicate: true,
        run: opened(prepared, starts.run_at(offset, state.run)),
    }))
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
    Err(not_now(snapshot, prepared).into())
}

/// Returns the error of an event that the task's state does not allow now.
pub(crate) fn not_now(state: &TaskSnapshot, prepared: &Prepared) -> PublishError {
    InvalidTransition::new(state.status, prepared.event.event_type.clone()).into()
}

/// Returns a task's lease in milliseconds, after an event that gave the task this status.
fn lease_after(before: Option<u64>, payload: &Payload, status: TaskStatus) -> Option<u64> {
    match payload {
        _ if status.is_terminal() => None,
        Payload::TaskStarted(started) => started.lease_ms,
        _ => before,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidings_protocol::{Data, EventType, NewEvent, ProducerStamp};

    use super::*;
    use crate::ledger::Ledger;

    /// An event of a producer: its kind, its id, and its stamp.
    #[derive(Debug, Clone)]
    struct Asked {
        kind: usize,
        id: Option<u8>,
        stamp: Option<(u64, u64)>,
    }

    fn asked() -> impl Strategy<Value = Asked> {
        let id = prop::option::weighted(0.4, 0u8..6);
        let stamp = prop::option::weighted(0.4, (1u64..3, 1u64..6));
        (0usize..6, id, stamp).prop_map(|(kind, id, stamp)| Asked { kind, id, stamp })
    }

    fn prepared(asked: &Asked) -> Prepared {
        let (event_type, data) = match asked.kind {
            0 => (EventType::TaskStarted, r#"{"name":"work","lease_ms":1000}"#),
            1 => (EventType::TaskStarted, r#"{"name":"work"}"#),
            2 => (EventType::ProgressUpdate, r#"{"progress":40.0}"#),
            3 => (EventType::OutputDelta, r#"{"output_id":"o","text":"word"}"#),
            4 => (EventType::TaskCompleted, "{}"),
            _ => (EventType::Log, r#"{"message":"line"}"#),
        };
        let mut event = NewEvent::new(event_type, Data::parse(data).unwrap());
        event.event_id = asked.id.map(|id| EventId::new(format!("id-{id}")).unwrap());
        event.producer = asked.stamp.map(|(epoch, seq)| {
            let stamp = format!(r#"{{"id":"p","epoch":{epoch},"seq":{seq}}}"#);
            serde_json::from_str::<ProducerStamp>(&stamp).unwrap()
        });
        Prepared::new(event, usize::MAX).unwrap()
    }

    /// A task as it is after stored events.
    struct Task {
        snapshot: Arc<TaskSnapshot>,
        outputs: Extents,
        rules: Rules,
        now: Instant,
        config: BusConfig,
    }

    impl Task {
        fn new() -> Self {
            let config = BusConfig::default();
            let (id, epoch) = (TaskId::new("t").unwrap(), Epoch::new("e").unwrap());
            let now = Instant::now();
            let ledger = Ledger::new(config.ledger_limits());
            Self {
                snapshot: Arc::new(TaskSnapshot::new(id, epoch)),
                outputs: Extents::default(),
                rules: Rules::new(now, ledger.own()),
                now,
                config,
            }
        }

        fn stage(&mut self, group: &[Prepared]) -> Staged {
            let task_id = self.snapshot.task_id.clone();
            let before = Before {
                task_id: &task_id,
                epoch: self.snapshot.epoch.clone(),
                head: self.snapshot.offset,
                snapshot: Arc::clone(&self.snapshot),
                outputs: Some(self.outputs.clone()),
                rules: &mut self.rules,
                gone: false,
                now: self.now,
            };
            let check = |state: &TaskSnapshot, prepared: &Prepared| {
                Ok(state.check(&prepared.event.event_type)?)
            };
            stage(before, &self.config, group.iter(), check)
        }

        /// Stores the accepted events.
        fn take(&mut self, group: &[Prepared], staged: &Staged) {
            for (prepared, verdict) in group.iter().zip(&staged.verdicts) {
                let Verdict::Taken(line, _, run) = verdict else {
                    continue;
                };
                if let Some(id) = &prepared.event.event_id {
                    let max = self.config.idempotency_ids;
                    self.rules
                        .ids
                        .remember(id.clone(), line.offset, self.now, max);
                }
                if let Some(stamp) = &prepared.event.producer {
                    self.rules.producers.record(stamp, line.offset);
                }
                if run.is_some() {
                    self.rules.starts.note(line.offset);
                }
            }
            self.snapshot = Arc::clone(&staged.snapshot);
            if let Some((kept, _)) = &staged.outputs {
                self.outputs = kept.clone();
            }
        }
    }

    /// The answer to an event, without the times in it.
    fn answer(verdict: &Verdict) -> String {
        match verdict {
            Verdict::Taken(line, _, run) => format!("accepted {} {run:?}", line.offset),
            Verdict::Repeats(offset, run) => format!("repeats {offset} {run:?}"),
            Verdict::Refused { why, .. } => match why {
                Refused::Answer(Ok(known)) => format!("repeats {} {:?}", known.offset, known.run),
                Refused::Answer(Err(error)) => format!("refused {error}"),
                Refused::Removed => "removed".into(),
            },
        }
    }

    proptest! {
        /// A group of events gets the answers that its events would get one after the other.
        #[test]
        fn a_group_is_decided_as_its_events_one_by_one(
            groups in prop::collection::vec(prop::collection::vec(asked(), 1..8), 1..4),
        ) {
            let (mut together, mut alone) = (Task::new(), Task::new());
            for group in &groups {
                let group: Vec<_> = group.iter().map(prepared).collect();
                let staged = together.stage(&group);
                let first = together.snapshot.offset.get() + 1;
                let mut accepted = Vec::new();
                for (event, verdict) in group.chunks(1).zip(&staged.verdicts) {
                    let one = alone.stage(event);
                    prop_assert_eq!(answer(&one.verdicts[0]), answer(verdict));
                    alone.take(event, &one);
                    accepted.extend(one.append.into_iter().flat_map(|append| append.events));
                }
                let offsets: Vec<_> = accepted.iter().map(|event| event.offset.get()).collect();
                let last = first + offsets.len() as u64;
                prop_assert_eq!(&offsets, &(first..last).collect::<Vec<_>>());
                let stored = staged.append.as_ref().map_or(&[][..], |append| &append.events);
                let stored: Vec<_> = stored.iter().map(|event| event.offset.get()).collect();
                prop_assert_eq!(stored, offsets);
                if let Some(rules) = staged.append.as_ref().and_then(|append| append.rules.clone()) {
                    prop_assert_eq!(&rules.producers, &alone.rules.producers);
                    prop_assert_eq!(&rules.starts, &alone.rules.starts);
                }
                together.take(&group, &staged);
                prop_assert_eq!(together.snapshot.offset, alone.snapshot.offset);
                prop_assert_eq!(together.snapshot.status, alone.snapshot.status);
                prop_assert_eq!(together.snapshot.run, alone.snapshot.run);
                let outputs = [&together.outputs, &alone.outputs].map(|kept| format!("{kept:?}"));
                prop_assert_eq!(&outputs[0], &outputs[1]);
            }
        }
    }
}
