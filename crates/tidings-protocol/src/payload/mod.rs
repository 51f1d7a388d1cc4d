//! What the standard events say, typed and checked.
//!
//! An event's [`Data`] is carried as it came, with fields that nobody here
//! knows; a [`Payload`] is what its type promises about it.

mod agent;
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
    MAX_LEASE_MS, MIN_LEASE_MS, TaskCancelled, TaskCompleted, TaskError, TaskFailed, TaskStarted,
};

use crate::{Data, Event, EventType};

/// The data of an event, by its type.
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
    /// `task_started`
    TaskStarted(TaskStarted),
    /// `progress_update`
    ProgressUpdate(ProgressUpdate),
    /// `step_started`
    StepStarted(StepStarted),
    /// `step_completed`
    StepCompleted(StepCompleted),
    /// `step_failed`
    StepFailed(StepFailed),
    /// `task_completed`
    TaskCompleted(TaskCompleted),
    /// `task_failed`
    TaskFailed(TaskFailed),
    /// `task_cancelled`
    TaskCancelled(TaskCancelled),
    /// `agent_status_change`
    AgentStatusChange(AgentStatusChange),
    /// `tool_call_started`
    ToolCallStarted(ToolCallStarted),
    /// `tool_call_completed`
    ToolCallCompleted(ToolCallCompleted),
    /// `tool_call_failed`
    ToolCallFailed(ToolCallFailed),
    /// `output_delta`
    OutputDelta(OutputDelta),
    /// `output_completed`
    OutputCompleted(OutputCompleted),
    /// `artifact`
    Artifact(Artifact),
    /// `input_required`
    InputRequired(InputRequired),
    /// `input_provided`
    InputProvided(InputProvided),
    /// `input_expired`
    InputExpired(InputExpired),
    /// `task_stalled`
    TaskStalled,
    /// `log`
    Log(Log),
    /// `command_requested`
    CommandRequested(CommandRequested),
    /// `command_accepted`
    CommandAccepted(CommandAccepted),
    /// `command_rejected`
    CommandRejected(CommandRejected),
    /// `command_completed`
    CommandCompleted(CommandCompleted),
    /// The application's own: nothing is known of its data.
    Custom,
}

impl Payload {
    /// Reads what an event in a log says, its place in an output included.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn of(event: &Event) -> Result<Self, InvalidEvent> {
        let mut payload = Self::parse(&event.event_type, &event.data)?;
        if let Self::OutputDelta(delta) = &mut payload {
            delta.at = event.at;
        }
        Ok(payload)
    }

    /// Reads what the event's type promises, and checks it. Fields that the
    /// type does not know are left alone.
    ///
    /// # Errors
    /// A field is missing, of the wrong kind, or out of range.
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
            EventType::Log => reader.read().map(Self::Log),
            EventType::CommandRequested => reader.read().map(Self::CommandRequested),
            EventType::CommandAccepted => reader.read().map(Self::CommandAccepted),
            EventType::CommandRejected => reader.read().map(Self::CommandRejected),
            EventType::CommandCompleted => reader.read().map(Self::CommandCompleted),
            EventType::Custom(_) => Ok(Self::Custom),
        }
    }
}

/// What a payload's fields must keep to beyond their types.
pub(crate) trait Check {
    /// The first field that breaks its rule, and the rule.
    fn check(&self) -> Result<(), Broken> {
        Ok(())
    }

    /// Words a broken rule after a look at the data as it came.
    fn explain(broken: Broken, _: &Data) -> Broken {
        broken
    }
}

/// A field and what was expected of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Broken {
    pub(crate) field: &'static str,
    pub(crate) expected: &'static str,
}

/// A number that counts or measures: finite and not negative.
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
