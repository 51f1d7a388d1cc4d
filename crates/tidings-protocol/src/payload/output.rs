//! What a task puts out: text as it comes, artifacts, log lines.

use serde::{Deserialize, Serialize};

use super::Check;
use crate::{ItemId, Json};

/// Data of `output_delta`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct OutputDelta {
    /// The output that the text belongs to.
    pub output_id: ItemId,
    /// What comes after the text so far.
    pub text: String,
    /// The length of the output in bytes before this text, as the event says it;
    /// none: the text comes after what is there.
    #[serde(skip)]
    pub at: Option<u64>,
}

impl Check for OutputDelta {}

/// Data of `output_completed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct OutputCompleted {
    /// The output.
    pub output_id: ItemId,
    /// Its whole text; else it is what the deltas made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Check for OutputCompleted {}

/// Data of `artifact`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Artifact {
    /// The artifact; a later event with the same id replaces it.
    pub artifact_id: ItemId,
    /// What to call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is, such as `image/png`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Where it is to be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The thing itself, if small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Json>,
}

impl Check for Artifact {}

/// Where a log line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

crate::text::named_enum!(LogStream, UnknownLogStream, "a log's stream", {
    Stdout => "stdout",
    Stderr => "stderr",
});

/// Data of `log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Log {
    /// The line, or lines.
    pub message: String,
    /// How grave it is, in the application's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// Where it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<LogStream>,
}

impl Check for Log {}
