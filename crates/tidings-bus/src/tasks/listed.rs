//! The keys under which a task is listed.

use tidings_protocol::{TaskSnapshot, TaskStatus, Timestamp};

use crate::tasks::trees::kin::Kin;

/// The keys under which a task is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) status: TaskStatus,
    pub(crate) asking: Asking,
    /// The task's entry in its parent's counts. Boxed, because most tasks have no parent.
    pub(crate) kin: Option<Box<Kin>>,
}

impl Listed {
    /// Returns the keys for a task in this state.
    pub(crate) fn of(snapshot: &TaskSnapshot) -> Self {
        Self {
            status: snapshot.status,
            asking: Asking::of(snapshot),
            kin: Kin::of(snapshot).map(Box::new),
        }
    }
}

/// The open questions of a task, as far as the bus needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Asking {
    /// Whether a question is open.
    pub(crate) open: bool,
    /// The time of the next expiry, if a question expires.
    pub(crate) until: Option<Timestamp>,
}

impl Asking {
    /// Reads the open questions from a task's state.
    pub(crate) fn of(snapshot: &TaskSnapshot) -> Self {
        let inputs = &snapshot.pending_inputs;
        Self {
            open: !inputs.is_empty(),
            until: inputs.iter().filter_map(|input| input.expires_at).min(),
        }
    }
}
