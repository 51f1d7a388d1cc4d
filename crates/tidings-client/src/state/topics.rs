//! All that is watched: which tasks and patterns, by which watches, and what
//! the server has to be asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tidings_protocol::{
    ClientMessage, ClientRequest, ErrorCode, Event, Gap, GapReason, Joined, Offset, Pattern,
    Reference, ResetReason, Target, TaskId, TaskSnapshot, UnsubscribeReason,
};
use tokio::time::Instant;

use super::queue::Queue;
use super::topic::{Cursor, Fit, Next, Seat, Topic, Wish};
use super::{Output, State, Wire};
use crate::config::ClientConfig;
use crate::defaults::RETRY_SUBSCRIBE;
use crate::error::{Loss, Stopped, WatchError};
use crate::update::{Start, Update};

/// One watch of this client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WatchId(pub(super) u64);

/// A pattern on this connection.
#[derive(Debug, Default)]
struct PatternState {
    /// The `ref` under which it was asked for.
    asked: Option<u64>,
    confirmed: bool,
}

#[derive(Debug)]
pub(super) struct Topics {
    watches: BTreeMap<WatchId, Queue>,
    topics: HashMap<TaskId, Topic>,
    patterns: BTreeMap<Pattern, PatternState>,
    /// Which task a `ref` was about.
    asked: HashMap<u64, TaskId>,
    /// Tasks for which the server may have to be asked.
    dirty: BTreeSet<TaskId>,
    /// What was unsubscribed on this connection and not answered yet, and how often.
    leaving: HashMap<Target, usize>,
    retry: Option<Instant>,
    max_updates: usize,
    last_watch: u64,
}

impl Topics {
    pub(super) fn new(config: &ClientConfig) -> Self {
        Self {
            watches: BTreeMap::new(),
            topics: HashMap::new(),
            patterns: BTreeMap::new(),
            asked: HashMap::new(),
            dirty: BTreeSet::new(),
            leaving: HashMap::new(),
            retry: None,
            max_updates: config.watch_updates,
            last_watch: 0,
        }
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry
    }

    pub(super) fn add(&mut self, target: &Target, start: Start) -> WatchId {
        self.last_watch += 1;
        let id = WatchId(self.last_watch);
        let queue = Queue::new(target.clone(), start, self.max_updates);
        self.watches.insert(id, queue);
        match target {
            Target::Task(task_id) => {
                match self.topics.get_mut(task_id) {
                    Some(topic) => drop(topic.seats.insert(id, Seat::Joining)),
                    None => self.open(task_id),
                }
                self.dirty.insert(task_id.clone());
            }
            Target::Pattern(pattern) => {
                self.patterns.entry(pattern.clone()).or_default();
                // The server does not announce what it serves here already.
                for (task_id, topic) in &mut self.topics {
                    if pattern.matches(task_id) {
                        topic.seats.insert(id, Seat::Joining);
                        self.dirty.insert(task_id.clone());
                    }
                }
            }
        }
        id
    }

    /// What waits in a watch of this client's own.
    pub(super) fn take_from(&mut self, id: WatchId) -> Option<Result<Update, WatchError>> {
        self.watches.get_mut(&id)?.take()
    }

    /// A task that was not known: everyone who wants it joins. By a pattern as
    /// well, which does not bring a task that is watched by name.
    fn open(&mut self, task_id: &TaskId) {
        let wanted = self
            .watches
            .iter()
            .filter(|(_, queue)| queue.wants(task_id));
        let seats: BTreeMap<_, _> = wanted.map(|(id, _)| (*id, Seat::Joining)).collect();
        if !seats.is_empty() {
            let topic = Topic {
                seats,
                ..Topic::default()
            };
            self.topics.insert(task_id.clone(), topic);
        }
    }

