//! The seam for several nodes.
//!
//! A bus is one node. Nodes share a [`Store`](crate::Store), which is where
//! offsets are given out; a [`Broker`] carries the notice that a task's log has
//! grown. A notice may be late or lost without harm to order: the receiver
//! reads from the store what lies between its own head and the store's.

use std::sync::Arc;

use async_trait::async_trait;
use tidings_protocol::{Epoch, Offset, TaskId};
use tokio::sync::{broadcast, mpsc};

use crate::cluster::interest::Interest;
use crate::store::StoredEvent;

/// The notice that a task's log has grown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The task.
    pub task_id: TaskId,
    /// The epoch that `head` counts in.
    pub epoch: Epoch,
    /// The log's newest offset.
    pub head: Offset,
}

/// What comes in from the other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// One task has grown.
    Grown(Announcement),
    /// One task has grown by this event: what lies before it may have to be
    /// read from the store, the event itself not.
    Event {
        /// The task.
        task_id: TaskId,
        /// The epoch that the event's offset counts in.
        epoch: Epoch,
        /// The event.
        event: StoredEvent,
    },
    /// One task may have grown; the store knows.
    Look(TaskId),
    /// Notices were lost: every task may have grown.
    Lost,
}

/// Why the other nodes could not be told.
#[derive(Debug, thiserror::Error)]
#[error("the other nodes could not be reached")]
pub struct BrokerError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Connects this node with the others.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Tells the other nodes. Called once the event is stored and visible
    /// here; an error is logged, and the event stays published.
    async fn announce(&self, announcement: Announcement) -> Result<(), BrokerError>;

    /// What the other nodes announce, for as long as the receiver is kept.
    /// Called once by each bus. The channel is bounded; a broker that cannot
    /// send into it drops the notice and sends [`Notice::Lost`] when it can.
    fn notices(&self) -> mpsc::Receiver<Notice>;

    /// How this node says which tasks it wants to hear of; none if it hears of
    /// all of them.
    fn interest(&self) -> Option<Arc<dyn Interest>> {
        None
    }
}

/// The broker within one process: every bus that was given the same one hears
/// what the others publish.
#[derive(Debug)]
pub struct LocalBroker {
    notices: broadcast::Sender<Announcement>,
}

/// Notices that may wait for a slow bus before it is told to look everywhere.
const PENDING: usize = 1_024;

impl LocalBroker {
    /// A broker with no bus yet.
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
        // Nobody listening is the usual case of one node, and no error.
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
