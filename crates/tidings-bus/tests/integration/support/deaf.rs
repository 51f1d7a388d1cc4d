//! A broker for nodes that hear nothing of each other.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tidings_bus::protocol::TaskId;
use tidings_bus::{Announcement, Broker, BrokerError, Interest, Notice, Store};
use tokio::sync::mpsc;
use tokio::task::yield_now;

/// A broker that carries no notice. A node with it never hears of the other nodes' events.
pub(crate) struct Deaf {
    /// Present if the node reads tasks on demand.
    interest: Option<Arc<dyn Interest>>,
    /// Keeps the channel of notices open.
    kept: Mutex<Vec<mpsc::Sender<Notice>>>,
}

impl Deaf {
    /// Creates a broker of a node that reads tasks on demand, and knows no list of them.
    pub(crate) fn on_demand() -> Arc<Self> {
        Self::with(Some(Arc::new(Listing(None))))
    }

    /// Creates a broker of a node that reads tasks on demand, and lists those of a store.
    pub(crate) fn listing(store: Arc<dyn Store>) -> Arc<Self> {
        Self::with(Some(Arc::new(Listing(Some(store)))))
    }

    /// Creates a broker of a node that reads all tasks when it starts.
    pub(crate) fn eager() -> Arc<Self> {
        Self::with(None)
    }

    fn with(interest: Option<Arc<dyn Interest>>) -> Arc<Self> {
        let kept = Mutex::default();
        Arc::new(Self { interest, kept })
    }
}

#[async_trait]
impl Broker for Deaf {
    async fn announce(&self, _: Announcement) -> Result<(), BrokerError> {
        yield_now().await;
        Ok(())
    }

    fn notices(&self) -> mpsc::Receiver<Notice> {
        let (to, notices) = mpsc::channel(1);
        self.kept.lock().unwrap().push(to);
        notices
    }

    fn interest(&self) -> Option<Arc<dyn Interest>> {
        self.interest.clone()
    }
}

struct Listing(Option<Arc<dyn Store>>);

#[async_trait]
impl Interest for Listing {
    fn watch(&self, _: &TaskId) {}

    fn unwatch(&self, _: &TaskId) {}

    fn is_watching(&self, _: &TaskId) -> bool {
        false
    }

    fn watch_new(&self, _: bool) {}

    async fn list(
        &self,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, BrokerError> {
        let Some(store) = &self.0 else {
            return Ok(Vec::new());
        };
        let ids = store.list(prefix, after, limit).await;
        Ok(ids.expect("a store in memory"))
    }
}
