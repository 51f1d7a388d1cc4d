//! The handle of a bus. Every call to a bus starts here.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use tidings_protocol::{NewEvent, Offset, Pattern, TaskId, TaskSnapshot, TaskStatus};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use crate::cluster::broker::{Announcement, Notice};
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
use crate::tasks::trees;

/// The tasks of a process, their logs, their publishers and their watchers.
///
/// An `EventBus` is a handle. Clones are cheap and share one bus. When the last handle is
/// dropped, the bus stops its own tasks, and its streams and handlers end.
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
    /// Stops the bus's own tasks when the last handle is dropped.
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
    /// Creates a bus that keeps its tasks in memory.
    ///
    /// # Errors
    /// Fails if a setting cannot work, or if there is no tokio runtime.
    pub fn new(config: BusConfig) -> Result<Self, BusConfigError> {
        let bus = Self::build(config, None)?;
        bus.start(bus.notices());
        Ok(bus)
    }

    /// Opens a bus that keeps its tasks in `store`, and loads the store's tasks.
    ///
    /// # Errors
    /// Fails as [`new`](Self::new) does, and if the store cannot be read.
    pub async fn open(config: BusConfig, store: Arc<dyn Store>) -> Result<Self, BusOpenError> {
        let bus = Self::build(config, Some(Arc::clone(&store)))?;
        // What other nodes publish while the store is read waits here.
        let notices = bus.notices();
        if bus.shared.interest.is_some() {
            // The bus reads a task from this store when a caller asks for the task.
            bus.start(notices);
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
        bus.shared.read_trees(&store).await?;
        // Start the workers last. They publish, and the trees just read would replace the sums that
        // such an event changes.
        bus.start(notices);
        Ok(bus)
    }

    fn build(config: BusConfig, store: Option<Arc<dyn Store>>) -> Result<Self, BusConfigError> {
        config.validate()?;
        let runtime = Handle::try_current().map_err(|_| BusConfigError::NoRuntime)?;
        let shared = Shared::new(config, store, runtime);
        if shared.config.broker.is_some() && shared.behind.is_some() {
            return Err(BusConfigError::BehindIsShared);
        }
        let stop = shared.stop.clone();
        Ok(Self {
            shared,
            _alive: Arc::new(stop.drop_guard()),
        })
    }

    fn notices(&self) -> Option<mpsc::Receiver<Notice>> {
        let broker = self.shared.config.broker.as_ref()?;
        Some(broker.notices())
    }

    /// Starts the bus's background tasks and its fan-out workers.
    fn start(&self, notices: Option<mpsc::Receiver<Notice>>) {
        let shared = &self.shared;
        let stop = &shared.stop;
        let workers = match shared.config.fanout_workers {
            0 => shared.runtime().metrics().num_workers(),
            workers => workers,
        };
        for _ in 0..workers {
            let counters = Arc::clone(&shared.counters);
            let tasks = Arc::clone(&shared.tasks);
            let told = (tasks, Arc::clone(&shared.trees.watchers));
            shared.spawn(Arc::clone(&shared.fanout).run(told, counters, stop.clone()));
        }
        shared.spawn(lease::run(Arc::clone(shared), stop.clone()));
        shared.spawn(lease::take_overdue(Arc::clone(shared), stop.clone()));
        shared.spawn(questions::run(Arc::clone(shared), stop.clone()));
        shared.spawn(trees::publish::run(Arc::clone(shared), stop.clone()));
        shared.spawn(retention::run(Arc::clone(shared), stop.clone()));
        if let (Some(store), Some(_)) = (&shared.store, &shared.behind) {
            shared.spawn(behind::run(
                Arc::clone(shared),
                Arc::clone(store),
                stop.clone(),
            ));
        }
        if let Some(notices) = notices {
            shared.spawn(mirror::run(Arc::clone(shared), notices, stop.clone()));
        }
    }

    /// Publishes one event.
    ///
    /// # Errors
    /// See [`PublishError`]. After `Unavailable` and `Closed`, the store may still have stored
    /// the event. Publish it again with the same `event_id`. After any other error nothing has
    /// changed.
    ///
    /// # Cancel safety
    /// Without a store, the first poll publishes the event. With a store, a dropped future
    /// leaves open whether the event was published. A retry with the same `event_id` is
    /// harmless.
    // No `async fn`: it would move the event once more.
    pub fn publish(
        &self,
        task_id: &TaskId,
        event: NewEvent,
    ) -> impl Future<Output = Result<Published, PublishError>> + Send {
        self.publish_as(None, task_id, event)
    }

    /// Publishes one event as [`publish`](Self::publish) does. If the event declares a task,
    /// `account` pays for the task and for everything that the task will hold.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    ///
    /// # Cancel safety
    /// As [`publish`](Self::publish).
    pub fn publish_for(
        &self,
        account: &Account,
        task_id: &TaskId,
        event: NewEvent,
    ) -> impl Future<Output = Result<Published, PublishError>> + Send {
        self.publish_as(Some(account), task_id, event)
    }

    async fn publish_as(
        &self,
        account: Option<&Account>,
        task_id: &TaskId,
        event: NewEvent,
    ) -> Result<Published, PublishError> {
        let began = Instant::now();
        let payload = self.shared.read(&event)?;
        let prepared = Prepared::of(account, event, payload);
        let result = match self.shared.store {
            None => self.shared.publish_alone(task_id, &prepared, began),
            // Boxed, because otherwise a publish in memory would move the large future of a
            // store.
            Some(_) => Box::pin(self.shared.publish_prepared(task_id, prepared)).await,
        };
        self.shared.counters.timings.publish.note(began.elapsed());
        // A loop of publishes must let other tasks of the runtime run.
        tokio::task::coop::consume_budget().await;
        result
    }

    /// Publishes events. Events of one task are published in order. Each event gets its own
    /// answer, at its own place. A refused event does not stop the other events.
    ///
    /// If events go to a store first, they go there together. A batch then takes as long as one
    /// event.
    ///
    /// # Cancel safety
    /// As [`publish`](Self::publish), for each event.
    pub async fn publish_batch(
        &self,
        events: Vec<(TaskId, NewEvent)>,
    ) -> Vec<Result<Published, PublishError>> {
        self.publish_batch_as(None, events).await
    }

    /// Publishes events as [`publish_batch`](Self::publish_batch) does. `account` pays for the
    /// tasks that the events declare.
    ///
    /// # Cancel safety
    /// As [`publish`](Self::publish), for each event.
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
        // Boxed for the same reason as in `publish_as`.
        Box::pin(self.publish_batch_through(store, account, events)).await
    }

    /// Publishes events that go to the store first.
    async fn publish_batch_through(
        &self,
        store: &Arc<dyn Store>,
        account: Option<&Account>,
        events: Vec<(TaskId, NewEvent)>,
    ) -> Vec<Result<Published, PublishError>> {
        let began = Instant::now();
        let mut answers = Vec::with_capacity(events.len());
        let mut known = HashMap::new();
        let mut tasks: Vec<(TaskId, Vec<usize>, Vec<Arc<Prepared>>)> = Vec::new();
        for (place, (task_id, event)) in events.into_iter().enumerate() {
            // The answer of this event until the store has answered.
            answers.push(Err(PublishError::Closed));
            let prepared = match self.shared.read(&event) {
                Ok(payload) => {
                    let prepared = Prepared::of(account, event, payload);
                    let checked = self.shared.check_shared_tree(&task_id, &prepared).await;
                    checked.map(|()| prepared)
                }
                Err(refused) => Err(refused),
            };
            match prepared {
                Ok(prepared) => {
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

    /// Returns the task with this id, if the bus knows it.
    pub fn task(&self, task_id: &TaskId) -> Option<Arc<Task>> {
        self.shared.tasks.get(task_id)
    }

    /// Returns the task with this id. Creates the task if it is new, so that it can be watched.
    ///
    /// Attach to the task's topic next. If that returns `None`, the bus forgot the task in the
    /// meantime: call this method again. [`detach`](Self::detach) forgets a task without
    /// watchers and events.
    pub fn task_or_new(&self, task_id: &TaskId) -> Arc<Task> {
        self.shared.task_or_new(task_id)
    }

    /// Returns the task with this id. A task that is new is charged to `account`
    /// until its first event, because it exists for a subscriber alone. See
    /// [`task_or_new`](Self::task_or_new), which charges the bus's own account.
    ///
    /// # Errors
    /// Fails if the account, or all clients together, have reached their limit. The bus has then
    /// not created the task.
    pub fn task_for(&self, account: &Account, task_id: &TaskId) -> Result<Arc<Task>, OverLimit> {
        self.shared.task_for(account, task_id)
    }

    /// Returns the task's state. Returns `None` if no event was published to the task, or if
    /// only the store has it. [`find`](Self::find) reads the store too.
    pub fn snapshot(&self, task_id: &TaskId) -> Option<Arc<TaskSnapshot>> {
        self.task(task_id)
            .filter(|task| task.is_declared())
            .map(|task| task.snapshot())
    }

    /// Returns the states of up to `limit` tasks, in order of their ids, after `after`. The ids
    /// begin with `prefix`, and the tasks have the status `status`.
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

    /// Removes a task. Its watchers receive a reset (`removed`). If the task comes back, they
    /// see it from its start. Returns false if the bus did not know the task.
    ///
    /// # Errors
    /// Fails if the store did not confirm the removal. The bus still knows the task, and the
    /// store may have removed it. Remove the task again.
    ///
    /// # Cancel safety
    /// The removal continues after the future is dropped. The caller cannot tell whether it has
    /// finished.
    pub async fn remove(&self, task_id: &TaskId) -> Result<bool, StoreError> {
        let known = self.shared.fetch(task_id, None).await?;
        let Some(task) = known.filter(|task| task.is_declared()) else {
            return Ok(false);
        };
        let shared = Arc::clone(&self.shared);
        let removing = self.shared.to_its_end(async move {
            let task_id = task.id().clone();
            // Held to the end. A publish during the removal would continue the old numbers.
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

    /// Returns the counters of the bus, with their current values.
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

    /// Returns the counters, for a watcher that delivers events without a stream of the bus.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    /// Returns the ledger. The ledger records how much memory each account holds.
    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// Sets the header that the bus writes in front of events. This works only if the
    /// configuration names no header and no event was published. Returns whether the bus uses
    /// `framing`. If it does not, a transport with another framing must frame each event anew.
    pub fn use_framing(&self, framing: Framing) -> bool {
        self.shared.use_framing(framing)
    }

    /// Returns the header that the bus writes in front of events.
    pub fn framing(&self) -> &Framing {
        self.shared.framing()
    }

    /// Returns the settings of the bus.
    pub fn config(&self) -> &BusConfig {
        &self.shared.config
    }

    /// Detaches a watcher. Forgets the task if it is undeclared and has no other watcher.
    pub fn detach(&self, task: &Arc<Task>, id: AttachId) {
        task.topic().detach(id);
        self.shared.forget_if_unused(task);
    }

    /// Forgets a task that has no events and no watcher that keeps it.
    pub fn forget_if_unused(&self, task: &Arc<Task>) {
        self.shared.forget_if_unused(task);
    }

    /// Attaches a pattern. Returns the tasks that match now. `watcher` is told of matching tasks
    /// that appear later.
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
            // Fetch tasks that appeared after the caller fetched the pattern.
            self.shared.spawn_fetch_matching(pattern.clone());
        }
        watched
    }

    /// Attaches a pattern. `watcher` is told of matching tasks that appear from now on.
    /// [`tasks_matching`](Self::tasks_matching) returns the tasks that match already.
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
            // Fetch tasks that appeared after the caller fetched the pattern.
            self.shared.spawn_fetch_matching(pattern.clone());
        }
        id
    }

    /// Returns up to `limit` tasks that match a pattern, in order of their ids, after the given
    /// id. Tasks without events are included.
    pub fn tasks_matching(
        &self,
        pattern: &Pattern,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Vec<Arc<Task>> {
        self.shared.tasks.page(pattern.prefix(), after, limit)
    }

    /// Detaches a pattern. The watcher itself must detach its cursors on the pattern's tasks.
    pub fn unwatch_pattern(&self, id: PatternId) {
        self.shared.unwatch_pattern(id);
    }

    /// Creates a log outside the registry, such as a client's inbox.
    pub fn detached_topic(&self) -> Arc<Topic> {
        self.detached_topic_from(1)
    }

    /// Creates a log outside the registry. Its first offset is `first`.
    pub fn detached_topic_from(&self, first: u64) -> Arc<Topic> {
        let log = Log::new(None, self.shared.epoch());
        let mut log = Log::part(&log, first.max(1));
        log.charge_to(self.shared.ledger.own());
        Topic::new(log, Arc::clone(&self.shared.fanout))
    }

    /// Charges the memory of a detached log to `account` from now on. Before this call, the
    /// bus's own account pays for it.
    pub fn charge_detached(&self, topic: &Arc<Topic>, account: &Account) {
        topic.lock().charge_to(account);
    }

    /// Appends one line of JSON to a detached log. Returns its offset, or `None` if the log was
    /// [released](Self::release_detached).
    pub fn append_detached(
        &self,
        topic: &Arc<Topic>,
        limits: &LogLimits,
        event_type: tidings_protocol::EventType,
        write: impl FnOnce(u64, &mut Vec<u8>),
    ) -> Option<u64> {
        let at = self.shared.config.clock.now();
        let offset = {
            let mut log = topic.lock();
            if log.closed {
                return None;
            }
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
        Some(offset)
    }

    /// Drops the records of a detached log, releases their bytes and closes the log.
    pub fn release_detached(&self, topic: &Arc<Topic>) {
        let mut log = topic.lock();
        log.trim_all();
        log.closed = true;
        topic.mirror(&mut log);
    }

    /// Returns whether the bus can accept a publish. Returns false while the store refuses
    /// events.
    pub fn is_available(&self) -> bool {
        let store = self.shared.store.as_ref();
        store.is_none_or(|store| store.is_available())
    }

    /// Stops the bus as [`finish`](Self::finish) does. Returns true if nothing is left: the
    /// store has every event, and the handlers have handled every event.
    ///
    /// # Cancel safety
    /// As [`finish`](Self::finish).
    pub async fn shutdown(&self) -> bool {
        self.finish().await.is_complete()
    }

    /// Cancels the tasks that this process [runs](Self::run), and lets them report it for up to
    /// [`SCOPES_WINDOW`](crate::defaults::SCOPES_WINDOW). Then stops the bus's own tasks and
    /// waits for them. The bus refuses publishes. Streams end after the events that were
    /// published before. Handlers continue until they have handled those events, for at most
    /// [`handler_drain`](BusConfig::handler_drain). The bus writes the remaining events to the
    /// store and closes the store.
    ///
    /// # Cancel safety
    /// A dropped future may leave the bus partly stopped, with unsaved events and an open store.
    pub async fn finish(&self) -> Finished {
        self.shared.closing.cancel();
        self.shared.scopes.close();
        let _ = tokio::time::timeout(SCOPES_WINDOW, self.shared.scopes.wait()).await;
        self.shared.stop();
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
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn closed(&self) {
        self.shared.stop.cancelled().await;
    }
}

/// The remainder of a bus that has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "what is left is lost if nobody looks"]
pub struct Finished {
    /// True if the store took everything and was closed. If false, the next start recovers as
    /// after a crash.
    pub saved: bool,
    /// The number of events that handlers had not handled when their time was over.
    pub unhandled: u64,
}

impl Finished {
    /// Returns whether nothing is left.
    pub fn is_complete(&self) -> bool {
        self.saved && self.unhandled == 0
    }
}

/// The reason why a bus could not open a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusOpenError {
    /// The settings do not work.
    #[error(transparent)]
    Config(#[from] BusConfigError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}
