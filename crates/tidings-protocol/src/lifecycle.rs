//! The life of a task: which events are allowed in which status.

use crate::EventType;

/// The status of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TaskStatus {
    /// The task has not started. It may exist only because somebody watches it.
    #[default]
    Pending,
    /// The task has started.
    Running,
    /// The task ended well.
    Completed,
    /// The task ended with an error.
    Failed,
    /// The task was ended early, on purpose.
    Cancelled,
}

crate::text::named_enum!(TaskStatus, UnknownTaskStatus, "a task's status", {
    Pending => "pending",
    Running => "running",
    Completed => "completed",
    Failed => "failed",
    Cancelled => "cancelled",
});

impl TaskStatus {
    /// Returns whether the task has ended.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Returns whether an event of this type is allowed in this status.
    ///
    /// Before the start, every type is allowed, because a task may receive events without being
    /// declared first. After the end, late answers and events about the outcome are allowed, but
    /// events about work in progress are not. A `task_started` opens a new run.
    pub const fn allows(self, event_type: &EventType) -> bool {
        match self {
            Self::Pending => true,
            Self::Running => !matches!(event_type, EventType::TaskStarted),
            Self::Completed | Self::Failed | Self::Cancelled => !matches!(
                event_type,
                EventType::ProgressUpdate
                    | EventType::StepStarted
                    | EventType::StepCompleted
                    | EventType::StepFailed
                    | EventType::ToolCallStarted
                    | EventType::OutputDelta
                    | EventType::InputRequired
                    | EventType::InputExpired
                    | EventType::TaskCompleted
                    | EventType::TaskFailed
                    | EventType::TaskCancelled
                    | EventType::TaskStalled
            ),
        }
    }
}

/// An event that the task's status does not allow: a late or repeated report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{event_type}` is not allowed while the task is {status}")]
#[non_exhaustive]
pub struct InvalidTransition {
    /// The task's status.
    pub status: TaskStatus,
    /// The event's type.
    pub event_type: EventType,
}

impl InvalidTransition {
    /// Creates the error for an event of a task with this status.
    pub fn new(status: TaskStatus, event_type: EventType) -> Self {
        Self { status, event_type }
    }
}
