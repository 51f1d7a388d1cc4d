//! Payloads about commands: requests to a task, and the task's answers.

use serde::{Deserialize, Serialize};

use super::{Broken, Check};
use crate::{ItemId, Json};

/// The most characters that the name of a command may have.
pub const MAX_COMMAND_CHARS: usize = 64;

/// Data of `command_requested`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CommandRequested {
    /// The id of the command.
    pub command_id: ItemId,
    /// The name of the command: `cancel`, `pause`, `resume`, or any other that the task's agent
    /// understands.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 64)))]
    pub command: String,
    /// The command's arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Json>,
    /// The sender of the command.
    pub by: String,
}

impl Check for CommandRequested {
    fn check(&self) -> Result<(), Broken> {
        check_name(&self.command)
    }
}

/// Checks the name of a command.
pub(crate) fn check_name(command: &str) -> Result<(), Broken> {
    let short = command.chars().nth(MAX_COMMAND_CHARS).is_none();
    if command.is_empty() || !short || command.chars().any(char::is_control) {
        let expected = "1 to 64 characters, none of them a control character";
        return Err(Broken {
            field: "command",
            expected,
        });
    }
    Ok(())
}

/// Data of `command_accepted`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CommandAccepted {
    /// The id of the command.
    pub command_id: ItemId,
}

impl Check for CommandAccepted {}

/// Data of `command_rejected`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CommandRejected {
    /// The id of the command.
    pub command_id: ItemId,
    /// Why the task will not do it.
    pub reason: String,
}

impl Check for CommandRejected {}

/// Data of `command_completed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CommandCompleted {
    /// The id of the command.
    pub command_id: ItemId,
    /// The result of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Json>,
}

impl Check for CommandCompleted {}
