//! The state that all handles of a bus share, and the ways of a publish.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tidings_protocol::{Epoch, NewEvent, Payload, ResetReason, TaskId, Timestamp};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::broker::Announcement;
use crate::cluster::interest::Interest;
use crate::cluster::mirror;
use crate::config::BusConfig;
use crate::deliver::handler::Handlers;
use crate::deliver::pass::Fanout;
use crate::deliver::topic::Topic;
use crate::ledger::{Account, Kind, Ledger, OverLimit};
use crate::lock::{Guard, Lock, Reading, place};
use crate::log::{Framing, Log};
use crate::publish::append::{Prepared, PublishError, Published, Refused, payload_of};
use crate::publish::behind::Behind;
use crate::publish::together::Ready;
use crate::stats::Counters;
use crate::store::{Store, StoreError, Timed, Write};
use crate::tasks::lease::Leases;
use crate::tasks::listing::Listing;
use crate::tasks::registry::{PatternId, Tasks};
use crate::tasks::room::Room;
use crate::tasks::task::{Rules, Task};
use crate::tasks::trees::Trees;
use crate::tasks::trees::families::Families;

/// One bus.
pub(crate) struct Shared {
    pub(crate) config: BusConfig,
    /// The header in front of events. The first event fixes it.
    framing: OnceLock<Framing>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) fanout: Arc<Fanout>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) ledger: Ledger,
    pub(crate) leases: Leases,
    pub(crate) handlers: Lock<Handlers, place::Handlers>,
    pub(crate) store: Option<Arc<dyn Store>>,
    /// Set if nodes share the store and tasks are read on demand.
    pub(crate) interest: Option<Arc<dyn Interest>>,
    /// Limits how many tasks take in events of other nodes at the same time.
    pub(crate) mirroring: tokio::sync::Semaphore,
    /// Events and tasks that a write-behind store does not have yet.
    pub(crate) behind: Option<Behind>,
    /// Tasks with events that must go to a store first.
    pub(crate) ready: Ready,
    pub(crate) started: Instant,
    /// The wall-clock time at which the bus was created.
    pub(crate) started_at: Timestamp,
    pub(crate) room: Room,
    /// True if every task of the bus's own store is in memory.
    pub(crate) all_here: AtomicBool,
    pub(crate) listing: Listing,
    pub(crate) trees: Trees,
    /// When the store last made the bus refuse an event.
    pub(crate) refused_at: Lock<Option<Instant>, place::Leaf>,
    pub(crate) stop: CancellationToken,
    /// Whether `stop` is cancelled. A publish reads this, because the token has a lock.
    stopped: AtomicBool,
    /// Cancelled when the bus is about to stop. This cancels the tasks that this process runs.
    pub(crate) closing: CancellationToken,
    /// The tasks that this process runs.
    pub(crate) scopes: TaskTracker,
    pub(crate) tracker: TaskTracker,
    runtime: Handle,
    /// Random text for this life of the bus.
    boot: String,
    /// Counts removals. A task that is created after a removal may be the removed task again,
    /// and must not continue its numbers.
    removals: AtomicU64,
    epoch: Lock<(u64, Epoch), place::Leaf>,
}

impl Shared {
    pub(crate) fn new(
        config: BusConfig,
        store: Option<Arc<dyn Store>>,
        runtime: Handle,
    ) -> Arc<Self> {
        let boot = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        let epoch = epoch_text(&boot, 0);
        let started_at = config.clock.now();
        let interest = config.broker.as_ref().and_then(|broker| broker.interest());
        let counters = Arc::new(Counters::default());
        let store = store
            .map(|store| -> Arc<dyn Store> { Arc::new(Timed::new(store, Arc::clone(&counters))) });
        let behind = store.as_ref().map(|store| store.write()) == Some(Write::Behind);
        let limits = config.ledger_limits();
        let ledger = Ledger::new(limits);
        if let Some(store) = &store {
            store.charge_to(ledger.own());
        }
        Arc::new(Self {
            trees: Trees::new(ledger.own()),
            ledger,
            tasks: Arc::default(),
            fanout: Arc::new(Fanout::default()),
            counters,
            leases: Leases::default(),
            handlers: Lock::default(),
            store,
            interest,
            mirroring: tokio::sync::Semaphore::new(mirror::AT_A_TIME),
            behind: behind.then(|| Behind::new(limits.tasks)),
            framing: config.framing.map(OnceLock::from).unwrap_or_default(),
            config,
            ready: Ready::default(),
            started: Instant::now(),
            started_at,
            room: Room::default(),
            all_here: AtomicBool::new(true),
            listing: Listing::default(),
            refused_at: Lock::default(),
            stop: CancellationToken::new(),
            stopped: AtomicBool::new(false),
            closing: CancellationToken::new(),
            scopes: TaskTracker::new(),
            tracker: TaskTracker::new(),
            runtime,
            boot,
            removals: AtomicU64::new(0),
            epoch: Lock::new((0, epoch)),
        })
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn_on(task, &self.runtime);
    }

