//! A silent task stalls and then fails, so that no watcher waits for it for ever.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::{self, Gated, bus, event, id, quiet};
use serde_json::{Value, json};
use tidings_bus::protocol::{Data, EventType, InputRequired, Json, NewEvent, TaskId, TaskStatus};
use tidings_bus::{BusConfig, EventBus, EventRecord, Store, Write};
use tokio::sync::Semaphore;
use tokio::time::{Instant, advance, sleep};

const LEASE: Duration = Duration::from_secs(30);

fn started() -> NewEvent {
    let data = json!({"name": "work", "lease_ms": LEASE.as_secs() * 1_000});
    NewEvent::new(
        EventType::TaskStarted,
        Data::parse(&data.to_string()).unwrap(),
    )
}

/// Lets this much time pass, with all the work that is due in it.
async fn pass(time: Duration) {
    sleep(time).await;
    advance(Duration::from_millis(1)).await;
    support::settle().await;
}

async fn types(bus: &EventBus, task: &TaskId) -> Vec<String> {
    let page = bus.history(task, None, 100).await.unwrap();
    page.events
        .iter()
        .map(|event| event.event_type().to_string())
        .collect()
}

fn data(event: &EventRecord) -> Value {
    serde_json::from_str(event.data_json()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_silent_task_stalls_after_its_lease_and_is_lost_after_as_long_again() {
    let bus = bus();
    let task = id("t");
    let mut watching = bus.subscribe(&task);
    let begin = Instant::now();
    bus.publish(&task, started()).await.unwrap();
    event(&mut watching).await;

    let wait = |limit| tokio::time::timeout(limit, std::future::pending::<()>());
    wait(LEASE - Duration::from_secs(1)).await.unwrap_err();
    assert!(!bus.snapshot(&task).unwrap().stalled, "not before its time");
    let stalled = event(&mut watching).await;
    assert_eq!(*stalled.event_type(), EventType::TaskStalled);
    let after = begin.elapsed();
    assert!(
        after >= LEASE && after < LEASE + Duration::from_secs(1),
        "after {after:?}"
    );
    let snapshot = bus.snapshot(&task).unwrap();
    assert!(snapshot.stalled);
    assert_eq!(snapshot.status, TaskStatus::Running);

    wait(LEASE - Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(bus.snapshot(&task).unwrap().status, TaskStatus::Running);
    let failed = event(&mut watching).await;
    assert_eq!(*failed.event_type(), EventType::TaskFailed);
    assert_eq!(data(&failed)["error"]["code"], "lost");
    let after = begin.elapsed();
    assert!(
        after >= 2 * LEASE && after < 2 * LEASE + Duration::from_secs(2),
        "after {after:?}"
    );
    let snapshot = bus.snapshot(&task).unwrap();
    assert_eq!(snapshot.status, TaskStatus::Failed);
    assert_eq!(
        snapshot.error.as_ref().unwrap().code.as_deref(),
        Some("lost")
    );

    pass(10 * LEASE).await;
    assert_eq!(
        types(&bus, &task).await,
        ["task_started", "task_stalled", "task_failed"],
        "and no more"
    );
}

#[tokio::test(start_paused = true)]
async fn any_event_renews_the_lease() {
    let bus = bus();
    let task = id("t");
    bus.publish(&task, started()).await.unwrap();
    let signs = [
        NewEvent::progress(10.0, None),
        NewEvent::log("line"),
        NewEvent::output_delta("o", "text"),
        NewEvent::new(EventType::new("app.own").unwrap(), Data::empty()),
        NewEvent::step_started("s", None),
    ];
    for sign in signs {
        pass(LEASE * 9 / 10).await;
        bus.publish(&task, sign).await.unwrap();
    }
    assert!(
        !types(&bus, &task)
            .await
            .contains(&"task_stalled".to_owned())
    );
    pass(LEASE).await;
    assert_eq!(types(&bus, &task).await.last().unwrap(), "task_stalled");
}

#[tokio::test(start_paused = true)]
async fn what_other_people_send_does_not_renew_the_lease() {
    let bus = bus();
    let task = id("t");
    bus.publish(&task, started()).await.unwrap();
    let question = InputRequired::new("q".parse().unwrap(), "Go on?");
    bus.publish(&task, NewEvent::asked(&question))
        .await
        .unwrap();
    pass(LEASE / 2).await;
    let command = NewEvent::command_requested("c", "cancel", None, "ann");
    bus.publish(&task, command).await.unwrap();
    let value = Json::parse("true").unwrap();
    let answered = bus.answer(&task, &question.input_id, &value, "ann").await;
    answered.unwrap();
    pass(LEASE / 2).await;
    assert_eq!(types(&bus, &task).await.last().unwrap(), "task_stalled");
}

#[tokio::test(start_paused = true)]
async fn a_task_without_a_lease_never_stalls() {
    let bus = bus();
    let task = id("t");
    bus.task_started(&task, "work").await.unwrap();
    let mut watching = bus.subscribe(&task);
    pass(Duration::from_secs(12 * 60 * 60)).await;
    quiet(&mut watching).await;
    assert_eq!(types(&bus, &task).await, ["task_started"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_has_ended_never_stalls() {
    let bus = bus();
    let ends = [
        NewEvent::task_completed(None),
        NewEvent::task_failed("no"),
        NewEvent::task_cancelled(None),
    ];
    for (n, end) in ends.into_iter().enumerate() {
        let task = id(&format!("t{n}"));
        bus.publish(&task, started()).await.unwrap();
        pass(LEASE / 2).await;
        let kind = end.event_type.to_string();
        bus.publish(&task, end).await.unwrap();
        pass(3 * LEASE).await;
        assert_eq!(types(&bus, &task).await, ["task_started", &kind]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_task_that_speaks_again_is_no_longer_stalled() {
    let bus = bus();
    let task = id("t");
    bus.publish(&task, started()).await.unwrap();
    for _ in 0..3 {
        pass(LEASE).await;
        assert!(bus.snapshot(&task).unwrap().stalled);
        pass(LEASE / 2).await;
        bus.publish(&task, NewEvent::progress(10.0, None))
            .await
            .unwrap();
        assert!(!bus.snapshot(&task).unwrap().stalled);
        pass(LEASE * 9 / 10).await;
        assert!(
            !bus.snapshot(&task).unwrap().stalled,
            "it has its whole lease again"
        );
        bus.publish(&task, NewEvent::progress(20.0, None))
            .await
            .unwrap();
    }
    assert_eq!(bus.snapshot(&task).unwrap().status, TaskStatus::Running);
}

#[tokio::test(start_paused = true)]
async fn the_run_after_a_loss_has_the_lease_that_it_asks_for() {
    let bus = bus();
    let task = id("t");
    bus.publish(&task, started()).await.unwrap();
    pass(LEASE).await;
    pass(LEASE).await;
    assert_eq!(bus.snapshot(&task).unwrap().status, TaskStatus::Failed);
    bus.task_started(&task, "without a lease").await.unwrap();
    pass(5 * LEASE).await;
    let snapshot = bus.snapshot(&task).unwrap();
    assert_eq!((snapshot.status, snapshot.run), (TaskStatus::Running, 2));

    bus.task_completed(&task, None).await.unwrap();
    bus.publish(&task, started()).await.unwrap();
    pass(LEASE).await;
    assert!(bus.snapshot(&task).unwrap().stalled);
}

#[tokio::test(start_paused = true)]
async fn many_leases_run_out_each_at_its_own_time() {
    let bus = bus();
    for n in 1..=100_u64 {
        let data = format!(r#"{{"lease_ms":{}}}"#, n * 1_000);
        let start = NewEvent::new(EventType::TaskStarted, Data::parse(&data).unwrap());
        bus.publish(&id(&format!("t{n}")), start).await.unwrap();
    }
    pass(Duration::from_millis(50_400)).await;
    for n in 1..=100_u64 {
        let snapshot = bus.snapshot(&id(&format!("t{n}"))).unwrap();
        let due = match n {
            ..=25 => (TaskStatus::Failed, false),
            26..=50 => (TaskStatus::Running, true),
            _ => (TaskStatus::Running, false),
        };
        assert_eq!(
            (snapshot.status, snapshot.stalled),
            due,
            "a lease of {n} s after 50 s"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_lost_task_is_published_when_the_store_takes_it() {
    let store = Gated::new(Write::Through, Semaphore::MAX_PERMITS);
    let bus = EventBus::open(BusConfig::default(), Arc::clone(&store) as Arc<dyn Store>)
        .await
        .unwrap();
    let task = id("t");
    bus.publish(&task, started()).await.unwrap();
    pass(LEASE).await;
    assert!(bus.snapshot(&task).unwrap().stalled);
    store.failing.store(true, Ordering::SeqCst);
    pass(LEASE).await;
    assert_eq!(bus.snapshot(&task).unwrap().status, TaskStatus::Running);
    store.failing.store(false, Ordering::SeqCst);
    pass(2 * LEASE).await;
    assert_eq!(bus.snapshot(&task).unwrap().status, TaskStatus::Failed);
    assert_eq!(
        types(&bus, &task).await,
        ["task_started", "task_stalled", "task_failed"],
        "each of them once"
    );
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_the_full_disk_refuses_is_not_lost() {
    let store = Gated::new(Write::Through, Semaphore::MAX_PERMITS);
    let bus = EventBus::open(BusConfig::default(), Arc::clone(&store) as Arc<dyn Store>)
        .await
        .unwrap();
    let task = id("t");
    bus.publish(&task, started()).await.unwrap();
    store.unavailable.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        pass(LEASE / 2).await;
        let refused = bus.publish(&task, NewEvent::progress(1.0, "on")).await;
        refused.unwrap_err();
    }
    store.unavailable.store(false, Ordering::SeqCst);
    pass(LEASE / 2).await;
    let snapshot = bus.snapshot(&task).unwrap();
    assert_eq!(
        (snapshot.status, snapshot.stalled),
        (TaskStatus::Running, false)
    );
    // The producer gets its full time once more, and no longer.
    pass(2 * LEASE).await;
    assert_eq!(bus.snapshot(&task).unwrap().status, TaskStatus::Failed);
}
