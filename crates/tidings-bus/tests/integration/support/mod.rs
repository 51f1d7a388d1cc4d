//! Shared code of the bus's tests.

mod deaf;
mod gated;
pub(crate) mod slow;

use std::sync::Arc;
use std::time::Duration;

use tidings_bus::protocol::{Gap, NewEvent, Offset, ResetReason, Since, TaskId, TaskSnapshot};
use tidings_bus::{BusConfig, Delivery, EventBus, EventRecord, LogLimits, Subscription};
use tidings_testkit::{Checker, DEADLINE};

pub(crate) use deaf::Deaf;
pub(crate) use gated::Gated;

pub(crate) fn id(text: &str) -> TaskId {
    TaskId::new(text).unwrap()
}

pub(crate) fn offset(value: u64) -> Offset {
    Offset::new(value).unwrap()
}

pub(crate) fn bus() -> EventBus {
    tidings_bus::lock::check_order();
    EventBus::new(BusConfig::default()).unwrap()
}

/// Creates a bus that keeps this many events of a task.
pub(crate) fn keeping(max_events: u64) -> EventBus {
    EventBus::new(limited(max_events)).unwrap()
}

pub(crate) fn limited(max_events: u64) -> BusConfig {
    BusConfig::default().log_limits(LogLimits {
        max_events,
        max_bytes: 64 * 1024 * 1024,
    })
}

/// Publishes a start and progress until the head is at `head`.
pub(crate) async fn publish_to(bus: &EventBus, task: &TaskId, head: u64) {
    let mut at = bus
        .snapshot(task)
        .map_or(0, |snapshot| snapshot.offset.get());
    while at < head {
        let event = if at == 0 {
            NewEvent::task_started("work")
        } else {
            step(at)
        };
        at = bus.publish(task, event).await.unwrap().offset.get();
    }
}

/// Creates an essential event that contains its number.
pub(crate) fn step(n: u64) -> NewEvent {
    NewEvent::agent_status(
        "agent",
        tidings_bus::protocol::AgentStatus::Working,
        format!("step {n}").as_str(),
    )
}

/// Returns the next delivery. Under a held clock, the deadline passes once no work is left.
pub(crate) async fn next(subscription: &mut Subscription) -> Delivery {
    tokio::select! {
        // Check the deadline first, because a subscriber that was not woken must not look again.
        biased;
        () = tokio::time::sleep(DEADLINE) => panic!("no delivery in time"),
        delivery = subscription.recv() => delivery.expect("a delivery before the stream's end"),
    }
}

pub(crate) async fn event(subscription: &mut Subscription) -> EventRecord {
    match next(subscription).await {
        Delivery::Event(event) => event,
        other => panic!("an event was due, not {other:?}"),
    }
}

pub(crate) async fn gap(subscription: &mut Subscription) -> (Gap, Option<Arc<TaskSnapshot>>) {
    match next(subscription).await {
        Delivery::Gap { gap, snapshot, .. } => (gap, snapshot),
        other => panic!("a gap was due, not {other:?}"),
    }
}

/// Returns the next delivery, which must be a reset: the reason, the offset after which the log
/// continues, and the task's state.
pub(crate) async fn reset(
    subscription: &mut Subscription,
) -> (ResetReason, u64, Arc<TaskSnapshot>) {
    match next(subscription).await {
        Delivery::Reset {
            reason,
            offset,
            snapshot,
            ..
        } => (reason, offset.get(), snapshot),
        other => panic!("a reset was due, not {other:?}"),
    }
}

/// Returns the offsets of the next `count` deliveries, which must be events.
pub(crate) async fn offsets(subscription: &mut Subscription, count: usize) -> Vec<u64> {
    let mut offsets = Vec::new();
    for _ in 0..count {
        offsets.push(event(subscription).await.offset().get());
    }
    offsets
}

/// Checks that no delivery comes. Use it with a held clock, where time passes only when no work
/// is left.
pub(crate) async fn quiet(subscription: &mut Subscription) {
    let waited = tokio::time::timeout(Duration::from_millis(10), subscription.recv()).await;
    assert!(waited.is_err(), "nothing was due, not {waited:?}");
}

/// Lets all tokio tasks do their work. Use it with a held clock.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Feeds the checker.
pub(crate) fn check(checker: &mut Checker, delivery: &Delivery) {
    let checked = match delivery {
        Delivery::Event(event) => checker.merged(event.first_offset().get(), event.offset().get()),
        Delivery::Gap { gap, snapshot, .. } => checker.gap(*gap, snapshot.is_some()),
        Delivery::Reset { offset, .. } => {
            checker.reset(offset.get());
            Ok(())
        }
        _ => Ok(()),
    };
    if let Err(violation) = checked {
        panic!("{violation}");
    }
}

/// Checks deliveries up to and including `head`. Returns the events.
pub(crate) async fn check_to(
    checker: &mut Checker,
    subscription: &mut Subscription,
    head: u64,
) -> Vec<EventRecord> {
    let mut events = Vec::new();
    while checker.expected().is_none_or(|expected| expected <= head) {
        let delivery = next(subscription).await;
        check(checker, &delivery);
        if let Delivery::Event(event) = delivery {
            events.push(event);
        }
    }
    events
}

/// Returns the offsets of the retained events.
pub(crate) async fn retained(bus: &EventBus, task: &TaskId) -> Vec<u64> {
    let page = bus
        .history(task, Some(Since::Start), usize::MAX)
        .await
        .expect("a task that is known");
    page.events
        .iter()
        .map(|event| event.offset().get())
        .collect()
}

/// Returns a fresh seed and prints it for the report of a failure. `TIDINGS_SEED` repeats a
/// seed.
#[allow(clippy::print_stdout, reason = "a failure without its seed is lost")]
pub(crate) fn seed() -> u64 {
    let given = std::env::var("TIDINGS_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    println!("TIDINGS_SEED={seed}");
    seed
}
