//! The part of a task's state about its children.

use serde::{Deserialize, Serialize};

use super::number;
use crate::{ChildrenUpdate, Timestamp};

/// The state of all children of a task. A child is a task that names it as its
/// `parent_task_id`. Children that the reader may not watch count, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ChildrenState {
    /// How many children are pending.
    pub pending: u64,
    /// How many children are running.
    pub running: u64,
    /// How many children have completed.
    pub completed: u64,
    /// How many children have failed.
    pub failed: u64,
    /// How many children were cancelled.
    pub cancelled: u64,
    /// The progress of all children in per cent, each with its `weight`. Null if none
    /// has a weight.
    #[serde(default, with = "number")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<f64>"))]
    pub progress: Option<f64>,
    /// When this was said last.
    pub updated_at: Timestamp,
}

impl ChildrenState {
    /// Returns what an update says. Returns `None` if there are no children.
    pub(super) fn of(update: &ChildrenUpdate, at: Timestamp) -> Option<Self> {
        (update.total() > 0).then_some(Self {
            pending: update.pending,
            running: update.running,
            completed: update.completed,
            failed: update.failed,
            cancelled: update.cancelled,
            progress: update.progress,
            updated_at: at,
        })
    }
}
