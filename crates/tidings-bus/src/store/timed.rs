//! A store whose calls are timed, for the counters of the bus that uses it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tidings_protocol::{ItemId, Offset, Position, TaskId, Timestamp};

use super::{Append, Families, Store, StoreError, StoredEvent, StoredTask, StoredText, Write};
use crate::ledger::Account;
use crate::stats::Counters;
use crate::tasks::trees::kin::Related;

/// Passes every call to the store, and measures it.
pub(crate) struct Timed {
    inner: Arc<dyn Store>,
    counters: Arc<Counters>,
}

impl Timed {
    pub(crate) fn new(inner: Arc<dyn Store>, counters: Arc<Counters>) -> Self {
        Self { inner, counters }
    }

    async fn reading<T>(&self, call: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let result = call.await;
        self.counters.timings().store_read.note(began.elapsed());
        result
    }

    async fn writing<T>(&self, call: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let result = call.await;
        self.counters.timings().store_write.note(began.elapsed());
        result
    }
}

#[async_trait]
impl Store for Timed {
    async fn open(&self) -> Result<Vec<StoredTask>, StoreError> {
        self.reading(self.inner.open()).await
    }

    async fn append(&self, append: Append) -> Result<(), StoreError> {
        self.writing(self.inner.append(append)).await
    }

    async fn append_all(&self, appends: Vec<Append>) -> Vec<Result<(), StoreError>> {
        self.writing(self.inner.append_all(appends)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, StoreError> {
        self.reading(self.inner.list(prefix, after, limit)).await
    }

    async fn asking(
        &self,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, StoreError> {
        self.reading(self.inner.asking(prefix, after, limit)).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<TaskId>, StoreError> {
        self.reading(self.inner.due(now, limit)).await
    }

    fn keeps_leases(&self) -> bool {
        self.inner.keeps_leases()
    }

    async fn overdue(&self, limit: usize) -> Result<Vec<(TaskId, Position)>, StoreError> {
        self.reading(self.inner.overdue(limit)).await
    }

    async fn related(
        &self,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<(TaskId, Related)>, StoreError> {
        self.reading(self.inner.related(after, limit)).await
    }

    fn families(&self) -> Option<&dyn Families> {
        self.inner.families()
    }

    async fn find(&self, task_id: &TaskId) -> Result<Option<StoredTask>, StoreError> {
        self.reading(self.inner.find(task_id)).await
    }

    async fn read(
        &self,
        task_id: &TaskId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.reading(self.inner.read(task_id, from, max_bytes))
            .await
    }

    async fn read_output(
        &self,
        task_id: &TaskId,
        output_id: &ItemId,
        wanted: Range<u64>,
    ) -> Result<Option<StoredText>, StoreError> {
        let read = self.inner.read_output(task_id, output_id, wanted);
        self.reading(read).await
    }

    async fn trim(&self, task_id: &TaskId, first: Offset) -> Result<(), StoreError> {
        self.writing(self.inner.trim(task_id, first)).await
    }

    async fn remove(&self, task_id: &TaskId) -> Result<(), StoreError> {
        self.writing(self.inner.remove(task_id)).await
    }

    fn first(&self, task_id: &TaskId) -> Option<Offset> {
        self.inner.first(task_id)
    }

    fn has(&self, task_id: &TaskId) -> bool {
        self.inner.has(task_id)
    }

    fn write(&self) -> Write {
        self.inner.write()
    }

    fn is_available(&self) -> bool {
        self.inner.is_available()
    }

    fn charge_to(&self, account: &Account) {
        self.inner.charge_to(account);
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.writing(self.inner.close()).await
    }
}
