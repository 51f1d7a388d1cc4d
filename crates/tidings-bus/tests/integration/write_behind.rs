//! With a write-behind store, an event is visible at once and stored soon after. Waiting events
//! are neither dropped nor reordered.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::{self, Gated, event, id, offset, retained, settle, step};
use tidings_bus::protocol::{ErrorCode, NewEvent};
use tidings_bus::{
    BusConfig, BusConfigError, BusOpenError, EventBus, LocalBroker, LogLimits, MemoryStore, Store,
    Write, conformance,
};
use tokio::sync::Semaphore;

/// Lets the bus's writer run some rounds. The test controls the time.
async fn some_rounds() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// Creates a bus that keeps three events of a task in memory.
async fn open(store: &Arc<Gated>) -> EventBus {
    let limits = LogLimits {
        max_events: 3,
        max_bytes: 1 << 20,
    };
    let config = BusConfig::default().log_limits(limits);
    let store = Arc::clone(store) as Arc<dyn Store>;
    EventBus::open(config, store).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_event_is_seen_and_acknowledged_before_the_store_has_it() {
    let store = Gated::new(Write::Behind, 0);
    let bus = open(&store).await;
    let mut watching = bus.subscribe(id("t"));
    let published = bus.task_started(&id("t"), "work").await.unwrap();
    assert_eq!(published.offset, offset(1));
    assert_eq!(event(&mut watching).await.offset(), offset(1));
    assert_eq!(store.stored("t").await, [0_u64; 0]);
    assert!(bus.stats().bytes_unsaved > 0);

    store.gate.add_permits(1);
    some_rounds().await;
    assert_eq!(store.stored("t").await, [1]);
    assert_eq!(bus.stats().bytes_unsaved, 0);
}

#[tokio::test(start_paused = true)]
async fn a_burst_becomes_one_append_and_stays_in_memory_until_it_is_stored() {
    let store = Gated::new(Write::Behind, 0);
    let bus = open(&store).await;
    support::publish_to(&bus, &id("t"), 40).await;
    assert_eq!(
        retained(&bus, &id("t")).await.len(),
        40,
        "only what is stored may go"
    );
    store.gate.add_permits(100);
    some_rounds().await;
    assert_eq!(store.stored("t").await, (1..=40).collect::<Vec<_>>());
    assert!(
        store.appends.load(Ordering::SeqCst) <= 2,
        "one of what was there when it began, one of the rest"
    );
    bus.publish(&id("t"), step(0)).await.unwrap();
    some_rounds().await;
    assert_eq!(bus.stats().bytes_unsaved, 0);
    assert!(bus.stats().bytes < 4_096, "{}", bus.stats().bytes);
}

#[tokio::test(start_paused = true)]
async fn what_the_store_refused_is_handed_over_again_in_order() {
    let store = Gated::new(Write::Behind, 1_000);
    let bus = open(&store).await;
    store.failing.store(true, Ordering::SeqCst);
    support::publish_to(&bus, &id("t"), 5).await;
    some_rounds().await;
    support::publish_to(&bus, &id("t"), 9).await;
    some_rounds().await;
    assert_eq!(store.stored("t").await, [0_u64; 0]);
    store.failing.store(false, Ordering::SeqCst);
    some_rounds().await;
    assert_eq!(store.stored("t").await, (1..=9).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_not_available_refuses_publishes_until_it_is() {
    let store = Gated::new(Write::Behind, 1_000);
    let bus = open(&store).await;
    let mut watching = bus.subscribe(id("t"));
    store.unavailable.store(true, Ordering::SeqCst);
    assert!(!bus.is_available());
    let refused = bus.publish(&id("t"), step(1)).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unavailable);
    store.unavailable.store(false, Ordering::SeqCst);
    assert!(bus.is_available());
    bus.publish(&id("t"), step(1)).await.unwrap();
    assert_eq!(event(&mut watching).await.offset(), offset(1));
}

#[tokio::test(start_paused = true)]
async fn publishers_that_wait_for_room_are_refused_when_the_store_fails() {
    let store = Gated::new(Write::Behind, 0);
    let bus = open(&store).await;
    // This is more than the limit, so that a publisher waits when the store fails.
    let publisher = tokio::spawn({
        let bus = bus.clone();
        async move {
            let text = "x".repeat(60_000);
            let mut taken = 0;
            loop {
                let event = NewEvent::progress(1.0, text.as_str());
                match bus.publish(&id("t"), event).await {
                    Ok(_) => taken += 1,
                    Err(error) => return (taken, error.code()),
                }
            }
        }
    });
    some_rounds().await;
    let waiting = bus.stats().bytes_unsaved;
    some_rounds().await;
    assert_eq!(bus.stats().bytes_unsaved, waiting, "it waits for room");
    assert!(!publisher.is_finished());

    store.unavailable.store(true, Ordering::SeqCst);
    store.failing.store(true, Ordering::SeqCst);
    store.gate.add_permits(1_000);
    let refused = tokio::time::timeout(tidings_testkit::DEADLINE, publisher);
    let (taken, code) = refused.await.expect("an answer").unwrap();
    assert_eq!(code, ErrorCode::Unavailable);

    store.unavailable.store(false, Ordering::SeqCst);
    store.failing.store(false, Ordering::SeqCst);
    some_rounds().await;
    assert_eq!(bus.stats().bytes_unsaved, 0);
    let stored = store.stored("t").await;
    assert_eq!(stored, (1..=taken).collect::<Vec<_>>(), "and no other");
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_order_hands_over_the_rest_and_closes_the_store() {
    let store = Gated::new(Write::Behind, 1_000);
    let bus = open(&store).await;
    support::publish_to(&bus, &id("t"), 7).await;
    let before = bus.snapshot(&id("t"));
    assert!(bus.shutdown().await);
    assert!(store.closed.load(Ordering::SeqCst));
    assert_eq!(store.stored("t").await, (1..=7).collect::<Vec<_>>());
    bus.publish(&id("t"), step(8)).await.unwrap_err();
    let bus = open(&store).await;
    assert_eq!(bus.snapshot(&id("t")), before, "state, offset and epoch");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_did_not_take_the_rest_is_not_closed() {
    let store = Gated::new(Write::Behind, 1_000);
    let bus = open(&store).await;
    store.failing.store(true, Ordering::SeqCst);
    support::publish_to(&bus, &id("t"), 7).await;
    assert!(!bus.shutdown().await);
    assert!(!store.closed.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_removed_before_it_was_stored_leaves_nothing_behind() {
    let store = Gated::new(Write::Behind, 1_000);
    let bus = open(&store).await;
    support::publish_to(&bus, &id("t"), 7).await;
    assert!(bus.remove(&id("t")).await.unwrap());
    some_rounds().await;
    assert_eq!(store.stored("t").await, [0_u64; 0]);
    assert_eq!(bus.stats().bytes_unsaved, 0);
    bus.publish(&id("t"), step(1)).await.unwrap();
    some_rounds().await;
    assert_eq!(store.stored("t").await, [1]);
}

#[tokio::test]
async fn several_nodes_are_refused() {
    let config = BusConfig::default().broker(Some(Arc::new(LocalBroker::new())));
    let store = Arc::new(MemoryStore::written(Write::Behind));
    let refused = EventBus::open(config, store).await.unwrap_err();
    assert!(matches!(
        refused,
        BusOpenError::Config(BusConfigError::BehindIsShared)
    ));
}

#[tokio::test(start_paused = true)]
async fn what_the_store_took_without_saying_so_does_not_wait_any_more() {
    let store = Gated::new(Write::Behind, Semaphore::MAX_PERMITS);
    let bus = open(&store).await;
    store.silent.store(true, Ordering::SeqCst);
    for n in 1..=5 {
        bus.publish(&id("t"), step(n)).await.unwrap();
    }
    settle().await;
    assert_eq!(store.stored("t").await, [1, 2, 3, 4, 5]);
    assert!(
        bus.stats().bytes_unsaved > 0,
        "the bus does not know it yet"
    );
    store.silent.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bus.stats().bytes_unsaved, 0);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_revives_as_its_time_is_up_keeps_its_event() {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let store = Gated::new(Write::Behind, Semaphore::MAX_PERMITS);
    let config = BusConfig::default().idle_ttl(HOUR);
    let bus = EventBus::open(config.clone(), Arc::clone(&store) as Arc<dyn Store>)
        .await
        .unwrap();
    bus.publish(&id("t"), step(1)).await.unwrap();
    settle().await;
    store.removals.forget_permits(usize::MAX);
    tokio::time::sleep(2 * HOUR).await;
    settle().await;
    // The removal is on its way to the store.
    let revived = bus.publish(&id("t"), step(2)).await.unwrap();
    store.removals.add_permits(1_000);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let snapshot = bus.snapshot(&id("t")).expect("it was published to");
    assert_eq!(
        (snapshot.offset, &snapshot.epoch),
        (revived.offset, &revived.epoch)
    );
    assert_eq!(store.stored("t").await, [revived.offset.get()]);
    assert!(bus.shutdown().await);
    let bus = EventBus::open(config, store as Arc<dyn Store>)
        .await
        .unwrap();
    let snapshot = bus.snapshot(&id("t")).expect("it outlives a restart");
    assert_eq!(
        (snapshot.offset, &snapshot.epoch),
        (revived.offset, &revived.epoch)
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_removal_left_in_the_store_makes_way_for_the_next_life() {
    let store = Gated::new(Write::Behind, Semaphore::MAX_PERMITS);
    let bus = open(&store).await;
    // An earlier process has left it behind, and this bus does not know of it.
    let left = conformance::example("t", "before", 1..=3);
    store.inner.append(left).await.unwrap();
    for n in 1..=2 {
        bus.publish(&id("t"), step(n)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.stored("t").await, [1, 2]);
    assert_eq!(
        bus.snapshot(&id("t")).unwrap().offset.get(),
        2,
        "nothing is lost"
    );
}
