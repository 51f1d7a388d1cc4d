//! Jobs: changes of many subscriptions at once. A job matches a pattern, walks a tree, ends a
//! group, restores the state of a client, or applies a token that allows less.
//!
//! The connection's own task does a job in slices. Between two slices events are delivered, and
//! other connections run their slices. No lock is held while tasks are looked up. A slice waits
//! until the socket has accepted the messages of the slice before it. A client that does not read
//! therefore makes the server hold next to nothing.

use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tidings_bus::OverLimit;
use tidings_bus::watch::{Start, Task};
use tidings_protocol::{ControlMessage, Pattern, Reference, Target, TaskId, UnsubscribeReason};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

use crate::auth::Permission;
use crate::connection::Connection;
use crate::group::Group;
use crate::opening::OpeningKind;
use crate::outbound::Outbound;
use crate::resume::{Kept, KeptSubscription};
use crate::subscription::{Source, Sub};
use crate::trees::Walk;

/// The rest of one change of subscriptions.
pub(crate) enum Job {
    /// Restores the cursors, and then the groups, of a client that has reconnected.
    Restore {
        subscriptions: Vec<KeptSubscription>,
        groups: Vec<Group>,
        /// For each tree: the restored tasks that the tree has brought. They enter the tree when it
        /// is attached.
        brought: HashMap<TaskId, HashSet<TaskId>>,
    },
    /// Adds a cursor for each task that belongs to a group and has no cursor yet.
    Match {
        group: Group,
        /// For a pattern: the last task that was visited.
        after: Option<TaskId>,
        /// For a tree: the tasks that are still to be visited.
        walk: Walk,
        /// Where cursors start on tasks that the client asked for. `None` means that the tasks have
        /// appeared without a request.
        start: Option<Start>,
        /// The request that must be confirmed first. `None` after the confirmation.
        asked: Option<Asked>,
    },
    /// Removes the cursors that only this group needed. Then tells the client that the group has
    /// ended.
    Unmatch {
        group: Group,
        /// The next key to visit.
        from: usize,
        reference: Option<Reference>,
        reason: UnsubscribeReason,
        /// `true` if the group has already been removed from the list of groups.
        begun: bool,
    },
    /// Removes the cursors that a new token does not allow.
    Narrow {
        /// The next key to visit.
        from: usize,
    },
}

impl Job {
    /// Creates the job that restores the state of a client that has reconnected.
    pub(crate) fn restore(subscriptions: Vec<KeptSubscription>, groups: Vec<Group>) -> Self {
        Self::Restore {
            subscriptions,
            groups,
            brought: HashMap::new(),
        }
    }

    /// Creates the job that subscribes to a group at the request of a client.
    pub(crate) fn asked_match(group: Group, start: Start, reference: Option<Reference>) -> Self {
        Self::Match {
            walk: Walk::of(&group),
            group,
            after: None,
            start: Some(start),
            asked: Some(Asked(reference)),
        }
    }

    /// Creates the job that visits all tasks of a group to which the connection is already
    /// subscribed.
    pub(crate) fn again(group: Group) -> Self {
        let walk = Walk::of(&group);
        Self::unasked(group, walk)
    }

    /// Creates the job that visits tasks of a group without a request of the client.
    pub(crate) fn unasked(group: Group, walk: Walk) -> Self {
        Self::Match {
            group,
            after: None,
            walk,
            start: None,
            asked: None,
        }
    }
}

/// A request to subscribe, with its reference if it has one.
pub(crate) struct Asked(pub(crate) Option<Reference>);

/// The jobs of one connection, in order.
#[derive(Default)]
pub(crate) struct Jobs {
    queue: VecDeque<Job>,
    /// The number of jobs that have begun. It shows whether the first job is still the same one.
    begun: u32,
    /// The state in which the next slice waits. `None` until the slice is paid for.
    next: Option<Next>,
}

/// The wait of a slice that is paid for.
enum Next {
    /// The client has caused too much work, so the slice pauses.
    Paused(Pin<Box<Sleep>>),
    /// The slice waits behind the slices of other connections.
    Queued(Pin<Box<dyn Future<Output = Option<SlicePermit>> + Send>>),
}

/// The permission to run one slice. Dropping it lets the next slice run.
pub(crate) type SlicePermit = OwnedSemaphorePermit;

impl Jobs {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn push(&mut self, job: Job) {
        self.queue.push_back(job);
    }

