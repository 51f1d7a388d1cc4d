//! Tasks by status, so that a list of one status looks at no other task.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings_protocol::{TaskId, TaskStatus};

use crate::shared::Shared;
use crate::stats::StatusCounts;
use crate::tasks::task::{Rules, Task};

type ByStatus = [BTreeMap<TaskId, Arc<Task>>; 5];

/// The declared tasks in memory, by status and in the order of their ids.
#[derive(Default)]
pub(crate) struct Listing(Mutex<ByStatus>);

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
    fn lock(&self) -> MutexGuard<'_, ByStatus> {
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
        let start = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        self.lock()[lane(status)]
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(id, _)| id.as_str().starts_with(prefix))
            .take(limit)
            .map(|(_, task)| Arc::clone(task))
            .collect()
    }

    /// Returns how many tasks there are of each status.
    pub(crate) fn counts(&self) -> StatusCounts {
        let [pending, running, completed, failed, cancelled] =
            std::array::from_fn(|at| self.lock()[at].len() as u64);
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
    /// Lists a task under its status, or under none; called with its rules whenever
    /// the status may have changed.
    pub(crate) fn relist(&self, task: &Arc<Task>, rules: &mut Rules, status: Option<TaskStatus>) {
        if rules.listed == status {
            return;
        }
        let mut lanes = self.listing.lock();
        if let Some(before) = rules.listed {
            lanes[lane(before)].remove(task.id());
        }
        if let Some(status) = status {
            lanes[lane(status)].insert(task.id().clone(), Arc::clone(task));
        }
        rules.listed = status;
    }
}
