//! The events and tasks that retention removes, the time of removal, and the events and tasks
//! that stay.

use std::time::Duration;

use crate::support::{
    self, event, gap, id, keeping, next, offset, offsets, publish_to, quiet, reset, retained, step,
};
use serde_json::json;
use tidings_bus::protocol::{
    Data, EventType, Gap, GapReason, NewEvent, Position, ResetReason, Since, TaskId, TaskStatus,
};
use tidings_bus::{BusConfig, Delivery, EventBus, Filter, LogLimits};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn hourly() -> BusConfig {
    BusConfig::default().sweep_interval(Duration::from_secs(60))
}

fn new(config: BusConfig) -> EventBus {
    EventBus::new(config).unwrap()
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
    support::settle().await;
}

/// Creates a custom event of about this many bytes.
fn of_size(bytes: usize) -> NewEvent {
    let data = Data::parse(&json!({"text": "x".repeat(bytes)}).to_string()).unwrap();
    NewEvent::new(EventType::new("app.bytes").unwrap(), data)
}

async fn finish(bus: &EventBus, task: &TaskId, events: u64) {
    publish_to(bus, task, events - 1).await;
    bus.task_completed(task, Some(json!({"of": task})))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_the_newest_events_are_kept() {
    let bus = keeping(5);
    let task = id("t");
    for head in 1..=20_u64 {
        publish_to(&bus, &task, head).await;
        let first = head.saturating_sub(4).max(1);
        assert_eq!(
            retained(&bus, &task).await,
            (first..=head).collect::<Vec<_>>()
        );
    }
    assert_eq!(bus.stats().events_dropped, 15);
    assert_eq!(
        bus.snapshot(&task).unwrap().offset.get(),
        20,
        "the state counts them all"
    );
}

#[tokio::test(start_paused = true)]
async fn only_so_many_bytes_are_kept_and_always_the_newest_event() {
    let limits = LogLimits {
        max_events: 1_000,
        max_bytes: 10_000,
    };
    let bus = new(BusConfig::default().log_limits(limits));
    let task = id("t");
    for _ in 0..50 {
        bus.publish(&task, of_size(1_000)).await.unwrap();
        // The spare room for later events is at most as large as the events.
        assert!(bus.stats().bytes <= 20_000 + tidings_bus::defaults::TASK_BYTES as u64);
    }
    let kept = retained(&bus, &task).await;
    assert!(
        (6..=9).contains(&kept.len()),
        "9 events of somewhat more than 1,000 bytes: {kept:?}"
    );
    assert_eq!(*kept.last().unwrap(), 50);
    bus.publish(&task, of_size(60_000)).await.unwrap();
    assert_eq!(
        retained(&bus, &task).await,
        [51],
        "one that is larger than the limit is still there"
    );
    bus.publish(&task, of_size(10)).await.unwrap();
    assert_eq!(retained(&bus, &task).await, [52]);
}

#[tokio::test(start_paused = true)]
async fn a_finished_tasks_events_go_after_their_time_and_its_end_stays() {
    let bus = new(hourly());
    let (done, running) = (id("done"), id("running"));
    finish(&bus, &done, 4).await;
    publish_to(&bus, &running, 4).await;
    pass(HOUR - Duration::from_secs(120)).await;
    assert_eq!(retained(&bus, &done).await, [1, 2, 3, 4]);
    pass(Duration::from_secs(240)).await;
    assert_eq!(retained(&bus, &done).await, [0_u64; 0]);
    assert_eq!(
        retained(&bus, &running).await,
        [1, 2, 3, 4],
        "a task that goes on keeps them"
    );
    assert_eq!(bus.stats().events_dropped, 4);

    // A new subscriber still gets the end.
    let watching = bus.subscribe(&done);
    let pinned = watching.standing().unwrap().snapshot.clone().unwrap();
    assert_eq!(
        (pinned.status, pinned.offset.get()),
        (TaskStatus::Completed, 4)
    );
    assert_eq!(pinned.result.as_ref().unwrap().as_str(), r#"{"of":"done"}"#);
    let mut watching = bus.subscribe(Filter::task(done.clone()).since(Since::Start));
    let (missing, snapshot) = gap(&mut watching).await;
    assert_eq!(
        missing,
        Gap {
            from: offset(1),
            to: offset(4),
            reason: GapReason::Expired
        }
    );
    assert_eq!(snapshot.unwrap(), pinned);
    // A new run continues the same numbers.
    bus.task_started(&done, "again").await.unwrap();
    assert_eq!(offsets(&mut watching, 1).await, [5]);
}

#[tokio::test(start_paused = true)]
async fn a_finished_task_goes_after_its_pinned_time() {
    let bus = new(hourly());
    let task = id("t");
    finish(&bus, &task, 4).await;
    pass(24 * HOUR - Duration::from_secs(120)).await;
    assert_eq!(bus.snapshot(&task).unwrap().status, TaskStatus::Completed);
    pass(Duration::from_secs(240)).await;
    assert!(bus.snapshot(&task).is_none());
    let stats = bus.stats();
    assert_eq!((stats.tasks, stats.tasks_removed, stats.bytes), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_idle_task_goes_after_its_time_unless_it_is_watched_or_published_to() {
    let bus = new(hourly().idle_ttl(2 * HOUR));
    for task in ["idle", "watched", "busy"] {
        publish_to(&bus, &id(task), 2).await;
    }
    let mut watching = bus.subscribe(id("watched"));
    for head in 3..=6 {
        pass(HOUR).await;
        publish_to(&bus, &id("busy"), head).await;
    }
    assert!(bus.snapshot(&id("idle")).is_none());
    assert_eq!(retained(&bus, &id("busy")).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(retained(&bus, &id("watched")).await, [1, 2]);
    quiet(&mut watching).await;
    drop(watching);
    pass(Duration::from_secs(120)).await;
    assert!(
        bus.snapshot(&id("watched")).is_none(),
        "nobody watches it any more"
    );
    assert_eq!(bus.stats().tasks_removed, 2);
}

#[tokio::test(start_paused = true)]
async fn past_the_total_the_oldest_finished_tasks_lose_their_events_first() {
    let total = 960 * 1024;
    let config = BusConfig::default().total_bytes(total);
    let bus = new(config.clients_bytes(Some(0)));
    let big = |n: u64| id(&format!("finished-{n}"));
    bus.task_started(&id("running"), "oldest of all")
        .await
        .unwrap();
    bus.publish(&id("running"), of_size(20_000)).await.unwrap();
    for n in 0..5 {
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..5 {
            bus.publish(&big(n), of_size(30_000)).await.unwrap();
        }
        bus.task_completed(&big(n), Some(json!(n))).await.unwrap();
    }
    assert_eq!(
        bus.stats().events_dropped,
        0,
        "there is room for all of that"
    );
    for _ in 0..6 {
        bus.publish(&id("filler"), of_size(40_000)).await.unwrap();
        assert!(bus.stats().bytes <= total as u64);
    }
    assert_eq!(
        retained(&bus, &big(0)).await,
        [0_u64; 0],
        "the one that ended first"
    );
    assert_eq!(
        retained(&bus, &big(4)).await.len(),
        6,
        "not the one that ended last"
    );
    assert_eq!(
        retained(&bus, &id("running")).await.len(),
        2,
        "not one that runs"
    );
    for n in 0..5 {
        let snapshot = bus.snapshot(&big(n)).expect("snapshots go last");
        assert_eq!(snapshot.result.as_ref().unwrap().as_str(), n.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn the_total_holds_while_thousands_of_tasks_are_published() {
    let total = 512 * 1024;
    let bus = new(BusConfig::default().total_bytes(total));
    let task = |n: u64| id(&format!("task-{n}"));
    for n in 0..3_000 {
        tokio::time::advance(Duration::from_millis(10)).await;
        bus.task_started(&task(n), "work").await.unwrap();
        for _ in 0..3 {
            bus.publish(&task(n), of_size(400)).await.unwrap();
            let held = bus.stats().bytes;
            assert!(held <= total as u64, "{held} bytes at task {n}");
        }
        bus.task_completed(&task(n), Some(json!(n))).await.unwrap();
    }
    let stats = bus.stats();
    assert!(
        stats.bytes > total as u64 / 2,
        "and the room is used: {}",
        stats.bytes
    );
    assert!(stats.tasks_removed > 2_000, "{}", stats.tasks_removed);
    assert_eq!(stats.tasks + stats.tasks_removed, 3_000);
    assert!(bus.snapshot(&task(0)).is_none(), "the oldest went");
    assert_eq!(
        bus.snapshot(&task(2_999)).unwrap().status,
        TaskStatus::Completed
    );
    assert_eq!(
        retained(&bus, &task(2_999)).await.len(),
        5,
        "the newest lost nothing"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_total_holds_when_many_publish_at_once() {
    const TOTAL: usize = 512 * 1024;
    let bus = new(BusConfig::default().total_bytes(TOTAL));
    let mut publishers = tokio::task::JoinSet::new();
    for publisher in 0..8 {
        let bus = bus.clone();
        publishers.spawn(async move {
            let mut most = 0;
            for n in 0..300 {
                let task = id(&format!("{publisher}-{n}"));
                for _ in 0..3 {
                    bus.publish(&task, of_size(1_000)).await.unwrap();
                }
                bus.task_completed(&task, None).await.unwrap();
                most = most.max(usize::try_from(bus.stats().bytes).unwrap());
            }
            most
        });
    }
    // A publisher does not wait while another one makes room. The limit can therefore be
    // exceeded by this much.
    let slack = 64 * 1024;
    while let Some(most) = publishers.join_next().await {
        let most = most.unwrap();
        assert!(most <= TOTAL + slack, "{most} bytes");
    }
    assert!(bus.stats().bytes <= TOTAL as u64);
}

#[tokio::test(start_paused = true)]
async fn removing_a_watched_task_tells_its_watchers_that_it_starts_over() {
    let bus = keeping(100);
    let task = id("t");
    let mut watching = bus.subscribe(&task);
    publish_to(&bus, &task, 3).await;
    assert_eq!(offsets(&mut watching, 3).await, [1, 2, 3]);
    let before = bus.snapshot(&task).unwrap().epoch.clone();
    assert!(bus.remove(&task).await.unwrap());
    assert!(!bus.remove(&task).await.unwrap(), "only once");
    assert!(bus.snapshot(&task).is_none());

    let (reason, goes_on, snapshot) = reset(&mut watching).await;
    assert_eq!((reason, goes_on), (ResetReason::Removed, 0));
    assert_eq!(
        (snapshot.status, snapshot.offset.get()),
        (TaskStatus::Pending, 0)
    );
    assert_ne!(snapshot.epoch, before);
    quiet(&mut watching).await;

    bus.publish(&task, step(1)).await.unwrap();
    let first = event(&mut watching).await;
    assert_eq!(
        first.position(),
        Position::new(snapshot.epoch.clone(), offset(1))
    );
    assert_eq!(bus.stats().tasks_removed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_comes_back_after_its_removal_has_another_epoch() {
    let bus = new(hourly().idle_ttl(HOUR));
    let task = id("t");
    let mut epochs = Vec::new();
    for round in 0..3 {
        publish_to(&bus, &task, 5).await;
        let snapshot = bus.snapshot(&task).unwrap();
        assert_eq!((snapshot.offset.get(), snapshot.run), (5, 1));
        let position = Position::new(snapshot.epoch.clone(), snapshot.offset);
        if round == 0 {
            bus.remove(&task).await.unwrap();
        } else {
            pass(HOUR * 2).await;
        }
        assert!(bus.snapshot(&task).is_none(), "round {round}");
        publish_to(&bus, &task, 6).await;
        let mut back = bus.subscribe(Filter::task(task.clone()).since(position.clone().into()));
        let (_, goes_on, _) = reset(&mut back).await;
        assert_eq!(goes_on, 0, "not taken for the old one");
        assert_eq!(offsets(&mut back, 6).await, [1, 2, 3, 4, 5, 6]);
        drop(back);
        epochs.push(position.epoch);
        bus.remove(&task).await.unwrap();
    }
    epochs.dedup();
    assert_eq!(epochs.len(), 3, "{epochs:?}");
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_of_everything_keeps_no_task_alive() {
    let config = hourly()
        .finished_events_ttl(HOUR)
        .pinned_ttl(2 * HOUR)
        .idle_ttl(2 * HOUR);
    let bus = new(config);
    let mut dashboard = bus.subscribe(Filter::everything());
    let task = id("t");
    finish(&bus, &task, 3).await;
    for due in 1..=3 {
        assert_eq!(event(&mut dashboard).await.offset(), offset(due));
    }
    pass(3 * HOUR).await;
    assert!(bus.task(&task).is_none(), "its time is up");
    assert_eq!(bus.stats().bytes, 0);

    finish(&bus, &task, 2).await;
    let told = next(&mut dashboard).await;
    assert!(
        matches!(&told, Delivery::Removed { task_id } if *task_id == task),
        "its end is told, and nothing else: {told:?}"
    );
    assert_eq!(
        event(&mut dashboard).await.offset(),
        offset(1),
        "it has come back"
    );
}
