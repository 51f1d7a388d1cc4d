//! The agreement between publishers and the pass about a topic that has moved.
//!
//! A publisher must not wake a worker for each event, and no event may be left without a visit.
//! Two flags are enough: `moved` means that there is something to visit, and `queued` means that
//! somebody will look at `moved`. Whoever sets `queued` puts the topic into the queue, so a topic
//! is in the queue once, and one worker has it at a time. The tests try every order of the steps
//! of several publishers and workers.

use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that threads share. The tests use flags of a model checker.
pub(crate) trait Flag: Default {
    fn is_set(&self) -> bool;
    /// Sets the flag to a value. Returns the value before.
    fn swap(&self, value: bool) -> bool;
}

impl Flag for AtomicBool {
    fn is_set(&self) -> bool {
        self.load(Ordering::SeqCst)
    }

    fn swap(&self, value: bool) -> bool {
        self.swap(value, Ordering::SeqCst)
    }
}

/// Whether a topic has moved, and whether a worker will see that.
#[derive(Debug, Default)]
pub(crate) struct Signal<F = AtomicBool> {
    /// True if the topic has moved since a worker last took this.
    moved: F,
    /// True if the topic is in the queue, or a worker is visiting its watchers.
    queued: F,
}

impl<F: Flag> Signal<F> {
    /// Notes that the topic has moved. Returns true if the caller must put the topic into the
    /// queue.
    #[must_use = "otherwise no worker sees the topic"]
    pub(crate) fn raise(&self) -> bool {
        self.moved.swap(true);
        !self.queued.swap(true)
    }

    /// Returns whether the topic has moved since the last call. A worker calls this before it
    /// looks at the head.
    pub(crate) fn take(&self) -> bool {
        self.moved.swap(false)
    }

    /// Returns whether the topic has moved since a worker last called [`take`](Self::take).
    pub(crate) fn has_moved(&self) -> bool {
        self.moved.is_set()
    }

    /// Gives the topic back after a walk. Returns true if the worker must put it into the queue
    /// again.
    #[must_use = "otherwise no worker sees the topic again"]
    pub(crate) fn leave(&self) -> bool {
        self.queued.swap(false);
        // A publisher that saw `queued` still set relies on this check.
        self.moved.is_set() && !self.queued.swap(true)
    }
}

#[cfg(test)]
mod tests {
    use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    use super::*;

    impl Flag for AtomicBool {
        fn is_set(&self) -> bool {
            self.load(Ordering::SeqCst)
        }

        fn swap(&self, value: bool) -> bool {
            self.swap(value, Ordering::SeqCst)
        }
    }

    /// A topic as a worker and publishers see it.
    #[derive(Default)]
    struct Model {
        signal: Signal<AtomicBool>,
        head: AtomicUsize,
        /// The newest event that the only watcher has received.
        delivered: AtomicUsize,
        /// How often the topic is in the queue.
        queue: Mutex<usize>,
        /// True while a worker has the topic.
        visited: AtomicBool,
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

        /// Does the work of a worker for one topic of the queue.
        fn work(&self) -> bool {
            {
                let mut queue = self.queue.lock().expect("no thread has panicked");
                if *queue == 0 {
                    return false;
                }
                *queue -= 1;
            }
            assert!(!Flag::swap(&self.visited, true), "one worker has the topic");
            if self.signal.take() {
                let head = self.head.load(Ordering::Acquire);
                let before = self.delivered.swap(head, Ordering::Relaxed);
                assert!(before <= head, "no watcher goes back");
            }
            Flag::swap(&self.visited, false);
            if self.signal.leave() {
                self.push();
            }
            true
        }
    }

    /// Checks that every event is delivered when publishers and workers have ended, whatever the
    /// order of their steps.
    fn check(publishers: usize, workers: usize) {
        loom::model(move || {
            let model = Arc::new(Model::default());
            let mut threads = Vec::new();
            // The last publisher is the model's own thread, because each thread multiplies the orders.
            for _ in 1..publishers {
                let model = Arc::clone(&model);
                threads.push(thread::spawn(move || model.publish()));
            }
            for _ in 0..workers {
                let model = Arc::clone(&model);
                threads.push(thread::spawn(move || while model.work() {}));
            }
            model.publish();
            for thread in threads {
                thread.join().expect("no thread panics");
            }
            // A worker that sleeps is woken for a topic that comes into the queue.
            while model.work() {}
            let [head, delivered] = [&model.head, &model.delivered];
            assert_eq!(
                delivered.load(Ordering::Relaxed),
                head.load(Ordering::Relaxed),
                "every event is delivered"
            );
        });
    }

    #[test]
    fn no_event_is_left_behind_by_one_worker() {
        check(2, 1);
    }

    #[test]
    fn two_workers_never_have_one_topic() {
        check(1, 2);
    }
}
