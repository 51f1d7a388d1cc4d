//! Questions that a task puts to whoever watches it.

use serde::{Deserialize, Serialize};

use super::Check;
use crate::{ItemId, Json};

/// Data of `input_required`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct InputRequired {
    /// The question.
    pub input_id: ItemId,
    /// What to ask.
    pub prompt: String,
    /// What the answer is to look like, as JSON Schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Json>,
}

impl Check for InputRequired {}

/// Data of `input_provided`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct InputProvided {
    /// The question.
    pub input_id: ItemId,
    /// The answer.
    pub value: Json,
    /// Who gave it.
    pub by: String,
}

impl Check for InputProvided {}
