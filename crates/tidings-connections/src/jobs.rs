//! Work on many subscriptions at once: to match a pattern, to let one go, to
//! take up what a client had, and to apply a token that allows less.
//!
//! Done by the connection's own task, a slice at a time. Between two slices
//! events go out, and others have their turn. No lock is held while tasks are
//! looked up. A slice waits until the socket has taken what the last one brought,
//! so a client that does not read makes the server hold next to nothing.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tidings_bus::OverLimit;
use tidings_bus::watch::{Start, Task};
use tidings_protocol::{
    ControlMessage, ErrorCode, Pattern, Reference, Target, TaskId, UnsubscribeReason,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

use crate::auth::Permission;
use crate::connection::Connection;
use crate::outbound::Outbound;
use crate::resume::{Kept, KeptSubscription};
use crate::subscriptions::{OpeningKind, PatternSub, Source, Sub};

/// What is left to do of one change.
pub(crate) enum Job {
    /// Takes up the cursors, and then the patterns, of a client that came back.
    Restore {
        subscriptions: Vec<KeptSubscription>,
        patterns: Vec<Pattern>,
    },
    /// Adds a cursor for each task that a pattern matches and that has none.
    Match {
        pattern: Pattern,
        /// The last task that was looked at.
        after: Option<TaskId>,
        /// Where cursors start, on tasks that the client asked for. Without it the
        /// tasks have appeared.
        start: Option<Start>,
        /// The request to confirm first; none once that is done.
        asked: Option<Asked>,
    },
    /// Takes cursors away that only this pattern wanted, and says that it is over.
    Unmatch {
        pattern: Pattern,
        /// The next key to look at.
        from: usize,
        reference: Option<Reference>,
        reason: UnsubscribeReason,
        /// Whether the pattern is off the list.
        begun: bool,
    },
    /// Takes cursors away that a new token does not allow.
    Narrow {
        /// The next key to look at.
        from: usize,
    },
}

/// A request to subscribe, by its reference if it has one.
pub(crate) struct Asked(pub(crate) Option<Reference>);

/// The jobs of one connection, in order.
#[derive(Default)]
pub(crate) struct Jobs {
    queue: VecDeque<Job>,
    /// Counts jobs that were begun, to tell whether the first one is still the same.
    begun: u32,
    /// What the next slice waits for; none while it is not paid for.
    next: Option<Next>,
}

/// A slice that is paid for.
enum Next {
    /// The client has caused too much work for the moment.
    Paused(Pin<Box<Sleep>>),
    /// Slices of others come first.
    Queued(Pin<Box<dyn Future<Output = Option<Turn>> + Send>>),
}

/// The turn of one slice. The next one has its turn when this is dropped.
pub(crate) type Turn = OwnedSemaphorePermit;

impl Jobs {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn push(&mut self, job: Job) {
        self.queue.push_back(job);
    }

    fn pop(&mut self) {
        self.queue.pop_front();
        self.begun = self.begun.wrapping_add(1);
    }

    /// Lets the turn go that a slice has or waits for: a connection that cannot use
    /// it must not keep it from others.
    pub(crate) fn pass(&mut self) {
        self.next = None;
    }

    /// Patterns that are asked for and not on the list yet.
    pub(crate) fn asked(&self) -> usize {
        let asked = |job: &&Job| matches!(job, Job::Match { asked: Some(_), .. });
        self.queue.iter().filter(asked).count()
    }

    /// Whether cursors are there that the client's token does not allow.
    pub(crate) fn narrows(&self) -> bool {
        let mut jobs = self.queue.iter();
        jobs.any(|job| matches!(job, Job::Narrow { .. }))
    }

    /// Adds what has yet to be taken up to what is kept of a client.
    pub(crate) fn add_to(&self, kept: &mut Kept) {
        for job in &self.queue {
            if let Job::Restore {
                subscriptions,
                patterns,
            } = job
            {
                kept.subscriptions.extend(subscriptions.iter().cloned());
                kept.patterns.extend(patterns.iter().cloned());
            }
        }
    }

    /// The same, when the connection is over.
    pub(crate) fn move_to(self, kept: &mut Kept) {
        for job in self.queue {
            if let Job::Restore {
                subscriptions,
                patterns,
            } = job
            {
                kept.subscriptions.extend(subscriptions);
                kept.patterns.extend(patterns);
            }
        }
    }
}

/// A task that a client comes back to, if there is room for it.
type Found = (Result<Arc<Task>, OverLimit>, KeptSubscription);

/// The next slice of the first job, as far as it needs no lock.
enum Slice {
    Restore(Vec<KeptSubscription>),
    Confirm(Pattern),
    Match(Pattern, Option<TaskId>),
    Locked,
}

impl Connection {
    /// Adds a job, and does its first slice at once.
    pub(crate) fn begin(self: &Arc<Self>, job: Job) {
        let turn = {
            let mut out = self.lock();
            if !out.is_open() {
                return;
            }
            out.subs.jobs_mut().push(job);
            out.wake();
            if out.subs.jobs_mut().next.is_some() {
                // The slice of another job comes first.
                return;
            }
            let wait = self.pay_for_slice(&out);
            if !wait.is_zero() {
                let after = Box::pin(tokio::time::sleep(wait));
                out.subs.jobs_mut().next = Some(Next::Paused(after));
                return;
            }
            let Ok(turn) = Arc::clone(&self.manager().slices).try_acquire_owned() else {
                out.subs.jobs_mut().next = Some(self.queue_for_slice());
                return;
            };
            turn
        };
        self.run_slice();
        drop(turn);
    }

    fn queue_for_slice(&self) -> Next {
        let turn = Arc::clone(&self.manager().slices).acquire_owned();
        Next::Queued(Box::pin(async {
            let turn = turn.await.ok();
            // A busy runtime looks at sockets after 61 tasks only: after 61 slices,
            // if they follow one another. It looks at them before this goes on.
            tokio::task::yield_now().await;
            turn
        }))
    }

    /// Charges a whole slice to the client before it is done, so that those who wait
    /// for their turn have it one after the other. Returns how long to wait.
    fn pay_for_slice(&self, out: &Outbound) -> Duration {
        let who = out.access.who(self.remote_addr());
        let most = self.manager().config.slice;
        self.manager().limiter.reserve_work(who.as_ref(), most)
    }

    /// Gives back what a slice of so many units was paid for and did not cost.
    fn settle_slice(&self, out: &Outbound, units: usize) {
        let who = out.access.who(self.remote_addr());
        let spared = self.manager().config.slice.saturating_sub(units.max(1));
        self.manager().limiter.spare_work(who.as_ref(), spared);
    }

    /// Returns the turn of a slice that may be done now; else the task is woken when
    /// it may.
    pub(crate) fn poll_jobs(&self, out: &mut Outbound, cx: &mut Context<'_>) -> Option<Turn> {
        if out.subs.has_no_jobs() || !out.is_open() {
            out.subs.pass_turn();
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
                Some(Next::Queued(turn)) => match turn.as_mut().poll(cx) {
                    Poll::Ready(turn) => {
                        out.subs.jobs_mut().next = None;
                        return turn;
                    }
                    Poll::Pending => return None,
                },
            };
            out.subs.jobs_mut().next = Some(next);
        }
    }

    /// Does one slice of the first job. Takes the connection's lock by itself.
    pub(crate) fn run_slice(&self) {
        let most = self.manager().config.slice;
        let (begun, slice) = {
            let mut out = self.lock();
            if out.subs.has_no_jobs() || !out.is_open() {
                return;
            }
            let jobs = out.subs.jobs_mut();
            let slice = match jobs.queue.front() {
                None => return,
                Some(Job::Restore { subscriptions, .. }) => {
                    let from = subscriptions.len().saturating_sub(most);
                    Slice::Restore(subscriptions[from..].to_vec())
                }
                Some(Job::Match {
                    pattern,
                    asked: Some(_),
                    ..
                }) => Slice::Confirm(pattern.clone()),
                Some(Job::Match { pattern, after, .. }) => {
                    Slice::Match(pattern.clone(), after.clone())
                }
                Some(Job::Unmatch { .. } | Job::Narrow { .. }) => Slice::Locked,
            };
            (jobs.begun, slice)
        };
        let bus = &self.manager().bus;
        match slice {
            Slice::Restore(some) => {
                // Makes tasks, of which others hear: no lock may be held.
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
            Slice::Confirm(pattern) => {
                let mut out = self.lock();
                if out.subs.jobs_mut().begun == begun && out.is_open() {
                    self.confirm(&mut out, &pattern);
                }
                drop(out);
                // The first tasks come with it.
                return self.run_slice();
            }
            Slice::Match(pattern, after) => {
                let tasks = bus.tasks_matching(&pattern, after.as_ref(), most);
                let mut out = self.lock();
                if out.subs.jobs_mut().begun == begun && out.is_open() {
                    self.match_slice(&mut out, &pattern, &tasks, tasks.len() < most);
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
        self.settle_slice(out, tasks.len());
        for (task, known) in tasks.into_iter().rev() {
            let Some(Job::Restore {
                subscriptions,
                patterns,
            }) = out.subs.jobs_mut().queue.front_mut()
            else {
                return;
            };
            // The last of them: that is where the slice was cut off.
            subscriptions.pop();
            let mut patterns = patterns.iter();
            let pattern = patterns
                .find(|pattern| !known.explicit && pattern.matches(&known.task_id))
                .cloned();
            // A new token may allow less than the one before, and a pattern may have
            // been let go without all of its cursors.
            let wanted = known.explicit || pattern.is_some();
            if !wanted || !out.access.allows(Permission::Watch, &known.task_id) {
                continue;
            }
            if out.subs.find(&known.task_id).is_some() {
                continue;
            }
            let kind = if known.appeared {
                OpeningKind::Appeared { pattern }
            } else {
                OpeningKind::Subscribed {
                    reference: None,
                    pattern,
                }
            };
            let (start, explicit) = (known.start.clone(), known.explicit);
            let added =
                task.and_then(|task| self.add(out, Source::Task(task), start, kind, explicit));
            match added {
                Ok(Some(_)) => {}
                Ok(None) => {
                    // The task has just been forgotten: once more, with a new one.
                    if let Some(Job::Restore { subscriptions, .. }) =
                        out.subs.jobs_mut().queue.front_mut()
                    {
                        subscriptions.push(known);
                    }
                    return;
                }
                Err(over) => {
                    self.refuse_subscription(out, &Target::Task(known.task_id), None, &over);
                }
            }
        }
        let jobs = out.subs.jobs_mut();
        if let Some(Job::Restore {
            subscriptions,
            patterns,
        }) = jobs.queue.front_mut()
            && subscriptions.is_empty()
        {
            let patterns = std::mem::take(patterns);
            jobs.pop();
            for pattern in patterns {
                self.attach_pattern(out, &pattern);
                out.subs.jobs_mut().push(Job::Match {
                    pattern,
                    after: None,
                    start: None,
                    asked: None,
                });
            }
        }
    }

    /// Confirms a pattern and attaches it, unless it is there already.
    fn confirm(&self, out: &mut Outbound, pattern: &Pattern) {
        let jobs = out.subs.jobs_mut();
        let Some(Job::Match { asked, .. }) = jobs.queue.front_mut() else {
            return;
        };
        let Some(Asked(reference)) = asked.take() else {
            return;
        };
        let message = ControlMessage::subscribed_pattern(reference, pattern.clone());
        let mut bytes = Vec::new();
        self.encode(&message, &mut bytes);
        self.write_control(out, &bytes);
        if out.subs.patterns().any(|known| known.pattern == *pattern) {
            out.subs.jobs_mut().pop();
        } else {
            self.attach_pattern(out, pattern);
        }
    }

    fn match_slice(
        &self,
        out: &mut Outbound,
        pattern: &Pattern,
        tasks: &[Arc<Task>],
        is_last: bool,
    ) {
        self.settle_slice(out, tasks.len());
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
            // Found without a lock: another of its id may be there by now, of which
            // we hear, or have heard, by ourselves.
            let current = self.manager().bus.task(task.id());
            if !current.is_some_and(|current| Arc::ptr_eq(&current, task)) {
                continue;
            }
            if !out.drop_older(task) {
                continue;
            }
            let added = match &start {
                Some(start) if task.is_declared() => {
                    let kind = OpeningKind::Subscribed {
                        reference: None,
                        pattern: Some(pattern.clone()),
                    };
                    let source = Source::Task(Arc::clone(task));
                    self.add(out, source, start.clone(), kind, false)
                }
                _ => self.add_new(out, task),
            };
            if let Err(over) = added {
                out.subs.jobs_mut().pop();
                self.end_pattern(out, pattern.clone(), &over);
                return;
            }
        }
        if is_last {
            out.subs.jobs_mut().pop();
        }
    }

    /// Ends a pattern for which there is no room, and says so.
    pub(crate) fn end_pattern(&self, out: &mut Outbound, pattern: Pattern, over: &OverLimit) {
        self.refuse_subscription(out, &Target::Pattern(pattern.clone()), None, over);
        self.end_without_request(out, pattern);
    }

    /// Ends a pattern that nobody has asked to end.
    pub(crate) fn end_without_request(&self, out: &mut Outbound, pattern: Pattern) {
        if !self.detach_pattern(out, &pattern) {
            return;
        }
        out.subs.jobs_mut().push(Job::Unmatch {
            pattern,
            from: 0,
            reference: None,
            reason: UnsubscribeReason::Forbidden,
            begun: true,
        });
        out.wake();
    }

    fn detach_pattern(&self, out: &mut Outbound, pattern: &Pattern) -> bool {
        let Some(removed) = out.subs.remove_pattern(pattern) else {
            return false;
        };
        self.manager().bus.unwatch_pattern(removed.id);
        true
    }

    /// Says that there is no room for a subscription, and what would help.
    pub(crate) fn refuse_subscription(
        &self,
        out: &mut Outbound,
        target: &Target,
        reference: Option<Reference>,
        over: &OverLimit,
    ) {
        let code = ErrorCode::TooManySubscriptions;
        self.manager().counters.error(code);
        let text = format!("there is no room for the subscription to {target}: {over}");
        let mut bytes = Vec::new();
        self.encode(&ControlMessage::error(reference, code, text), &mut bytes);
        self.write_control(out, &bytes);
    }

    /// Attaches a pattern: from here on the connection hears of tasks that appear.
    pub(crate) fn attach_pattern(&self, out: &mut Outbound, pattern: &Pattern) {
        let Some(watcher) = self.pattern_watcher() else {
            return;
        };
        let id = self.manager().bus.attach_pattern(pattern, watcher, 0);
        out.subs.add_pattern(PatternSub {
            pattern: pattern.clone(),
            id,
        });
        self.changed();
    }

    /// Looks at some cursors, and takes those away that are not wanted.
    fn locked_slice(&self, out: &mut Outbound, most: usize) {
        let (narrows, from) = match out.subs.jobs_mut().queue.front_mut() {
            Some(Job::Narrow { from }) => (true, *from),
            Some(Job::Unmatch {
                pattern,
                from,
                begun,
                reference,
                ..
            }) => {
                if !std::mem::replace(begun, true) {
                    let (pattern, reference) = (pattern.clone(), reference.clone());
                    if !self.detach_pattern(out, &pattern) {
                        out.subs.jobs_mut().pop();
                        self.say_not_subscribed(out, reference, &pattern);
                        return;
                    }
                    (false, 0)
                } else {
                    (false, *from)
                }
            }
            _ => return,
        };
        let (keys, next) = out.subs.keys_from(from, most);
        self.settle_slice(out, keys.len());
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
                    pattern,
                    reference,
                    reason,
                    ..
                }) = jobs.queue.pop_front()
                {
                    let target = Target::Pattern(pattern);
                    let done = ControlMessage::unsubscribed(reference, target, reason);
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

impl Connection {
    fn say_not_subscribed(
        &self,
        out: &mut Outbound,
        reference: Option<Reference>,
        pattern: &Pattern,
    ) {
        let code = ErrorCode::NotSubscribed;
        self.manager().counters.error(code);
        let text = format!("this connection is not subscribed to {pattern}");
        let mut bytes = Vec::new();
        self.encode(&ControlMessage::error(reference, code, text), &mut bytes);
        self.write_control(out, &bytes);
    }
}
