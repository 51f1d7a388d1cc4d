//! The handle that everything goes through.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use tidings_protocol::{NewEvent, Offset, Pattern, TaskId, TaskSnapshot, TaskStatus};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use crate::cluster::broker::Announcement;
use crate::cluster::mirror;
use crate::config::{BusConfig, BusConfigError};
use crate::defaults::SCOPES_WINDOW;
use crate::deliver::topic::{AttachId, Topic};
use crate::ledger::{Account, Group, Ledger, OverLimit};
use crate::log::{Framing, Log, LogLimits};
use crate::publish::append::{Prepared, PublishError, Published};
use crate::publish::behind;
use crate::shared::Shared;
use crate::stats::{BusStats, Counters};
use crate::store::{Store, StoreError};
use crate::tasks::lease;
use crate::tasks::questions;
use crate::tasks::registry::{PatternId, PatternWatcher};
use crate::tasks::retention;
use crate::tasks::task::Task;

/// Tasks and their logs, and everyone who publishes to them or watches them.
///
/// A handle: clones are cheap and share one bus. When the last one is dropped
/// the bus's own tasks end, and streams and handlers with them.
///
/// ```
/// use tidings_bus::{BusConfig, Delivery, EventBus};
/// use tidings_protocol::{NewEvent, TaskId};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = EventBus::new(BusConfig::default())?;
/// let task: TaskId = "render-7".parse()?;
/// let mut watching = bus.subscribe(&task);
///
/// bus.publish(&task, NewEvent::task_started("Render")).await?;
/// bus.publish(&task, NewEvent::progress(40.0, "lighting")).await?;
///
/// if let Some(Delivery::Event(event)) = watching.recv().await {
///     assert_eq!(event.offset().get(), 1);
/// }
/// assert_eq!(bus.snapshot(&task).and_then(|task| task.progress), Some(40.0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EventBus {
    pub(crate) shared: Arc<Shared>,
    /// Ends the bus's tasks with the last handle.
    _alive: Arc<DropGuard>,
}

impl std::fmt::Debug for EventBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventBus")
            .field("tasks", &self.shared.tasks.len())
            .finish_non_exhaustive()
    }
}

impl EventBus {
    /// A bus that keeps its tasks in memory.
    ///
    /// # Errors
    /// A setting that cannot work, or no tokio runtime to run on.
    pub fn new(config: BusConfig) -> Result<Self, BusConfigError> {
        Self::build(config, None)
    }

    /// A bus whose tasks outlive it in `store`; takes in what is there.
    ///
    /// # Errors
    /// As [`new`](Self::new), or a store that cannot be read.
    pub async fn open(config: BusConfig, store: Arc<dyn Store>) -> Result<Self, BusOpenError> {
        let bus = Self::build(config, Some(Arc::clone(&store)))?;
        if bus.shared.interest.is_some() {
            // Tasks are read when somebody asks for them.
            return Ok(bus);
        }
        let found = store.open().await?;
        let more = store.list("", None, found.len() + 1).await?.len() > found.len();
        bus.shared.all_here.store(!more, Ordering::SeqCst);
        for stored in found {
            let task = bus.shared.task_or_absent(&stored.snapshot.task_id);
            bus.shared.adopt_cold(&task, stored);
            bus.shared.keep_to_limit();
        }
        Ok(bus)
    }

    fn build(config: BusConfig, store: Option<Arc<dyn Store>>) -> Result<Self, BusConfigError> {
        config.validate()?;
        let runtime = Handle::try_current().map_err(|_| BusConfigError::NoRuntime)?;
        let workers = match config.fanout_workers {
            0 => runtime.metrics().num_workers(),
            workers => workers,
        };
        let broker = config.broker.clone();
        let shared = Shared::new(config, store, runtime);
        if broker.is_some() && shared.behind.is_some() {
            return Err(BusConfigError::BehindIsShared);
        }
        let stop = shared.stop.clone();
        for _ in 0..workers {
            let counters = Arc::clone(&shared.counters);
            let tasks = Arc::clone(&shared.tasks);
            shared.spawn(Arc::clone(&shared.fanout).run(tasks, counters, stop.clone()));
        }
        shared.spawn(lease::run(Arc::clone(&shared), stop.clone()));
        shared.spawn(questions::run(Arc::clone(&shared), stop.clone()));
        shared.spawn(retention::run(Arc::clone(&shared), stop.clone()));
        if let (Some(store), Some(_)) = (&shared.store, &shared.behind) {
            shared.spawn(behind::run(
                Arc::clone(&shared),
                Arc::clone(store),
                stop.clone(),
            ));
        }
        if let Some(broker) = broker {
            shared.spawn(mirror::run(Arc::clone(&shared), broker, stop.clone()));
        }
        Ok(Self {
            shared,
            _alive: Arc::new(stop.drop_guard()),
        })
    }

