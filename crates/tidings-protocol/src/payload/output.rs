//! Payloads about what a task puts out: streamed text, artifacts and log lines.

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
    /// The text to append to the output.
    pub text: String,
    /// The length of the output before this text, in UTF-8 bytes, as the event says it. `None`
    /// appends the text to what is there.
    #[serde(skip)]
    pub at: Option<u64>,
}

impl Check for OutputDelta {}

/// Data of `output_completed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct OutputCompleted {
    /// The output's id.
    pub output_id: ItemId,
    /// The whole text of the output. If left out, the text is that of the deltas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Check for OutputCompleted {}

/// Data of `artifact`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Artifact {
    /// The artifact's id. A later event with the same id replaces the artifact.
    pub artifact_id: ItemId,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The media type, such as `image/png`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Where to download the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The artifact itself, if it is small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Json>,
}

impl Check for Artifact {}

/// The stream on which a log line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

crate::text::named_enum!(LogStream, UnknownLogStream, "a log stream", {
    Stdout => "stdout",
    Stderr => "stderr",
});

/// Data of `log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Log {
    /// One log line, or several.
    pub message: String,
    /// The severity, in the application's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// The stream on which the line was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<LogStream>,
}

impl Check for Log {}
