//! Constructors for the standard events.
//!
//! Constructors never fail. The server checks an event when it is published, and refuses data that
//! does not fit the event's type.

use std::error::Error;

use serde::Serialize;
use serde_json::Value;

use crate::json::Fields;
use crate::{AgentStatus, EventType, LogStream, NewEvent, TaskError, TaskId};

impl NewEvent {
    fn of(event_type: EventType, fields: Fields) -> Self {
        Self::new(event_type, fields.data())
    }

    /// Creates a `task_started` event with the task's name.
    pub fn task_started(name: impl AsRef<str>) -> Self {
        Self::of(
            EventType::TaskStarted,
            Fields::new().put("name", name.as_ref()),
        )
    }

    /// Creates a `task_started` event with a name, total, parent, weight and lease, each
    /// optional.
    ///
    /// ```
    /// use tidings_protocol::{NewEvent, TaskStarted};
    ///
    /// let mut task = TaskStarted::default();
    /// task.lease_ms = Some(30_000);
    /// assert_eq!(NewEvent::task_started_with(&task).data.as_str(), r#"{"lease_ms":30000}"#);
    /// ```
    pub fn task_started_with(task: &crate::TaskStarted) -> Self {
        let fields = Fields::new()
            .maybe("name", task.name.as_deref())
            .maybe("total", task.total.map(Number))
            .maybe("parent_task_id", task.parent_task_id.as_ref())
            .maybe("weight", task.weight.map(Number))
            .maybe("lease_ms", task.lease_ms);
        Self::of(EventType::TaskStarted, fields)
    }

    /// Creates a `task_started` event for a task that is part of another task.
    pub fn subtask_started(name: impl AsRef<str>, parent: &TaskId) -> Self {
        let fields = Fields::new()
            .put("name", name.as_ref())
            .put("parent_task_id", parent);
        Self::of(EventType::TaskStarted, fields)
    }

