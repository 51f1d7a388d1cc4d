//! Subscribers inside the process: a stream of deliveries.

use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Waker, ready};

use futures_core::Stream;
use slab::Slab;
use tidings_protocol::{EventType, GapReason, Pattern, ResetReason, States, TaskId, TaskSnapshot};

use crate::bus::EventBus;
use crate::deliver::cursor::SkipPolicy;
use crate::deliver::delivery::Delivery;
use crate::deliver::filter::{Filter, Subject};
use crate::deliver::reader::{Next, Reader};
use crate::deliver::topic::{Advance, AttachId, Hold, Start, Topic, Watcher};
use crate::log::{Chunk, EventRecord, Run, Standing, View};
use crate::shared::Shared;
use crate::tasks::registry::{PatternId, PatternWatcher};
use crate::tasks::task::Task;

/// Events taken from one task before another has its turn.
const BATCH: u64 = 64;

struct Watched {
    task: Arc<Task>,
    attached: AttachId,
    reader: Reader,
    /// To be told before the first event: the position asked for lies after the head.
    ahead: bool,
    /// It goes when the task does.
    hold: Hold,
    /// It was told something of the task.
    told: bool,
    /// The task's state, to be told before anything else.
    greeting: Option<Arc<TaskSnapshot>>,
    /// All that the cursor has before it, as the pass saw it last, if that is in
    /// one chunk. To look at the log instead would have the publisher wait for
    /// its lock, and cut what is published next into chunks of an event or two.
    offered: Option<Arc<Chunk>>,
    ready: bool,
}

impl State {
    /// Lets go of a task.
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

    /// Takes up a task that has appeared. False if it is known already.
    fn appears(&mut self, task: &Arc<Task>) -> bool {
        for key in self.keys.get(task.id()).cloned().unwrap_or_default() {
            let Some(known) = self.watched.get_mut(key) else {
                continue;
            };
            if Arc::ptr_eq(&known.task, task) {
                return false;
            }
            // The task was here before, and what its old log has left to say
            // comes before anything of the new one.
            if !std::mem::replace(&mut known.ready, true) {
                self.ready.push_back(key);
            }
        }
        true
    }

    /// Puts everything on the ready list that has something before it.
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
    /// How many events lie between it and the head.
    fn lag(&self) -> u64 {
        self.reader.cursor().lag(self.task.topic())
    }

    /// What the pass offered, if that may be taken as it is. Whatever came after
    /// the pass looked has the pass come again.
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

/// A page on its way from the store, and whose it is.
struct Fetching {
    key: usize,
    task: Arc<Task>,
    page: Pin<Box<dyn Future<Output = View> + Send>>,
}

/// What was taken from a log and not yet from the stream. Records are made when
/// they are asked for, and not moved in and out of a queue: together with the
/// count of their own that a run's records have, this took eight subscribers from
/// 11 to 7 % of a benchmark's time (perf).
enum Taken {
    Events(Run),
    Merged(EventRecord),
    Told(Box<Delivery>),
}

#[derive(Default)]
struct State {
    watched: Slab<Watched>,
    ready: VecDeque<usize>,
    /// Where tasks are in `watched`: several of one id, if it was removed and came
    /// back before the old log was read to its end.
    keys: HashMap<TaskId, Vec<usize>>,
    waker: Option<Waker>,
    pattern: Option<PatternId>,
    closed: bool,
}

pub(crate) struct Inner {
    shared: Arc<Shared>,
    state: Mutex<State>,
    /// Events that were taken from logs and are not done with.
    taken: AtomicU64,
    pattern: Option<Pattern>,
    /// Each task begins with its state.
    snapshots: bool,
    /// Itself, to attach to tasks that its pattern discovers.
    me: Weak<Inner>,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Attaches to a task; none if it has just left the registry.
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
        // Its first step may have something to say, events or none.
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

    /// Notes that events that were taken are done with.
    pub(crate) fn done(&self, events: u64) {
        self.taken.fetch_sub(events, Ordering::SeqCst);
    }

