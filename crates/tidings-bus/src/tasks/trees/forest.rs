//! The parent of each task, and the sums of each parent's children.
//!
//! A pure machine. A change of a child costs at most one step per task above it. The cost does
//! not depend on the number of children.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;

use tidings_protocol::TaskId;

use super::kin::{Kin, Sums};

/// The most tasks that may lie above a task.
pub const MAX_TREE_DEPTH: usize = 32;

/// The reason why a task cannot be the child of the parent that it names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The parent is the task itself, or a task below it. Name another parent.
    #[error("task_started: `parent_task_id` names {parent}, which is {task} or lies below it")]
    Cycle {
        /// The task.
        task: TaskId,
        /// The parent that it names.
        parent: TaskId,
    },
    /// The tree would be too deep. Name a parent further up.
    #[error(
        "task_started: with the parent {parent}, a tree has more than {MAX_TREE_DEPTH} levels below \
         its root"
    )]
    TooDeep {
        /// The parent that the task names.
        parent: TaskId,
    },
}

/// The children of one task. The task itself need not exist.
#[derive(Debug, Default)]
struct Family {
    sums: Sums,
    children: BTreeSet<TaskId>,
    /// The number of children of each height. A child without children has height 0.
    heights: BTreeMap<u8, u32>,
}

impl Family {
    fn height(&self) -> u8 {
        let highest = self.heights.last_key_value();
        highest.map_or(0, |(height, _)| height.saturating_add(1))
    }

    fn take_height(&mut self, height: u8) {
        if let Some(count) = self.heights.get_mut(&height) {
            *count -= 1;
            if *count == 0 {
                self.heights.remove(&height);
            }
        }
    }
}

/// The effects of a change of a child.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// The parents with changed sums.
    pub(crate) parents: Vec<TaskId>,
    /// Whether the child is new to its parent.
    pub(crate) joined: bool,
}

/// All tasks that name a parent.
#[derive(Debug, Default)]
pub(crate) struct Forest {
    kin: HashMap<TaskId, Kin>,
    families: HashMap<TaskId, Family>,
    /// Parents that tasks have named in events that are not stored yet.
    claims: HashMap<TaskId, TaskId>,
    /// The number of claims that name each parent.
    claimed: HashMap<TaskId, usize>,
}

impl Forest {
    /// Sets the entry of a task in its parent's counts. `None` means that the task is gone, or
    /// names no parent. An equal entry changes nothing.
    pub(crate) fn set(&mut self, child: &TaskId, now: Option<Kin>) -> Changed {
        self.unclaim(child);
        let before = self.kin.get(child);
        if before == now.as_ref() {
            return Changed::default();
        }
        let now = now.map(|mut kin| {
            // All children of a parent share one text of its id.
            if let Some((parent, _)) = self.families.get_key_value(&kin.parent) {
                kin.parent = parent.clone();
            }
            kin
        });
        let before = before.cloned();
        let mut changed = Changed::default();
        match (&before, &now) {
            (Some(before), Some(now)) if before.parent == now.parent => {
                if let Some(family) = self.families.get_mut(&now.parent) {
                    family.sums.take(before);
                    family.sums.add(now);
                }
                changed.parents.push(now.parent.clone());
            }
            _ => {
                if let Some(before) = before {
                    self.leave(child, &before);
                    changed.parents.push(before.parent);
                }
                if let Some(now) = &now {
                    self.join(child, now);
                    changed.parents.push(now.parent.clone());
                    changed.joined = true;
                }
            }
        }
        match now {
            Some(now) => self.kin.insert(child.clone(), now),
            None => self.kin.remove(child),
        };
        changed
    }

    fn join(&mut self, child: &TaskId, kin: &Kin) {
        let family = self.families.entry(kin.parent.clone()).or_default();
        family.sums.add(kin);
        family.children.insert(child.clone());
        let height = self.height(child);
        self.lift(&kin.parent, None, Some(height));
    }

    fn leave(&mut self, child: &TaskId, kin: &Kin) {
        let height = self.height(child);
        let Some(family) = self.families.get_mut(&kin.parent) else {
            return;
        };
        family.sums.take(kin);
        family.children.remove(child);
        self.lift(&kin.parent, Some(height), None);
        let family = self.families.get(&kin.parent);
        if family.is_some_and(|family| family.children.is_empty()) {
            self.families.remove(&kin.parent);
        }
    }

    /// Updates a family, and the families above it, after the height of a child has changed.
    fn lift(&mut self, parent: &TaskId, mut from: Option<u8>, mut to: Option<u8>) {
        let mut at = parent.clone();
        // A tree from another source may be deeper, or a circle. The heights are then wrong, but
        // nothing else.
        for _ in 0..=MAX_TREE_DEPTH {
            let Some(family) = self.families.get_mut(&at) else {
                return;
            };
            let before = family.height();
            if let Some(from) = from {
                family.take_height(from);
            }
            if let Some(to) = to {
                *family.heights.entry(to).or_default() += 1;
            }
            let after = family.height();
            let Some(above) = self.kin.get(&at).filter(|_| before != after) else {
                return;
            };
            (from, to, at) = (Some(before), Some(after), above.parent.clone());
        }
    }

