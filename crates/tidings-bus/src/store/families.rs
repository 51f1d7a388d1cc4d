//! Trees in a store that nodes share.

use std::time::Duration;

use async_trait::async_trait;
use tidings_protocol::TaskId;

use super::error::StoreError;
use crate::tasks::trees::kin::Sums;

/// The sums over a parent's children, as a store has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// The sums.
    pub sums: Sums,
    /// The store's marks that a node must look at the sums. A mark changes with every change of
    /// a child.
    pub marks: Vec<(u16, String)>,
}

impl Counted {
    /// Creates the sums that a bus keeps itself.
    pub(crate) fn own(sums: Sums) -> Self {
        let marks = Vec::new();
        Self { sums, marks }
    }
}

/// The trees of a store that nodes share, where no node knows all tasks.
///
/// An append changes the sums of the task's parent in the same step, and leaves a mark. The
/// mark asks any node to update the parent's state. It survives a failure of the node that
/// appended.
#[async_trait]
pub trait Families: Send + Sync {
    /// Returns up to `limit` children of a task after `after`, in the order of their ids. The
    /// ids begin with `prefix`.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    async fn children(
        &self,
        parent: &TaskId,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, StoreError>;

    /// Returns the sums over a task's children. Expired children do not count.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    async fn counted(&self, parent: &TaskId) -> Result<Counted, StoreError>;

    /// Removes the marks that were read with these sums, because the parent's state shows them
    /// now. A mark that has changed since stays.
    ///
    /// # Errors
    /// Fails if the store cannot be written. The marks may stay, and a node looks at them again.
    async fn shown(&self, parent: &TaskId, counted: &Counted) -> Result<(), StoreError>;

    /// Asks for another look at the sums when a missing parent appears. Returns whether the
    /// parent exists by now.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    async fn awaits(&self, parent: &TaskId, counted: &Counted) -> Result<bool, StoreError>;

    /// Waits until an append of this node has created a task that had children before. Returns the
    /// task. Its sums need a look at once, because no child need change again.
    ///
    /// # Cancel safety
    /// A dropped future loses no task.
    async fn arrived(&self) -> TaskId;

    /// Returns up to `limit` parents with sums that need a look now, or within `ahead`, by the
    /// store's own clock. After a failover, these are all parents.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    async fn stirred(&self, ahead: Duration, limit: usize) -> Result<Vec<TaskId>, StoreError>;
}
