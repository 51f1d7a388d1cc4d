//! Calls of the store show in the bus's timings.

use std::sync::Arc;

use tidings_bus::{BusConfig, EventBus, MemoryStore};
use tidings_protocol::{NewEvent, TaskId};

#[tokio::test]
async fn what_the_store_takes_is_noted() {
    let store = Arc::new(MemoryStore::new());
    let bus = EventBus::open(BusConfig::default(), store).await.unwrap();
    let task: TaskId = "t".parse().unwrap();
    let before = bus.counters().timings().store_write.read().count;
    bus.publish(&task, NewEvent::log("one")).await.unwrap();
    bus.publish(&task, NewEvent::log("two")).await.unwrap();
    let timings = bus.counters().timings();
    assert_eq!(timings.store_write.read().count, before + 2);
    assert_eq!(timings.publish.read().count, 2);
    bus.shutdown().await;
}
