//! What the lists of a snapshot hold.

use serde::{Deserialize, Serialize};

use crate::{AgentStatus, ItemId, Json, Timestamp};

/// An agent and its last status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct AgentState {
    /// The agent.
    pub agent_id: ItemId,
    /// What it does.
    pub status: AgentStatus,
    /// More about that.
    pub message: Option<String>,
    /// Since when.
    pub updated_at: Timestamp,
}

/// A step that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ActiveStep {
    /// The step.
    pub step_id: ItemId,
    /// What it is called.
    pub name: Option<String>,
    /// The step that it is a part of.
    pub parent_step_id: Option<ItemId>,
    /// When it began.
    pub started_at: Timestamp,
}

/// A tool call that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ActiveToolCall {
    /// The call.
    pub tool_call_id: ItemId,
    /// The tool's name.
    pub tool: String,
    /// When it began.
    pub started_at: Timestamp,
}

/// A question without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PendingInput {
    /// The question.
    pub input_id: ItemId,
    /// What to ask.
    pub prompt: String,
    /// What the answer is to look like, as JSON Schema.
    pub schema: Option<Json>,
    /// Since when it waits.
    pub requested_at: Timestamp,
}

/// A request neither rejected nor completed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PendingCommand {
    /// The request.
    pub command_id: ItemId,
    /// What to do.
    pub command: String,
    /// With what.
    pub args: Option<Json>,
    /// Who asks.
    pub by: String,
    /// The task has said that it will.
    pub accepted: bool,
    /// Since when it waits.
    pub requested_at: Timestamp,
}

/// A text that the task has put out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct OutputState {
    /// The output.
    pub output_id: ItemId,
    /// Its text so far; if it grew too long, the end of it.
    pub text: String,
    /// No more will come.
    pub complete: bool,
}

/// A thing that the task has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ArtifactState {
    /// The artifact.
    pub artifact_id: ItemId,
    /// What it is called.
    pub name: Option<String>,
    /// What it is, such as `image/png`.
    pub media_type: Option<String>,
    /// Where it is to be had.
    pub url: Option<String>,
    /// The thing itself, if small.
    pub data: Option<Json>,
}

/// An entry that is found by its id.
pub(super) trait Entry: Serialize {
    fn id(&self) -> &ItemId;
}

macro_rules! entry {
    ($($type:ident . $id:ident),+ $(,)?) => {
        $(impl Entry for $type {
            fn id(&self) -> &ItemId {
                &self.$id
            }
        })+
    };
}

entry! {
    AgentState.agent_id,
    ActiveStep.step_id,
    ActiveToolCall.tool_call_id,
    PendingInput.input_id,
    PendingCommand.command_id,
    OutputState.output_id,
    ArtifactState.artifact_id,
}

/// The entry with this id. Searched from the end: news is mostly about what is new.
pub(super) fn find<'a, T: Entry>(entries: &'a mut [T], id: &ItemId) -> Option<&'a mut T> {
    entries.iter_mut().rev().find(|entry| entry.id() == id)
}

/// Replaces the entry with the same id where it stands, or adds one at the end.
pub(super) fn put<T: Entry>(entries: &mut Vec<T>, entry: T) {
    match find(entries, entry.id()) {
        Some(known) => *known = entry,
        None => entries.push(entry),
    }
}

/// Removes the entry with this id; says whether there was one.
pub(super) fn take<T: Entry>(entries: &mut Vec<T>, id: &ItemId) -> bool {
    match entries.iter().rposition(|entry| entry.id() == id) {
        Some(at) => {
            entries.remove(at);
            true
        }
        None => false,
    }
}
