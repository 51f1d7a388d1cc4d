//! Events are removed from disk by the size of a task, by the size of all tasks, and by age.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{MODES, config, fresh, id, open_with, publish_to};
use tidings_bus::protocol::Since;
use tidings_bus::{BusConfig, EventBus, ManualClock, Store};
use tidings_store::DiskStore;
use tidings_testkit::DEADLINE;

/// Returns the readable offsets, and whether a gap is announced before them.
async fn readable(bus: &EventBus, task: &str) -> (Vec<u64>, bool) {
    let page = bus.history(&id(task), Some(Since::Start), usize::MAX).await;
    let page = page.unwrap();
    let offsets = page.events.iter().map(|event| event.offset().get());
    (offsets.collect(), page.gap.is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_keeps_its_newest_events_and_its_state() {
    let directory = tempfile::tempdir().unwrap();
    let path = fresh(&directory);
    let small = config(MODES[0]).max_task_bytes(20_000);
    let (bus, _) = open_with(&path, small.clone()).await;
    publish_to(&bus, &id("t"), 2_000).await;
    let before = bus.snapshot(&id("t"));
    assert!(bus.shutdown().await);
    drop(bus);
    let (bus, recovered) = open_with(&path, small).await;
    assert!(recovered.bytes <= 20_000, "{recovered:?}");
    assert_eq!(bus.snapshot(&id("t")), before);
    let (offsets, gap) = readable(&bus, "t").await;
    assert!(gap, "what went is told");
    assert!(offsets.len() > 50, "{} events", offsets.len());
    let first = offsets[0];
    assert_eq!(offsets, (first..=2_000).collect::<Vec<_>>());
    bus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_ended_first_lose_their_events_first() {
    let directory = tempfile::tempdir().unwrap();
    let path = fresh(&directory);
    let small = config(MODES[0]).max_total_bytes(100_000);
    // There is room for all events, however long this takes.
    let (bus, _) = open_with(&path, config(MODES[0])).await;
    publish_to(&bus, &id("ended"), 300).await;
    bus.task_completed(&id("ended"), None).await.unwrap();
    publish_to(&bus, &id("running"), 600).await;
    assert!(bus.shutdown().await);
    drop(bus);
    // Housekeeping also runs while nobody publishes.
    let (store, found) = DiskStore::open(&path, small.clone()).await.unwrap();
    assert!(found.bytes > 100_000, "{found:?}");
    let firsts = || ["ended", "running"].map(|task| store.first(&id(task)).unwrap().get());
    let before = firsts();
    let waited = tokio::time::timeout(DEADLINE, async {
        while firsts() == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("something goes");
    let [ended, running] = firsts();
    assert!(
        ended == 302 || running == 1,
        "{ended} and {running}: nothing of what runs while the other has events"
    );
    store.close().await.unwrap();
    drop(store);
    let (bus, found) = open_with(&path, small).await;
    assert!(found.bytes <= 100_000, "{found:?}");
    let state = bus.snapshot(&id("ended")).unwrap();
    assert!(state.status.is_terminal(), "its end stays");
    bus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_when_they_are_too_old() {
    let directory = tempfile::tempdir().unwrap();
    let path = fresh(&directory);
    let clock = Arc::new(ManualClock::new(0));
    let day = |n: u64| n * 24 * 60 * 60 * 1_000;
    let open = async |now: u64| {
        clock.set(day(now));
        let config = config(MODES[0]).clock(clock.clone());
        let (store, _) = DiskStore::open(&path, config).await.unwrap();
        let bus = BusConfig::default()
            .clock(clock.clone())
            .idle_ttl(Duration::from_secs(365 * 24 * 60 * 60));
        let store = Arc::new(store);
        (
            EventBus::open(bus, Arc::clone(&store) as Arc<dyn Store>)
                .await
                .unwrap(),
            store,
        )
    };
    let (bus, store) = open(100).await;
    publish_to(&bus, &id("t"), 10).await;
    clock.set(day(104));
    publish_to(&bus, &id("t"), 20).await;
    bus.shutdown().await;
    drop((bus, store));
    let (bus, store) = open(108).await;
    let waited = tokio::time::timeout(DEADLINE, async {
        while store.first(&id("t")).unwrap().get() != 11 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("what is older than a week goes");
    let (offsets, gap) = readable(&bus, "t").await;
    assert_eq!((offsets, gap), ((11..=20).collect(), true));
    bus.shutdown().await;
}
