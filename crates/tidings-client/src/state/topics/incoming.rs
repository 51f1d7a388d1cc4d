//! Passes the server's messages about tasks, patterns and trees to the watches.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_protocol::{
    ErrorCode, Event, Gap, GapReason, Joined, Offset, ResetReason, Target, TaskId, TaskSnapshot,
    UnsubscribeReason,
};
use tokio::time::Instant;

use super::{GroupState, Topics};
use crate::defaults::RETRY_SUBSCRIBE;
use crate::error::WatchError;
use crate::state::queue::Queue;
use crate::state::topic::{Cursor, Fit, Next, Seat, Topic, Wish};
use crate::state::{Output, Wire};
use crate::update::{Start, Update};

impl Topics {
    /// Handles the answer to a ping: forgets the tasks that the server has not
    /// announced before it.
    pub(in crate::state) fn pong(&mut self, reference: u64, wire: &mut Wire) {
        if self.announced != Some(reference) {
            return;
        }
        let groups = &self.groups;
        let is_gone = |task_id: &TaskId, topic: &Topic| {
            let mut matching = groups
                .iter()
                .filter(|(target, state)| state.holds(target, task_id));
            !topic.joined && topic.asked.is_none() && matching.all(|(_, state)| state.confirmed)
        };
        let topics = self.topics.iter();
        let gone: Vec<_> = topics
            .filter(|(task_id, topic)| is_gone(task_id, topic))
            .map(|(task_id, _)| task_id.clone())
            .collect();
        for task_id in gone {
            self.removed(&task_id, wire);
        }
    }

    /// Handles the confirmation of a pattern or a tree.
    pub(in crate::state) fn confirmed(&mut self, target: &Target) {
        if let Some(state) = self.groups.get_mut(target) {
            state.asked = None;
            state.confirmed = true;
            self.confirmed = true;
        }
    }

    /// Adds a task to a tree. Events of the task follow.
    pub(in crate::state) fn joins_tree(&mut self, tree: &Target, task_id: &TaskId) {
        let Some(state) = self.groups.get_mut(tree) else {
            return;
        };
        if !state.members.insert(task_id.clone()) {
            return;
        }
        let Some(topic) = self.topics.get_mut(task_id) else {
            return;
        };
        for (id, _) in self
            .watches
            .iter()
            .filter(|(_, queue)| queue.target == *tree)
        {
            topic.seats.entry(*id).or_insert(Seat::Joining);
            self.dirty.insert(task_id.clone());
        }
    }

    /// Handles the start of a task's events, after a request or because a group
    /// contains the task.
    pub(in crate::state) fn subscribed(
        &mut self,
        reference: Option<u64>,
        joined: &Joined,
        wire: &mut Wire,
    ) {
        let task_id = &joined.task_id;
        if let Some(reference) = reference {
            self.asked.remove(&reference);
        }
        if !self.topics.contains_key(task_id) {
            self.open(task_id);
        }
        let Some(topic) = self.topics.get_mut(task_id) else {
            return;
        };
        let (wish, asked) = match topic.asked.take() {
            Some((known, wish)) if Some(known) == reference => (wish, true),
            // The answer to a newer request is on its way.
            Some(other) => {
                topic.asked = Some(other);
                return;
            }
            None => (Wish::Live, false),
        };
        topic.joined = true;
        topic.epoch = Some(joined.epoch.clone());
        let head = joined.offset.get();
        for (id, seat) in &mut topic.seats {
            let Some(queue) = self.watches.get_mut(id) else {
                continue;
            };
            let cursor = match seat {
                Seat::Following(cursor) | Seat::Behind(cursor) => cursor.clone(),
                Seat::Joining => {
                    let Some(cursor) = first(queue, joined, asked.then_some(&wish)) else {
                        continue;
                    };
                    if !queue.has_room() {
                        queue.starved.insert(task_id.clone());
                        continue;
                    }
                    queue.push(Update::Snapshot(Arc::clone(&joined.snapshot)));
                    wire.output(Output::Wake(*id));
                    cursor
                }
            };
            let here = cursor.in_epoch(&joined.epoch);
            if here != cursor {
                // The watch only had a state without events, from another epoch.
                queue.push(Update::Snapshot(Arc::clone(&joined.snapshot)));
                wire.output(Output::Wake(*id));
            }
            *seat = Seat::joined(here, &wish, &joined.epoch, head);
        }
        if topic.seats.values().any(|seat| !seat.is_settled()) {
            self.dirty.insert(task_id.clone());
        }
    }

