//! Payloads about agents and the tools that they call.

use serde::{Deserialize, Serialize};

use super::{Broken, Check, TaskError, check_amount};
use crate::{ItemId, Json};

/// The status of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AgentStatus {
    /// The agent has nothing to do.
    Idle,
    /// The agent is working.
    Working,
    /// The agent waits for something.
    Waiting,
    /// The agent cannot continue.
    Error,
    /// The agent is gone.
    Offline,
}

crate::text::named_enum!(AgentStatus, UnknownAgentStatus, "an agent status", {
    Idle => "idle",
    Working => "working",
    Waiting => "waiting",
    Error => "error",
    Offline => "offline",
});

/// Data of `agent_status_change`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct AgentStatusChange {
    /// The agent's id.
    pub agent_id: ItemId,
    /// The agent's new status.
    pub status: AgentStatus,
    /// A message for people about the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Check for AgentStatusChange {}

/// Data of `tool_call_started`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ToolCallStarted {
    /// The id of the tool call.
    pub tool_call_id: ItemId,
    /// The tool's name.
    pub tool: String,
    /// The tool's input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Json>,
}

impl Check for ToolCallStarted {}

/// Data of `tool_call_completed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ToolCallCompleted {
    /// The id of the tool call.
    pub tool_call_id: ItemId,
    /// The tool's output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// The duration of the call in milliseconds.
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<f64>,
}

impl Check for ToolCallCompleted {
    fn check(&self) -> Result<(), Broken> {
        check_amount("duration_ms", self.duration_ms)
    }
}

/// Data of `tool_call_failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ToolCallFailed {
    /// The id of the tool call.
    pub tool_call_id: ItemId,
    /// Why the call failed.
    pub error: TaskError,
}

impl Check for ToolCallFailed {}
