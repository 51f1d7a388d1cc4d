//! A handler that fails, panics, is slow or hangs harms only itself.

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_waits_until_handlers_have_handled_what_was_published() {
    for _ in 0..20 {
        let bus = bus();
        let (by_name, by_pattern) = (Seen::default(), Seen::default());
        let one = bus.subscribe_handler(id("t"), Failing(Arc::clone(&by_name)));
        let all = bus.subscribe_handler(Filter::everything(), Failing(Arc::clone(&by_pattern)));
        for _ in 0..100 {
            bus.publish(&id("t"), NewEvent::log("line")).await.unwrap();
        }
        let finished = bus.finish().await;
        assert_eq!((finished.saved, finished.unhandled), (true, 0));
        let everything: Vec<_> = (1..=100).collect();
        assert_eq!(*by_name.lock().unwrap(), everything);
        assert_eq!(*by_pattern.lock().unwrap(), everything);
        drop((one, all));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_leaves_at_the_deadline_is_counted() {
    let bus = bus();
    let (permits, seen) = (Arc::new(Semaphore::new(3)), Seen::default());
    let gated = Gated(Arc::clone(&permits), Arc::clone(&seen));
    let _guard = bus.subscribe_handler(id("t"), gated);
    for _ in 0..10 {
        bus.publish(&id("t"), NewEvent::log("line")).await.unwrap();
    }
    let finished = bus.finish().await;
    assert_eq!(finished.unhandled, 7, "the one in its hands included");
    assert!(!finished.is_complete());
    assert_eq!(*seen.lock().unwrap(), [1, 2, 3]);
    assert_eq!(bus.stats().handler_unhandled, 7);
}

#[tokio::test(start_paused = true)]
async fn a_handler_says_what_it_is_and_how_far_behind() {
    let bus = bus();
    let (permits, seen) = (Arc::new(Semaphore::new(0)), Seen::default());
    let gated = Gated(Arc::clone(&permits), Arc::clone(&seen));
    let everything = Filter::everything().event_types([tidings_bus::protocol::EventType::Log]);
    let guard = bus.subscribe_handler(everything, gated);
    for _ in 0..3 {
        bus.publish(&id("t"), NewEvent::log("line")).await.unwrap();
        bus.progress(&id("t"), 1.0, "passed over").await.unwrap();
    }
    settle().await;
    let at_first = info(&bus, guard.id());
    assert!(at_first.name.ends_with("Gated"), "{}", at_first.name);
    assert_eq!(at_first.filter, "pattern *, only log");
    assert_eq!(at_first.lag, 6);
    {
        let caught_up = guard.caught_up();
        tokio::pin!(caught_up);
        assert!(futures_util::poll!(caught_up.as_mut()).is_pending());
        permits.add_permits(2);
        settle().await;
        assert!(futures_util::poll!(caught_up.as_mut()).is_pending());
        permits.add_permits(1);
        assert!(caught_up.await);
    }
    assert_eq!(*seen.lock().unwrap(), [1, 3, 5]);
    assert_eq!(info(&bus, guard.id()).lag, 0);
}

#[tokio::test]
async fn a_closure_is_a_handler() {
    let bus = bus();
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let _guard = bus.subscribe_handler(Filter::everything(), move |update: Delivery| {
        let sender = sender.clone();
        async move {
            if let Delivery::Event(event) = update {
                sender.send(event.offset().get())?;
            }
            Ok(())
        }
    });
    bus.publish(&id("t"), NewEvent::task_started("t"))
        .await
        .unwrap();
    assert_eq!(seen.recv().await, Some(1));
}
