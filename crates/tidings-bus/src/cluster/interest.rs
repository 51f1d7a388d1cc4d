//! Which tasks a node wants to hear of, where there are too many for all.

use async_trait::async_trait;
use tidings_protocol::TaskId;

use crate::cluster::broker::BrokerError;

/// The side of a [`Broker`](crate::Broker) that lets a node hear of some tasks
/// only.
///
/// A bus whose broker has one reads a task from the store when somebody asks
/// for it, hears of it for as long as somebody here watches it, and forgets it
/// some time after. Without one it takes in every task there is.
#[async_trait]
pub trait Interest: Send + Sync + 'static {
    /// Somebody here watches this task from now on. Never blocks. Once it is in
    /// force, a [`Notice::Grown`](crate::Notice::Grown) follows, so that what
    /// came before it is read. Counted: so many calls, so many
    /// [`unwatch`](Self::unwatch).
    fn watch(&self, task_id: &TaskId);

    /// One watcher less.
    fn unwatch(&self, task_id: &TaskId);

    /// Whether notices of this task come in at the moment.
    fn is_watching(&self, task_id: &TaskId) -> bool;

    /// Whether this node is to be told of tasks that are new: somebody here
    /// watches a pattern.
    fn watch_new(&self, wanted: bool);

    /// Ids of up to `limit` tasks in order, after `after`, that begin with `prefix`.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, BrokerError>;
}
