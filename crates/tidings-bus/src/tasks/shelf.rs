//! Tasks of the bus's own store, which are loaded on demand.
//!
//! When memory is short, a task without a watcher leaves memory. The store keeps its events,
//! its state and its rules. A read or a publish loads the task again. A task that was created
//! here before it was read is *absent*. It is an empty place, and accepts no event until it was
//! read.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidings_protocol::{Lease, Offset, ResetReason, TaskId, TaskSnapshot, TaskStatus};
use tokio::time::Instant;

use crate::defaults::TASK_BYTES;
use crate::ledger::{Account, Kind, OverLimit};
use crate::shared::Shared;
use crate::store::line::decode;
use crate::store::{Store, StoreError, StoredTask};
use crate::tasks::listed::Listed;
use crate::tasks::task::{Task, finished};
use crate::tasks::{evict, life};

/// The number of ids that are read for a page of a list.
const PAGE: usize = 1_024;

/// Bytes that are read from a store at a time while looking for ids.
const READ_BYTES: usize = 256 * 1024;

/// Loads a task of the bus's own store. Returns `None` if there is no such task.
pub(crate) async fn fetch_own(
    shared: &Arc<Shared>,
    task_id: &TaskId,
) -> Result<Option<Arc<Task>>, StoreError> {
    loop {
        let task = match shared.tasks.get(task_id) {
            Some(task) if !task.is_absent() => return Ok(Some(task)),
            Some(task) => task,
            None if !shared.is_stored(task_id) => return Ok(None),
            None => {
                // Make room before the task is read. Room made afterwards could evict the task
                // itself, again and again, and its publisher would never find it in memory.
                evict::keep_to_limit(shared);
                life::task_or_absent(shared, task_id)
            }
        };
        fill_absent(shared, &task).await?;
        if !task.topic().is_closed() {
            return Ok(Some(task));
        }
    }
}

/// Reads a task that is absent.
async fn fill_absent(shared: &Arc<Shared>, task: &Arc<Task>) -> Result<(), StoreError> {
    let Some(store) = shared.own_store() else {
        return Ok(());
    };
    let _turn = task.commit.lock().await;
    if task.is_absent() {
        match store.find(task.id()).await? {
            Some(stored) => adopt_cold(shared, task, stored),
            None => task.absent.store(false, Ordering::SeqCst),
        }
    }
    Ok(())
}

/// Starts to read an absent task that has a watcher already.
pub(crate) fn spawn_fill(shared: &Arc<Shared>, task: &Arc<Task>) {
    let (owned, task) = (Arc::clone(shared), Arc::clone(task));
    shared.spawn(async move {
        if let Err(error) = fill_absent(&owned, &task).await {
            tracing::warn!(task_id = %task.id(), %error, "a task could not be read from the store");
        }
    });
}

/// Continues a task where the store is. The whole log becomes visible at once, so that a new
/// subscriber gets a snapshot that matches the head.
pub(crate) fn adopt_cold(shared: &Arc<Shared>, task: &Arc<Task>, stored: StoredTask) {
    let mut rules = task.lock_rules();
    let mut log = task.topic().lock();
    if log.closed {
        return;
    }
    if *log.epoch() == stored.snapshot.epoch {
        log.trim_all();
    } else {
        rules.reset(Instant::now());
        log.reset(stored.snapshot.epoch.clone(), ResetReason::EpochChanged);
    }
    let mut stored = stored;
    Arc::make_mut(&mut stored.snapshot).count_bytes();
    let last = stored.snapshot.updated_at.unwrap_or_default();
    log.outputs.seed(stored.outputs, &stored.snapshot);
    let (stalled, listed) = (stored.snapshot.stalled, Listed::of(&stored.snapshot));
    log.resume_cold(stored.snapshot, stored.first);
    task.cold.store(true, Ordering::SeqCst);
    task.absent.store(false, Ordering::SeqCst);
    rules.touched = shared.instant_of(last);
    rules.finished = finished(&log, rules.touched);
    rules.producers = stored.rules.producers;
    rules.starts = stored.rules.starts;
    rules.lease = stored.rules.lease_ms.map(|lease_ms| {
        let now = Instant::now().duration_since(shared.started);
        Lease::resume(Duration::from_millis(lease_ms), now, stalled)
    });
    shared.leases.schedule(task, &mut rules);
    task.topic().mirror(&mut log);
    drop(log);
    life::came_in(shared, task, &mut rules, (listed, false));
    drop(rules);
    task.topic().announce();
}

