//! The messages other than events: announcements, gaps, resets.

use std::sync::Arc;

use tidings_bus::watch::Start;
use tidings_bus::{Next, Topic};
use tidings_protocol::{
    ControlMessage, Epoch, Gap, GapReason, Joined, Offset, ResetReason, Target, TaskId,
    TaskSnapshot,
};

use super::Encoder;
use crate::auth::Access;
use crate::opening::{Opening, OpeningKind};
use crate::subscription::Sub;

/// Returns the state of a task before its first event.
fn before_the_first(task_id: TaskId, epoch: Epoch, access: &Access) -> Joined {
    Joined {
        permissions: access.told(&task_id),
        snapshot: Arc::new(TaskSnapshot::new(task_id.clone(), epoch.clone())),
        task_id,
        epoch,
        offset: Offset::ZERO,
        recovered: true,
    }
}

/// Appends a notice of a reader: any message other than an event.
pub(super) fn of_reader(
    sub: &Sub,
    topic: &Topic,
    notice: Next,
    encoder: &impl Encoder,
    into: &mut Vec<u8>,
) {
    let task_id = sub.source.task_id().cloned();
    match (notice, task_id) {
        (Next::Gap(gap), task_id) => of_gap(task_id, topic, gap, encoder, into),
        (Next::Reset(reason), Some(task_id)) => {
            let offset = sub.reader.cursor().delivered();
            of_reset(task_id, topic, reason, offset, encoder, into);
        }
        (Next::Begun, Some(task_id)) => {
            // The task has begun in this epoch. The client has watched it since before its first
            // event.
            let state = before_the_first(task_id, topic.standing().epoch, encoder.access());
            encoder.control(&ControlMessage::subscribed(None, None, state), into);
        }
        _ => {}
    }
}

/// Joins the log and announces the subscription. The cursor is valid from here on.
pub(super) fn open(
    sub: &mut Sub,
    topic: &Topic,
    opening: &Opening,
    encoder: &impl Encoder,
    into: &mut Vec<u8>,
) {
    let mut joined = topic.join(&opening.start);
    if let OpeningKind::Appeared { .. } = opening.kind
        && !joined.recovered
    {
        // The task is announced from its first event on. This already says that its earlier log
        // has ended.
        joined = topic.join(&Start::Retained);
    }
    sub.reader.set_cursor(joined.cursor);
    sub.last_heartbeat = joined.cursor.into();
    let task_id = sub.source.task_id().cloned();
    if let (Some(task_id), Some(snapshot)) = (&task_id, &joined.standing.snapshot) {
        let state = Joined {
            task_id: task_id.clone(),
            epoch: joined.standing.epoch.clone(),
            offset: joined.standing.offset,
            recovered: joined.recovered,
            snapshot: Arc::clone(snapshot),
            permissions: encoder.access().told(task_id),
        };
        announce(&opening.kind, state, encoder, into);
        for tree in &opening.trees {
            let message = ControlMessage::subscribed_member(tree.clone(), task_id.clone());
            encoder.control(&message, into);
        }
    }
    if let (true, Some(task_id)) = (joined.ahead, task_id) {
        let offset = joined.cursor.delivered();
        of_reset(task_id, topic, ResetReason::Ahead, offset, encoder, into);
    }
}

fn announce(kind: &OpeningKind, state: Joined, encoder: &impl Encoder, into: &mut Vec<u8>) {
    match kind {
        OpeningKind::Established { preface } => {
            into.extend_from_slice(preface);
            encoder.control(&encoder.established(Some(state)), into);
        }
        OpeningKind::Subscribed { reference, group } => {
            let through = group.clone().map(Target::from);
            let message = ControlMessage::subscribed(reference.clone(), through, state);
            encoder.control(&message, into);
        }
        OpeningKind::Appeared { group } => {
            // The client gets the state from before the first event, even if events have followed
            // since. The events, or a gap, then start at offset 1.
            let state = before_the_first(state.task_id, state.epoch, encoder.access());
            let through = group.clone().map(Target::from);
            let message = ControlMessage::subscribed(None, through, state);
            encoder.control(&message, into);
        }
        OpeningKind::Silent => {}
    }
}

fn of_reset(
    task_id: TaskId,
    topic: &Topic,
    reason: ResetReason,
    offset: Offset,
    encoder: &impl Encoder,
    into: &mut Vec<u8>,
) {
    // Only an inbox has no snapshot, and the log of an inbox never starts over.
    let Some(snapshot) = topic.snapshot() else {
        return;
    };
    encoder.counters().reset(reason);
    let message = ControlMessage::reset(task_id, reason, offset, snapshot);
    encoder.control(&message, into);
}

fn of_gap(
    task_id: Option<TaskId>,
    topic: &Topic,
    gap: Gap,
    encoder: &impl Encoder,
    into: &mut Vec<u8>,
) {
    encoder.counters().gap(&gap);
    let snapshot = match gap.reason {
        GapReason::Conflated => None,
        _ => topic.snapshot(),
    };
    encoder.control(&ControlMessage::gap(task_id, gap, snapshot), into);
}
