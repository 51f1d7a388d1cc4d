//! The settings of a bus.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::cluster::broker::Broker;
use crate::defaults;
use crate::deliver::cursor::SkipPolicy;
use crate::ledger::LedgerLimits;
use crate::log::{Framing, LogLimits, OutputLimits};
use crate::tasks::schema::SchemaCheck;

/// The settings of an [`EventBus`](crate::EventBus). [`defaults`] explains the default values.
#[derive(Clone)]
#[non_exhaustive]
pub struct BusConfig {
    /// The most events and bytes that are kept per task. Default: 1,000 events, 256 KiB.
    pub log_limits: LogLimits,
    /// The most bytes of whole outputs. A snapshot holds only a part of a long output; the whole
    /// output is kept as long as the snapshot. Default: 1 MiB per output, 4 MiB per task.
    pub output_limits: OutputLimits,
    /// How long the events of a finished task are kept. Default: 1 h.
    pub finished_events_ttl: Duration,
    /// How long the snapshot of a finished task is kept. Default: 24 h.
    pub pinned_ttl: Duration,
    /// How long an unfinished task is kept after its last event. Default: 24 h.
    pub idle_ttl: Duration,
    /// The most bytes of all tasks and clients. Default: 256 MiB. Beyond it, the account that
    /// holds the most bytes gives memory back first. Events of ended tasks go first. Events of
    /// running tasks and states of ended tasks follow. Running tasks go last. Within each group,
    /// the tasks that have been quiet longest go first.
    pub total_bytes: usize,
    /// The part of `total_bytes` for what clients hold besides tasks: undeclared tasks, cursors,
    /// patterns, inboxes, unread answers and disconnected clients. The rest is for tasks. Default:
    /// `None`, a quarter. A larger part allows more subscribers, and leaves less room for history.
    pub clients_bytes: Option<usize>,
    /// The part of `clients_bytes` that one account may hold. Default: `None`, a quarter. With a
    /// smaller part, more accounts must act together to use up everything.
    pub account_bytes: Option<usize>,
    /// The number of event ids that are remembered per task. Default: 1,024.
    pub idempotency_ids: usize,
    /// How long an event id is remembered. Default: 5 min.
    pub idempotency_ttl: Duration,
    /// The largest encoded event, in bytes. Default: 64 KiB.
    pub max_event_bytes: usize,
    /// When a subscriber in the process skips events, unless it chooses its own policy. Default:
    /// never, because code that reads events usually wants all of them.
    pub skip: SkipPolicy,
    /// How long handlers may continue after the bus stops. Default: 10 s. Events that they have not
    /// handled by then are counted, and the handlers do not receive them.
    pub handler_drain: Duration,
    /// How often retention by time is applied. Default: 1 s.
    pub sweep_interval: Duration,
    /// The number of fan-out workers. 0 means one per worker thread of the runtime. Default: 0.
    pub fanout_workers: usize,
    /// The frame header that is stored in front of each event. Default: that of the transport that
    /// uses the bus, or none.
    pub framing: Option<Framing>,
    /// The clock for timestamps. Default: the system's clock.
    pub clock: Arc<dyn Clock>,
    /// Checks answers against the schemas of questions. Default none: a question with a schema is
    /// refused. A node that shares its store takes the question, because another node may check
    /// the answer, and refuses the answers.
    pub schemas: Option<Arc<dyn SchemaCheck>>,
    /// The other nodes. Default none: [`LocalBroker`](crate::LocalBroker).
    pub broker: Option<Arc<dyn Broker>>,
}

impl Default for BusConfig {
    fn default() -> Self {
        Self {
            log_limits: LogLimits {
                max_events: defaults::MAX_EVENTS,
                max_bytes: defaults::MAX_BYTES,
            },
            output_limits: OutputLimits {
                each: defaults::OUTPUT_BYTES,
                task: defaults::TASK_OUTPUT_BYTES,
            },
            finished_events_ttl: defaults::FINISHED_EVENTS_TTL,
            pinned_ttl: defaults::PINNED_TTL,
            idle_ttl: defaults::IDLE_TTL,
            total_bytes: defaults::TOTAL_BYTES,
            clients_bytes: None,
            account_bytes: None,
            idempotency_ids: defaults::IDEMPOTENCY_IDS,
            idempotency_ttl: defaults::IDEMPOTENCY_TTL,
            max_event_bytes: defaults::MAX_EVENT_BYTES,
            skip: SkipPolicy::NEVER,
            handler_drain: defaults::HANDLER_DRAIN,
            sweep_interval: defaults::SWEEP_INTERVAL,
            fanout_workers: 0,
            framing: None,
            clock: Arc::new(SystemClock),
            schemas: None,
            broker: None,
        }
    }
}

