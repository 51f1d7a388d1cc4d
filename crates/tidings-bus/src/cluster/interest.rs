//! Selects the tasks about which a node receives notices, if there are too many for all of
//! them.

use async_trait::async_trait;
use tidings_protocol::TaskId;

use crate::cluster::broker::BrokerError;

/// The part of a [`Broker`](crate::Broker) that sends a node the notices of some tasks only.
///
/// A bus with such a broker reads a task from the store when a caller asks for it. It receives
/// notices of the task while the task has a watcher on this node, and forgets the task some
/// time later. A bus without such a broker takes in every task of the store.
#[async_trait]
pub trait Interest: Send + Sync + 'static {
    /// Adds a watcher of this node to a task. Never blocks. When the broker has applied the
    /// call, it sends a [`Notice::Grown`](crate::Notice::Grown), so that the bus reads earlier
    /// events. Calls are counted: each call needs one [`unwatch`](Self::unwatch).
    fn watch(&self, task_id: &TaskId);

    /// Removes one watcher of this node from a task.
    fn unwatch(&self, task_id: &TaskId);

    /// Returns whether notices of this task arrive at the moment.
    fn is_watching(&self, task_id: &TaskId) -> bool;

    /// Sets whether this node receives notices of new tasks. It needs them while it has a
    /// watcher of a pattern.
    fn watch_new(&self, wanted: bool);

    /// Sets whether this node receives notices of tasks that name a parent. It needs them while
    /// it has a watcher of a tree. The default does nothing, for nodes without trees.
    fn watch_children(&self, _wanted: bool) {}

    /// Returns up to `limit` task ids that begin with `prefix`, in order, after `after`.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, BrokerError>;
}
