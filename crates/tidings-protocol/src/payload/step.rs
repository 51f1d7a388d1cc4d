//! Payloads about the steps of a task.

use serde::{Deserialize, Serialize};

use super::{Check, TaskError};
use crate::{ItemId, Json};

/// Data of `step_started`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct StepStarted {
    /// The step's id.
    pub step_id: ItemId,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The step that contains this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_step_id: Option<ItemId>,
}

impl Check for StepStarted {}

/// Data of `step_completed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct StepCompleted {
    /// The step's id.
    pub step_id: ItemId,
    /// The result of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Json>,
}

impl Check for StepCompleted {}

/// Data of `step_failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct StepFailed {
    /// The step's id.
    pub step_id: ItemId,
    /// Why the step failed.
    pub error: TaskError,
}

impl Check for StepFailed {}
