//! Subscribers inside the process: a stream of deliveries.

use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker, ready};

use futures_core::Stream;
use slab::Slab;
use tidings_protocol::{EventType, GapReason, Pattern, ResetReason, States, TaskId, TaskSnapshot};
use tokio::task::coop::RestoreOnPending;

use crate::bus::EventBus;
use crate::deliver::cold;
use crate::deliver::cursor::SkipPolicy;
use crate::deliver::delivery::Delivery;
use crate::deliver::filter::{Filter, Subject};
use crate::deliver::join::Start;
use crate::deliver::reader::{Next, Reader};
use crate::deliver::topic::{Advance, AttachId, Hold, Topic, Watcher};
use crate::lock::{Guard, Lock, place};
use crate::log::{Chunk, EventRecord, Run, Standing, View};
use crate::shared::Shared;
use crate::tasks::life;
use crate::tasks::registry::{PatternId, PatternWatcher};
use crate::tasks::task::Task;

/// The number of events that are taken from one task before another task has its turn.
const BATCH: u64 = 64;

/// The number of deliveries for which the runtime's budget is not asked. Asking costs a third of a
/// delivery.
const UNCOUNTED: u8 = 3;

struct Watched {
    task: Arc<Task>,
    attached: AttachId,
    reader: Reader,
    /// True if the requested position lies after the head. The subscriber must be told before
    /// the first event.
    ahead: bool,
    /// Whether the subscription keeps the task.
    hold: Hold,
    /// True if the subscriber has received anything of the task.
    told: bool,
    /// The task's state, to be delivered first.
    greeting: Option<Arc<TaskSnapshot>>,
    /// All events after the cursor, as the pass saw them last, if one chunk contains them. A
    /// look at the log instead would make the publisher wait for its lock. It would also cut the
    /// next events into small chunks.
    offered: Option<Arc<Chunk>>,
    ready: bool,
}

impl State {
    /// Removes a task.
    fn remove(&mut self, key: usize) -> Option<Watched> {
        let watched = self.watched.try_remove(key)?;
        let id = watched.task.id();
        if let Some(keys) = self.keys.get_mut(id) {
            keys.retain(|known| *known != key);
            if keys.is_empty() {
                self.keys.remove(id);
            }
        }
        Some(watched)
    }

    /// Adds a task that has appeared. Returns false if the task is known already.
    fn appears(&mut self, task: &Arc<Task>) -> bool {
        for key in self.keys.get(task.id()).cloned().unwrap_or_default() {
            let Some(known) = self.watched.get_mut(key) else {
                continue;
            };
            if Arc::ptr_eq(&known.task, task) {
                return false;
            }
            // The task existed before. Deliver the rest of its old log before the new log.
            if !std::mem::replace(&mut known.ready, true) {
                self.ready.push_back(key);
            }
        }
        true
    }

    /// Puts every task with undelivered events on the ready list.
    fn look_everywhere(&mut self) {
        for (key, watched) in &mut self.watched {
            watched.offered = None;
            let behind = watched.lag() > 0;
            if behind && !std::mem::replace(&mut watched.ready, true) {
                self.ready.push_back(key);
            }
        }
    }
}

impl Watched {
    /// Returns the number of events between the cursor and the head.
    fn lag(&self) -> u64 {
        self.reader.cursor().lag(self.task.topic())
    }

    /// Takes the chunk that the pass offered, if it can be delivered unchanged. For later events
    /// the pass comes again.
    fn take_offered(&mut self, closed: bool, skip: SkipPolicy) -> Option<Run> {
        let chunk = self.offered.take()?;
        let (from, to) = (self.reader.cursor().next_offset(), chunk.last());
        let count = to - from + 1;
        let plain = !closed && !self.ahead && self.reader.is_plain() && self.greeting.is_none();
        if !plain || count > BATCH || self.lag() > skip.behind {
            return None;
        }
        self.reader.advance(count);
        self.told = true;
        self.ready = false;
        Some(Run::new(&chunk, from, to))
    }
}

