//! The entries of a snapshot's lists.

use serde::{Deserialize, Serialize};

use crate::{AgentStatus, ItemId, Json, Timestamp};

/// An agent and its last status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct AgentState {
    /// The agent's id.
    pub agent_id: ItemId,
    /// The agent's status.
    pub status: AgentStatus,
    /// A message for people about the status.
    pub message: Option<String>,
    /// When the status was reported.
    pub updated_at: Timestamp,
}

/// The state of a step or a tool call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ItemState {
    /// It has begun and has not ended.
    Running,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// The task ended before the step or tool call did.
    Interrupted,
}

crate::text::named_enum!(ItemState, UnknownItemState, "a state of a step or tool call", {
    Running => "running",
    Completed => "completed",
    Failed => "failed",
    Interrupted => "interrupted",
});

/// A step and its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct StepState {
    /// The step's id.
    pub step_id: ItemId,
    /// The step's name.
    pub name: Option<String>,
    /// The step that contains this one.
    pub parent_step_id: Option<ItemId>,
    /// Whether the step is running, or how it ended.
    pub state: ItemState,
    /// When the step began.
    pub started_at: Timestamp,
    /// When the step ended.
    pub ended_at: Option<Timestamp>,
}

/// A tool call and its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ToolCallState {
    /// The id of the tool call.
    pub tool_call_id: ItemId,
    /// The tool's name.
    pub tool: String,
    /// Whether the call is running, or how it ended.
    pub state: ItemState,
    /// When the call began.
    pub started_at: Timestamp,
    /// When the call ended.
    pub ended_at: Option<Timestamp>,
}

/// A question that has no answer yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PendingInput {
    /// The id of the question.
    pub input_id: ItemId,
    /// The question itself.
    pub prompt: String,
    /// The form of the answer, as JSON Schema.
    pub schema: Option<Json>,
    /// The answers to choose from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Vec<Json>>,
    /// Since when it waits.
    pub requested_at: Timestamp,
    /// When it expires; left out if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl PendingInput {
    /// Returns whether a value is one of the choices, [however it is
    /// spelt](Json::is_same_value). Without choices, returns true for any value.
    pub fn offers(&self, value: &Json) -> bool {
        let choices = self.choices.as_deref();
        choices.is_none_or(|choices| choices.iter().any(|choice| choice.is_same_value(value)))
    }
}

/// A question that has an answer, or has expired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct EndedInput {
    /// The question.
    pub input_id: ItemId,
    /// The person or program that answered; left out if the question expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The answer. Left out if the question expired, or if the answer has more than 2 KiB.
    /// The log has an answer of any size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Json>,
    /// Since when.
    pub ended_at: Timestamp,
}

/// A command that is neither rejected nor completed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PendingCommand {
    /// The id of the command.
    pub command_id: ItemId,
    /// The name of the command.
    pub command: String,
    /// The command's arguments.
    pub args: Option<Json>,
    /// The sender of the command.
    pub by: String,
    /// Whether the task has accepted the command.
    pub accepted: bool,
    /// When the command was sent.
    pub requested_at: Timestamp,
}

/// An output of the task: text that it streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct OutputState {
    /// The output's id.
    pub output_id: ItemId,
    /// Where `text` begins in the whole output, in UTF-8 bytes. It is 0 unless the start was cut
    /// off; then `/api/tasks/{id}/outputs/{output_id}` returns the earlier text.
    pub start: u64,
    /// The length of the whole output, in UTF-8 bytes.
    pub length: u64,
    /// The output from `start` to its end.
    pub text: String,
    /// Whether the output is complete.
    pub complete: bool,
}

/// An artifact that the task has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ArtifactState {
    /// The artifact's id.
    pub artifact_id: ItemId,
    /// The artifact's name.
    pub name: Option<String>,
    /// The media type, such as `image/png`.
    pub media_type: Option<String>,
    /// Where to download the artifact.
    pub url: Option<String>,
    /// The artifact itself, if it is small.
    pub data: Option<Json>,
}

/// An entry that has an id.
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
    StepState.step_id,
    ToolCallState.tool_call_id,
    PendingInput.input_id,
    EndedInput.input_id,
    PendingCommand.command_id,
    OutputState.output_id,
    ArtifactState.artifact_id,
}

/// Returns the entry with this id. Searches from the end, because most events concern recent
/// entries.
pub(super) fn find<'a, T: Entry>(entries: &'a mut [T], id: &ItemId) -> Option<&'a mut T> {
    entries.iter_mut().rev().find(|entry| entry.id() == id)
}

/// An entry that can end.
pub(super) trait Ends: Entry {
    fn state(&mut self) -> (&mut ItemState, &mut Option<Timestamp>);

    fn is_open(&self) -> bool;
}

macro_rules! ends {
    ($($type:ident),+) => {
        $(impl Ends for $type {
            fn state(&mut self) -> (&mut ItemState, &mut Option<Timestamp>) {
                (&mut self.state, &mut self.ended_at)
            }

            fn is_open(&self) -> bool {
                self.state == ItemState::Running
            }
        })+
    };
}

ends!(StepState, ToolCallState);

/// Ends an open entry. Returns whether there was one.
pub(super) fn end<T: Ends>(
    entries: &mut [T],
    id: &ItemId,
    state: ItemState,
    at: Timestamp,
) -> bool {
    let found = find(entries, id).filter(|entry| entry.is_open());
    found.map(|entry| finish(entry, state, at)).is_some()
}

/// Marks every open entry as interrupted.
pub(super) fn interrupt<T: Ends>(entries: &mut [T], at: Timestamp) {
    for entry in entries.iter_mut().filter(|entry| entry.is_open()) {
        finish(entry, ItemState::Interrupted, at);
    }
}

fn finish(entry: &mut impl Ends, state: ItemState, at: Timestamp) {
    let (before, ended_at) = entry.state();
    *before = state;
    *ended_at = Some(at);
}

/// Appends an entry to the list. If the list has an entry with the same id, that one is removed.
pub(super) fn begin<T: Entry>(entries: &mut Vec<T>, entry: T) {
    take(entries, entry.id());
    entries.push(entry);
}

/// Replaces the entry with the same id in its place, or appends the entry.
pub(super) fn put<T: Entry>(entries: &mut Vec<T>, entry: T) {
    match find(entries, entry.id()) {
        Some(known) => *known = entry,
        None => entries.push(entry),
    }
}

/// Removes the entry with this id. Returns whether there was one.
pub(super) fn take<T: Entry>(entries: &mut Vec<T>, id: &ItemId) -> bool {
    match entries.iter().rposition(|entry| entry.id() == id) {
        Some(at) => {
            entries.remove(at);
            true
        }
        None => false,
    }
}
