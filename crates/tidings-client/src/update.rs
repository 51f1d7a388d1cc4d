//! The start of a watch, and its updates.

pub use tidings_protocol::Update;
use tidings_protocol::{Position, Since};

/// The place in a task at which a watch begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Start {
    /// The task's present state, then new events.
    #[default]
    Live,
    /// The task's present state, then this number of older events at most, then new
    /// events.
    History(u32),
    /// All events that the server retains.
    Retained,
    /// The events after this position.
    After(Position),
}

impl From<Since> for Start {
    fn from(since: Since) -> Self {
        match since {
            Since::Start => Self::Retained,
            Since::After(position) => Self::After(position),
        }
    }
}

impl From<Position> for Start {
    fn from(position: Position) -> Self {
        Self::After(position)
    }
}

/// Returns the approximate size of an update, in bytes.
pub(crate) fn weight(update: &Update) -> usize {
    const SMALL: usize = 256;
    // A snapshot usually has a few KiB, and 64 KiB at most. Serialising it to learn its
    // exact size costs too much.
    const SNAPSHOT: usize = 4 * 1024;
    match update {
        Update::Event(event) => SMALL + event.data.as_str().len(),
        Update::Snapshot(_) | Update::Reset { .. } => SNAPSHOT,
        Update::Gap { snapshot, .. } => SMALL + snapshot.as_ref().map_or(0, |_| SNAPSHOT),
        _ => SMALL,
    }
}