    /// Handles the refusal of a subscription.
    pub(in crate::state) fn refused(
        &mut self,
        reference: u64,
        code: ErrorCode,
        message: &str,
        wire: &mut Wire,
        now: Instant,
    ) {
        let passing = matches!(code, ErrorCode::RateLimited | ErrorCode::Unavailable);
        let mut over = Vec::new();
        if let Some(task_id) = self.asked.remove(&reference) {
            let Some(topic) = self.topics.get_mut(&task_id) else {
                return;
            };
            topic.asked = None;
            topic.named = false;
            if passing {
                self.dirty.insert(task_id);
                self.retry = Some(now + RETRY_SUBSCRIBE);
                return;
            }
            let watches = &self.watches;
            topic.seats.retain(|id, _| {
                let named = watches.get(id).is_some_and(Queue::is_named);
                if named {
                    over.push(*id);
                }
                // The connection may have too many subscriptions at the moment. Watches
                // of a group wait.
                !named && code == ErrorCode::TooManySubscriptions
            });
            if topic.seats.is_empty() {
                self.topics.remove(&task_id);
            } else {
                self.dirty.insert(task_id);
                self.retry = Some(now + RETRY_SUBSCRIBE);
            }
        } else {
            let asked = |state: &GroupState| state.asked == Some(reference);
            let Some((target, state)) = self.groups.iter_mut().find(|(_, state)| asked(state))
            else {
                return;
            };
            if passing {
                state.asked = None;
                self.retry = Some(now + RETRY_SUBSCRIBE);
                return;
            }
            let target = target.clone();
            let watches = self.watches.iter();
            over.extend(
                watches
                    .filter(|(_, queue)| queue.target == target)
                    .map(|(id, _)| *id),
            );
            self.groups.remove(&target);
        }
        for id in over {
            if let Some(queue) = self.watches.get_mut(&id) {
                queue.end(WatchError::Refused {
                    code,
                    message: message.to_owned(),
                });
                wire.output(Output::Wake(id));
            }
        }
    }

    /// Removes a task for the watches of groups, and tells these watches. The server
    /// announces the task again if it comes back.
    fn removed(&mut self, task_id: &TaskId, wire: &mut Wire) {
        for state in self.groups.values_mut() {
            state.members.remove(task_id);
        }
        let Some(topic) = self.topics.get_mut(task_id) else {
            return;
        };
        let watches = &mut self.watches;
        topic.seats.retain(|id, seat| {
            let Some(queue) = watches.get_mut(id).filter(|queue| !queue.is_named()) else {
                return true;
            };
            // A watch without any update of the task need not learn of its removal.
            if seat.cursor().is_some() {
                queue.push_removed(task_id);
                wire.output(Output::Wake(*id));
            }
            false
        });
        if topic.seats.is_empty() {
            self.topics.remove(task_id);
        }
    }

