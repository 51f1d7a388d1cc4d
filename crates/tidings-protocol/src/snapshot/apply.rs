//! The reducer: how each event changes a task's state.

use super::TaskSnapshot;
use super::bound::{MAX_TEXT_BYTES, clip};
use super::children::ChildrenState;
use super::entries::{
    self, AgentState, ArtifactState, EndedInput, ItemState, OutputState, PendingCommand,
    PendingInput, StepState, ToolCallState,
};
use super::weight::{self, Weight};
use crate::{
    ItemId, Json, Offset, OutputCompleted, OutputDelta, Payload, ProgressUpdate, TaskError,
    TaskStarted, TaskStatus, Timestamp,
};

/// How an event changed the weight of the lists and the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Growth {
    None,
    /// An entry that existed grew by this many bytes.
    Text(usize),
    /// An entry was removed. Count the weight again when it is needed next.
    Removed,
    /// Lists or the result changed in another way. Count the weight again now.
    Lists,
}

impl TaskSnapshot {
    /// Applies one event. The event must have passed [`check`](Self::check).
    ///
    /// A `progress_update` is cheap: it counts no bytes, and it allocates only for texts that the
    /// state did not have before.
    pub fn apply(&mut self, payload: &Payload, offset: Offset, at: Timestamp) {
        self.offset = offset;
        self.updated_at = Some(at);
        // Subscribers or other tasks send these, so they do not show that the producer is alive.
        let from_others = matches!(
            payload,
            Payload::CommandRequested(_)
                | Payload::InputProvided(_)
                | Payload::InputExpired(_)
                | Payload::ChildrenUpdate(_)
        );
        if !from_others {
            self.stalled = false;
        }
        match self.reduce(payload, at) {
            Growth::None => return,
            Growth::Removed => {
                self.bytes = Weight(None);
                return;
            }
            Growth::Text(bytes) => self.grow(bytes),
            Growth::Lists => self.bytes = Weight(None),
        }
        self.bound();
    }

