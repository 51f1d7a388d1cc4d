//! Fan-out: topics that have moved are walked, a slice of watchers at a time.
//!
//! Publishing only marks its topic and puts it into a queue. A fan-out worker
//! takes the topic and calls [`Watcher::advance`] on each watcher in turn, one
//! task for all of them: no wake-up per watcher. After every
//! [`SLICE`] turns it yields, so that publishers get in, and then looks at the
//! head anew: later watchers of the same walk carry the new events along, and
//! batches form by themselves in proportion to the load (measured in
//! `docs/architecture.md`).

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::deliver::topic::{Advance, AttachId, Topic, Watcher};
use crate::log::View;
use crate::stats::Counters;
use crate::tasks::registry::{Appeared, Tasks};
use crate::timing::Timing;

/// Watchers visited between two yields. Fewer yield more often than publishers
/// need; more make the batches of later watchers smaller. 32 was the knee.
const SLICE: usize = 32;

/// What a worker takes up.
enum Work {
    Moved(Moved),
    /// A task has appeared, and patterns may want it.
    Appeared(Appeared),
}

/// A topic that has moved.
struct Moved {
    topic: Arc<Topic>,
    probe: Option<Probe>,
}

/// Follows one publish at a time until every watcher was visited after it.
struct Probe {
    since: Instant,
    /// Slots yet to be visited; none before the walk begins.
    left: Option<usize>,
}

/// What one slice did.
struct Walked {
    /// Watchers visited, at least one.
    turns: usize,
    /// Slots gone by, empty ones included.
    steps: usize,
    /// The walk began anew, over so many slots.
    anew: Option<usize>,
}

impl Moved {
    fn follow(&mut self, walked: &Walked, delivery: &Timing) {
        if let Some(slots) = walked.anew {
            let probe = self.probe.get_or_insert_with(|| Probe {
                since: Instant::now(),
                left: None,
            });
            probe.left.get_or_insert(slots);
        }
        if let Some(Probe {
            since,
            left: Some(left),
        }) = &mut self.probe
        {
            *left = left.saturating_sub(walked.steps);
            if *left == 0 {
                delivery.note(since.elapsed());
                self.probe = None;
            }
        }
    }
}

/// The queue of topics that have moved.
#[derive(Default)]
pub(crate) struct Fanout {
    queue: Mutex<VecDeque<Work>>,
    ready: Notify,
    /// Tasks that have appeared and whose patterns have yet to hear of them.
    appearing: AtomicUsize,
    /// Told when there are none.
    all_heard: Notify,
}

impl Fanout {
    /// Takes up a topic that moved at `since`.
    pub(crate) fn push(&self, topic: Arc<Topic>, since: Instant) {
        let probe = Some(Probe { since, left: None });
        self.push_back(Work::Moved(Moved { topic, probe }));
    }

    /// Has the patterns hear of a task that has appeared.
    pub(crate) fn appeared(&self, appeared: Appeared) {
        self.appearing.fetch_add(1, Ordering::SeqCst);
        self.push_back(Work::Appeared(appeared));
    }

