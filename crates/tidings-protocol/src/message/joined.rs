//! Where a watcher stands when it joins a task.

use std::sync::Arc;

use crate::{Epoch, Offset, TaskId, TaskSnapshot};

/// A task's state at the moment a watcher joins: what it starts from.
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    /// The task.
    pub task_id: TaskId,
    /// The numbering of its offsets.
    pub epoch: Epoch,
    /// Its newest event.
    pub offset: Offset,
    /// Nothing is missing between the watcher's position and what follows.
    pub recovered: bool,
    /// Its state at `offset`.
    pub snapshot: Arc<TaskSnapshot>,
}
