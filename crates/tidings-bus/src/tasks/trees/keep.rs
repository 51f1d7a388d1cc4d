//! Keeps the trees current as tasks change.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidings_protocol::{Payload, TaskId};

use super::due::Due;
use super::forest::{Forest, TreeError};
use super::kin::{KIN_BYTES, Kin, Sums, named_parent};
use super::watchers::ChildWatchers;
use crate::deliver::pass::Fanout;
use crate::ledger::{Account, Charge, Kind};
use crate::lock::{Guard, Lock, place};
use crate::tasks::listed::Listed;
use crate::tasks::task::Task;

/// Bytes that a task with children costs: its entry in the forest, and two lists of children.
const FAMILY_BYTES: u64 = 512;

/// The forest, and the charge for the part of it that no task in memory pays for.
pub(crate) struct Grove {
    pub(crate) forest: Forest,
    /// The number of tasks in memory that pay for their own entries. Other tasks are only in the
    /// store.
    paying: usize,
    charge: Charge,
}

impl Grove {
    fn recount(&mut self) {
        let children = self.forest.children().saturating_sub(self.paying) as u64;
        let families = self.forest.families() as u64;
        let bytes = children * KIN_BYTES + families * FAMILY_BYTES;
        if bytes != self.charge.bytes() {
            self.charge.resize(bytes);
        }
    }
}

/// The trees of a bus that does not share its store. If nodes share a store, the forest stays
/// empty, because the store knows the trees.
pub(crate) struct Trees {
    /// Whether this bus keeps the trees, because it does not share its store.
    here: bool,
    grove: Lock<Grove, place::Forest>,
    /// The number of tasks with children. A bus without trees then takes no lock.
    families: AtomicUsize,
    pub(crate) watchers: Arc<ChildWatchers>,
    /// The parents that need a look.
    pub(super) due: Due,
}

impl Trees {
    /// Creates empty trees. `own` pays for the entries of tasks that are only in the store.
    pub(crate) fn new(own: &Account, here: bool) -> Self {
        Self {
            here,
            grove: Lock::new(Grove {
                forest: Forest::default(),
                paying: 0,
                charge: own.take(Kind::Tree, 0),
            }),
            families: AtomicUsize::new(0),
            watchers: Arc::default(),
            due: Due::default(),
        }
    }

    pub(crate) fn lock(&self) -> Guard<'_, Grove, place::Forest> {
        self.grove.lock()
    }

    /// Notes that a task in memory begins or ends to pay for its own entry.
    fn pay(&self, pays: bool) {
        let mut grove = self.lock();
        if pays {
            grove.paying += 1;
        } else {
            grove.paying -= 1;
        }
        grove.recount();
    }

    /// Sets the entry of a task in its parent's counts. Returns whether the task is a new child.
    pub(super) fn set(&self, child: &TaskId, kin: Option<Kin>) -> bool {
        let mut grove = self.lock();
        let changed = grove.forest.set(child, kin);
        grove.recount();
        self.families
            .store(grove.forest.families(), Ordering::SeqCst);
        drop(grove);
        for parent in &changed.parents {
            self.due.mark(parent);
        }
        changed.joined
    }

    /// Returns the sums over a task's children.
    pub(super) fn sums(&self, parent: &TaskId) -> Sums {
        self.lock().forest.sums(parent)
    }

    /// Looks at a task that has appeared, because its children may be older than the task.
    fn appeared(&self, task: &TaskId) {
        if self.families.load(Ordering::SeqCst) > 0 && self.lock().forest.has_children(task) {
            self.due.mark(task);
        }
    }

    /// Records a change of a task's entry in its parent's counts. The caller holds the task's
    /// rules. A task without a parent costs one branch.
    pub(crate) fn note_kin(
        &self,
        fanout: &Fanout,
        task: &Arc<Task>,
        before: Option<&Listed>,
        after: &Listed,
    ) {
        if before.is_none() {
            self.appeared(task.id());
        }
        let before = before.and_then(|listed| listed.kin.as_deref());
        let after = after.kin.as_deref();
        if before == after {
            return;
        }
        let joined = if !self.here {
            let parent = |kin: Option<&Kin>| kin.map(|kin| kin.parent.clone());
            parent(before) != parent(after)
        } else {
            self.set(task.id(), after.cloned())
        };
        if let Some(kin) = after.filter(|_| joined)
            && self.watchers.is_watched(&kin.parent)
        {
            fanout.born(kin.parent.clone(), Arc::clone(task));
        }
    }

    /// Records whether a task pays for its own entry from now on, because it comes into memory or
    /// leaves memory. The caller holds the task's rules.
    pub(crate) fn note_payer(&self, before: Option<&Listed>, after: Option<&Listed>) {
        let pays = |listed: Option<&Listed>| listed.is_some_and(|listed| listed.kin.is_some());
        if self.here && pays(before) != pays(after) {
            self.pay(pays(after));
        }
    }

    /// Records that a task is about to be removed for good, from memory or from the store alone.
    pub(crate) fn forget_kin(&self, fanout: &Fanout, task: &Task) {
        if self.watchers.is_watched(task.id()) {
            fanout.removed(task.id().clone());
        }
        match &task.snapshot().parent_task_id {
            None => {}
            Some(parent) if !self.here => self.due.mark(parent),
            Some(_) => _ = self.set(task.id(), None),
        }
    }

    /// Asks for a look at the parents of a task after an event of this node, if nodes share a
    /// store. The caller holds the task's rules.
    pub(crate) fn mark_parents(&self, before: Option<&Listed>, after: Option<&Listed>) {
        if self.here {
            return;
        }
        let kin = |listed: Option<&Listed>| listed.and_then(|listed| listed.kin.clone());
        let (before, after) = (kin(before), kin(after));
        if before == after {
            return;
        }
        for kin in [before, after].iter().flatten() {
            self.due.mark(&kin.parent);
        }
    }

    /// Decides whether the tree allows the parent that an event names.
    pub(crate) fn claim(&self, task: &TaskId, payload: &Payload) -> Result<(), TreeError> {
        match named_parent(payload) {
            Some(parent) if self.here => self.lock().forest.claim(task, parent),
            _ => Ok(()),
        }
    }

    /// Undoes [`claim`](Self::claim) for an event that was not stored.
    pub(crate) fn end_claim(&self, task: &TaskId, payload: &Payload) {
        if self.here && named_parent(payload).is_some() {
            self.lock().forest.unclaim(task);
        }
    }
}
