//! The state that a subscriber starts from.

use std::sync::Arc;

use crate::{Epoch, Offset, Permission, TaskId, TaskSnapshot};

/// A task's state at the moment at which a subscriber joins it.
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    /// The task.
    pub task_id: TaskId,
    /// The epoch of the task's offsets.
    pub epoch: Epoch,
    /// The offset of the task's newest event.
    pub offset: Offset,
    /// Whether nothing is missing between the subscriber's position and what follows.
    pub recovered: bool,
    /// The task's state at `offset`.
    pub snapshot: Arc<TaskSnapshot>,
    /// The client's permissions for the task. `None` if the server does not say, which means that
    /// nothing is forbidden, or that the server is older than this field.
    pub permissions: Option<Vec<Permission>>,
}
