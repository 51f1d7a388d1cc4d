//! Fan-out: the workers visit the watchers of topics that have moved, a slice at a time.
//!
//! A publish only marks its topic and puts it into a queue. A fan-out worker takes the topic
//! and calls [`Watcher::advance`] on each watcher in turn. One tokio task serves all watchers,
//! so there is no wake-up per watcher. After every [`SLICE`] turns the worker yields, so that
//! publishers can run, and then reads the head again. Later watchers of the same walk therefore
//! get the new events too. Batches grow in proportion to the load (measured in
//! `docs/decisions/004-passes.md`).

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidings_protocol::TaskId;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::deliver::topic::{Advance, AttachId, Queue, Topic, Watcher};
use crate::deliver::walk::{Claim, Next};
use crate::lock::{Guard, Lock, place};
use crate::log::View;
use crate::stats::Counters;
use crate::tasks::registry::{Appeared, Tasks};
use crate::tasks::task::Task;
use crate::tasks::trees::watchers::ChildWatchers;
use crate::timing::Timing;

/// Watchers visited between two yields. A smaller slice yields more often than publishers need.
/// A larger one makes the batches of later watchers smaller. 32 was the best value.
const SLICE: usize = 32;

/// The work of a worker.
enum Work {
    Moved(Moved),
    /// A task has appeared, and patterns may match it.
    Appeared(Appeared),
    /// A task has named its parent, and the parent has a watcher.
    Born(TaskId, Arc<Task>),
    /// A task was removed, and its children have a watcher.
    Removed(TaskId),
}

/// A topic that has moved, in the queue.
struct Moved {
    topic: Arc<Topic>,
    /// When the publish began that is followed until every watcher was visited after it.
    since: Option<Instant>,
}

/// The queue of topics that have moved.
#[derive(Default)]
pub(crate) struct Fanout {
    queue: Lock<VecDeque<Work>, place::Leaf>,
    ready: Notify,
    /// The number of tasks that have appeared and that some matching patterns do not know yet.
    appearing: AtomicUsize,
    /// Notified when there are no such tasks.
    all_heard: Notify,
}

impl Queue for Fanout {
    fn moved(&self, topic: Arc<Topic>, since: Instant) {
        let since = Some(since);
        self.push_back(Work::Moved(Moved { topic, since }));
    }
}

impl Fanout {
    /// Announces a task that has appeared to the patterns.
    pub(crate) fn appeared(&self, appeared: Appeared) {
        self.appearing.fetch_add(1, Ordering::SeqCst);
        self.push_back(Work::Appeared(appeared));
    }

    /// Announces a child to the watchers of its parent.
    pub(crate) fn born(&self, parent: TaskId, child: Arc<Task>) {
        self.push_back(Work::Born(parent, child));
    }

    /// Announces the removal of a task to the watchers of its children.
    pub(crate) fn removed(&self, parent: TaskId) {
        self.push_back(Work::Removed(parent));
    }

    /// Waits until every task that has appeared was announced to the patterns.
    pub(crate) async fn all_heard(&self) {
        loop {
            let heard = self.all_heard.notified();
            if self.appearing.load(Ordering::SeqCst) == 0 {
                return;
            }
            heard.await;
        }
    }

    fn push_back(&self, work: Work) {
        self.lock().push_back(work);
        self.ready.notify_one();
    }

    fn lock(&self) -> Guard<'_, VecDeque<Work>, place::Leaf> {
        self.queue.lock()
    }

    /// Runs one worker. Several may run. They share a topic that is [wide](super::walk).
    pub(crate) async fn run(
        self: Arc<Self>,
        (tasks, children): (Arc<Tasks>, Arc<ChildWatchers>),
        counters: Arc<Counters>,
        stop: CancellationToken,
    ) {
        let mut slice = Slice::default();
        let mut turns = 0;
        loop {
            let (work, more) = {
                let mut queue = self.lock();
                (queue.pop_front(), !queue.is_empty())
            };
            if more {
                // Notifications coalesce, so wake another worker that sleeps.
                self.ready.notify_one();
            }
            let Some(work) = work else {
                tokio::select! {
                    biased;
                    () = self.ready.notified() => continue,
                    () = stop.cancelled() => return,
                }
            };
            match work {
                Work::Moved(moved) => {
                    let delivery = &counters.timings().delivery;
                    turns += self.visit(&mut slice, moved, SLICE - turns, delivery);
                }
                Work::Born(parent, child) => {
                    turns += 1;
                    for (watcher, key) in children.of(&parent) {
                        turns += 1;
                        guarded(|| watcher.child_appeared(key, &child));
                    }
                    // Events that were published in the meantime have woken no subscriber.
                    child.topic().announce();
                }
                Work::Removed(parent) => {
                    turns += 1;
                    for (watcher, key) in children.of(&parent) {
                        turns += 1;
                        guarded(|| watcher.parent_removed(key, &parent));
                    }
                }
                Work::Appeared(mut appeared) => {
                    turns += tell(&tasks, &mut appeared, SLICE - turns);
                    if appeared.is_over() {
                        // Events that were published in the meantime have woken no subscriber.
                        appeared.task.topic().announce();
                        if self.appearing.fetch_sub(1, Ordering::SeqCst) == 1 {
                            self.all_heard.notify_waiters();
                        }
                    } else {
                        self.push_back(Work::Appeared(appeared));
                    }
                }
            }
            if turns >= SLICE {
                turns = 0;
                tokio::task::yield_now().await;
                if stop.is_cancelled() {
                    return;
                }
            }
        }
    }

    /// Visits up to `limit` watchers of a topic. Returns the number of turns that this took.
    fn visit(&self, slice: &mut Slice, mut moved: Moved, limit: usize, delivery: &Timing) -> usize {
        let claim = slice.claim(&moved.topic, limit, &mut moved.since);
        if claim.as_ref().is_ok_and(|claim| claim.queue) {
            let topic = Arc::clone(&moved.topic);
            self.push_back(Work::Moved(Moved { topic, since: None }));
        }
        let turns = slice.entries.len().max(1);
        slice.visit(&moved.topic);
        if moved.topic.release(claim, &mut moved.since, delivery) {
            // Behind the others, because topics take turns too.
            self.push_back(Work::Moved(moved));
        }
        turns
    }
}

