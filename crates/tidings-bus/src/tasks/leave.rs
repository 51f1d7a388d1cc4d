//! Tasks that leave memory, because a store has them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::shared::Shared;
use crate::tasks::life;
use crate::tasks::task::Task;

/// The state of a task that decides whether it may leave memory. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leaving {
    /// The store has the task.
    pub(crate) stored: bool,
    /// The store has all events of the task, and its current rules.
    pub(crate) saved: bool,
    /// The task has a lease or an open question, so the bus must keep track of it.
    pub(crate) leased: bool,
    /// The task has a watcher.
    pub(crate) watched: bool,
}

impl Leaving {
    /// Decides whether the task may leave memory.
    pub(crate) fn may(self) -> bool {
        self.stored && self.saved && !self.leased && !self.watched
    }
}

/// Removes a task from memory if it may leave. Returns false if it stays.
pub(crate) fn shelve(shared: &Shared, task: &Arc<Task>) -> bool {
    let stored = shared.is_stored(task.id());
    // Set this first. Other readers must not take memory for complete.
    shared.all_here.store(false, Ordering::SeqCst);
    // A publisher that has the turn must find the log open when it looks again.
    let Ok(_turn) = task.commit.try_lock() else {
        return false;
    };
    let rules = task.lock_rules();
    let rules_saved = shared.behind.is_none() || rules.changes == rules.saved;
    let leased = rules.is_due_some_time();
    drop(rules);
    let idle = task.lock_waiting().is_idle() && !task.unsaved.load(Ordering::SeqCst);
    let left = life::take_out(shared, task, |log| {
        let leaving = Leaving {
            stored,
            saved: rules_saved && idle && log.saved() >= log.head(),
            leased,
            watched: task.topic().watcher_count() > 0,
        };
        leaving.may()
    });
    if left {
        let mut rules = task.lock_rules();
        shared.room.displace(&mut rules);
        life::relist(shared, task, &mut rules, None);
        shared.counters.shelved.fetch_add(1, Ordering::Relaxed);
    }
    left
}

/// Forgets a task of a shared store on this node, because it has no watcher. Returns false
/// if a watcher or a publisher uses the task now.
pub(crate) fn release(shared: &Shared, task: &Arc<Task>) -> bool {
    // A publisher with the turn stores its event first and then looks at the log again. It
    // must find the log open.
    let Ok(_turn) = task.commit.try_lock() else {
        return false;
    };
    if !task.lock_waiting().is_idle() {
        // Their publisher would have to read the task again.
        return false;
    }
    let removed = life::take_out(shared, task, |_| task.topic().watcher_count() == 0);
    if removed {
        let mut rules = task.lock_rules();
        shared.room.displace(&mut rules);
        life::relist(shared, task, &mut rules, None);
        rules.lease = None;
        shared.leases.schedule(task, &mut rules);
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_store_has_whole_and_nobody_needs_leaves_memory() {
        let may = Leaving {
            stored: true,
            saved: true,
            leased: false,
            watched: false,
        };
        assert!(may.may());
        let stays = [
            Leaving {
                stored: false,
                ..may
            },
            Leaving {
                saved: false,
                ..may
            },
            Leaving {
                leased: true,
                ..may
            },
            Leaving {
                watched: true,
                ..may
            },
        ];
        for stays in stays {
            assert!(!stays.may(), "{stays:?}");
        }
    }
}