    /// Publishes one event.
    ///
    /// # Errors
    /// See [`PublishError`]. After `Unavailable` and `Closed` the event may have
    /// been stored all the same: try again under the same `event_id`. After any
    /// other error nothing has changed.
    ///
    /// # Cancel safety
    /// Without a store the event is published when the future is first polled.
    /// With one, a dropped future leaves open whether it was; a retry under the
    /// same `event_id` is harmless.
    pub async fn publish(
        &self,
        task_id: &TaskId,
        event: NewEvent,
    ) -> Result<Published, PublishError> {
        self.publish_as(None, task_id, event).await
    }

    /// Publishes one event as [`publish`](Self::publish) does. A task that this
    /// declares is charged to `account`, with all that it will hold.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    ///
    /// # Cancel safety
    /// As [`publish`](Self::publish).
    pub async fn publish_for(
        &self,
        account: &Account,
        task_id: &TaskId,
        event: NewEvent,
    ) -> Result<Published, PublishError> {
        self.publish_as(Some(account), task_id, event).await
    }

    async fn publish_as(
        &self,
        account: Option<&Account>,
        task_id: &TaskId,
        event: NewEvent,
    ) -> Result<Published, PublishError> {
        let began = Instant::now();
        let mut prepared = self.shared.prepare(event)?;
        prepared.account = account.cloned();
        let result = match self.shared.store {
            None => self.shared.publish_alone(task_id, &prepared, began),
            // Boxed: a publish in memory would move about what a store takes.
            Some(_) => Box::pin(self.shared.publish_prepared(task_id, prepared)).await,
        };
        self.shared.counters.timings.publish.note(began.elapsed());
        // A loop of publishes must let others run, too.
        tokio::task::coop::consume_budget().await;
        result
    }

    /// Publishes events, those of one task in order; each gets its own answer, in
    /// its place, and a refused one does not keep the rest from being published.
    ///
    /// Where a store has events first they go there together: a batch takes as
    /// long as one event does.
    ///
    /// # Cancel safety
    /// As [`publish`](Self::publish), for each of them.
    pub async fn publish_batch(
        &self,
        events: Vec<(TaskId, NewEvent)>,
    ) -> Vec<Result<Published, PublishError>> {
        self.publish_batch_as(None, events).await
    }

    /// Publishes events as [`publish_batch`](Self::publish_batch) does. Tasks that
    /// they declare are charged to `account`.
    ///
    /// # Cancel safety
    /// As [`publish`](Self::publish), for each of them.
    pub async fn publish_batch_for(
        &self,
        account: &Account,
        events: Vec<(TaskId, NewEvent)>,
    ) -> Vec<Result<Published, PublishError>> {
        self.publish_batch_as(Some(account), events).await
    }