    fn remove(&mut self, id: WatchId, connected: bool, wire: &mut Wire) {
        let Some(queue) = self.watches.remove(&id) else {
            return;
        };
        if let Target::Pattern(pattern) = &queue.target
            && !self
                .watches
                .values()
                .any(|other| other.target == queue.target)
            && let Some(state) = self.patterns.remove(pattern)
            && connected
            && (state.confirmed || state.asked.is_some())
        {
            unsubscribe(&mut self.leaving, queue.target.clone(), wire);
        }
        let leaving = &mut self.leaving;
        let watches = &self.watches;
        self.topics.retain(|task_id, topic| {
            if topic.seats.remove(&id).is_none() {
                return true;
            }
            let by_name = topic.seats.keys().any(|seat| {
                let queue = watches.get(seat);
                queue.is_some_and(Queue::is_named)
            });
            if topic.named && !by_name {
                topic.named = false;
                if connected {
                    unsubscribe(leaving, Target::Task(task_id.clone()), wire);
                }
            }
            !topic.seats.is_empty()
        });
    }

    /// Asks the server for whatever some watch is missing.
    pub(super) fn reconcile(&mut self, wire: &mut Wire, now: Instant) {
        if self.retry.is_some_and(|at| at > now) {
            return;
        }
        self.retry = None;
        for (pattern, state) in &mut self.patterns {
            if !state.confirmed && state.asked.is_none() {
                let reference = wire.reference();
                state.asked = Some(reference);
                let target = Target::Pattern(pattern.clone());
                subscribe(target, &Wish::Live, reference, wire);
            }
        }
        for task_id in std::mem::take(&mut self.dirty) {
            self.reconcile_task(&task_id, wire);
        }
    }

    fn reconcile_task(&mut self, task_id: &TaskId, wire: &mut Wire) {
        let Some(topic) = self.topics.get_mut(task_id) else {
            return;
        };
        if topic.asked.is_some() {
            return;
        }
        let mut by_name = false;
        let mut missing = false;
        for (watch, seat) in &topic.seats {
            let Some(queue) = self.watches.get_mut(watch) else {
                continue;
            };
            by_name |= queue.is_named();
            if seat.is_settled() {
                continue;
            }
            if queue.is_roomy() {
                missing = true;
            } else {
                queue.starved.insert(task_id.clone());
            }
        }
        if !missing && (topic.named || !by_name) {
            return;
        }
        let watches = &self.watches;
        let wish = topic.wish(|watch| {
            let queue = watches.get(&watch)?;
            queue.has_room().then(|| queue.start.clone())
        });
        let reference = wire.reference();
        subscribe(Target::Task(task_id.clone()), &wish, reference, wire);
        topic.asked = Some((reference, wish));
        topic.named = by_name;
        if !by_name {
            // Only to go back in it: the pattern keeps it.
            unsubscribe(&mut self.leaving, Target::Task(task_id.clone()), wire);
        }
        self.asked.insert(reference, task_id.clone());
    }

    /// Whether a request of this number was a subscription.
    pub(super) fn has_asked(&self, reference: u64) -> bool {
        let by_pattern = |state: &PatternState| state.asked == Some(reference);
        self.asked.contains_key(&reference) || self.patterns.values().any(by_pattern)
    }

    /// A pattern holds.
    pub(super) fn confirmed(&mut self, target: &Target) {
        if let Some(state) = target
            .pattern()
            .and_then(|pattern| self.patterns.get_mut(pattern))
        {
            state.asked = None;
            state.confirmed = true;
        }
    }

