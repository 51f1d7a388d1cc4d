//! Tasks by status, so that a list of one status looks at no other task.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings_protocol::{TaskId, TaskSnapshot, TaskStatus};

use crate::shared::Shared;
use crate::stats::StatusCounts;
use crate::tasks::questions::Asking;
use crate::tasks::task::{Rules, Task};

type ById = BTreeMap<TaskId, Arc<Task>>;

/// The declared tasks in memory, in the order of their ids.
#[derive(Default)]
struct Lists {
    by_status: [ById; 5],
    /// Those with an open question.
    asking: ById,
}

/// The declared tasks in memory, by status, and those with an open question.
#[derive(Default)]
pub(crate) struct Listing(Mutex<Lists>);

/// What a task is listed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) status: TaskStatus,
    pub(crate) asking: Asking,
}

impl Listed {
    /// Returns what a task in this state is listed under.
    pub(crate) fn of(snapshot: &TaskSnapshot) -> Self {
        Self {
            status: snapshot.status,
            asking: Asking::of(snapshot),
        }
    }
}

/// Returns up to `limit` tasks after `after`, whose ids begin with `prefix`.
fn page(tasks: &ById, prefix: &str, after: Option<&TaskId>, limit: usize) -> Vec<Arc<Task>> {
    let start = match after {
        Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
        _ => Bound::Included(prefix),
    };
    tasks
        .range::<str, _>((start, Bound::Unbounded))
        .take_while(|(id, _)| id.as_str().starts_with(prefix))
        .take(limit)
        .map(|(_, task)| Arc::clone(task))
        .collect()
}

fn lane(status: TaskStatus) -> usize {
    match status {
        TaskStatus::Pending => 0,
        TaskStatus::Running => 1,
        TaskStatus::Completed => 2,
        TaskStatus::Failed => 3,
        TaskStatus::Cancelled => 4,
    }
}

impl Listing {
    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns up to `limit` tasks of one status after `after`, whose ids begin
    /// with `prefix`.
    pub(crate) fn page(
        &self,
        status: TaskStatus,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Vec<Arc<Task>> {
        page(&self.lock().by_status[lane(status)], prefix, after, limit)
    }

    /// Returns up to `limit` tasks with an open question after `after`, whose ids
    /// begin with `prefix`.
    pub(crate) fn asking(
        &self,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Vec<Arc<Task>> {
        page(&self.lock().asking, prefix, after, limit)
    }

    /// Returns how many tasks there are of each status.
    pub(crate) fn counts(&self) -> StatusCounts {
        let [pending, running, completed, failed, cancelled] =
            std::array::from_fn(|at| self.lock().by_status[at].len() as u64);
        StatusCounts {
            pending,
            running,
            completed,
            failed,
            cancelled,
        }
    }
}

impl Shared {
    /// Lists a task under its status and its questions, or under nothing; called with
    /// its rules whenever these may have changed.
    pub(crate) fn relist(&self, task: &Arc<Task>, rules: &mut Rules, listed: Option<Listed>) {
        if rules.listed == listed {
            return;
        }
        let before = rules.asking();
        let mut lists = self.listing.lock();
        if let Some(before) = rules.listed {
            lists.by_status[lane(before.status)].remove(task.id());
        }
        if let Some(listed) = listed {
            let list = &mut lists.by_status[lane(listed.status)];
            list.insert(task.id().clone(), Arc::clone(task));
        }
        rules.listed = listed;
        let after = rules.asking();
        if after.open && !before.open {
            lists.asking.insert(task.id().clone(), Arc::clone(task));
        } else if before.open && !after.open {
            lists.asking.remove(task.id());
        }
        drop(lists);
        if before.until != after.until {
            self.schedule_question(task, rules);
        }
    }
}