    /// Handles the end of a subscription. This client has asked for it, or the server
    /// has decided it.
    pub(in crate::state) fn unsubscribed(
        &mut self,
        target: &Target,
        reason: UnsubscribeReason,
        wire: &mut Wire,
    ) {
        match (reason, target) {
            (UnsubscribeReason::Asked, _) => {
                if let Some(count) = self.leaving.get_mut(target) {
                    *count -= 1;
                    if *count == 0 {
                        self.leaving.remove(target);
                    }
                }
                return;
            }
            (UnsubscribeReason::Removed, Target::Task(task_id)) => {
                return self.removed(task_id, wire);
            }
            _ => {}
        }
        let is_own = |queue: &Queue| queue.target == *target;
        let code = match reason {
            UnsubscribeReason::Forbidden => ErrorCode::Forbidden,
            // No room, or a store that cannot be read. An error before this message says which.
            _ => ErrorCode::Unavailable,
        };
        for (id, queue) in self.watches.iter_mut().filter(|(_, queue)| is_own(queue)) {
            queue.end(WatchError::Refused {
                code,
                message: format!("the server has ended the subscription to {target}"),
            });
            wire.output(Output::Wake(*id));
        }
        let watches = &self.watches;
        match target {
            Target::Pattern(_) | Target::Tree(_) => {
                self.groups.remove(target);
                self.topics.retain(|_, topic| {
                    topic
                        .seats
                        .retain(|id, _| watches.get(id).is_none_or(|queue| !is_own(queue)));
                    !topic.seats.is_empty()
                });
            }
            // A group loses only this task. The server announces the task again if it
            // comes back.
            Target::Task(task_id) => {
                let Some(topic) = self.topics.remove(task_id) else {
                    return;
                };
                for (id, seat) in topic.seats {
                    if seat.cursor().is_none() {
                        continue;
                    }
                    if let Some(queue) = self.watches.get_mut(&id).filter(|queue| !queue.is_named())
                    {
                        queue.push_removed(task_id);
                        wire.output(Output::Wake(id));
                    }
                }
            }
        }
    }

    /// Handles an event.
    pub(in crate::state) fn event(&mut self, event: Event, wire: &mut Wire) {
        let Some(topic) = self.topics.get_mut(&event.task_id) else {
            return;
        };
        let (from, offset) = (event.first_offset().get(), event.offset.get());
        let event = Arc::new(event);
        for (id, seat) in &mut topic.seats {
            let (Seat::Following(cursor), Some(queue)) = (&mut *seat, self.watches.get_mut(id))
            else {
                continue;
            };
            match cursor.fit(from, offset) {
                Fit::Old => {}
                Fit::Next if queue.has_room() => {
                    let next = std::mem::replace(&mut cursor.next, Next::Exactly(offset + 1));
                    queue.push(Update::Event(clipped(&event, next)));
                    wire.output(Output::Wake(*id));
                }
                Fit::Next => {
                    queue.starved.insert(event.task_id.clone());
                    *seat = Seat::behind(cursor);
                }
                Fit::Hole => {
                    self.dirty.insert(event.task_id.clone());
                    *seat = Seat::behind(cursor);
                }
            }
        }
    }

    /// Handles a void position: the task continues after `offset` of the snapshot's
    /// epoch.
    pub(in crate::state) fn reset(
        &mut self,
        task_id: &TaskId,
        reason: ResetReason,
        offset: Offset,
        snapshot: &Arc<TaskSnapshot>,
        wire: &mut Wire,
    ) {
        let Some(topic) = self.topics.get_mut(task_id) else {
            return;
        };
        let epoch = snapshot.epoch.clone();
        topic.epoch = Some(epoch.clone());
        for (id, seat) in &mut topic.seats {
            let (Seat::Following(cursor), Some(queue)) = (&mut *seat, self.watches.get_mut(id))
            else {
                continue;
            };
            let before = cursor.clone();
            if !cursor.reset(reason, &epoch, offset.get()) {
                continue;
            }
            if queue.has_room() {
                queue.push(Update::Reset {
                    task_id: task_id.clone(),
                    reason,
                    offset,
                    snapshot: Arc::clone(snapshot),
                });
                wire.output(Output::Wake(*id));
            } else {
                queue.starved.insert(task_id.clone());
                *seat = Seat::behind(&before);
            }
        }
    }

