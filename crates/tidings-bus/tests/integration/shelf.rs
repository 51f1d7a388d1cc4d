//! With a store, tasks leave memory when it is short and come back on demand.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{self, event, id, publish_to, step};
use tidings_bus::protocol::{Data, EventId, EventType, NewEvent, Since, TaskId, TaskStatus};
use tidings_bus::{BusConfig, EventBus, Filter, Kind, MemoryStore, Store, Write};
use tidings_testkit::Checker;

const TASKS: u64 = 2_000;
const MODES: [Write; 2] = [Write::Through, Write::Behind];

/// Creates a bus with room for a few hundred tasks.
fn small() -> BusConfig {
    BusConfig::default()
        .total_bytes(512 * 1024)
        .clients_bytes(Some(64 * 1024))
        .sweep_interval(Duration::from_secs(600))
}

fn task(n: u64) -> TaskId {
    id(&format!("task-{n:05}"))
}

fn keyed(n: u64) -> NewEvent {
    step(n).with_event_id(EventId::new(format!("event-{n}")).unwrap())
}

/// Publishes two events to each of this many tasks.
async fn filled(write: Write) -> (EventBus, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::written(write));
    let bus = EventBus::open(small(), Arc::clone(&store) as Arc<dyn Store>)
        .await
        .unwrap();
    for n in 0..TASKS {
        bus.task_started(&task(n), "work").await.unwrap();
        bus.publish(&task(n), keyed(n)).await.unwrap();
        if n % 100 == 0 {
            // Gives the writer some rounds.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    (bus, store)
}

#[tokio::test(start_paused = true)]
async fn idle_tasks_leave_memory_and_none_is_lost() {
    for write in MODES {
        let (bus, _) = filled(write).await;
        let stats = bus.stats();
        assert!(
            stats.bytes <= bus.ledger().limits().tasks,
            "{write:?}: {stats:?}"
        );
        assert!(stats.tasks_shelved > TASKS / 2, "{write:?}: {stats:?}");
        assert_eq!(stats.tasks_removed, 0, "{write:?}");
        assert!(
            bus.task(&task(0)).is_none(),
            "{write:?}: the longest idle went"
        );
        let found = bus
            .find(&task(0))
            .await
            .unwrap()
            .expect("it is in the store");
        assert_eq!((found.offset.get(), found.status), (2, TaskStatus::Running));
        assert!(
            bus.task(&task(0)).is_none(),
            "{write:?}: a look leaves it there"
        );
        let all = bus.find_all("", None, None, usize::MAX).await.unwrap();
        let ids: Vec<_> = all.iter().map(|found| found.task_id.clone()).collect();
        assert_eq!(ids, (0..TASKS).map(task).collect::<Vec<_>>(), "{write:?}");
        let seventh = task(7);
        let page = bus.find_all("task-000", Some(TaskStatus::Running), Some(&seventh), 3);
        let page = page.await.unwrap();
        let ids: Vec<_> = page.iter().map(|found| found.task_id.clone()).collect();
        assert_eq!(ids, [task(8), task(9), task(10)], "{write:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_comes_back_as_it_was_when_it_is_published_to() {
    for write in MODES {
        let (bus, store) = filled(write).await;
        let before = bus.find(&task(3)).await.unwrap().unwrap();
        let retried = bus.publish(&task(3), keyed(3)).await.unwrap();
        assert_eq!(
            (retried.offset.get(), retried.duplicate),
            (2, true),
            "{write:?}"
        );
        let next = bus.publish(&task(3), step(9)).await.unwrap();
        assert_eq!(
            (next.offset.get(), &next.epoch),
            (3, &before.epoch),
            "{write:?}"
        );
        let page = bus.history(&task(4), Some(Since::Start), 10).await.unwrap();
        assert_eq!((page.events.len(), page.gap), (2, None), "{write:?}");
        assert!(bus.shutdown().await, "{write:?}");
        let bus = EventBus::open(small(), store as Arc<dyn Store>)
            .await
            .unwrap();
        let after = bus.find(&task(3)).await.unwrap().unwrap();
        assert_eq!(
            (after.offset.get(), &after.epoch),
            (3, &before.epoch),
            "{write:?}"
        );
        let all = bus.find_all("", None, None, usize::MAX).await.unwrap();
        assert_eq!(all.len() as u64, TASKS, "{write:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_watches_a_task_that_left_gets_its_state_and_what_follows() {
    for write in MODES {
        let (bus, _) = filled(write).await;
        // Joins as connections do.
        bus.fetch(&task(5), None)
            .await
            .unwrap()
            .expect("it is there");
        let mut watching = bus.subscribe(task(5));
        let standing = watching.standing().unwrap();
        assert_eq!(standing.offset.get(), 2, "{write:?}");
        bus.publish(&task(5), step(9)).await.unwrap();
        assert_eq!(event(&mut watching).await.offset().get(), 3, "{write:?}");
        // Joins without a fetch first.
        let mut watching = bus.subscribe(Filter::task(task(6)));
        bus.publish(&task(6), step(9)).await.unwrap();
        let mut checker = Checker::from(1);
        while checker.expected().is_none_or(|next| next < 4) {
            support::check(&mut checker, &support::next(&mut watching).await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_watched_or_leased_stays_in_memory() {
    for write in MODES {
        let store = Arc::new(MemoryStore::written(write));
        let bus = EventBus::open(small(), store as Arc<dyn Store>)
            .await
            .unwrap();
        let (watched, leased) = (id("watched"), id("leased"));
        publish_to(&bus, &watched, 2).await;
        let mut watching = bus.subscribe(&watched);
        let data = Data::parse(r#"{"name":"work","lease_ms":3600000}"#).unwrap();
        let started = NewEvent::new(EventType::TaskStarted, data);
        bus.publish(&leased, started).await.unwrap();
        for n in 0..TASKS {
            bus.task_started(&task(n), "work").await.unwrap();
            if n % 100 == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        assert!(bus.stats().tasks_shelved > 0, "{write:?}");
        assert!(bus.task(&watched).is_some() && bus.task(&leased).is_some());
        bus.publish(&watched, step(9)).await.unwrap();
        assert_eq!(event(&mut watching).await.offset().get(), 3, "{write:?}");
        tokio::time::sleep(Duration::from_secs(3 * 60 * 60)).await;
        support::settle().await;
        let status = bus.snapshot(&leased).unwrap().status;
        assert_eq!(status, TaskStatus::Failed, "{write:?}: the lease ran out");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_in_the_store_alone_goes_when_its_time_is_up() {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    for write in MODES {
        let clock = Arc::new(tidings_bus::ManualClock::new(1_000_000));
        let store = Arc::new(MemoryStore::written(write));
        let config = small().idle_ttl(48 * HOUR).clock(clock.clone());
        let bus = EventBus::open(config, Arc::clone(&store) as Arc<dyn Store>)
            .await
            .unwrap();
        for n in 0..TASKS {
            bus.task_started(&task(n), "work").await.unwrap();
            if n % 100 == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        // The clock jumps forward by a week, and no task looks old because of it.
        clock.set(1_000_000 + 7 * 24 * 60 * 60 * 1_000);
        tokio::time::sleep(HOUR).await;
        let all = bus.find_all("", None, None, usize::MAX).await.unwrap();
        assert_eq!(all.len() as u64, TASKS, "{write:?}");
        tokio::time::sleep(50 * HOUR).await;
        let all = store.list("", None, usize::MAX).await.unwrap();
        assert!(all.is_empty(), "{write:?}: {} are left", all.len());
    }
}

async fn start_child(bus: &EventBus, child: &TaskId, parent: &str) {
    let data = format!(r#"{{"name":"work","parent_task_id":"{parent}"}}"#);
    let started = NewEvent::new(EventType::TaskStarted, Data::parse(&data).unwrap());
    bus.publish(child, started).await.unwrap();
}

/// Returns the bytes that all accounts pay for trees.
fn trees(bus: &EventBus) -> u64 {
    let kinds = bus.ledger().held_by_kind();
    let held = kinds.into_iter().find(|(kind, _)| *kind == Kind::Tree);
    held.map_or(0, |(_, bytes)| bytes)
}

#[tokio::test(start_paused = true)]
async fn trees_are_paid_for_whether_their_tasks_are_in_memory_or_not() {
    const CHILDREN: u64 = 1_000;
    // The cost of a child and a parent while both are in memory.
    let large = EventBus::new(BusConfig::default()).unwrap();
    start_child(&large, &task(0), "top").await;
    let first = trees(&large);
    start_child(&large, &task(1), "top").await;
    let a_child = trees(&large) - first;
    let all = CHILDREN * a_child + (first - a_child);

    for write in MODES {
        let store = Arc::new(MemoryStore::written(write));
        let open = || EventBus::open(small(), Arc::clone(&store) as Arc<dyn Store>);
        let bus = open().await.unwrap();
        for n in 0..CHILDREN {
            start_child(&bus, &task(n), "top").await;
            if n % 100 == 0 {
                // Gives the writer some rounds.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let shelved = bus.stats().tasks_shelved;
        assert!(shelved > CHILDREN / 4, "{write:?}: {shelved}");
        assert_eq!(trees(&bus), all, "{write:?}");
        // A task that comes back pays itself, and not twice.
        bus.publish(&task(0), step(1)).await.unwrap();
        assert_eq!(trees(&bus), all, "{write:?}");
        bus.shutdown().await;

        let bus = open().await.unwrap();
        assert_eq!(trees(&bus), all, "{write:?}: after a restart");
        for n in 0..CHILDREN {
            bus.remove(&task(n)).await.unwrap();
        }
        assert_eq!(trees(&bus), 0, "{write:?}: after the last child");
    }
}
