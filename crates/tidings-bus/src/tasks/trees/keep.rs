//! Keeps the trees current as tasks change.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidings_protocol::{Payload, TaskId, TaskStarted};

use super::forest::{Forest, MAX_TREE_DEPTH, TreeError};
use super::kin::{Kin, Sums};
use super::publish::Due;
use super::watchers::ChildWatchers;
use crate::ledger::{Account, Charge, Kind};
use crate::lock::{Guard, Lock, place};
use crate::publish::append::{Prepared, PublishError};
use crate::shared::Shared;
use crate::store::{Store, StoreError};
use crate::tasks::listing::Listed;
use crate::tasks::task::{Rules, Task};

/// Rows of a store that are read at a time at the start.
const PAGE: usize = 4_096;

/// Bytes that a task with a parent costs: its entry in the forest, and its name among its parent's
/// children.
pub(crate) const KIN_BYTES: u64 = 256;

/// Bytes that a task with children costs: its entry in the forest, and two lists of children.
const FAMILY_BYTES: u64 = 512;

/// The forest, and the charge for the part of it that no task in memory pays for.
pub(super) struct Grove {
    pub(super) forest: Forest,
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
    grove: Lock<Grove, place::Forest>,
    /// The number of tasks with children. A bus without trees then takes no lock.
    families: AtomicUsize,
    pub(crate) watchers: Arc<ChildWatchers>,
    /// The parents that need a look.
    pub(super) due: Due,
}