    /// Creates a `progress_update` in per cent (0–100), with an optional message.
    ///
    /// ```
    /// use tidings_protocol::NewEvent;
    ///
    /// assert_eq!(NewEvent::progress(12.5, None).data.as_str(), r#"{"progress":12.5}"#);
    /// ```
    pub fn progress<'a>(percent: f64, message: impl Into<Option<&'a str>>) -> Self {
        let fields = Fields::new()
            .put("progress", &Number(percent))
            .maybe("message", message.into());
        Self::of(EventType::ProgressUpdate, fields)
    }

    /// Creates a `progress_update` with `current` of `total`, in any unit.
    pub fn progress_of<'a>(current: f64, total: f64, message: impl Into<Option<&'a str>>) -> Self {
        let fields = Fields::new()
            .put("current", &Number(current))
            .put("total", &Number(total))
            .maybe("message", message.into());
        Self::of(EventType::ProgressUpdate, fields)
    }

    /// Creates a `progress_update` from its data.
    ///
    /// ```
    /// use tidings_protocol::{NewEvent, ProgressUpdate};
    ///
    /// let mut update = ProgressUpdate::default();
    /// (update.current, update.stage) = (Some(3.0), Some("link".into()));
    /// let event = NewEvent::progress_with(&update);
    /// assert_eq!(event.data.as_str(), r#"{"current":3,"stage":"link"}"#);
    /// ```
    pub fn progress_with(update: &crate::ProgressUpdate) -> Self {
        let fields = Fields::new()
            .maybe("progress", update.progress.map(Number))
            .maybe("current", update.current.map(Number))
            .maybe("total", update.total.map(Number))
            .maybe("message", update.message.as_deref())
            .maybe("stage", update.stage.as_deref());
        Self::of(EventType::ProgressUpdate, fields)
    }

    /// Creates a `task_completed` event with an optional result.
    pub fn task_completed(result: impl Into<Option<Value>>) -> Self {
        Self::of(
            EventType::TaskCompleted,
            Fields::new().maybe("result", result.into()),
        )
    }

    /// Creates a `task_failed` event.
    pub fn task_failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::of(
            EventType::TaskFailed,
            Fields::new().put("error", &TaskError::of(error)),
        )
    }

    /// Creates a `task_cancelled` event with an optional reason.
    pub fn task_cancelled<'a>(reason: impl Into<Option<&'a str>>) -> Self {
        Self::of(
            EventType::TaskCancelled,
            Fields::new().maybe("reason", reason.into()),
        )
    }

    /// Creates a `children_update` event. Only the bus publishes this type.
    pub fn children_update(update: &crate::ChildrenUpdate) -> Self {
        let fields = Fields::new()
            .put("pending", &update.pending)
            .put("running", &update.running)
            .put("completed", &update.completed)
            .put("failed", &update.failed)
            .put("cancelled", &update.cancelled)
            .put("progress", &update.progress.map(Number));
        Self::of(EventType::ChildrenUpdate, fields)
    }

    /// Creates a `task_stalled` event. Only the bus publishes this type.
    pub fn task_stalled() -> Self {
        Self::of(EventType::TaskStalled, Fields::new())
    }

    /// Creates a `step_started` event with an optional name for people.
    pub fn step_started<'a>(step_id: impl AsRef<str>, name: impl Into<Option<&'a str>>) -> Self {
        let fields = Fields::new()
            .put("step_id", step_id.as_ref())
            .maybe("name", name.into());
        Self::of(EventType::StepStarted, fields)
    }

    /// Creates a `step_completed` event with an optional result.
    pub fn step_completed(step_id: impl AsRef<str>, result: impl Into<Option<Value>>) -> Self {
        let fields = Fields::new()
            .put("step_id", step_id.as_ref())
            .maybe("result", result.into());
        Self::of(EventType::StepCompleted, fields)
    }

    /// Creates a `step_failed` event.
    pub fn step_failed(
        step_id: impl AsRef<str>,
        error: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        let fields = Fields::new()
            .put("step_id", step_id.as_ref())
            .put("error", &TaskError::of(error));
        Self::of(EventType::StepFailed, fields)
    }

    /// Creates an `agent_status_change` event with an optional message.
    pub fn agent_status<'a>(
        agent_id: impl AsRef<str>,
        status: AgentStatus,
        message: impl Into<Option<&'a str>>,
    ) -> Self {
        let fields = Fields::new()
            .put("agent_id", agent_id.as_ref())
            .put("status", &status)
            .maybe("message", message.into());
        Self::of(EventType::AgentStatusChange, fields)
    }

    /// Creates a `tool_call_started` event with the tool's optional input.
    pub fn tool_call_started(
        tool_call_id: impl AsRef<str>,
        tool: impl AsRef<str>,
        input: impl Into<Option<Value>>,
    ) -> Self {
        let fields = Fields::new()
            .put("tool_call_id", tool_call_id.as_ref())
            .put("tool", tool.as_ref())
            .maybe("input", input.into());
        Self::of(EventType::ToolCallStarted, fields)
    }

    /// Creates a `tool_call_completed` event with the tool's optional output.
    pub fn tool_call_completed(
        tool_call_id: impl AsRef<str>,
        output: impl Into<Option<Value>>,
        duration_ms: impl Into<Option<u64>>,
    ) -> Self {
        let fields = Fields::new()
            .put("tool_call_id", tool_call_id.as_ref())
            .maybe("output", output.into())
            .maybe("duration_ms", duration_ms.into());
        Self::of(EventType::ToolCallCompleted, fields)
    }

    /// Creates a `tool_call_failed` event.
    pub fn tool_call_failed(
        tool_call_id: impl AsRef<str>,
        error: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        let fields = Fields::new()
            .put("tool_call_id", tool_call_id.as_ref())
            .put("error", &TaskError::of(error));
        Self::of(EventType::ToolCallFailed, fields)
    }

    /// Creates an `output_delta` event, which appends text to an output.
    pub fn output_delta(output_id: impl AsRef<str>, text: impl AsRef<str>) -> Self {
        let fields = Fields::new()
            .put("output_id", output_id.as_ref())
            .put("text", text.as_ref());
        Self::of(EventType::OutputDelta, fields)
    }

    /// Creates an `output_completed` event, with the whole text or [`None`].
    pub fn output_completed<'a>(
        output_id: impl AsRef<str>,
        text: impl Into<Option<&'a str>>,
    ) -> Self {
        let fields = Fields::new()
            .put("output_id", output_id.as_ref())
            .maybe("text", text.into());
        Self::of(EventType::OutputCompleted, fields)
    }

    /// Creates an `artifact` event.
    pub fn artifact(artifact: &crate::Artifact) -> Self {
        let fields = Fields::new()
            .put("artifact_id", &artifact.artifact_id)
            .maybe("name", artifact.name.as_deref())
            .maybe("media_type", artifact.media_type.as_deref())
            .maybe("url", artifact.url.as_deref())
            .maybe("data", artifact.data.as_ref());
        Self::of(EventType::Artifact, fields)
    }

    /// Creates an `input_required` event: the task asks a question.
    pub fn input_required(
        input_id: impl AsRef<str>,
        prompt: impl AsRef<str>,
        schema: impl Into<Option<Value>>,
    ) -> Self {
        let fields = Fields::new()
            .put("input_id", input_id.as_ref())
            .put("prompt", prompt.as_ref())
            .maybe("schema", schema.into());
        Self::of(EventType::InputRequired, fields)
    }

    /// Creates an `input_required` event from a question, with its optional schema, choices and
    /// time.
    ///
    /// ```
    /// use tidings_protocol::{InputRequired, ItemId, Json, NewEvent};
    ///
    /// let mut question = InputRequired::new(ItemId::new("deploy")?, "Deploy?");
    /// question.choices = Some(vec![Json::parse("\"yes\"")?, Json::parse("\"no\"")?]);
    /// let data = NewEvent::asked(&question).data;
    /// assert_eq!(data.get()["choices"][1], "no");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn asked(question: &crate::InputRequired) -> Self {
        let fields = Fields::new()
            .put("input_id", &question.input_id)
            .put("prompt", question.prompt.as_str())
            .maybe("schema", question.schema.as_ref())
            .maybe("choices", question.choices.as_ref())
            .maybe("expires_in_ms", question.expires_in_ms);
        Self::of(EventType::InputRequired, fields)
    }

    /// Creates an `input_expired` event. Only the bus publishes this type.
    pub fn input_expired(input_id: impl AsRef<str>) -> Self {
        let fields = Fields::new().put("input_id", input_id.as_ref());
        Self::of(EventType::InputExpired, fields)
    }

    /// Creates an `input_provided` event.
    pub fn input_provided(input_id: impl AsRef<str>, value: &Value, by: impl AsRef<str>) -> Self {
        let fields = Fields::new()
            .put("input_id", input_id.as_ref())
            .put("value", value)
            .put("by", by.as_ref());
        Self::of(EventType::InputProvided, fields)
    }

    /// Creates a `log` event.
    pub fn log(message: impl AsRef<str>) -> Self {
        Self::of(
            EventType::Log,
            Fields::new().put("message", message.as_ref()),
        )
    }

    /// Creates a `log` event with one line or several, a severity and a stream, both optional.
    ///
    /// ```
    /// use tidings_protocol::NewEvent;
    ///
    /// let event = NewEvent::log_with("out of film", "warn", None);
    /// assert_eq!(event.data.as_str(), r#"{"message":"out of film","level":"warn"}"#);
    /// ```
    pub fn log_with<'a>(
        message: impl AsRef<str>,
        level: impl Into<Option<&'a str>>,
        stream: impl Into<Option<LogStream>>,
    ) -> Self {
        let fields = Fields::new()
            .put("message", message.as_ref())
            .maybe("level", level.into())
            .maybe("stream", stream.into());
        Self::of(EventType::Log, fields)
    }

    /// Creates a `command_requested` event.
    pub fn command_requested(
        command_id: impl AsRef<str>,
        command: impl AsRef<str>,
        args: Option<&crate::Data>,
        by: impl AsRef<str>,
    ) -> Self {
        let fields = Fields::new()
            .put("command_id", command_id.as_ref())
            .put("command", command.as_ref())
            .maybe("args", args)
            .put("by", by.as_ref());
        Self::of(EventType::CommandRequested, fields)
    }

    /// Creates a `command_accepted` event.
    pub fn command_accepted(command_id: impl AsRef<str>) -> Self {
        let fields = Fields::new().put("command_id", command_id.as_ref());
        Self::of(EventType::CommandAccepted, fields)
    }

    /// Creates a `command_rejected` event.
    pub fn command_rejected(command_id: impl AsRef<str>, reason: impl AsRef<str>) -> Self {
        let fields = Fields::new()
            .put("command_id", command_id.as_ref())
            .put("reason", reason.as_ref());
        Self::of(EventType::CommandRejected, fields)
    }

    /// Creates a `command_completed` event with an optional result.
    pub fn command_completed(
        command_id: impl AsRef<str>,
        result: impl Into<Option<Value>>,
    ) -> Self {
        let fields = Fields::new()
            .put("command_id", command_id.as_ref())
            .maybe("result", result.into());
        Self::of(EventType::CommandCompleted, fields)
    }
}