    /// Adds jobs before all other jobs.
    fn push_first(&mut self, jobs: Vec<Job>) {
        for job in jobs.into_iter().rev() {
            self.queue.push_front(job);
        }
    }

    /// Returns the job of the next slice.
    pub(crate) fn first_mut(&mut self) -> Option<&mut Job> {
        self.queue.front_mut()
    }

    /// Returns the job that was added last.
    pub(crate) fn last_mut(&mut self) -> Option<&mut Job> {
        self.queue.back_mut()
    }

    /// Ends the first job.
    pub(crate) fn pop(&mut self) {
        self.queue.pop_front();
        self.begun = self.begun.wrapping_add(1);
    }

    /// Gives up the permit that a slice has or waits for, so that a connection that cannot use the
    /// permit does not block others.
    pub(crate) fn pass(&mut self) {
        self.next = None;
    }

    /// Returns the number of groups that are requested but not in the list of groups yet.
    pub(crate) fn asked(&self) -> usize {
        let asked = |job: &&Job| matches!(job, Job::Match { asked: Some(_), .. });
        self.queue.iter().filter(asked).count()
    }

    /// Returns whether there are cursors that the client's token does not allow.
    pub(crate) fn narrows(&self) -> bool {
        let mut jobs = self.queue.iter();
        jobs.any(|job| matches!(job, Job::Narrow { .. }))
    }

    /// Returns the tree that has brought a restored task, until the tree is attached.
    pub(crate) fn tree_of(&self, task_id: &TaskId) -> Option<&TaskId> {
        let Some(Job::Restore { brought, .. }) = self.queue.front() else {
            return None;
        };
        let mut trees = brought.iter();
        Some(trees.find(|(_, tasks)| tasks.contains(task_id))?.0)
    }

    /// Adds the cursors and groups that are not restored yet to a client's kept state.
    pub(crate) fn add_to(&self, kept: &mut Kept) {
        for job in &self.queue {
            if let Job::Restore {
                subscriptions,
                groups,
                ..
            } = job
            {
                kept.subscriptions.extend(subscriptions.iter().cloned());
                kept.groups.extend(groups.iter().cloned());
            }
        }
    }

    /// Like [`add_to`](Self::add_to), but consumes the jobs, for a connection that has ended.
    pub(crate) fn move_to(self, kept: &mut Kept) {
        for job in self.queue {
            if let Job::Restore {
                subscriptions,
                groups,
                ..
            } = job
            {
                kept.subscriptions.extend(subscriptions);
                kept.groups.extend(groups);
            }
        }
    }
}

/// A task to which a client returns, or an error if there is no room for the task.
type Found = (Result<Arc<Task>, OverLimit>, KeptSubscription);

/// The data of the next slice of the first job that can be collected without a lock.
enum Slice {
    Restore(Vec<KeptSubscription>),
    Confirm(Group),
    Match(Pattern, Option<TaskId>),
    Tree(TaskId, Vec<TaskId>),
    Locked,
}

impl Connection {
    /// Adds a job. Runs its first slice at once if no other slice comes first and the client need
    /// not wait.
    pub(crate) fn begin(self: &Arc<Self>, job: Job) {
        let permit = {
            let mut out = self.lock();
            if !out.is_open() {
                return;
            }
            out.subs.jobs_mut().push(job);
            out.wake();
            if out.subs.jobs_mut().next.is_some() {
                // The slices of an earlier job come first.
                return;
            }
            let wait = self.pay_for_slice(&out);
            if !wait.is_zero() {
                let after = Box::pin(tokio::time::sleep(wait));
                out.subs.jobs_mut().next = Some(Next::Paused(after));
                return;
            }
            let Ok(permit) = Arc::clone(&self.manager().slices).try_acquire_owned() else {
                out.subs.jobs_mut().next = Some(self.queue_for_slice());
                return;
            };
            permit
        };
        self.run_slice();
        drop(permit);
    }

    fn queue_for_slice(&self) -> Next {
        let permit = Arc::clone(&self.manager().slices).acquire_owned();
        Next::Queued(Box::pin(async {
            let permit = permit.await.ok();
            // A busy runtime polls its sockets only after 61 tasks, which may all be slices.
            // Yielding here lets it poll the sockets first.
            tokio::task::yield_now().await;
            permit
        }))
    }

