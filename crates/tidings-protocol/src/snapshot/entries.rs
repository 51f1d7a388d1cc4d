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

/// How far a step or a tool call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ItemState {
    /// Begun and not ended.
    Running,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// The task ended before it did.
    Interrupted,
}

crate::text::named_enum!(ItemState, UnknownItemState, "the state of a step or a tool call", {
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
    /// The step.
    pub step_id: ItemId,
    /// What it is called.
    pub name: Option<String>,
    /// The step that it is a part of.
    pub parent_step_id: Option<ItemId>,
    /// Whether it is open, or how it ended.
    pub state: ItemState,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// A tool call and its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ToolCallState {
    /// The call.
    pub tool_call_id: ItemId,
    /// The tool's name.
    pub tool: String,
    /// Whether it is open, or how it ended.
    pub state: ItemState,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
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
    /// Returns whether a value is one of the choices. Any value is, where there are
    /// none.
    pub fn offers(&self, value: &Json) -> bool {
        let Some(choices) = &self.choices else {
            return true;
        };
        let value = value.to_value();
        choices.iter().any(|choice| choice.to_value() == value)
    }
}

/// A question that has an answer, or has expired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct EndedInput {
    /// The question.
    pub input_id: ItemId,
    /// Who has answered it; left out if it expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The answer; left out if it expired, and if the answer has more than 2 KiB: then
    /// the log has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Json>,
    /// Since when.
    pub ended_at: Timestamp,
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
    /// Where `text` begins in the whole output, in UTF-8 bytes: 0 while all of it is
    /// here. What comes before can be read at `/api/tasks/{id}/outputs/{output_id}`.
    pub start: u64,
    /// The length of the whole output, in UTF-8 bytes.
    pub length: u64,
    /// The output from `start` to its end.
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
    StepState.step_id,
    ToolCallState.tool_call_id,
    PendingInput.input_id,
    EndedInput.input_id,
    PendingCommand.command_id,
    OutputState.output_id,
    ArtifactState.artifact_id,
}

/// The entry with this id. Searched from the end: news is mostly about what is new.
pub(super) fn find<'a, T: Entry>(entries: &'a mut [T], id: &ItemId) -> Option<&'a mut T> {
    entries.iter_mut().rev().find(|entry| entry.id() == id)
}

/// An entry that has an end.
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

/// Ends an open entry; says whether there was one.
pub(super) fn end<T: Ends>(
    entries: &mut [T],
    id: &ItemId,
    state: ItemState,
    at: Timestamp,
) -> bool {
    let found = find(entries, id).filter(|entry| entry.is_open());
    found.map(|entry| finish(entry, state, at)).is_some()
}

/// Ends every entry that is open.
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

/// Begins an entry: at the end of the list, also if it was there before.
pub(super) fn begin<T: Entry>(entries: &mut Vec<T>, entry: T) {
    take(entries, entry.id());
    entries.push(entry);
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
