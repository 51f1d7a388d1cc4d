//! With a store that is written through, publishers of one task share an append. Offsets have
//! no hole, and each event is checked after the events before it. If the store refuses, all
//! events are refused and none is kept.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::support::{self, Gated, id, step};
use tidings_bus::protocol::{
    ErrorCode, Event, EventId, NewEvent, Payload, ProducerId, ProducerStamp, Since, TaskSnapshot,
};
use tidings_bus::{BusConfig, EventBus, PublishError, Published, Store, Write};
use tokio::task::JoinHandle;

fn gated() -> Arc<Gated> {
    Gated::new(Write::Through, 0)
}

async fn open(store: &Arc<Gated>) -> EventBus {
    let store = Arc::clone(store) as Arc<dyn Store>;
    EventBus::open(BusConfig::default(), store).await.unwrap()
}

type Publishing = JoinHandle<Result<Published, PublishError>>;

/// Publishes these events to one task at the same time, in this order, while the first event
/// holds the turn.
async fn publish_all(bus: &EventBus, events: Vec<NewEvent>) -> Vec<Publishing> {
    let mut publishing = Vec::new();
    for event in events {
        let bus = bus.clone();
        publishing.push(tokio::spawn(
            async move { bus.publish(&id("t"), event).await },
        ));
        support::settle().await;
    }
    publishing
}

async fn answers(publishing: Vec<Publishing>) -> Vec<Result<Published, PublishError>> {
    let mut answers = Vec::new();
    for publishing in publishing {
        let answer = tokio::time::timeout(tidings_testkit::DEADLINE, publishing).await;
        answers.push(answer.expect("an answer in time").unwrap());
    }
    answers
}

fn offsets(answers: &[Result<Published, PublishError>]) -> Vec<u64> {
    let offset = |answer: &Result<Published, _>| answer.as_ref().unwrap().offset.get();
    answers.iter().map(offset).collect()
}

