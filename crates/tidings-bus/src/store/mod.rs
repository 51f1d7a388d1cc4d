//! Stores keep tasks beyond the life of the process.
//!
//! The bus's own logs serve the fan-out. Without a store they are the only copy, and a restart
//! loses them. A [`Store`] keeps events in one of two ways, see [`Write`]. In one, an event
//! becomes visible only after the store has taken it. A restart then finds every event that a
//! watcher has seen. In the other, the event becomes visible at once, and the store gets it
//! soon after.
//!
//! Rejected: an in-memory log as one implementation of this trait. The two have opposite jobs.
//! A log hands out bytes without a lock, and a store takes bytes durably. Every delivery would
//! pay for the indirection.

mod backups;
pub mod conformance;
pub(crate) mod error;
pub(crate) mod families;
mod keeper;
pub(crate) mod line;
mod memory;
mod timed;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tidings_protocol::{
    Epoch, ItemId, Offset, Position, ProducerLedger, TaskId, TaskSnapshot, Timestamp,
};

pub use backups::{BackupError, BackupMade, Backups};
pub use error::StoreError;
pub use families::{Counted, Families};
pub use keeper::{KeepChange, Keeper, KeptThing};
pub use memory::MemoryStore;
pub(crate) use timed::Timed;

use crate::ledger::Account;
use crate::log::{OutputChanges, OutputExtent};
use crate::tasks::starts::Starts;
use crate::tasks::trees::kin::Related;

/// One event as a store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The event's place in the task's log.
    pub offset: Offset,
    /// The event's JSON, one line, as it goes over the wire.
    pub json: Arc<[u8]>,
}

/// The rules for a task's next events, in addition to its state. They name the producers that may
/// publish, and the time by which one of them must.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRules {
    /// The last stamp of each producer, so that a replaced producer stays refused.
    #[serde(default, skip_serializing_if = "ProducerLedger::is_empty")]
    pub producers: ProducerLedger,
    /// The task's lease in milliseconds. `None` if it has no lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// The starts of the latest runs. A retried start learns its run from them.
    #[serde(default, skip_serializing_if = "Starts::is_empty")]
    pub starts: Starts,
}

impl StoredRules {
    /// Returns whether there is nothing to remember.
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
    /// The task's state after the last of these events.
    pub snapshot: Arc<TaskSnapshot>,
    /// The task's rules after the events. `None` if the rules have not changed.
    pub rules: Option<Arc<StoredRules>>,
    /// The changes of the task's whole outputs. `None` if nothing changes.
    pub outputs: Option<Arc<OutputChanges>>,
}

/// A task as a store has it.
#[derive(Debug, Clone)]
pub struct StoredTask {
    /// The task's state at its newest event. It contains the task id, the epoch and the offset.
    pub snapshot: Arc<TaskSnapshot>,
    /// The oldest offset that can be read, or one past the newest if there is none.
    pub first: Offset,
    /// The rules of the last append that had rules.
    pub rules: StoredRules,
    /// The kept part of each output, in any order. Empty in a store that keeps no outputs.
    pub outputs: Vec<OutputExtent>,
}

/// Text of an output as a store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredText {
    /// The start of `bytes` in the whole output.
    pub from: u64,
    /// The text.
    pub bytes: Vec<u8>,
}

/// The order of storing an event and showing it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Write {
    /// An event is stored first. It becomes visible and is acknowledged afterwards.
    #[default]
    Through,
    /// An event becomes visible and is acknowledged at once. The bus sends events to the store
    /// within milliseconds, many at a time. Only this bus uses the store.
    Behind,
}