    /// Returns the header in front of events.
    pub(crate) fn framing(&self) -> &Framing {
        self.framing.get_or_init(|| Framing::NONE)
    }

    pub(crate) fn use_framing(&self, framing: Framing) -> bool {
        self.framing.get_or_init(|| framing).name == framing.name
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(crate) fn lock_handlers(&self) -> Guard<'_, Handlers, place::Handlers> {
        self.handlers.lock()
    }

    /// Reads an event's data, and makes the checks that involve no task.
    pub(crate) fn read(&self, event: &NewEvent) -> Result<Payload, PublishError> {
        let read = payload_of(event, self.config.max_event_bytes);
        let checked = read.and_then(|payload| self.check_schema(&payload).map(|()| payload));
        checked.inspect_err(|error| self.note_refusal(error))
    }

    fn note_refusal(&self, error: &PublishError) {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        if matches!(error, PublishError::Unavailable(_)) {
            // A producer whose events are refused for this reason is not silent.
            self.note_refused();
        }
    }

    /// Publishes an event on a bus with a store. The store gets the event first, or later.
    pub(crate) async fn publish_prepared(
        self: &Arc<Self>,
        task_id: &TaskId,
        prepared: Prepared,
    ) -> Result<Published, PublishError> {
        self.check_shared_tree(task_id, &prepared).await?;
        if let Some(store) = self.writes_through() {
            let mut answers = self
                .publish_all(store, task_id, vec![Arc::new(prepared)])
                .await;
            return answers.pop().unwrap_or(Err(PublishError::Closed));
        }
        loop {
            self.ready_behind(task_id, &prepared)
                .await
                .inspect_err(|error| self.note_refusal(error))?;
            if let Some(published) = self.publish_present(task_id, &prepared, Instant::now()) {
                return published;
            }
        }
    }

