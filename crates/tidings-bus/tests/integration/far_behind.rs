//! The store serves readers that are behind the events in memory. They get the same guarantees,
//! and memory does not fill up.

use std::sync::Arc;

use crate::support::{self, check_to, id, offset, retained, step};
use tidings_bus::protocol::{EventId, GapReason, Position, ResetReason, Since};
use tidings_bus::{BusConfig, EventBus, Filter, LogLimits, MemoryStore, SkipPolicy, Store, Write};
use tidings_testkit::Checker;

/// Creates a bus that keeps three events of a task in memory, and all in the store.
async fn open(store: &Arc<MemoryStore>) -> EventBus {
    let limits = LogLimits {
        max_events: 3,
        max_bytes: 1 << 20,
    };
    let config = BusConfig::default().log_limits(limits);
    EventBus::open(config, Arc::clone(store) as Arc<dyn Store>)
        .await
        .unwrap()
}

async fn with_events(write: Write, events: u64) -> (Arc<MemoryStore>, EventBus) {
    let store = Arc::new(MemoryStore::written(write));
    let bus = open(&store).await;
    support::publish_to(&bus, &id("t"), events).await;
    // The test controls the time, so the writer has written everything now.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    bus.publish(&id("t"), step(events)).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    (store, bus)
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_gets_all_of_a_history_that_memory_has_not() {
    for write in [Write::Through, Write::Behind] {
        let (_, bus) = with_events(write, 2_999).await;
        assert!(
            bus.stats().bytes < 8_192,
            "{write:?}: {}",
            bus.stats().bytes
        );
        let mut checker = Checker::from(1);
        let mut watching = bus.subscribe(Filter::task(id("t")).since(Since::Start));
        let events = check_to(&mut checker, &mut watching, 3_000).await;
        assert_eq!(events.len(), 3_000, "{write:?}");
        assert_eq!(checker.gaps(), [], "{write:?}");
        // Later events come from memory.
        bus.publish(&id("t"), step(1)).await.unwrap();
        check_to(&mut checker, &mut watching, 3_001).await;
    }
}

#[tokio::test(start_paused = true)]
async fn history_pages_join_across_the_store_and_memory() {
    let (_, bus) = with_events(Write::Behind, 999).await;
    assert_eq!(
        retained(&bus, &id("t")).await,
        (1..=1_000).collect::<Vec<_>>()
    );
    let mut seen = Vec::new();
    let mut since = Since::Start;
    loop {
        let page = bus.history(&id("t"), Some(since), 77).await.unwrap();
        assert_eq!(page.gap, None);
        if page.events.is_empty() {
            break;
        }
        seen.extend(page.events.iter().map(|event| event.offset().get()));
        since = Since::After(page.next);
    }
    assert_eq!(seen, (1..=1_000).collect::<Vec<_>>());
    let newest = bus.history(&id("t"), None, 10).await.unwrap();
    assert_eq!(newest.events.len(), 10, "more than memory has");
}

#[tokio::test(start_paused = true)]
async fn many_tasks_at_once_each_in_order() {
    let (_, bus) = with_events(Write::Through, 50).await;
    for task in 0..20 {
        support::publish_to(&bus, &id(&format!("t{task}")), 40).await;
    }
    let everything = Filter::everything().since(Since::Start);
    let mut watching = bus.subscribe(everything);
    let mut checkers = std::collections::BTreeMap::<_, Checker>::new();
    let mut left = 20 * 40 + 51;
    while left > 0 {
        let delivery = support::next(&mut watching).await;
        let tidings_bus::Delivery::Event(event) = delivery else {
            panic!("{delivery:?}");
        };
        let task = event.task_id().unwrap().clone();
        let checker = checkers.entry(task).or_insert_with(|| Checker::from(1));
        checker.event(event.offset().get()).unwrap();
        left -= 1;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_trimmed_from_the_store_becomes_a_gap() {
    let (store, bus) = with_events(Write::Through, 100).await;
    let before = bus.snapshot(&id("t")).unwrap().epoch.clone();
    // Trim without the bus, as a store that limits itself does.
    store.trim(&id("t"), offset(40)).await.unwrap();
    let start = Since::After(Position::new(before, offset(5)));
    let mut watching = bus.subscribe(Filter::task(id("t")).since(start));
    let mut checker = Checker::from(6);
    let events = check_to(&mut checker, &mut watching, 101).await;
    assert_eq!(events[0].offset(), offset(40));
    let gaps = checker.gaps();
    assert_eq!((gaps[0].from, gaps[0].to), (offset(6), offset(39)));
    assert_eq!(gaps.len(), 1);
    // The bus knows it from now on.
    let late = bus.subscribe(Filter::task(id("t")).since(Since::Start));
    drop(late);
    let page = bus.history(&id("t"), Some(Since::Start), 1).await.unwrap();
    assert_eq!(page.gap.unwrap().reason, GapReason::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_lagging_reader_skips_in_the_store_too_and_is_told() {
    let (_, bus) = with_events(Write::Through, 1).await;
    for percent in 3..=2_001 {
        let percent = f64::from(percent % 100);
        bus.progress(&id("t"), percent, "on").await.unwrap();
    }
    let filter = Filter::task(id("t"))
        .since(Since::Start)
        .skip(SkipPolicy::behind(100));
    let mut watching = bus.subscribe(filter);
    let mut checker = Checker::from(1);
    let events = check_to(&mut checker, &mut watching, 2_001).await;
    assert!(events.len() < 200, "{} events", events.len());
    assert!(
        checker
            .gaps()
            .iter()
            .all(|gap| gap.reason == GapReason::Conflated)
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_removed_while_it_is_read_starts_over() {
    let (_, bus) = with_events(Write::Through, 2_000).await;
    let mut watching = bus.subscribe(Filter::task(id("t")).since(Since::Start));
    let mut checker = Checker::from(1);
    check_to(&mut checker, &mut watching, 10).await;
    assert!(bus.remove(&id("t")).await.unwrap());
    bus.publish(&id("t"), step(1)).await.unwrap();
    loop {
        let delivery = support::next(&mut watching).await;
        support::check(&mut checker, &delivery);
        if let tidings_bus::Delivery::Reset { reason, .. } = delivery {
            assert_eq!(reason, ResetReason::Removed);
            break;
        }
    }
    check_to(&mut checker, &mut watching, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_recognised_after_a_start_although_nothing_was_read_then() {
    for write in [Write::Through, Write::Behind] {
        let store = Arc::new(MemoryStore::written(write));
        let bus = open(&store).await;
        let keyed = |key: &str| step(1).with_event_id(EventId::new(key).unwrap());
        for key in ["a", "b", "c", "d", "e"] {
            bus.publish(&id("t"), keyed(key)).await.unwrap();
        }
        bus.shutdown().await;
        let bus = open(&store).await;
        assert_eq!(bus.stats().bytes, tidings_bus::defaults::TASK_BYTES as u64);
        let again = bus.publish(&id("t"), keyed("b")).await.unwrap();
        assert_eq!(
            (again.offset, again.duplicate),
            (offset(2), true),
            "{write:?}"
        );
        let new = bus.publish(&id("t"), keyed("f")).await.unwrap();
        assert_eq!((new.offset, new.duplicate), (offset(6), false), "{write:?}");
    }
}
