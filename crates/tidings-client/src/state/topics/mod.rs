//! All that is watched: which tasks and patterns, by which watches, and what
//! the server has to be asked for.

mod incoming;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tidings_protocol::{ClientMessage, ClientRequest, Pattern, Reference, Target, TaskId};
use tokio::time::Instant;

use super::queue::Queue;
use super::topic::{Seat, Topic, Wish};
use super::{Output, State, Wire};
use crate::config::ClientConfig;
use crate::error::{Loss, Stopped, WatchError};
use crate::update::{Start, Update};

/// One watch of this client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WatchId(pub(in crate::state) u64);

/// A pattern on this connection.
#[derive(Debug, Default)]
struct PatternState {
    /// The `ref` under which it was asked for.
    asked: Option<u64>,
    confirmed: bool,
}

#[derive(Debug)]
pub(in crate::state) struct Topics {
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
    /// A pattern was confirmed since the last ping.
    confirmed: bool,
    /// The `ref` of a ping. When the server answers it, the tasks of all patterns
    /// that were asked for before it have been announced.
    announced: Option<u64>,
    max_updates: usize,
    last_watch: u64,
}

impl Topics {
    pub(in crate::state) fn new(config: &ClientConfig) -> Self {
        Self {
            watches: BTreeMap::new(),
            topics: HashMap::new(),
            patterns: BTreeMap::new(),
            asked: HashMap::new(),
            dirty: BTreeSet::new(),
            leaving: HashMap::new(),
            retry: None,
            confirmed: false,
            announced: None,
            max_updates: config.watch_updates,
            last_watch: 0,
        }
    }

    pub(in crate::state) fn retry_at(&self) -> Option<Instant> {
        self.retry
    }

    pub(in crate::state) fn add(&mut self, target: &Target, start: Start) -> WatchId {
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
    pub(in crate::state) fn take_from(
        &mut self,
        id: WatchId,
    ) -> Option<Result<Update, WatchError>> {
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
    pub(in crate::state) fn reconcile(&mut self, wire: &mut Wire, now: Instant) {
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
        self.ask_for_the_end_of_announcements(wire);
    }

    /// Tasks of patterns may have gone while the connection was away. The server says
    /// nothing of those: they are the ones that it does not announce again.
    fn ask_for_the_end_of_announcements(&mut self, wire: &mut Wire) {
        let is_unheard = |topic: &Topic| !topic.joined && topic.asked.is_none();
        // Not together with the subscription: what the server reads at once it may
        // answer before it has announced the tasks. A confirmed pattern has the server
        // read nothing until it has.
        if std::mem::take(&mut self.confirmed) && self.topics.values().any(is_unheard) {
            let reference = wire.reference();
            self.announced = Some(reference);
            let ping = ClientMessage::new(ClientRequest::Ping);
            wire.send(&ping.with_reference(Reference::from(reference)));
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
    pub(in crate::state) fn has_asked(&self, reference: u64) -> bool {
        let by_pattern = |state: &PatternState| state.asked == Some(reference);
        self.asked.contains_key(&reference) || self.patterns.values().any(by_pattern)
    }

    /// The connection is gone, and what was asked on it.
    pub(in crate::state) fn lost(&mut self) {
        self.asked.clear();
        self.dirty.clear();
        self.leaving.clear();
        self.retry = None;
        self.confirmed = false;
        self.announced = None;
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
            topic.joined = false;
            topic.seats.values_mut().for_each(Seat::lost);
        }
    }

    /// Tells every watch why there is no connection.
    pub(in crate::state) fn disconnected(
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

    pub(in crate::state) fn stop(&mut self, stopped: &Stopped, wire: &mut Wire) {
        for (id, queue) in &mut self.watches {
            queue.end(WatchError::Stopped(stopped.clone()));
            wire.output(Output::Wake(*id));
        }
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
