//! A node that reads a task anew has the rules of the state that it has read.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tidings_bus::protocol::{NewEvent, Offset, ProducerId, ProducerStamp, TaskId};
use tidings_bus::{
    Append, BusConfig, EventBus, LocalBroker, MemoryStore, Store, StoreError, StoredEvent,
    StoredTask,
};
use tidings_testkit::DEADLINE;

use crate::support::{id, offset};

/// A store in which an event comes during the next read.
#[derive(Default)]
struct Busy {
    inner: MemoryStore,
    publishes: Mutex<Option<EventBus>>,
}

#[async_trait]
impl Store for Busy {
    async fn open(&self) -> Result<Vec<StoredTask>, StoreError> {
        self.inner.open().await
    }

    async fn append(&self, append: Append) -> Result<(), StoreError> {
        self.inner.append(append).await
    }

    async fn read(
        &self,
        task_id: &TaskId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let bus = self.publishes.lock().unwrap().take();
        if let Some(bus) = bus {
            let event = NewEvent::progress(3.0, None);
            bus.publish(task_id, event).await.unwrap();
        }
        self.inner.read(task_id, from, max_bytes).await
    }

    async fn find(&self, task_id: &TaskId) -> Result<Option<StoredTask>, StoreError> {
        self.inner.find(task_id).await
    }

    async fn trim(&self, task_id: &TaskId, first: Offset) -> Result<(), StoreError> {
        self.inner.trim(task_id, first).await
    }

    async fn remove(&self, task_id: &TaskId) -> Result<(), StoreError> {
        self.inner.remove(task_id).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_no_new_event_if_another_node_publishes_during_the_reload() {
    tidings_bus::lock::check_order();
    let store = Arc::new(Busy::default());
    let open = || {
        // Each node has its own broker, so that none hears of the other one's events.
        let config = BusConfig::default().broker(Some(Arc::new(LocalBroker::new())));
        EventBus::open(config, Arc::clone(&store) as _)
    };
    let task = id("t");
    let first = open().await.unwrap();
    first.task_started(&task, "work").await.unwrap();
    let second = open().await.unwrap();
    let stamped = || {
        let stamp = ProducerStamp::new(ProducerId::new("worker").unwrap(), 1, 1);
        NewEvent::progress(1.0, None).with_producer(stamp)
    };
    let published = first.publish(&task, stamped()).await.unwrap();
    first.progress(&task, 2.0, "").await.unwrap();
    // The second node lacks events that are gone, so it must read the task anew.
    store.trim(&task, offset(3)).await.unwrap();
    *store.publishes.lock().unwrap() = Some(first);
    let again = tokio::time::timeout(DEADLINE, second.publish(&task, stamped()));
    let again = again.await.unwrap().unwrap();
    assert!(again.duplicate, "{again:?}");
    assert_eq!(again.offset, published.offset);
}
