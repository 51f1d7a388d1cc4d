//! What the server says of tasks and patterns, as watches are told it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_protocol::{
    ErrorCode, Event, Gap, GapReason, Joined, Offset, ResetReason, Target, TaskId, TaskSnapshot,
    UnsubscribeReason,
};
use tokio::time::Instant;

use super::{PatternState, Topics};
use crate::defaults::RETRY_SUBSCRIBE;
use crate::error::WatchError;
use crate::state::queue::Queue;
use crate::state::topic::{Cursor, Fit, Next, Seat, Topic, Wish};
use crate::state::{Output, Wire};
use crate::update::{Start, Update};

impl Topics {
    /// The server has answered a ping: forgets the tasks that it did not announce.
    pub(in crate::state) fn pong(&mut self, reference: u64, wire: &mut Wire) {
        if self.announced != Some(reference) {
            return;
        }
        let patterns = &self.patterns;
        let is_gone = |task_id: &TaskId, topic: &Topic| {
            let mut matching = patterns
                .iter()
                .filter(|(pattern, _)| pattern.matches(task_id));
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

    /// A pattern holds.
    pub(in crate::state) fn confirmed(&mut self, target: &Target) {
        if let Some(state) = target
            .pattern()
            .and_then(|pattern| self.patterns.get_mut(pattern))
        {
            state.asked = None;
            state.confirmed = true;
            self.confirmed = true;
        }
    }

    /// A task is served from here on: as asked for, or because a pattern matches.
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
            // The answer to a newer question is on its way.
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
                // The watch had nothing yet but a state of no events, in another epoch.
                queue.push(Update::Snapshot(Arc::clone(&joined.snapshot)));
                wire.output(Output::Wake(*id));
            }
            *seat = Seat::joined(here, &wish, &joined.epoch, head);
        }
        if topic.seats.values().any(|seat| !seat.is_settled()) {
            self.dirty.insert(task_id.clone());
        }
    }

    /// The server refused a subscription.
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
                // There may be too many by name for the moment; a pattern waits.
                !named && code == ErrorCode::TooManySubscriptions
            });
            if topic.seats.is_empty() {
                self.topics.remove(&task_id);
            } else {
                self.dirty.insert(task_id);
                self.retry = Some(now + RETRY_SUBSCRIBE);
            }
        } else {
            let asked = |state: &PatternState| state.asked == Some(reference);
            let Some((pattern, state)) = self.patterns.iter_mut().find(|(_, state)| asked(state))
            else {
                return;
            };
            if passing {
                state.asked = None;
                self.retry = Some(now + RETRY_SUBSCRIBE);
                return;
            }
            let target = Target::Pattern(pattern.clone());
            let watches = self.watches.iter();
            over.extend(
                watches
                    .filter(|(_, queue)| queue.target == target)
                    .map(|(id, _)| *id),
            );
            if let Target::Pattern(pattern) = &target {
                self.patterns.remove(pattern);
            }
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

    /// A task is gone that only patterns have brought: they are told, and it is
    /// announced if it comes back.
    fn removed(&mut self, task_id: &TaskId, wire: &mut Wire) {
        let Some(topic) = self.topics.get_mut(task_id) else {
            return;
        };
        let watches = &mut self.watches;
        topic.seats.retain(|id, seat| {
            let Some(queue) = watches.get_mut(id).filter(|queue| !queue.is_named()) else {
                return true;
            };
            // A watch that was told nothing of the task need not hear of its end.
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

    /// A subscription holds no more: the answer to a request of this client's, or
    /// the server's own decision.
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
        for (id, queue) in self.watches.iter_mut().filter(|(_, queue)| is_own(queue)) {
            queue.end(WatchError::Refused {
                code: ErrorCode::Forbidden,
                message: format!("the server has ended the subscription to {target}"),
            });
            wire.output(Output::Wake(*id));
        }
        let watches = &self.watches;
        match target {
            Target::Pattern(pattern) => {
                self.patterns.remove(pattern);
                self.topics.retain(|_, topic| {
                    topic
                        .seats
                        .retain(|id, _| watches.get(id).is_none_or(|queue| !is_own(queue)));
                    !topic.seats.is_empty()
                });
            }
            // Of a pattern this one task is gone: it is announced if it comes back.
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

    /// An event came.
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

    /// A position is void: the task goes on after `offset` of the snapshot's epoch.
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

    /// Offsets will not come.
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
        // Only with a snapshot may the numbering be another one.
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

    /// The newest offsets of quiet tasks: whoever is before them has lost something.
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

    /// The server has greeted.
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

/// Where a watch begins in a task that it has not been told of; none if that
/// was not asked of the server yet.
fn first(queue: &Queue, joined: &Joined, asked: Option<&Wish>) -> Option<Cursor> {
    let (epoch, head) = (joined.epoch.clone(), joined.offset.get());
    if queue.settled && !queue.is_named() {
        // It has appeared while the connection was away: all of it is news.
        return Some(Cursor::exactly(epoch, 1));
    }
    match &queue.start {
        Start::Live => Some(Cursor::exactly(epoch, head + 1)),
        // Nothing is before the first event.
        _ if head == 0 && asked.is_none() && !queue.is_named() => Some(Cursor::exactly(epoch, 1)),
        _ if asked.is_none() => None,
        Start::Retained => Some(Cursor::exactly(epoch, 1)),
        Start::History(_) if matches!(asked, Some(Wish::History(_))) => Some(Cursor {
            epoch,
            next: Next::UpTo(head + 1),
        }),
        // More was asked for, for the sake of another watch.
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

/// A merged event as a watch gets it that has some of its offsets already: they came
/// before, and `at` shows where the text overlaps.
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
