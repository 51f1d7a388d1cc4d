//! How a task has ended.

use std::sync::Arc;

use crate::{Event, EventType, InvalidEvent, Json, Payload, TaskError, TaskSnapshot, TaskStatus};

/// How a task has ended: what a program that waits for it gets.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// `completed`, `failed` or `cancelled`.
    pub status: TaskStatus,
    /// The result of a task that completed, if it has one.
    pub result: Option<Json>,
    /// The error of a task that failed.
    pub error: Option<TaskError>,
    /// The task's state at its end.
    pub state: Arc<TaskSnapshot>,
}

impl Outcome {
    /// Returns the outcome of a task that has ended; none while it has not.
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

impl EventType {
    /// Returns the status that a task has after this event, if the event ends it.
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
    /// Reads the event's data by its type.
    ///
    /// # Errors
    /// The data does not fit the type.
    pub fn payload(&self) -> Result<Payload, InvalidEvent> {
        Payload::parse(&self.event_type, &self.data)
    }
}

/// A task is to stop: somebody has asked for it, or its program ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the task was cancelled by {by}")]
#[non_exhaustive]
pub struct Cancelled {
    /// The one who asked for it; `shutdown` if the program ends.
    pub by: String,
}

impl Cancelled {
    /// A cancellation that this one has asked for.
    pub fn new(by: impl Into<String>) -> Self {
        Self { by: by.into() }
    }
}
