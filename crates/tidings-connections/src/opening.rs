//! The announcement of a subscription that waits for the socket.

use tidings_bus::watch::Start;
use tidings_protocol::{Reference, TaskId};

use crate::defaults::OPENING_BYTES;
use crate::group::Group;

/// How a subscription is announced once the socket has room. The cursor joins the log at that
/// moment, so the announcement is never older than the events after it.
pub(crate) struct Opening {
    pub(crate) start: Start,
    pub(crate) kind: OpeningKind,
    /// Further trees that the task belongs to. The client is told of them after the announcement.
    pub(crate) trees: Vec<TaskId>,
}

impl Opening {
    /// Returns whether the task is announced through this group.
    pub(crate) fn is_through(&self, group: &Group) -> bool {
        match &self.kind {
            OpeningKind::Subscribed { group: known, .. }
            | OpeningKind::Appeared { group: known } => known.as_ref() == Some(group),
            OpeningKind::Established { .. } | OpeningKind::Silent => false,
        }
    }

    /// Says that the task belongs to this tree, if the announcement does not say it already.
    pub(crate) fn add_tree(&mut self, root: &TaskId) {
        if !self.is_through(&Group::Tree(root.clone())) && !self.trees.contains(root) {
            self.trees.push(root.clone());
        }
    }
}

pub(crate) enum OpeningKind {
    /// In `connection_established`, after the bytes that the transport still has to write.
    Established { preface: Vec<u8> },
    /// In `subscribed`, with the request's reference, or with the group that brought the task.
    Subscribed {
        reference: Option<Reference>,
        group: Option<Group>,
    },
    /// In `subscribed` at offset 0, because the task has appeared in a group.
    Appeared { group: Option<Group> },
    /// Not at all, because an inbox continues where it was.
    Silent,
}

impl OpeningKind {
    pub(crate) fn set_group(&mut self, now: Group) {
        if let Self::Subscribed { group, .. } | Self::Appeared { group } = self {
            *group = Some(now);
        }
    }
}

const _: () = assert!(size_of::<Opening>() as u64 + 24 <= OPENING_BYTES);