/// Announces a task that has appeared to up to `limit` patterns. Returns their number.
fn tell(tasks: &Tasks, appeared: &mut Appeared, limit: usize) -> usize {
    let interested = tasks.interested(appeared, limit);
    let turns = interested.len().max(1);
    for (watcher, key) in interested {
        guarded(|| watcher.discovered(key, &appeared.task));
    }
    turns
}

/// Calls a watcher's code. Returns `None` if it panicked. A worker that ended with the panic
/// would leave its topic queued for ever, and the topic's watchers would get no more events.
fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(call));
    if result.is_err() {
        tracing::error!("a watcher panicked; it gets nothing more of this task");
    }
    result.ok()
}

/// A worker's buffers, which it reuses for each slice.
#[derive(Default)]
struct Slice {
    entries: Vec<(usize, usize, Arc<dyn Watcher>)>,
    view: View,
}

impl Slice {
    /// Copies the next watchers of the walk, so that the worker calls none of them under the
    /// lock.
    fn claim(
        &mut self,
        topic: &Topic,
        limit: usize,
        since: &mut Option<Instant>,
    ) -> Result<Claim, Next> {
        let watchers = &mut *topic.lock_watchers();
        let entries = &watchers.entries;
        let claim = watchers.walk.claim(&topic.signal, limit, |slot| {
            let entry = entries.get(slot);
            let copied = entry.map(|entry| (slot, entry.key(), Arc::clone(&entry.watcher)));
            self.entries.extend(copied);
            entry.is_some()
        });
        if claim.as_ref().is_ok_and(|claim| claim.begun) {
            watchers.walk.since(since).get_or_insert_with(Instant::now);
        }
        claim
    }

    /// Visits the watchers of a claim.
    fn visit(&mut self, topic: &Arc<Topic>) {
        if self.entries.is_empty() {
            return;
        }
        topic.fill(&mut self.view, topic.settled.load(Ordering::Relaxed) + 1);
        for (slot, key, watcher) in self.entries.drain(..) {
            let view = &mut self.view;
            match guarded(|| watcher.advance(key, topic, view)) {
                Some(Advance::Done) => {}
                Some(Advance::Gone) => topic.forget(slot, &watcher),
                None => {
                    topic.forget(slot, &watcher);
                    // The panic may have left the view half filled.
                    topic.fill(&mut self.view, topic.settled.load(Ordering::Relaxed) + 1);
                }
            }
        }
        // An idle worker must not keep old chunks alive.
        self.view.clear();
    }
}

impl Topic {
    /// Ends a claim. Returns whether the topic goes into the queue again.
    fn release(
        &self,
        claim: Result<Claim, Next>,
        since: &mut Option<Instant>,
        delivery: &Timing,
    ) -> bool {
        let next = claim.map_or_else(
            |next| next,
            |claim| {
                let mut watchers = self.lock_watchers();
                let (next, all_seen) = watchers.walk.release(claim, &self.signal);
                if all_seen && let Some(since) = watchers.walk.since(since).take() {
                    delivery.note(since.elapsed());
                }
                if watchers.entries.is_empty() {
                    watchers.walk.clear();
                }
                next
            },
        );
        match next {
            Next::Queue => true,
            Next::Others => false,
            Next::Over => {
                if !self.signal.has_moved() {
                    self.settled.store(self.head(), Ordering::Relaxed);
                }
                self.signal.leave()
            }
        }
    }

