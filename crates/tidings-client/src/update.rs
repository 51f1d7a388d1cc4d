//! Where a watch begins, and what it yields.

pub use tidings_protocol::Update;
use tidings_protocol::{Position, Since};

/// Where a watch begins in a task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Start {
    /// With the task's state, then with what comes next.
    #[default]
    Live,
    /// With the task's state, then up to so many events from before, then with
    /// what comes next.
    History(u32),
    /// With everything that is retained.
    Retained,
    /// After an event seen before.
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

/// Bytes that an update holds, roughly.
pub(crate) fn weight(update: &Update) -> usize {
    const SMALL: usize = 256;
    // A snapshot is a few KiB as a rule, 64 KiB at most; its exact size is
    // not worth serialising it.
    const SNAPSHOT: usize = 4 * 1024;
    match update {
        Update::Event(event) => SMALL + event.data.as_str().len(),
        Update::Snapshot(_) | Update::Reset { .. } => SNAPSHOT,
        Update::Gap { snapshot, .. } => SMALL + snapshot.as_ref().map_or(0, |_| SNAPSHOT),
        _ => SMALL,
    }
}