    async fn publish_batch_as(
        &self,
        account: Option<&Account>,
        events: Vec<(TaskId, NewEvent)>,
    ) -> Vec<Result<Published, PublishError>> {
        let Some(store) = self.shared.writes_through() else {
            let mut answers = Vec::with_capacity(events.len());
            for (task_id, event) in events {
                answers.push(self.publish_as(account, &task_id, event).await);
            }
            return answers;
        };
        let began = Instant::now();
        let mut answers = Vec::with_capacity(events.len());
        let mut known = HashMap::new();
        let mut tasks: Vec<(TaskId, Vec<usize>, Vec<Arc<Prepared>>)> = Vec::new();
        for (place, (task_id, event)) in events.into_iter().enumerate() {
            // Until the store has answered, this is what becomes of it.
            answers.push(Err(PublishError::Closed));
            match self.shared.prepare(event) {
                Ok(mut prepared) => {
                    prepared.account = account.cloned();
                    let task = *known.entry(task_id.clone()).or_insert_with(|| {
                        tasks.push((task_id, Vec::new(), Vec::new()));
                        tasks.len() - 1
                    });
                    let (_, places, events) = &mut tasks[task];
                    places.push(place);
                    events.push(Arc::new(prepared));
                }
                Err(error) => answers[place] = Err(error),
            }
        }
        let publishing = tasks
            .into_iter()
            .map(|(task_id, places, events)| async move {
                let published = self.shared.publish_all(store, &task_id, events).await;
                places.into_iter().zip(published)
            });
        for (place, published) in join_all(publishing).await.into_iter().flatten() {
            self.shared.counters.timings.publish.note(began.elapsed());
            answers[place] = published;
        }
        answers
    }

    /// The task with this id, if the bus knows it.
    pub fn task(&self, task_id: &TaskId) -> Option<Arc<Task>> {
        self.shared.tasks.get(task_id)
    }

    /// The task with this id, made if it is new, so that it can be watched.
    ///
    /// Attach to its topic next; if that gives none, the task was forgotten
    /// meanwhile and this is to be called again. A task that is neither watched
    /// nor published to is forgotten by [`detach`](Self::detach).
    pub fn task_or_new(&self, task_id: &TaskId) -> Arc<Task> {
        self.shared.task_or_new(task_id)
    }

    /// Returns the task with this id. A task that is new is charged to `account`
    /// until its first event, because it exists for a subscriber alone. See
    /// [`task_or_new`](Self::task_or_new), which charges the bus's own account.
    ///
    /// # Errors
    /// The account, or all clients together, hold as much as they may. The task
    /// was not made.
    pub fn task_for(&self, account: &Account, task_id: &TaskId) -> Result<Arc<Task>, OverLimit> {
        self.shared.task_for(account, task_id)
    }

    /// The task's state; none for a task to which nothing was published, and for
    /// one that is in the store alone: [`find`](Self::find) looks there too.
    pub fn snapshot(&self, task_id: &TaskId) -> Option<Arc<TaskSnapshot>> {
        self.task(task_id)
            .filter(|task| task.is_declared())
            .map(|task| task.snapshot())
    }