/// A page that the store is reading, and the task that it belongs to.
struct Fetching {
    key: usize,
    task: Arc<Task>,
    page: Pin<Box<dyn Future<Output = View> + Send>>,
}

/// The deliveries that the stream has taken from the logs, and the reads that are under way.
struct Taking {
    skip: SkipPolicy,
    /// Deliveries that were taken from the log, but not yet from the stream.
    batch: VecDeque<Taken>,
    view: View,
    /// Tasks that need a page of the store.
    cold: VecDeque<usize>,
}

/// Deliveries that were taken from a log, but not yet from the stream. Records are created on
/// demand and do not move through a queue. This and a run's own record count reduced eight
/// subscribers from 11 to 7 % of a benchmark's time (perf).
enum Taken {
    Events(Run),
    Merged(EventRecord),
    Told(Box<Delivery>),
}

impl Taken {
    /// Returns the number of deliveries.
    fn len(&self) -> u64 {
        match self {
            Self::Events(run) => run.len(),
            Self::Merged(_) | Self::Told(_) => 1,
        }
    }
}

#[derive(Default)]
struct State {
    watched: Slab<Watched>,
    ready: VecDeque<usize>,
    /// The places of tasks in `watched`. An id has several places if its task was removed and
    /// came back before the old log was read to its end.
    keys: HashMap<TaskId, Vec<usize>>,
    waker: Option<Waker>,
    pattern: Option<PatternId>,
    closed: bool,
}

pub(crate) struct Inner {
    shared: Arc<Shared>,
    state: Lock<State, place::Subscriber>,
    /// The number of deliveries that were taken from logs and are not finished. Zero unless the
    /// caller reports what is finished.
    taken: AtomicU64,
    pattern: Option<Pattern>,
    /// True if each task begins with its state.
    snapshots: bool,
    /// This value itself, to attach to tasks that its pattern discovers.
    me: Weak<Inner>,
}

impl Inner {
    fn lock(&self) -> Guard<'_, State, place::Subscriber> {
        self.state.lock()
    }

    /// Attaches to a task. Returns `None` if the task has just left the registry.
    fn attach(
        &self,
        state: &mut State,
        task: &Arc<Task>,
        start: &Start,
        hold: Hold,
    ) -> Option<Standing> {
        let me: Arc<dyn Watcher> = self.me.upgrade()?;
        let key = state.watched.vacant_key();
        let attached = task.topic().attach(me, key, hold)?;
        let joined = task.topic().join(start);
        // The first step may have a notice, even without events.
        let greeting = joined.standing.snapshot.clone();
        let greeting = greeting.filter(|_| self.snapshots);
        let ready = *start != Start::Live || greeting.is_some();
        state.watched.insert(Watched {
            task: Arc::clone(task),
            attached,
            reader: Reader::at(joined.cursor),
            ahead: joined.ahead,
            hold,
            told: false,
            greeting,
            offered: None,
            ready,
        });
        state.keys.entry(task.id().clone()).or_default().push(key);
        if ready {
            state.ready.push_back(key);
        }
        Some(joined.standing)
    }

    /// Notes that taken events are finished.
    pub(crate) fn done(&self, events: u64) {
        self.taken.fetch_sub(events, Ordering::SeqCst);
    }

    /// Returns the number of events between the finished events and the heads of the tasks. If
    /// nobody reports what is finished, these are the events that are still in the logs.
    pub(crate) fn lag(&self) -> u64 {
        let state = self.lock();
        let watched = state.watched.iter();
        let ahead: u64 = watched.map(|(_, watched)| watched.lag()).sum();
        ahead + self.taken.load(Ordering::SeqCst)
    }

    /// Adds tasks of the pattern that the pass has not announced. After a shutdown the pass does
    /// not come any more.
    fn take_up_all(&self, state: &mut State) {
        let Some(pattern) = &self.pattern else { return };
        let tasks = self.shared.tasks.page(pattern.prefix(), None, usize::MAX);
        for task in tasks.iter().filter(|task| pattern.matches(task.id())) {
            if state.appears(task) {
                self.attach(state, task, &Start::Appeared, Hold::Follows);
            }
        }
    }
}