    /// Waits until the patterns have heard of every task that has appeared.
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

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Work>> {
        self.queue
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// One worker. Several may run; a topic is with one of them at a time.
    pub(crate) async fn run(
        self: Arc<Self>,
        tasks: Arc<Tasks>,
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
                // Notifications coalesce: pass the word on to a worker that sleeps.
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
                Work::Moved(mut moved) => {
                    let walked = slice.visit(&moved.topic, SLICE - turns);
                    turns += walked.turns;
                    moved.follow(&walked, &counters.timings().delivery);
                    if moved.topic.finish_slice() {
                        // Behind the others: topics take turns too.
                        self.push_back(Work::Moved(moved));
                    }
                }
                Work::Appeared(mut appeared) => {
                    turns += tell(&tasks, &mut appeared, SLICE - turns);
                    if appeared.is_over() {
                        // Events published meanwhile have woken no subscriber.
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
}

/// Tells up to `limit` patterns of a task that has appeared. Returns how many.
fn tell(tasks: &Tasks, appeared: &mut Appeared, limit: usize) -> usize {
    let interested = tasks.interested(appeared, limit);
    let turns = interested.len().max(1);
    for (watcher, key) in interested {
        guarded(|| watcher.discovered(key, &appeared.task));
    }
    turns
}

/// Calls a watcher's code. `None` if it panicked: a worker that ended with it would
/// leave its topic queued for ever, and nobody would get its events any more.
fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(call));
    if result.is_err() {
        tracing::error!("a watcher panicked; it gets nothing more of this task");
    }
    result.ok()
}

/// A worker's buffers, kept from slice to slice.
#[derive(Default)]
struct Slice {
    entries: Vec<(usize, usize, Arc<dyn Watcher>)>,
    view: View,
}

impl Slice {
    /// Visits up to `limit` watchers.
    fn visit(&mut self, topic: &Arc<Topic>, limit: usize) -> Walked {
        let walked = topic.next_slice(limit, &mut self.entries);
        if self.entries.is_empty() {
            return walked;
        }
        topic.fill(&mut self.view, topic.settled.load(Ordering::Relaxed) + 1);
        for (slot, key, watcher) in self.entries.drain(..) {
            let view = &mut self.view;
            match guarded(|| watcher.advance(key, topic, view)) {
                Some(Advance::Done) => {}
                Some(Advance::Gone) => topic.forget(slot, &watcher),
                None => {
                    topic.forget(slot, &watcher);
                    // It may have left the view half filled.
                    topic.fill(&mut self.view, topic.settled.load(Ordering::Relaxed) + 1);
                }
            }
        }
        // Old chunks must not be kept alive by an idle worker.
        self.view.clear();
        walked
    }
}

impl Topic {
    /// Copies out the next watchers of the walk, so that none is called under the lock.
    fn next_slice(&self, limit: usize, into: &mut Vec<(usize, usize, Arc<dyn Watcher>)>) -> Walked {
        let mut watchers = self.lock_watchers();
        let mut anew = None;
        if self.moved.swap(false, Ordering::SeqCst) {
            // Whoever was visited before this publish must be visited again.
            if watchers.left == 0 {
                watchers.position += 1;
            }
            watchers.left = watchers.slots;
            anew = Some(watchers.slots);
        }
        let left = watchers.left;
        while watchers.left > 0 && into.len() < limit {
            if watchers.position >= watchers.slots {
                watchers.position = 0;
            }
            let slot = watchers.position;
            watchers.position += 1;
            watchers.left -= 1;
            if let Some(entry) = watchers.entries.get(slot) {
                into.push((slot, entry.key, Arc::clone(&entry.watcher)));
            }
        }
        Walked {
            turns: into.len().max(1),
            steps: left - watchers.left,
            anew,
        }
    }

    /// Whether the topic has more to do; otherwise it leaves the queue.
    fn finish_slice(self: &Arc<Self>) -> bool {
        if self.lock_watchers().left > 0 || self.moved.load(Ordering::SeqCst) {
            return true;
        }
        self.settled.store(self.head(), Ordering::Relaxed);
        self.queued.store(false, Ordering::SeqCst);
        // A publisher that saw `queued` still set left it to us.
        self.moved.load(Ordering::SeqCst) && !self.queued.swap(true, Ordering::SeqCst)
    }

    /// Removes a watcher that said it is gone, unless its slot has a new tenant.
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

    #[test]
    fn a_watcher_that_panics_is_detached_and_the_others_are_visited() {
        let log = Log::new(None, Epoch::new("e").expect("an epoch"));
        let topic = Topic::new(log, Arc::default());
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
            topic.moved.store(true, Ordering::SeqCst);
            slice.visit(&topic, usize::MAX);
            assert!(!topic.finish_slice(), "the topic leaves the queue");
            let visits_of = |watcher: &Arc<Visits>| watcher.0.load(Ordering::Relaxed);
            assert_eq!((visits_of(&before), visits_of(&after)), (visits, visits));
        }
        assert_eq!(topic.watcher_count(), 2);
    }

    #[test]
    fn who_comes_during_a_walk_takes_nobodys_visit() {
        const THERE: usize = 8;
        let log = Log::new(None, Epoch::new("e").expect("an epoch"));
        let topic = Topic::new(log, Arc::default());
        let attach = || {
            let watcher = Arc::new(Visits::default());
            let attached = topic.attach(Arc::clone(&watcher) as _, 0, Hold::Keeps);
            attached.expect("a topic that is open");
            watcher
        };
        let there: Vec<_> = (0..THERE).map(|_| attach()).collect();
        let mut slice = Slice::default();
        // Each walk begins one further, and is met after so many visits.
        for walk in 0..THERE {
            let visits = |watcher: &Arc<Visits>| watcher.0.load(Ordering::Relaxed);
            let before: Vec<_> = there.iter().map(visits).collect();
            topic.moved.store(true, Ordering::SeqCst);
            (0..=walk).for_each(|_| _ = slice.visit(&topic, 1));
            for _ in 0..walk {
                attach();
            }
            while topic.lock_watchers().left > 0 {
                slice.visit(&topic, 1);
            }
            let after: Vec<_> = there.iter().map(visits).collect();
            let left_out = before.iter().zip(&after).position(|(a, b)| a == b);
            assert_eq!(left_out, None, "walk {walk}: {before:?}, then {after:?}");
        }
    }
}
