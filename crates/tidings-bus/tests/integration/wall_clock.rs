//! The wall clock jumps by days, forward and back. Only timestamps follow it. Durations are
//! measured by a clock that never goes back.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{check_to, event, id, publish_to, quiet, retained, settle};
use serde_json::json;
use tidings_bus::protocol::{Data, EventId, EventType, NewEvent, TaskStatus};
use tidings_bus::{BusConfig, Clock, EventBus, ManualClock};
use tidings_testkit::Checker;
use tokio::time::sleep;

const NOW: u64 = 1_800_000_000_000;
const DAYS: u64 = 10 * 24 * 60 * 60 * 1_000;

/// The times that the clock is set to: far ahead of the start, and far behind it.
const JUMPS: [u64; 2] = [NOW + DAYS, NOW - DAYS];

fn bus() -> (EventBus, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(NOW));
    let config = BusConfig::default()
        .sweep_interval(Duration::from_secs(60))
        .clock(Arc::clone(&clock) as Arc<dyn Clock>);
    (EventBus::new(config).unwrap(), clock)
}

#[tokio::test(start_paused = true)]
async fn no_lease_ends_early_and_none_ends_late() {
    for to in JUMPS {
        let (bus, clock) = bus();
        let task = id("t");
        let mut watching = bus.subscribe(&task);
        let data = json!({"name": "work", "lease_ms": 30_000}).to_string();
        let started = NewEvent::new(EventType::TaskStarted, Data::parse(&data).unwrap());
        bus.publish(&task, started).await.unwrap();
        event(&mut watching).await;
        clock.set(to);
        sleep(Duration::from_secs(29)).await;
        quiet(&mut watching).await;
        sleep(Duration::from_secs(2)).await;
        let stalled = event(&mut watching).await;
        assert_eq!(*stalled.event_type(), EventType::TaskStalled, "{to}");
        clock.set(NOW);
        assert_eq!(bus.snapshot(&task).unwrap().status, TaskStatus::Running);
        sleep(Duration::from_secs(31)).await;
        assert_eq!(
            *event(&mut watching).await.event_type(),
            EventType::TaskFailed
        );
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_forgotten_early_and_nothing_is_kept_too_long() {
    for to in JUMPS {
        let (bus, clock) = bus();
        let (done, idle) = (id("done"), id("idle"));
        publish_to(&bus, &done, 3).await;
        bus.task_completed(&done, None).await.unwrap();
        publish_to(&bus, &idle, 2).await;
        clock.set(to);
        // Sweeps run in the meantime.
        sleep(Duration::from_secs(30 * 60)).await;
        settle().await;
        assert_eq!(retained(&bus, &done).await, [1, 2, 3, 4], "{to}");
        assert_eq!(retained(&bus, &idle).await, [1, 2]);
        sleep(Duration::from_secs(32 * 60)).await;
        settle().await;
        assert_eq!(retained(&bus, &done).await, [0_u64; 0], "its hour is over");
        assert_eq!(bus.snapshot(&done).unwrap().status, TaskStatus::Completed);
        sleep(Duration::from_secs(24 * 60 * 60)).await;
        settle().await;
        assert!(bus.snapshot(&done).is_none(), "its day is over");
        assert!(bus.snapshot(&idle).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_known_for_as_long_as_ever() {
    for to in JUMPS {
        let (bus, clock) = bus();
        let task = id("t");
        let keyed = || NewEvent::log("once").with_event_id(EventId::new("a").unwrap());
        bus.publish(&task, keyed()).await.unwrap();
        clock.set(to);
        sleep(Duration::from_secs(4 * 60)).await;
        let again = bus.publish(&task, keyed()).await.unwrap();
        assert!(again.duplicate, "{to}");
        sleep(Duration::from_secs(2 * 60)).await;
        let later = bus.publish(&task, keyed()).await.unwrap();
        assert!(!later.duplicate, "five minutes are five minutes");
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_go_on_whatever_the_timestamps_say() {
    let (bus, clock) = bus();
    let task = id("t");
    let mut watching = bus.subscribe(&task);
    let mut checker = Checker::from(1);
    for (number, at) in [NOW, NOW + DAYS, NOW - DAYS, 0, NOW]
        .into_iter()
        .enumerate()
    {
        clock.set(at);
        let head = (number as u64 + 1) * 2;
        publish_to(&bus, &task, head).await;
        let events = check_to(&mut checker, &mut watching, head).await;
        let last = events.last().unwrap();
        assert_eq!(last.timestamp().as_millis(), at);
        assert_eq!(bus.snapshot(&task).unwrap().offset.get(), head);
    }
    assert_eq!((checker.delivered(), checker.gaps().len()), (10, 0));
}