/// A store of durable logs. Every implementation passes [`conformance::run`].
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Returns the tasks that a bus has in memory from the start, in any order. These are all
    /// tasks with a lease or an open question, and other tasks as far as there are not too many.
    /// The bus calls it once, before any other request.
    async fn open(&self) -> Result<Vec<StoredTask>, StoreError>;

    /// Adds events. When it returns, the events are as durable as the store promises.
    ///
    /// Adds all events or none. After [`StoreError::Unavailable`], either may be true, and a
    /// repeated append gets a conflict. The first event must follow the last stored event, in
    /// the stored epoch. Otherwise the store returns [`StoreError::Conflict`]. A new task begins
    /// at offset 1, in any epoch. If two nodes create a task at the same time, one is first. The
    /// other takes in the events of the first.
    async fn append(&self, append: Append) -> Result<(), StoreError>;

    /// Adds events to several tasks, as [`append`](Self::append) does to each. The answers are
    /// in the same order.
    ///
    /// Implement it in a store in which one commit serves several tasks. The default runs the
    /// appends side by side.
    async fn append_all(&self, appends: Vec<Append>) -> Vec<Result<(), StoreError>> {
        join_all(appends.into_iter().map(|append| self.append(append))).await
    }

    /// Returns one task as the store has it now. Returns `None` if the store does not have it.
    async fn find(&self, task_id: &TaskId) -> Result<Option<StoredTask>, StoreError>;

    /// Returns up to `limit` task ids that begin with `prefix`, in order, after `after`.
    ///
    /// The default lists the tasks of [`open`](Self::open), for a store whose `open` returns all
    /// tasks.
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

    /// Returns up to `limit` ids of tasks with an open question that begin with `prefix`, in
    /// order, after `after`. The bus asks only a store that nodes share.
    ///
    /// The default lists all tasks, for a store without an index of questions.
    async fn asking(
        &self,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, StoreError> {
        self.list(prefix, after, limit).await
    }

    /// Returns up to `limit` ids of tasks with an open question that has expired by `now`. The
    /// bus asks only a store that nodes share. A question then expires even if no node has its
    /// task in memory.
    async fn due(&self, _now: Timestamp, _limit: usize) -> Result<Vec<TaskId>, StoreError> {
        Ok(Vec::new())
    }

    /// Returns whether the store itself keeps the time of leases, by one clock for all nodes. A
    /// bus with such a shared store asks it for [`overdue`](Self::overdue) leases, and has no
    /// timers of its own for them. The answer never changes.
    fn keeps_leases(&self) -> bool {
        false
    }

    /// Returns tasks whose lease has ended, about `limit` at most, each with the position of its
    /// newest event. A node that finds a newer event does not report the end. Each end is given to
    /// one node at a time: the store gives it to another node only if the first has not reported it
    /// for a while. An append with a sign of life begins the lease anew. `task_stalled` begins the
    /// time until the loss.
    async fn overdue(&self, _limit: usize) -> Result<Vec<(TaskId, Position)>, StoreError> {
        Ok(Vec::new())
    }

    /// Returns up to `limit` tasks with a parent or with children, in order, after `after`. A
    /// bus asks its own store when it starts.
    ///
    /// The default reads the tasks of [`open`](Self::open), for a store whose `open` returns all
    /// tasks.
    async fn related(
        &self,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<(TaskId, Related)>, StoreError> {
        let tasks = self.open().await?;
        let kin = tasks.iter().filter_map(|task| {
            let id = &task.snapshot.task_id;
            Some((id.clone(), Related::of(&task.snapshot)?))
        });
        let mut kin: Vec<_> = kin
            .filter(|(id, _)| after.is_none_or(|after| id > after))
            .collect();
        kin.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        kin.truncate(limit);
        Ok(kin)
    }

    /// Returns the trees of tasks, if nodes share the store. Returns `None` otherwise, and the
    /// bus keeps the trees.
    fn families(&self) -> Option<&dyn Families> {
        None
    }

    /// Returns events from `from` on, ascending. Returns at least one event if there is one, and
    /// about `max_bytes` at most. Trimmed offsets are left out.
    async fn read(
        &self,
        task_id: &TaskId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<StoredEvent>, StoreError>;

    /// Reads a part of an output's text. `wanted` counts bytes of the whole output. The result
    /// begins with the first wanted byte that is kept. Returns `None` if there is no such
    /// output.
    ///
    /// The default returns `None`, for a store that keeps no outputs in addition to snapshots
    /// and events.
    async fn read_output(
        &self,
        _task_id: &TaskId,
        _output_id: &ItemId,
        _wanted: Range<u64>,
    ) -> Result<Option<StoredText>, StoreError> {
        Ok(None)
    }

    /// Forgets events before `first`. The task, its snapshot and its outputs stay.
    async fn trim(&self, task_id: &TaskId, first: Offset) -> Result<(), StoreError>;

    /// Forgets the whole task. A task that does not exist is no error.
    async fn remove(&self, task_id: &TaskId) -> Result<(), StoreError>;

    /// Returns the oldest readable offset of a task, if the store knows it without a read. A
    /// store may limit the events that it keeps.
    ///
    /// Must not wait.
    fn first(&self, _task_id: &TaskId) -> Option<Offset> {
        None
    }

    /// Returns whether the store has a task, so that a bus may drop its copy and read it again.
    /// Only such tasks leave the bus's memory. The result may be true for a task that the store
    /// does not have. It is never false for a stored task. Must not wait.
    fn has(&self, task_id: &TaskId) -> bool {
        self.first(task_id).is_some()
    }

    /// Returns how the bus must write to the store. The answer never changes.
    fn write(&self) -> Write {
        Write::Through
    }

    /// Returns whether the store would accept events now. The store itself must detect when it
    /// accepts events again. Until then the bus refuses publishes.
    fn is_available(&self) -> bool {
        true
    }

    /// Gives the store the account that pays for the memory that grows with its tasks. The store
    /// charges [`Kind::Store`](crate::Kind::Store) from now on. The bus calls it once, before
    /// anything else.
    ///
    /// The default charges nothing, for a store that holds nothing in this process.
    fn charge_to(&self, _account: &Account) {}

    /// Closes the store. The bus calls it last in an orderly stop, after it has handed over
    /// everything.
    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
