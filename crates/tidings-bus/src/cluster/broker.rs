//! The interface between the nodes of a cluster.
//!
//! A bus is one node. Nodes share a [`Store`](crate::Store), which assigns the offsets. A
//! [`Broker`] carries the notice that a task's log has grown. A late or lost notice does not
//! harm the order. The receiver reads the events between its own head and the store's head from
//! the store.

use std::sync::Arc;

use async_trait::async_trait;
use tidings_protocol::{Epoch, Offset, TaskId};
use tokio::sync::{broadcast, mpsc};

use crate::store::StoredEvent;

/// The notice that a task's log has grown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The task.
    pub task_id: TaskId,
    /// The epoch of `head`.
    pub epoch: Epoch,
    /// The log's newest offset.
    pub head: Offset,
}

/// A notice from another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// One task has grown.
    Grown(Announcement),
    /// One task has grown by this event. The receiver may have to read earlier events from the
    /// store, but not this one.
    Event {
        /// The task.
        task_id: TaskId,
        /// The epoch of the event's offset.
        epoch: Epoch,
        /// The event.
        event: StoredEvent,
    },
    /// A task has named its parent.
    Child {
        /// The parent.
        parent: TaskId,
        /// The task.
        child: TaskId,
    },
    /// One task may have grown. The store knows whether it has.
    Look(TaskId),
    /// Notices were lost. Every task may have grown.
    Lost,
}

/// The error of a notice that could not be sent to the other nodes.
#[derive(Debug, thiserror::Error)]
#[error("the other nodes could not be reached")]
pub struct BrokerError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Connects this node with the others.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Sends a notice to the other nodes. The bus calls it after the event is stored and visible
    /// on this node. The bus logs an error, and the event stays published.
    async fn announce(&self, announcement: Announcement) -> Result<(), BrokerError>;

    /// Returns the notices of the other nodes, while the receiver is kept. Each bus calls this
    /// once. The channel is bounded. If it is full, the broker drops the notice and sends
    /// [`Notice::Lost`] when it can.
    fn notices(&self) -> mpsc::Receiver<Notice>;

    /// Returns the interest of this node in single tasks. `None` means that this node receives
    /// the notices of all tasks.
    fn interest(&self) -> Option<Arc<dyn Interest>> {
        None
    }
}

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

/// The broker within one process. Buses with the same `LocalBroker` receive each other's
/// events.
#[derive(Debug)]
pub struct LocalBroker {
    notices: broadcast::Sender<Announcement>,
}

/// The most notices that wait for a slow bus. If there are more, the bus must look at every
/// task.
const PENDING: usize = 1_024;

impl LocalBroker {
    /// Creates a broker without a bus.
    pub fn new() -> Self {
        Self {
            notices: broadcast::Sender::new(PENDING),
        }
    }
}

impl Default for LocalBroker {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Broker for LocalBroker {
    async fn announce(&self, announcement: Announcement) -> Result<(), BrokerError> {
        // One node alone has no listener. This is no error.
        let _ = self.notices.send(announcement);
        Ok(())
    }

    fn notices(&self) -> mpsc::Receiver<Notice> {
        let mut from = self.notices.subscribe();
        let (to, receiver) = mpsc::channel(PENDING);
        tokio::spawn(async move {
            loop {
                let notice = tokio::select! {
                    received = from.recv() => match received {
                        Ok(announcement) => Notice::Grown(announcement),
                        Err(broadcast::error::RecvError::Lagged(_)) => Notice::Lost,
                        Err(broadcast::error::RecvError::Closed) => return,
                    },
                    () = to.closed() => return,
                };
                if to.send(notice).await.is_err() {
                    return;
                }
            }
        });
        receiver
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::LocalBroker;
    use crate::broker_conformance::{self, Node};
    use crate::store::MemoryStore;

    #[tokio::test]
    async fn conforms() {
        broker_conformance::run(|| {
            let store = Arc::new(MemoryStore::new());
            let broker = Arc::new(LocalBroker::new());
            [(); 2].map(|()| Node {
                store: store.clone(),
                broker: broker.clone(),
                keep: Box::new(()),
            })
        })
        .await;
    }
}
