//! What all handles of a bus share, and the ways a publish can take.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLockReadGuard};

use tidings_protocol::{Epoch, NewEvent, ResetReason, TaskId, Timestamp};
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
use crate::log::{Framing, Log};
use crate::publish::append::{Prepared, PublishError, Published, Refused};
use crate::publish::behind::Behind;
use crate::publish::together::Ready;
use crate::stats::Counters;
use crate::store::{Store, StoreError, Timed, Write};
use crate::tasks::lease::Leases;
use crate::tasks::listing::Listing;
use crate::tasks::registry::{PatternId, Tasks};
use crate::tasks::room::Room;
use crate::tasks::task::{Rules, Task};

/// One bus.
pub(crate) struct Shared {
    pub(crate) config: BusConfig,
    /// The header in front of events: fixed with the first one.
    framing: OnceLock<Framing>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) fanout: Arc<Fanout>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) ledger: Ledger,
    pub(crate) leases: Leases,
    pub(crate) handlers: Mutex<Handlers>,
    pub(crate) store: Option<Arc<dyn Store>>,
    /// Where the store is shared, and tasks are read when they are asked for.
    pub(crate) interest: Option<Arc<dyn Interest>>,
    /// How many tasks are brought up to others' news at a time.
    pub(crate) mirroring: tokio::sync::Semaphore,
    /// What has yet to be handed to a store that is written behind.
    pub(crate) behind: Option<Behind>,
    /// Tasks with events that are to go to a store first.
    pub(crate) ready: Ready,
    pub(crate) started: Instant,
    /// What the clock said then.
    pub(crate) started_at: Timestamp,
    pub(crate) room: Room,
    /// The own store has no task that is not in memory.
    pub(crate) all_here: AtomicBool,
    pub(crate) listing: Listing,
    /// When the store last made the bus refuse an event.
    pub(crate) refused_at: Mutex<Option<Instant>>,
    pub(crate) stop: CancellationToken,
    /// The bus is about to stop: work that is run as tasks is cancelled.
    pub(crate) closing: CancellationToken,
    /// Work that is run as tasks.
    pub(crate) scopes: TaskTracker,
    pub(crate) tracker: TaskTracker,
    runtime: Handle,
    /// Random text for this life of the bus.
    boot: String,
    /// Counts removals: a task made after one may be the removed one again,
    /// and must not go on in its numbers.
    removals: AtomicU64,
    epoch: Mutex<(u64, Epoch)>,
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
        Arc::new(Self {
            ledger: Ledger::new(config.ledger_limits()),
            tasks: Arc::default(),
            fanout: Arc::new(Fanout::default()),
            counters,
            leases: Leases::default(),
            handlers: Mutex::default(),
            store,
            interest,
            mirroring: tokio::sync::Semaphore::new(mirror::AT_A_TIME),
            behind: behind.then(Behind::default),
            framing: config.framing.map(OnceLock::from).unwrap_or_default(),
            config,
            ready: Ready::default(),
            started: Instant::now(),
            started_at,
            room: Room::default(),
            all_here: AtomicBool::new(true),
            listing: Listing::default(),
            refused_at: Mutex::default(),
            stop: CancellationToken::new(),
            closing: CancellationToken::new(),
            scopes: TaskTracker::new(),
            tracker: TaskTracker::new(),
            runtime,
            boot,
            removals: AtomicU64::new(0),
            epoch: Mutex::new((0, epoch)),
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

    pub(crate) fn lock_handlers(&self) -> MutexGuard<'_, Handlers> {
        self.handlers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn prepare(&self, event: NewEvent) -> Result<Prepared, PublishError> {
        Prepared::new(event, self.config.max_event_bytes)
            .and_then(|prepared| {
                self.check_schema(&prepared.payload)?;
                Ok(prepared)
            })
            .inspect_err(|error| self.note_refusal(error))
    }

    fn note_refusal(&self, error: &PublishError) {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        if matches!(error, PublishError::Unavailable(_)) {
            // A producer that is refused for this reason is not silent.
            self.note_refused();
        }
    }

    /// Publishes where there is a store: it has the event first, or later.
    pub(crate) async fn publish_prepared(
        self: &Arc<Self>,
        task_id: &TaskId,
        prepared: Prepared,
    ) -> Result<Published, PublishError> {
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

    /// Publishes to one task, in order, where a store has events first.
    pub(crate) async fn publish_all(
        self: &Arc<Self>,
        store: &Arc<dyn Store>,
        task_id: &TaskId,
        events: Vec<Arc<Prepared>>,
    ) -> Vec<Result<Published, PublishError>> {
        let refusal = if self.stop.is_cancelled() {
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

    /// Waits until an event can be taken that is to be saved later.
    async fn ready_behind(
        self: &Arc<Self>,
        task_id: &TaskId,
        prepared: &Prepared,
    ) -> Result<(), PublishError> {
        if self.stop.is_cancelled() {
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

    /// Publishes where memory has events first, and perhaps a store later.
    pub(crate) fn publish_alone(
        self: &Arc<Self>,
        task_id: &TaskId,
        prepared: &Prepared,
        now: Instant,
    ) -> Result<Published, PublishError> {
        let published = self.publish_present(task_id, prepared, now);
        // Without a store no task is absent.
        published.unwrap_or(Err(PublishError::Closed))
    }

    /// The same; none if the task has yet to be read from the store.
    fn publish_present(
        self: &Arc<Self>,
        task_id: &TaskId,
        prepared: &Prepared,
        now: Instant,
    ) -> Option<Result<Published, PublishError>> {
        let result = if self.stop.is_cancelled() {
            Err(PublishError::Closed)
        } else {
            self.publish_in_memory(task_id, prepared, now)?
        };
        Some(result.inspect_err(|error| self.note_refusal(error)))
    }

    fn publish_in_memory(
        self: &Arc<Self>,
        task_id: &TaskId,
        prepared: &Prepared,
        now: Instant,
    ) -> Option<Result<Published, PublishError>> {
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

    /// Reads the ids of a task's events from the store, if this event has one
    /// and they are not known.
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

    /// The store, if events are to be there before they are seen.
    pub(crate) fn writes_through(&self) -> Option<&Arc<dyn Store>> {
        self.store.as_ref().filter(|_| self.behind.is_none())
    }

    /// Keeps the bus from being closed while an event is appended that is to be
    /// saved later.
    pub(crate) fn enter(&self) -> Result<Option<RwLockReadGuard<'_, bool>>, PublishError> {
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

    /// The task with this id. The caller has it read if it is absent.
    pub(crate) fn task_or_absent(self: &Arc<Self>, task_id: &TaskId) -> Arc<Task> {
        let make = || self.new_task(task_id, self.ledger.own());
        self.get_or_insert(task_id, make).0
    }

    /// The task, made by `make` if it is new; says whether it is.
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

    /// The task with this id. If it is new, it is charged to `account`.
    pub(crate) fn task_for(
        self: &Arc<Self>,
        account: &Account,
        task_id: &TaskId,
    ) -> Result<Arc<Task>, OverLimit> {
        if let Some(task) = self.tasks.get(task_id) {
            return Ok(task);
        }
        // Asks for the room. The task has its own charge as soon as it is made.
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

    /// The epoch for logs made now.
    pub(crate) fn epoch(&self) -> Epoch {
        if self.interest.is_some() {
            // A task that this node forgot may have been removed elsewhere and
            // come back: no log's numbers may look like another's.
            return fresh_epoch();
        }
        let removals = self.removals.load(Ordering::SeqCst);
        let mut epoch = self
            .epoch
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if epoch.0 != removals {
            *epoch = (removals, epoch_text(&self.boot, removals));
        }
        epoch.1.clone()
    }

    /// Ends a task's life: out of the registry, or, while it is watched, back to offset 0.
    pub(crate) fn discard(&self, task: &Arc<Task>) {
        self.discard_if(task, |_| true);
        self.forget_empty(task);
    }

    /// Ends a task's life if `still` holds under its rules, so that no event comes
    /// between the decision and the end. The task stays in the registry: the caller
    /// forgets it when the store has.
    pub(crate) fn discard_if(&self, task: &Arc<Task>, still: impl FnOnce(&Rules) -> bool) -> bool {
        {
            let mut rules = task.lock_rules();
            if !still(&rules) {
                return false;
            }
            self.removals.fetch_add(1, Ordering::SeqCst);
            self.counters.removed.fetch_add(1, Ordering::Relaxed);
            self.displace(&mut rules);
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

    /// Runs work to its end, whatever becomes of who waits for it.
    pub(crate) async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (done, result) = tokio::sync::oneshot::channel();
        self.spawn(async move {
            // The receiver may have stopped waiting: that is no error.
            let _ = done.send(work.await);
        });
        result.await.ok()
    }

    /// Forgets a task that has no events, no watcher that keeps it, and no
    /// publisher.
    pub(crate) fn forget_if_unused(&self, task: &Arc<Task>) {
        // A publisher whose turn it is may have its event in the store already:
        // if the task went now, it would publish it once more.
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
            // Whoever attaches first inserts its entry, so the count is true here.
            if log.closed || log.head() > 0 || task.topic().keeper_count() > 0 {
                return false;
            }
            log.closed = true;
            task.topic().mirror(&mut log);
            true
        });
        if removed {
            // Followers have a last look, and let go.
            task.topic().announce();
        }
    }
}

fn fresh_epoch() -> Epoch {
    let text = &uuid::Uuid::new_v4().simple().to_string()[..12];
    Epoch::new(text).expect("hexadecimal digits are a valid epoch")
}

fn unavailable() -> PublishError {
    let cause = StoreError::Unavailable("it said so, and tries again by itself".into());
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
