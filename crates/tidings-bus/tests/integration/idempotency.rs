//! A retry under the same `event_id` is harmless.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{self, bus, event, id, quiet};
use tidings_bus::protocol::{EventId, NewEvent};
use tidings_bus::{BusConfig, EventBus, Published};

fn keyed(key: impl std::fmt::Display, percent: f64) -> NewEvent {
    NewEvent::progress(percent, None).with_event_id(EventId::new(key.to_string()).unwrap())
}

async fn publish(bus: &EventBus, event: NewEvent) -> (u64, bool) {
    let Published {
        offset, duplicate, ..
    } = bus.publish(&id("t"), event).await.unwrap();
    (offset.get(), duplicate)
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_answers_with_the_first_offset_and_sends_nothing() {
    let bus = bus();
    let task = id("t");
    let first = bus.publish(&task, keyed("a", 10.0)).await.unwrap();
    assert!(!first.duplicate);
    bus.publish(&task, keyed("b", 20.0)).await.unwrap();
    let before = bus.snapshot(&task).unwrap();
    let mut watching = bus.subscribe(&task);

    let again = bus.publish(&task, keyed("a", 99.0)).await.unwrap();
    assert_eq!(
        again,
        Published {
            duplicate: true,
            ..first
        }
    );
    quiet(&mut watching).await;
    assert_eq!(bus.snapshot(&task).unwrap(), before);
    assert_eq!(bus.task(&task).unwrap().topic().head(), 2);
    let stats = bus.stats();
    assert_eq!(
        (stats.events_published, stats.duplicates, stats.refused),
        (2, 1, 0)
    );

    // A retry is also no late report after the task has ended.
    bus.task_completed(&task, None).await.unwrap();
    assert_eq!(publish(&bus, keyed("b", 20.0)).await, (2, true));
    assert_eq!(event(&mut watching).await.offset().get(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_same_id_in_another_task_is_another_event() {
    let bus = bus();
    bus.publish(&id("t"), keyed("a", 10.0)).await.unwrap();
    let other = bus.publish(&id("u"), keyed("a", 10.0)).await.unwrap();
    assert!(!other.duplicate);
}

#[tokio::test(start_paused = true)]
async fn an_id_that_was_refused_is_free() {
    let bus = bus();
    bus.publish(&id("t"), keyed("a", 101.0)).await.unwrap_err();
    assert_eq!(publish(&bus, keyed("a", 100.0)).await, (1, false));
}

#[tokio::test(start_paused = true)]
async fn an_id_counts_as_new_after_so_many_others() {
    let bus = EventBus::new(BusConfig::default().idempotency_ids(3)).unwrap();
    for (n, key) in ["a", "b", "c"].into_iter().enumerate() {
        assert_eq!(publish(&bus, keyed(key, 1.0)).await, (n as u64 + 1, false));
    }
    assert_eq!(
        publish(&bus, keyed("a", 1.0)).await,
        (1, true),
        "inside the window"
    );
    assert_eq!(publish(&bus, NewEvent::log("no id")).await, (4, false));
    assert_eq!(
        publish(&bus, keyed("a", 1.0)).await,
        (1, true),
        "events without one do not count"
    );
    assert_eq!(publish(&bus, keyed("d", 1.0)).await, (5, false));
    assert_eq!(publish(&bus, keyed("b", 1.0)).await, (2, true));
    assert_eq!(publish(&bus, keyed("a", 1.0)).await, (6, false), "outside");
    assert_eq!(
        publish(&bus, keyed("a", 1.0)).await,
        (6, true),
        "and known anew"
    );
}

#[tokio::test(start_paused = true)]
async fn an_id_counts_as_new_after_its_time() {
    let bus = bus();
    publish(&bus, keyed("a", 1.0)).await;
    tokio::time::advance(Duration::from_secs(5 * 60 - 1)).await;
    assert_eq!(publish(&bus, keyed("a", 1.0)).await, (1, true));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(
        publish(&bus, keyed("a", 1.0)).await,
        (2, false),
        "from the first, not the retry"
    );
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_of_an_event_that_is_no_longer_retained_is_still_one() {
    let bus = support::keeping(2);
    publish(&bus, keyed("a", 1.0)).await;
    support::publish_to(&bus, &id("t"), 10).await;
    assert_eq!(support::retained(&bus, &id("t")).await, [9, 10]);
    assert_eq!(publish(&bus, keyed("a", 1.0)).await, (1, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_retries_of_one_id_give_exactly_one_event() {
    const TASKS: usize = 16;
    const KEYS: usize = 200;
    let bus = bus();
    let mut watching = bus.subscribe(id("t"));
    let barrier = Arc::new(tokio::sync::Barrier::new(TASKS));
    let mut publishers = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let (bus, barrier) = (bus.clone(), Arc::clone(&barrier));
        publishers.spawn(async move {
            let mut answers = Vec::new();
            for key in 0..KEYS {
                barrier.wait().await;
                answers.push(publish(&bus, keyed(key, 1.0)).await);
            }
            answers
        });
    }
    let answers = publishers.join_all().await;
    for key in 0..KEYS {
        let of_key: Vec<_> = answers.iter().map(|answers| answers[key]).collect();
        let new = of_key.iter().filter(|(_, duplicate)| !duplicate).count();
        assert_eq!(new, 1, "key {key}: {of_key:?}");
        assert!(
            of_key.iter().all(|(offset, _)| *offset == key as u64 + 1),
            "{of_key:?}"
        );
    }
    for due in 1..=KEYS as u64 {
        assert_eq!(event(&mut watching).await.offset().get(), due);
    }
    assert_eq!(bus.stats().events_published, KEYS as u64);
    assert_eq!(bus.task(&id("t")).unwrap().topic().head(), KEYS as u64);
}
