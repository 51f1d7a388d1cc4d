//! The reducer: what each event makes of a task's state.

use super::bound::clip;
use super::entries::{self, AgentState, ArtifactState, OutputState, PendingCommand, PendingInput};
use super::weight::{self, Weight};
use super::{ActiveStep, ActiveToolCall, TaskSnapshot};
use crate::{
    Offset, OutputCompleted, OutputDelta, Payload, ProgressUpdate, TaskError, TaskStarted,
    TaskStatus, Timestamp,
};

/// Whether an event can have made the lists or the result heavier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Growth {
    None,
    /// By so many bytes, in an entry that was there.
    Text(usize),
    /// It has made them lighter: count again, when next needed.
    Removed,
    /// Somehow: count again.
    Lists,
}

impl TaskSnapshot {
    /// Takes in one event, which [`check`](Self::check) has let through.
    ///
    /// Cheap for `progress_update`: nothing is counted and nothing allocated
    /// that was not before.
    pub fn apply(&mut self, payload: &Payload, offset: Offset, at: Timestamp) {
        self.offset = offset;
        self.updated_at = Some(at);
        // Requests and answers come from those who watch: they are no sign that
        // the producer lives.
        let from_watchers = matches!(
            payload,
            Payload::CommandRequested(_) | Payload::InputProvided(_)
        );
        if !from_watchers {
            self.stalled = false;
        }
        match self.reduce(payload, at) {
            Growth::None => return,
            Growth::Removed => {
                self.weight = Weight(None);
                return;
            }
            Growth::Text(bytes) => self.grow(bytes),
            Growth::Lists => self.weight = Weight(None),
        }
        self.bound();
    }

    fn reduce(&mut self, payload: &Payload, at: Timestamp) -> Growth {
        match payload {
            Payload::TaskStarted(started) => self.start(started, at),
            Payload::ProgressUpdate(update) => {
                self.progress(update);
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
            Payload::StepStarted(step) => {
                let step = ActiveStep {
                    step_id: step.step_id.clone(),
                    name: maybe_clipped(&mut self.truncated, step.name.as_deref()),
                    parent_step_id: step.parent_step_id.clone(),
                    started_at: at,
                };
                entries::put(&mut self.active_steps, step);
            }
            Payload::StepCompleted(step) => {
                return removal(entries::take(&mut self.active_steps, &step.step_id));
            }
            Payload::StepFailed(step) => {
                return removal(entries::take(&mut self.active_steps, &step.step_id));
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
                let call = ActiveToolCall {
                    tool_call_id: call.tool_call_id.clone(),
                    tool: clipped(&mut self.truncated, &call.tool),
                    started_at: at,
                };
                entries::put(&mut self.active_tool_calls, call);
            }
            Payload::ToolCallCompleted(call) => {
                return removal(entries::take(
                    &mut self.active_tool_calls,
                    &call.tool_call_id,
                ));
            }
            Payload::ToolCallFailed(call) => {
                return removal(entries::take(
                    &mut self.active_tool_calls,
                    &call.tool_call_id,
                ));
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
                    requested_at: at,
                };
                entries::put(&mut self.pending_inputs, input);
            }
            Payload::InputProvided(input) => {
                return removal(entries::take(&mut self.pending_inputs, &input.input_id));
            }
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
            // A new run: nothing of the old one is left but how many there were.
            let fresh = Self::new(self.task_id.clone(), self.epoch.clone());
            *self = Self {
                run: self.run,
                name: self.name.take(),
                parent_task_id: self.parent_task_id.take(),
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
        self.active_steps.clear();
        self.active_tool_calls.clear();
        self.pending_inputs.clear();
    }

    fn fail(&mut self, error: &TaskError) {
        let code = maybe_clipped(&mut self.truncated, error.code.as_deref());
        let message = clipped(&mut self.truncated, &error.message);
        self.error = Some(TaskError { code, message });
    }

    fn add_output(&mut self, delta: &OutputDelta) -> Growth {
        match entries::find(&mut self.outputs, &delta.output_id) {
            Some(output) if !output.complete => {
                output.text.push_str(&delta.text);
                Growth::Text(weight::text(&delta.text))
            }
            Some(output) => {
                output.text.push_str(&delta.text);
                output.complete = false;
                Growth::Lists
            }
            None => {
                self.outputs.push(OutputState {
                    output_id: delta.output_id.clone(),
                    text: delta.text.clone(),
                    complete: false,
                });
                Growth::Lists
            }
        }
    }

    fn complete_output(&mut self, completed: &OutputCompleted) {
        if let Some(output) = entries::find(&mut self.outputs, &completed.output_id) {
            if let Some(text) = &completed.text {
                output.text.clone_from(text);
            }
            output.complete = true;
        } else {
            self.outputs.push(OutputState {
                output_id: completed.output_id.clone(),
                text: completed.text.clone().unwrap_or_default(),
                complete: true,
            });
        }
    }
}

fn removal(removed: bool) -> Growth {
    if removed {
        Growth::Removed
    } else {
        Growth::None
    }
}

/// Half a link leads nowhere: one that is too long is left out.
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

/// Overwrites a text in the memory that it has.
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