    /// Publishes events to one task, in order, if the store gets events first.
    pub(crate) async fn publish_all(
        self: &Arc<Self>,
        store: &Arc<dyn Store>,
        task_id: &TaskId,
        events: Vec<Arc<Prepared>>,
    ) -> Vec<Result<Published, PublishError>> {
        let refusal = if self.is_stopped() {
            Some(PublishError::Closed)
        } else {
            (!store.is_available()).then(unavailable)
        };
        let answers = match refusal {
            Some(error) => vec![Err(error); events.len()],
            None => self.publish_through(store, task_id, &events).await,
        };
        for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            self.note_refusal(error);
        }
        answers
    }

    /// Waits until the bus can accept an event that will be saved later.
    async fn ready_behind(
        self: &Arc<Self>,
        task_id: &TaskId,
        prepared: &Prepared,
    ) -> Result<(), PublishError> {
        if self.is_stopped() {
            return Err(PublishError::Closed);
        }
        let (Some(store), Some(behind)) = (&self.store, &self.behind) else {
            return Ok(());
        };
        if !store.is_available() || !behind.room(&**store).await {
            return Err(unavailable());
        }
        let read = match self.fetch_own(task_id).await {
            Ok(_) => self.read_ids_for(task_id, prepared).await,
            Err(error) => Err(error),
        };
        read.map_err(|error| PublishError::Unavailable(Arc::new(error)))
    }

    /// Publishes an event that memory gets first. A store may get it later.
    pub(crate) fn publish_alone(
        self: &Arc<Self>,
        task_id: &TaskId,
        prepared: &Prepared,
        now: Instant,
    ) -> Result<Published, PublishError> {
        let published = self.publish_present(task_id, prepared, now);
        // Without a store no task is absent.
        published.unwrap_or_else(|| Err(PublishError::Closed))
    }

    /// Publishes an event to a task in memory. Returns `None` if the task must first be read
    /// from the store.
    fn publish_present(
        self: &Arc<Self>,
        task_id: &TaskId,
        prepared: &Prepared,
        now: Instant,
    ) -> Option<Result<Published, PublishError>> {
        let result = self.publish_in_memory(task_id, prepared, now);
        if let Some(Err(error)) = &result {
            self.note_refusal(error);
        }
        result
    }

    /// Stops the bus's own tasks, and refuses publishes from now on.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.stop.cancel();
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn publish_in_memory(
        self: &Arc<Self>,
        task_id: &TaskId,
        prepared: &Prepared,
        now: Instant,
    ) -> Option<Result<Published, PublishError>> {
        if self.is_stopped() {
            return Some(Err(PublishError::Closed));
        }
        loop {
            let task = self.task_or_absent(task_id);
            if task.is_absent() {
                return None;
            }
            let result = self.append(&task, &mut task.lock_rules(), prepared, now);
            match result {
                Ok(published) => {
                    task.topic().announce_since(now);
                    self.keep_to_limit();
                    return Some(Ok(published));
                }
                Err(Refused::Answer(answer)) => {
                    if answer.is_err() {
                        self.forget_if_unused(&task);
                    }
                    return Some(answer);
                }
                Err(Refused::Removed) => {}
            }
        }
    }

    /// Reads the ids of a task's events from the store, if this event has an id and they are not
    /// known.
    async fn read_ids_for(&self, task_id: &TaskId, prepared: &Prepared) -> Result<(), StoreError> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        if prepared.event.event_id.is_none() {
            return Ok(());
        }
        match self.tasks.get(task_id) {
            Some(task) if task.cold.load(Ordering::SeqCst) => {
                let _turn = task.commit.lock().await;
                self.read_ids(store, &task).await
            }
            _ => Ok(()),
        }
    }

    /// Returns the trees of the store, if nodes share it.
    pub(crate) fn families(&self) -> Option<&dyn Families> {
        self.interest.as_ref()?;
        self.store.as_ref()?.families()
    }

    /// Returns the store, if it must have events before subscribers see them.
    pub(crate) fn writes_through(&self) -> Option<&Arc<dyn Store>> {
        self.store.as_ref().filter(|_| self.behind.is_none())
    }

    /// Keeps the bus open while the caller appends an event that will be saved later.
    pub(crate) fn enter(
        &self,
    ) -> Result<Option<Reading<'_, bool, place::Publishing>>, PublishError> {
        let entered = self.behind.as_ref().map(Behind::enter);
        match entered {
            Some(closed) if *closed => Err(PublishError::Closed),
            entered => Ok(entered),
        }
    }

    pub(crate) async fn tell_others(&self, announcement: Announcement) {
        let Some(broker) = &self.config.broker else {
            return;
        };
        let task_id = announcement.task_id.clone();
        if let Err(error) = broker.announce(announcement).await {
            tracing::warn!(%task_id, %error, "the other nodes were not told of a change");
        }
    }

    pub(crate) fn task_or_new(self: &Arc<Self>, task_id: &TaskId) -> Arc<Task> {
        let task = self.task_or_absent(task_id);
        if task.is_absent() {
            self.spawn_fill(&task);
        }
        task
    }

    /// Returns the task with this id. If the task is absent, the caller has it read.
    pub(crate) fn task_or_absent(self: &Arc<Self>, task_id: &TaskId) -> Arc<Task> {
        let make = || self.new_task(task_id, self.ledger.own());
        self.get_or_insert(task_id, make).0
    }

    /// Returns the task, and whether it is new. `make` creates a new task.
    pub(crate) fn get_or_insert(
        &self,
        task_id: &TaskId,
        make: impl FnOnce() -> Arc<Task>,
    ) -> (Arc<Task>, bool) {
        let inserted = self.tasks.get_or_insert(task_id, make);
        if let Some(appeared) = inserted.appeared {
            self.fanout.appeared(appeared);
        }
        (inserted.task, inserted.new)
    }

    pub(crate) fn unwatch_pattern(&self, id: PatternId) {
        self.tasks.unwatch(id, || {
            if let Some(interest) = &self.interest {
                interest.watch_new(false);
            }
        });
    }

    /// Returns the task with this id. A new task is charged to `account`.
    pub(crate) fn task_for(
        self: &Arc<Self>,
        account: &Account,
        task_id: &TaskId,
    ) -> Result<Arc<Task>, OverLimit> {
        if let Some(task) = self.tasks.get(task_id) {
            return Ok(task);
        }
        // Checks the limit. The task has its own charge as soon as it is created.
        let _room = account.charge(Kind::Undeclared, crate::defaults::TASK_BYTES as u64)?;
        let make = || self.new_task(task_id, account);
        let task = self.get_or_insert(task_id, make).0;
        if task.is_absent() {
            self.spawn_fill(&task);
        }
        Ok(task)
    }

    pub(crate) fn new_task(&self, task_id: &TaskId, account: &Account) -> Arc<Task> {
        let mut log = Log::new(Some(task_id.clone()), self.epoch());
        if self.behind.is_some() {
            log.set_saved(0);
            log.outputs.track();
        }
        log.charge_to(account);
        let interest = self.interest.as_ref();
        let interest = interest.map(|interest| (task_id.clone(), Arc::clone(interest)));
        let topic = Topic::of_interest(log, Arc::clone(&self.fanout), interest);
        let task = Task::new(task_id.clone(), topic, account, Instant::now());
        task.absent.store(self.is_stored(task_id), Ordering::SeqCst);
        task
    }

    /// Returns the epoch for logs that are created now.
    pub(crate) fn epoch(&self) -> Epoch {
        if self.interest.is_some() {
            // A task that this node forgot may have been removed and created again on another
            // node. Its numbers must not look like those of the old log.
            return fresh_epoch();
        }
        let removals = self.removals.load(Ordering::SeqCst);
        let mut epoch = self.epoch.lock();
        if epoch.0 != removals {
            *epoch = (removals, epoch_text(&self.boot, removals));
        }
        epoch.1.clone()
    }

    /// Ends a task's life. The task leaves the registry, or starts again at offset 0 if it is
    /// watched.
    pub(crate) fn discard(&self, task: &Arc<Task>) {
        self.discard_if(task, |_| true);
        self.forget_empty(task);
    }

    /// Ends a task's life if `still` holds under its rules. No event can come between the
    /// decision and the end. The task stays in the registry. The caller forgets it when the
    /// store has forgotten it.
    pub(crate) fn discard_if(&self, task: &Arc<Task>, still: impl FnOnce(&Rules) -> bool) -> bool {
        {
            let mut rules = task.lock_rules();
            if !still(&rules) {
                return false;
            }
            self.removals.fetch_add(1, Ordering::SeqCst);
            self.counters.removed.fetch_add(1, Ordering::Relaxed);
            self.displace(&mut rules);
            self.forget_kin(task);
            self.relist(task, &mut rules, None);
            rules.reset(Instant::now());
            self.schedule_lease(task, &mut rules);
            task.cold.store(false, Ordering::SeqCst);
            let mut log = task.topic().lock();
            if let Some(behind) = &self.behind {
                behind.settle(log.waiting());
            }
            log.reset(self.epoch(), ResetReason::Removed);
            task.topic().mirror(&mut log);
        }
        task.topic().announce();
        true
    }

    /// Runs work to its end, even if the caller drops the returned future.
    pub(crate) async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (done, result) = tokio::sync::oneshot::channel();
        self.spawn(async move {
            // The receiver may have been dropped. This is no error.
            let _ = done.send(work.await);
        });
        result.await.ok()
    }

    /// Forgets a task without events, without a publisher, and without a watcher that keeps it.
    pub(crate) fn forget_if_unused(&self, task: &Arc<Task>) {
        // A publisher with the turn may have stored its event already. If the task left now, the
        // publisher would publish the event twice.
        if let Ok(_turn) = task.commit.try_lock() {
            self.forget_empty(task);
        }
    }

    pub(crate) fn forget_empty(&self, task: &Arc<Task>) {
        if task.is_declared() || task.topic().keeper_count() > 0 {
            return;
        }
        let removed = self.tasks.remove_if(task.id(), |known| {
            if !Arc::ptr_eq(known, task) {
                return false;
            }
            let mut log = task.topic().lock();
            // The first watcher inserts its entry under this lock, so the count is correct here.
            if log.closed || log.head() > 0 || task.topic().keeper_count() > 0 {
                return false;
            }
            log.closed = true;
            task.topic().mirror(&mut log);
            true
        });
        if removed {
            // Followers look a last time and detach.
            task.topic().announce();
        }
    }
}

fn fresh_epoch() -> Epoch {
    let text = &uuid::Uuid::new_v4().simple().to_string()[..12];
    Epoch::new(text).expect("hexadecimal digits are a valid epoch")
}

fn unavailable() -> PublishError {
    let cause = StoreError::Unavailable(
        "the store accepts no events at the moment. Publishing resumes without your help".into(),
    );
    PublishError::Unavailable(Arc::new(cause))
}

fn epoch_text(boot: &str, removals: u64) -> Epoch {
    let text = if removals == 0 {
        boot.to_owned()
    } else {
        format!("{boot}.{removals}")
    };
    // Eight hexadecimal digits, a dot and at most twenty digits fit any epoch.
    Epoch::new(text).expect("boot text and a number are a valid epoch")
}
