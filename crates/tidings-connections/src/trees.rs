//! Subscriptions to trees: a task, and all tasks below it.
//!
//! For each known task of a tree, the bus tells the connection about the task's children. A task
//! that the client may not watch is known too, because a task below it may be allowed. The client
//! receives nothing about such a task.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::stream::{self, StreamExt as _};
use tidings_bus::watch::{Start, Task};
use tidings_bus::{
    Account, Charge, ChildWatchId, ChildWatcher, EventBus, Hold, Kind, OverLimit, StoreError,
};
use tidings_protocol::{ControlMessage, ErrorCode, TaskId, UnsubscribeReason};

use crate::auth::{Access, Permission};
use crate::connection::Connection;
use crate::group::Group;
use crate::jobs::Job;
use crate::opening::OpeningKind;
use crate::outbound::Outbound;
use crate::session::chain;
use crate::subscription::{Source, Sub};

/// The bytes that are charged for a task of a tree, beside its cursor.
const MEMBER_BYTES: u64 = 256;

/// The number of tasks that are fetched from a shared store at the same time.
const FETCHES: usize = 32;

/// A subscription to a tree.
pub(crate) struct TreeSub {
    root: TaskId,
    /// The known tasks of the tree, and the watches of their children.
    members: HashMap<TaskId, ChildWatchId>,
    charge: Option<Charge>,
}

impl TreeSub {
    pub(crate) fn new(root: TaskId) -> Self {
        Self {
            root,
            members: HashMap::new(),
            charge: None,
        }
    }

    pub(crate) fn root(&self) -> &TaskId {
        &self.root
    }

    /// Returns whether the task belongs to the tree.
    pub(crate) fn holds(&self, task_id: &TaskId) -> bool {
        self.members.contains_key(task_id) || self.root == *task_id
    }

    /// Ends all watches of children.
    pub(crate) fn detach(self, bus: &EventBus) {
        for watch in self.members.values() {
            bus.unwatch_children(watch);
        }
    }

    fn charge(&mut self, members: usize, account: &Account) -> Result<(), OverLimit> {
        let bytes = MEMBER_BYTES * members as u64;
        match &mut self.charge {
            Some(charge) => charge.try_resize(bytes),
            None => {
                self.charge = Some(account.charge(Kind::Pattern, bytes)?);
                Ok(())
            }
        }
    }

    /// Removes a task that was deleted. If the task comes back below a task of the tree, the bus
    /// reports it again.
    fn leave(&mut self, task_id: &TaskId, bus: &EventBus) {
        // The bus does not report the topmost task, so it stays.
        if *task_id == self.root {
            return;
        }
        if let Some(watch) = self.members.remove(task_id) {
            bus.unwatch_children(&watch);
            if let Some(charge) = &mut self.charge {
                charge.resize(MEMBER_BYTES * self.members.len() as u64);
            }
        }
    }
}

/// The next page of a walk, which is being fetched from the store.
type Fetch = Pin<Box<dyn Future<Output = Result<Page, StoreError>> + Send>>;

/// The tasks of a tree that are still to be visited. It is empty for a pattern.
#[derive(Default)]
pub(crate) struct Walk {
    /// The tasks whose children are still to be fetched, each with the last child that was found.
    stack: Vec<(TaskId, Option<TaskId>)>,
    /// The tasks that were found but not visited yet.
    found: Option<Vec<TaskId>>,
    /// The tasks that were restored for a client that has reconnected. Their children are fetched,
    /// wherever the tasks lie now.
    restored: HashSet<TaskId>,
    /// The next tasks, which are being fetched from the store.
    page: Option<Fetch>,
}

/// The next tasks of a walk, and the tasks that are still to be visited after them.
struct Page {
    stack: Vec<(TaskId, Option<TaskId>)>,
    found: Vec<TaskId>,
}

impl Walk {
    /// Creates a walk that starts at the top of a tree.
    pub(crate) fn of(group: &Group) -> Self {
        match group {
            Group::Pattern(_) => Self::default(),
            Group::Tree(root) => Self {
                found: Some(vec![root.clone()]),
                ..Self::default()
            },
        }
    }

    /// Creates a walk for a client that has reconnected and knows these tasks of the tree.
    fn resumed(root: &TaskId, mut restored: HashSet<TaskId>) -> Self {
        restored.remove(root);
        Self {
            stack: restored.iter().map(|task| (task.clone(), None)).collect(),
            found: Some(vec![root.clone()]),
            restored,
            page: None,
        }
    }

    /// Takes the found tasks out of the walk.
    pub(crate) fn take(&mut self) -> Option<Vec<TaskId>> {
        self.found.take()
    }

    fn is_over(&self) -> bool {
        self.stack.is_empty() && self.found.is_none() && self.page.is_none()
    }
}

