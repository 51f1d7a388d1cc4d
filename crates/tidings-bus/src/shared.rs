//! The state that all handles of a bus share. Everything that acts on it is above this file.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tidings_protocol::{Epoch, TaskId, TaskSnapshot, Timestamp};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::broker::{Announcement, Interest};
use crate::cluster::incoming;
use crate::config::BusConfig;
use crate::deliver::handlers::Handlers;
use crate::deliver::pass::Fanout;
use crate::ledger::{Account, Ledger};
use crate::lock::{Lock, Reading, place};
use crate::log::{Framing, Log};
use crate::publish::behind::Behind;
use crate::publish::error::PublishError;
use crate::publish::ready::Ready;
use crate::stats::Counters;
use crate::store::families::Families;
use crate::store::{Store, Timed, Write};
use crate::tasks::leases::Leases;
use crate::tasks::listing::Listing;
use crate::tasks::registry::{PatternId, Tasks};
use crate::tasks::room::Room;
use crate::tasks::trees::keep::Trees;
use crate::tasks::trees::update;

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
    pub(crate) handlers: Handlers,
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
    pub(crate) removals: AtomicU64,
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
        // The times of leases count from here.
        let started = Instant::now();
        let shared_store = store.as_ref().filter(|_| interest.is_some());
        let keeps_leases = shared_store.is_some_and(|store| store.keeps_leases());
        Arc::new(Self {
            trees: Trees::new(ledger.own(), interest.is_none()),
            ledger,
            tasks: Arc::default(),
            fanout: Arc::new(Fanout::default()),
            counters,
            leases: Leases::new(started, keeps_leases),
            handlers: Handlers::default(),
            store,
            interest,
            mirroring: tokio::sync::Semaphore::new(incoming::AT_A_TIME),
            behind: behind.then(|| Behind::new(limits.tasks)),
            framing: config.framing.map(OnceLock::from).unwrap_or_default(),
            config,
            ready: Ready::default(),
            started,
            started_at,
            room: Room::default(),
            all_here: AtomicBool::new(true),
            listing: Listing::default(),
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

    /// Counts an event that was refused.
    pub(crate) fn note_refusal(&self, error: &PublishError) {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        if matches!(error, PublishError::Unavailable(_)) {
            // A producer whose events are refused for this reason is not silent.
            self.leases.note_refused();
        }
    }

    /// Stops the bus's own tasks, and refuses publishes from now on.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.stop.cancel();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Returns how long a parent must wait for its next update, if other nodes publish updates
    /// too.
    pub(crate) fn update_pause(&self, parent: &TaskSnapshot) -> Duration {
        match &self.interest {
            Some(_) => update::pause_left(parent, self.config.clock.now()),
            None => Duration::ZERO,
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

    /// Returns the store, if only this bus uses it.
    pub(crate) fn own_store(&self) -> Option<&Arc<dyn Store>> {
        self.store.as_ref().filter(|_| self.interest.is_none())
    }

    /// Returns the bus's own store, if it has tasks that are not in memory.
    pub(crate) fn shelf(&self) -> Option<&Arc<dyn Store>> {
        let own = self.own_store();
        own.filter(|_| !self.all_here.load(Ordering::SeqCst))
    }

    /// Returns whether the bus's own store has a task.
    pub(crate) fn is_stored(&self, task_id: &TaskId) -> bool {
        let store = self.own_store();
        store.is_some_and(|store| store.has(task_id))
    }

    /// Returns the store, if nodes share it and it keeps the time of leases for all of them.
    pub(crate) fn lease_keeper(&self) -> Option<&Arc<dyn Store>> {
        self.interest.as_ref()?;
        self.store.as_ref().filter(|store| store.keeps_leases())
    }

    /// Applies the limits of a log after a change. The caller mirrors the log.
    pub(crate) fn trim(&self, log: &mut Log) {
        let dropped = log.trim(&self.config.log_limits);
        if dropped > 0 {
            self.counters.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
    }

    /// Returns the account that pays for a publisher's task.
    pub(crate) fn payer<'a>(&'a self, account: Option<&'a Account>) -> &'a Account {
        account.unwrap_or(self.ledger.own())
    }

    /// Notes the oldest event in the store, if the store knows it.
    pub(crate) fn note_first(&self, log: &mut Log, task_id: &TaskId) {
        let first = self.store.as_ref().and_then(|store| store.first(task_id));
        if let Some(first) = first {
            log.set_stored_first(first.get());
        }
    }

    /// Converts a past time of day to an instant. Returns the earliest possible instant if the
    /// time is too long ago.
    ///
    /// The result is limited by twice the time since the bus began. A clock that jumps forward
    /// must not make every task look old.
    pub(crate) fn instant_of(&self, at: Timestamp) -> Instant {
        let passed = 2 * self.started.elapsed().as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let most = self.started_at.as_millis().saturating_add(passed);
        let now = self.config.clock.now().as_millis().min(most);
        let age = Duration::from_millis(now.saturating_sub(at.as_millis()));
        let now = Instant::now();
        now.checked_sub(age).unwrap_or(now)
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

    pub(crate) fn unwatch_pattern(&self, id: PatternId) {
        self.tasks.unwatch(id, || {
            if let Some(interest) = &self.interest {
                interest.watch_new(false);
            }
        });
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
}

fn fresh_epoch() -> Epoch {
    let text = &uuid::Uuid::new_v4().simple().to_string()[..12];
    Epoch::new(text).expect("hexadecimal digits are a valid epoch")
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
