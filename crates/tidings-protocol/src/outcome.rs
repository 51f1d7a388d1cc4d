//! The outcome of a task.

use std::sync::Arc;

use crate::{
    Event, EventType, InvalidEvent, ItemId, Json, Payload, TaskError, TaskSnapshot, TaskStatus,
};

/// The outcome of a task that has ended, for a program that waited for it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// `completed`, `failed` or `cancelled`.
    pub status: TaskStatus,
    /// The result of a task that completed, if it has one.
    pub result: Option<Json>,
    /// The error of a task that failed.
    pub error: Option<TaskError>,
    /// The task's final state.
    pub state: Arc<TaskSnapshot>,
}

impl Outcome {
    /// Returns the outcome of a task that has ended, or `None` if the task has not ended.
    pub fn of(state: &Arc<TaskSnapshot>) -> Option<Self> {
        state.status.is_terminal().then(|| Self {
            status: state.status,
            result: state.result.clone(),
            error: state.error.clone(),
            state: Arc::clone(state),
        })
    }

    /// Returns whether the task completed.
    pub fn is_completed(&self) -> bool {
        self.status == TaskStatus::Completed
    }
}

/// How a question has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputOutcome {
    /// The question has an answer.
    #[non_exhaustive]
    Answered {
        /// The answer. `None` if it is larger than 2 KiB. Only the log then has the answer.
        value: Option<Json>,
        /// The subject that gave the answer.
        by: String,
    },
    /// The question had no answer in time.
    Expired,
    /// The question ended without an answer, because the task ended or started a new run.
    Dropped,
}

impl InputOutcome {
    /// Returns how a question has ended. Returns `None` while the question is open. A question
    /// that the state does not know is dropped.
    pub fn of(state: &TaskSnapshot, input_id: &ItemId) -> Option<Self> {
        if state
            .pending_inputs
            .iter()
            .any(|input| input.input_id == *input_id)
        {
            return None;
        }
        let ended = state.ended_inputs.iter().rev();
        let ended = ended.into_iter().find(|input| input.input_id == *input_id);
        Some(match ended.map(|ended| (&ended.by, &ended.value)) {
            None => Self::Dropped,
            Some((None, _)) => Self::Expired,
            Some((Some(by), value)) => Self::Answered {
                value: value.clone(),
                by: by.clone(),
            },
        })
    }

    /// Returns the outcome that an event reports of a question. Returns `None` if the event does
    /// not end the question.
    pub fn told(event: &Event, input_id: &ItemId) -> Option<Self> {
        match event.payload().ok()? {
            Payload::InputProvided(input) if input.input_id == *input_id => Some(Self::Answered {
                value: Some(input.value),
                by: input.by,
            }),
            Payload::InputExpired(input) if input.input_id == *input_id => Some(Self::Expired),
            _ => None,
        }
    }
}

impl EventType {
    /// Returns the task's status after this event, or `None` if the event does not end the task.
    ///
    /// ```
    /// use tidings_protocol::{EventType, TaskStatus};
    ///
    /// assert_eq!(EventType::TaskFailed.ends_as(), Some(TaskStatus::Failed));
    /// assert_eq!(EventType::StepFailed.ends_as(), None);
    /// ```
    pub const fn ends_as(&self) -> Option<TaskStatus> {
        match self {
            Self::TaskCompleted => Some(TaskStatus::Completed),
            Self::TaskFailed => Some(TaskStatus::Failed),
            Self::TaskCancelled => Some(TaskStatus::Cancelled),
            _ => None,
        }
    }
}

impl Event {
    /// Reads the event's data according to its type.
    ///
    /// # Errors
    /// Returns an error if the data does not fit the type.
    pub fn payload(&self) -> Result<Payload, InvalidEvent> {
        Payload::parse(&self.event_type, &self.data)
    }
}

/// The order to stop a task, because a user asked for it or because the program ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the task was cancelled by {by}")]
#[non_exhaustive]
pub struct Cancelled {
    /// The subject that asked for it, or `shutdown` if the program ends.
    pub by: String,
}

impl Cancelled {
    /// Creates a cancellation that `by` has asked for.
    pub fn new(by: impl Into<String>) -> Self {
        Self { by: by.into() }
    }
}
