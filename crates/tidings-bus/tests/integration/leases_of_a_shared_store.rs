//! A shared store tells when a lease has ended. A node that reports it looks again first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tidings_bus::protocol::{
    Data, EventType, NewEvent, Offset, Position, TaskId, TaskSnapshot, TaskStatus,
};
use tidings_bus::{
    Append, BusConfig, EventBus, MemoryStore, Store, StoreError, StoredEvent, StoredTask,
};

use crate::support::{Deaf, id};

/// A store that says once that the lease of `t` has ended, when `over` is true. If `publishes` is
/// set, a node publishes to the task before the answer arrives. It publishes one event, and as many
/// more as the number says. These events cannot be read, except for the last one.
#[derive(Default)]
struct Leases {
    inner: MemoryStore,
    over: AtomicBool,
    publishes: Mutex<Option<(EventBus, u32)>>,
}

#[async_trait]
impl Store for Leases {
    async fn open(&self) -> Result<Vec<StoredTask>, StoreError> {
        self.inner.open().await
    }

    async fn append(&self, append: Append) -> Result<(), StoreError> {
        self.inner.append(append).await
    }

    async fn find(&self, task_id: &TaskId) -> Result<Option<StoredTask>, StoreError> {
        self.inner.find(task_id).await
    }

    async fn read(
        &self,
        task_id: &TaskId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.inner.read(task_id, from, max_bytes).await
    }

    async fn trim(&self, task_id: &TaskId, first: Offset) -> Result<(), StoreError> {
        self.inner.trim(task_id, first).await
    }

    async fn remove(&self, task_id: &TaskId) -> Result<(), StoreError> {
        self.inner.remove(task_id).await
    }

    fn keeps_leases(&self) -> bool {
        true
    }

    async fn overdue(&self, _: usize) -> Result<Vec<(TaskId, Position)>, StoreError> {
        if !self.over.swap(false, Ordering::SeqCst) {
            return Ok(Vec::new());
        }
        let found = self.inner.find(&id("t")).await?;
        let state = found.expect("the task is stored").snapshot;
        let position = Position {
            epoch: state.epoch.clone(),
            offset: state.offset,
        };
        let publishes = self.publishes.lock().unwrap().take();
        if let Some((bus, trimmed)) = publishes {
            for step in 0..=trimmed {
                let event = NewEvent::progress(f64::from(step), None);
                bus.publish(&id("t"), event).await.unwrap();
            }
            if trimmed > 0 {
                let head = position.offset.get() + u64::from(trimmed) + 1;
                let head = Offset::new(head).unwrap();
                self.inner.trim(&id("t"), head).await?;
            }
        }
        Ok(vec![(id("t"), position)])
    }
}

async fn open(store: &Arc<Leases>) -> EventBus {
    let config = BusConfig::default().broker(Some(Deaf::on_demand()));
    EventBus::open(config, Arc::clone(store) as _)
        .await
        .unwrap()
}

/// Starts a task with a lease, and lets the store say that the lease has ended. Returns the task's
/// state after that. See [`Leases`] for `publishes`.
async fn after_the_end(publishes: Option<u32>) -> Arc<TaskSnapshot> {
    tidings_bus::lock::check_order();
    let store = Arc::new(Leases::default());
    let first = open(&store).await;
    let data = Data::parse(r#"{"name":"work","lease_ms":1000}"#).unwrap();
    let started = NewEvent::new(EventType::TaskStarted, data);
    first.publish(&id("t"), started).await.unwrap();
    first.shutdown().await;
    let second = open(&store).await;
    second.fetch(&id("t"), None).await.unwrap();
    let third = open(&store).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    *store.publishes.lock().unwrap() = publishes.map(|trimmed| (third.clone(), trimmed));
    store.over.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    second.find(&id("t")).await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_silent_task_stalls() {
    let state = after_the_end(None).await;
    assert!(state.stalled, "{state:?}");
    assert_eq!(state.status, TaskStatus::Running);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_another_node_heard_meanwhile_does_not_stall() {
    let state = after_the_end(Some(0)).await;
    assert_eq!((state.offset.get(), state.stalled), (2, false), "{state:?}");
}

#[tokio::test(start_paused = true)]
async fn a_task_does_not_stall_if_the_events_meanwhile_cannot_be_read() {
    let state = after_the_end(Some(3)).await;
    assert_eq!((state.offset.get(), state.stalled), (5, false), "{state:?}");
}
