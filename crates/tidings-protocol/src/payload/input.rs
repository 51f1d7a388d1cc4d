//! Payloads about questions that a task asks, and their answers.

use serde::{Deserialize, Serialize};

use super::{Broken, Check};
use crate::{ItemId, Json};

/// The longest time that a question may wait for its answer: 365 days.
pub const MAX_EXPIRES_IN_MS: u64 = 365 * 24 * 60 * 60 * 1_000;

/// Answers that a question may offer.
pub const MAX_CHOICES: usize = 64;

/// Bytes that the schema of a question may have, and that its choices may have
/// together: a snapshot has room for them, so every question can be answered.
pub const MAX_SCHEMA_BYTES: usize = 16 * 1024;

/// Data of `input_required`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct InputRequired {
    /// The id of the question.
    pub input_id: ItemId,
    /// The question itself.
    pub prompt: String,
    /// A JSON Schema that the answer must fit; at most 16 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Json>,
    /// The answers to choose from: 1 to 64 values, none of them null, 16 KiB together.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 64)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Vec<Json>>,
    /// Without an answer for so many milliseconds the question expires.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 31_536_000_000_u64)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
}

impl InputRequired {
    /// Makes a question that any value answers.
    pub fn new(input_id: ItemId, prompt: impl Into<String>) -> Self {
        Self {
            input_id,
            prompt: prompt.into(),
            schema: None,
            choices: None,
            expires_in_ms: None,
        }
    }
}

impl Check for InputRequired {
    fn check(&self) -> Result<(), Broken> {
        let broken = |field, expected| Err(Broken { field, expected });
        let bytes = |json: &Json| json.as_str().len();
        if self.schema.as_ref().map_or(0, bytes) > MAX_SCHEMA_BYTES {
            return broken("schema", "JSON of at most 16384 bytes");
        }
        if let Some(choices) = &self.choices
            && (!(1..=MAX_CHOICES).contains(&choices.len())
                || choices.iter().any(|choice| choice.as_str() == "null")
                || choices.iter().map(bytes).sum::<usize>() > MAX_SCHEMA_BYTES)
        {
            return broken(
                "choices",
                "1 to 64 values other than null, at most 16384 bytes together",
            );
        }
        match self.expires_in_ms {
            Some(ms) if !(1..=MAX_EXPIRES_IN_MS).contains(&ms) => {
                broken("expires_in_ms", "1 to 31536000000 milliseconds (365 days)")
            }
            _ => Ok(()),
        }
    }
}

/// Data of `input_provided`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct InputProvided {
    /// The id of the question.
    pub input_id: ItemId,
    /// The answer: any value but null, which fits the question.
    pub value: Json,
    /// The person or program that answered. A server that checks tokens writes the token's subject here.
    pub by: String,
}

impl Check for InputProvided {}

/// Data of `input_expired`, which the bus makes: the question's time is up, and
/// nobody has answered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct InputExpired {
    /// The question.
    pub input_id: ItemId,
}

impl Check for InputExpired {}