    /// Removes a watcher that has ended, unless its slot has a new watcher.
    fn forget(&self, slot: usize, watcher: &Arc<dyn Watcher>) {
        let id = self
            .lock_watchers()
            .entries
            .get(slot)
            .filter(|entry| Arc::ptr_eq(&entry.watcher, watcher))
            .map(|entry| AttachId::new(slot, entry.serial));
        if let Some(id) = id {
            self.detach(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tidings_protocol::Epoch;

    use super::*;
    use crate::deliver::topic::Hold;
    use crate::log::Log;

    #[derive(Default)]
    struct Visits(AtomicUsize);

    impl Watcher for Visits {
        fn advance(&self, _: usize, _: &Arc<Topic>, _: &mut View) -> Advance {
            self.0.fetch_add(1, Ordering::Relaxed);
            Advance::Done
        }
    }

    struct Panics;

    impl Watcher for Panics {
        fn advance(&self, _: usize, _: &Arc<Topic>, _: &mut View) -> Advance {
            panic!("as it was told to")
        }
    }

    /// Visits up to `limit` watchers. Returns whether the topic goes into the queue again.
    fn visit(slice: &mut Slice, topic: &Arc<Topic>, limit: usize) -> bool {
        let claim = slice.claim(topic, limit, &mut None);
        slice.visit(topic);
        topic.release(claim, &mut None, &Timing::default())
    }

    #[test]
    fn a_watcher_that_panics_is_detached_and_the_others_are_visited() {
        let log = Log::new(None, Epoch::new("e").expect("an epoch"));
        let topic = Topic::new(log, Arc::<Fanout>::default());
        let (before, after) = (Arc::new(Visits::default()), Arc::new(Visits::default()));
        for watcher in [
            Arc::clone(&before) as Arc<dyn Watcher>,
            Arc::new(Panics),
            after.clone(),
        ] {
            topic
                .attach(watcher, 0, Hold::Keeps)
                .expect("a topic that is open");
        }
        let mut slice = Slice::default();
        for visits in 1..=2 {
            let _ = topic.signal.raise();
            let again = visit(&mut slice, &topic, usize::MAX);
            assert!(!again, "the topic leaves the queue");
            let visits_of = |watcher: &Arc<Visits>| watcher.0.load(Ordering::Relaxed);
            assert_eq!((visits_of(&before), visits_of(&after)), (visits, visits));
        }
        assert_eq!(topic.watcher_count(), 2);
    }

    #[test]
    fn what_is_published_during_a_walk_brings_the_topic_back() {
        let log = Log::new(None, Epoch::new("e").expect("an epoch"));
        let fanout = Arc::<Fanout>::default();
        let topic = Topic::new(log, Arc::clone(&fanout));
        let watcher = Arc::new(Visits::default());
        let attached = topic.attach(Arc::clone(&watcher) as _, 0, Hold::Keeps);
        attached.expect("a topic that is open");
        topic.announce();
        let mut slice = Slice::default();
        let claim = slice.claim(&topic, usize::MAX, &mut None);
        slice.visit(&topic);
        // The publisher sees that the topic is queued, and leaves the rest to the pass.
        topic.announce();
        assert_eq!(fanout.lock().len(), 1, "queued once");
        let again = topic.release(claim, &mut None, &Timing::default());
        assert!(again, "the topic stays in the queue");
        assert!(!visit(&mut slice, &topic, usize::MAX));
        assert_eq!(watcher.0.load(Ordering::Relaxed), 2);
        assert!(topic.signal.raise(), "the topic is not queued");
    }

    #[test]
    fn who_comes_during_a_walk_takes_nobodys_visit() {
        const THERE: usize = 8;
        let log = Log::new(None, Epoch::new("e").expect("an epoch"));
        let topic = Topic::new(log, Arc::<Fanout>::default());
        let attach = || {
            let watcher = Arc::new(Visits::default());
            let attached = topic.attach(Arc::clone(&watcher) as _, 0, Hold::Keeps);
            attached.expect("a topic that is open");
            watcher
        };
        let there: Vec<_> = (0..THERE).map(|_| attach()).collect();
        let mut slice = Slice::default();
        // Each walk begins one slot further, and reaches the watcher after as many visits.
        for walk in 0..THERE {
            let visits = |watcher: &Arc<Visits>| watcher.0.load(Ordering::Relaxed);
            let before: Vec<_> = there.iter().map(visits).collect();
            let _ = topic.signal.raise();
            let again = (0..=walk).all(|_| visit(&mut slice, &topic, 1));
            for _ in 0..walk {
                attach();
            }
            if again {
                while visit(&mut slice, &topic, 1) {}
            }
            let after: Vec<_> = there.iter().map(visits).collect();
            let left_out = before.iter().zip(&after).position(|(a, b)| a == b);
            assert_eq!(left_out, None, "walk {walk}: {before:?}, then {after:?}");
        }
    }
}
