//! Typed, checked data of the standard events.
//!
//! An event's [`Data`] is carried as it came, with all unknown fields. A [`Payload`] contains the
//! fields that the event's type defines.

mod agent;
mod children;
mod command;
mod error;
mod failure;
mod input;
mod output;
mod progress;
mod step;
mod task;

use serde::de::DeserializeOwned;

pub use agent::{
    AgentStatus, AgentStatusChange, ToolCallCompleted, ToolCallFailed, ToolCallStarted,
    UnknownAgentStatus,
};
pub use children::ChildrenUpdate;
pub(crate) use command::check_name as check_command_name;
pub use command::{
    CommandAccepted, CommandCompleted, CommandRejected, CommandRequested, MAX_COMMAND_CHARS,
};
pub use error::InvalidEvent;
pub use input::{
    InputExpired, InputProvided, InputRequired, MAX_CHOICES, MAX_EXPIRES_IN_MS, MAX_SCHEMA_BYTES,
};
pub use output::{Artifact, Log, LogStream, OutputCompleted, OutputDelta, UnknownLogStream};
pub use progress::ProgressUpdate;
pub use step::{StepCompleted, StepFailed, StepStarted};
pub use task::{
    MAX_LEASE_MS, MAX_WEIGHT, MIN_LEASE_MS, MIN_WEIGHT, TaskCancelled, TaskCompleted, TaskError,
    TaskFailed, TaskStarted,
};

use crate::{Data, Event, EventType};

/// The data of an event, read according to the event's type.
///
/// ```
/// use tidings_protocol::{Data, EventType, Payload};
///
/// let data = Data::parse(r#"{"current":3,"total":12}"#)?;
/// let Payload::ProgressUpdate(update) = Payload::parse(&EventType::ProgressUpdate, &data)?
/// else { unreachable!() };
/// assert_eq!(update.percent(None), Some(25.0));
///
/// let data = Data::parse(r#"{"progress":130}"#)?;
/// let error = Payload::parse(&EventType::ProgressUpdate, &data).unwrap_err();
/// assert_eq!(error.to_string(), "progress_update: `progress` must be a number from 0 to 100");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Payload {
    /// Data of `task_started`.
    TaskStarted(TaskStarted),
    /// Data of `progress_update`.
    ProgressUpdate(ProgressUpdate),
    /// Data of `step_started`.
    StepStarted(StepStarted),
    /// Data of `step_completed`.
    StepCompleted(StepCompleted),
    /// Data of `step_failed`.
    StepFailed(StepFailed),
    /// Data of `task_completed`.
    TaskCompleted(TaskCompleted),
    /// Data of `task_failed`.
    TaskFailed(TaskFailed),
    /// Data of `task_cancelled`.
    TaskCancelled(TaskCancelled),
    /// Data of `agent_status_change`.
    AgentStatusChange(AgentStatusChange),
    /// Data of `tool_call_started`.
    ToolCallStarted(ToolCallStarted),
    /// Data of `tool_call_completed`.
    ToolCallCompleted(ToolCallCompleted),
    /// Data of `tool_call_failed`.
    ToolCallFailed(ToolCallFailed),
    /// Data of `output_delta`.
    OutputDelta(OutputDelta),
    /// Data of `output_completed`.
    OutputCompleted(OutputCompleted),
    /// Data of `artifact`.
    Artifact(Artifact),
    /// Data of `input_required`.
    InputRequired(InputRequired),
    /// Data of `input_provided`.
    InputProvided(InputProvided),
    /// `input_expired`
    InputExpired(InputExpired),
    /// `task_stalled`
    TaskStalled,
    /// Data of `children_update`.
    ChildrenUpdate(ChildrenUpdate),
    /// Data of `log`.
    Log(Log),
    /// Data of `command_requested`.
    CommandRequested(CommandRequested),
    /// Data of `command_accepted`.
    CommandAccepted(CommandAccepted),
    /// Data of `command_rejected`.
    CommandRejected(CommandRejected),
    /// Data of `command_completed`.
    CommandCompleted(CommandCompleted),
    /// A type of the application's own, whose data has no defined fields.
    Custom,
}