    /// Returns the number of levels below a task.
    fn height(&self, task: &TaskId) -> u8 {
        self.families.get(task).map_or(0, Family::height)
    }

    /// Decides whether a task may become the child of a parent, and records the claim.
    /// [`set`](Self::set) and [`unclaim`](Self::unclaim) end the claim.
    pub(crate) fn claim(&mut self, child: &TaskId, parent: &TaskId) -> Result<(), TreeError> {
        if self.parent(child) == Some(parent) {
            return Ok(());
        }
        let above = self.levels_above(child, parent)?;
        if above + self.levels_below(child) > MAX_TREE_DEPTH {
            let parent = parent.clone();
            return Err(TreeError::TooDeep { parent });
        }
        self.unclaim(child);
        self.claims.insert(child.clone(), parent.clone());
        *self.claimed.entry(parent.clone()).or_default() += 1;
        Ok(())
    }

    /// Removes the claim of a task.
    pub(crate) fn unclaim(&mut self, child: &TaskId) {
        let Some(parent) = self.claims.remove(child) else {
            return;
        };
        if let Some(count) = self.claimed.get_mut(&parent) {
            *count -= 1;
            if *count == 0 {
                self.claimed.remove(&parent);
            }
        }
    }

    /// Counts the levels below a task, with the tasks that have claimed a place there.
    fn levels_below(&self, task: &TaskId) -> usize {
        let deepest = usize::from(self.height(task));
        if deepest == 0 && !self.claimed.contains_key(task) {
            return 0;
        }
        let below = self.claims.keys().filter_map(|claimant| {
            let levels = self.levels_up_to(claimant, task)?;
            Some(levels + usize::from(self.height(claimant)))
        });
        below.max().unwrap_or_default().max(deepest)
    }

    /// Counts the levels from a task up to a task above it.
    fn levels_up_to(&self, task: &TaskId, top: &TaskId) -> Option<usize> {
        let mut found = None;
        let mut seen = HashSet::new();
        let mut next = vec![(task, 0)];
        while let Some((at, level)) = next.pop() {
            if at == top {
                found = found.max(Some(level));
            } else if level <= MAX_TREE_DEPTH && seen.insert((at, level)) {
                let above = [self.parent(at), self.claims.get(at)];
                next.extend(above.into_iter().flatten().map(|at| (at, level + 1)));
            }
        }
        found
    }

    /// Counts the tasks that would lie above `child` if it had this parent.
    fn levels_above(&self, child: &TaskId, parent: &TaskId) -> Result<usize, TreeError> {
        let mut deepest = 0;
        let mut seen = HashSet::new();
        let mut next = vec![(parent, 1)];
        while let Some((at, level)) = next.pop() {
            if at == child {
                return Err(TreeError::Cycle {
                    task: child.clone(),
                    parent: parent.clone(),
                });
            }
            if level > MAX_TREE_DEPTH {
                let parent = parent.clone();
                return Err(TreeError::TooDeep { parent });
            }
            deepest = deepest.max(level);
            if !seen.insert(at) {
                continue;
            }
            let above = [self.parent(at), self.claims.get(at)];
            next.extend(above.into_iter().flatten().map(|at| (at, level + 1)));
        }
        Ok(deepest)
    }

    /// Returns the parent that a task names.
    pub(crate) fn parent(&self, task: &TaskId) -> Option<&TaskId> {
        self.kin.get(task).map(|kin| &kin.parent)
    }

    /// Returns the tasks above a task, the nearest first.
    pub(crate) fn ancestors(&self, task: &TaskId) -> Vec<TaskId> {
        let mut found = Vec::new();
        let mut at = task;
        while let Some(parent) = self.parent(at) {
            if found.len() == MAX_TREE_DEPTH {
                break;
            }
            found.push(parent.clone());
            at = parent;
        }
        found
    }

    /// Returns the sums over a task's children.
    pub(crate) fn sums(&self, parent: &TaskId) -> Sums {
        let family = self.families.get(parent);
        family.map(|family| family.sums).unwrap_or_default()
    }

    /// Returns up to `limit` children of a task after `after`, in the order of their ids. The
    /// ids begin with `prefix`.
    pub(crate) fn page(
        &self,
        parent: &TaskId,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Vec<TaskId> {
        let start = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        let Some(family) = self.families.get(parent) else {
            return Vec::new();
        };
        let children = family.children.range::<str, _>((start, Bound::Unbounded));
        children
            .take_while(|child| child.as_str().starts_with(prefix))
            .take(limit)
            .cloned()
            .collect()
    }

    /// Returns the tasks that have children.
    pub(crate) fn parents(&self) -> Vec<TaskId> {
        self.families.keys().cloned().collect()
    }

    /// Returns the number of tasks that name a parent.
    pub(crate) fn children(&self) -> usize {
        self.kin.len()
    }

    /// Returns the number of tasks with children.
    pub(crate) fn families(&self) -> usize {
        self.families.len()
    }

    /// Returns whether a task has children.
    pub(crate) fn has_children(&self, task: &TaskId) -> bool {
        self.families.contains_key(task)
    }
}