    /// Charges a whole slice to the client before it runs, so that the slices of waiting
    /// connections run one after the other. Returns how long to wait.
    fn pay_for_slice(&self, out: &Outbound) -> Duration {
        let who = out.access.who(self.remote_addr());
        let most = self.manager().config.slice;
        self.manager().limiter.reserve_work(who.as_ref(), most)
    }

    /// Refunds the difference between a whole slice and the units that the slice really cost.
    pub(crate) fn refund_slice(&self, out: &Outbound, units: usize) {
        let who = out.access.who(self.remote_addr());
        let spared = self.manager().config.slice.saturating_sub(units.max(1));
        self.manager().limiter.spare_work(who.as_ref(), spared);
    }

    /// Returns a permit if a slice may run now. Otherwise it registers the task to be woken when a
    /// slice may run.
    pub(crate) fn poll_jobs(
        &self,
        out: &mut Outbound,
        cx: &mut Context<'_>,
    ) -> Option<SlicePermit> {
        if out.subs.has_no_jobs() || !out.is_open() {
            out.subs.give_up_slice();
            return None;
        }
        if !self.poll_walk(out, cx) {
            return None;
        }
        loop {
            let next = match &mut out.subs.jobs_mut().next {
                None => match self.pay_for_slice(out) {
                    Duration::ZERO => self.queue_for_slice(),
                    wait => Next::Paused(Box::pin(tokio::time::sleep(wait))),
                },
                Some(Next::Paused(pause)) => match pause.as_mut().poll(cx) {
                    Poll::Ready(()) => self.queue_for_slice(),
                    Poll::Pending => return None,
                },
                Some(Next::Queued(permit)) => match permit.as_mut().poll(cx) {
                    Poll::Ready(permit) => {
                        out.subs.jobs_mut().next = None;
                        return permit;
                    }
                    Poll::Pending => return None,
                },
            };
            out.subs.jobs_mut().next = Some(next);
        }
    }

    /// Runs one slice of the first job. Locks the connection itself, so the caller must not hold
    /// the lock.
    pub(crate) fn run_slice(&self) {
        let most = self.manager().config.slice;
        let (begun, slice) = {
            let mut out = self.lock();
            if out.subs.has_no_jobs() || !out.is_open() {
                return;
            }
            let jobs = out.subs.jobs_mut();
            let slice = match jobs.queue.front_mut() {
                None => return,
                Some(Job::Restore { subscriptions, .. }) => {
                    let from = subscriptions.len().saturating_sub(most);
                    Slice::Restore(subscriptions[from..].to_vec())
                }
                Some(Job::Match {
                    group,
                    asked: Some(_),
                    ..
                }) => Slice::Confirm(group.clone()),
                Some(Job::Match {
                    group, after, walk, ..
                }) => match group {
                    Group::Pattern(pattern) => Slice::Match(pattern.clone(), after.clone()),
                    Group::Tree(root) => match walk.take() {
                        Some(found) => Slice::Tree(root.clone(), found),
                        // The next tasks are being fetched. The next slice will have them.
                        None => return,
                    },
                },
                Some(Job::Unmatch { .. } | Job::Narrow { .. }) => Slice::Locked,
            };
            (jobs.begun, slice)
        };
        let bus = &self.manager().bus;
        match slice {
            Slice::Restore(some) => {
                // Creates tasks, and watchers are notified of new tasks, so no lock may be held
                // here.
                let account = self.account(&self.access());
                let tasks: Vec<_> = some
                    .into_iter()
                    .map(|kept| (bus.task_for(&account, &kept.task_id), kept))
                    .collect();
                let mut out = self.lock();
                if out.subs.jobs_mut().begun == begun && out.is_open() {
                    self.restore_slice(&mut out, tasks);
                }
            }
            Slice::Confirm(group) => {
                let mut out = self.lock();
                if out.subs.jobs_mut().begun == begun && out.is_open() {
                    self.confirm(&mut out, &group);
                }
                drop(out);
                // The confirmation and the first tasks belong to the same slice.
                return self.run_slice();
            }
            Slice::Match(pattern, after) => {
                let tasks = bus.tasks_matching(&pattern, after.as_ref(), most);
                let mut out = self.lock();
                if out.subs.jobs_mut().begun == begun && out.is_open() {
                    self.match_slice(&mut out, &pattern, &tasks, tasks.len() < most);
                }
            }
            Slice::Tree(root, found) => {
                // Creates tasks, and watchers are notified of new tasks, so no lock may be held
                // here.
                let tasks = self.tasks_of(&root, found);
                let mut out = self.lock();
                if out.subs.jobs_mut().begun == begun && out.is_open() {
                    self.tree_slice(&mut out, &root, tasks);
                }
            }
            Slice::Locked => {
                let mut out = self.lock();
                if out.subs.jobs_mut().begun == begun && out.is_open() {
                    self.locked_slice(&mut out, most);
                }
            }
        }
        self.lock().subs.shrink();
    }

