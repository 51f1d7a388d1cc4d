use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::*;

const SIZE: usize = 4;

/// The slots of a topic as publishers and workers see them.
#[derive(Debug, Default)]
struct Model {
    walk: Walk<SIZE>,
    signal: Signal<AtomicBool>,
    /// The number of times that the topic is in the queue.
    queued: usize,
    /// The newest event, and the newest event that each slot has received.
    head: u64,
    received: Vec<u64>,
    /// The claims of the workers, with the slots that they visit and the head that they have seen.
    claims: VecDeque<(Claim, Vec<usize>, u64)>,
}

impl Model {
    fn of(slots: usize) -> Self {
        let mut model = Self::default();
        model.grow(slots);
        model
    }

    fn grow(&mut self, by: usize) {
        // A new watcher has joined the log at the head.
        self.received.resize(self.received.len() + by, self.head);
        self.walk.grow(self.received.len());
    }

    fn publish(&mut self) {
        self.head += 1;
        if self.signal.raise() {
            self.push();
        }
    }

    fn push(&mut self) {
        self.queued += 1;
        assert_eq!(self.queued, 1, "the topic is in the queue once");
    }

    /// Lets a worker take the topic from the queue. Returns false if it is not there.
    fn claim(&mut self, limit: usize) -> bool {
        if self.queued == 0 {
            return false;
        }
        self.queued -= 1;
        let mut slots = Vec::new();
        let claim = self.walk.claim(&self.signal, limit, |slot| {
            slots.push(slot);
            true
        });
        let claim = match claim {
            Ok(claim) => claim,
            Err(next) => {
                self.go_on(next);
                return true;
            }
        };
        if claim.queue {
            self.push();
        }
        for slot in &slots {
            assert!(*slot < self.received.len(), "the slot exists");
            let held = self
                .claims
                .iter()
                .any(|(_, others, _)| others.contains(slot));
            assert!(!held, "two workers visit slot {slot}");
        }
        self.claims.push_back((claim, slots, self.head));
        true
    }

    /// Lets a worker finish one of the claims. Returns false if there is none. Otherwise returns
    /// whether all slots were visited since the publish that is followed.
    fn release(&mut self, which: usize) -> Option<bool> {
        let which = which.checked_rem(self.claims.len())?;
        let (claim, slots, head) = self.claims.remove(which)?;
        for slot in slots {
            assert!(self.received[slot] <= head, "slot {slot} goes back");
            self.received[slot] = head;
        }
        let (next, all_seen) = self.walk.release(claim, &self.signal);
        self.go_on(next);
        Some(all_seen)
    }

    fn go_on(&mut self, next: Next) {
        match next {
            Next::Queue => self.push(),
            Next::Others => assert!(self.queued + self.claims.len() > 0, "others continue"),
            Next::Over => {
                assert_eq!(self.claims.len(), 0, "nobody visits the topic");
                if self.signal.leave() {
                    self.push();
                }
            }
        }
    }

    /// Lets one worker do the rest. Returns the number of visits.
    fn finish(&mut self) -> usize {
        while self.release(0).is_some() {}
        let mut visits = 0;
        while self.claim(3) {
            visits += self
                .claims
                .iter()
                .map(|(_, slots, _)| slots.len())
                .sum::<usize>();
            self.release(0);
        }
        visits
    }

    fn check_that_everything_is_received(&self) {
        for (slot, received) in self.received.iter().enumerate() {
            assert_eq!(*received, self.head, "what slot {slot} has received");
        }
    }
}

#[derive(Debug, Clone)]
enum Do {
    Publish,
    Grow(usize),
    Claim(usize),
    Release(usize),
    Clear,
}

fn what() -> impl Strategy<Value = Do> {
    prop_oneof![
        3 => Just(Do::Publish),
        1 => (1..6_usize).prop_map(Do::Grow),
        8 => (1..6_usize).prop_map(Do::Claim),
        8 => (0..8_usize).prop_map(Do::Release),
        1 => Just(Do::Clear),
    ]
}

proptest! {
    #[test]
    fn every_slot_is_visited_after_every_publish_by_one_worker_at_a_time(
        slots in 0..20_usize,
        steps in prop::collection::vec(what(), 0..200),
    ) {
        let mut model = Model::of(slots);
        for step in steps {
            match step {
                Do::Publish => model.publish(),
                Do::Grow(by) => model.grow(by),
                Do::Claim(limit) => _ = model.claim(limit),
                Do::Release(which) => _ = model.release(which),
                Do::Clear => {
                    if !model.walk.is_held() {
                        model.received.clear();
                    }
                    // The walk refuses while a worker visits slots.
                    model.walk.clear();
                }
            }
        }
        model.finish();
        model.check_that_everything_is_received();
        model.publish();
        prop_assert_eq!(model.finish(), model.received.len(), "one visit for one publish");
        model.check_that_everything_is_received();
    }

    #[test]
    fn a_publish_before_each_claim_leaves_no_slot_out(
        slots in 1..40_usize,
        limit in 1..6_usize,
        workers in 1..4_usize,
    ) {
        let mut model = Model::of(slots);
        for _ in 0..4 * slots {
            model.publish();
            if !model.claim(limit) || model.claims.len() == workers {
                model.release(0);
            }
        }
        while model.release(0).is_some() {}
        let behind = model.received.iter().position(|received| *received == 0);
        prop_assert_eq!(behind, None, "a slot without a visit: {:?}", model.received);
    }

    #[test]
    fn a_publish_is_followed_until_every_slot_was_visited(
        slots in 1..20_usize,
        steps in prop::collection::vec((0..3_usize, 1..6_usize), 0..200),
    ) {
        let mut model = Model::of(slots);
        model.publish();
        for (step, number) in steps {
            let all_seen = match step {
                0 => model.claim(number).then_some(false),
                1 => model.release(number),
                // Another publish makes the walk begin again, but the first one is followed.
                _ => {
                    model.publish();
                    None
                }
            };
            if all_seen == Some(true) {
                let seen = model.received.iter().all(|received| *received > 0);
                prop_assert!(seen, "not visited yet: {:?}", model.received);
                return Ok(());
            }
        }
    }
}