    /// How many events lie between what is done and the heads of the tasks.
    pub(crate) fn lag(&self) -> u64 {
        let state = self.lock();
        let watched = state.watched.iter();
        let ahead: u64 = watched.map(|(_, watched)| watched.lag()).sum();
        ahead + self.taken.load(Ordering::SeqCst)
    }

    /// Takes up tasks of the pattern that the pass has not told of: after a
    /// shutdown it does not come by any more.
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
            // The key may have passed to another task since the pass copied it.
            let Some(watched) = state
                .watched
                .get_mut(key)
                .filter(|watched| Arc::ptr_eq(watched.task.topic(), topic))
            else {
                return Advance::Done;
            };
            // Of one that has not taken what it was offered before, this is all
            // or nothing, too.
            watched.offered = view.whole(watched.reader.cursor());
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
            // It is ready from the start, so its first `advance` will wake nobody.
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A stream of [`Delivery`]s. Ends when the bus is shut down.
///
/// Memory does not grow with lag: a slow subscriber falls off the retained end
/// and gets a gap. Dropping it unsubscribes.
pub struct Subscription {
    inner: Arc<Inner>,
    standing: Option<Standing>,
    event_types: Option<HashSet<EventType>>,
    skip: SkipPolicy,
    /// Taken from the log but not yet from the stream.
    batch: VecDeque<Taken>,
    view: View,
    /// One at a time; tasks that need one meanwhile wait in `cold`.
    fetching: Option<Fetching>,
    cold: VecDeque<usize>,
    closing: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The bus has been shut down, and all logs have been looked at since.
    ended: bool,
    /// Events count as taken until somebody says that they are done with.
    handled_later: bool,
    /// The state of each task of a watch, after the updates taken from the stream.
    states: Option<States>,
}

impl EventBus {
    /// Subscribes to a task (`bus.subscribe(&task_id)`), a pattern, or a [`Filter`].
    pub fn subscribe(&self, filter: impl Into<Filter>) -> Subscription {
        let filter = filter.into();
        let inner = Arc::new_cyclic(|me| Inner {
            shared: Arc::clone(&self.shared),
            state: Mutex::default(),
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
                // Looked up without our lock: making a task calls pattern watchers.
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
            skip: filter.skip.unwrap_or(self.shared.config.skip),
            batch: VecDeque::new(),
            view: View::default(),
            fetching: None,
            cold: VecDeque::new(),
            closing: Box::pin(async move { stop.cancelled().await }),
            ended: false,
            handled_later: false,
            states: filter.snapshots.then(States::default),
        }
    }

    /// Watches a task, a pattern or a [`Filter`]: of each task the state, then what
    /// comes next, as a client's watch does.
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
    /// Leaves it to the caller to say when an event is done with. Returns whom to
    /// tell.
    pub(crate) fn handled_later(&mut self) -> Arc<Inner> {
        self.handled_later = true;
        Arc::clone(&self.inner)
    }

    /// Where the task stood when this began: the first live event is the one
    /// after it. None for a pattern.
    pub fn standing(&self) -> Option<&Standing> {
        self.standing.as_ref()
    }

    /// Returns the state of a task after the last update that was taken. None if there
    /// was none of it yet, and for a subscription without
    /// [`snapshots`](Filter::snapshots).
    pub fn state(&self, task_id: &TaskId) -> Option<&Arc<TaskSnapshot>> {
        self.states.as_ref()?.get(task_id)
    }

    /// How many events lie between this and the heads of its tasks.
    pub fn lag(&self) -> u64 {
        self.inner.lag()
    }

    /// The next delivery; none when the bus has been shut down.
    ///
    /// # Cancel safety
    /// A dropped future loses nothing.
    pub async fn recv(&mut self) -> Option<Delivery> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The next of what was taken from the log.
    fn next_taken(&mut self) -> Option<Delivery> {
        loop {
            if let Taken::Events(run) = self.batch.front_mut()? {
                let wanted = self.event_types.as_ref();
                let before = run.len();
                let next = run
                    .find(|record| wanted.is_none_or(|types| types.contains(record.event_type())));
                let passed_over = before - run.len() - u64::from(next.is_some());
                if passed_over > 0 {
                    self.inner.done(passed_over);
                }
                if let Some(record) = next {
                    return Some(Delivery::Event(record));
                }
            }
            match self.batch.pop_front() {
                Some(Taken::Told(told)) => return Some(*told),
                Some(Taken::Merged(record)) => {
                    let wanted = self.event_types.as_ref();
                    if wanted.is_none_or(|types| types.contains(record.event_type())) {
                        return Some(Delivery::Event(record));
                    }
                }
                _ => {}
            }
        }
    }

    /// Takes the next events of one ready task into the batch; false if none is ready.
    fn refill(&mut self, waker: Option<&Waker>) -> bool {
        let mut state = self.inner.lock();
        let state = &mut *state;
        let Some(key) = state.ready.pop_front() else {
            state.waker = waker.cloned();
            return false;
        };
        let Some(watched) = state.watched.get_mut(key) else {
            return true;
        };
        let topic = &Arc::clone(watched.task.topic());
        let counters = &self.inner.shared.counters;
        // Asked first: a closed topic's view then holds its last word.
        let closed = topic.is_closed();
        if let Some(run) = watched.take_offered(closed, self.skip) {
            counters.delivered(run.len());
            self.inner.taken.fetch_add(run.len(), Ordering::SeqCst);
            self.batch.push_back(Taken::Events(run));
            return true;
        }
        topic.fill(&mut self.view, watched.reader.cursor().next_offset());
        if let Some(state) = watched.greeting.take() {
            watched.told = true;
            self.inner.taken.fetch_add(1, Ordering::SeqCst);
            let told = Box::new(Delivery::Snapshot(state));
            self.batch.push_back(Taken::Told(told));
        }
        let mut taken = 0;
        // Once closed, a task goes for whoever watches it by name, too.
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
                // A watch keeps states. To others each event tells its epoch.
                Next::Begun if self.inner.snapshots => {
                    let epoch = watched.task.epoch();
                    let empty = TaskSnapshot::new(watched.task.id().clone(), epoch);
                    Delivery::Snapshot(empty.into())
                }
                Next::Begun => continue,
                Next::Page(_) => {
                    counters.delivered(taken);
                    // Ready, as far as its topic is concerned: it comes back with
                    // its page.
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
                    let framing = self.inner.shared.framing();
                    let Some(merged) = view.merge(from, to, framing) else {
                        break false;
                    };
                    watched.told = true;
                    watched.reader.advance(merged.offset().get() + 1 - from);
                    self.inner.taken.fetch_add(1, Ordering::SeqCst);
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
                        self.inner.taken.fetch_add(run.len(), Ordering::SeqCst);
                        taken += run.len();
                        self.batch.push_back(Taken::Events(run));
                    }
                    watched.reader.advance(taken - before);
                    continue;
                }
            };
            watched.told = true;
            self.inner.taken.fetch_add(1, Ordering::SeqCst);
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
            let removed = removed.map(|removed| Taken::Told(Box::new(removed)));
            if let Some(removed) = removed {
                self.inner.taken.fetch_add(1, Ordering::SeqCst);
                self.batch.push_back(removed);
            }
        }
        self.view.clear();
        true
    }
}

impl Subscription {
    /// Fetches what cold tasks need, one after the other; true when a page came.
    fn poll_fetch(&mut self, cx: &mut Context<'_>) -> bool {
        if self.fetching.is_none()
            && let Some(key) = self.cold.pop_front()
        {
            let state = self.inner.lock();
            let Some(watched) = state.watched.get(key) else {
                return true;
            };
            let task = Arc::clone(&watched.task);
            let fetch = Arc::clone(&self.inner.shared)
                .fetch_page(Arc::clone(&task), *watched.reader.cursor());
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
        // With a backlog it is always ready, and others must run, too.
        let coop = ready!(tokio::task::coop::poll_proceed(cx));
        loop {
            if let Some(delivery) = this.next_taken() {
                coop.made_progress();
                if !this.handled_later {
                    this.inner.done(1);
                }
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
                // The pass has ended too, and may not have come by for what was
                // published last.
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
            self.inner.shared.forget_if_unused(&watched.task);
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