    /// A task is served from here on: as asked for, or because a pattern matches.
    pub(super) fn subscribed(&mut self, reference: Option<u64>, joined: &Joined, wire: &mut Wire) {
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
            *seat = Seat::joined(cursor, &wish, &joined.epoch, head);
        }
        if topic.seats.values().any(|seat| !seat.is_settled()) {
            self.dirty.insert(task_id.clone());
        }
    }

    /// The server refused a subscription.
    pub(super) fn refused(
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
    pub(super) fn unsubscribed(
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
    pub(super) fn event(&mut self, event: Event, wire: &mut Wire) {
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
    pub(super) fn reset(
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
    pub(super) fn gap(
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
    pub(super) fn heads(&mut self, heads: &BTreeMap<TaskId, Offset>) {
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
    pub(super) fn established(&mut self, wire: &mut Wire) {
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

    /// The connection is gone, and what was asked on it.
    pub(super) fn lost(&mut self) {
        self.asked.clear();
        self.dirty.clear();
        self.leaving.clear();
        self.retry = None;
        for queue in self.watches.values_mut() {
            if let Target::Pattern(pattern) = &queue.target {
                queue.settled |= self
                    .patterns
                    .get(pattern)
                    .is_some_and(|state| state.confirmed);
            }
        }
        for state in self.patterns.values_mut() {
            *state = PatternState::default();
        }
        for topic in self.topics.values_mut() {
            topic.asked = None;
            topic.named = false;
            topic.seats.values_mut().for_each(Seat::lost);
        }
    }

    /// Tells every watch why there is no connection.
    pub(super) fn disconnected(
        &mut self,
        loss: &Loss,
        retry_in: Option<Duration>,
        wire: &mut Wire,
    ) {
        for (id, queue) in &mut self.watches {
            queue.told_of_loss = true;
            queue.push_link(Update::Disconnected {
                loss: loss.clone(),
                retry_in,
            });
            wire.output(Output::Wake(*id));
        }
    }

    pub(super) fn stop(&mut self, stopped: &Stopped, wire: &mut Wire) {
        for (id, queue) in &mut self.watches {
            queue.end(WatchError::Stopped(stopped.clone()));
            wire.output(Output::Wake(*id));
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

fn subscribe(target: Target, wish: &Wish, reference: u64, wire: &mut Wire) {
    let (since, history) = match wish {
        Wish::Live => (None, None),
        Wish::History(count) => (None, Some(*count)),
        Wish::Since(since) => (Some(since.clone()), None),
    };
    let request = ClientRequest::Subscribe {
        target: Some(target),
        since,
        history,
    };
    wire.send(&ClientMessage::new(request).with_reference(Reference::from(reference)));
}

fn unsubscribe(leaving: &mut HashMap<Target, usize>, target: Target, wire: &mut Wire) {
    *leaving.entry(target.clone()).or_default() += 1;
    let target = Some(target);
    wire.send(&ClientMessage::new(ClientRequest::Unsubscribe { target }));
}

impl State {
    /// Watches a task or a pattern. If the client has stopped, that is all the
    /// watch will say.
    pub(crate) fn watch(&mut self, target: &Target, start: Start, now: Instant) -> WatchId {
        let id = self.topics.add(target, start);
        if let Some(stopped) = self.stopped().cloned() {
            self.topics.stop(&stopped, &mut self.wire);
        } else if self.is_connected() {
            self.topics.reconcile(&mut self.wire, now);
        }
        id
    }

    /// Watches no more.
    pub(crate) fn unwatch(&mut self, id: WatchId) {
        let connected = self.is_connected();
        self.topics.remove(id, connected, &mut self.wire);
    }

    /// The next update of a watch; `None`: nothing now, `Some(None)`: nothing ever.
    pub(crate) fn take(
        &mut self,
        id: WatchId,
        now: Instant,
    ) -> Option<Option<Result<Update, WatchError>>> {
        let topics = &mut self.topics;
        let Some(queue) = topics.watches.get_mut(&id) else {
            return Some(None);
        };
        let taken = queue.take();
        if !queue.starved.is_empty() && queue.is_roomy() {
            topics.dirty.append(&mut queue.starved);
            if self.is_connected() {
                self.topics.reconcile(&mut self.wire, now);
            }
        }
        match taken {
            Some(update) => Some(Some(update)),
            None => {
                let over = self.topics.watches.get(&id).is_none_or(Queue::is_over);
                over.then_some(None)
            }
        }
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