/// Fetches the children of tasks, until `most` children were found or `most` tasks were asked.
///
/// Leaves out the topmost task: two nodes can each accept one half of a circle at the same moment,
/// and a task has one parent, so every circle leads back to the topmost task.
async fn page(
    bus: EventBus,
    access: Access,
    root: TaskId,
    mut stack: Vec<(TaskId, Option<TaskId>)>,
    most: usize,
) -> Result<Page, StoreError> {
    let mut found = Vec::new();
    for _ in 0..most {
        let left = most - found.len();
        if left == 0 {
            break;
        }
        let Some((parent, after)) = stack.pop() else {
            break;
        };
        let children = bus.children(&parent, "", after.as_ref(), left).await?;
        if children.len() == left {
            stack.push((parent, children.last().cloned()));
        }
        found.extend(children.into_iter().filter(|child| *child != root));
    }
    if bus.is_shared() {
        let mut allowed = found.clone();
        allowed.retain(|task_id| access.allows(Permission::Watch, task_id));
        let mut fetches = stream::iter(allowed)
            .map(|task_id| {
                let bus = bus.clone();
                async move { bus.fetch(&task_id, None).await }
            })
            .buffer_unordered(FETCHES);
        while let Some(fetched) = fetches.next().await {
            fetched?;
        }
    }
    Ok(Page { stack, found })
}

/// A task of a tree. `None` if the client may not watch it.
pub(crate) type Member = (TaskId, Option<Result<Arc<Task>, OverLimit>>);

impl Connection {
    /// Fetches the next tasks of a tree, if its walk is the first job. Returns `false` while they
    /// are being fetched.
    pub(crate) fn poll_walk(&self, out: &mut Outbound, cx: &mut Context<'_>) -> bool {
        let access = out.access.clone();
        let Some(Job::Match {
            group: Group::Tree(root),
            walk,
            asked: None,
            ..
        }) = out.subs.jobs_mut().first_mut()
        else {
            return true;
        };
        if walk.found.is_some() || walk.stack.is_empty() && walk.page.is_none() {
            return true;
        }
        let pages = walk.page.get_or_insert_with(|| {
            let stack = std::mem::take(&mut walk.stack);
            let bus = self.manager().bus.clone();
            let slice = self.manager().config.slice;
            Box::pin(page(bus, access, root.clone(), stack, slice))
        });
        let Poll::Ready(next) = pages.as_mut().poll(cx) else {
            return false;
        };
        walk.page = None;
        match next {
            Ok(next) => {
                walk.stack.extend(next.stack);
                walk.found = Some(next.found);
            }
            Err(error) => {
                let group = Group::Tree(root.clone());
                self.fail_walk(out, group, &error);
            }
        }
        true
    }

    fn fail_walk(&self, out: &mut Outbound, group: Group, error: &StoreError) {
        let code = ErrorCode::Unavailable;
        let text = format!("the tree {group} cannot be read: {}", chain(error));
        out.subs.jobs_mut().pop();
        self.say_error(out, None, code, text);
        self.end_without_request(out, group, UnsubscribeReason::Removed);
    }

    /// Returns the tasks that the client may watch. Creates each task that the bus does not have in
    /// memory.
    ///
    /// Leaves out a task that was removed after the walk has found it.
    pub(crate) fn tasks_of(&self, root: &TaskId, found: Vec<TaskId>) -> Vec<Member> {
        let access = self.access();
        let account = self.account(&access);
        let bus = &self.manager().bus;
        let is_there =
            |task_id: &TaskId| task_id == root || bus.names_parent(task_id) != Some(false);
        let task = |task_id: TaskId| {
            let allowed = access.allows(Permission::Watch, &task_id);
            let task = allowed.then(|| bus.task_for(&account, &task_id));
            (task_id, task)
        };
        found.into_iter().filter(is_there).map(task).collect()
    }

