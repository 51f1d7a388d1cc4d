//! Tasks that name a parent: the index of children, refusals, and the watchers of children.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{bus, id};
use tidings_bus::protocol::{Data, ErrorCode, NewEvent, TaskId, TaskStatus};
use tidings_bus::watch::Task;
use tidings_bus::{
    BusConfig, ChildWatcher, EventBus, Kin, MAX_TREE_DEPTH, MemoryStore, PublishError, Store, Sums,
    Write,
};
use tidings_testkit::DEADLINE;

async fn start(bus: &EventBus, child: &str, parent: &str) -> Result<(), PublishError> {
    let started = NewEvent::subtask_started("part", &id(parent));
    bus.publish(&id(child), started).await.map(drop)
}

async fn children(bus: &EventBus, parent: &str) -> Vec<String> {
    let (parent, mut after, mut found) = (id(parent), None, Vec::new());
    loop {
        let page = bus.children(&parent, "", after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else {
            return found;
        };
        after = Some(last.clone());
        found.extend(page.iter().map(ToString::to_string));
    }
}

/// Creates a bus on each kind of store that it does not share.
async fn buses() -> Vec<EventBus> {
    tidings_bus::lock::check_order();
    let mut buses = vec![bus()];
    for write in [Write::Through, Write::Behind] {
        let store = Arc::new(MemoryStore::written(write));
        buses.push(EventBus::open(BusConfig::default(), store).await.unwrap());
    }
    buses
}

#[tokio::test(start_paused = true)]
async fn children_parents_and_ancestors_are_known() {
    for bus in buses().await {
        // The parent comes after its children.
        for child in ["c", "a", "b"] {
            start(&bus, child, "p").await.unwrap();
        }
        start(&bus, "p", "root").await.unwrap();
        assert_eq!(children(&bus, "p").await, ["a", "b", "c"]);
        assert_eq!(children(&bus, "root").await, ["p"]);
        assert_eq!(children(&bus, "a").await, [""; 0]);
        assert_eq!(bus.parent(&id("a")).await.unwrap(), Some(id("p")));
        assert_eq!(bus.parent(&id("root")).await.unwrap(), None);
        let above = bus.ancestors(&id("a")).await.unwrap();
        assert_eq!(above, [id("p"), id("root")]);
        bus.task_completed(&id("b"), None).await.unwrap();
        let p = id("p");
        let find = bus.find_children(&p, "", Some(TaskStatus::Running), None, 9);
        let running = find.await.unwrap();
        let ids: Vec<_> = running.iter().map(|state| &state.task_id).collect();
        assert_eq!(ids, [&id("a"), &id("c")]);
        assert!(bus.remove(&id("a")).await.unwrap());
        assert_eq!(children(&bus, "p").await, ["b", "c"]);
        // A new run may name another parent.
        start(&bus, "b", "other").await.unwrap();
        assert_eq!(children(&bus, "p").await, ["c"]);
        assert_eq!(children(&bus, "other").await, ["b"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_circle_and_a_tree_that_is_too_deep_are_refused() {
    for bus in buses().await {
        start(&bus, "b", "a").await.unwrap();
        start(&bus, "c", "b").await.unwrap();
        for parent in ["a", "b", "c"] {
            let refused = start(&bus, "a", parent).await.unwrap_err();
            assert_eq!(refused.code(), ErrorCode::InvalidEvent, "{refused}");
            assert!(refused.to_string().contains("lies below it"), "{refused}");
        }
        // A refused event changes nothing.
        assert!(bus.snapshot(&id("a")).is_none());
        assert_eq!(children(&bus, "c").await, [""; 0]);
        bus.task_started(&id("a"), "root").await.unwrap();
        for level in 3..=MAX_TREE_DEPTH {
            let above = if level == 3 {
                "c".to_owned()
            } else {
                format!("l{}", level - 1)
            };
            start(&bus, &format!("l{level}"), &above).await.unwrap();
        }
        let last = format!("l{MAX_TREE_DEPTH}");
        let refused = start(&bus, "below", &last).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidEvent, "{refused}");
        let text = "with the parent l32, a tree has more than 32 levels below its root";
        assert!(refused.to_string().contains(text), "{refused}");
    }
}

/// Remembers the children that were announced.
#[derive(Default)]
struct Told(Mutex<Vec<TaskId>>);

impl ChildWatcher for Told {
    fn child_appeared(&self, key: usize, child: &Arc<Task>) {
        assert_eq!(key, 7);
        self.0.lock().unwrap().push(child.id().clone());
    }
}

#[tokio::test(start_paused = true)]
async fn a_watcher_is_told_of_each_new_child() {
    for bus in buses().await {
        let told = Arc::new(Told::default());
        let watch = bus.watch_children(&id("p"), Arc::clone(&told) as _, 7);
        start(&bus, "a", "p").await.unwrap();
        start(&bus, "x", "q").await.unwrap();
        bus.progress(&id("a"), 10.0, "").await.unwrap();
        bus.task_completed(&id("a"), None).await.unwrap();
        start(&bus, "b", "p").await.unwrap();
        let all = async {
            while told.0.lock().unwrap().len() < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(DEADLINE, all).await.unwrap();
        assert_eq!(*told.0.lock().unwrap(), [id("a"), id("b")]);
        bus.unwatch_children(&watch);
        start(&bus, "c", "p").await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(told.0.lock().unwrap().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn children_that_are_in_the_store_alone_are_known_after_a_restart_too() {
    const CHILDREN: usize = 2_000;
    let config = || {
        BusConfig::default()
            .total_bytes(512 * 1024)
            .clients_bytes(Some(64 * 1024))
    };
    let store = Arc::new(MemoryStore::new());
    let open = || EventBus::open(config(), Arc::clone(&store) as Arc<dyn Store>);
    let bus = open().await.unwrap();
    for n in 0..CHILDREN {
        start(&bus, &format!("child-{n:04}"), "p").await.unwrap();
    }
    assert!(bus.stats().tasks_shelved > 0);
    assert_eq!(children(&bus, "p").await.len(), CHILDREN);
    bus.shutdown().await;
    let bus = open().await.unwrap();
    assert_eq!(children(&bus, "p").await.len(), CHILDREN);
    let p = id("p");
    let page = bus.find_children(&p, "child-19", None, None, CHILDREN);
    assert_eq!(page.await.unwrap().len(), 100);
    assert!(bus.remove(&id("child-0000")).await.unwrap());
    assert_eq!(children(&bus, "p").await.len(), CHILDREN - 1);
}

/// The children update of a parent: pending, running, completed, failed, cancelled, and the
/// progress.
type Said = ([u64; 5], Option<f64>);

const NOTHING: Said = ([0; 5], None);

async fn said(bus: &EventBus, parent: &str) -> Said {
    let state = bus.find(&id(parent)).await.unwrap();
    let children = state.and_then(|state| state.children.clone());
    children.map_or(NOTHING, |said| {
        let counts = [
            said.pending,
            said.running,
            said.completed,
            said.failed,
            said.cancelled,
        ];
        (counts, said.progress)
    })
}

/// Waits until a parent's state contains this update.
async fn says(bus: &EventBus, parent: &str, expected: Said) {
    let waited = tokio::time::timeout(DEADLINE, async {
        while said(bus, parent).await != expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    if waited.await.is_err() {
        panic!(
            "{parent} says {:?}, not {expected:?}",
            said(bus, parent).await
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_parent_shows_what_its_children_do() {
    for bus in buses().await {
        bus.task_started(&id("p"), "whole").await.unwrap();
        start(&bus, "a", "p").await.unwrap();
        let data = r#"{"parent_task_id":"p","weight":3}"#;
        let heavy = NewEvent::new("task_started".parse().unwrap(), Data::parse(data).unwrap());
        bus.publish(&id("b"), heavy).await.unwrap();
        says(&bus, "p", ([0, 2, 0, 0, 0], Some(0.0))).await;
        bus.progress(&id("b"), 50.0, "").await.unwrap();
        says(&bus, "p", ([0, 2, 0, 0, 0], Some(37.5))).await;
        let progress = async || bus.find(&id("p")).await.unwrap().unwrap().progress;
        assert_eq!(progress().await, Some(37.5));
        bus.task_completed(&id("a"), None).await.unwrap();
        says(&bus, "p", ([0, 1, 1, 0, 0], Some(62.5))).await;
        // The parent's own progress wins.
        bus.progress(&id("p"), 10.0, "").await.unwrap();
        bus.task_failed(&id("b"), "no".into()).await.unwrap();
        says(&bus, "p", ([0, 0, 1, 1, 0], Some(62.5))).await;
        assert_eq!(progress().await, Some(10.0));
        // First a new run of a child, then the end of the parent during that run.
        start(&bus, "b", "p").await.unwrap();
        bus.task_completed(&id("p"), None).await.unwrap();
        says(&bus, "p", ([0, 1, 1, 0, 0], Some(25.0))).await;
        bus.task_completed(&id("b"), None).await.unwrap();
        says(&bus, "p", ([0, 0, 2, 0, 0], Some(100.0))).await;
        assert!(bus.remove(&id("a")).await.unwrap());
        says(&bus, "p", ([0, 0, 1, 0, 0], Some(100.0))).await;
        // The children still exist when the parent starts again.
        bus.task_started(&id("p"), "again").await.unwrap();
        says(&bus, "p", ([0, 0, 1, 0, 0], Some(100.0))).await;
        assert_eq!(progress().await, Some(100.0));
        assert!(bus.remove(&id("b")).await.unwrap());
        says(&bus, "p", NOTHING).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_grandparent_counts_the_parent_as_one() {
    for bus in buses().await {
        bus.task_started(&id("root"), "all").await.unwrap();
        start(&bus, "p", "root").await.unwrap();
        for n in 0..10 {
            start(&bus, &format!("child-{n}"), "p").await.unwrap();
        }
        for n in 0..5 {
            let child = id(&format!("child-{n}"));
            bus.task_completed(&child, None).await.unwrap();
        }
        says(&bus, "p", ([0, 5, 5, 0, 0], Some(50.0))).await;
        says(&bus, "root", ([0, 1, 0, 0, 0], Some(50.0))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_comes_later_or_comes_back_knows_its_children() {
    for bus in buses().await {
        start(&bus, "a", "p").await.unwrap();
        bus.progress(&id("a"), 30.0, "").await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(
            bus.find(&id("p")).await.unwrap().is_none(),
            "nobody declared it"
        );
        for _ in 0..2 {
            bus.task_started(&id("p"), "whole").await.unwrap();
            says(&bus, "p", ([0, 1, 0, 0, 0], Some(30.0))).await;
            assert!(bus.remove(&id("p")).await.unwrap());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn updates_come_four_times_a_second_at_most_and_the_last_one_comes() {
    const CHILDREN: u64 = 2_000;
    let bus = bus();
    bus.task_started(&id("p"), "whole").await.unwrap();
    let mut events = bus.subscribe(id("p"));
    for n in 0..CHILDREN {
        let child = id(&format!("child-{n}"));
        start(&bus, child.as_str(), "p").await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        bus.task_completed(&child, None).await.unwrap();
    }
    says(&bus, "p", ([0, 0, CHILDREN, 0, 0], Some(100.0))).await;
    let mut times = Vec::new();
    while let Ok(event) = tokio::time::timeout(Duration::from_secs(2), events.recv()).await {
        let Some(tidings_bus::Delivery::Event(event)) = event else {
            panic!("{event:?} is no event");
        };
        if event.event_type().as_str() == "children_update" {
            times.push(event.decode().unwrap().timestamp);
        }
    }
    // The updates took at least two seconds of the held clock: one at once, and four in each
    // second.
    assert!((2..=12).contains(&times.len()), "{} updates", times.len());
}

#[tokio::test(start_paused = true)]
async fn children_are_no_sign_of_their_parents_life() {
    let bus = bus();
    let data = Data::parse(r#"{"lease_ms":10000}"#).unwrap();
    let leased = NewEvent::new("task_started".parse().unwrap(), data);
    bus.publish(&id("p"), leased).await.unwrap();
    start(&bus, "a", "p").await.unwrap();
    for n in 0..11 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        bus.progress(&id("a"), f64::from(n), "").await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let state = bus.snapshot(&id("p")).unwrap();
    assert!(state.stalled);
    assert_eq!(state.children.as_ref().unwrap().progress, Some(10.0));
}

/// One life of a bus. The seed chooses the operations.
async fn live(bus: &EventBus, random: &mut fastrand::Rng, steps: usize) {
    let pick = |random: &mut fastrand::Rng| format!("t{}", random.u32(0..24));
    for _ in 0..steps {
        let task = id(&pick(random));
        // A refused event changes nothing. The check at rest covers this.
        match random.u32(0..12) {
            0..4 => _ = start(bus, task.as_str(), &pick(random)).await,
            4 => _ = bus.task_started(&task, "alone").await,
            5..8 => {
                let progress = f64::from(random.u32(0..=10_000)) / 100.0;
                _ = bus.progress(&task, progress, "").await;
            }
            8 => _ = bus.task_completed(&task, None).await,
            9 => _ = bus.task_failed(&task, "no".into()).await,
            10 => _ = bus.remove(&task).await.unwrap(),
            _ => tokio::time::sleep(Duration::from_millis(random.u64(0..400))).await,
        }
    }
}

/// Checks every parent's state against its children, one by one.
async fn at_rest(bus: &EventBus, seed: u64) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    for n in 0..24 {
        let parent = id(&format!("t{n}"));
        loop {
            if bus.find(&parent).await.unwrap().is_none() {
                break;
            }
            let mut sums = Sums::default();
            let all = bus.find_all("", None, None, usize::MAX).await.unwrap();
            let kin = all.iter().filter_map(|child| Kin::of(child));
            kin.filter(|kin| kin.parent == parent)
                .for_each(|kin| sums.add(&kin));
            let said = said(bus, parent.as_str()).await;
            let progress = sums.progress().filter(|_| sums.total() > 0);
            if said == (sums.counts, progress) {
                break;
            }
            let known = children(bus, parent.as_str()).await;
            assert!(
                tokio::time::Instant::now() < deadline,
                "seed {seed}: {parent} says {said:?}, not {sums:?} of {known:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn at_rest_parents_equal_their_children_over_kills_restarts_and_eviction() {
    let mut shelved = 0;
    for seed in 0..24 {
        let mut random = fastrand::Rng::with_seed(seed);
        let write = [Write::Through, Write::Behind][random.usize(0..2)];
        let store = Arc::new(MemoryStore::written(write));
        // There is room for about thirty tasks, so that tasks of the trees leave memory for others.
        let config = || {
            BusConfig::default()
                .total_bytes(64 * 1024)
                .clients_bytes(Some(0))
        };
        for _ in 0..4 {
            let open = EventBus::open(config(), Arc::clone(&store) as Arc<dyn Store>);
            let bus = open.await.unwrap();
            live(&bus, &mut random, 75).await;
            for n in 0..40 {
                bus.task_started(&id(&format!("other-{n}")), "other")
                    .await
                    .ok();
            }
            live(&bus, &mut random, 75).await;
            shelved += bus.stats().tasks_shelved;
            if random.bool() {
                at_rest(&bus, seed).await;
            }
            // The bus is killed, and updates on their way to a parent are lost.
            drop(bus);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let open = EventBus::open(config(), Arc::clone(&store) as Arc<dyn Store>);
        let bus = open.await.unwrap();
        at_rest(&bus, seed).await;
    }
    assert!(shelved > 1_000, "{shelved}");
}
