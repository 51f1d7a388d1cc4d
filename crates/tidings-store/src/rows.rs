//! What is written beside events, as JSON.

use serde::{Deserialize, Serialize};
use tidings_bus::protocol::{Epoch, TaskSnapshot};

/// A task. `S` is the state, owned when read and borrowed when written.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TaskRow<S> {
    /// Stands for the task in the keys of its events.
    pub(crate) number: u64,
    /// The era in which this was written.
    pub(crate) era: u32,
    /// The oldest offset that is there.
    pub(crate) first: u64,
    /// Bytes of the events from there to the state's offset.
    pub(crate) bytes: u64,
    /// Reduced up to its own offset; events may follow it.
    pub(crate) snapshot: S,
}

pub(crate) type OwnedRow = TaskRow<TaskSnapshot>;

/// Begins anew when events may have been seen that are not on disk. Every task
/// whose row is from an earlier era goes on in this epoch: one small write
/// renames them all.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Era {
    pub(crate) number: u32,
    pub(crate) epoch: Option<Epoch>,
}

pub(crate) const ERA: &str = "era";
/// How the process that last had the directory synced.
pub(crate) const SYNC: &str = "sync";
/// What that says in a copy: nobody has had it yet, and what was seen since it
/// was made is not in it.
pub(crate) const BACKUP: &str = "backup";
/// Commits so far, as text; see [`crate::directory`].
pub(crate) const CHANGES: &str = "changes";
/// Written to find out whether anything can be.
pub(crate) const PROBE: &str = "probe";
