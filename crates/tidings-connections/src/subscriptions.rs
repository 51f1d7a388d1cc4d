//! The cursors of one connection.

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;
use tidings_bus::watch::Task;
use tidings_bus::{Account, Charge, EventBus, Kind, OverLimit, PatternId};
use tidings_protocol::{Pattern, Target, TaskId};

use crate::defaults::{CURSOR_BYTES, OPENING_BYTES};
use crate::group::Group;
use crate::index::{Index, narrow};
use crate::jobs::Jobs;
use crate::opening::Opening;
use crate::subscription::Sub;
use crate::trees::TreeSub;

/// The number of subscriptions from which on an index by task pays off.
const INDEX_FROM: usize = 16;

/// A subscription to a group.
pub(crate) enum GroupSub {
    Pattern { pattern: Pattern, id: PatternId },
    Tree(TreeSub),
}

impl GroupSub {
    pub(crate) fn group(&self) -> Group {
        match self {
            Self::Pattern { pattern, .. } => Group::Pattern(pattern.clone()),
            Self::Tree(tree) => Group::Tree(tree.root().clone()),
        }
    }

    fn is(&self, group: &Group) -> bool {
        match (self, group) {
            (Self::Pattern { pattern, .. }, Group::Pattern(other)) => pattern == other,
            (Self::Tree(tree), Group::Tree(root)) => tree.root() == root,
            _ => false,
        }
    }

    /// Returns the topmost task, if the group is a tree.
    pub(crate) fn root(&self) -> Option<&TaskId> {
        match self {
            Self::Pattern { .. } => None,
            Self::Tree(tree) => Some(tree.root()),
        }
    }

    /// Ends what the bus does for the group. The cursors of its tasks stay.
    pub(crate) fn detach(self, bus: &EventBus) {
        match self {
            Self::Pattern { id, .. } => bus.unwatch_pattern(id),
            Self::Tree(tree) => tree.detach(bus),
        }
    }

    /// Returns whether the task belongs to the group.
    pub(crate) fn holds(&self, task_id: &TaskId) -> bool {
        match self {
            Self::Pattern { pattern, .. } => pattern.matches(task_id),
            Self::Tree(tree) => tree.holds(task_id),
        }
    }
}

/// All cursors and groups that were removed from a connection.
pub(crate) struct Drained {
    pub(crate) subs: Vec<Sub>,
    pub(crate) groups: Vec<GroupSub>,
    pub(crate) jobs: Jobs,
}

/// All cursors and groups of one connection.
///
/// Most connections watch one task. Its cursor is stored inline, under key 0, where a delivery
/// finds it without another memory access. Everything else is in a box, which such a connection
/// does not have.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Subscriptions {
    first: Option<Sub>,
    more: Option<Box<More>>,
}

/// The part that only a connection with more than one cursor has.
#[derive(Default)]
struct More {
    /// The cursors with keys from 1 on.
    subs: Slab<Sub>,
    /// The number of these cursors that are not announced yet.
    openings: usize,
    /// An index by task, which exists only if there are many cursors.
    index: Option<Index>,
    groups: Slab<GroupSub>,
    /// The keys of cursors that wait for the socket, in the order in which they are served. A key may have
    /// passed to another cursor in the meantime. That cursor then gets an unneeded visit.
    waiting: VecDeque<u32>,
    /// The jobs that remain to be done.
    jobs: Jobs,
    /// The number of cursors that were subscribed by name.
    explicit: usize,
    /// The charge for these cursors. The inline cursor is free.
    charge: Option<Charge>,
    /// The key of the cursor that comes first in the next heartbeat.
    heads_from: usize,
}

impl More {
    fn bytes(&self) -> u64 {
        CURSOR_BYTES * self.subs.len() as u64 + OPENING_BYTES * self.openings as u64
    }

    /// Charges for one more cursor, which is still to be announced.
    fn reserve(&mut self, account: impl FnOnce() -> Account) -> Result<(), OverLimit> {
        let bytes = self.bytes() + CURSOR_BYTES + OPENING_BYTES;
        match &mut self.charge {
            Some(charge) => charge.try_resize(bytes),
            None => {
                self.charge = Some(account().charge(Kind::Cursor, bytes)?);
                Ok(())
            }
        }
    }

    /// Charges for the cursors that are there.
    fn release(&mut self) {
        let bytes = self.bytes();
        if let Some(charge) = &mut self.charge {
            charge.resize(bytes);
        }
    }

