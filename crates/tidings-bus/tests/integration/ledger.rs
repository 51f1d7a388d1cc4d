//! The account that causes memory use is charged, and the account that holds most releases
//! memory first.

use std::sync::Arc;

use crate::support::id;
use serde_json::json;
use tidings_bus::protocol::{Data, EventId, EventType, NewEvent, TaskId, TaskStatus};
use tidings_bus::{
    Account, AccountId, Advance, BusConfig, EventBus, Group, Hold, Kind, OverLimit, Topic, View,
    Watcher,
};

const MIB: usize = 1024 * 1024;

fn bus(total: usize) -> EventBus {
    EventBus::new(BusConfig::default().total_bytes(total)).unwrap()
}

fn subject(bus: &EventBus, name: &str) -> Account {
    bus.ledger().account(&AccountId::subject(name))
}

struct Idle;

impl Watcher for Idle {
    fn advance(&self, _: usize, _: &Arc<Topic>, _: &mut View) -> Advance {
        Advance::Done
    }
}

fn watch(bus: &EventBus, account: &Account, task: &TaskId) -> Result<(), OverLimit> {
    let task = bus.task_for(account, task)?;
    let attached = task.topic().attach(Arc::new(Idle), 0, Hold::Keeps);
    attached.expect("a task that was just made");
    Ok(())
}

fn with_result(bytes: usize) -> NewEvent {
    NewEvent::task_completed(json!("x".repeat(bytes)))
}

/// Starts running tasks of one account.
async fn run(bus: &EventBus, account: &Account, name: &str, tasks: u64) -> Vec<TaskId> {
    let mut running = Vec::new();
    for n in 0..tasks {
        let task = id(&format!("{name}-{n}"));
        let started = NewEvent::task_started("work");
        bus.publish_for(account, &task, started).await.unwrap();
        running.push(task);
    }
    running
}

fn all_run(bus: &EventBus, tasks: &[TaskId]) -> bool {
    tasks.iter().all(|task| {
        let snapshot = bus.snapshot(task);
        snapshot.is_some_and(|snapshot| snapshot.status == TaskStatus::Running)
    })
}

#[tokio::test(start_paused = true)]
async fn who_watches_what_does_not_exist_pays_for_it_and_is_stopped() {
    let bus = bus(4 * MIB);
    let (calm, watcher) = (subject(&bus, "calm"), subject(&bus, "watcher"));
    let running = run(&bus, &calm, "calm", 50).await;
    let made = (0..300_000)
        .map_while(|n| watch(&bus, &watcher, &id(&format!("nothing-{n}"))).ok())
        .count();
    let limit = usize::try_from(bus.ledger().limits().account).unwrap();
    let one = tidings_bus::defaults::TASK_BYTES;
    assert_eq!(made, limit / one);
    assert_eq!(watcher.held(Kind::Undeclared), (made * one) as u64);
    let refused = watch(&bus, &watcher, &id("one-more")).unwrap_err();
    assert!(refused.to_string().contains("subject:watcher"), "{refused}");
    watch(&bus, &calm, &id("another-account")).unwrap();
    // The next publishes lose no task, and memory is not short.
    let more = run(&bus, &calm, "more", 50).await;
    assert!(all_run(&bus, &running) && all_run(&bus, &more));
    assert_eq!(bus.stats().tasks_removed, 0);
}

#[tokio::test(start_paused = true)]
async fn undeclared_tasks_never_push_out_declared_ones() {
    let bus = bus(MIB);
    let calm = subject(&bus, "calm");
    let running = run(&bus, &calm, "calm", 50).await;
    // In-process subscribers are trusted, and have no limit.
    let watching: Vec<_> = (0..5_000)
        .map(|n| bus.subscribe(id(&format!("nothing-{n}"))))
        .collect();
    assert!(bus.ledger().is_over(Group::Clients));
    bus.publish(&id("calm-0"), NewEvent::progress(1.0, "on"))
        .await
        .unwrap();
    assert!(all_run(&bus, &running));
    assert_eq!(bus.stats().events_dropped, 0, "no event had to go either");
    drop(watching);
    assert_eq!(bus.ledger().held(Group::Clients), 0);
}

