//! No event is lost or repeated between the state that a subscriber joins with and the events
//! after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::support::{check, id, limited, next};
use tidings_bus::protocol::NewEvent;
use tidings_bus::{Delivery, EventBus, Filter};
use tidings_testkit::{Checker, DEADLINE};

const TASKS: u64 = 3;
const JOINERS: usize = 4_000;
/// The number of joiners at the same time.
const AT_ONCE: usize = 50;
/// The number of events that each joiner reads.
const READS: u64 = 20;

/// Publishers without a pause. Dropping this value stops them.
struct Publishers {
    stop: Arc<AtomicBool>,
    published: Arc<AtomicU64>,
}

impl Publishers {
    fn start(bus: &EventBus) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let published = Arc::new(AtomicU64::new(0));
        for task in (0..TASKS).flat_map(|task| [task, task]) {
            let (bus, stop, published) = (bus.clone(), Arc::clone(&stop), Arc::clone(&published));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let event = NewEvent::progress(50.0, "on and on");
                    bus.publish(&id(&format!("t{task}")), event).await.unwrap();
                    published.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            });
        }
        Self { stop, published }
    }
}

impl Drop for Publishers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Joins, and checks that the events begin right after the joined state.
async fn join_live(bus: &EventBus, task: u64) {
    let mut watching = bus.subscribe(id(&format!("t{task}")));
    let standing = watching.standing().unwrap();
    let snapshot = standing.snapshot.clone().unwrap();
    assert_eq!(snapshot.offset, standing.offset);
    assert_eq!(snapshot.epoch, standing.epoch);
    let mut checker = Checker::from(snapshot.offset.get() + 1);
    let first = next(&mut watching).await;
    if let Delivery::Event(event) = &first {
        assert_eq!(event.offset().get(), snapshot.offset.get() + 1);
    }
    check(&mut checker, &first);
    while checker.delivered() < READS {
        check(&mut checker, &next(&mut watching).await);
    }
    assert!(
        checker.gaps().is_empty(),
        "nobody was slow: {:?}",
        checker.gaps()
    );
}

/// Joins with history, and checks that live events follow the history without a hole.
async fn join_with_history(bus: &EventBus, task: u64) {
    let mut watching = bus.subscribe(Filter::task(id(&format!("t{task}"))).history(10));
    let head = watching.standing().unwrap().offset.get();
    let mut checker = Checker::with_history(head);
    while checker.delivered() < READS || checker.expected().unwrap() <= head {
        check(&mut checker, &next(&mut watching).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn joiners_get_the_event_after_their_snapshot_and_all_that_follow() {
    let bus = EventBus::new(limited(100_000)).unwrap();
    let publishers = Publishers::start(&bus);
    let mut joiners = tokio::task::JoinSet::new();
    for joiner in 0..AT_ONCE {
        let bus = bus.clone();
        joiners.spawn(async move {
            for round in 0..JOINERS / AT_ONCE {
                let task = (joiner + round) as u64 % TASKS;
                if round % 4 == 3 {
                    join_with_history(&bus, task).await;
                } else {
                    join_live(&bus, task).await;
                }
            }
        });
    }
    let all = tokio::time::timeout(DEADLINE * 2, joiners.join_all());
    let joined = all.await.expect("all joiners in time").len();
    assert_eq!(joined, AT_ONCE);
    assert!(
        publishers.published.load(Ordering::Relaxed) > READS,
        "there was something to join"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_watches_everything_gets_tasks_that_appear_meanwhile_from_1() {
    const WRITERS: u64 = 4;
    const EACH: u64 = 200;
    let bus = EventBus::new(limited(1_000)).unwrap();
    let mut watchers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut watching = bus.subscribe(Filter::everything());
        watchers.spawn(async move {
            let mut tasks = std::collections::BTreeMap::<String, Checker>::new();
            for _ in 0..WRITERS * EACH * 2 {
                let delivery = next(&mut watching).await;
                let Delivery::Event(event) = &delivery else {
                    panic!("{delivery:?}")
                };
                let task = event.task_id().unwrap().to_string();
                check(
                    tasks.entry(task).or_insert_with(|| Checker::from(1)),
                    &delivery,
                );
            }
            tasks.len() as u64
        });
    }
    for writer in 0..WRITERS {
        let bus = bus.clone();
        tokio::spawn(async move {
            for n in 0..EACH {
                for _ in 0..2 {
                    // Two writers meet in each task, so that either may create it.
                    let task = id(&format!("t{}-{n}", writer / 2));
                    bus.publish(&task, NewEvent::log("line")).await.unwrap();
                }
            }
        });
    }
    while let Some(tasks) = watchers.join_next().await {
        assert_eq!(tasks.unwrap(), WRITERS / 2 * EACH);
    }
}