    fn reduce(&mut self, payload: &Payload, at: Timestamp) -> Growth {
        match payload {
            Payload::TaskStarted(started) => self.start(started, at),
            Payload::ProgressUpdate(update) => {
                self.progress(update);
                self.progress_at = Some(at);
                return Growth::None;
            }
            Payload::TaskCompleted(completed) => {
                self.end(TaskStatus::Completed, at);
                self.progress = Some(100.0);
                self.result.clone_from(&completed.result);
            }
            Payload::TaskFailed(failed) => {
                self.end(TaskStatus::Failed, at);
                self.fail(&failed.error);
            }
            Payload::TaskCancelled(cancelled) => {
                self.end(TaskStatus::Cancelled, at);
                if let Some(reason) = &cancelled.reason {
                    self.message = Some(clipped(&mut self.truncated, reason));
                }
            }
            Payload::TaskStalled => {
                self.stalled = true;
                return Growth::None;
            }
            Payload::ChildrenUpdate(update) => {
                self.children = ChildrenState::of(update, at);
                // A task's own progress wins over that of its children, and a completed task is at
                // 100 per cent. A task that failed keeps to its children, which may still run.
                if self.progress_at.is_none() && self.status != TaskStatus::Completed {
                    self.progress = update.progress;
                }
                return Growth::None;
            }
            Payload::StepStarted(step) => {
                let step = StepState {
                    step_id: step.step_id.clone(),
                    name: maybe_clipped(&mut self.truncated, step.name.as_deref()),
                    parent_step_id: step.parent_step_id.clone(),
                    state: ItemState::Running,
                    started_at: at,
                    ended_at: None,
                };
                entries::begin(&mut self.steps, step);
            }
            Payload::StepCompleted(step) => {
                let (steps, state) = (&mut self.steps, ItemState::Completed);
                return change(entries::end(steps, &step.step_id, state, at));
            }
            Payload::StepFailed(step) => {
                let (steps, state) = (&mut self.steps, ItemState::Failed);
                return change(entries::end(steps, &step.step_id, state, at));
            }
            Payload::AgentStatusChange(change) => {
                let agent = AgentState {
                    agent_id: change.agent_id.clone(),
                    status: change.status,
                    message: maybe_clipped(&mut self.truncated, change.message.as_deref()),
                    updated_at: at,
                };
                entries::put(&mut self.agents, agent);
            }
            Payload::ToolCallStarted(call) => {
                let call = ToolCallState {
                    tool_call_id: call.tool_call_id.clone(),
                    tool: clipped(&mut self.truncated, &call.tool),
                    state: ItemState::Running,
                    started_at: at,
                    ended_at: None,
                };
                entries::begin(&mut self.tool_calls, call);
            }
            Payload::ToolCallCompleted(call) => {
                let (calls, state) = (&mut self.tool_calls, ItemState::Completed);
                return change(entries::end(calls, &call.tool_call_id, state, at));
            }
            Payload::ToolCallFailed(call) => {
                let (calls, state) = (&mut self.tool_calls, ItemState::Failed);
                return change(entries::end(calls, &call.tool_call_id, state, at));
            }
            Payload::OutputDelta(delta) => return self.add_output(delta),
            Payload::OutputCompleted(completed) => self.complete_output(completed),
            Payload::Artifact(artifact) => {
                let truncated = &mut self.truncated;
                let artifact = ArtifactState {
                    artifact_id: artifact.artifact_id.clone(),
                    name: maybe_clipped(truncated, artifact.name.as_deref()),
                    media_type: maybe_clipped(truncated, artifact.media_type.as_deref()),
                    url: artifact
                        .url
                        .as_deref()
                        .and_then(|url| whole(truncated, url)),
                    data: artifact.data.clone(),
                };
                entries::put(&mut self.artifacts, artifact);
            }
            Payload::InputRequired(input) => {
                let input = PendingInput {
                    input_id: input.input_id.clone(),
                    prompt: clipped(&mut self.truncated, &input.prompt),
                    schema: input.schema.clone(),
                    choices: input.choices.clone(),
                    requested_at: at,
                    expires_at: input.expires_in_ms.map(|ms| at.plus_millis(ms)),
                };
                entries::take(&mut self.ended_inputs, &input.input_id);
                entries::put(&mut self.pending_inputs, input);
            }
            Payload::InputProvided(input) => {
                let by = clipped(&mut self.truncated, &input.by);
                let fits = input.value.as_str().len() <= MAX_TEXT_BYTES;
                // A state without a value reads as null.
                let value = Some(&input.value).filter(|value| fits && value.as_str() != "null");
                let value = value.cloned();
                self.end_input(&input.input_id, Some(by), value, at);
            }
            Payload::InputExpired(input) => self.end_input(&input.input_id, None, None, at),
            Payload::CommandRequested(request) => {
                let command = PendingCommand {
                    command_id: request.command_id.clone(),
                    command: clipped(&mut self.truncated, &request.command),
                    args: request.args.clone(),
                    by: clipped(&mut self.truncated, &request.by),
                    accepted: false,
                    requested_at: at,
                };
                entries::put(&mut self.pending_commands, command);
            }
            Payload::CommandAccepted(answer) => {
                if let Some(command) = entries::find(&mut self.pending_commands, &answer.command_id)
                {
                    command.accepted = true;
                }
            }
            Payload::CommandRejected(answer) => {
                return removal(entries::take(
                    &mut self.pending_commands,
                    &answer.command_id,
                ));
            }
            Payload::CommandCompleted(answer) => {
                return removal(entries::take(
                    &mut self.pending_commands,
                    &answer.command_id,
                ));
            }
            Payload::Log(_) | Payload::Custom => return Growth::None,
        }
        Growth::Lists
    }

    fn start(&mut self, started: &TaskStarted, at: Timestamp) {
        if self.status.is_terminal() {
            // A new run keeps only the number of runs of the old state.
            let fresh = Self::new(self.task_id.clone(), self.epoch.clone());
            *self = Self {
                run: self.run,
                name: self.name.take(),
                parent_task_id: self.parent_task_id.take(),
                weight: self.weight,
                // Children are other tasks. They do not start again with their parent.
                progress: self
                    .children
                    .as_ref()
                    .and_then(|children| children.progress),
                children: self.children.take(),
                offset: self.offset,
                updated_at: self.updated_at,
                ..fresh
            };
        }
        self.run = self.run.saturating_add(1);
        self.status = TaskStatus::Running;
        self.started_at = Some(at);
        if let Some(name) = &started.name {
            self.name = Some(clipped(&mut self.truncated, name));
        }
        if started.parent_task_id.is_some() {
            self.parent_task_id.clone_from(&started.parent_task_id);
        }
        if started.weight.is_some() {
            self.weight = started.weight;
        }
        if started.total.is_some() {
            self.total = started.total;
        }
    }

