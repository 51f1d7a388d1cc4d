//! Removes tasks and events that have been kept long enough.

use std::sync::Arc;
use std::time::Duration;

use tidings_protocol::{Offset, TaskId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;
use crate::store::StoreError;
use crate::tasks::task::{Rules, Task};
use crate::tasks::{evict, leave, life, shelf};

/// How long this node keeps a task of a shared store without a watcher here. It is long enough
/// for a publisher's next event, or for a watcher that reconnects.
const UNWATCHED_TTL: Duration = Duration::from_secs(60);

/// The number of tasks that the sweep visits between two yields.
const SWEEP_PAGE: usize = 512;

/// Pages of the sweep in one interval. With more tasks, one sweep takes several intervals, so
/// the sweep uses a small part of a core.
const SWEEP_PAGES: usize = 8;

/// The number of tasks that the sweep visits in one interval, among the tasks that only the store has.
/// A million such tasks take about an hour.
const SHELF_PAGE: usize = 256;

/// Applies retention by time, forever.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut timer = tokio::time::interval(shared.config.sweep_interval);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut after: Option<TaskId> = None;
    let mut shelved_after: Option<TaskId> = None;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = timer.tick() => {}
        }
        evict::keep_to_limit(&shared);
        sweep_shelved(&shared, &mut shelved_after).await;
        for _ in 0..SWEEP_PAGES {
            let page = shared.tasks.page("", after.as_ref(), SWEEP_PAGE);
            after = page.last().map(|last| last.id().clone());
            if after.is_none() {
                break;
            }
            for task in &page {
                shared.room.place_again(task);
                if shared.interest.is_some() {
                    sweep_shared(&shared, task, Instant::now());
                    continue;
                }
                match sweep(&shared, task, Instant::now()) {
                    Due::Nothing => {}
                    Due::Events => trim_stored(&shared, task).await,
                    Due::All => remove(&shared, task).await,
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

/// The part of a task that is too old, in addition to memory.
enum Due {
    Nothing,
    /// The task's events in the store.
    Events,
    All,
}

/// Drops the old parts of one task from memory.
fn sweep(shared: &Arc<Shared>, task: &Arc<Task>, now: Instant) -> Due {
    let config = &shared.config;
    let (ended_for, over) = {
        let mut rules = task.lock_rules();
        rules.ids.expire(now, config.idempotency_ttl);
        rules.recount();
        let idle = now.duration_since(rules.touched);
        let over = is_over(shared, task, &rules, now);
        (rules.finished.map(|_| idle), over)
    };
    let mut due = Due::Nothing;
    if ended_for.is_some_and(|idle| idle >= config.finished_events_ttl) {
        evict::drop_events(shared, task);
        let log = task.topic().lock();
        if log.oldest() < log.first() {
            due = Due::Events;
        }
    }
    if over {
        due = Due::All;
    }
    due
}

/// Removes expired tasks that only the bus's own store has.
async fn sweep_shelved(shared: &Arc<Shared>, after: &mut Option<TaskId>) {
    let Some(store) = shared.shelf() else {
        return;
    };
    let Ok(page) = store.list("", after.as_ref(), SHELF_PAGE).await else {
        // The store reports its own failure.
        return;
    };
    *after = page.last().cloned();
    for task_id in page {
        if shared.tasks.get(&task_id).is_some() {
            continue;
        }
        let Ok(Some(stored)) = store.find(&task_id).await else {
            continue;
        };
        let last = stored.snapshot.updated_at.unwrap_or_default();
        let limit = match stored.snapshot.status.is_terminal() {
            true => shared.config.pinned_ttl,
            false => shared.config.idle_ttl,
        };
        if shared.instant_of(last).elapsed() >= limit
            && let Ok(Some(task)) = shelf::fetch_own(shared, &task_id).await
        {
            remove(shared, &task).await;
        }
    }
}

/// Makes the store forget the events that memory has forgotten.
async fn trim_stored(shared: &Shared, task: &Task) {
    let Some(store) = &shared.store else { return };
    let _turn = task.commit.lock().await;
    let first = task.topic().lock().first();
    let offset = Offset::new(first).unwrap_or(Offset::MAX);
    match store.trim(task.id(), offset).await {
        Ok(()) => {
            let mut log = task.topic().lock();
            // This holds unless the log has started again in the meantime.
            if log.first() >= first {
                log.set_stored_first(first);
            }
        }
        Err(error) => {
            tracing::warn!(task_id = %task.id(), %error, "expired events stay in the store");
        }
    }
}

/// Drops the old parts of one task of a shared store from memory. The store itself expires
/// tasks, by one clock for all nodes. This node forgets tasks without a watcher here.
fn sweep_shared(shared: &Arc<Shared>, task: &Arc<Task>, now: Instant) {
    let config = &shared.config;
    let (finished, touched, needed) = {
        let mut rules = task.lock_rules();
        rules.ids.expire(now, config.idempotency_ttl);
        rules.recount();
        let leased = rules.lease.is_some() && shared.lease_keeper().is_none();
        let needed = leased || rules.asking().until.is_some();
        (rules.finished, rules.touched, needed)
    };
    let idle = now.duration_since(touched);
    if finished.is_some() && idle >= config.finished_events_ttl {
        evict::drop_events(shared, task);
    }
    if idle >= UNWATCHED_TTL && !needed && task.topic().watcher_count() == 0 {
        leave::release(shared, task);
    }
}

/// Removes an expired task, unless it has had an event in the meantime.
async fn remove(shared: &Arc<Shared>, task: &Arc<Task>) {
    if !task.is_declared() {
        life::forget_if_unused(shared, task);
        return;
    }
    let _turn = task.commit.lock().await;
    let is_due = |rules: &Rules| is_over(shared, task, rules, Instant::now());
    match &shared.store {
        None => {
            life::discard_if(shared, task, is_due);
            life::forget_empty(shared, task);
        }
        Some(store) if shared.behind.is_some() => {
            // Remove from memory first. An event may come at any time and begin the task again.
            // The new task is saved after this removal, because saving needs the turn too.
            if life::discard_if(shared, task, is_due) {
                note_removal(task, &store.remove(task.id()).await);
                life::forget_empty(shared, task);
            }
        }
        Some(store) => {
            // Publishers wait for the turn, so no event comes in between.
            if is_due(&task.lock_rules()) && note_removal(task, &store.remove(task.id()).await) {
                life::discard(shared, task);
            }
        }
    }
}

fn note_removal(task: &Task, removed: &Result<(), StoreError>) -> bool {
    if let Err(error) = removed {
        tracing::warn!(task_id = %task.id(), %error, "an expired task stays in the store");
    }
    removed.is_ok()
}

/// Decides whether a whole task has expired. A task with a watcher that named it stays, because
/// it would vanish without a reason for the watcher. A task that waits for an answer stays
/// until its question expires. Otherwise the question would vanish without an event.
fn is_over(shared: &Shared, task: &Task, rules: &Rules, now: Instant) -> bool {
    let config = &shared.config;
    let limit = match rules.finished {
        Some(_) => config.pinned_ttl,
        None => config.idle_ttl,
    };
    now.duration_since(rules.touched) >= limit
        && task.topic().keeper_count() == 0
        && rules.asking().until.is_none()
}
