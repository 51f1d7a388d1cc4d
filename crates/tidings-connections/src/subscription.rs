//! One subscription: a cursor on a log, and its state.

use std::sync::Arc;

use tidings_bus::watch::{Start, Task};
use tidings_bus::{AttachId, Cursor, Reader, Topic};
use tidings_protocol::TaskId;

use crate::defaults::CURSOR_BYTES;
use crate::opening::{Opening, OpeningKind};
use crate::resume::KeptSubscription;

/// The log that a cursor reads.
#[derive(Clone)]
pub(crate) enum Source {
    Task(Arc<Task>),
    /// The client's own messages.
    Inbox(Arc<Topic>),
}

impl Source {
    pub(crate) fn topic(&self) -> &Arc<Topic> {
        match self {
            Self::Task(task) => task.topic(),
            Self::Inbox(topic) => topic,
        }
    }

    pub(crate) fn task_id(&self) -> Option<&TaskId> {
        match self {
            Self::Task(task) => Some(task.id()),
            Self::Inbox(_) => None,
        }
    }
}

/// A cursor. The fields that a delivery needs come first, and small fields are adjacent.
#[repr(C)]
pub(crate) struct Sub {
    pub(crate) source: Source,
    pub(crate) reader: Reader,
    /// The cursor's position at the last heartbeat. If the cursor has not moved since, its task is
    /// quiet.
    pub(crate) last_heartbeat: Mark,
    /// `true` if the client subscribed by name, and not only through a group.
    pub(crate) explicit: bool,
    /// `true` if the task is the topmost one of a tree that the client subscribed to.
    pub(crate) topmost: bool,
    /// `true` while the cursor waits for the socket.
    waits: bool,
    /// The announcement, while the client does not know of the subscription.
    opening: Option<Box<Opening>>,
    pub(crate) attached: AttachId,
}

/// The state of a subscription.
///
/// The cursor stores it as a pointer and a flag. An enum as a field would add eight bytes to each
/// cursor.
pub(crate) enum Subscription<'a> {
    /// The client does not know of the subscription yet. The cursor has no position.
    Opening(&'a Opening),
    /// The client has everything, or the fan-out pass is about to deliver it.
    Live,
    /// The cursor waits for the socket.
    Behind,
}

impl Sub {
    /// Creates a cursor that is still to be announced. The reader is a placeholder until then.
    pub(crate) fn new(
        source: Source,
        reader: Reader,
        attached: AttachId,
        opening: Opening,
        (explicit, topmost): (bool, bool),
    ) -> Self {
        Self {
            source,
            reader,
            last_heartbeat: Mark::default(),
            explicit,
            topmost,
            waits: false,
            opening: Some(Box::new(opening)),
            attached,
        }
    }

    /// Returns the state of the subscription.
    pub(crate) fn state(&self) -> Subscription<'_> {
        match (&self.opening, self.waits) {
            (Some(opening), _) => Subscription::Opening(opening),
            (None, true) => Subscription::Behind,
            (None, false) => Subscription::Live,
        }
    }

    /// Returns whether the client does not know of the subscription yet.
    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.state(), Subscription::Opening(_))
    }

    /// Returns the announcement that waits for the socket.
    pub(crate) fn opening_mut(&mut self) -> Option<&mut Opening> {
        self.opening.as_deref_mut()
    }

    /// Takes the announcement. The subscription is live, and the caller sets the cursor.
    pub(crate) fn take_opening(&mut self) -> Option<Box<Opening>> {
        self.opening.take()
    }

    /// Makes the subscription wait for its announcement again, because the client has received only
    /// a part of it.
    pub(crate) fn reopen(&mut self, opening: Box<Opening>) {
        self.opening = Some(opening);
    }

    /// Returns whether the cursor waits for the socket.
    pub(crate) fn waits(&self) -> bool {
        self.waits
    }

    /// Sets whether the cursor waits for the socket. Returns whether it waited before.
    pub(crate) fn set_waits(&mut self, waits: bool) -> bool {
        std::mem::replace(&mut self.waits, waits)
    }

    /// Returns whether the cursor stays when its task is removed.
    pub(crate) fn stays(&self) -> bool {
        self.explicit || self.topmost
    }

    /// Returns the last message of an inbox that its client received. Before the cursor opens, its
    /// own position says nothing.
    pub(crate) fn seen(&self) -> u64 {
        match self.state() {
            Subscription::Opening(opening) => match &opening.start {
                Start::After(position) => position.offset.get(),
                _ => 0,
            },
            Subscription::Live | Subscription::Behind => self.reader.cursor().delivered().get(),
        }
    }

    /// Returns the subscription with which the client would resume.
    pub(crate) fn kept(&self, task: &Task) -> KeptSubscription {
        let (start, appeared) = match self.state() {
            Subscription::Opening(opening) => (
                opening.start.clone(),
                matches!(opening.kind, OpeningKind::Appeared { .. }),
            ),
            Subscription::Live | Subscription::Behind => (
                Start::After(task.topic().position(self.reader.cursor())),
                false,
            ),
        };
        KeptSubscription {
            task_id: task.id().clone(),
            start,
            explicit: self.explicit,
            appeared,
            tree: None,
        }
    }
}

/// The memory of a cursor in lists that grow by a quarter: the cursor, its entry at the task of 24
/// bytes with the header of an allocation, its key in the index, at its emptiest, and its place in
/// the queue.
const IN_LISTS: usize = size_of::<Sub>() * 5 / 4 + (24 + 16) + 12 + 8;
const _: () = assert!(IN_LISTS as u64 <= CURSOR_BYTES);

/// A cursor's position, as the lower half of its offset. It suffices to see that the cursor moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark(u32);

impl From<Cursor> for Mark {
    fn from(cursor: Cursor) -> Self {
        let low = cursor.next_offset() & u64::from(u32::MAX);
        Self(u32::try_from(low).unwrap_or_default())
    }
}