    /// Makes room for one more cursor. The list grows by a quarter. If it doubled, up to half of it
    /// would be empty.
    fn make_room(&mut self) {
        let subs = &mut self.subs;
        if subs.len() == subs.capacity() {
            subs.reserve_exact((subs.len() / 4).max(1));
        }
    }
}

impl Subscriptions {
    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut Sub> {
        match key.checked_sub(1) {
            None => self.first.as_mut(),
            Some(key) => self.more.as_mut()?.subs.get_mut(key),
        }
    }

    pub(crate) fn get(&self, key: usize) -> Option<&Sub> {
        match key.checked_sub(1) {
            None => self.first.as_ref(),
            Some(key) => self.more.as_ref()?.subs.get(key),
        }
    }

    /// Returns the box, which the second cursor or the first group creates.
    fn more(&mut self) -> &mut More {
        let waits = self.first.as_ref().is_some_and(Sub::waits);
        self.more.get_or_insert_with(|| {
            let mut more = Box::new(More::default());
            more.waiting.extend(waits.then_some(0));
            more
        })
    }

    /// Charges for one more cursor, unless it is the inline one.
    ///
    /// # Errors
    /// Returns an error if the account, or all accounts together, hold as much as they may.
    pub(crate) fn reserve(&mut self, account: impl FnOnce() -> Account) -> Result<(), OverLimit> {
        if self.first.is_none() {
            return Ok(());
        }
        let reserved = self.more().reserve(account);
        if reserved.is_err() {
            self.shrink();
        }
        reserved
    }

    /// Returns a reservation that no cursor used.
    pub(crate) fn unreserve(&mut self) {
        if let Some(more) = &mut self.more {
            more.release();
        }
        self.shrink();
    }

    pub(crate) fn jobs_mut(&mut self) -> &mut Jobs {
        &mut self.more().jobs
    }

    /// Gives up the permit of a slice.
    pub(crate) fn give_up_slice(&mut self) {
        if let Some(more) = &mut self.more {
            more.jobs.pass();
        }
    }

    pub(crate) fn has_no_jobs(&self) -> bool {
        self.more.as_ref().is_none_or(|more| more.jobs.is_empty())
    }

    pub(crate) fn jobs(&self) -> Option<&Jobs> {
        Some(&self.more.as_ref()?.jobs)
    }

    /// Returns whether there may still be cursors that the client's token does not allow.
    pub(crate) fn is_narrowing(&self) -> bool {
        self.jobs().is_some_and(Jobs::narrows)
    }

    /// Returns some keys of cursors, starting with `from`, and the key to continue with.
    pub(crate) fn keys_from(&self, from: usize, most: usize) -> (Vec<usize>, Option<usize>) {
        let more = self.more.as_ref();
        let end = more.map_or(1, |more| more.subs.capacity() + 1);
        let next = from.saturating_add(most).min(end);
        let keys = (from..next).filter(|key| self.get(*key).is_some());
        (keys.collect(), (next < end).then_some(next))
    }

    pub(crate) fn vacant_key(&self) -> usize {
        match (&self.first, &self.more) {
            (None, _) => 0,
            (Some(_), None) => 1,
            (Some(_), Some(more)) => more.subs.vacant_key() + 1,
        }
    }

    pub(crate) fn insert(&mut self, sub: Sub) -> usize {
        let task_id = sub.source.task_id().cloned();
        let key = self.vacant_key();
        if key == 0 {
            self.first = Some(sub);
        } else {
            let more = self.more();
            more.explicit += usize::from(sub.explicit);
            more.openings += usize::from(sub.is_opening());
            more.make_room();
            more.subs.insert(sub);
        }
        let Some(more) = &mut self.more else {
            return key;
        };
        if let Some(mut index) = more.index.take() {
            if let Some(task_id) = task_id {
                index.insert(&task_id, key, |key| self.task_of(key));
            }
            self.more().index = Some(index);
        } else if more.subs.len() >= INDEX_FROM {
            let mut index = Index::default();
            for (key, sub) in self.iter() {
                if let Some(task_id) = sub.source.task_id() {
                    index.insert(task_id, key, |key| self.task_of(key));
                }
            }
            self.more().index = Some(index);
        }
        key
    }

    fn task_of(&self, key: usize) -> Option<&TaskId> {
        self.get(key)?.source.task_id()
    }

    /// Returns whether a cursor has been announced.
    pub(crate) fn is_open(&self, key: usize) -> bool {
        self.get(key).is_none_or(|sub| !sub.is_opening())
    }

    /// Takes the announcement of a cursor that is not announced yet.
    pub(crate) fn take_opening(&mut self, key: usize) -> Option<Box<Opening>> {
        let opening = self.get_mut(key)?.take_opening()?;
        if let Some(more) = self.more.as_mut().filter(|_| key > 0) {
            more.openings -= 1;
            more.release();
        }
        Some(opening)
    }