/// Returns the state of a task of the bus's own store, in memory or not. Does not load the
/// task.
pub(crate) async fn find_own(
    shared: &Shared,
    task_id: &TaskId,
) -> Result<Option<Arc<TaskSnapshot>>, StoreError> {
    if let Some(task) = shared.tasks.get(task_id)
        && !task.is_absent()
    {
        return Ok(task.is_declared().then(|| task.snapshot()));
    }
    match shared.own_store() {
        Some(store) if store.has(task_id) => {
            Ok(store.find(task_id).await?.map(|stored| stored.snapshot))
        }
        _ => Ok(None),
    }
}

/// Returns the states of tasks in memory and in the bus's own store, in the order of their
/// ids.
pub(crate) async fn find_all_own(
    shared: &Shared,
    store: &Arc<dyn Store>,
    prefix: &str,
    status: Option<TaskStatus>,
    after: Option<&TaskId>,
    limit: usize,
) -> Result<Vec<Arc<TaskSnapshot>>, StoreError> {
    let mut found = Vec::new();
    let mut after = after.cloned();
    while found.len() < limit {
        let wanted = (limit - found.len()).clamp(64, PAGE);
        let here = shared.tasks.page(prefix, after.as_ref(), wanted);
        let here = here.iter().map(|task| task.id().clone()).collect();
        let there = store.list(prefix, after.as_ref(), wanted).await?;
        let page = merge(here, there, wanted);
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        for task_id in page {
            if found.len() >= limit {
                break;
            }
            let snapshot = find_own(shared, &task_id).await?;
            let wanted = |snapshot: &Arc<TaskSnapshot>| {
                status.is_none_or(|status| snapshot.status == status)
            };
            found.extend(snapshot.filter(wanted));
        }
        tokio::task::yield_now().await;
    }
    Ok(found)
}

pub(crate) fn task_or_new(shared: &Arc<Shared>, task_id: &TaskId) -> Arc<Task> {
    let task = life::task_or_absent(shared, task_id);
    if task.is_absent() {
        spawn_fill(shared, &task);
    }
    task
}

/// Returns the task with this id. A new task is charged to `account`.
pub(crate) fn task_for(
    shared: &Arc<Shared>,
    account: &Account,
    task_id: &TaskId,
) -> Result<Arc<Task>, OverLimit> {
    if let Some(task) = shared.tasks.get(task_id) {
        return Ok(task);
    }
    // Checks the limit. The task has its own charge as soon as it is created.
    let _room = account.charge(Kind::Undeclared, TASK_BYTES as u64)?;
    let make = || life::new_task(shared, task_id, account);
    let task = life::get_or_insert(shared, task_id, make).0;
    if task.is_absent() {
        spawn_fill(shared, &task);
    }
    Ok(task)
}

/// Reads the ids of a task's newest events, unless they have been read. The caller holds the
/// task's turn.
pub(crate) async fn read_ids(
    shared: &Shared,
    store: &Arc<dyn Store>,
    task: &Arc<Task>,
) -> Result<(), StoreError> {
    if !task.cold.load(Ordering::SeqCst) {
        return Ok(());
    }
    let (mut from, head) = {
        let log = task.topic().lock();
        let ids = shared.config.idempotency_ids as u64;
        let from = (log.head() + 1).saturating_sub(ids).max(log.oldest());
        (Offset::new(from).unwrap_or(Offset::MAX), log.head_offset())
    };
    while from <= head {
        let page = store.read(task.id(), from, READ_BYTES).await?;
        let Some(last) = page.last() else { break };
        from = last.offset.next();
        let mut rules = task.lock_rules();
        for stored in &page {
            let (event, _) = decode(stored)?;
            let at = shared.instant_of(event.timestamp);
            let too_old = at.elapsed() >= shared.config.idempotency_ttl;
            if let Some(id) = event.event_id.filter(|_| !too_old) {
                let max = shared.config.idempotency_ids;
                rules.ids.remember(id, event.offset, at, max);
            }
        }
        rules.recount();
    }
    task.cold.store(false, Ordering::SeqCst);
    Ok(())
}

/// Returns the first `limit` ids of two pages in order, each id once.
fn merge(here: Vec<TaskId>, there: Vec<TaskId>, limit: usize) -> Vec<TaskId> {
    let mut all = [here, there].concat();
    all.sort_unstable();
    all.dedup();
    all.truncate(limit);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pages_become_one_in_order() {
        let ids = |ids: &[&str]| ids.iter().map(|id| id.parse().unwrap()).collect();
        let merged = merge(ids(&["a", "c", "e"]), ids(&["b", "c", "d"]), 4);
        assert_eq!(merged, ids(&["a", "b", "c", "d"]) as Vec<TaskId>);
    }
}
