//! A handler that fails, panics, dawdles or hangs harms nobody but itself.

use std::sync::{Arc, Mutex};

use crate::support::{self, bus, id, settle};
use async_trait::async_trait;
use tidings_bus::protocol::NewEvent;
use tidings_bus::{Delivery, EventHandler, Filter, HandlerError, HandlerId, HandlerInfo};
use tokio::sync::Semaphore;

type Seen = Arc<Mutex<Vec<u64>>>;

fn offset_of(delivery: &Delivery) -> u64 {
    match delivery {
        Delivery::Event(event) => event.offset().get(),
        other => panic!("only events are due: {other:?}"),
    }
}

fn info(bus: &tidings_bus::EventBus, id: HandlerId) -> HandlerInfo {
    bus.handlers()
        .into_iter()
        .find(|info| info.id == id)
        .expect("a handler that is subscribed")
}

/// Returns an error at even offsets.
struct Failing(Seen);

#[async_trait]
impl EventHandler for Failing {
    async fn handle(&self, delivery: Delivery) -> Result<(), HandlerError> {
        let offset = offset_of(&delivery);
        self.0.lock().unwrap().push(offset);
        if offset.is_multiple_of(2) {
            Err(format!("{offset} is even").into())
        } else {
            Ok(())
        }
    }
}

/// Panics at even offsets: before an await at 2, after one at the others.
struct Panicking(Seen);

#[async_trait]
impl EventHandler for Panicking {
    async fn handle(&self, delivery: Delivery) -> Result<(), HandlerError> {
        let offset = offset_of(&delivery);
        self.0.lock().unwrap().push(offset);
        assert!(offset != 2, "two");
        tokio::task::yield_now().await;
        assert!(!offset.is_multiple_of(2), "{offset} is even");
        Ok(())
    }
}

/// Takes one permit for each delivery.
struct Gated(Arc<Semaphore>, Seen);

#[async_trait]
impl EventHandler for Gated {
    async fn handle(&self, delivery: Delivery) -> Result<(), HandlerError> {
        self.0.acquire().await?.forget();
        self.1.lock().unwrap().push(offset_of(&delivery));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_is_counted_and_reported_and_the_next_delivery_comes() {
    let bus = bus();
    let seen = Seen::default();
    let guard = bus.subscribe_handler(id("t"), Failing(Arc::clone(&seen)));
    for _ in 0..5 {
        bus.publish(&id("t"), NewEvent::log("line")).await.unwrap();
    }
    settle().await;
    assert_eq!(*seen.lock().unwrap(), [1, 2, 3, 4, 5]);
    let info = info(&bus, guard.id());
    assert_eq!((info.handled, info.errors, info.panics), (5, 2, 0));
    assert_eq!(info.last_error.as_deref(), Some("4 is even"));
    assert_eq!(
        (bus.stats().handler_errors, bus.stats().handler_panics),
        (2, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_caught_counted_and_reported_and_the_next_delivery_comes() {
    let bus = bus();
    let (seen, other) = (Seen::default(), Seen::default());
    let guard = bus.subscribe_handler(id("t"), Panicking(Arc::clone(&seen)));
    let _other = bus.subscribe_handler(
        id("t"),
        Gated(Arc::new(Semaphore::new(100)), Arc::clone(&other)),
    );
    for _ in 0..3 {
        bus.publish(&id("t"), NewEvent::log("line")).await.unwrap();
    }
    settle().await;
    assert_eq!(
        info(&bus, guard.id()).last_error.as_deref(),
        Some("panicked: two")
    );
    for _ in 0..2 {
        bus.publish(&id("t"), NewEvent::log("line")).await.unwrap();
    }
    settle().await;
    assert_eq!(*seen.lock().unwrap(), [1, 2, 3, 4, 5]);
    assert_eq!(
        *other.lock().unwrap(),
        [1, 2, 3, 4, 5],
        "nobody else notices"
    );
    let info = info(&bus, guard.id());
    assert_eq!((info.handled, info.errors, info.panics), (5, 0, 2));
    assert_eq!(info.last_error.as_deref(), Some("panicked: 4 is even"));
    assert_eq!(
        (bus.stats().handler_errors, bus.stats().handler_panics),
        (0, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_holds_up_neither_publishers_nor_other_subscribers() {
    let bus = bus();
    let (gate, slow, fast) = (
        Arc::new(Semaphore::new(0)),
        Seen::default(),
        Seen::default(),
    );
    let _slow = bus.subscribe_handler(id("t"), Gated(Arc::clone(&gate), Arc::clone(&slow)));
    let _fast = bus.subscribe_handler(
        id("t"),
        Gated(Arc::new(Semaphore::new(1_000)), Arc::clone(&fast)),
    );
    let mut watching = bus.subscribe(id("t"));
    let due: Vec<u64> = (1..=200).collect();
    for _ in &due {
        bus.publish(&id("t"), NewEvent::log("line")).await.unwrap();
    }
    assert_eq!(support::offsets(&mut watching, due.len()).await, due);
    settle().await;
    assert_eq!(*fast.lock().unwrap(), due);
    assert_eq!(
        *slow.lock().unwrap(),
        [0_u64; 0],
        "it is still with the first"
    );

    gate.add_permits(1_000);
    settle().await;
    assert_eq!(
        *slow.lock().unwrap(),
        due,
        "and loses nothing by being slow"
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_returns_can_be_unsubscribed() {
    let bus = bus();
    let (gate, seen) = (Arc::new(Semaphore::new(0)), Seen::default());
    let stuck = Arc::new(Gated(Arc::clone(&gate), seen));
    let alive = Arc::downgrade(&stuck);
    struct Shared(Arc<Gated>);
    #[async_trait]
    impl EventHandler for Shared {
        async fn handle(&self, delivery: Delivery) -> Result<(), HandlerError> {
            self.0.handle(delivery).await
        }
    }
    let guard = bus.subscribe_handler(id("t"), Shared(stuck));
    bus.publish(&id("t"), NewEvent::log("line")).await.unwrap();
    settle().await;
    assert_eq!(info(&bus, guard.id()).handled, 0, "it is inside its call");
    assert!(alive.upgrade().is_some());

    assert!(bus.unsubscribe(guard.id()));
    settle().await;
    assert!(bus.handlers().is_empty());
    assert!(
        alive.upgrade().is_none(),
        "its call was dropped, and the handler with it"
    );
    assert_eq!(bus.task(&id("t")).unwrap().topic().watcher_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_handler_does_not_keep_the_bus_from_shutting_down() {
    let bus = bus();
    let _guard = bus.subscribe_handler(
        Filter::everything(),
        Gated(Arc::new(Semaphore::new(0)), Seen::default()),
    );
    bus.publish(&id("t"), NewEvent::log("line")).await.unwrap();
    settle().await;
    let stopped = tokio::time::timeout(tidings_testkit::DEADLINE, bus.shutdown());
    stopped.await.expect("a shutdown in time");
    assert!(bus.handlers().is_empty());
}