    pub(crate) fn remove(&mut self, key: usize) -> Option<Sub> {
        let sub = match key.checked_sub(1) {
            None => self.first.take()?,
            Some(key) => self.more.as_mut()?.subs.try_remove(key)?,
        };
        if let Some(more) = &mut self.more
            && let (Some(index), Some(task_id)) = (&mut more.index, sub.source.task_id())
        {
            index.remove(task_id, key);
        }
        if let Some(more) = &mut self.more {
            if key > 0 {
                more.explicit -= usize::from(sub.explicit);
                more.openings -= usize::from(sub.is_opening());
            }
            more.release();
        }
        self.shrink();
        Some(sub)
    }

    /// Drops the box if the connection has only the inline cursor.
    pub(crate) fn shrink(&mut self) {
        let needed =
            |more: &More| !more.subs.is_empty() || !more.groups.is_empty() || !more.jobs.is_empty();
        if !self.more.as_deref().is_some_and(needed) {
            self.more = None;
        }
    }

    pub(crate) fn find(&self, task_id: &TaskId) -> Option<usize> {
        let index = self.more.as_ref().and_then(|more| more.index.as_ref());
        match index {
            Some(index) => index.get(task_id, |key| self.task_of(key)),
            None => self
                .iter()
                .find(|(_, sub)| sub.source.task_id() == Some(task_id))
                .map(|(key, _)| key),
        }
    }

