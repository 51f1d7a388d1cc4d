//! Every order of the steps of publishers, evictions and patterns, by a model checker.

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Mutex, RwLock};
use loom::thread;

use super::*;

/// The registry's lock in a model.
struct Modelled<T>(RwLock<Inner<T, &'static str>>);

impl<T> Default for Modelled<T> {
    fn default() -> Self {
        Self(RwLock::new(Inner::default()))
    }
}

impl<T> Access for Modelled<T> {
    type Inside = Inner<T, &'static str>;

    fn read<R>(&self, look: impl FnOnce(&Self::Inside) -> R) -> R {
        look(&self.0.read().expect("no thread has panicked"))
    }

    fn write<R>(&self, change: impl FnOnce(&mut Self::Inside) -> R) -> R {
        change(&mut self.0.write().expect("no thread has panicked"))
    }
}

fn id() -> TaskId {
    TaskId::new("build-1").expect("an id")
}

fn pattern() -> Pattern {
    "build-*".parse().expect("a pattern")
}

/// The log of a task, as publishers and evictions see it.
#[derive(Default)]
struct Log {
    events: usize,
    closed: bool,
}

type LogOfTask = Arc<Mutex<Log>>;
type Registry = Tasks<Modelled<LogOfTask>>;

/// Publishes one event: a log that is closed has left the registry, and is looked up again.
fn publish(tasks: &Registry) {
    loop {
        let task = tasks
            .get_or_insert(&id(), || Arc::new(Mutex::default()))
            .task;
        let mut log = task.lock().expect("no thread has panicked");
        if !log.closed {
            log.events += 1;
            return;
        }
    }
}

/// Removes the task if it has no events, and closes its log.
fn forget_if_unused(tasks: &Registry) {
    tasks.remove_if(&id(), |task| {
        let mut log = task.lock().expect("no thread has panicked");
        log.closed = log.events == 0;
        log.closed
    });
}

/// Creates the task without an event, as a subscription does.
fn declare(tasks: &Registry) {
    tasks.get_or_insert(&id(), || Arc::new(Mutex::default()));
}

#[test]
fn no_event_goes_to_a_task_that_was_removed() {
    let mut model = loom::model::Builder::new();
    // Three threads have too many orders for all of them.
    model.preemption_bound = Some(3);
    model.check(|| {
        let tasks = Arc::new(Registry::default());
        declare(&tasks);
        let publisher = {
            let tasks = Arc::clone(&tasks);
            thread::spawn(move || publish(&tasks))
        };
        let second = {
            let tasks = Arc::clone(&tasks);
            thread::spawn(move || publish(&tasks))
        };
        forget_if_unused(&tasks);
        publisher.join().expect("no thread panics");
        second.join().expect("no thread panics");
        let task = tasks.get(&id()).expect("a task with events stays");
        let log = task.lock().expect("no thread has panicked");
        assert_eq!((log.events, log.closed), (2, false));
    });
}

#[test]
fn a_pattern_finds_each_task_once() {
    loom::model(|| {
        let tasks = Arc::new(Tasks::<Modelled<u8>>::default());
        // Another pattern is there before, and is told of the task in any case.
        let (_, none) = tasks.watch(&pattern(), "first", 0, || {});
        assert!(none.is_empty());
        let publisher = {
            let tasks = Arc::clone(&tasks);
            thread::spawn(move || {
                let inserted = tasks.get_or_insert(&id(), || 1);
                let mut told = Vec::new();
                let mut appeared = inserted.appeared.expect("the task is new");
                while !appeared.is_over() {
                    let interested = tasks.interested_in(&id(), &mut appeared, 1);
                    told.extend(interested.into_iter().map(|(watcher, _)| watcher));
                }
                told
            })
        };
        let (_, found) = tasks.watch(&pattern(), "second", 0, || {});
        let told = publisher.join().expect("no thread panics");
        let times = |name| told.iter().filter(|told| **told == name).count();
        assert_eq!(times("first"), 1);
        assert_eq!(times("second") + found.len(), 1, "listed or announced");
    });
}

#[test]
fn a_node_hears_of_new_tasks_exactly_while_it_has_a_pattern() {
    loom::model(|| {
        let tasks = Arc::new(Tasks::<Modelled<u8>>::default());
        // What the broker was told last.
        let wanted = Arc::new(AtomicBool::new(false));
        let comes = |tasks: &Tasks<Modelled<u8>>, wanted: &AtomicBool| {
            let comes = || wanted.store(true, Ordering::Relaxed);
            tasks.watch(&pattern(), "watcher", 0, comes).0
        };
        let first = comes(&tasks, &wanted);
        let goes = {
            let (tasks, wanted) = (Arc::clone(&tasks), Arc::clone(&wanted));
            thread::spawn(move || {
                tasks.unwatch(first, || wanted.store(false, Ordering::Relaxed));
                // The id of a pattern that is gone detaches no other.
                tasks.unwatch(first, || wanted.store(false, Ordering::Relaxed));
            })
        };
        let second = comes(&tasks, &wanted);
        goes.join().expect("no thread panics");
        assert!(wanted.load(Ordering::Relaxed), "one pattern is left");
        tasks.unwatch(second, || wanted.store(false, Ordering::Relaxed));
        assert!(!wanted.load(Ordering::Relaxed));
    });
}
