//! Storing events of several tasks in one call.
//!
//! Publishers of different tasks that publish at the same time share a sync anyway. Without this
//! module each task would also need its own worker, its own call of the store, and its own wake-up.
//! So one worker takes all tasks that wait. With 256 publishers, one task each, a publish took 13
//! to 15 µs of two cores instead of 17 to 20.
//!
//! It is not used if nodes share a store. There a call is a message to another machine, and the
//! answer of one task would delay all others.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::MutexGuard;

use crate::lock::{Lock, place};
use crate::publish::group::{After, Outcome, Staged, Verdict, Waiter, Worker};
use crate::shared::Shared;
use crate::store::{Store, StoreError};
use crate::tasks::task::Task;

/// The most tasks that one worker takes. The rest is left for another core. On two cores, 32, 64
/// and 256 made no difference that was larger than the noise.
const MAX_TASKS: usize = 32;

/// Tasks with waiting events that no worker has taken yet.
#[derive(Default)]
pub(crate) struct Ready(Lock<Vec<Worker>, place::Leaf>);

impl Ready {
    /// Adds a task. Returns `true` for the first one, for which the caller must start a worker.
    fn push(&self, worker: Worker) -> bool {
        let mut ready = self.0.lock();
        ready.push(worker);
        ready.len() == 1
    }

    fn take(&self) -> Vec<Worker> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// A worker that is about to take the ready tasks.
struct Errand {
    shared: Arc<Shared>,
    done: bool,
}

impl Errand {
    fn run(mut self) -> Vec<Worker> {
        self.done = true;
        self.shared.ready.take()
    }
}

impl Drop for Errand {
    /// The runtime ended before the worker started. The waiting publishers get an error.
    fn drop(&mut self) {
        if !self.done {
            drop(self.shared.ready.take());
        }
    }
}

/// A task whose turn the worker holds.
struct Member<'a> {
    worker: Worker,
    task: &'a Arc<Task>,
    turn: MutexGuard<'a, ()>,
    group: Vec<Waiter>,
    verdicts: Vec<Verdict>,
    /// The state of the task afterwards. `None` if nothing of it must be stored.
    after: Option<After>,
}

impl Shared {
    /// Lets a worker store the task's events soon, possibly together with those of other tasks.
    pub(crate) fn take_up(self: &Arc<Self>, store: &Arc<dyn Store>, worker: Worker) {
        if self.config.broker.is_some() {
            self.take_up_alone(store, worker);
            return;
        }
        if !self.ready.push(worker) {
            return;
        }
        let errand = Errand {
            shared: Arc::clone(self),
            done: false,
        };
        let (shared, store) = (Arc::clone(self), Arc::clone(store));
        self.spawn(async move {
            // Yield once, so that publishers that are about to publish are included.
            tokio::task::yield_now().await;
            let mut workers = errand.run();
            while workers.len() > MAX_TASKS {
                let rest = workers.split_off(MAX_TASKS);
                let (other, store) = (Arc::clone(&shared), Arc::clone(&store));
                shared.spawn(async move { other.work_together(&store, workers).await });
                workers = rest;
            }
            shared.work_together(&store, workers).await;
        });
    }

    fn take_up_alone(self: &Arc<Self>, store: &Arc<dyn Store>, worker: Worker) {
        let (shared, store) = (Arc::clone(self), Arc::clone(store));
        self.spawn(async move { shared.work(&store, worker).await });
    }

    /// Stores the waiting events of these tasks.
    async fn work_together(self: &Arc<Self>, store: &Arc<dyn Store>, mut workers: Vec<Worker>) {
        if workers.len() == 1
            && let Some(worker) = workers.pop()
        {
            return self.work(store, worker).await;
        }
        let tasks: Vec<_> = workers.iter().map(|worker| worker.task().clone()).collect();
        let mut members = Vec::with_capacity(tasks.len());
        let mut appends = Vec::with_capacity(tasks.len());
        for (worker, task) in workers.into_iter().zip(&tasks) {
            // A task that must wait, or must be read first, is handled by a worker of its own.
            let Ok(turn) = task.commit.try_lock() else {
                self.take_up_alone(store, worker);
                continue;
            };
            let mut waiting = task.lock_waiting();
            if waiting.has_ids() && task.cold.load(Ordering::SeqCst) {
                drop((waiting, turn));
                self.take_up_alone(store, worker);
                continue;
            }
            let Some(group) = waiting.take() else {
                drop((waiting, turn));
                self.leave(worker);
                continue;
            };
            drop(waiting);
            let Staged {
                verdicts,
                append,
                after,
                // No other node publishes here.
                outdated: _,
            } = self.stage(task, &group);
            members.push(Member {
                worker,
                task,
                turn,
                group,
                verdicts,
                after,
            });
            appends.extend(append);
        }
        let mut stored = match appends.is_empty() {
            true => Vec::new(),
            false => store.append_all(appends).await,
        }
        .into_iter();
        for member in members {
            self.settle_member(store, member, &mut stored).await;
        }
    }

    /// Answers a task's publishers, and continues with events that have arrived in the meantime.
    async fn settle_member(
        self: &Arc<Self>,
        store: &Arc<dyn Store>,
        member: Member<'_>,
        stored: &mut impl Iterator<Item = Result<(), StoreError>>,
    ) {
        let Member {
            worker,
            task,
            turn,
            group,
            verdicts,
            after,
        } = member;
        let outcome = match after.map(|after| (stored.next(), after)) {
            // Another node may know better. The events are decided again.
            None if self.config.broker.is_some() => {
                self.store_and_finish(store, task, turn, group).await;
                return self.go_on(store, worker);
            }
            None => Outcome::nothing_stored(group, verdicts),
            Some((Some(Ok(())), after)) => self.reveal(task, group, verdicts, after),
            // The events of this task are decided again, or one by one.
            Some((
                Some(Err(StoreError::Conflict { .. } | StoreError::Duplicate { .. })) | None,
                _,
            )) => {
                self.store_and_finish(store, task, turn, group).await;
                return self.go_on(store, worker);
            }
            Some((Some(Err(error)), _)) => {
                tracing::warn!(task_id = %task.id(), %error, "the store refused events");
                Outcome::refused(group, verdicts, error)
            }
        };
        drop(turn);
        self.finish(task, outcome).await;
        self.go_on(store, worker);
    }

    /// Takes the task again if events have arrived in the meantime.
    fn go_on(self: &Arc<Self>, store: &Arc<dyn Store>, worker: Worker) {
        if worker.task().lock_waiting().is_over() {
            self.leave(worker);
        } else {
            self.take_up(store, worker);
        }
    }
}
