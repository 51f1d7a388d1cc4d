//! What goes when it has been kept long enough, or when there is too much.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidings_protocol::{Offset, TaskId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;
use crate::tasks::task::Task;

/// How long a task of a shared store is kept here that nobody here watches:
/// long enough for a publisher's next event, or a watcher that reconnects.
const UNWATCHED_TTL: Duration = Duration::from_secs(60);

/// Tasks looked at between two yields of the sweep.
const SWEEP_PAGE: usize = 512;

/// Room is made down to this share of the limit, so that it is made rarely.
const MAKE_ROOM_TO: f64 = 0.95;

/// After room could not be made, how long until it is tried again.
const MAKE_ROOM_PAUSE: Duration = Duration::from_secs(1);

/// Applies retention by time, forever.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut timer = tokio::time::interval(shared.config.sweep_interval);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = stop.cancelled() => return,
        }
        let mut after: Option<TaskId> = None;
        loop {
            let page = shared.tasks.page("", after.as_ref(), SWEEP_PAGE);
            let Some(last) = page.last() else { break };
            after = Some(last.id().clone());
            for task in &page {
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

/// What is too old of a task, beside what is in memory.
enum Due {
    Nothing,
    /// Its events in the store.
    Events,
    All,
}

/// Drops what is too old of one task from memory.
fn sweep(shared: &Arc<Shared>, task: &Arc<Task>, now: Instant) -> Due {
    let config = &shared.config;
    let (finished, touched) = {
        let mut rules = task.lock_rules();
        rules.ids.expire(now, config.idempotency_ttl);
        (rules.finished, rules.touched)
    };
    let idle = now.duration_since(touched);
    let mut due = Due::Nothing;
    if finished.is_some() && idle >= config.finished_events_ttl {
        drop_events(shared, task);
        let log = task.topic().lock();
        if log.oldest() < log.first() {
            due = Due::Events;
        }
    }
    let limit = if finished.is_some() {
        config.pinned_ttl
    } else {
        config.idle_ttl
    };
    // A task that someone watches by its name stays: it would vanish for no reason.
    if idle >= limit && task.topic().keeper_count() == 0 {
        due = Due::All;
    }
    due
}

/// Has the store forget the events that memory has forgotten.
async fn trim_stored(shared: &Shared, task: &Task) {
    let Some(store) = &shared.store else { return };
    let _turn = task.commit.lock().await;
    let first = task.topic().lock().first();
    let offset = Offset::new(first).unwrap_or(Offset::MAX);
    match store.trim(task.id(), offset).await {
        Ok(()) => {
            let mut log = task.topic().lock();
            // Unless it starts over meanwhile.
            if log.first() >= first {
                log.set_stored_first(first);
            }
        }
        Err(error) => {
            tracing::warn!(task_id = %task.id(), %error, "expired events stay in the store");
        }
    }
}

/// The same where the store is shared: it lets tasks expire by itself, by one
/// clock for all nodes. Here goes what nobody here wants.
fn sweep_shared(shared: &Arc<Shared>, task: &Arc<Task>, now: Instant) {
    let config = &shared.config;
    let (finished, touched, leased) = {
        let mut rules = task.lock_rules();
        rules.ids.expire(now, config.idempotency_ttl);
        (rules.finished, rules.touched, rules.lease.is_some())
    };
    let idle = now.duration_since(touched);
    if finished.is_some() && idle >= config.finished_events_ttl {
        drop_events(shared, task);
    }
    if idle >= UNWATCHED_TTL && !leased && task.topic().watcher_count() == 0 {
        shared.release(task);
    }
}

async fn remove(shared: &Arc<Shared>, task: &Arc<Task>) {
    if !task.is_declared() {
        shared.forget_if_unused(task);
        return;
    }
    let _turn = task.commit.lock().await;
    if let Some(store) = &shared.store
        && let Err(error) = store.remove(task.id()).await
    {
        tracing::warn!(task_id = %task.id(), %error, "an expired task stays in the store");
        return;
    }
    shared.discard(task);
}

fn drop_events(shared: &Shared, task: &Task) {
    let mut log = task.topic().lock();
    let before = log.retained_bytes();
    let dropped = log.drop_saved();
    shared
        .counters
        .dropped
        .fetch_add(dropped, Ordering::Relaxed);
    shared.counters.resized(before, log.retained_bytes());
}

/// Brings all tasks together under their limit: the oldest finished tasks lose
/// their events, then the longest idle; whole tasks, with their snapshots, go last.
///
/// Runs inside the publish that went over, so the bound holds whatever the
/// load; it frees several per cent at once, so few publishes pay for it.
pub(crate) fn make_room(shared: &Arc<Shared>) {
    let slack = shared.config.total_bytes / 16;
    let mut again_at = match shared.eviction.try_lock() {
        Ok(again_at) => again_at,
        // Someone is at it: go ahead, but so far only, or the bound is none.
        Err(_) if shared.counters.held() <= shared.config.total_bytes + slack => return,
        Err(_) => shared
            .eviction
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner),
    };
    let now = Instant::now();
    if shared.counters.held() <= shared.config.total_bytes || again_at.is_some_and(|at| now < at) {
        return;
    }
    *again_at = None;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )]
    let target = (shared.config.total_bytes as f64 * MAKE_ROOM_TO) as usize;
    let mut tasks: Vec<_> = shared
        .tasks
        .page("", None, usize::MAX)
        .into_iter()
        .map(|task| {
            let (finished, touched) = {
                let rules = task.lock_rules();
                (rules.finished.is_some(), rules.touched)
            };
            (!finished, touched, task)
        })
        .collect();
    tasks.sort_by_key(|(running, touched, _)| (*running, *touched));
    for (_, _, task) in &tasks {
        if shared.counters.held() <= target {
            return;
        }
        drop_events(shared, task);
    }
    // Bookkeeping alone is too much: whole tasks go, in the same order. A store
    // keeps them on, so there they stay.
    for (_, _, task) in &tasks {
        if shared.counters.held() <= target {
            return;
        }
        if shared.interest.is_some() {
            shared.release(task);
            continue;
        }
        if shared.store.is_some() {
            return;
        }
        if task.topic().keeper_count() == 0 {
            shared.discard(task);
        }
    }
    if shared.counters.held() > target {
        // What is left is watched by name, and each task is bounded by itself.
        // To look again at every publish would find the same.
        *again_at = Some(now + MAKE_ROOM_PAUSE);
    }
}
