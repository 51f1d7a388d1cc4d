//! The tasks with waiting events, and their workers.

use std::sync::Arc;

use crate::lock::{Lock, place};
use crate::tasks::task::Task;

/// The right of a worker to take the waiting events of its task.
pub(crate) struct Worker {
    pub(crate) task: Arc<Task>,
    /// Whether no events were left. Later events get another worker.
    pub(crate) done: bool,
}

impl Drop for Worker {
    /// If the store panics or the runtime ends, the worker is dropped. The waiting publishers get
    /// an error, and the next publisher starts another worker.
    fn drop(&mut self) {
        if !self.done {
            // Drop the waiters after the lock is released, because dropping them wakes their
            // publishers.
            let _left = std::mem::take(&mut *self.task.lock_waiting());
        }
    }
}

/// Tasks with waiting events that no worker has taken yet.
#[derive(Default)]
pub(crate) struct Ready(Lock<Vec<Worker>, place::Leaf>);

impl Ready {
    /// Adds a task. Returns `true` for the first one, for which the caller must start a worker.
    pub(crate) fn push(&self, worker: Worker) -> bool {
        let mut ready = self.0.lock();
        ready.push(worker);
        ready.len() == 1
    }

    pub(crate) fn take(&self) -> Vec<Worker> {
        std::mem::take(&mut *self.0.lock())
    }
}