/// Checks that the task's state is the reduction of its events, and that the store has the
/// events.
async fn agree(bus: &EventBus, store: &Gated) {
    let state = bus.snapshot(&id("t")).unwrap();
    let page = bus.history(&id("t"), Some(Since::Start), 1_000).await;
    let mut replay = TaskSnapshot::new(id("t"), state.epoch.clone());
    for record in page.unwrap().events {
        let event: Event = record.decode().unwrap();
        assert_eq!(event.offset, replay.offset.next());
        let payload = Payload::of(&event).unwrap();
        replay.apply(&payload, event.offset, event.timestamp);
    }
    assert_eq!(replay, *state);
    let stored = store.inner.find(&id("t")).await.unwrap().unwrap();
    assert_eq!(*stored.snapshot, *state);
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_share_one_append() {
    let store = gated();
    let bus = open(&store).await;
    let publishing = publish_all(&bus, (0..50).map(step).collect()).await;
    assert!(bus.snapshot(&id("t")).is_none(), "nothing is seen before");
    store.gate.add_permits(2);
    let answers = answers(publishing).await;
    assert_eq!(offsets(&answers), (1..=50).collect::<Vec<_>>());
    assert_eq!(*store.taken.lock().unwrap(), [1, 49]);
    agree(&bus, &store).await;
}

#[tokio::test(start_paused = true)]
async fn each_is_decided_after_those_before_it() {
    let store = gated();
    let bus = open(&store).await;
    let producer = ProducerId::new("worker").unwrap();
    let stamped =
        |epoch, seq| step(seq).with_producer(ProducerStamp::new(producer.clone(), epoch, seq));
    let keyed = |key: &str| step(9).with_event_id(EventId::new(key).unwrap());
    let publishing = publish_all(
        &bus,
        vec![
            NewEvent::task_started("work"),
            stamped(2, 1),
            stamped(1, 1),
            stamped(2, 2),
            keyed("a"),
            keyed("a"),
            NewEvent::task_completed(None),
            NewEvent::progress(1.0, "late"),
        ],
    )
    .await;
    store.gate.add_permits(2);
    let answers = answers(publishing).await;
    assert_eq!(*store.taken.lock().unwrap(), [1, 4]);
    let code = |at: usize| answers[at].as_ref().unwrap_err().code();
    assert_eq!(code(2), ErrorCode::Fenced);
    assert_eq!(code(7), ErrorCode::InvalidTransition);
    let taken = [&answers[..2], &answers[3..7]].concat();
    assert_eq!(offsets(&taken), [1, 2, 3, 4, 4, 5]);
    assert!(answers[5].as_ref().unwrap().duplicate);
    assert_eq!(bus.stats().events_published, 5);
    agree(&bus, &store).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_store_is_for_all_and_leaves_nothing() {
    let store = gated();
    let bus = open(&store).await;
    store.gate.add_permits(1);
    bus.publish(&id("t"), NewEvent::task_started("work"))
        .await
        .unwrap();
    let before = bus.snapshot(&id("t"));
    store.failing.store(true, Ordering::SeqCst);
    let events = || {
        let mut events: Vec<_> = (0..5).map(step).collect();
        events.push(NewEvent::task_completed(None));
        events.push(NewEvent::progress(1.0, "late"));
        events
    };
    let publishing = publish_all(&bus, events()).await;
    store.gate.add_permits(2);
    for answer in answers(publishing).await {
        // The last event is accepted too, because the end before it was not stored.
        assert_eq!(answer.unwrap_err().code(), ErrorCode::Unavailable);
    }
    assert_eq!(bus.snapshot(&id("t")), before);
    store.failing.store(false, Ordering::SeqCst);
    let publishing = publish_all(&bus, events()).await;
    store.gate.add_permits(2);
    let mut answers = answers(publishing).await;
    let late = answers.pop().unwrap().unwrap_err();
    assert_eq!(late.code(), ErrorCode::InvalidTransition);
    assert_eq!(offsets(&answers), [2, 3, 4, 5, 6, 7]);
    agree(&bus, &store).await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_an_append_a_task_and_is_answered_in_its_places() {
    let store = gated();
    let bus = open(&store).await;
    let late = NewEvent::progress(1.0, "late");
    let batch = vec![
        (id("t"), NewEvent::task_started("work")),
        (id("u"), step(1)),
        (id("t"), NewEvent::progress(150.0, "too far")),
        (id("t"), NewEvent::task_completed(None)),
        (id("u"), step(2)),
        (id("t"), late),
    ];
    let publishing = tokio::spawn({
        let bus = bus.clone();
        async move { bus.publish_batch(batch).await }
    });
    support::settle().await;
    assert_eq!(store.waiting.load(Ordering::SeqCst), 2, "side by side");
    store.gate.add_permits(2);
    let answers = publishing.await.unwrap();
    let mut taken = store.taken.lock().unwrap().clone();
    taken.sort_unstable();
    assert_eq!(taken, [2, 2]);
    let offset = |at: usize| answers[at].as_ref().unwrap().offset.get();
    assert_eq!([0, 1, 3, 4].map(offset), [1, 1, 2, 2]);
    let code = |at: usize| answers[at].as_ref().unwrap_err().code();
    assert_eq!(code(2), ErrorCode::InvalidEvent);
    assert_eq!(code(5), ErrorCode::InvalidTransition);
    assert_eq!(store.stored("u").await, [1, 2]);
    agree(&bus, &store).await;
}

/// Publishes to tasks at the same time.
fn publish_to_each(bus: &EventBus, events: Vec<(&str, NewEvent)>) -> Vec<Publishing> {
    let publish = |(task, event)| {
        let (bus, task) = (bus.clone(), id(task));
        tokio::spawn(async move { bus.publish(&task, event).await })
    };
    events.into_iter().map(publish).collect()
}

#[tokio::test(start_paused = true)]
async fn tasks_go_to_the_store_in_one_call_and_each_is_answered_for_itself() {
    let store = gated();
    let bus = open(&store).await;
    store.gate.add_permits(1);
    bus.publish(&id("over"), NewEvent::task_completed(None))
        .await
        .unwrap();
    // Another writer has written to this task.
    store.gate.add_permits(1);
    let elsewhere = open(&store).await;
    elsewhere.publish(&id("t"), step(1)).await.unwrap();
    let keyed = step(1).with_event_id(EventId::new("a").unwrap());
    let publishing = publish_to_each(
        &bus,
        vec![
            ("t", step(2)),
            ("over", NewEvent::progress(1.0, "late")),
            ("u", keyed.clone()),
            ("v", step(1)),
            ("u", keyed),
        ],
    );
    support::settle().await;
    assert_eq!(*store.together.lock().unwrap(), [3]);
    // One append per task, and two for the task that is decided again.
    store.gate.add_permits(5);
    let answers = answers(publishing).await;
    let code = answers[1].as_ref().unwrap_err().code();
    assert_eq!(code, ErrorCode::InvalidTransition);
    let taken = [&answers[..1], &answers[2..]].concat();
    assert_eq!(offsets(&taken), [2, 1, 1, 1]);
    assert!(answers[4].as_ref().unwrap().duplicate);
    assert_eq!(store.stored("t").await, [1, 2], "decided anew");
    assert_eq!(store.stored("u").await, [1]);
    agree(&bus, &store).await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_meanwhile_goes_in_the_next_call() {
    let store = gated();
    let bus = open(&store).await;
    let round = |n| vec![("t", step(n)), ("u", step(n)), ("v", step(n))];
    let mut publishing = publish_to_each(&bus, round(1));
    support::settle().await;
    for n in 2..5 {
        publishing.extend(publish_to_each(&bus, round(n)));
    }
    support::settle().await;
    assert_eq!(*store.together.lock().unwrap(), [3]);
    store.gate.add_permits(6);
    let answers = answers(publishing).await;
    let expected: Vec<u64> = (1..5).flat_map(|n| [n; 3]).collect();
    assert_eq!(offsets(&answers), expected);
    assert_eq!(*store.together.lock().unwrap(), [3, 3]);
    assert_eq!(*store.taken.lock().unwrap(), [1, 1, 1, 3, 3, 3]);
    agree(&bus, &store).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_or_panics_does_so_for_all_tasks_of_a_call() {
    let store = gated();
    let bus = open(&store).await;
    let both = || vec![("t", step(1)), ("u", step(1))];
    for broken in [&store.failing, &store.panicking] {
        broken.store(true, Ordering::SeqCst);
        store.gate.add_permits(2);
        for answer in answers(publish_to_each(&bus, both())).await {
            assert_eq!(answer.unwrap_err().code(), ErrorCode::Unavailable);
        }
        broken.store(false, Ordering::SeqCst);
    }
    assert_eq!(*store.together.lock().unwrap(), [2, 2]);
    store.gate.add_permits(2);
    let answers = answers(publish_to_each(&bus, both())).await;
    assert_eq!(offsets(&answers), [1, 1], "nothing of them was stored");
    agree(&bus, &store).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_is_stored_though_nobody_waits_for_it() {
    let store = gated();
    let bus = open(&store).await;
    let publishing = publish_all(&bus, (0..5).map(step).collect()).await;
    for publishing in &publishing {
        publishing.abort();
    }
    store.gate.add_permits(2);
    support::settle().await;
    assert_eq!(store.stored("t").await, [1, 2, 3, 4, 5]);
    agree(&bus, &store).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_does_not_hold_up_its_task() {
    let store = gated();
    let bus = open(&store).await;
    let publishing = publish_all(&bus, (0..3).map(step).collect()).await;
    store.panicking.store(true, Ordering::SeqCst);
    store.gate.add_permits(1);
    for answer in answers(publishing).await {
        assert_eq!(answer.unwrap_err().code(), ErrorCode::Unavailable);
    }
    store.panicking.store(false, Ordering::SeqCst);
    store.gate.add_permits(1);
    let published = bus.publish(&id("t"), step(4)).await.unwrap();
    assert_eq!(published.offset.get(), 1, "nothing of them was stored");
    agree(&bus, &store).await;
}

#[test]
fn a_runtime_that_ends_does_not_leave_publishers_waiting() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().unwrap()
    };
    let (store, others) = (gated(), runtime());
    let own = runtime();
    let bus = own.block_on(open(&store));
    let publish = |task| {
        let bus = bus.clone();
        others.spawn(async move { bus.publish(&id(task), step(1)).await })
    };
    let waiting = [publish("t"), publish("t"), publish("u")];
    while store.waiting.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    own.shutdown_background();
    let late = [publish("t"), publish("v")];
    let answers = others.block_on(answers(waiting.into_iter().chain(late).collect()));
    for answer in answers {
        assert_eq!(answer.unwrap_err().code(), ErrorCode::Unavailable);
    }
}
