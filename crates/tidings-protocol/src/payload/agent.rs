//! Agents and the tools they call.

use serde::{Deserialize, Serialize};

use super::{Broken, Check, TaskError, check_amount};
use crate::{ItemId, Json};

/// What an agent is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AgentStatus {
    /// It has nothing to do.
    Idle,
    /// It works.
    Working,
    /// It waits for something.
    Waiting,
    /// It cannot go on.
    Error,
    /// It is gone.
    Offline,
}

crate::text::named_enum!(AgentStatus, UnknownAgentStatus, "an agent's status", {
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
    /// The agent.
    pub agent_id: ItemId,
    /// What it does now.
    pub status: AgentStatus,
    /// More about that, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Check for AgentStatusChange {}

/// Data of `tool_call_started`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ToolCallStarted {
    /// The call.
    pub tool_call_id: ItemId,
    /// The tool's name.
    pub tool: String,
    /// What it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Json>,
}

impl Check for ToolCallStarted {}

/// Data of `tool_call_completed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ToolCallCompleted {
    /// The call.
    pub tool_call_id: ItemId,
    /// What the tool answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// How long it took, in milliseconds.
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
    /// The call.
    pub tool_call_id: ItemId,
    /// Why.
    pub error: TaskError,
}

impl Check for ToolCallFailed {}
