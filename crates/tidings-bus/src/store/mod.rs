//! Where tasks outlive the process.
//!
//! The bus's own logs are its fan-out path and, without a store, all there is:
//! a restart forgets. A [`Store`] keeps what must not be forgotten, in one of
//! two ways, see [`Write`]: an event becomes visible only after the store has
//! taken it, so that what a watcher has seen is what a restart finds; or at
//! once, and the store is told soon after.
//!
//! Rejected: making the in-memory log one implementation of this trait. The
//! two have opposite jobs (hand out bytes without a lock; take bytes durably),
//! and every delivery would pay for the indirection.

mod backups;
pub mod conformance;
mod conformance_outputs;
mod keeper;
mod memory;
mod timed;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tidings_protocol::{Epoch, ItemId, Offset, ProducerLedger, TaskId, TaskSnapshot, Timestamp};

pub use backups::{BackupError, BackupMade, Backups};
pub use keeper::{KeepChange, Keeper, KeptThing};
pub use memory::MemoryStore;
pub(crate) use timed::Timed;

use crate::log::{OutputChanges, OutputExtent};
use crate::tasks::starts::Starts;

/// One event as a store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place in the task's log.
    pub offset: Offset,
    /// The event's JSON, one line, as it goes over the wire.
    pub json: Arc<[u8]>,
}

/// What decides about a task's next events beside its state: which producers
/// may publish, and until when one has to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRules {
    /// The last stamp of each producer, so that a replaced one stays refused.
    #[serde(default, skip_serializing_if = "ProducerLedger::is_empty")]
    pub producers: ProducerLedger,
    /// The task's lease in milliseconds, while it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// Where the latest runs began, so that a retried start learns its run.
    #[serde(default, skip_serializing_if = "Starts::is_empty")]
    pub starts: Starts,
}

impl StoredRules {
    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty() && self.lease_ms.is_none() && self.starts.is_empty()
    }
}

/// Events to add to a task, and the task's state after them.
#[derive(Debug, Clone)]
pub struct Append {
    /// The task.
    pub task_id: TaskId,
    /// The epoch of the offsets.
    pub epoch: Epoch,
    /// The events, with ascending offsets without a hole.
    pub events: Vec<StoredEvent>,
    /// The reduction of all events up to the last of these.
    pub snapshot: Arc<TaskSnapshot>,
    /// The task's rules after them; none where they have not changed.
    pub rules: Option<Arc<StoredRules>>,
    /// What they change in the task's whole outputs; none where they change nothing.
    pub outputs: Option<Arc<OutputChanges>>,
}

/// A task as a store has it.
#[derive(Debug, Clone)]
pub struct StoredTask {
    /// The task's state at its newest event; it names task, epoch and offset.
    pub snapshot: Arc<TaskSnapshot>,
    /// The oldest offset that can be read; one past the newest when none can.
    pub first: Offset,
    /// As the last append that had some gave them.
    pub rules: StoredRules,
    /// Which parts of its outputs are kept, in any order; none in a store that keeps
    /// no outputs.
    pub outputs: Vec<OutputExtent>,
}

/// Text of an output as a store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredText {
    /// Where `bytes` begin in the whole output.
    pub from: u64,
    /// The text.
    pub bytes: Vec<u8>,
}