impl Watcher for Inner {
    fn advance(&self, key: usize, topic: &Arc<Topic>, view: &mut View) -> Advance {
        let waker = {
            let mut state = self.lock();
            if state.closed {
                return Advance::Gone;
            }
            // The key may belong to another task since the pass copied it.
            let Some(watched) = state
                .watched
                .get_mut(key)
                .filter(|watched| Arc::ptr_eq(watched.task.topic(), topic))
            else {
                return Advance::Done;
            };
            // One chunk with all events after the cursor, or `None`. It also replaces an offer that
            // was not taken.
            watched.offered = watched.reader.cursor().rest_in(view);
            if std::mem::replace(&mut watched.ready, true) {
                return Advance::Done;
            }
            state.ready.push_back(key);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Advance::Done
    }
}

impl PatternWatcher for Inner {
    fn discovered(&self, _: usize, task: &Arc<Task>) {
        let waker = {
            let mut guard = self.lock();
            let state = &mut *guard;
            if state.closed {
                return;
            }
            if !state.appears(task) {
                return;
            }
            self.attach(state, task, &Start::Appeared, Hold::Follows);
            // The subscription is ready from the start, so its first `advance` wakes no task.
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A stream of [`Delivery`]s. The stream ends when the bus is shut down.
///
/// Memory does not grow with lag. A slow subscriber loses the oldest events and gets a gap.
/// Dropping the subscription unsubscribes it.
#[must_use = "dropping the subscription unsubscribes it"]
pub struct Subscription {
    inner: Arc<Inner>,
    standing: Option<Standing>,
    event_types: Option<HashSet<EventType>>,
    taking: Taking,
    /// The current fetch. Only one runs at a time. Other tasks that need one wait in
    /// [`Taking::cold`].
    fetching: Option<Fetching>,
    closing: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// True if the bus has been shut down and all logs have been read since.
    ended: bool,
    /// The number of deliveries since the runtime's budget was asked.
    uncounted: u8,
    /// True if events count as taken until the caller reports them as finished.
    handled_later: bool,
    /// The state of each task of a watch, after the updates that were taken from the stream.
    states: Option<States>,
}

impl EventBus {
    /// Subscribes to a task (`bus.subscribe(&task_id)`), a pattern, or a [`Filter`].
    pub fn subscribe(&self, filter: impl Into<Filter>) -> Subscription {
        let filter = filter.into();
        let inner = Arc::new_cyclic(|me| Inner {
            shared: Arc::clone(&self.shared),
            state: Lock::default(),
            taken: AtomicU64::new(0),
            pattern: match &filter.subject {
                Subject::Pattern(pattern) => Some(pattern.clone()),
                Subject::Task(_) => None,
            },
            snapshots: filter.snapshots,
            me: me.clone(),
        });
        let standing = match &filter.subject {
            Subject::Task(task_id) => loop {
                // Look the task up without this subscription's lock, because creating a task
                // calls pattern watchers.
                let task = self.task_or_new(task_id);
                let standing = inner.attach(&mut inner.lock(), &task, &filter.start, Hold::Keeps);
                if standing.is_some() {
                    break standing;
                }
            },
            Subject::Pattern(pattern) => {
                let mut state = inner.lock();
                let watcher = Arc::clone(&inner) as Arc<dyn PatternWatcher>;
                let (id, tasks) = self.watch_pattern(pattern, watcher, 0);
                state.pattern = Some(id);
                for task in &tasks {
                    inner.attach(&mut state, task, &filter.start, Hold::Follows);
                }
                None
            }
        };
        let stop = self.shared.stop.clone();
        Subscription {
            inner,
            standing,
            event_types: filter.event_types,
            taking: Taking {
                skip: filter.skip.unwrap_or(self.shared.config.skip),
                batch: VecDeque::new(),
                view: View::default(),
                cold: VecDeque::new(),
            },
            fetching: None,
            closing: Box::pin(async move { stop.cancelled().await }),
            ended: false,
            uncounted: 0,
            handled_later: false,
            states: filter.snapshots.then(States::default),
        }
    }

    /// Watches a task, a pattern or a [`Filter`]. For each task, the stream yields its state
    /// first and then its updates, as a client's watch does.
    ///
    /// ```
    /// # use tidings_bus::{BusConfig, EventBus, Update};
    /// # use tidings_protocol::{NewEvent, TaskId, TaskStatus};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = EventBus::new(BusConfig::default())?;
    /// # let task: TaskId = "render-7".parse()?;
    /// bus.publish(&task, NewEvent::task_started("Render")).await?;
    /// let mut watch = bus.watch(&task);
    /// while let Some(update) = watch.recv().await {
    ///     match update {
    ///         Update::Snapshot(state) => assert_eq!(state.status, TaskStatus::Running),
    ///         Update::Event(event) => println!("{}", event.event_type()),
    ///         Update::Gap { gap, .. } => println!("{} to {} will not come", gap.from, gap.to),
    ///         _ => {}
    ///     }
    /// #   break;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch(&self, filter: impl Into<Filter>) -> Subscription {
        self.subscribe(filter.into().snapshots())
    }
}

impl Subscription {
    /// Lets the caller report when an event is finished. Returns the value that takes the
    /// report.
    pub(crate) fn handled_later(&mut self) -> Arc<Inner> {
        self.handled_later = true;
        Arc::clone(&self.inner)
    }

    /// Returns the state of the log when the subscription began. The first live event is the one
    /// after it. Returns `None` for a pattern.
    pub fn standing(&self) -> Option<&Standing> {
        self.standing.as_ref()
    }

    /// Returns the state of a task after the last update that was taken. Returns `None` if the
    /// task has had no update yet, and for a subscription without
    /// [`snapshots`](Filter::snapshots).
    pub fn state(&self, task_id: &TaskId) -> Option<&Arc<TaskSnapshot>> {
        self.states.as_ref()?.get(task_id)
    }

    /// Returns the number of events between this subscription and the heads of its tasks.
    pub fn lag(&self) -> u64 {
        let waiting: u64 = self.taking.batch.iter().map(Taken::len).sum();
        match self.handled_later {
            true => self.inner.lag(),
            false => self.inner.lag() + waiting,
        }
    }

    /// Returns the next delivery. Returns `None` when the bus has been shut down.
    ///
    /// # Cancel safety
    /// A dropped future loses no delivery.
    pub async fn recv(&mut self) -> Option<Delivery> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Counts a delivery. `coop` is there if the runtime's budget was asked for it.
    fn count(&mut self, coop: Option<RestoreOnPending>) {
        self.uncounted += 1;
        if let Some(coop) = coop {
            coop.made_progress();
            self.uncounted = 0;
        }
    }

    /// Returns the next delivery that was taken from the log.
    fn next_taken(&mut self) -> Option<Delivery> {
        loop {
            if let Taken::Events(run) = self.taking.batch.front_mut()? {
                let wanted = self.event_types.as_ref();
                let before = run.len();
                let next = run
                    .find(|record| wanted.is_none_or(|types| types.contains(record.event_type())));
                let passed_over = before - run.len() - u64::from(next.is_some());
                if self.handled_later && passed_over > 0 {
                    self.inner.done(passed_over);
                }
                if let Some(record) = next {
                    return Some(Delivery::Event(record));
                }
            }
            match self.taking.batch.pop_front() {
                Some(Taken::Told(told)) => return Some(*told),
                Some(Taken::Merged(record)) => {
                    let wanted = self.event_types.as_ref();
                    if wanted.is_none_or(|types| types.contains(record.event_type())) {
                        return Some(Delivery::Event(record));
                    }
                    if self.handled_later {
                        self.inner.done(1);
                    }
                }
                _ => {}
            }
        }
    }

    /// Takes the next events of one ready task into the batch. Returns false if no task is
    /// ready.
    fn refill(&mut self, waker: Option<&Waker>) -> bool {
        let inner = &*self.inner;
        let mut state = inner.lock();
        let waiting = self.taking.batch.len();
        let ready = self.taking.next(inner, &mut state, waker);
        // Count while the lock is held. Otherwise an event that has just left the log would be
        // in no count.
        if self.handled_later {
            let taken = self.taking.batch.iter().skip(waiting).map(Taken::len);
            inner.taken.fetch_add(taken.sum(), Ordering::SeqCst);
        }
        ready
    }
}

impl Taking {
    /// Takes the next events of one ready task. Returns false if no task is ready.
    fn next(&mut self, inner: &Inner, state: &mut State, waker: Option<&Waker>) -> bool {
        let Some(key) = state.ready.pop_front() else {
            state.waker = waker.cloned();
            return false;
        };
        let Some(watched) = state.watched.get_mut(key) else {
            return true;
        };
        let topic = &Arc::clone(watched.task.topic());
        let counters = &inner.shared.counters;
        // Read this first. The view of a closed topic then contains the topic's last event.
        let closed = topic.is_closed();
        if let Some(run) = watched.take_offered(closed, self.skip) {
            counters.delivered(run.len());
            self.batch.push_back(Taken::Events(run));
            return true;
        }
        topic.fill(&mut self.view, watched.reader.cursor().next_offset());
        if let Some(state) = watched.greeting.take() {
            watched.told = true;
            let told = Box::new(Delivery::Snapshot(state));
            self.batch.push_back(Taken::Told(told));
        }
        let mut taken = 0;
        // Once the topic is closed, the task also leaves watchers that named it.
        let follows = watched.hold == Hold::Follows || closed;
        let caught_up = loop {
            let next = match std::mem::take(&mut watched.ahead) {
                true => Next::Reset(ResetReason::Ahead),
                false => watched
                    .reader
                    .next(topic, &mut self.view, self.skip, follows),
            };
            let told = match next {
                Next::CaughtUp | Next::Over => break true,
                // A watch keeps states, so it needs the epoch. For other subscribers each event
                // contains its epoch.
                Next::Begun if inner.snapshots => {
                    let epoch = watched.task.epoch();
                    let empty = TaskSnapshot::new(watched.task.id().clone(), epoch);
                    Delivery::Snapshot(empty.into())
                }
                Next::Begun => continue,
                Next::Page(_) => {
                    counters.delivered(taken);
                    // Ready from the view of its topic. The task comes back with its page.
                    self.cold.push_back(key);
                    self.view.chunks.clear();
                    return true;
                }
                Next::Reset(reason) => {
                    counters.reset(reason);
                    Delivery::Reset {
                        task_id: watched.task.id().clone(),
                        reason,
                        offset: watched.reader.cursor().delivered(),
                        snapshot: watched.task.snapshot(),
                    }
                }
                Next::Gap(gap) => {
                    counters.gap(&gap);
                    let conflated = gap.reason == GapReason::Conflated;
                    Delivery::Gap {
                        task_id: watched.task.id().clone(),
                        gap,
                        snapshot: if conflated { None } else { topic.snapshot() },
                    }
                }
                Next::Merged { .. } | Next::Events { .. } if taken >= BATCH => break false,
                Next::Merged { from, to } => {
                    let view = watched.reader.view(&self.view);
                    let framing = inner.shared.framing();
                    let Some(merged) = view.merge(from, to, framing) else {
                        break false;
                    };
                    watched.told = true;
                    watched.reader.advance(merged.offset().get() + 1 - from);
                    taken += 1;
                    self.batch.push_back(Taken::Merged(merged));
                    continue;
                }
                Next::Events { from, to } => {
                    let to = to.min(from + (BATCH - taken) - 1);
                    watched.told = true;
                    let runs = watched.reader.view(&self.view).runs(from, to);
                    let before = taken;
                    for run in runs {
                        taken += run.len();
                        self.batch.push_back(Taken::Events(run));
                    }
                    watched.reader.advance(taken - before);
                    continue;
                }
            };
            watched.told = true;
            self.batch.push_back(Taken::Told(Box::new(told)));
        };
        counters.delivered(taken);
        watched.ready = !caught_up;
        if !caught_up {
            state.ready.push_back(key);
        } else if closed {
            topic.detach(watched.attached);
            let removed = watched.told.then(|| Delivery::Removed {
                task_id: watched.task.id().clone(),
            });
            state.remove(key);
            self.batch
                .extend(removed.map(|removed| Taken::Told(Box::new(removed))));
        }
        self.view.clear();
        true
    }
}

impl Subscription {
    /// Fetches pages for cold tasks, one after the other. Returns true when a page has come.
    fn poll_fetch(&mut self, cx: &mut Context<'_>) -> bool {
        if self.fetching.is_none()
            && let Some(key) = self.taking.cold.pop_front()
        {
            let state = self.inner.lock();
            let Some(watched) = state.watched.get(key) else {
                return true;
            };
            let task = Arc::clone(&watched.task);
            let shared = Arc::clone(&self.inner.shared);
            let fetch = cold::fetch_page(shared, Arc::clone(&task), *watched.reader.cursor());
            self.fetching = Some(Fetching {
                key,
                task,
                page: Box::pin(fetch),
            });
        }
        let Some(fetching) = &mut self.fetching else {
            return false;
        };
        let Poll::Ready(page) = fetching.page.as_mut().poll(cx) else {
            return false;
        };
        let mut state = self.inner.lock();
        if let Some(watched) = state.watched.get_mut(fetching.key)
            && Arc::ptr_eq(&watched.task, &fetching.task)
        {
            watched.reader.take_page(page);
            state.ready.push_back(fetching.key);
        }
        drop(state);
        self.fetching = None;
        true
    }
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let this = &mut *self;
        // With a backlog the stream is always ready, and other tasks of the runtime must run.
        let coop = match this.uncounted < UNCOUNTED {
            true => None,
            false => Some(ready!(tokio::task::coop::poll_proceed(cx))),
        };
        // The usual delivery is made in its place. Each move of a delivery costs as much as all of
        // the rest.
        if let Some(Taken::Events(run)) = this.taking.batch.front_mut()
            && this.event_types.is_none()
            && this.states.is_none()
            && let Some(record) = run.next()
        {
            this.count(coop);
            return Poll::Ready(Some(Delivery::Event(record)));
        }
        loop {
            if let Some(delivery) = this.next_taken() {
                this.count(coop);
                if let Some(states) = &mut this.states {
                    states.take(&delivery);
                }
                return Poll::Ready(Some(delivery));
            }
            if !this.refill(Some(cx.waker())) && !this.poll_fetch(cx) {
                if this.ended {
                    return Poll::Ready(None);
                }
                ready!(this.closing.as_mut().poll(cx));
                // The pass has ended too. It may not have visited this subscription for the last
                // events.
                this.ended = true;
                let mut state = this.inner.lock();
                this.inner.take_up_all(&mut state);
                state.look_everywhere();
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let (watched, pattern) = {
            let mut state = self.inner.lock();
            state.closed = true;
            state.waker = None;
            (std::mem::take(&mut state.watched), state.pattern.take())
        };
        if let Some(id) = pattern {
            self.inner.shared.unwatch_pattern(id);
        }
        for (_, watched) in watched {
            watched.task.topic().detach(watched.attached);
            life::forget_if_unused(&self.inner.shared, &watched.task);
        }
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("lag", &self.lag())
            .finish_non_exhaustive()
    }
}