    /// Handles a gap.
    pub(in crate::state) fn gap(
        &mut self,
        task_id: &TaskId,
        gap: Gap,
        snapshot: Option<&Arc<TaskSnapshot>>,
        wire: &mut Wire,
    ) {
        let Some(topic) = self.topics.get_mut(task_id) else {
            return;
        };
        // Only a gap with a snapshot may change the epoch.
        if let Some(snapshot) = snapshot {
            topic.epoch = Some(snapshot.epoch.clone());
        }
        let Some(epoch) = topic.epoch.clone() else {
            return;
        };
        for (id, seat) in &mut topic.seats {
            let (Seat::Following(cursor), Some(queue)) = (&mut *seat, self.watches.get_mut(id))
            else {
                continue;
            };
            let before = cursor.clone();
            match cursor.pass(gap, &epoch) {
                Ok(Some(gap)) if queue.has_room() => {
                    queue.push(Update::Gap {
                        task_id: task_id.clone(),
                        gap,
                        snapshot: snapshot.cloned(),
                    });
                    wire.output(Output::Wake(*id));
                }
                Ok(Some(_)) => {
                    queue.starved.insert(task_id.clone());
                    *seat = Seat::behind(&before);
                }
                Ok(None) => {}
                Err(()) => {
                    self.dirty.insert(task_id.clone());
                    *seat = Seat::behind(&before);
                }
            }
        }
        debug_assert!(snapshot.is_some() || gap.reason == GapReason::Conflated);
    }

    /// Handles the newest offsets of quiet tasks. A cursor before such an offset has
    /// missed an event.
    pub(in crate::state) fn heads(&mut self, heads: &BTreeMap<TaskId, Offset>) {
        for (task_id, head) in heads {
            let Some(topic) = self.topics.get_mut(task_id) else {
                continue;
            };
            if topic.asked.is_some() {
                continue;
            }
            for seat in topic.seats.values_mut() {
                if let Seat::Following(cursor) = seat
                    && matches!(cursor.next, Next::Exactly(next) if next <= head.get())
                {
                    *seat = Seat::behind(cursor);
                    self.dirty.insert(task_id.clone());
                }
            }
        }
    }

    /// Handles the server's greeting.
    pub(in crate::state) fn established(&mut self, wire: &mut Wire) {
        for (task_id, topic) in &self.topics {
            let seats = &mut topic.seats.keys();
            if seats.any(|id| self.watches.get(id).is_some_and(Queue::is_named)) {
                self.dirty.insert(task_id.clone());
            }
        }
        for (id, queue) in &mut self.watches {
            if queue.told_of_loss {
                queue.told_of_loss = false;
                queue.push_link(Update::Reconnected);
                wire.output(Output::Wake(*id));
            }
        }
    }
}

/// Returns the first cursor of a watch in a task. Returns `None` if the client must
/// first ask the server for this position.
fn first(queue: &Queue, joined: &Joined, asked: Option<&Wish>) -> Option<Cursor> {
    let (epoch, head) = (joined.epoch.clone(), joined.offset.get());
    if queue.settled && !queue.is_named() {
        // The task appeared while the connection was lost, so the watch gets all its
        // events.
        return Some(Cursor::exactly(epoch, 1));
    }
    match &queue.start {
        Start::Live => Some(Cursor::exactly(epoch, head + 1)),
        // No event exists before the first one.
        _ if head == 0 && asked.is_none() && !queue.is_named() => Some(Cursor::exactly(epoch, 1)),
        _ if asked.is_none() => None,
        Start::Retained => Some(Cursor::exactly(epoch, 1)),
        Start::History(_) if matches!(asked, Some(Wish::History(_))) => Some(Cursor {
            epoch,
            next: Next::UpTo(head + 1),
        }),
        // The subscription asked for more, because of another watch.
        Start::History(count) => {
            let first = (head + 1).saturating_sub(u64::from(*count)).max(1);
            Some(Cursor::exactly(epoch, first))
        }
        Start::After(position) => Some(Cursor::exactly(
            position.epoch.clone(),
            position.offset.get() + 1,
        )),
    }
}

/// Cuts from a merged event the offsets that the watch has already received. The field
/// `at` shows where the text overlaps.
fn clipped(event: &Arc<Event>, next: Next) -> Arc<Event> {
    match (event.from, next) {
        (Some(from), Next::Exactly(next)) if from.get() < next => {
            let from = Offset::new(next).ok().filter(|from| *from < event.offset);
            Arc::new(Event {
                from,
                ..Event::clone(event)
            })
        }
        _ => Arc::clone(event),
    }
}
