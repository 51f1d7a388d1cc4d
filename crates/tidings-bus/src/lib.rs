//! The event bus of Tidings: one log per task, one cursor per subscriber.
//!
//! A publish appends one encoded record to the task's log and wakes the log's subscribers. A
//! subscriber is a cursor into the log. Ordering, history, late joins, recovery, slow consumers
//! and conflation all follow from this.
//!
//! > Every subscriber receives every offset in order, exactly once. For offsets that it does not
//! > receive, it receives a gap that names them and the reason.
//!
//! * [`EventBus`] publishes, lists, reads history and hands out
//!   [`Subscription`]s and [`EventHandler`]s.
//! * [`Watcher`] and [`Topic`] are for code that delivers events without a stream of the bus.
//!   `tidings-connections` uses them to write from the log to sockets.
//! * [`EventBus::run`] does work as a task and reports how it ends; see [`guard`].
//! * [`Store`] keeps tasks beyond the process; [`Broker`] joins several nodes.
//!
//! This crate knows no socket and no HTTP. `tidings-connections` and `tidings-transport` do.
//! Start with the example at [`EventBus`].

mod bus;
mod clock;
mod cluster;
mod config;
pub mod defaults;
mod deliver;
pub mod guard;
mod ledger;
pub mod lock;
mod log;
mod publish;
mod shared;
mod spread;
mod stats;
mod store;
mod tasks;
mod timing;

pub use bus::{AnswerError, BusOpenError, EventBus, Finished};
pub use clock::{Clock, ManualClock, SystemClock};
pub use cluster::broker::{Announcement, Broker, BrokerError, Interest, LocalBroker, Notice};
pub use cluster::broker_conformance;
pub use cluster::neighbours::{
    Claim, Claimed, ClientDirectory, ClientStanding, ClientState, ClientWritten, Heard,
    InboxMessage, KeptClient, Neighbours, NodeAnswer, Place,
};
pub use config::{BusConfig, BusConfigError};
pub use deliver::cursor::{Cursor, SkipPolicy, Step};
pub use deliver::delivery::Delivery;
pub use deliver::filter::Filter;
pub use deliver::handler::{EventHandler, HandlerError, HandlerGuard};
pub use deliver::handlers::{HandlerId, HandlerInfo};
pub use deliver::history::HistoryPage;
pub use deliver::reader::{Next, Reader};
pub use deliver::subscription::Subscription;
pub use deliver::topic::{Advance, AttachId, Hold, Topic, Watcher};
pub use ledger::{
    Account, AccountId, Charge, Group, Holding, Kind, Ledger, LedgerLimits, OverLimit,
};
pub use log::{
    Chunk, EventRecord, Framing, LogLimits, OutputChange, OutputChanges, OutputExtent,
    OutputLimits, OutputText, Standing, View,
};
pub use publish::error::{PublishError, Published};
pub use stats::{BusStats, Counters, GapCounts, ResetCounts, StatusCounts};
pub use store::{
    Append, BackupError, BackupMade, Backups, Counted, Families, KeepChange, Keeper, KeptThing,
    MemoryStore, Store, StoreError, StoredEvent, StoredRules, StoredTask, StoredText, Write,
    conformance,
};
pub use tasks::registry::{PatternId, PatternWatcher};
pub use tasks::schema::{SchemaCheck, Unfit};
pub use tasks::starts::Starts;
pub use tasks::trees::forest::{MAX_TREE_DEPTH, TreeError};
pub use tasks::trees::kin::{Kin, Related, Sums};
pub use tasks::trees::watchers::{ChildWatchId, ChildWatcher};
pub use tidings_protocol as protocol;
pub use tidings_protocol::Update;
pub use timing::{Timing, TimingCounts, Timings};

/// How a store keeps the text of outputs, in blocks.
pub mod blocks {
    pub use crate::log::{BlockPlan, OUTPUT_BLOCK, blocks_in, blocks_of, cut_out, kept_part};
}

/// The types that a [`Watcher`] needs in addition to its [`Topic`]: the task, and the way it
/// joins the log.
pub mod watch {
    pub use crate::deliver::join::{Joined, Start};
    pub use crate::tasks::task::Task;
}
