//! The event bus of Tidings: one log per task, one cursor per subscriber.
//!
//! Publishing appends one record to the task's log, encoded once, and has its
//! subscribers look. A subscriber is a cursor into that log. Ordering, history,
//! late joins, recovery, slow consumers and conflation all follow from this.
//!
//! > Every subscriber gets every offset in order, exactly once, or is told by a
//! > gap which offsets it did not get and why.
//!
//! * [`EventBus`] publishes, lists, reads history and hands out
//!   [`Subscription`]s and [`EventHandler`]s.
//! * [`Watcher`] and [`Topic`] are the seam for those that deliver by
//!   themselves: `tidings-connections` writes from the log to sockets with it.
//! * [`EventBus::run`] does work as a task and reports how it ends; see [`guard`].
//! * [`Store`] keeps tasks beyond the process; [`Broker`] joins several nodes.
//!
//! This crate knows no socket and no HTTP; for those see `tidings-connections`
//! and `tidings-transport`. Start with the example at [`EventBus`].

mod bus;
mod clock;
mod cluster;
mod config;
pub mod defaults;
mod deliver;
pub mod guard;
mod ledger;
mod log;
mod publish;
mod shared;
mod stats;
mod store;
mod tasks;
mod timing;

pub use bus::{BusOpenError, EventBus, Finished};
pub use clock::{Clock, ManualClock, SystemClock};
pub use cluster::broker::{Announcement, Broker, BrokerError, LocalBroker, Notice};
pub use cluster::broker_conformance;
pub use cluster::interest::Interest;
pub use cluster::neighbours::{
    Claim, Claimed, ClientDirectory, ClientStanding, ClientState, ClientWritten, Heard,
    InboxMessage, KeptClient, Neighbours, NodeAnswer, Place,
};
pub use config::{BusConfig, BusConfigError};
pub use deliver::cursor::{Cursor, SkipPolicy, Step};
pub use deliver::delivery::Delivery;
pub use deliver::filter::Filter;
pub use deliver::handler::{EventHandler, HandlerError, HandlerGuard, HandlerId, HandlerInfo};
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
pub use publish::append::{PublishError, Published};
pub use stats::{BusStats, Counters, GapCounts, ResetCounts, StatusCounts};
pub use store::{
    Append, BackupError, BackupMade, Backups, KeepChange, Keeper, KeptThing, MemoryStore, Store,
    StoreError, StoredEvent, StoredRules, StoredTask, StoredText, Write, conformance,
};
pub use tasks::questions::{AnswerError, SchemaCheck, Unfit};
pub use tasks::registry::{PatternId, PatternWatcher};
pub use tasks::starts::Starts;
pub use tidings_protocol as protocol;
pub use tidings_protocol::Update;
pub use timing::{Timing, TimingCounts, Timings};

/// How a store keeps the text of outputs, in blocks.
pub mod blocks {
    pub use crate::log::{BlockPlan, OUTPUT_BLOCK, blocks_in, blocks_of, cut_out, kept_part};
}

/// What a [`Watcher`] needs beside its [`Topic`]: the task, and how it joins the log.
pub mod watch {
    pub use crate::deliver::topic::{Joined, Start};
    pub use crate::tasks::task::Task;
}
