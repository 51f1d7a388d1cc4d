//! Lists of tasks by status. A list of one status reads no other task.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use tidings_protocol::{TaskId, TaskSnapshot, TaskStatus};

use crate::lock::{Guard, Lock, place};
use crate::shared::Shared;
use crate::stats::StatusCounts;
use crate::tasks::questions::Asking;
use crate::tasks::task::{Rules, Task};
use crate::tasks::trees::kin::{Kin, place};

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

/// The keys under which a task is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) status: TaskStatus,
    pub(crate) asking: Asking,
    /// The task's entry in its parent's counts. Boxed, because most tasks have no parent.
    pub(crate) kin: Option<Box<Kin>>,
}

impl Listed {
    /// Returns the keys for a task in this state.
    pub(crate) fn of(snapshot: &TaskSnapshot) -> Self {
        Self {
            status: snapshot.status,
            asking: Asking::of(snapshot),
            kin: Kin::of(snapshot).map(Box::new),
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

impl Shared {
    /// Lists a task under its status and its questions, or removes it from the lists. The caller
    /// holds the task's rules, and calls it whenever these may have changed.
    #[inline]
    pub(crate) fn relist(&self, task: &Arc<Task>, rules: &mut Rules, listed: Option<Listed>) {
        // Most events leave the lists unchanged.
        if rules.listed != listed {
            self.list_anew(task, rules, listed);
        }
    }

    fn list_anew(&self, task: &Arc<Task>, rules: &mut Rules, listed: Option<Listed>) {
        let before = rules.asking();
        if let Some(listed) = &listed {
            self.note_kin(task, rules.listed.as_ref(), listed);
        }
        self.note_payer(rules.listed.as_ref(), listed.as_ref());
        let mut lists = self.listing.lock();
        if let Some(before) = &rules.listed {
            lists.by_status[place(before.status)].remove(task.id());
        }
        if let Some(listed) = &listed {
            let list = &mut lists.by_status[place(listed.status)];
            list.insert(task.id().clone(), Arc::clone(task));
        }
        rules.listed = listed;
        rules.charge_tree();
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