#[tokio::test(start_paused = true)]
async fn a_first_event_moves_a_task_from_its_watcher_to_its_publisher() {
    let bus = bus(MIB);
    let (publisher, watcher) = (subject(&bus, "publisher"), subject(&bus, "watcher"));
    let task = id("t");
    watch(&bus, &watcher, &task).unwrap();
    let started = NewEvent::task_started("work");
    bus.publish_for(&publisher, &task, started).await.unwrap();
    assert_eq!(watcher.held(Kind::Undeclared), 0);
    assert!(publisher.held(Kind::Task) > 0 && publisher.held(Kind::Events) > 0);
    bus.remove(&task).await.unwrap();
    assert_eq!(publisher.held_in(Group::Tasks), 0);
}

#[tokio::test(start_paused = true)]
async fn snapshots_event_ids_stamps_and_leases_count_and_go_with_their_task() {
    let bus = bus(64 * MIB);
    let account = subject(&bus, "a");
    let task = id("t");
    let data = Data::parse(r#"{"name":"work","lease_ms":30000}"#).unwrap();
    let started = NewEvent::new(EventType::TaskStarted, data)
        .with_event_id(EventId::new("x".repeat(100)).unwrap());
    bus.publish_for(&account, &task, started).await.unwrap();
    assert!(account.held(Kind::Lease) > 0);
    assert!(
        account.held(Kind::EventIds) > 200,
        "the text is there twice"
    );
    bus.publish_for(&account, &task, with_result(50_000))
        .await
        .unwrap();
    assert!(account.held(Kind::Snapshot) > 50_000 - 512);
    assert_eq!(account.held(Kind::Lease), 0, "the task has ended");
    bus.remove(&task).await.unwrap();
    for kind in Kind::ALL {
        assert_eq!(account.held(kind), 0, "{}", kind.name());
    }
}

#[tokio::test(start_paused = true)]
async fn large_snapshots_keep_within_the_total() {
    let bus = bus(16 * MIB);
    let account = subject(&bus, "a");
    for n in 0..1_000 {
        let task = id(&format!("t-{n}"));
        bus.publish_for(&account, &task, with_result(50_000))
            .await
            .unwrap();
        let held = bus.stats().bytes;
        assert!(held <= 16 * MIB as u64, "{held} bytes at task {n}");
    }
    let kept = bus.list("", None, None, usize::MAX).len();
    assert!(
        (100..400).contains(&kept),
        "{kept} snapshots of 50,000 bytes"
    );
}

#[tokio::test(start_paused = true)]
async fn long_event_ids_keep_within_the_total() {
    let bus = bus(4 * MIB);
    let account = subject(&bus, "a");
    let noted = EventType::new("app.noted").unwrap();
    for n in 0..100 {
        let task = id(&format!("t-{n}"));
        for event in 0..200 {
            let event_id = EventId::new(format!("{event:0100}")).unwrap();
            let event = NewEvent::new(noted.clone(), Data::empty()).with_event_id(event_id);
            bus.publish_for(&account, &task, event).await.unwrap();
        }
        let held = bus.stats().bytes;
        assert!(held <= 4 * MIB as u64, "{held} bytes at task {n}");
    }
    assert!(bus.stats().tasks_removed > 0);
}

#[tokio::test(start_paused = true)]
async fn who_fills_the_memory_loses_its_own_tasks_and_nobody_elses() {
    let bus = bus(4 * MIB);
    let (calm, greedy) = (subject(&bus, "calm"), subject(&bus, "greedy"));
    let running = run(&bus, &calm, "calm", 50).await;
    let first = run(&bus, &greedy, "greedy", 10_000).await;
    assert!(
        all_run(&bus, &running),
        "the oldest of all, and within its share"
    );
    assert!(bus.stats().tasks_removed > 5_000);
    assert!(bus.snapshot(&first[0]).is_none());
    assert!(bus.snapshot(&first[9_999]).is_some());
}
