//! What a watch yields.

use std::sync::Arc;
use std::time::Duration;

use tidings_protocol::{Event, Gap, Offset, Position, ResetReason, Since, TaskId, TaskSnapshot};

use crate::error::Loss;

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

/// What a [`Watch`](crate::Watch) yields.
///
/// For each task: a [`Snapshot`](Self::Snapshot) first, then every offset in
/// order, as an [`Event`](Self::Event) or inside of a [`Gap`](Self::Gap), also
/// when the connection broke in between. A task's state is the latest
/// snapshot, with the events above the snapshot's own offset applied.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Update {
    /// A task's state as the watch begins to follow it. Events at or below its
    /// offset may come next; they are history, and already counted.
    Snapshot(Arc<TaskSnapshot>),
    /// The next event of a task.
    Event(Arc<Event>),
    /// Offsets that will not come.
    Gap {
        /// The task.
        task_id: TaskId,
        /// Which, and why.
        gap: Gap,
        /// The task's state, newer than the gap; none if all that is missing
        /// was superseded.
        snapshot: Option<Arc<TaskSnapshot>>,
    },
    /// A task that a pattern matched is gone: it was removed, or may not be watched
    /// any more. If it comes back, it begins with a [`Snapshot`](Self::Snapshot).
    Removed {
        /// The task.
        task_id: TaskId,
    },
    /// The watch's position is void: the task has started over, or the position was
    /// after its newest event.
    Reset {
        /// The task.
        task_id: TaskId,
        /// Why.
        reason: ResetReason,
        /// What comes next comes after this offset, in the snapshot's epoch.
        offset: Offset,
        /// The task's state.
        snapshot: Arc<TaskSnapshot>,
    },
    /// The connection is gone. The client comes back by itself; nothing is lost
    /// by that, or a gap will say what.
    Disconnected {
        /// Why.
        loss: Loss,
        /// When the next attempt is; none when it waits for a token.
        retry_in: Option<Duration>,
    },
    /// The connection is there again.
    Reconnected,
}

impl Update {
    /// The task that it is about, if it is about one.
    pub fn task_id(&self) -> Option<&TaskId> {
        match self {
            Self::Snapshot(snapshot) => Some(&snapshot.task_id),
            Self::Event(event) => Some(&event.task_id),
            Self::Gap { task_id, .. } | Self::Reset { task_id, .. } | Self::Removed { task_id } => {
                Some(task_id)
            }
            Self::Disconnected { .. } | Self::Reconnected => None,
        }
    }

    /// The snapshot that it brings, if it brings one.
    pub fn snapshot(&self) -> Option<&Arc<TaskSnapshot>> {
        match self {
            Self::Snapshot(snapshot) | Self::Reset { snapshot, .. } => Some(snapshot),
            Self::Gap { snapshot, .. } => snapshot.as_ref(),
            _ => None,
        }
    }

    /// Bytes held, roughly.
    pub(crate) fn weight(&self) -> usize {
        const SMALL: usize = 256;
        // A snapshot is a few KiB as a rule, 64 KiB at most; its exact size is
        // not worth serialising it.
        const SNAPSHOT: usize = 4 * 1024;
        match self {
            Self::Event(event) => SMALL + event.data.as_str().len(),
            Self::Snapshot(_) | Self::Reset { .. } => SNAPSHOT,
            Self::Gap { snapshot, .. } => SMALL + snapshot.as_ref().map_or(0, |_| SNAPSHOT),
            Self::Removed { .. } | Self::Disconnected { .. } | Self::Reconnected => SMALL,
        }
    }
}