impl Payload {
    /// Reads the data of an event in a log. For an `output_delta`, it includes `at`, the text's
    /// place in its output.
    ///
    /// # Errors
    /// Returns the same errors as [`parse`](Self::parse).
    pub fn of(event: &Event) -> Result<Self, InvalidEvent> {
        let mut payload = Self::parse(&event.event_type, &event.data)?;
        if let Self::OutputDelta(delta) = &mut payload {
            delta.at = event.at;
        }
        Ok(payload)
    }

    /// Reads and checks the fields that the event's type defines. Unknown fields are ignored.
    ///
    /// # Errors
    /// Returns an error if a field is missing, has the wrong type, or is out of range.
    pub fn parse(event_type: &EventType, data: &Data) -> Result<Self, InvalidEvent> {
        let reader = Reader { event_type, data };
        match event_type {
            EventType::TaskStarted => reader.read().map(Self::TaskStarted),
            EventType::ProgressUpdate => reader.read().map(Self::ProgressUpdate),
            EventType::StepStarted => reader.read().map(Self::StepStarted),
            EventType::StepCompleted => reader.read().map(Self::StepCompleted),
            EventType::StepFailed => reader.read().map(Self::StepFailed),
            EventType::TaskCompleted => reader.read().map(Self::TaskCompleted),
            EventType::TaskFailed => reader.read().map(Self::TaskFailed),
            EventType::TaskCancelled => reader.read().map(Self::TaskCancelled),
            EventType::AgentStatusChange => reader.read().map(Self::AgentStatusChange),
            EventType::ToolCallStarted => reader.read().map(Self::ToolCallStarted),
            EventType::ToolCallCompleted => reader.read().map(Self::ToolCallCompleted),
            EventType::ToolCallFailed => reader.read().map(Self::ToolCallFailed),
            EventType::OutputDelta => reader.read().map(Self::OutputDelta),
            EventType::OutputCompleted => reader.read().map(Self::OutputCompleted),
            EventType::Artifact => reader.read().map(Self::Artifact),
            EventType::InputRequired => reader.read().map(Self::InputRequired),
            EventType::InputProvided => reader.read().map(Self::InputProvided),
            EventType::InputExpired => reader.read().map(Self::InputExpired),
            EventType::TaskStalled => Ok(Self::TaskStalled),
            EventType::ChildrenUpdate => reader.read().map(Self::ChildrenUpdate),
            EventType::Log => reader.read().map(Self::Log),
            EventType::CommandRequested => reader.read().map(Self::CommandRequested),
            EventType::CommandAccepted => reader.read().map(Self::CommandAccepted),
            EventType::CommandRejected => reader.read().map(Self::CommandRejected),
            EventType::CommandCompleted => reader.read().map(Self::CommandCompleted),
            EventType::Custom(_) => Ok(Self::Custom),
        }
    }
}

/// Checks fields beyond what their Rust types guarantee.
pub(crate) trait Check {
    /// Returns the first field that violates its rule, and the rule.
    fn check(&self) -> Result<(), Broken> {
        Ok(())
    }

    /// Words a violated rule more precisely, with a look at the original data.
    fn explain(broken: Broken, _: &Data) -> Broken {
        broken
    }
}

/// A field that violates a rule, and the rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Broken {
    pub(crate) field: &'static str,
    pub(crate) expected: &'static str,
}

/// Checks a number that counts or measures: it must be finite and not negative.
pub(crate) fn check_amount(field: &'static str, amount: Option<f64>) -> Result<(), Broken> {
    match amount {
        Some(amount) if !amount.is_finite() || amount < 0.0 => Err(Broken {
            field,
            expected: "a finite number, 0 or more",
        }),
        _ => Ok(()),
    }
}

struct Reader<'a> {
    event_type: &'a EventType,
    data: &'a Data,
}

impl Reader<'_> {
    fn read<T: DeserializeOwned + Check>(&self) -> Result<T, InvalidEvent> {
        let payload: T = self
            .data
            .deserialize()
            .map_err(|error| InvalidEvent::malformed(self.event_type, self.data, error))?;
        payload.check().map_err(|broken| {
            let broken = T::explain(broken, self.data);
            InvalidEvent::Field {
                event_type: self.event_type.clone(),
                field: broken.field,
                expected: broken.expected,
            }
        })?;
        Ok(payload)
    }
}