    fn progress(&mut self, update: &ProgressUpdate) {
        if let Some(percent) = update.percent(self.total) {
            self.progress = Some(percent);
        }
        if update.total.is_some() {
            self.total = update.total;
        }
        if let Some(message) = &update.message {
            set(&mut self.message, &mut self.truncated, message);
        }
        if let Some(stage) = &update.stage {
            set(&mut self.stage, &mut self.truncated, stage);
        }
    }

    fn end(&mut self, status: TaskStatus, at: Timestamp) {
        self.status = status;
        self.finished_at = Some(at);
        entries::interrupt(&mut self.steps, at);
        entries::interrupt(&mut self.tool_calls, at);
        self.pending_inputs.clear();
    }

    /// Ends a question, even if the state does not have it. The list of questions is bounded, so
    /// a question may be missing.
    fn end_input(
        &mut self,
        input_id: &ItemId,
        by: Option<String>,
        value: Option<Json>,
        at: Timestamp,
    ) {
        entries::take(&mut self.pending_inputs, input_id);
        let ended = EndedInput {
            input_id: input_id.clone(),
            by,
            value,
            ended_at: at,
        };
        entries::begin(&mut self.ended_inputs, ended);
    }

    fn fail(&mut self, error: &TaskError) {
        let code = maybe_clipped(&mut self.truncated, error.code.as_deref());
        let message = clipped(&mut self.truncated, &error.message);
        self.error = Some(TaskError { code, message });
    }

    /// Appends the part of the text that the output does not have yet. A merged event may begin
    /// before the state's own offset.
    fn add_output(&mut self, delta: &OutputDelta) -> Growth {
        let Some(output) = entries::find(&mut self.outputs, &delta.output_id) else {
            let start = delta.at.unwrap_or(0);
            self.outputs.push(OutputState {
                output_id: delta.output_id.clone(),
                start,
                length: start + delta.text.len() as u64,
                text: delta.text.clone(),
                complete: false,
            });
            return Growth::Lists;
        };
        let reopened = std::mem::replace(&mut output.complete, false);
        let at = delta.at.unwrap_or(output.length);
        if at > output.length {
            // The text in between is missing. The output starts again after the hole.
            output.start = at;
            output.length = at;
            output.text.clear();
            self.bytes = Weight(None);
        }
        let known = usize::try_from(output.length - at).unwrap_or(usize::MAX);
        let new = delta.text.get(known..).unwrap_or_default();
        output.text.push_str(new);
        output.length += new.len() as u64;
        if reopened {
            Growth::Lists
        } else {
            Growth::Text(weight::text(new))
        }
    }

    fn complete_output(&mut self, completed: &OutputCompleted) {
        let known = entries::find(&mut self.outputs, &completed.output_id);
        let output = match known {
            Some(output) => output,
            None => {
                self.outputs.push(OutputState {
                    output_id: completed.output_id.clone(),
                    start: 0,
                    length: 0,
                    text: String::new(),
                    complete: true,
                });
                let last = self.outputs.len() - 1;
                &mut self.outputs[last]
            }
        };
        output.complete = true;
        if let Some(text) = &completed.text {
            output.start = 0;
            output.length = text.len() as u64;
            output.text.clone_from(text);
        }
    }
}

fn change(changed: bool) -> Growth {
    if changed { Growth::Lists } else { Growth::None }
}

fn removal(removed: bool) -> Growth {
    if removed {
        Growth::Removed
    } else {
        Growth::None
    }
}

/// Returns the link, or `None` if it is too long: a link that is cut is useless.
fn whole(truncated: &mut bool, link: &str) -> Option<String> {
    let (text, whole) = clip(link);
    *truncated |= !whole;
    whole.then(|| text.to_owned())
}

fn clipped(truncated: &mut bool, text: &str) -> String {
    let (text, whole) = clip(text);
    *truncated |= !whole;
    text.to_owned()
}

fn maybe_clipped(truncated: &mut bool, text: Option<&str>) -> Option<String> {
    text.map(|text| clipped(truncated, text))
}

/// Overwrites a text and reuses its memory.
fn set(slot: &mut Option<String>, truncated: &mut bool, text: &str) {
    let (text, whole) = clip(text);
    *truncated |= !whole;
    match slot {
        Some(slot) => {
            slot.clear();
            slot.push_str(text);
        }
        None => *slot = Some(text.to_owned()),
    }
}