    /// Adds the tasks that a walk has found to the tree.
    pub(crate) fn tree_slice(&self, out: &mut Outbound, root: &TaskId, tasks: Vec<Member>) {
        self.refund_slice(out, tasks.len());
        let start = match out.subs.jobs_mut().first_mut() {
            Some(Job::Match { start, .. }) => start.clone(),
            _ => return,
        };
        if !out.subs.has_group(&Group::Tree(root.clone())) {
            // The subscription to the tree has ended in the meantime.
            out.subs.jobs_mut().pop();
            return;
        }
        let mut entered = Vec::new();
        for (task_id, task) in tasks {
            let taken = task.transpose().and_then(|task| {
                let Some(task) = task else {
                    return self.enter(out, root, &task_id);
                };
                let is_first = self.drop_older(out, &task);
                let is_new = self.enter(out, root, &task_id)?;
                if !is_first {
                    if is_new {
                        self.announce(out, root, task_id.clone());
                    }
                    return Ok(is_new);
                }
                let group = Some(Group::Tree(root.clone()));
                let (start, kind) = match &start {
                    Some(start) if task.is_declared() || task_id == *root => {
                        let reference = None;
                        (start.clone(), OpeningKind::Subscribed { reference, group })
                    }
                    _ => (Start::Retained, OpeningKind::Appeared { group }),
                };
                self.add_member(out, task, start, kind)?;
                Ok(is_new)
            });
            match taken {
                Ok(is_new) => entered.push((task_id, is_new)),
                Err(over) => {
                    out.subs.jobs_mut().pop();
                    self.end_group(out, Group::Tree(root.clone()), &over);
                    return;
                }
            }
        }
        if let Some(Job::Match { walk, .. }) = out.subs.jobs_mut().first_mut() {
            // The children of a task are fetched only after it was entered. The bus reports a child
            // that appears in between.
            // The walk of a client that has reconnected fetches those of restored tasks anyway.
            for (task_id, is_new) in entered {
                if is_new || !walk.restored.contains(&task_id) {
                    walk.stack.push((task_id, None));
                }
            }
            if walk.is_over() {
                out.subs.jobs_mut().pop();
            }
        }
    }

    /// Adds a task to the tree, and watches its children from here on. Returns whether the task is
    /// new to the tree.
    ///
    /// # Errors
    /// Returns an error if the client already holds as much as it may.
    fn enter(
        &self,
        out: &mut Outbound,
        root: &TaskId,
        task_id: &TaskId,
    ) -> Result<bool, OverLimit> {
        let Some(watcher) = self.child_watcher() else {
            return Ok(false);
        };
        let account = self.account(&out.access);
        let mut trees = out.subs.trees_mut();
        let Some((key, tree)) = trees.find(|(_, tree)| tree.root == *root) else {
            return Ok(false);
        };
        if tree.members.contains_key(task_id) {
            return Ok(false);
        }
        tree.charge(tree.members.len() + 1, &account)?;
        let watch = self.manager().bus.watch_children(task_id, watcher, key);
        tree.members.insert(task_id.clone(), watch);
        Ok(true)
    }

    /// Adds the restored tasks of a client that has reconnected to their tree. The cursors of the
    /// tasks have announced the tree. Returns the job that walks through the tree, or `None` if
    /// there is no room.
    pub(crate) fn restore_tree(
        &self,
        out: &mut Outbound,
        root: &TaskId,
        mut tasks: HashSet<TaskId>,
    ) -> Option<Job> {
        // A task may have been removed since, or the client may have subscribed to it by name. The
        // walk announces such a task if it belongs to the tree.
        tasks.retain(|task_id| {
            let sub = out.subs.find(task_id).and_then(|key| out.subs.get_mut(key));
            sub.is_some_and(|sub| !sub.explicit)
        });
        let group = Group::Tree(root.clone());
        for task_id in &tasks {
            if let Err(over) = self.enter(out, root, task_id) {
                self.end_group(out, group, &over);
                return None;
            }
        }
        Some(Job::unasked(group, Walk::resumed(root, tasks)))
    }

    /// Removes a deleted task from all trees.
    pub(crate) fn leave_trees(&self, out: &mut Outbound, task_id: &TaskId) {
        for (_, tree) in out.subs.trees_mut() {
            tree.leave(task_id, &self.manager().bus);
        }
    }

    /// Adds a cursor on a task of a tree.
    fn add_member(
        &self,
        out: &mut Outbound,
        task: Arc<Task>,
        start: Start,
        kind: OpeningKind,
    ) -> Result<(), OverLimit> {
        let task_id = task.id().clone();
        if self
            .add(out, Source::Task(task), start, kind, false)?
            .is_none()
        {
            // The task was removed in the meantime.
            self.leave_trees(out, &task_id);
        }
        Ok(())
    }

    /// Adds a new child to a tree.
    fn grow(&self, out: &mut Outbound, root: &TaskId, child: &Arc<Task>) -> Result<(), OverLimit> {
        let allowed = out.access.allows(Permission::Watch, child.id());
        let is_first = allowed && self.drop_older(out, child);
        let is_new = self.enter(out, root, child.id())?;
        if is_first {
            let group = Some(Group::Tree(root.clone()));
            let kind = OpeningKind::Appeared { group };
            self.add_member(out, Arc::clone(child), Start::Retained, kind)?;
        } else if allowed && is_new {
            self.announce(out, root, child.id().clone());
        }
        if is_new {
            self.walk_below(out, root, child.id());
        }
        Ok(())
    }