/// Whether events are seen before their store has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Write {
    /// Stored first, visible and acknowledged after.
    #[default]
    Through,
    /// Visible and acknowledged at once; the bus hands them over within
    /// milliseconds, many at a time. The store is this bus's alone.
    Behind,
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The events do not follow what is stored: someone else has written.
    /// Read what is there, and decide anew.
    #[error("the log's next offset is {expected}, not {got}")]
    Conflict {
        /// The offset that would have been accepted.
        expected: Offset,
        /// The offset that came.
        got: Offset,
    },
    /// An event with this id is there already, though this bus does not know of it.
    #[error("an event with this id is there already, at offset {offset}")]
    Duplicate {
        /// The offset that it got.
        offset: Offset,
    },
    /// The medium failed (full, gone, slow). Whether the change was made is not
    /// known: a try that failed late may have been written. Try again later.
    #[error("the storage is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Durable logs. Every implementation passes [`conformance::run`].
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The tasks that a bus has in memory from the start, in any order: all that have
    /// a lease or an open question, and others as far as there are not too many. Called once, before
    /// anything else.
    async fn open(&self) -> Result<Vec<StoredTask>, StoreError>;

    /// Adds events; when this returns, they are as durable as the store promises.
    ///
    /// All of them or none. After [`StoreError::Unavailable`] it may be either, and
    /// a repeated append then gets a conflict. [`StoreError::Conflict`] unless the first follows
    /// the last stored one and the epoch is the stored one's; a task that is not
    /// there begins at offset 1, in any epoch. So of two nodes that make a task
    /// at the same time one is first, and the other takes in what it wrote.
    async fn append(&self, append: Append) -> Result<(), StoreError>;

    /// Adds events to several tasks, as [`append`](Self::append) does to each; the
    /// answers are in the same order.
    ///
    /// For a store in which one commit serves all. Others have them side by side.
    async fn append_all(&self, appends: Vec<Append>) -> Vec<Result<(), StoreError>> {
        join_all(appends.into_iter().map(|append| self.append(append))).await
    }

    /// One task as it is there now; none if it is not.
    async fn find(&self, task_id: &TaskId) -> Result<Option<StoredTask>, StoreError>;

    /// Ids of up to `limit` tasks in order, after `after`, that begin with `prefix`.
    ///
    /// By default what [`open`](Self::open) gives, for a store that gives all.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, StoreError> {
        let tasks = self.open().await?;
        let mut ids: Vec<_> = tasks
            .into_iter()
            .map(|task| task.snapshot.task_id.clone())
            .filter(|id| id.as_str().starts_with(prefix) && after.is_none_or(|after| id > after))
            .collect();
        ids.sort_unstable();
        ids.truncate(limit);
        Ok(ids)
    }

    /// Ids of up to `limit` tasks with an open question in order, after `after`, that
    /// begin with `prefix`. Asked of a store that nodes share.
    ///
    /// By default all tasks, for a store without an index of them.
    async fn asking(
        &self,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, StoreError> {
        self.list(prefix, after, limit).await
    }

    /// Ids of up to `limit` tasks with an open question that has expired by `now`.
    /// Asked of a store that nodes share, so that a question expires even if no node
    /// has its task in memory.
    async fn due(&self, _now: Timestamp, _limit: usize) -> Result<Vec<TaskId>, StoreError> {
        Ok(Vec::new())
    }

    /// Events from `from` on, ascending, at least one if there is one, and
    /// about `max_bytes` at most. Offsets trimmed away are simply not there.
    async fn read(
        &self,
        task_id: &TaskId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<StoredEvent>, StoreError>;

    /// Reads part of an output's text: `wanted` counts bytes of the whole output, and
    /// what is given begins with the first of them that is kept. None if there is no
    /// such output.
    ///
    /// By default none, for a store that keeps no outputs beside snapshots and events.
    async fn read_output(
        &self,
        _task_id: &TaskId,
        _output_id: &ItemId,
        _wanted: Range<u64>,
    ) -> Result<Option<StoredText>, StoreError> {
        Ok(None)
    }

    /// Forgets events before `first`; the task, its snapshot and its outputs stay.
    async fn trim(&self, task_id: &TaskId, first: Offset) -> Result<(), StoreError>;

    /// Forgets the task altogether. A task that is not there is no error.
    async fn remove(&self, task_id: &TaskId) -> Result<(), StoreError>;

    /// The oldest offset of a task that can be read, as far as the store knows
    /// that without looking: it may bound what it keeps.
    ///
    /// A store of one bus that answers here keeps tasks which leave the bus's
    /// memory. Then none means that the store has no such task. Must not wait.
    fn first(&self, _task_id: &TaskId) -> Option<Offset> {
        None
    }

    /// How the bus is to write to it; the same for as long as it lives.
    fn write(&self) -> Write {
        Write::Through
    }

    /// Whether it would take events now. One that would not finds out by itself
    /// when it does again; until then publishes are refused.
    fn is_available(&self) -> bool {
        true
    }

    /// Called last, after a stop in order: everything was handed over, and
    /// nothing follows.
    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
