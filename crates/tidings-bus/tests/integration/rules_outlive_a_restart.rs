//! With a store, the rules for a task's next events survive the bus. A replaced producer stays
//! refused, and a lease still expires.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{event, id, step};
use serde_json::json;
use tidings_bus::protocol::{
    Data, EventType, FenceError, NewEvent, ProducerId, ProducerStamp, TaskStatus,
};
use tidings_bus::{BusConfig, EventBus, MemoryStore, PublishError, Store, Write};

const LEASE: Duration = Duration::from_secs(30);

async fn open(store: &Arc<MemoryStore>) -> EventBus {
    let store = Arc::clone(store) as Arc<dyn Store>;
    EventBus::open(BusConfig::default(), store).await.unwrap()
}

/// The next event of a run of the producer.
fn stamped(epoch: u64, seq: u64) -> NewEvent {
    let producer = ProducerId::new("worker").unwrap();
    step(seq).with_producer(ProducerStamp::new(producer, epoch, seq))
}

fn leased() -> NewEvent {
    let data = json!({"name": "work", "lease_ms": LEASE.as_millis()});
    let data = Data::parse(&data.to_string()).unwrap();
    NewEvent::new(EventType::TaskStarted, data)
}

fn fenced(answer: Result<tidings_bus::Published, PublishError>) -> FenceError {
    match answer {
        Err(PublishError::Fenced(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_was_replaced_stays_refused() {
    for write in [Write::Through, Write::Behind] {
        let store = Arc::new(MemoryStore::written(write));
        let bus = open(&store).await;
        bus.publish(&id("t"), stamped(1, 1)).await.unwrap();
        bus.publish(&id("t"), stamped(2, 1)).await.unwrap();
        bus.publish(&id("t"), stamped(2, 2)).await.unwrap();
        // From another producer, so that this is not only the stamp of the newest event.
        bus.publish(&id("t"), step(0)).await.unwrap();
        assert!(bus.shutdown().await);

        let bus = open(&store).await;
        assert_eq!(
            fenced(bus.publish(&id("t"), stamped(1, 2)).await),
            FenceError::Fenced { current: 2 },
            "{write:?}: a zombie"
        );
        let again = bus.publish(&id("t"), stamped(2, 2)).await.unwrap();
        assert_eq!(
            (again.offset.get(), again.duplicate),
            (3, true),
            "{write:?}: a retry"
        );
        assert_eq!(
            fenced(bus.publish(&id("t"), stamped(2, 4)).await),
            FenceError::SequenceGap { expected: 3 },
            "{write:?}: a hole"
        );
        let next = bus.publish(&id("t"), stamped(2, 3)).await.unwrap();
        assert_eq!(next.offset.get(), 5, "{write:?}");
        // A removed task is a new task for every publisher.
        assert!(bus.remove(&id("t")).await.unwrap());
        bus.publish(&id("t"), stamped(1, 1)).await.unwrap();
        assert!(bus.shutdown().await);
        let bus = open(&store).await;
        bus.publish(&id("t"), stamped(1, 2)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_runs_out_after_a_restart_too() {
    for write in [Write::Through, Write::Behind] {
        let store = Arc::new(MemoryStore::written(write));
        let bus = open(&store).await;
        bus.publish(&id("t"), leased()).await.unwrap();
        bus.publish(&id("done"), leased()).await.unwrap();
        bus.task_completed(&id("done"), None).await.unwrap();
        tokio::time::sleep(LEASE / 2).await;
        assert!(bus.shutdown().await);

        let bus = open(&store).await;
        let mut watching = bus.subscribe(id("t"));
        // The task gets its full time again, because the silence was the fault of the bus.
        tokio::time::sleep(LEASE - Duration::from_secs(1)).await;
        assert!(!bus.snapshot(&id("t")).unwrap().stalled, "{write:?}");
        let stalled = event(&mut watching).await;
        assert_eq!(*stalled.event_type(), EventType::TaskStalled, "{write:?}");
        assert!(bus.shutdown().await);

        // The stall was reported before the restart, and is not reported again.
        let bus = open(&store).await;
        let mut watching = bus.subscribe(id("t"));
        tokio::time::sleep(LEASE - Duration::from_secs(1)).await;
        let failed = event(&mut watching).await;
        assert_eq!(*failed.event_type(), EventType::TaskFailed, "{write:?}");
        assert_eq!(
            bus.snapshot(&id("done")).unwrap().status,
            TaskStatus::Completed,
            "{write:?}: its lease ended with it"
        );
        assert!(bus.shutdown().await);
    }
}