    /// States of up to `limit` tasks in order of their ids, after `after`, whose
    /// id begins with `prefix` and whose status is `status`.
    pub fn list(
        &self,
        prefix: &str,
        status: Option<TaskStatus>,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Vec<Arc<TaskSnapshot>> {
        let shared = &self.shared;
        let mut found = Vec::new();
        let mut after = after.cloned();
        while found.len() < limit {
            let wanted = (limit - found.len()).clamp(64, 1_024);
            let page = match status {
                Some(status) => shared.listing.page(status, prefix, after.as_ref(), wanted),
                None => shared.tasks.page(prefix, after.as_ref(), wanted),
            };
            let Some(last) = page.last() else { break };
            after = Some(last.id().clone());
            let left = limit - found.len();
            found.extend(
                page.iter()
                    .filter(|task| task.is_declared())
                    .map(|task| task.snapshot())
                    .filter(|snapshot| status.is_none_or(|status| snapshot.status == status))
                    .take(left),
            );
        }
        found
    }

    /// Removes a task. Those who watch it are told by a reset (`removed`)
    /// and see it start over if it comes back. False if it was not known.
    ///
    /// # Errors
    /// The store did not confirm the removal. The task is still known here, and the
    /// store may have removed it: remove it again.
    ///
    /// # Cancel safety
    /// The removal goes on to its end. A dropped future leaves open whether it
    /// has got there.
    pub async fn remove(&self, task_id: &TaskId) -> Result<bool, StoreError> {
        let known = self.shared.fetch(task_id, None).await?;
        let Some(task) = known.filter(|task| task.is_declared()) else {
            return Ok(false);
        };
        let shared = Arc::clone(&self.shared);
        let removing = self.shared.to_its_end(async move {
            let task_id = task.id().clone();
            // Held to the end: a publish in between would go on in the old numbers.
            let turn = task.commit.lock().await;
            if let Some(store) = &shared.store {
                store.remove(&task_id).await?;
            }
            shared.discard(&task);
            drop(turn);
            shared
                .tell_others(Announcement {
                    task_id,
                    epoch: task.epoch(),
                    head: Offset::ZERO,
                })
                .await;
            Ok(true)
        });
        removing.await.unwrap_or_else(|| {
            let cause = "the bus was shut down, or the store panicked";
            Err(StoreError::Unavailable(cause.into()))
        })
    }

    /// Counters, and what they stand at now.
    pub fn stats(&self) -> BusStats {
        BusStats {
            tasks: self.shared.tasks.len() as u64,
            bytes: self.shared.ledger.held(Group::Tasks),
            bytes_clients: self.shared.ledger.held(Group::Clients),
            memory_refused_account: self.shared.ledger.refused().0,
            memory_refused_clients: self.shared.ledger.refused().1,
            tasks_by_status: self.shared.listing.counts(),
            handlers: self.shared.lock_handlers().len() as u64,
            bytes_unsaved: self
                .shared
                .behind
                .as_ref()
                .map_or(0, |behind| behind.waiting() as u64),
            ..self.shared.counters.read()
        }
    }

    /// The counters, for a watcher that delivers by itself.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    /// Returns the ledger: who makes the server hold how much memory.
    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// Has the bus lay this header in front of events, if its configuration names none
    /// and there were no events yet. Returns whether it does: a transport that frames
    /// otherwise has to frame each event anew.
    pub fn use_framing(&self, framing: Framing) -> bool {
        self.shared.use_framing(framing)
    }

    /// Returns the header that the bus lays in front of events.
    pub fn framing(&self) -> &Framing {
        self.shared.framing()
    }

    /// The settings the bus was made with.
    pub fn config(&self) -> &BusConfig {
        &self.shared.config
    }

    /// Detaches a watcher; an undeclared task that nobody watches any more is forgotten.
    pub fn detach(&self, task: &Arc<Task>, id: AttachId) {
        task.topic().detach(id);
        self.shared.forget_if_unused(task);
    }

    /// Forgets a task that has no events, and no watcher that keeps it.
    pub fn forget_if_unused(&self, task: &Arc<Task>) {
        self.shared.forget_if_unused(task);
    }

    /// Attaches a pattern: gives the tasks that match now, and `watcher` hears
    /// of those that appear later.
    pub fn watch_pattern(
        &self,
        pattern: &Pattern,
        watcher: Arc<dyn PatternWatcher>,
        key: usize,
    ) -> (PatternId, Vec<Arc<Task>>) {
        let interest = self.shared.interest.as_ref();
        let comes = || {
            if let Some(interest) = interest {
                interest.watch_new(true);
            }
        };
        let watched = self.shared.tasks.watch(pattern, watcher, key, comes);
        if interest.is_some() {
            // What has appeared since the caller fetched them, if it did.
            self.shared.spawn_fetch_matching(pattern.clone());
        }
        watched
    }

    /// Attaches a pattern: `watcher` hears of tasks that appear from here on. Those
    /// that match already are given by [`tasks_matching`](Self::tasks_matching).
    pub fn attach_pattern(
        &self,
        pattern: &Pattern,
        watcher: Arc<dyn PatternWatcher>,
        key: usize,
    ) -> PatternId {
        let interest = self.shared.interest.as_ref();
        let comes = || {
            if let Some(interest) = interest {
                interest.watch_new(true);
            }
        };
        let id = self.shared.tasks.attach(pattern, watcher, key, comes);
        if interest.is_some() {
            // What has appeared since the caller fetched them, if it did.
            self.shared.spawn_fetch_matching(pattern.clone());
        }
        id
    }

    /// Returns up to `limit` tasks that a pattern matches, in order of their ids,
    /// after the one named. Tasks without events are among them.
    pub fn tasks_matching(
        &self,
        pattern: &Pattern,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Vec<Arc<Task>> {
        self.shared.tasks.page(pattern.prefix(), after, limit)
    }

    /// Detaches a pattern. Cursors on its tasks are the watcher's to detach.
    pub fn unwatch_pattern(&self, id: PatternId) {
        self.shared.unwatch_pattern(id);
    }

    /// A log outside the registry, such as a client's inbox.
    pub fn detached_topic(&self) -> Arc<Topic> {
        self.detached_topic_from(1)
    }

    /// The same, of which the first offset is `first`.
    pub fn detached_topic_from(&self, first: u64) -> Arc<Topic> {
        let log = Log::new(None, self.shared.epoch());
        let mut log = Log::part(&log, first.max(1));
        log.charge_to(self.shared.ledger.own());
        Topic::new(log, Arc::clone(&self.shared.fanout))
    }

    /// Charges what a detached log holds to an account from here on. It is the
    /// bus's own account before.
    pub fn charge_detached(&self, topic: &Arc<Topic>, account: &Account) {
        topic.lock().charge_to(account);
    }

    /// Appends one line of JSON to a detached log; gives its offset.
    pub fn append_detached(
        &self,
        topic: &Arc<Topic>,
        limits: &LogLimits,
        event_type: tidings_protocol::EventType,
        write: impl FnOnce(u64, &mut Vec<u8>),
    ) -> u64 {
        let at = self.shared.config.clock.now();
        let offset = {
            let mut log = topic.lock();
            let offset = log.append(
                self.shared.framing(),
                |offset, text| {
                    write(offset, text);
                    crate::log::Appended {
                        event_type,
                        timestamp: at,
                        data: (0, text.len()),
                        output: None,
                    }
                },
                &mut Vec::new(),
            );
            log.trim(limits);
            topic.mirror(&mut log);
            offset
        };
        topic.announce();
        offset
    }

    /// Drops a detached log's records, for the count of bytes.
    pub fn release_detached(&self, topic: &Arc<Topic>) {
        let mut log = topic.lock();
        log.trim_all();
        log.recount();
    }

    /// Whether a publish can be taken: false while the store refuses.
    pub fn is_available(&self) -> bool {
        let store = self.shared.store.as_ref();
        store.is_none_or(|store| store.is_available())
    }

    /// Stops the bus as [`finish`](Self::finish) does. Returns whether nothing is
    /// left: the store has everything, and handlers have handled everything.
    pub async fn shutdown(&self) -> bool {
        self.finish().await.is_complete()
    }

    /// Cancels work that is [run](Self::run) as tasks and lets it report that, for up
    /// to [`SCOPES_WINDOW`](crate::defaults::SCOPES_WINDOW). Then stops the bus's own
    /// tasks and waits for them. Publishes are refused, and streams end after what was
    /// published before. Handlers go on until they have handled that, for
    /// [`handler_drain`](BusConfig::handler_drain) at most. The store gets what it has
    /// yet to get, and is closed.
    pub async fn finish(&self) -> Finished {
        self.shared.closing.cancel();
        self.shared.scopes.close();
        let _ = tokio::time::timeout(SCOPES_WINDOW, self.shared.scopes.wait()).await;
        self.shared.stop.cancel();
        self.shared.tracker.close();
        self.shared.tracker.wait().await;
        let saved = match &self.shared.store {
            None => true,
            Some(store) => {
                let closed = behind::finish(&self.shared, store).await;
                if let Err(error) = &closed {
                    tracing::error!(%error, "the store was not closed in order");
                }
                closed.is_ok()
            }
        };
        let unhandled = &self.shared.counters.handler_unhandled;
        Finished {
            saved,
            unhandled: unhandled.load(Ordering::Relaxed),
        }
    }

    /// Completes when the bus has been shut down.
    pub async fn closed(&self) {
        self.shared.stop.cancelled().await;
    }
}

/// What a bus had left when it stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "what is left is lost if nobody looks"]
pub struct Finished {
    /// Whether the store took everything and was closed. Otherwise the next start
    /// is one after a crash.
    pub saved: bool,
    /// Events that handlers had yet to handle when their time was up.
    pub unhandled: u64,
}

impl Finished {
    /// Returns whether nothing is left.
    pub fn is_complete(&self) -> bool {
        self.saved && self.unhandled == 0
    }
}

/// Why a bus could not take in a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusOpenError {
    /// The settings.
    #[error(transparent)]
    Config(#[from] BusConfigError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}
