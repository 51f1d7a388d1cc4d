//! The driver of leases: one timer for all tasks that have one.
//!
//! The rule itself is `tidings_protocol::Lease`; here is only who asks it when.
//! An event renews a lease in its task and leaves the heap alone: the old entry
//! comes up, sees that the deadline has moved, and goes back in.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, Weak};

use tidings_protocol::{LeaseExpiry, NewEvent, TaskError};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::publish::append::{Prepared, PublishError, Refused};
use crate::shared::Shared;
use crate::tasks::task::Task;

struct Due {
    at: Instant,
    task: Weak<Task>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

/// Deadlines to come.
#[derive(Default)]
pub(crate) struct Leases {
    heap: Mutex<BinaryHeap<Reverse<Due>>>,
    changed: Notify,
}

impl Leases {
    pub(crate) fn schedule(&self, at: Instant, task: Weak<Task>) {
        self.lock().push(Reverse(Due { at, task }));
        self.changed.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BinaryHeap<Reverse<Due>>> {
        self.heap
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn next(&self) -> Option<Instant> {
        self.lock().peek().map(|Reverse(due)| due.at)
    }

    fn pop_due(&self, now: Instant) -> Option<Weak<Task>> {
        let mut heap = self.lock();
        let due = heap.peek().is_some_and(|Reverse(due)| due.at <= now);
        if due {
            heap.pop().map(|Reverse(due)| due.task)
        } else {
            None
        }
    }
}

/// Publishes `task_stalled` and `task_failed` when leases run out.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let next = shared.leases.next();
        let timer = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = timer => {}
            () = shared.leases.changed.notified() => continue,
            () = stop.cancelled() => return,
        }
        while let Some(task) = shared.leases.pop_due(Instant::now()) {
            if let Some(task) = task.upgrade() {
                expire(&shared, &task).await;
            }
        }
    }
}

async fn expire(shared: &Arc<Shared>, task: &Arc<Task>) {
    let published = match decide(shared, task) {
        Decision::Nothing => return,
        Decision::Published(result) => result,
        Decision::Publish(prepared) => shared
            .publish_prepared(task.id(), *prepared)
            .await
            .map(|_| ()),
    };
    task.topic().announce();
    if let Err(error) = published {
        tracing::debug!(task_id = %task.id(), %error, "a lease ran out as the task ended");
    }
}

enum Decision {
    Nothing,
    /// Done under the lock of the decision, so that no event could slip in between.
    Published(Result<(), PublishError>),
    /// To be done through the store.
    Publish(Box<Prepared>),
}

fn decide(shared: &Arc<Shared>, task: &Arc<Task>) -> Decision {
    let mut rules = task.lock_rules();
    let Some(lease) = &mut rules.lease else {
        return Decision::Nothing;
    };
    let now = Instant::now();
    let expiry = lease.poll(now.duration_since(shared.started));
    if expiry != Some(LeaseExpiry::Lost) {
        let at = shared.started + lease.deadline();
        shared.leases.schedule(at, Arc::downgrade(task));
    }
    let event = match expiry {
        Some(LeaseExpiry::Stalled) => NewEvent::task_stalled(),
        Some(LeaseExpiry::Lost) => NewEvent::task_failed(TaskError::lost()),
        None => return Decision::Nothing,
    };
    // The bus's own events are small and well-formed.
    let Ok(prepared) = Prepared::new(event, usize::MAX) else {
        return Decision::Nothing;
    };
    if shared.writes_through().is_some() {
        return Decision::Publish(Box::new(prepared));
    }
    Decision::Published(match shared.append(task, &mut rules, &prepared, now) {
        Err(Refused::Answer(Err(error))) => Err(error),
        _ => Ok(()),
    })
}