    /// Returns whether this cursor reads this very task, and not an older one with the same id.
    pub(crate) fn is_of(&self, key: usize, task: &Arc<Task>) -> bool {
        let sub = self.get(key);
        sub.is_some_and(|sub| Arc::ptr_eq(sub.source.topic(), task.topic()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Sub)> {
        let first = self.first.iter().map(|sub| (0, sub));
        let more = self.more.iter().flat_map(|more| more.subs.iter());
        first.chain(more.map(|(key, sub)| (key + 1, sub)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Sub)> {
        let first = self.first.iter_mut().map(|sub| (0, sub));
        let more = self.more.iter_mut().flat_map(|more| more.subs.iter_mut());
        first.chain(more.map(|(key, sub)| (key + 1, sub)))
    }

    /// Removes all cursors, groups and jobs, and returns them.
    pub(crate) fn drain(&mut self) -> Drained {
        let mut drained = Drained {
            subs: Vec::from_iter(self.first.take()),
            groups: Vec::new(),
            jobs: Jobs::default(),
        };
        if let Some(more) = self.more.take() {
            let More {
                subs, groups, jobs, ..
            } = *more;
            drained.subs.extend(subs.into_iter().map(|(_, sub)| sub));
            drained
                .groups
                .extend(groups.into_iter().map(|(_, known)| known));
            drained.jobs = jobs;
        }
        drained
    }

    /// Sets whether a cursor was subscribed by name. Returns the old value.
    pub(crate) fn set_explicit(&mut self, key: usize, explicit: bool) -> Option<bool> {
        let sub = self.get_mut(key)?;
        let before = std::mem::replace(&mut sub.explicit, explicit);
        if let Some(more) = self.more.as_mut().filter(|_| key > 0) {
            more.explicit += usize::from(explicit);
            more.explicit -= usize::from(before);
        }
        Some(before)
    }

    /// Adds a cursor to the queue of cursors that wait for the socket.
    pub(crate) fn enqueue(&mut self, key: usize) {
        let sub = self.get_mut(key);
        if sub.is_none_or(|sub| sub.set_waits(true)) {
            return;
        }
        if let Some(more) = &mut self.more {
            more.waiting.push_back(narrow(key));
        }
    }

    /// Returns whether a cursor waits.
    pub(crate) fn any_waiting(&self) -> bool {
        match &self.more {
            Some(more) => !more.waiting.is_empty(),
            None => self.first.as_ref().is_some_and(Sub::waits),
        }
    }

    /// Takes the cursor that has waited longest out of the queue.
    pub(crate) fn next_waiting(&mut self) -> Option<usize> {
        let Some(more) = &mut self.more else {
            let first = self.first.as_mut()?;
            return first.set_waits(false).then_some(0);
        };
        while let Some(key) = more.waiting.pop_front() {
            let key = key as usize;
            let sub = match key.checked_sub(1) {
                None => self.first.as_mut(),
                Some(key) => more.subs.get_mut(key),
            };
            if sub.is_some_and(|sub| sub.set_waits(false)) {
                return Some(key);
            }
        }
        // An idle connection keeps no list.
        more.waiting = VecDeque::new();
        None
    }

    /// Returns the number of tasks and groups subscribed by name.
    pub(crate) fn explicit(&self) -> usize {
        let more = self.more.as_ref().map_or(0, |more| {
            more.explicit + more.groups.len() + more.jobs.asked()
        });
        more + usize::from(self.first.as_ref().is_some_and(|sub| sub.explicit))
    }

    /// Returns whether the client has subscribed to this by name. A second subscription starts it
    /// anew, and does not count again.
    pub(crate) fn asked_for(&self, target: &Target) -> bool {
        match target {
            Target::Task(task_id) => {
                let known = self.find(task_id).and_then(|key| self.get(key));
                known.is_some_and(|sub| sub.explicit)
            }
            Target::Pattern(pattern) => self.has_group(&Group::Pattern(pattern.clone())),
            Target::Tree(root) => self.has_group(&Group::Tree(root.clone())),
        }
    }

    /// Returns the key of the cursor that comes first in the next heartbeat.
    pub(crate) fn heads_from(&self) -> usize {
        self.more.as_ref().map_or(0, |more| more.heads_from)
    }

    /// Sets the key of the cursor that comes first in the next heartbeat.
    pub(crate) fn set_heads_from(&mut self, key: usize) {
        if let Some(more) = &mut self.more {
            more.heads_from = key;
        }
    }

    pub(crate) fn add_group(&mut self, group: GroupSub) {
        self.more().groups.insert(group);
    }

    pub(crate) fn remove_group(&mut self, group: &Group) -> Option<GroupSub> {
        let more = self.more.as_mut()?;
        let (key, _) = more.groups.iter().find(|(_, known)| known.is(group))?;
        let removed = more.groups.remove(key);
        self.shrink();
        Some(removed)
    }

    /// Removes an ended group from the announcements that wait for the socket. A task that another
    /// group has as well is announced through that group.
    pub(crate) fn forget_group(&mut self, ended: &Group) {
        let waiting = |(key, sub): (usize, &Sub)| sub.is_opening().then_some(key);
        let keys: Vec<_> = self.iter().filter_map(waiting).collect();
        for key in keys {
            let Some(opening) = self.opening_mut(key) else {
                continue;
            };
            if let Group::Tree(root) = ended {
                opening.trees.retain(|tree| tree != root);
            }
            if !opening.is_through(ended) {
                continue;
            }
            let other = self.task_of(key).and_then(|task_id| self.matching(task_id));
            // If no other group has the task, its cursor is removed before the end is told.
            if let (Some(opening), Some(other)) = (self.opening_mut(key), other) {
                if let Group::Tree(root) = &other {
                    opening.trees.retain(|tree| tree != root);
                }
                opening.kind.set_group(other);
            }
        }
    }

    pub(crate) fn opening_mut(&mut self, key: usize) -> Option<&mut Opening> {
        self.get_mut(key)?.opening_mut()
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = &GroupSub> {
        let more = self.more.iter();
        more.flat_map(|more| more.groups.iter().map(|(_, group)| group))
    }

    /// Returns whether the task is the topmost one of a tree.
    pub(crate) fn is_topmost(&self, task_id: &TaskId) -> bool {
        self.groups().any(|known| known.root() == Some(task_id))
    }

    pub(crate) fn has_group(&self, group: &Group) -> bool {
        self.groups().any(|known| known.is(group))
    }

    /// Returns the trees and their keys.
    pub(crate) fn trees_mut(&mut self) -> impl Iterator<Item = (usize, &mut TreeSub)> {
        let more = self.more.iter_mut();
        let groups = more.flat_map(|more| more.groups.iter_mut());
        groups.filter_map(|(key, group)| match group {
            GroupSub::Tree(tree) => Some((key, tree)),
            GroupSub::Pattern { .. } => None,
        })
    }

    /// Returns a group that the task belongs to.
    pub(crate) fn matching(&self, task_id: &TaskId) -> Option<Group> {
        let mut groups = self.groups();
        Some(groups.find(|known| known.holds(task_id))?.group())
    }

    /// Returns the tree to name in a client's kept state: the tree that brought this task. Returns
    /// `None` if a pattern matches the task.
    pub(crate) fn tree_of(&self, task_id: &TaskId) -> Option<TaskId> {
        match self.matching(task_id) {
            Some(Group::Tree(root)) => Some(root),
            Some(Group::Pattern(_)) => None,
            None => self.jobs()?.tree_of(task_id).cloned(),
        }
    }
}
