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
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::log::View;
use crate::topic::{Advance, AttachId, Topic, Watcher};

/// Watchers visited between two yields. Fewer yield more often than publishers
/// need; more make the batches of later watchers smaller. 32 was the knee.
const SLICE: usize = 32;

/// The queue of topics that have moved.
#[derive(Default)]
pub(crate) struct Fanout {
    queue: Mutex<VecDeque<Arc<Topic>>>,
    ready: Notify,
}

impl Fanout {
    pub(crate) fn push(&self, topic: Arc<Topic>) {
        self.lock().push_back(topic);
        self.ready.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Topic>>> {
        self.queue
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// One worker. Several may run; a topic is with one of them at a time.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut slice = Slice::default();
        let mut turns = 0;
        loop {
            let (topic, more) = {
                let mut queue = self.lock();
                (queue.pop_front(), !queue.is_empty())
            };
            if more {
                // Notifications coalesce: pass the word on to a worker that sleeps.
                self.ready.notify_one();
            }
            let Some(topic) = topic else {
                tokio::select! {
                    biased;
                    () = self.ready.notified() => continue,
                    () = stop.cancelled() => return,
                }
            };
            turns += slice.visit(&topic, SLICE - turns);
            if topic.finish_slice() {
                // Behind the others: topics take turns too.
                self.push(topic);
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

/// A worker's buffers, kept from slice to slice.
#[derive(Default)]
struct Slice {
    entries: Vec<(usize, usize, Arc<dyn Watcher>)>,
    view: View,
}

impl Slice {
    /// Visits up to `limit` watchers; gives how many turns that was (at least one).
    fn visit(&mut self, topic: &Arc<Topic>, limit: usize) -> usize {
        topic.next_slice(limit, &mut self.entries);
        let turns = self.entries.len().max(1);
        if self.entries.is_empty() {
            return turns;
        }
        topic.fill(&mut self.view, topic.settled.load(Ordering::Relaxed) + 1);
        for (slot, key, watcher) in self.entries.drain(..) {
            if watcher.advance(key, topic, &mut self.view) == Advance::Gone {
                topic.forget(slot, &watcher);
            }
        }
        // Old chunks must not be kept alive by an idle worker.
        self.view.clear();
        turns
    }
}

impl Topic {
    /// Copies out the next watchers of the walk, so that none is called under the lock.
    fn next_slice(&self, limit: usize, into: &mut Vec<(usize, usize, Arc<dyn Watcher>)>) {
        let mut watchers = self.lock_watchers();
        if self.moved.swap(false, Ordering::SeqCst) {
            // Whoever was visited before this publish must be visited again.
            if watchers.left == 0 {
                watchers.position += 1;
            }
            watchers.left = watchers.slots;
        }
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
            .map(|entry| AttachId {
                slot,
                serial: entry.serial,
            });
        if let Some(id) = id {
            self.detach(id);
        }
    }
}
