//! All watches of a client, and the subscriptions that they need on the server.

mod incoming;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tidings_protocol::{ClientMessage, ClientRequest, ErrorCode, Reference, Target, TaskId};
use tokio::time::Instant;

use super::queue::Queue;
use super::topic::{Seat, Topic, Wish};
use super::{Output, State, Wire};
use crate::config::ClientConfig;
use crate::error::{Loss, Stopped, TooLarge, WatchError};
use crate::update::{Start, Update};

/// The id of a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WatchId(pub(in crate::state) u64);

/// A pattern or a tree on this connection.
#[derive(Debug, Default)]
struct GroupState {
    /// The `ref` of the unanswered subscription.
    asked: Option<u64>,
    confirmed: bool,
    /// For a tree: the tasks that the server has announced.
    members: BTreeSet<TaskId>,
}

impl GroupState {
    /// Returns whether a task belongs to the group.
    fn holds(&self, target: &Target, task_id: &TaskId) -> bool {
        match target {
            Target::Task(own) => own == task_id,
            Target::Pattern(pattern) => pattern.matches(task_id),
            Target::Tree(root) => root == task_id || self.members.contains(task_id),
        }
    }
}

#[derive(Debug)]
pub(in crate::state) struct Topics {
    watches: BTreeMap<WatchId, Queue>,
    topics: HashMap<TaskId, Topic>,
    groups: BTreeMap<Target, GroupState>,
    /// The task of each `ref`.
    asked: HashMap<u64, TaskId>,
    /// Tasks that may need a new subscription.
    dirty: BTreeSet<TaskId>,
    /// The unanswered unsubscribe requests on this connection, counted per target.
    leaving: HashMap<Target, usize>,
    retry: Option<Instant>,
    /// True if the server has confirmed a pattern or a tree since the last ping.
    confirmed: bool,
    /// The `ref` of a ping. When the server answers it, it has announced all tasks of the groups
    /// that were requested before.
    announced: Option<u64>,
    max_updates: usize,
    last_watch: u64,
}

impl Topics {
    pub(in crate::state) fn new(config: &ClientConfig) -> Self {
        Self {
            watches: BTreeMap::new(),
            topics: HashMap::new(),
            groups: BTreeMap::new(),
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
            Target::Pattern(_) | Target::Tree(_) => {
                let group = self.groups.entry(target.clone()).or_default();
                // The server does not announce a task to a pattern if this connection already
                // receives it. It does not announce tasks to a tree that is already watched.
                for (task_id, topic) in &mut self.topics {
                    if group.holds(target, task_id) {
                        topic.seats.insert(id, Seat::Joining);
                        self.dirty.insert(task_id.clone());
                    }
                }
            }
        }
        id
    }

    /// Takes the next update of a watch.
    pub(in crate::state) fn take_from(
        &mut self,
        id: WatchId,
    ) -> Option<Result<Update, WatchError>> {
        self.watches.get_mut(&id)?.take()
    }

