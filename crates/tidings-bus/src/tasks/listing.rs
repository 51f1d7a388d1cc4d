//! Lists of tasks by status. A list of one status reads no other task.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use tidings_protocol::{TaskId, TaskStatus};

use crate::lock::{Guard, Lock, place};
use crate::stats::StatusCounts;
use crate::tasks::listed::Listed;
use crate::tasks::task::Task;
use crate::tasks::trees::kin::place;

type ById = BTreeMap<TaskId, Arc<Task>>;

/// The declared tasks in memory, in the order of their ids.
#[derive(Default)]
struct Lists {
    by_status: [ById; 5],
    /// The tasks with an open question.
    asking: ById,
}

/// The declared tasks in memory, by status, and those with an open question.
#[derive(Default)]
pub(crate) struct Listing(Lock<Lists, place::Leaf>);

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

impl Listing {
    fn lock(&self) -> Guard<'_, Lists, place::Leaf> {
        self.0.lock()
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
        page(&self.lock().by_status[place(status)], prefix, after, limit)
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

    /// Moves a task from its old lists to its new ones.
    pub(crate) fn change(&self, task: &Arc<Task>, old: Option<&Listed>, new: Option<&Listed>) {
        let asks = |listed: Option<&Listed>| listed.is_some_and(|listed| listed.asking.open);
        let mut lists = self.lock();
        if let Some(old) = old {
            lists.by_status[place(old.status)].remove(task.id());
        }
        if let Some(new) = new {
            let list = &mut lists.by_status[place(new.status)];
            list.insert(task.id().clone(), Arc::clone(task));
        }
        if asks(new) && !asks(old) {
            lists.asking.insert(task.id().clone(), Arc::clone(task));
        } else if asks(old) && !asks(new) {
            lists.asking.remove(task.id());
        }
    }

    /// Returns the number of tasks of each status.
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