/// A number that is written without a fraction if it is whole: `40` instead of `40.0`.
struct Number(f64);

impl Serialize for Number {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole and well within an i64's range"
    )]
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && self.0.abs() < 1e15 {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Payload;
    use serde_json::json;

    #[test]
    fn every_constructor_makes_an_event_that_its_type_accepts() {
        let artifact = serde_json::from_value(json!({"artifact_id": "a", "data": [1]})).unwrap();
        let parent = TaskId::new("p").unwrap();
        let events = [
            NewEvent::task_started("x"),
            NewEvent::subtask_started("x", &parent),
            NewEvent::progress(40.0, "m"),
            NewEvent::progress(0.5, None),
            NewEvent::progress_of(1.0, 3.0, None),
            NewEvent::task_completed(json!({"ok": true})),
            NewEvent::task_completed(None),
            NewEvent::task_failed("no \"luck\""),
            NewEvent::task_failed(TaskError::lost()),
            NewEvent::task_cancelled("enough"),
            NewEvent::task_stalled(),
            NewEvent::step_started("s", "step"),
            NewEvent::step_completed("s", None),
            NewEvent::step_failed("s", "no"),
            NewEvent::agent_status("a", AgentStatus::Waiting, None),
            NewEvent::tool_call_started("t", "grep", json!([1])),
            NewEvent::tool_call_completed("t", json!(null), 5_u64),
            NewEvent::tool_call_failed("t", "no"),
            NewEvent::output_delta("o", "a\nb"),
            NewEvent::output_completed("o", None),
            NewEvent::artifact(&artifact),
            NewEvent::input_required("i", "sure?", json!({"type": "boolean"})),
            NewEvent::input_provided("i", &json!(null), "ann"),
            NewEvent::input_expired("i"),
            NewEvent::children_update(&crate::ChildrenUpdate::default()),
            NewEvent::log("line\n"),
            NewEvent::command_requested("c", "cancel", None, "ann"),
            NewEvent::command_accepted("c"),
            NewEvent::command_rejected("c", "no"),
            NewEvent::command_completed("c", json!(1)),
        ];
        let mut types = std::collections::HashSet::new();
        for event in events {
            Payload::parse(&event.event_type, &event.data).unwrap();
            assert!(!event.data.as_str().contains('\n'), "{:?}", event.data);
            types.insert(event.event_type);
        }
        assert_eq!(types.len(), EventType::STANDARD.len());
    }

    #[test]
    fn what_does_not_fit_is_refused_when_it_is_read() {
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!([deep]);
        }
        for event in [
            NewEvent::progress(f64::NAN, None),
            NewEvent::progress(101.0, None),
            NewEvent::step_started("", None),
            NewEvent::task_completed(deep),
        ] {
            assert!(
                Payload::parse(&event.event_type, &event.data).is_err(),
                "{event:?}"
            );
        }
    }
}