    fn restore_slice(&self, out: &mut Outbound, tasks: Vec<Found>) {
        self.refund_slice(out, tasks.len());
        for (task, known) in tasks.into_iter().rev() {
            let Some(Job::Restore {
                subscriptions,
                groups,
                ..
            }) = out.subs.jobs_mut().queue.front_mut()
            else {
                return;
            };
            // The slice was cut off at the end of the list, so its tasks are removed from the end.
            subscriptions.pop();
            let brought = |group: &&Group| match group {
                Group::Pattern(pattern) => pattern.matches(&known.task_id),
                Group::Tree(root) => known.tree.as_ref() == Some(root),
            };
            let mut groups = groups.iter().filter(|_| !known.explicit);
            let group = groups.find(brought).cloned();
            // A new token may allow less than the one before. A group may also have ended when some
            // of its cursors were still there.
            let wanted = known.explicit || group.is_some();
            if !wanted || !out.access.allows(Permission::Watch, &known.task_id) {
                continue;
            }
            if out.subs.find(&known.task_id).is_some() {
                continue;
            }
            let tree = match &group {
                Some(Group::Tree(root)) => Some(root.clone()),
                _ => None,
            };
            let kind = if known.appeared {
                OpeningKind::Appeared { group }
            } else {
                OpeningKind::Subscribed {
                    reference: None,
                    group,
                }
            };
            let (start, explicit) = (known.start.clone(), known.explicit);
            let added =
                task.and_then(|task| self.add(out, Source::Task(task), start, kind, explicit));
            match added {
                Ok(Some(_)) => {
                    if let Some(root) = tree
                        && let Some(Job::Restore { brought, .. }) =
                            out.subs.jobs_mut().queue.front_mut()
                    {
                        brought.entry(root).or_default().insert(known.task_id);
                    }
                }
                Ok(None) => {
                    // The task has just been removed from memory. Put it back, so that the next
                    // slice fetches it again.
                    if let Some(Job::Restore { subscriptions, .. }) =
                        out.subs.jobs_mut().queue.front_mut()
                    {
                        subscriptions.push(known);
                    }
                    return;
                }
                Err(over) => {
                    self.say_no_room(out, &Target::Task(known.task_id), &over);
                }
            }
        }
        let jobs = out.subs.jobs_mut();
        if let Some(Job::Restore {
            subscriptions,
            groups,
            brought,
        }) = jobs.queue.front_mut()
            && subscriptions.is_empty()
        {
            let (groups, mut brought) = (std::mem::take(groups), std::mem::take(brought));
            jobs.pop();
            let mut walks = Vec::new();
            for group in groups {
                self.attach_group(out, &group);
                match &group {
                    Group::Pattern(_) => walks.push(Job::again(group)),
                    Group::Tree(root) => {
                        let tasks = brought.remove(root).unwrap_or_default();
                        walks.extend(self.restore_tree(out, root, tasks));
                    }
                }
            }
            // The end of a group spares the tasks of the other groups, so these must be known.
            out.subs.jobs_mut().push_first(walks);
        }
    }

    /// Confirms a group and attaches it, unless it is there already.
    fn confirm(&self, out: &mut Outbound, group: &Group) {
        let jobs = out.subs.jobs_mut();
        let Some(Job::Match { asked, .. }) = jobs.queue.front_mut() else {
            return;
        };
        let Some(Asked(reference)) = asked.take() else {
            return;
        };
        let message = ControlMessage::subscribed_to(reference, group.clone().into());
        let mut bytes = Vec::new();
        self.encode(&message, &mut bytes);
        self.write_control(out, &bytes);
        if out.subs.has_group(group) {
            out.subs.jobs_mut().pop();
        } else {
            self.attach_group(out, group);
        }
    }