impl std::fmt::Debug for BusConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BusConfig")
            .field("log_limits", &self.log_limits)
            .field("total_bytes", &self.total_bytes)
            .field("framing", &self.framing)
            .finish_non_exhaustive()
    }
}

/// A setting that does not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BusConfigError {
    /// A limit of zero would keep nothing and deliver nothing.
    #[error("{field} must be at least {least}")]
    TooSmall {
        /// The name of the field.
        field: &'static str,
        /// The smallest value that works.
        least: u64,
    },
    /// `clients_bytes` is a part of `total_bytes`, and tasks need the rest.
    #[error("clients_bytes must be less than total_bytes: nothing is left for tasks")]
    NoRoomForTasks,
    /// A bus of a cluster takes in the events of other nodes from a store that decides about
    /// offsets. A store that is written behind does not decide about offsets.
    #[error("a store that is written behind cannot be shared with other nodes")]
    BehindIsShared,
    /// The bus spawns its fan-out workers on the runtime in which it is created.
    #[error("the bus must be made inside a tokio runtime")]
    NoRuntime,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl BusConfig {
    /// Returns the limits of the bus's ledger.
    pub fn ledger_limits(&self) -> LedgerLimits {
        let clients = self.clients_bytes.unwrap_or(self.total_bytes / 4);
        LedgerLimits {
            tasks: self.total_bytes.saturating_sub(clients) as u64,
            clients: clients as u64,
            account: self.account_bytes.unwrap_or(clients / 4) as u64,
        }
    }

    /// Sets [`framing`](Self#structfield.framing).
    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = Some(framing);
        self
    }

    pub(crate) fn validate(&self) -> Result<(), BusConfigError> {
        let at_least = |field, value: u64, least: u64| {
            if value < least {
                Err(BusConfigError::TooSmall { field, least })
            } else {
                Ok(())
            }
        };
        at_least("log_limits.max_events", self.log_limits.max_events, 1)?;
        at_least(
            "log_limits.max_bytes",
            self.log_limits.max_bytes as u64,
            1_024,
        )?;
        at_least("total_bytes", self.total_bytes as u64, 64 * 1024)?;
        if self
            .clients_bytes
            .is_some_and(|bytes| bytes >= self.total_bytes)
        {
            return Err(BusConfigError::NoRoomForTasks);
        }
        at_least("idempotency_ids", self.idempotency_ids as u64, 1)?;
        at_least("max_event_bytes", self.max_event_bytes as u64, 256)?;
        at_least("sweep_interval (ms)", millis(self.sweep_interval), 1)?;
        Ok(())
    }
}

/// Chained setters, one per field.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty),* $(,)?) => {
        impl BusConfig {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(mut self, value: $type) -> Self {
                    self.$name = value;
                    self
                }
            )*
        }
    };
}

setters! {
    /// Sets [`log_limits`](Self#structfield.log_limits).
    log_limits: LogLimits,
    /// Sets [`output_limits`](Self#structfield.output_limits).
    output_limits: OutputLimits,
    /// Sets [`finished_events_ttl`](Self#structfield.finished_events_ttl).
    finished_events_ttl: Duration,
    /// Sets [`pinned_ttl`](Self#structfield.pinned_ttl).
    pinned_ttl: Duration,
    /// Sets [`idle_ttl`](Self#structfield.idle_ttl).
    idle_ttl: Duration,
    /// Sets [`total_bytes`](Self#structfield.total_bytes).
    total_bytes: usize,
    /// Sets [`clients_bytes`](Self#structfield.clients_bytes).
    clients_bytes: Option<usize>,
    /// Sets [`account_bytes`](Self#structfield.account_bytes).
    account_bytes: Option<usize>,
    /// Sets [`idempotency_ids`](Self#structfield.idempotency_ids).
    idempotency_ids: usize,
    /// Sets [`idempotency_ttl`](Self#structfield.idempotency_ttl).
    idempotency_ttl: Duration,
    /// Sets [`max_event_bytes`](Self#structfield.max_event_bytes).
    max_event_bytes: usize,
    /// Sets [`skip`](Self#structfield.skip).
    skip: SkipPolicy,
    /// Sets [`handler_drain`](Self#structfield.handler_drain).
    handler_drain: Duration,
    /// Sets [`sweep_interval`](Self#structfield.sweep_interval).
    sweep_interval: Duration,
    /// Sets [`fanout_workers`](Self#structfield.fanout_workers).
    fanout_workers: usize,
    /// Sets [`clock`](Self#structfield.clock).
    clock: Arc<dyn Clock>,
    /// Sets [`schemas`](Self#structfield.schemas).
    schemas: Option<Arc<dyn SchemaCheck>>,
    /// Sets [`broker`](Self#structfield.broker).
    broker: Option<Arc<dyn Broker>>,
}