    /// Adds an unknown task and joins every watch that wants it. This includes watches of patterns,
    /// because the server does not announce a task that is watched by name.
    fn open(&mut self, task_id: &TaskId) {
        let wanted = self
            .watches
            .iter()
            .filter(|(_, queue)| wants(&self.groups, queue, task_id));
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
        if !self
            .watches
            .values()
            .any(|other| other.target == queue.target)
            && let Some(state) = self.groups.remove(&queue.target)
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

    /// Subscribes to the positions that watches are missing.
    pub(in crate::state) fn reconcile(&mut self, wire: &mut Wire, now: Instant) {
        if self.retry.is_some_and(|at| at > now) {
            return;
        }
        self.retry = None;
        let mut refused = Vec::new();
        for (target, state) in &mut self.groups {
            if !state.confirmed && state.asked.is_none() {
                let reference = wire.reference();
                state.asked = Some(reference);
                let sent = subscribe(target.clone(), &Wish::Live, reference, wire);
                refused.extend(sent.err().map(|error| (reference, error)));
            }
        }
        for task_id in std::mem::take(&mut self.dirty) {
            refused.extend(self.reconcile_task(&task_id, wire));
        }
        for (reference, error) in refused {
            let (code, message) = (ErrorCode::TooLarge, error.to_string());
            self.refused(reference, code, &message, wire, now);
        }
        self.ask_for_the_end_of_announcements(wire);
    }

    /// Asks for the end of the announcements. While the connection was lost, tasks of groups may
    /// have been removed. The server does not mention them; it only announces the tasks that exist.
    fn ask_for_the_end_of_announcements(&mut self, wire: &mut Wire) {
        let is_unheard = |topic: &Topic| !topic.joined && topic.asked.is_none();
        // Send the ping after the confirmation, not together with the subscription. If the server
        // reads both at once, it may answer the ping before it has announced the tasks. After a
        // confirmation, the server announces all tasks before it reads the next message.
        if std::mem::take(&mut self.confirmed) && self.topics.values().any(is_unheard) {
            let reference = wire.reference();
            self.announced = Some(reference);
            let ping = ClientMessage::new(ClientRequest::Ping);
            wire.tell(&ping.with_reference(Reference::from(reference)));
        }
    }

    /// Subscribes to a task if a watch needs it. Returns the request number and the error
    /// of a subscription that is too large.
    fn reconcile_task(&mut self, task_id: &TaskId, wire: &mut Wire) -> Option<(u64, TooLarge)> {
        let topic = self.topics.get_mut(task_id)?;
        if topic.asked.is_some() {
            return None;
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
            return None;
        }
        let watches = &self.watches;
        let wish = topic.wish(|watch| {
            let queue = watches.get(&watch)?;
            queue.has_room().then(|| queue.start.clone())
        });
        let reference = wire.reference();
        let sent = subscribe(Target::Task(task_id.clone()), &wish, reference, wire);
        topic.asked = Some((reference, wish));
        topic.named = by_name;
        if !by_name {
            // The subscription only moves the cursor back. Unsubscribe the name, because the group
            // keeps the task.
            unsubscribe(&mut self.leaving, Target::Task(task_id.clone()), wire);
        }
        self.asked.insert(reference, task_id.clone());
        sent.err().map(|error| (reference, error))
    }

    /// Returns true if a subscription has this request number.
    pub(in crate::state) fn has_asked(&self, reference: u64) -> bool {
        let by_group = |state: &GroupState| state.asked == Some(reference);
        self.asked.contains_key(&reference) || self.groups.values().any(by_group)
    }

    /// Handles the loss of the connection: drops all unanswered requests.
    pub(in crate::state) fn lost(&mut self) {
        self.asked.clear();
        self.dirty.clear();
        self.leaving.clear();
        self.retry = None;
        self.confirmed = false;
        self.announced = None;
        for queue in self.watches.values_mut() {
            let group = self.groups.get(&queue.target);
            queue.settled |= group.is_some_and(|state| state.confirmed);
        }
        for state in self.groups.values_mut() {
            (state.asked, state.confirmed) = (None, false);
        }
        for topic in self.topics.values_mut() {
            topic.asked = None;
            topic.named = false;
            topic.joined = false;
            topic.seats.values_mut().for_each(Seat::lost);
        }
    }

    /// Tells every watch the reason for the loss.
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

/// Returns true if a watch's target contains a task.
fn wants(groups: &BTreeMap<Target, GroupState>, queue: &Queue, task_id: &TaskId) -> bool {
    match groups.get(&queue.target) {
        Some(group) => group.holds(&queue.target, task_id),
        None => queue.target.task_id() == Some(task_id),
    }
}

fn subscribe(target: Target, wish: &Wish, reference: u64, wire: &mut Wire) -> Result<(), TooLarge> {
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
    let message = ClientMessage::new(request).with_reference(Reference::from(reference));
    wire.send(message.encode())
}

fn unsubscribe(leaving: &mut HashMap<Target, usize>, target: Target, wire: &mut Wire) {
    *leaving.entry(target.clone()).or_default() += 1;
    let target = Some(target);
    wire.tell(&ClientMessage::new(ClientRequest::Unsubscribe { target }));
}

impl State {
    /// Watches a task, a pattern or a tree. If the client has stopped, the watch ends at once.
    pub(crate) fn watch(&mut self, target: &Target, start: Start, now: Instant) -> WatchId {
        let id = self.topics.add(target, start);
        if let Some(stopped) = self.stopped().cloned() {
            self.topics.stop(&stopped, &mut self.wire);
        } else if self.is_connected() {
            self.topics.reconcile(&mut self.wire, now);
        }
        id
    }

    /// Ends a watch.
    pub(crate) fn unwatch(&mut self, id: WatchId) {
        let connected = self.is_connected();
        self.topics.remove(id, connected, &mut self.wire);
    }

    /// Takes the next update of a watch. `None` means no update yet; `Some(None)` means that no
    /// update will follow.
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
