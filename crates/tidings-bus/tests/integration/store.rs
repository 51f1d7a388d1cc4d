//! With a store, an event is stored before it is visible, and stored events come back after a
//! restart.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::{
    self, Gated, check_to, event, id, offset, offsets, quiet, retained, settle, step,
};
use serde_json::json;
use tidings_bus::protocol::{
    Data, ErrorCode, EventId, EventType, NewEvent, Offset, Position, ProducerId, ProducerStamp,
    ResetReason, Since, TaskId, TaskStatus,
};
use tidings_bus::{
    Append, BusConfig, EventBus, Filter, LocalBroker, MemoryStore, PublishError, Store, StoreError,
    StoredEvent, StoredTask, Write, conformance,
};
use tidings_testkit::{Checker, DEADLINE};

async fn open(store: &Arc<impl Store>) -> EventBus {
    let store = Arc::clone(store) as Arc<dyn Store>;
    EventBus::open(BusConfig::default(), store).await.unwrap()
}

fn keyed(key: &str) -> NewEvent {
    step(0).with_event_id(EventId::new(key).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_reopened_bus_goes_on_where_the_last_one_was() {
    let store = Arc::new(MemoryStore::new());
    let (running, done) = (id("running"), id("done"));
    let bus = open(&store).await;
    bus.task_started(&running, "work").await.unwrap();
    bus.publish(&running, keyed("a")).await.unwrap();
    bus.task_completed(&done, Some(json!(7))).await.unwrap();
    let before = (
        bus.snapshot(&running).unwrap(),
        bus.snapshot(&done).unwrap(),
    );
    bus.shutdown().await;
    drop(bus);

    let bus = open(&store).await;
    assert_eq!(
        bus.snapshot(&running).unwrap(),
        before.0,
        "same state, offset and epoch"
    );
    assert_eq!(bus.snapshot(&done).unwrap(), before.1);
    assert_eq!(
        bus.list("", Some(TaskStatus::Running), None, 10),
        [Arc::clone(&before.0)]
    );
    assert_eq!(retained(&bus, &running).await, [1, 2]);
    let again = bus.publish(&running, keyed("a")).await.unwrap();
    assert_eq!((again.offset.get(), again.duplicate), (2, true));
    assert_eq!(again.epoch, before.0.epoch);

    // A subscriber from before the restart continues without a notice.
    let seen = Position::new(before.0.epoch.clone(), offset(1));
    let mut back = bus.subscribe(Filter::task(running.clone()).since(Since::After(seen)));
    assert_eq!(
        bus.publish(&running, step(3)).await.unwrap().offset.get(),
        3
    );
    assert_eq!(offsets(&mut back, 2).await, [2, 3]);
    let late = bus.progress(&done, 50.0, "late").await.unwrap_err();
    assert_eq!(
        late.code(),
        ErrorCode::InvalidTransition,
        "an end stays an end"
    );
}

#[tokio::test(start_paused = true)]
async fn a_reopened_bus_has_the_end_of_a_task_whose_events_are_gone_from_the_store() {
    let store = Arc::new(MemoryStore::new());
    let task = id("t");
    let bus = open(&store).await;
    bus.task_started(&task, "work").await.unwrap();
    bus.task_completed(&task, Some(json!(7))).await.unwrap();
    let before = bus.snapshot(&task).unwrap();
    bus.shutdown().await;
    store.trim(&task, offset(3)).await.unwrap();

    let bus = open(&store).await;
    assert_eq!(bus.snapshot(&task), Some(before));
    assert_eq!(retained(&bus, &task).await, [0_u64; 0]);
    assert_eq!(
        bus.task_started(&task, "again").await.unwrap().offset.get(),
        3
    );
}

#[tokio::test(start_paused = true)]
async fn a_removed_task_is_gone_from_the_store_too() {
    let store = Arc::new(MemoryStore::new());
    let bus = open(&store).await;
    bus.task_started(&id("t"), "work").await.unwrap();
    assert!(bus.remove(&id("t")).await.unwrap());
    bus.shutdown().await;
    let bus = open(&store).await;
    assert!(bus.snapshot(&id("t")).is_none());
    assert_eq!(
        bus.task_started(&id("t"), "new")
            .await
            .unwrap()
            .offset
            .get(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_is_visible_only_once_the_store_has_it() {
    let store = Gated::new(Write::Through, 0);
    let bus = open(&store).await;
    let task = id("t");
    let mut watching = bus.subscribe(&task);
    let publishing = tokio::spawn({
        let (bus, task) = (bus.clone(), task.clone());
        async move { bus.task_started(&task, "work").await }
    });
    quiet(&mut watching).await;
    assert_eq!(store.waiting.load(Ordering::SeqCst), 1);
    assert!(bus.snapshot(&task).is_none());
    assert!(!publishing.is_finished());
    assert_eq!(bus.subscribe(&task).standing().unwrap().offset.get(), 0);

    store.gate.add_permits(1);
    assert_eq!(event(&mut watching).await.offset().get(), 1);
    assert_eq!(publishing.await.unwrap().unwrap().offset.get(), 1);
    assert_eq!(bus.snapshot(&task).unwrap().status, TaskStatus::Running);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_the_store_refuses_is_not_published_and_its_offset_is_free() {
    let store = Gated::new(Write::Through, 100);
    let bus = open(&store).await;
    let task = id("t");
    bus.task_started(&task, "work").await.unwrap();
    let mut watching = bus.subscribe(&task);
    let before = bus.snapshot(&task).unwrap();

    store.failing.store(true, Ordering::SeqCst);
    let error = bus.publish(&task, keyed("a")).await.unwrap_err();
    assert!(matches!(error, PublishError::Unavailable(_)), "{error:?}");
    assert_eq!(error.code(), ErrorCode::Unavailable);
    quiet(&mut watching).await;
    assert_eq!(bus.snapshot(&task).unwrap(), before);
    assert_eq!(retained(&bus, &task).await, [1]);

    store.failing.store(false, Ordering::SeqCst);
    let published = bus.publish(&task, keyed("a")).await.unwrap();
    assert_eq!((published.offset.get(), published.duplicate), (2, false));
    assert_eq!(event(&mut watching).await.offset().get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_first_event_that_is_refused_leaves_no_task_behind() {
    let store = Gated::new(Write::Through, 100);
    let bus = open(&store).await;
    store.failing.store(true, Ordering::SeqCst);
    bus.task_started(&id("t"), "work").await.unwrap_err();
    assert_eq!((bus.stats().tasks, bus.stats().bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_is_dropped_in_the_middle_is_neither_lost_nor_doubled() {
    let store = Gated::new(Write::Through, 1);
    let bus = open(&store).await;
    let task = id("t");
    let mut watching = bus.subscribe(&task);
    bus.task_started(&task, "work").await.unwrap();
    let publishing = tokio::spawn({
        let (bus, task) = (bus.clone(), task.clone());
        async move { bus.publish(&task, keyed("a")).await }
    });
    settle().await;
    assert_eq!(
        store.waiting.load(Ordering::SeqCst),
        1,
        "it is with the store"
    );
    publishing.abort();
    assert!(publishing.await.unwrap_err().is_cancelled());

    store.gate.add_permits(100);
    let retry = bus.publish(&task, keyed("a")).await.unwrap();
    assert_eq!(
        (retry.offset.get(), retry.duplicate),
        (2, true),
        "it was published all the same"
    );
    assert_eq!(bus.publish(&task, step(3)).await.unwrap().offset.get(), 3);
    assert_eq!(offsets(&mut watching, 3).await, [1, 2, 3]);
    quiet(&mut watching).await;
    drop(bus);
    let bus = open(&store).await;
    assert_eq!(retained(&bus, &task).await, [1, 2, 3]);
}

/// Creates two nodes that share a store and a broker.
async fn two_nodes() -> [EventBus; 2] {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let broker: Arc<LocalBroker> = Arc::new(LocalBroker::new());
    let config = || BusConfig::default().broker(Some(broker.clone()));
    [
        EventBus::open(config(), Arc::clone(&store)).await.unwrap(),
        EventBus::open(config(), Arc::clone(&store)).await.unwrap(),
    ]
}

#[tokio::test(start_paused = true)]
async fn publishes_on_either_node_reach_watchers_on_both_in_order() {
    let [a, b] = two_nodes().await;
    let task = id("t");
    let mut on_a = a.subscribe(&task);
    let mut on_b = b.subscribe(&task);
    for n in 0..10_u64 {
        let bus = if n.is_multiple_of(3) { &a } else { &b };
        let published = bus.publish(&task, step(n)).await.unwrap();
        assert_eq!(published.offset.get(), n + 1);
        settle().await;
    }
    // Either node may have begun the task. An earlier watcher gets the task's first event, and
    // nothing before it.
    let mut checkers = [Checker::from(1), Checker::from(1)];
    let seen_a = check_to(&mut checkers[0], &mut on_a, 10).await;
    let seen_b = check_to(&mut checkers[1], &mut on_b, 10).await;
    for (events, checker) in [(&seen_a, &checkers[0]), (&seen_b, &checkers[1])] {
        assert_eq!(events.len(), 10);
        assert_eq!((checker.gaps().len(), checker.resets()), (0, 0));
    }
    let texts = |events: &[tidings_bus::EventRecord]| -> Vec<String> {
        events.iter().map(|event| event.json().to_owned()).collect()
    };
    assert_eq!(texts(&seen_a), texts(&seen_b), "byte for byte");
    assert_eq!(a.snapshot(&task), b.snapshot(&task), "epoch included");
}

#[tokio::test(start_paused = true)]
async fn a_retry_on_the_other_node_is_a_duplicate() {
    let [a, b] = two_nodes().await;
    let task = id("t");
    let first = a.publish(&task, keyed("k")).await.unwrap();
    settle().await;
    let retry = b.publish(&task, keyed("k")).await.unwrap();
    assert!(retry.duplicate);
    assert_eq!((retry.offset, retry.epoch), (first.offset, first.epoch));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_the_other_node_has_removed_starts_over_on_both() {
    let [a, b] = two_nodes().await;
    let task = id("t");
    let before = a.publish(&task, step(1)).await.unwrap();
    a.publish(&task, step(2)).await.unwrap();
    settle().await;
    assert_eq!(retained(&b, &task).await, [1, 2]);
    let mut on_b = b.subscribe(&task);

    assert!(a.remove(&task).await.unwrap());
    let after = b.publish(&task, step(3)).await.unwrap();
    assert_eq!(after.offset.get(), 1);
    assert_ne!(after.epoch, before.epoch);
    let (reason, goes_on, _) = support::reset(&mut on_b).await;
    assert_eq!((reason, goes_on), (ResetReason::Removed, 0));
    assert_eq!(offsets(&mut on_b, 1).await, [1]);
    settle().await;
    assert_eq!(a.snapshot(&task), b.snapshot(&task));
    assert_eq!(retained(&a, &task).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_later_has_what_the_first_one_wrote() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let broker: Arc<LocalBroker> = Arc::new(LocalBroker::new());
    let config = || BusConfig::default().broker(Some(broker.clone()));
    let a = EventBus::open(config(), Arc::clone(&store)).await.unwrap();
    support::publish_to(&a, &id("t"), 5).await;
    let b = EventBus::open(config(), Arc::clone(&store)).await.unwrap();
    assert_eq!(b.snapshot(&id("t")), a.snapshot(&id("t")));
    let mut on_a = a.subscribe(id("t"));
    support::publish_to(&b, &id("t"), 8).await;
    assert_eq!(offsets(&mut on_a, 3).await, [6, 7, 8]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_that_publish_to_one_task_at_once_lose_and_double_nothing() {
    const EACH: u64 = 300;
    for round in 0..5 {
        let nodes = two_nodes().await;
        let task = id("t");
        let mut watchers = tokio::task::JoinSet::new();
        for node in &nodes {
            let mut watching = node.subscribe(&task);
            watchers.spawn(async move {
                let mut checker = Checker::from(1);
                let events = check_to(&mut checker, &mut watching, 2 * EACH).await;
                assert_eq!((checker.gaps().len(), checker.resets()), (0, 0));
                events
                    .iter()
                    .map(|event| event.json().to_owned())
                    .collect::<Vec<_>>()
            });
        }
        let mut publishers = tokio::task::JoinSet::new();
        for (n, node) in nodes.iter().cloned().enumerate() {
            let task = task.clone();
            publishers.spawn(async move {
                let mut offsets = Vec::new();
                for i in 0..EACH {
                    let event = keyed(&format!("{n}-{i}"));
                    offsets.push(loop {
                        match node.publish(&task, event.clone()).await {
                            Ok(published) => break published.offset.get(),
                            // The other node was faster too often. Try again, as the error says.
                            Err(PublishError::Unavailable(_)) => {}
                            Err(error) => panic!("{error}"),
                        }
                    });
                }
                offsets
            });
        }
        let all = async {
            let mut given = publishers.join_all().await.concat();
            given.sort_unstable();
            assert_eq!(
                given,
                (1..=2 * EACH).collect::<Vec<_>>(),
                "each offset once"
            );
            watchers.join_all().await
        };
        let seen = tokio::time::timeout(2 * DEADLINE, all)
            .await
            .expect("all of it in time");
        assert!(!seen[0].is_empty());
        assert!(
            seen[0] == seen[1],
            "both nodes see the same (round {round})"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_cannot_be_decoded_holds_up_no_node_for_ever() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let broker: Arc<LocalBroker> = Arc::new(LocalBroker::new());
    let config = BusConfig::default().broker(Some(broker));
    let bus = EventBus::open(config, Arc::clone(&store)).await.unwrap();
    let task = id("t");
    let first = bus.publish(&task, step(1)).await.unwrap();
    // A newer version of the server has written an event that this one does not understand.
    let newer = conformance::example("t", first.epoch.as_str(), 2..=2);
    store.append(newer).await.unwrap();
    let refused = tokio::time::timeout(DEADLINE, bus.publish(&task, step(2))).await;
    let refused = refused.expect("an answer").unwrap_err();
    assert!(matches!(refused, PublishError::Unavailable(_)), "{refused}");
    // The task's turn is free.
    let removed = tokio::time::timeout(DEADLINE, bus.remove(&task)).await;
    assert!(removed.expect("an answer").unwrap());
    assert_eq!(bus.publish(&task, step(1)).await.unwrap().offset.get(), 1);
}

fn stamped(epoch: u64, seq: u64) -> NewEvent {
    let id = ProducerId::new("worker").unwrap();
    step(seq).with_producer(ProducerStamp::new(id, epoch, seq))
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_was_replaced_on_one_node_is_refused_on_the_other() {
    let [a, b] = two_nodes().await;
    let task = id("t");
    a.publish(&task, stamped(1, 1)).await.unwrap();
    settle().await;
    a.publish(&task, stamped(2, 1)).await.unwrap();
    settle().await;
    let zombie = b.publish(&task, stamped(1, 2)).await.unwrap_err();
    assert_eq!(zombie.code(), ErrorCode::Fenced);
    // The other node continues where the first one was.
    assert_eq!(
        b.publish(&task, stamped(2, 2)).await.unwrap().offset.get(),
        3
    );
    assert_eq!(
        a.publish(&task, stamped(2, 3)).await.unwrap().offset.get(),
        4
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_leased_on_one_node_and_fed_through_the_other_does_not_stall() {
    let [a, b] = two_nodes().await;
    let task = id("t");
    let data = r#"{"name":"work","lease_ms":10000}"#;
    let start = NewEvent::new(EventType::TaskStarted, Data::parse(data).unwrap());
    a.publish(&task, start).await.unwrap();
    for n in 0..10 {
        tokio::time::sleep(Duration::from_secs(7)).await;
        b.publish(&task, step(n)).await.unwrap();
    }
    assert!(!a.snapshot(&task).unwrap().stalled);
    // Both nodes know the lease, and each end of it is told once.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let page = b.history(&task, Some(Since::Start), 100).await.unwrap();
    let ends = page.events.iter().map(|event| event.event_type().clone());
    let ends: Vec<_> = ends.skip(11).collect();
    assert_eq!(ends, [EventType::TaskStalled, EventType::TaskFailed]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_revives_as_its_time_is_up_keeps_its_event() {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let store = Gated::new(Write::Through, 1);
    let config = BusConfig::default().idle_ttl(HOUR);
    let bus = EventBus::open(config, Arc::clone(&store) as Arc<dyn Store>).await;
    let bus = bus.unwrap();
    let task = id("t");
    bus.publish(&task, step(1)).await.unwrap();
    let publishing = bus.publish(&task, step(2));
    tokio::pin!(publishing);
    assert!(futures_util::poll!(publishing.as_mut()).is_pending());
    // The store takes its time, and meanwhile the task has been idle for too long.
    tokio::time::sleep(2 * HOUR).await;
    store.gate.add_permits(1_000);
    let published = publishing.await.unwrap();
    settle().await;
    tokio::time::sleep(HOUR / 2).await;
    let snapshot = bus.snapshot(&task).expect("it was published to");
    assert_eq!(
        (snapshot.offset, &snapshot.epoch),
        (published.offset, &published.epoch)
    );
    assert_eq!(store.stored("t").await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_removal_goes_to_its_end_though_nobody_waits_for_it() {
    let store = Gated::new(Write::Through, 100);
    let bus = open(&store).await;
    let task = id("t");
    bus.publish(&task, step(1)).await.unwrap();
    store.removals.forget_permits(usize::MAX);
    {
        let removing = bus.remove(&task);
        tokio::pin!(removing);
        let polled = futures_util::poll!(removing.as_mut());
        assert!(polled.is_pending(), "the store has not answered");
        settle().await;
    }
    store.removals.add_permits(1_000);
    settle().await;
    assert!(store.stored("t").await.is_empty());
    assert!(bus.snapshot(&task).is_none(), "memory and store agree");
    let again = bus.publish(&task, step(2)).await.unwrap();
    assert_eq!(again.offset.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_history_page_ends_after_a_shutdown_though_the_store_cannot_be_read() {
    let store = Arc::new(MemoryStore::new());
    let bus = open(&store).await;
    for n in 1..=5 {
        bus.publish(&id("t"), step(n)).await.unwrap();
    }
    assert!(bus.shutdown().await);
    let unreadable = Unreadable(Arc::clone(&store));
    let bus = EventBus::open(BusConfig::default(), Arc::new(unreadable))
        .await
        .unwrap();
    assert!(bus.shutdown().await);
    let task = id("t");
    let page = bus.history(&task, Some(Since::Start), 10);
    let page = tokio::time::timeout(DEADLINE, page).await;
    let page = page.expect("no loop without an end").unwrap();
    assert!(page.events.is_empty());
    assert_eq!(page.next.offset.get(), 0, "to be asked for again");
}

/// A store that lists its tasks, but fails to read events.
struct Unreadable(Arc<MemoryStore>);

#[async_trait::async_trait]
impl Store for Unreadable {
    async fn open(&self) -> Result<Vec<StoredTask>, StoreError> {
        self.0.open().await
    }
    async fn append(&self, append: Append) -> Result<(), StoreError> {
        self.0.append(append).await
    }
    async fn find(&self, task_id: &TaskId) -> Result<Option<StoredTask>, StoreError> {
        self.0.find(task_id).await
    }
    async fn read(&self, _: &TaskId, _: Offset, _: usize) -> Result<Vec<StoredEvent>, StoreError> {
        Err(StoreError::Unavailable("as it was told to".into()))
    }
    async fn trim(&self, task_id: &TaskId, first: Offset) -> Result<(), StoreError> {
        self.0.trim(task_id, first).await
    }
    async fn remove(&self, task_id: &TaskId) -> Result<(), StoreError> {
        self.0.remove(task_id).await
    }
}
