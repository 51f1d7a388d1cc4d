//! The kinds of memory.

use serde::Serialize;

/// A kind of memory that a client can make the server hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// A declared task itself: its entry, log and rules.
    Task,
    /// Retained events of tasks.
    Events,
    /// Snapshots of tasks.
    Snapshot,
    /// Outputs that are kept whole, outside the snapshot.
    Output,
    /// Windows of event ids, for idempotency.
    EventIds,
    /// Stamps of producers.
    Producers,
    /// Leases of tasks.
    Lease,
    /// The bus's records of tasks that name a parent.
    Tree,
    /// The memory that a store needs for each of its tasks, whether the bus has the task in memory
    /// or not.
    Store,
    /// Tasks that have subscribers but never had an event.
    Undeclared,
    /// Cursors of subscriptions.
    Cursor,
    /// Clients that are kept while they are offline.
    KeptClient,
    /// The memory of a pattern subscription without its cursors.
    Pattern,
    /// Answers that the client has not read yet.
    Answer,
    /// Messages in inboxes.
    Inbox,
}

/// The two budgets. Neither takes memory from the other, so an undeclared task
/// can never push out a declared one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Memory that publishers make the server hold. If the budget is full, the bus evicts tasks.
    Tasks,
    /// Memory that subscribers and requests make the server hold. If the budget is full, the bus
    /// refuses more.
    Clients,
}

impl Kind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Kind; 15] = [
        Kind::Task,
        Kind::Events,
        Kind::Snapshot,
        Kind::Output,
        Kind::EventIds,
        Kind::Producers,
        Kind::Lease,
        Kind::Tree,
        Kind::Store,
        Kind::Undeclared,
        Kind::Cursor,
        Kind::KeptClient,
        Kind::Pattern,
        Kind::Answer,
        Kind::Inbox,
    ];

    /// Returns the budget that this kind belongs to.
    pub fn group(self) -> Group {
        if self.index() <= Kind::Store.index() {
            Group::Tasks
        } else {
            Group::Clients
        }
    }

    /// Returns the name of the kind, as metrics and error texts use it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Events => "events",
            Self::Snapshot => "snapshot",
            Self::Output => "output",
            Self::EventIds => "event_ids",
            Self::Producers => "producers",
            Self::Lease => "lease",
            Self::Tree => "tree",
            Self::Store => "store",
            Self::Undeclared => "undeclared",
            Self::Cursor => "cursor",
            Self::KeptClient => "kept_client",
            Self::Pattern => "pattern",
            Self::Answer => "answer",
            Self::Inbox => "inbox",
        }
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

impl Group {
    pub(super) const COUNT: usize = 2;

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_kinds_is_complete_and_in_order() {
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), at, "{}", kind.name());
        }
    }

    #[test]
    fn what_publishers_cause_is_the_budget_of_tasks() {
        assert_eq!(Kind::Store.group(), Group::Tasks);
        assert_eq!(Kind::Undeclared.group(), Group::Clients);
    }
}
