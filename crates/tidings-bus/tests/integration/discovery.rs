//! Patterns hear of new tasks from the fan-out pass, and not from the publisher.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use tidings_bus::PatternWatcher;
use tidings_bus::watch::Task;

use crate::support::{bus, id, settle, step};

/// Notes the tasks that it is told of.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl PatternWatcher for Told {
    fn discovered(&self, _: usize, task: &Arc<Task>) {
        self.0.lock().unwrap().push(task.id().to_string());
    }
}

/// The runtime has one thread, so the pass runs only when the publisher gives way.
#[tokio::test(start_paused = true)]
async fn the_first_event_of_a_task_calls_no_watcher_on_the_publishers_thread() {
    let bus = bus();
    let told = Arc::new(Told::default());
    let patterns: Vec<_> = (0..100)
        .map(|key| {
            let pattern = "*".parse().unwrap();
            bus.watch_pattern(&pattern, Arc::clone(&told) as _, key).0
        })
        .collect();
    let published = bus.publish(&id("t"), step(1)).now_or_never();
    published
        .expect("a publish in memory does not wait")
        .unwrap();
    assert!(told.0.lock().unwrap().is_empty());
    settle().await;
    assert_eq!(*told.0.lock().unwrap(), vec!["t"; 100], "each pattern once");
    for pattern in patterns {
        bus.unwatch_pattern(pattern);
    }
}