#[test]
fn walks_begin_with_another_slot_each_time() {
    for slots in [SIZE - 1, 3 * SIZE] {
        let mut model = Model::of(slots);
        let mut begun_with = Vec::new();
        for _ in 0..SIZE - 1 {
            model.publish();
            model.claim(1);
            begun_with.push(model.claims[0].1[0]);
            model.finish();
        }
        begun_with.sort_unstable();
        begun_with.dedup();
        assert_eq!(begun_with.len(), SIZE - 1, "{begun_with:?}");
    }
}

#[test]
fn a_narrow_topic_has_one_worker_and_a_wide_topic_has_several() {
    for (slots, workers) in [(SIZE, 1), (SIZE + 1, 2), (4 * SIZE, 4)] {
        let mut model = Model::of(slots);
        model.publish();
        while model.claim(2) {}
        assert_eq!(model.claims.len(), workers, "{slots} slots");
        model.finish();
        model.check_that_everything_is_received();
    }
}

#[test]
fn a_topic_that_becomes_wide_during_a_visit_is_walked_to_its_end() {
    let mut model = Model::of(SIZE);
    model.publish();
    model.claim(1);
    model.grow(2 * SIZE);
    model.publish();
    model.finish();
    model.check_that_everything_is_received();
}

/// Threads in every order.
mod orders {
    use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    use super::super::*;

    /// A topic with two parts of one watcher each.
    #[derive(Default)]
    struct Model {
        walk: Mutex<Walk<1>>,
        signal: Signal<AtomicBool>,
        head: AtomicUsize,
        delivered: [AtomicUsize; 2],
        visited: [AtomicBool; 2],
        /// The number of times that the topic is in the queue.
        queue: Mutex<usize>,
    }

    impl Model {
        fn publish(&self) {
            self.head.fetch_add(1, Ordering::Release);
            if self.signal.raise() {
                self.push();
            }
        }

        fn push(&self) {
            let mut queue = self.queue.lock().expect("no thread has panicked");
            *queue += 1;
            assert_eq!(*queue, 1, "the topic is in the queue once");
        }

        fn pop(&self) -> bool {
            let mut queue = self.queue.lock().expect("no thread has panicked");
            let before = *queue;
            *queue = 0;
            before > 0
        }

        /// Does the work of a worker for one topic of the queue.
        fn work(&self) -> bool {
            if !self.pop() {
                return false;
            }
            let mut slots = Vec::new();
            let claim = {
                let mut walk = self.walk.lock().expect("no thread has panicked");
                walk.claim(&self.signal, 1, |slot| {
                    slots.push(slot);
                    true
                })
            };
            let claim = match claim {
                Ok(claim) => claim,
                Err(next) => {
                    self.go_on(next);
                    return true;
                }
            };
            if claim.queue {
                self.push();
            }
            for slot in slots {
                let held = Flag::swap(&self.visited[slot], true);
                assert!(!held, "one worker visits a watcher");
                let head = self.head.load(Ordering::Acquire);
                let before = self.delivered[slot].swap(head, Ordering::Relaxed);
                assert!(before <= head, "no watcher goes back");
                Flag::swap(&self.visited[slot], false);
            }
            let (next, _) = {
                let mut walk = self.walk.lock().expect("no thread has panicked");
                walk.release(claim, &self.signal)
            };
            self.go_on(next);
            true
        }

        fn go_on(&self, next: Next) {
            let again = match next {
                Next::Queue => true,
                Next::Others => false,
                Next::Over => self.signal.leave(),
            };
            if again {
                self.push();
            }
        }
    }

    /// Checks that both watchers receive every event, whatever the order of the steps of two
    /// workers and one publisher.
    #[test]
    fn two_workers_share_a_topic_and_leave_no_watcher_behind() {
        let mut builder = loom::model::Builder::new();
        // All orders with so many threads take hours.
        builder.preemption_bound = Some(2);
        builder.check(|| {
            let model = Arc::new(Model::default());
            model.walk.lock().expect("no thread has panicked").grow(2);
            let workers: Vec<_> = (0..2)
                .map(|_| {
                    let model = Arc::clone(&model);
                    thread::spawn(move || while model.work() {})
                })
                .collect();
            model.publish();
            model.publish();
            for worker in workers {
                worker.join().expect("no thread panics");
            }
            // A worker that sleeps is woken for a topic that comes into the queue.
            while model.work() {}
            for delivered in &model.delivered {
                let head = model.head.load(Ordering::Relaxed);
                assert_eq!(
                    delivered.load(Ordering::Relaxed),
                    head,
                    "every event is delivered"
                );
            }
        });
    }
}
