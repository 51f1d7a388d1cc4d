//! Tests that check a [`Broker`] together with its store.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use tidings_protocol::{NewEvent, Pattern, Since, TaskId};

use crate::bus::EventBus;
use crate::cluster::broker::Broker;
use crate::config::BusConfig;
use crate::deliver::delivery::Delivery;
use crate::deliver::filter::Filter;
use crate::deliver::subscription::Subscription;
use crate::publish::error::{PublishError, Published};
use crate::store::Store;

/// The longest time that any step may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// One node's store and broker.
pub struct Node {
    /// The store, shared with the other node.
    pub store: Arc<dyn Store>,
    /// The broker, connected with that of the other node.
    pub broker: Arc<dyn Broker>,
    /// Values that are dropped when the node stops.
    pub keep: Box<dyn Any + Send>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").finish_non_exhaustive()
    }
}

/// Runs every check. `make` creates two fresh nodes that share one store and one broker for
/// each check.
///
/// # Panics
/// Panics if the broker or the store does not conform. The message names the failure.
pub async fn run(make: impl Fn() -> [Node; 2]) {
    carries_events_to_the_other_node(make()).await;
    shows_what_was_there_before(make()).await;
    tells_patterns_of_new_tasks(make()).await;
    carries_removals(make()).await;
    keeps_one_order_under_concurrency(make()).await;
}

struct Nodes {
    buses: [EventBus; 2],
    _keep: [Box<dyn Any + Send>; 2],
}

async fn open(nodes: [Node; 2]) -> Nodes {
    let [a, b] = nodes;
    let bus = async |store, broker| {
        let config = BusConfig::default().broker(Some(broker));
        EventBus::open(config, store).await.expect("a bus opens")
    };
    Nodes {
        buses: [bus(a.store, a.broker).await, bus(b.store, b.broker).await],
        _keep: [a.keep, b.keep],
    }
}

fn id(text: &str) -> TaskId {
    TaskId::new(text).expect("a literal of the id's alphabet")
}

fn step(n: u64) -> NewEvent {
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    NewEvent::progress((n % 100) as f64, "on the way")
}

async fn publish(bus: &EventBus, task: &TaskId, n: u64) -> u64 {
    taken(bus, task, step(n)).await.offset.get()
}

/// Publishes an event as soon as the node has reached the others. Until then a publish fails
/// and publishes nothing. The offsets would show any event that was published too early.
async fn taken(bus: &EventBus, task: &TaskId, event: NewEvent) -> Published {
    let taken = async {
        loop {
            match bus.publish(task, event.clone()).await {
                Err(PublishError::Unavailable(_)) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                other => return other.expect("a publish is taken"),
            }
        }
    };
    let published = tokio::time::timeout(DEADLINE, taken).await;
    published.expect("a publish in time")
}

async fn next(watching: &mut Subscription) -> Delivery {
    let next = tokio::time::timeout(DEADLINE, watching.recv()).await;
    next.expect("a delivery in time")
        .expect("a delivery before the end")
}

/// Receives events up to the offset `last`, and nothing else, no matter which node has begun
/// the task.
async fn offsets(watching: &mut Subscription, last: u64) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        match next(watching).await {
            Delivery::Event(event) => seen.push(event.offset().get()),
            other => panic!("{other:?} after {seen:?}"),
        }
    }
    seen
}

async fn carries_events_to_the_other_node(nodes: [Node; 2]) {
    let Nodes {
        buses: [a, b],
        _keep,
    } = open(nodes).await;
    let task = id("t");
    let mut on_b = b.subscribe(&task);
    for n in 1..=20 {
        let bus = if n % 3 == 0 { &b } else { &a };
        assert_eq!(publish(bus, &task, n).await, n, "one numbering");
    }
    assert_eq!(offsets(&mut on_b, 20).await, (1..=20).collect::<Vec<_>>());
}

async fn shows_what_was_there_before(nodes: [Node; 2]) {
    let Nodes {
        buses: [a, b],
        _keep,
    } = open(nodes).await;
    let task = id("t");
    for n in 1..=5 {
        publish(&a, &task, n).await;
    }
    b.fetch(&task, None).await.expect("a task can be fetched");
    let mut on_b = b.subscribe(Filter::task(task.clone()).since(Since::Start));
    publish(&a, &task, 6).await;
    assert_eq!(offsets(&mut on_b, 6).await, [1, 2, 3, 4, 5, 6]);
    let found = b.find(&task).await.expect("a task can be found");
    assert_eq!(found.expect("it is there").offset.get(), 6);
    let all = b.find_all("", None, None, 10).await.expect("a list");
    assert_eq!(all.len(), 1);
}

async fn tells_patterns_of_new_tasks(nodes: [Node; 2]) {
    let Nodes {
        buses: [a, b],
        _keep,
    } = open(nodes).await;
    publish(&a, &id("build-1"), 1).await;
    let pattern: Pattern = "build-*".parse().expect("a pattern");
    let mut on_b = b.subscribe(Filter::pattern(pattern).since(Since::Start));
    for n in 2..=4 {
        publish(&a, &id(&format!("build-{n}")), 1).await;
        publish(&a, &id("other"), n).await;
    }
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 4 {
        if let Delivery::Event(event) = next(&mut on_b).await {
            let task = event.task_id().expect("an event of a task").to_string();
            assert!(task.starts_with("build-"), "{task}");
            assert!(seen.insert(task), "each task's event once");
        }
    }
}

async fn carries_removals(nodes: [Node; 2]) {
    let Nodes {
        buses: [a, b],
        _keep,
    } = open(nodes).await;
    let task = id("t");
    let before = taken(&a, &task, step(1)).await;
    b.fetch(&task, None).await.expect("a task can be fetched");
    let mut on_b = b.subscribe(&task);
    assert!(a.remove(&task).await.expect("a removal"));
    let Delivery::Reset { .. } = next(&mut on_b).await else {
        panic!("whoever watches it is told");
    };
    let after = taken(&b, &task, step(1)).await;
    assert_eq!(after.offset.get(), 1);
    assert_ne!(after.epoch, before.epoch, "no position of before fits");
}

async fn keeps_one_order_under_concurrency(nodes: [Node; 2]) {
    const EACH: u64 = 50;
    let Nodes { buses, _keep } = open(nodes).await;
    let task = id("t");
    publish(&buses[0], &task, 0).await;
    let mut watchers = Vec::new();
    for bus in &buses {
        bus.fetch(&task, None).await.expect("a task can be fetched");
        let mut watching = bus.subscribe(&task);
        watchers.push(tokio::spawn(async move {
            offsets(&mut watching, 2 * EACH + 1).await
        }));
    }
    let mut publishers = tokio::task::JoinSet::new();
    for bus in buses.clone() {
        let task = task.clone();
        publishers.spawn(async move {
            for n in 0..EACH {
                while bus.publish(&task, step(n)).await.is_err() {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    publishers.join_all().await;
    for watcher in watchers {
        let seen = watcher.await.expect("watchers do not panic");
        assert_eq!(seen, (2..=2 * EACH + 1).collect::<Vec<_>>());
    }
}