    /// Completes the announcement of a task that is about to be written. The bus may not have told
    /// the connection yet that the task is a new child in a tree. If the announcement says it, the
    /// client knows it before the task's first event.
    pub(crate) fn complete(&self, out: &mut Outbound, key: usize) {
        if out.subs.is_open(key) || out.subs.trees_mut().next().is_none() {
            return;
        }
        let Some(Source::Task(task)) = out.subs.get_mut(key).map(|sub| sub.source.clone()) else {
            return;
        };
        let Some(parent) = task.snapshot().parent_task_id.clone() else {
            return;
        };
        let trees = out.subs.trees_mut();
        let has_parent = trees.filter(|(_, tree)| tree.holds(&parent));
        let roots: Vec<_> = has_parent.map(|(_, tree)| tree.root.clone()).collect();
        for root in roots {
            // If there is no room, the tree ends when the bus tells the connection of the child.
            if let Ok(true) = self.enter(out, &root, task.id()) {
                if let Some(opening) = out.subs.opening_mut(key) {
                    opening.add_tree(&root);
                }
                self.walk_below(out, &root, task.id());
                out.wake();
            }
        }
    }

    /// Tells the client that a task that it already watches belongs to a tree. If the task itself
    /// is still to be announced, the client learns this directly after.
    fn announce(&self, out: &mut Outbound, root: &TaskId, task_id: TaskId) {
        let key = out.subs.find(&task_id);
        let sub = key.and_then(|key| out.subs.get_mut(key));
        if let Some(opening) = sub.and_then(Sub::opening_mut) {
            opening.add_tree(root);
            return;
        }
        let message = ControlMessage::subscribed_member(root.clone(), task_id);
        let mut bytes = Vec::new();
        self.encode(&message, &mut bytes);
        self.write_control(out, &bytes);
    }

    /// Walks over the tasks below a new task of a tree. Most new tasks have no children.
    fn walk_below(&self, out: &mut Outbound, root: &TaskId, task_id: &TaskId) {
        if self.manager().bus.has_children(task_id) != Some(false) {
            self.walk_from(out, root, task_id);
        }
    }

    /// Starts a walk over a task that is about to enter a tree, and over all tasks below it.
    fn walk_from(&self, out: &mut Outbound, root: &TaskId, task_id: &TaskId) {
        if let Some(Job::Match {
            group: Group::Tree(known),
            walk,
            start: None,
            ..
        }) = out.subs.jobs_mut().last_mut()
            && known == root
            && walk.restored.is_empty()
        {
            walk.found.get_or_insert_default().push(task_id.clone());
            return;
        }
        let walk = Walk {
            found: Some(vec![task_id.clone()]),
            ..Walk::default()
        };
        let group = Group::Tree(root.clone());
        out.subs.jobs_mut().push(Job::unasked(group, walk));
    }
}

impl ChildWatcher for Connection {
    fn child_appeared(&self, key: usize, child: &Arc<Task>) {
        let parent = child.snapshot().parent_task_id.clone();
        let mut out = self.lock();
        if !out.is_open() {
            return;
        }
        let mut trees = out.subs.trees_mut();
        // The key may have passed to another tree since the bus copied it.
        let tree = trees.find(|(known, tree)| {
            *known == key && parent.as_ref().is_some_and(|parent| tree.holds(parent))
        });
        let Some(root) = tree.map(|(_, tree)| tree.root.clone()) else {
            return;
        };
        drop(trees);
        if let Err(over) = self.grow(&mut out, &root, child) {
            self.end_group(&mut out, Group::Tree(root), &over);
        }
        out.wake();
    }

    fn parent_removed(&self, key: usize, parent: &TaskId) {
        // The task may have come back by now.
        let now = self.manager().bus.task(parent);
        let above = now.and_then(|task| task.snapshot().parent_task_id.clone());
        let mut out = self.lock();
        if out.subs.find(parent).is_some() {
            // The cursor on the task notices the removal, and tells the client.
            return;
        }
        let mut trees = out.subs.trees_mut();
        if let Some((_, tree)) = trees.find(|(known, _)| *known == key)
            && !above.is_some_and(|above| tree.holds(&above))
        {
            tree.leave(parent, &self.manager().bus);
        }
    }
}

/// Records whether a task is the topmost one of a tree. Its cursor then stays when the task is
/// removed, because nothing else reports that the task has come back.
pub(crate) fn set_topmost(out: &mut Outbound, root: &TaskId, topmost: bool) {
    let Some(key) = out.subs.find(root) else {
        return;
    };
    let Some(sub) = out.subs.get_mut(key) else {
        return;
    };
    sub.topmost = topmost;
    let hold = if sub.stays() {
        Hold::Keeps
    } else {
        Hold::Follows
    };
    sub.source.topic().set_hold(sub.attached, hold);
}
