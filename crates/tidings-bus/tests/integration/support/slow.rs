//! Buses and a store in memory, of which every call waits before and after its work.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use tidings_bus::protocol::{ItemId, Offset, TaskId, Timestamp};
use tidings_bus::{
    Append, BusConfig, EventBus, MemoryStore, Related, Store, StoreError, StoredEvent, StoredTask,
    StoredText, Write,
};
use tokio::task::yield_now;

use super::Deaf;

/// A store whose every call waits once before and once after its work.
pub(crate) struct Slow {
    pub(crate) inner: MemoryStore,
    /// True if a bus begins without a task in memory, and reads each task on demand.
    cold: bool,
}

impl Slow {
    fn new(write: Write, cold: bool) -> Arc<Self> {
        let inner = MemoryStore::written(write);
        Arc::new(Self { inner, cold })
    }
}

/// Waits once before and once after the work.
async fn slowly<T>(work: impl Future<Output = T>) -> T {
    yield_now().await;
    let output = work.await;
    yield_now().await;
    output
}

#[async_trait]
impl Store for Slow {
    async fn open(&self) -> Result<Vec<StoredTask>, StoreError> {
        match self.cold {
            true => Ok(Vec::new()),
            false => slowly(self.inner.open()).await,
        }
    }

    async fn append(&self, append: Append) -> Result<(), StoreError> {
        slowly(self.inner.append(append)).await
    }

    async fn find(&self, task_id: &TaskId) -> Result<Option<StoredTask>, StoreError> {
        slowly(self.inner.find(task_id)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, StoreError> {
        slowly(self.inner.list(prefix, after, limit)).await
    }

    async fn asking(
        &self,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, StoreError> {
        slowly(self.inner.asking(prefix, after, limit)).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<TaskId>, StoreError> {
        slowly(self.inner.due(now, limit)).await
    }

    async fn related(
        &self,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<(TaskId, Related)>, StoreError> {
        slowly(self.inner.related(after, limit)).await
    }

    async fn read(
        &self,
        task_id: &TaskId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        slowly(self.inner.read(task_id, from, max_bytes)).await
    }

    async fn read_output(
        &self,
        task_id: &TaskId,
        output_id: &ItemId,
        wanted: Range<u64>,
    ) -> Result<Option<StoredText>, StoreError> {
        slowly(self.inner.read_output(task_id, output_id, wanted)).await
    }

    async fn trim(&self, task_id: &TaskId, first: Offset) -> Result<(), StoreError> {
        slowly(self.inner.trim(task_id, first)).await
    }

    async fn remove(&self, task_id: &TaskId) -> Result<(), StoreError> {
        slowly(self.inner.remove(task_id)).await
    }

    fn first(&self, task_id: &TaskId) -> Option<Offset> {
        self.inner.first(task_id)
    }

    fn write(&self) -> Write {
        self.inner.write()
    }

    async fn close(&self) -> Result<(), StoreError> {
        slowly(self.inner.close()).await
    }
}

/// How a bus keeps its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    InMemory,
    Through,
    Behind,
    /// Only in the store, until somebody asks for a task.
    Cold,
    /// In a store that nodes share.
    Shared,
}

pub(crate) const EVERYWHERE: [Kept; 5] = [
    Kept::InMemory,
    Kept::Through,
    Kept::Behind,
    Kept::Cold,
    Kept::Shared,
];

/// A bus, and the store that outlives it.
pub(crate) struct Given {
    kept: Kept,
    pub(crate) store: Arc<Slow>,
    pub(crate) bus: EventBus,
}

impl Given {
    pub(crate) async fn new(kept: Kept) -> Self {
        tidings_bus::lock::check_order();
        let write = match kept {
            Kept::Behind => Write::Behind,
            _ => Write::Through,
        };
        let store = Slow::new(write, kept == Kept::Cold);
        let bus = open(kept, &store).await;
        Self { kept, store, bus }
    }

    /// Returns a bus that has read nothing from the store since its start.
    pub(crate) async fn restarted(&self) -> EventBus {
        match self.kept {
            Kept::InMemory => self.bus.clone(),
            kept => open(kept, &self.store).await,
        }
    }
}

async fn open(kept: Kept, store: &Arc<Slow>) -> EventBus {
    let config = BusConfig::default();
    let shared = Arc::clone(store) as Arc<dyn Store>;
    match kept {
        Kept::InMemory => EventBus::new(config).unwrap(),
        Kept::Shared => {
            let broker = Deaf::listing(Arc::clone(&shared));
            EventBus::open(config.broker(Some(broker)), shared)
                .await
                .unwrap()
        }
        _ => EventBus::open(config, shared).await.unwrap(),
    }
}