impl Trees {
    /// Creates empty trees. `own` pays for the entries of tasks that are only in the store.
    pub(crate) fn new(own: &Account) -> Self {
        Self {
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

    pub(super) fn lock(&self) -> Guard<'_, Grove, place::Forest> {
        self.grove.lock()
    }

    /// Notes that a task in memory begins or ends to pay for its own entry.
    fn note_payer(&self, pays: bool) {
        let mut grove = self.lock();
        if pays {
            grove.paying += 1;
        } else {
            grove.paying -= 1;
        }
        grove.recount();
    }

    /// Sets the entry of a task in its parent's counts. Returns whether the task is a new child.
    fn set(&self, child: &TaskId, kin: Option<Kin>) -> bool {
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
}

/// Returns the parent that an event names.
pub(crate) fn named_parent(payload: &Payload) -> Option<&TaskId> {
    match payload {
        Payload::TaskStarted(TaskStarted { parent_task_id, .. }) => parent_task_id.as_ref(),
        _ => None,
    }
}

impl Shared {
    /// Reads the trees of the bus's own store, with the tasks that are not in memory.
    pub(crate) async fn read_trees(&self, store: &Arc<dyn Store>) -> Result<(), StoreError> {
        let mut after: Option<TaskId> = None;
        loop {
            let page = store.related(after.as_ref(), PAGE).await?;
            let Some((last, _)) = page.last() else {
                // Some children may have changed before the last stop, without an event of their
                // parents.
                for parent in self.trees.lock().forest.parents() {
                    self.trees.due.mark(&parent);
                }
                return Ok(());
            };
            after = Some(last.clone());
            for (task, related) in page {
                if related.says_children {
                    // All its children may have gone since its last update.
                    self.trees.due.mark(&task);
                }
                self.trees.set(&task, related.kin);
            }
        }
    }

    /// Records a change of a task's entry in its parent's counts. The caller holds the task's
    /// rules. A task without a parent costs one branch.
    pub(crate) fn note_kin(&self, task: &Arc<Task>, before: Option<&Listed>, after: &Listed) {
        if before.is_none() {
            self.trees.appeared(task.id());
        }
        let before = before.and_then(|listed| listed.kin.as_deref());
        let after = after.kin.as_deref();
        if before == after {
            return;
        }
        let joined = if self.interest.is_some() {
            let parent = |kin: Option<&Kin>| kin.map(|kin| kin.parent.clone());
            parent(before) != parent(after)
        } else {
            self.trees.set(task.id(), after.cloned())
        };
        if let Some(kin) = after.filter(|_| joined)
            && self.trees.watchers.is_watched(&kin.parent)
        {
            self.fanout.born(kin.parent.clone(), Arc::clone(task));
        }
    }

    /// Records whether a task pays for its own entry from now on, because it comes into memory or
    /// leaves memory. The caller holds the task's rules.
    pub(crate) fn note_payer(&self, before: Option<&Listed>, after: Option<&Listed>) {
        let pays = |listed: Option<&Listed>| listed.is_some_and(|listed| listed.kin.is_some());
        if self.interest.is_none() && pays(before) != pays(after) {
            self.trees.note_payer(pays(after));
        }
    }

    /// Records that a task is about to be removed for good, from memory or from the store alone.
    pub(crate) fn forget_kin(&self, task: &Task) {
        if self.trees.watchers.is_watched(task.id()) {
            self.fanout.removed(task.id().clone());
        }
        match &task.snapshot().parent_task_id {
            None => {}
            Some(parent) if self.interest.is_some() => self.trees.due.mark(parent),
            Some(_) => _ = self.trees.set(task.id(), None),
        }
    }

    /// Asks for a look at the parents of a task after an event of this node, if nodes share a
    /// store. The caller holds the task's rules, and calls it before it lists the task again.
    pub(crate) fn mark_parents(&self, rules: &Rules, after: Option<&Listed>) {
        if self.interest.is_none() {
            return;
        }
        let kin = |listed: Option<&Listed>| listed.and_then(|listed| listed.kin.clone());
        let (before, after) = (kin(rules.listed.as_ref()), kin(after));
        if before == after {
            return;
        }
        for kin in [before, after].iter().flatten() {
            self.trees.due.mark(&kin.parent);
        }
    }

    /// Decides whether the tree allows the parent that an event names.
    pub(crate) fn check_tree(&self, task: &TaskId, prepared: &Prepared) -> Result<(), TreeError> {
        match named_parent(&prepared.payload) {
            Some(parent) if self.interest.is_none() => self.trees.lock().forest.claim(task, parent),
            _ => Ok(()),
        }
    }

    /// Undoes [`check_tree`](Self::check_tree) for an event that was not stored.
    pub(crate) fn end_claim(&self, task: &TaskId, prepared: &Prepared) {
        if self.interest.is_none() && named_parent(&prepared.payload).is_some() {
            self.trees.lock().forest.unclaim(task);
        }
    }

    /// Decides whether the tree allows the named parent, if nodes share a store. Two nodes that
    /// decide at the same time may each miss the other's event.
    pub(crate) async fn check_shared_tree(
        &self,
        task: &TaskId,
        prepared: &Prepared,
    ) -> Result<(), PublishError> {
        let (Some(parent), Some(store), Some(_)) =
            (named_parent(&prepared.payload), &self.store, &self.interest)
        else {
            return Ok(());
        };
        let mut at = parent.clone();
        for _ in 0..MAX_TREE_DEPTH {
            if at == *task {
                return Err(PublishError::Tree(TreeError::Cycle {
                    task: task.clone(),
                    parent: parent.clone(),
                }));
            }
            let found = store.find(&at).await;
            let found = found.map_err(|error| PublishError::Unavailable(Arc::new(error)))?;
            match found.and_then(|stored| stored.snapshot.parent_task_id.clone()) {
                Some(above) => at = above,
                None => return Ok(()),
            }
        }
        Err(PublishError::Tree(TreeError::TooDeep {
            parent: parent.clone(),
        }))
    }
}

/// If nodes share a store, most children come from other nodes.
impl Shared {
    /// Announces a child that another node has published to the watchers of its parent.
    pub(crate) fn spawn_tell_child(self: &Arc<Self>, parent: TaskId, child: TaskId) {
        if !self.trees.watchers.is_watched(&parent) {
            return;
        }
        let shared = Arc::clone(self);
        self.spawn(async move { shared.tell_child(&parent, &child).await });
    }

    async fn tell_child(self: &Arc<Self>, parent: &TaskId, child: &TaskId) {
        match self.fetch(child, None).await {
            Ok(Some(task)) => self.fanout.born(parent.clone(), task),
            Ok(None) => {}
            // The broker sends a notice when the store is back.
            Err(error) => tracing::debug!(%child, %error, "a new child could not be read"),
        }
    }

    /// Announces all children of watched parents to the watchers, because notices were lost.
    pub(crate) fn spawn_tell_children(self: &Arc<Self>) {
        for parent in self.trees.watchers.parents() {
            let shared = Arc::clone(self);
            self.spawn(async move {
                if let Err(error) = shared.tell_children(&parent).await {
                    tracing::debug!(%parent, %error, "children could not be read");
                }
            });
        }
    }

    async fn tell_children(self: &Arc<Self>, parent: &TaskId) -> Result<(), StoreError> {
        let Some(families) = self.families() else {
            return Ok(());
        };
        let mut after: Option<TaskId> = None;
        loop {
            let page = families.children(parent, "", after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            for child in page {
                self.tell_child(parent, &child).await;
            }
        }
    }
}
