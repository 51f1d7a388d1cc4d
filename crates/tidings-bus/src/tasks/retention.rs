//! What goes when it has been kept long enough, or when there is too much.

use std::sync::Arc;
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

/// Pages of the sweep in one interval. A bus with more tasks goes through them
/// in several intervals, so the sweep's part of a core stays small.
const SWEEP_PAGES: usize = 8;

/// Applies retention by time, forever.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut timer = tokio::time::interval(shared.config.sweep_interval);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut after: Option<TaskId> = None;
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = stop.cancelled() => return,
        }
        for _ in 0..SWEEP_PAGES {
            let page = shared.tasks.page("", after.as_ref(), SWEEP_PAGE);
            after = page.last().map(|last| last.id().clone());
            if after.is_none() {
                break;
            }
            for task in &page {
                shared.place_again(task);
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
        rules.recount();
        (rules.finished, rules.touched)
    };
    let idle = now.duration_since(touched);
    let mut due = Due::Nothing;
    if finished.is_some() && idle >= config.finished_events_ttl {
        shared.drop_events(task);
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
        rules.recount();
        (rules.finished, rules.touched, rules.lease.is_some())
    };
    let idle = now.duration_since(touched);
    if finished.is_some() && idle >= config.finished_events_ttl {
        shared.drop_events(task);
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