    fn match_slice(
        &self,
        out: &mut Outbound,
        pattern: &Pattern,
        tasks: &[Arc<Task>],
        is_last: bool,
    ) {
        self.refund_slice(out, tasks.len());
        if !out.subs.has_group(&Group::Pattern(pattern.clone())) {
            // The subscription to the pattern has ended in the meantime.
            out.subs.jobs_mut().pop();
            return;
        }
        let start = match out.subs.jobs_mut().queue.front_mut() {
            Some(Job::Match { after, start, .. }) => {
                *after = tasks.last().map(|task| task.id().clone());
                start.clone()
            }
            _ => return,
        };
        for task in tasks {
            if !out.access.allows(Permission::Watch, task.id()) {
                continue;
            }
            // The task was found without a lock, so another task may have its id by now. The
            // pattern's watcher reports that task separately.
            let current = self.manager().bus.task(task.id());
            if !current.is_some_and(|current| Arc::ptr_eq(&current, task)) {
                continue;
            }
            if !self.drop_older(out, task) {
                continue;
            }
            let added = match &start {
                Some(start) if task.is_declared() => {
                    let kind = OpeningKind::Subscribed {
                        reference: None,
                        group: Some(Group::Pattern(pattern.clone())),
                    };
                    let source = Source::Task(Arc::clone(task));
                    self.add(out, source, start.clone(), kind, false)
                }
                _ => self.add_new(out, task),
            };
            if let Err(over) = added {
                out.subs.jobs_mut().pop();
                self.end_group(out, Group::Pattern(pattern.clone()), &over);
                return;
            }
        }
        if is_last {
            out.subs.jobs_mut().pop();
        }
    }

    /// Visits some cursors, and removes cursors that are no longer needed.
    fn locked_slice(&self, out: &mut Outbound, most: usize) {
        let (narrows, from) = match out.subs.jobs_mut().queue.front_mut() {
            Some(Job::Narrow { from }) => (true, *from),
            Some(Job::Unmatch {
                group,
                from,
                begun,
                reference,
                ..
            }) => {
                if !std::mem::replace(begun, true) {
                    let (group, reference) = (group.clone(), reference.clone());
                    if !self.detach_group(out, &group) {
                        self.refund_slice(out, 0);
                        out.subs.jobs_mut().pop();
                        return self.refuse_unsubscription(out, reference, &group);
                    }
                    (false, 0)
                } else {
                    (false, *from)
                }
            }
            _ => return,
        };
        let (keys, next) = out.subs.keys_from(from, most);
        self.refund_slice(out, keys.len());
        let mut gone = Vec::new();
        for key in keys {
            let Some(sub) = out.subs.get_mut(key) else {
                continue;
            };
            let Some(task_id) = sub.source.task_id().cloned() else {
                continue;
            };
            let unwanted = if narrows {
                !out.access.allows(Permission::Watch, &task_id)
            } else {
                !sub.explicit && out.subs.matching(&task_id).is_none()
            };
            if unwanted {
                gone.extend(out.remove_sub(key));
            } else if narrows {
                // Another token may have allowed the task again, after events were held back.
                out.enqueue(key);
                out.wake();
            }
        }
        let mut bytes = Vec::new();
        for Sub {
            source, attached, ..
        } in gone
        {
            if let Source::Task(task) = source {
                self.manager().bus.detach(&task, attached);
                if narrows {
                    let target = Target::Task(task.id().clone());
                    let reason = UnsubscribeReason::Forbidden;
                    let gone = ControlMessage::unsubscribed(None, target, reason);
                    self.encode(&gone, &mut bytes);
                }
            }
        }
        let jobs = out.subs.jobs_mut();
        match (next, jobs.queue.front_mut()) {
            (Some(next), Some(Job::Narrow { from } | Job::Unmatch { from, .. })) => *from = next,
            (_, Some(Job::Unmatch { .. })) => {
                if let Some(Job::Unmatch {
                    group,
                    reference,
                    reason,
                    ..
                }) = jobs.queue.pop_front()
                {
                    let done = ControlMessage::unsubscribed(reference, group, reason);
                    self.encode(&done, &mut bytes);
                }
                out.subs.jobs_mut().begun = out.subs.jobs_mut().begun.wrapping_add(1);
                self.changed();
            }
            _ => jobs.pop(),
        }
        if !bytes.is_empty() {
            self.write_control(out, &bytes);
        }
    }
}
