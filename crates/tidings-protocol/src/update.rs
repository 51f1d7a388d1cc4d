//! Updates: what a subscriber receives, from a bus in its process or through a client.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::{Event, Fold, Gap, Loss, Offset, ResetReason, TaskId, TaskSnapshot};

/// An update for a subscriber, from a bus in its own process or through a client.
///
/// For each task, a [`Snapshot`](Self::Snapshot) comes first. Then every offset comes in order, as
/// an [`Event`](Self::Event) or inside of a [`Gap`](Self::Gap), even if the connection broke in
/// between. A task's state is the latest snapshot, with the events above the snapshot's own offset
/// applied.
///
/// `E` is the type of events. Through a client it is an [`Event`]. In the process of a bus it is a
/// record of the log. Both have the same methods.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Update<E = Arc<Event>> {
    /// A task's state at the start of the watch. Events at or below its offset may come next.
    /// They are history, and the state already contains them. The snapshot comes again if the
    /// task begins in another epoch before the watch has any of its events.
    Snapshot(Arc<TaskSnapshot>),
    /// The next event of a task.
    Event(E),
    /// Offsets that will not be delivered.
    Gap {
        /// The task.
        task_id: TaskId,
        /// The missing offsets, and why they are missing.
        gap: Gap,
        /// The task's state, newer than the gap. `None` if all missing events are outdated.
        snapshot: Option<Arc<TaskSnapshot>>,
    },
    /// A task that a pattern matched is gone: it was removed, or may no longer be watched. If it
    /// returns, a [`Snapshot`](Self::Snapshot) comes first.
    Removed {
        /// The task.
        task_id: TaskId,
    },
    /// The watch's position is not valid any more. The task has started over, or the position was
    /// beyond its newest event.
    Reset {
        /// The task.
        task_id: TaskId,
        /// Why the position is not valid.
        reason: ResetReason,
        /// The following events come after this offset, in the snapshot's epoch.
        offset: Offset,
        /// The task's state.
        snapshot: Arc<TaskSnapshot>,
    },
    /// A client has lost its connection. The client reconnects without a call. Nothing is lost,
    /// or a gap will report the missing events.
    Disconnected {
        /// Why the connection was lost.
        loss: Loss,
        /// The time until the next attempt. `None` if the client waits for a token.
        retry_in: Option<Duration>,
    },
    /// A client has connected again.
    Reconnected,
}

impl<E: RecordedEvent> Update<E> {
    /// Returns the task of the update, if the update belongs to one task.
    pub fn task_id(&self) -> Option<&TaskId> {
        match self {
            Self::Snapshot(snapshot) => Some(&snapshot.task_id),
            Self::Event(event) => event.task_id(),
            Self::Gap { task_id, .. } | Self::Reset { task_id, .. } | Self::Removed { task_id } => {
                Some(task_id)
            }
            Self::Disconnected { .. } | Self::Reconnected => None,
        }
    }
}

impl<E> Update<E> {
    /// Returns the snapshot that the update contains, if there is one.
    pub fn snapshot(&self) -> Option<&Arc<TaskSnapshot>> {
        match self {
            Self::Snapshot(snapshot) | Self::Reset { snapshot, .. } => Some(snapshot),
            Self::Gap { snapshot, .. } => snapshot.as_ref(),
            _ => None,
        }
    }
}

/// An event as a subscriber gets it.
pub trait RecordedEvent {
    /// Returns the task that the event belongs to.
    fn task_id(&self) -> Option<&TaskId>;

    /// Returns the event, decoded, or `None` if it cannot be read.
    fn event(&self) -> Option<Cow<'_, Event>>;
}

impl RecordedEvent for Arc<Event> {
    fn task_id(&self) -> Option<&TaskId> {
        Some(&self.task_id)
    }

    fn event(&self) -> Option<Cow<'_, Event>> {
        Some(Cow::Borrowed(self))
    }
}

/// The states of all tasks for which a subscriber received updates.
///
/// ```
/// use tidings_protocol::{Event, States, Update};
///
/// let mut states = States::default();
/// let update: Update = Update::Reconnected;
/// states.take(&update);
/// assert!(states.get(&"render-7".parse()?).is_none());
/// # Ok::<(), tidings_protocol::IdError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct States(BTreeMap<TaskId, Fold>);

impl States {
    /// Returns the state of a task, or `None` if no update of the task has arrived.
    pub fn get(&self, task_id: &TaskId) -> Option<&Arc<TaskSnapshot>> {
        self.0.get(task_id)?.state()
    }

    /// Applies an update. Ignores data that does not fit its type. A log never contains such
    /// data.
    pub fn take<E: RecordedEvent>(&mut self, update: &Update<E>) {
        if let Some(state) = update.snapshot() {
            let fold = self.0.entry(state.task_id.clone()).or_default();
            fold.snapshot(Arc::clone(state));
        }
        match update {
            Update::Event(told) => {
                if let Some(fold) = told.task_id().and_then(|id| self.0.get_mut(id))
                    && let Some(event) = told.event()
                {
                    let _ = fold.event(&event);
                }
            }
            Update::Removed { task_id } => {
                self.0.remove(task_id);
            }
            _ => {}
        }
    }
}
