//! What a task is asked to do, and what it says to that.

use serde::{Deserialize, Serialize};

use super::{Broken, Check};
use crate::{ItemId, Json};

/// Characters that the name of a command may have.
pub const MAX_COMMAND_CHARS: usize = 64;

/// Data of `command_requested`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CommandRequested {
    /// The request.
    pub command_id: ItemId,
    /// What to do: `cancel`, `pause`, `resume`, or anything the task's agent understands.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 64)))]
    pub command: String,
    /// With what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Json>,
    /// Who asks.
    pub by: String,
}

impl Check for CommandRequested {
    fn check(&self) -> Result<(), Broken> {
        check_name(&self.command)
    }
}

/// The rule of a command's name.
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
    /// The request.
    pub command_id: ItemId,
}

impl Check for CommandAccepted {}

/// Data of `command_rejected`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CommandRejected {
    /// The request.
    pub command_id: ItemId,
    /// Why not.
    pub reason: String,
}

impl Check for CommandRejected {}

/// Data of `command_completed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CommandCompleted {
    /// The request.
    pub command_id: ItemId,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Json>,
}

impl Check for CommandCompleted {}
