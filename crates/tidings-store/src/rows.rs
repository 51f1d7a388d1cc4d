//! The data that is written beside events, as JSON.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tidings_bus::protocol::{Epoch, Offset, TaskId, TaskSnapshot, TaskStatus, Timestamp};

/// A task's row. `S` is the state, owned when read and borrowed when written.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TaskRow<S> {
    /// The number that identifies the task in the keys of its events.
    pub(crate) number: u64,
    /// The era in which the row was written.
    pub(crate) era: u32,
    /// The oldest readable offset.
    pub(crate) first: u64,
    /// The bytes of the events from `first` to the state's offset.
    pub(crate) bytes: u64,
    /// The state, folded up to its own offset. Later events may follow.
    pub(crate) snapshot: S,
}

pub(crate) type OwnedRow = TaskRow<TaskSnapshot>;

/// The part of a state that the index needs.
#[derive(Debug, Deserialize)]
pub(crate) struct Brief {
    pub(crate) task_id: TaskId,
    pub(crate) status: TaskStatus,
    #[serde(default)]
    pub(crate) parent_task_id: Option<IgnoredAny>,
    #[serde(default)]
    pub(crate) children: Option<IgnoredAny>,
    #[serde(default)]
    pub(crate) updated_at: Option<Timestamp>,
    pub(crate) epoch: Epoch,
    pub(crate) offset: Offset,
    /// One element for each open question.
    #[serde(default)]
    pub(crate) pending_inputs: Vec<IgnoredAny>,
}

/// The store's era. A new era begins after subscribers may have seen events that are not on disk.
/// Every task whose row is from an earlier era continues in the epoch named here. So one small
/// write gives all tasks a new epoch.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Era {
    pub(crate) number: u32,
    pub(crate) epoch: Option<Epoch>,
}

pub(crate) const ERA: &str = "era";
/// The name under which the process that has the directory writes how it syncs.
pub(crate) const SYNC: &str = "sync";
/// The value of [`SYNC`] in a backup. No process has had the backup open yet, and it lacks the
/// events since it was made.
pub(crate) const BACKUP: &str = "backup";
/// The name of the number of commits so far, as text. See [`crate::directory`].
pub(crate) const CHANGES: &str = "changes";
/// The name of an entry that is written to test whether the disk accepts writes.
pub(crate) const PROBE: &str = "probe";
