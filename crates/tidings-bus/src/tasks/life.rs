//! The life of a task in the bus: how it begins, is listed, and ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidings_protocol::{ResetReason, TaskId};
use tokio::time::Instant;

use crate::deliver::topic::Topic;
use crate::ledger::Account;
use crate::log::Log;
use crate::shared::Shared;
use crate::tasks::eviction::Lane;
use crate::tasks::listed::Listed;
use crate::tasks::task::{Rules, Task};

pub(crate) fn new_task(shared: &Shared, task_id: &TaskId, account: &Account) -> Arc<Task> {
    let mut log = Log::new(Some(task_id.clone()), shared.epoch());
    if shared.behind.is_some() {
        log.set_saved(0);
        log.outputs.track();
    }
    log.charge_to(account);
    let interest = shared.interest.as_ref();
    let interest = interest.map(|interest| (task_id.clone(), Arc::clone(interest)));
    let topic = Topic::of_interest(log, Arc::clone(&shared.fanout), interest);
    let task = Task::new(task_id.clone(), topic, account, Instant::now());
    task.absent
        .store(shared.is_stored(task_id), Ordering::SeqCst);
    task
}

/// Returns the task with this id. If the task is absent, the caller has it read.
pub(crate) fn task_or_absent(shared: &Arc<Shared>, task_id: &TaskId) -> Arc<Task> {
    let make = || new_task(shared, task_id, shared.ledger.own());
    get_or_insert(shared, task_id, make).0
}

/// Returns the task, and whether it is new. `make` creates a new task.
pub(crate) fn get_or_insert(
    shared: &Shared,
    task_id: &TaskId,
    make: impl FnOnce() -> Arc<Task>,
) -> (Arc<Task>, bool) {
    let inserted = shared.tasks.get_or_insert(task_id, make);
    if let Some(appeared) = inserted.appeared {
        shared.fanout.appeared(appeared);
    }
    (inserted.task, inserted.new)
}

/// Lists a task under its status and its questions, or removes it from the lists. The caller
/// holds the task's rules, and calls it whenever these may have changed.
#[inline]
pub(crate) fn relist(shared: &Shared, task: &Arc<Task>, rules: &mut Rules, listed: Option<Listed>) {
    // Most events leave the lists unchanged.
    if rules.listed != listed {
        list_anew(shared, task, rules, listed);
    }
}

fn list_anew(shared: &Shared, task: &Arc<Task>, rules: &mut Rules, listed: Option<Listed>) {
    let before = rules.listed.take();
    let trees = &shared.trees;
    if let Some(listed) = &listed {
        trees.note_kin(&shared.fanout, task, before.as_ref(), listed);
    }
    trees.note_payer(before.as_ref(), listed.as_ref());
    shared
        .listing
        .change(task, before.as_ref(), listed.as_ref());
    rules.listed = listed;
    rules.charge_tree();
    let until = before.and_then(|before| before.asking.until);
    if until != rules.asking().until {
        let now = shared.config.clock.now();
        shared.leases.schedule_question(task, rules, now);
    }
}

/// Counts and lists a task after its log took in events or a state of a store. The caller holds
/// the task's rules.
pub(crate) fn came_in(
    shared: &Shared,
    task: &Arc<Task>,
    rules: &mut Rules,
    (listed, has_events): (Listed, bool),
) {
    rules.recount();
    relist(shared, task, rules, Some(listed));
    let lane = Lane::of(rules.finished.is_some(), has_events);
    shared.room.place(task, rules, lane);
}

/// Ends a task's life. The task leaves the registry, or starts again at offset 0 if it is
/// watched.
pub(crate) fn discard(shared: &Shared, task: &Arc<Task>) {
    discard_if(shared, task, |_| true);
    forget_empty(shared, task);
}

/// Ends a task's life if `still` holds under its rules. No event can come between the
/// decision and the end. The task stays in the registry. The caller forgets it when the
/// store has forgotten it.
pub(crate) fn discard_if(
    shared: &Shared,
    task: &Arc<Task>,
    still: impl FnOnce(&Rules) -> bool,
) -> bool {
    {
        let mut rules = task.lock_rules();
        if !still(&rules) {
            return false;
        }
        shared.removals.fetch_add(1, Ordering::SeqCst);
        shared.counters.removed.fetch_add(1, Ordering::Relaxed);
        shared.room.displace(&mut rules);
        shared.trees.forget_kin(&shared.fanout, task);
        relist(shared, task, &mut rules, None);
        rules.reset(Instant::now());
        shared.leases.schedule(task, &mut rules);
        task.cold.store(false, Ordering::SeqCst);
        let mut log = task.topic().lock();
        if let Some(behind) = &shared.behind {
            behind.settle(log.waiting());
        }
        log.reset(shared.epoch(), ResetReason::Removed);
        task.topic().mirror(&mut log);
    }
    task.topic().announce();
    true
}

/// Forgets a task without events, without a publisher, and without a watcher that keeps it.
pub(crate) fn forget_if_unused(shared: &Shared, task: &Arc<Task>) {
    // A publisher with the turn may have stored its event already. If the task left now, the
    // publisher would publish the event twice.
    if let Ok(_turn) = task.commit.try_lock() {
        forget_empty(shared, task);
    }
}

pub(crate) fn forget_empty(shared: &Shared, task: &Arc<Task>) {
    if task.is_declared() || task.topic().keeper_count() > 0 {
        return;
    }
    // The first watcher inserts its entry under the log's lock, so the count is correct here.
    let unused = |log: &Log| log.head() == 0 && task.topic().keeper_count() == 0;
    let removed = take_out(shared, task, unused);
    if removed {
        // Followers look a last time and detach.
        task.topic().announce();
    }
}

/// Removes a task from memory if it is still registered and `may` holds under its log's lock.
/// Holders of the task must look it up again.
pub(crate) fn take_out(shared: &Shared, task: &Arc<Task>, may: impl FnOnce(&Log) -> bool) -> bool {
    shared.tasks.remove_if(task.id(), |known| {
        if !Arc::ptr_eq(known, task) {
            return false;
        }
        let mut log = task.topic().lock();
        if log.closed || !may(&log) {
            return false;
        }
        log.trim_all();
        log.closed = true;
        task.topic().mirror(&mut log);
        true
    })
}
