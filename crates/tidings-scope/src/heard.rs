//! What a worker hears of its task.

use std::sync::Arc;

use tidings_protocol::{Data, EventType, TaskSnapshot};

/// What a worker hears of its task.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Heard {
    /// The task's state, at the beginning and wherever events did not come.
    State(Arc<TaskSnapshot>),
    /// An event that [`concerns`](Self::concerns) a worker.
    Event(EventType, Data),
}

impl Heard {
    /// Returns whether events of a type concern a worker: commands, answers to
    /// questions, and ends.
    pub fn concerns(event_type: &EventType) -> bool {
        matches!(
            event_type,
            EventType::CommandRequested
                | EventType::CommandRejected
                | EventType::CommandCompleted
                | EventType::InputProvided
        ) || event_type.ends_as().is_some()
            || event_type.as_str() == "input_expired"
    }
}
