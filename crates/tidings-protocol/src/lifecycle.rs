//! A task's life: which events make sense when.

use crate::EventType;

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TaskStatus {
    /// Not started; perhaps nothing was heard of it but that someone watches.
    #[default]
    Pending,
    /// Started.
    Running,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// Ended early, on purpose.
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
    /// Whether the task has ended.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Whether an event of this type makes sense now.
    ///
    /// Before the start everything does, because a task may receive its first
    /// event without having been declared. After the end, late answers and
    /// whatever is about the outcome still do; what tells of work going on
    /// does not, and a `task_started` opens a new run.
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

/// An event that makes no sense in the task's state: a late or a doubled report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{event_type}` makes no sense while the task is {status}")]
#[non_exhaustive]
pub struct InvalidTransition {
    /// Where the task is in its life.
    pub status: TaskStatus,
    /// The event's type.
    pub event_type: EventType,
}

impl InvalidTransition {
    /// Makes the error for an event that comes while a task is `status`.
    pub fn new(status: TaskStatus, event_type: EventType) -> Self {
        Self { status, event_type }
    }
}
