//! The answer to a command for a whole tree, for one of its tasks.

use serde::{Deserialize, Serialize};

use crate::{CommandId, Epoch, ErrorCode, Offset, TaskId};

/// Whether one task of a tree was asked.
///
/// ```
/// use tidings_protocol::{ErrorCode, TaskCommanded, TaskId};
///
/// let refused = TaskCommanded::Refused {
///     task_id: TaskId::new("part-1")?,
///     code: ErrorCode::Forbidden,
///     message: "this token does not allow it".to_owned(),
/// };
/// assert_eq!(
///     serde_json::to_string(&refused)?,
///     r#"{"task_id":"part-1","code":"forbidden","message":"this token does not allow it"}"#,
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum TaskCommanded {
    /// The task was asked. It answers with events.
    Asked {
        /// The task.
        task_id: TaskId,
        /// The id of the command. The task's answers name it.
        command_id: CommandId,
        /// The epoch of `offset`.
        epoch: Epoch,
        /// The offset of the `command_requested` event.
        offset: Offset,
    },
    /// The task was not asked.
    Refused {
        /// The task.
        task_id: TaskId,
        /// The kind of error, for programs.
        code: ErrorCode,
        /// A description for people.
        message: String,
    },
}

impl TaskCommanded {
    /// Returns the task.
    pub const fn task_id(&self) -> &TaskId {
        match self {
            Self::Asked { task_id, .. } | Self::Refused { task_id, .. } => task_id,
        }
    }
}
