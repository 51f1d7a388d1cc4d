//! A store in memory with appends that wait for permits, and fail on request.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::join_all;
use tidings_bus::protocol::{Offset, TaskId};
use tidings_bus::{Append, MemoryStore, Store, StoreError, StoredEvent, StoredTask, Write};
use tokio::sync::Semaphore;

use super::id;

pub(crate) struct Gated {
    pub(crate) inner: MemoryStore,
    /// A permit for each append.
    pub(crate) gate: Semaphore,
    pub(crate) failing: AtomicBool,
    /// True if appends are stored and their answers are lost.
    pub(crate) silent: AtomicBool,
    /// The permits for removals. There are enough unless a test takes them.
    pub(crate) removals: Semaphore,
    pub(crate) panicking: AtomicBool,
    pub(crate) unavailable: AtomicBool,
    pub(crate) closed: AtomicBool,
    /// The number of appends that wait for a permit.
    pub(crate) waiting: AtomicUsize,
    /// The number of appends that got a permit, successful or not.
    pub(crate) appends: AtomicUsize,
    /// The number of tasks in each call for several tasks.
    pub(crate) together: Mutex<Vec<usize>>,
    /// The number of events in each append that was stored.
    pub(crate) taken: Mutex<Vec<usize>>,
}

impl Gated {
    pub(crate) fn new(write: Write, permits: usize) -> Arc<Self> {
        tidings_bus::lock::check_order();
        Arc::new(Self {
            inner: MemoryStore::written(write),
            gate: Semaphore::new(permits),
            failing: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            removals: Semaphore::new(Semaphore::MAX_PERMITS),
            panicking: AtomicBool::new(false),
            unavailable: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            appends: AtomicUsize::new(0),
            together: Mutex::default(),
            taken: Mutex::default(),
        })
    }

    /// Returns the offsets of the stored events of a task.
    pub(crate) async fn stored(&self, task: &str) -> Vec<u64> {
        let task = id(task);
        let events = self.inner.read(&task, Offset::FIRST, usize::MAX).await;
        let events = events.unwrap();
        events.iter().map(|event| event.offset.get()).collect()
    }
}

#[async_trait]
impl Store for Gated {
    async fn open(&self) -> Result<Vec<StoredTask>, StoreError> {
        self.inner.open().await
    }

    async fn append(&self, append: Append) -> Result<(), StoreError> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.appends.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panicking.load(Ordering::SeqCst), "as it was told to");
        if self.failing.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the disk is full".into()));
        }
        self.taken.lock().unwrap().push(append.events.len());
        self.inner.append(append).await?;
        if self.silent.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the answer got lost".into()));
        }
        Ok(())
    }

    async fn append_all(&self, appends: Vec<Append>) -> Vec<Result<(), StoreError>> {
        self.together.lock().unwrap().push(appends.len());
        join_all(appends.into_iter().map(|append| self.append(append))).await
    }

    async fn read(
        &self,
        task_id: &TaskId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.inner.read(task_id, from, max_bytes).await
    }

    async fn find(&self, task_id: &TaskId) -> Result<Option<StoredTask>, StoreError> {
        self.inner.find(task_id).await
    }

    async fn trim(&self, task_id: &TaskId, first: Offset) -> Result<(), StoreError> {
        self.inner.trim(task_id, first).await
    }

    async fn remove(&self, task_id: &TaskId) -> Result<(), StoreError> {
        self.removals.acquire().await.unwrap().forget();
        self.inner.remove(task_id).await
    }

    fn write(&self) -> Write {
        self.inner.write()
    }

    fn is_available(&self) -> bool {
        !self.unavailable.load(Ordering::SeqCst)
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.closed.store(true, Ordering::SeqCst);
        Ok(())
    }
}
