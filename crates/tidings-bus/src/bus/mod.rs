//! The handle of a bus. Every call to a bus starts here.

mod answer;
mod detached;
mod emit;
mod publish;
mod reads;
mod stop;
mod trees;
mod watching;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

use crate::cluster::broker::Notice;
use crate::cluster::mirror;
use crate::config::{BusConfig, BusConfigError};
use crate::ledger::{Group, Ledger};
use crate::log::Framing;
use crate::publish::save;
use crate::shared::Shared;
use crate::stats::{BusStats, Counters};
use crate::store::{Store, StoreError};
use crate::tasks::trees::{publish as parents, read};
use crate::tasks::{evict, expire, life, retention, shelf};

pub use answer::AnswerError;
pub use stop::Finished;

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
            let task = life::task_or_absent(&bus.shared, &stored.snapshot.task_id);
            shelf::adopt_cold(&bus.shared, &task, stored);
            evict::keep_to_limit(&bus.shared);
        }
        read::read_trees(&bus.shared, &store).await?;
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
        shared.spawn(expire::run(Arc::clone(shared), stop.clone()));
        shared.spawn(expire::take_overdue(Arc::clone(shared), stop.clone()));
        shared.spawn(expire::take_due(Arc::clone(shared), stop.clone()));
        shared.spawn(parents::run(Arc::clone(shared), stop.clone()));
        shared.spawn(retention::run(Arc::clone(shared), stop.clone()));
        if let (Some(store), Some(_)) = (&shared.store, &shared.behind) {
            shared.spawn(save::run(
                Arc::clone(shared),
                Arc::clone(store),
                stop.clone(),
            ));
        }
        if let Some(notices) = notices {
            shared.spawn(mirror::run(Arc::clone(shared), notices, stop.clone()));
        }
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
            handlers: self.shared.handlers.len() as u64,
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
