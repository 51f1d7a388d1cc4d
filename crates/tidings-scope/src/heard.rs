//! Updates of a task, for its worker.

use std::sync::Arc;

use tidings_protocol::{Data, EventType, TaskSnapshot};

/// An update of a task, for its worker.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Heard {
    /// The task's state, at the beginning and after missing events.
    State(Arc<TaskSnapshot>),
    /// An event that [`concerns`](Self::concerns) the worker.
    Event(EventType, Data),
}

impl Heard {
    /// Returns true if events of a type concern a worker. Such events are commands,
    /// answers to questions, and ends.
    pub fn concerns(event_type: &EventType) -> bool {
        matches!(
            event_type,
            EventType::CommandRequested
                | EventType::CommandRejected
                | EventType::CommandCompleted
                | EventType::InputProvided
                | EventType::InputExpired
        ) || event_type.ends_as().is_some()
    }
}
