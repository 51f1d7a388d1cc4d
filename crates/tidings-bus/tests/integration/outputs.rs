//! A task's whole outputs are kept outside the snapshot, for as long as the snapshot.

use std::sync::Arc;

use tidings_bus::protocol::{ItemId, NewEvent};
use tidings_bus::{
    BusConfig, EventBus, LocalBroker, MemoryStore, OutputText, Store, Write, defaults,
};

use crate::support::{bus, id, limited};

fn output_id() -> ItemId {
    ItemId::new("answer").unwrap()
}

async fn read(bus: &EventBus) -> OutputText {
    let text = bus.output(&id("t"), &output_id(), 0..u64::MAX).await;
    text.unwrap().unwrap()
}

/// Publishes `bytes` of text in deltas. Returns the text.
async fn write(bus: &EventBus, bytes: usize) -> String {
    let mut whole = String::new();
    while whole.len() < bytes {
        let text = format!("{} words, and so on. ", whole.len());
        whole.push_str(&text);
        let delta = NewEvent::output_delta("answer", text);
        bus.publish(&id("t"), delta).await.unwrap();
    }
    whole
}

#[tokio::test(start_paused = true)]
async fn outputs_outlive_a_restart_whole() {
    for way in [Write::Through, Write::Behind] {
        let store = Arc::new(MemoryStore::written(way));
        let open = || {
            let store = Arc::clone(&store) as Arc<dyn Store>;
            // The log keeps nearly nothing, and a snapshot keeps 64 KiB.
            async { EventBus::open(limited(5), store).await.unwrap() }
        };
        let bus = open().await;
        let mut whole = write(&bus, 200_000).await;
        bus.shutdown().await;

        let bus = open().await;
        let kept = read(&bus).await;
        assert_eq!(
            (kept.start, kept.length),
            (0, whole.len() as u64),
            "{way:?}"
        );
        assert_eq!(kept.bytes, whole.as_bytes(), "{way:?}");
        // The output continues where it was.
        whole.push_str(&write(&bus, 50_000).await);
        assert_eq!(read(&bus).await.bytes, whole.as_bytes(), "{way:?}");
        let part = bus.output(&id("t"), &output_id(), 150_000..249_000).await;
        let part = part.unwrap().unwrap();
        assert_eq!(part.bytes, whole.as_bytes()[150_000..249_000], "{way:?}");

        // A new run starts without the output.
        for event in [
            NewEvent::task_started("work"),
            NewEvent::task_completed(None),
            NewEvent::task_started("work"),
            NewEvent::output_delta("answer", "anew"),
        ] {
            bus.publish(&id("t"), event).await.unwrap();
        }
        assert_eq!(read(&bus).await.bytes, b"anew", "{way:?}");
        bus.shutdown().await;
        let bus = open().await;
        assert_eq!(read(&bus).await.bytes, b"anew", "{way:?}");
    }
}

#[tokio::test]
async fn outputs_are_read_on_any_node() {
    let store = Arc::new(MemoryStore::new());
    let broker = Arc::new(LocalBroker::new());
    let open = || {
        let store = Arc::clone(&store) as Arc<dyn Store>;
        let config = limited(5).broker(Some(broker.clone()));
        async { EventBus::open(config, store).await.unwrap() }
    };
    let a = open().await;
    let mut whole = write(&a, 200_000).await;
    let b = open().await;
    assert_eq!(read(&b).await.bytes, whole.as_bytes());
    whole.push_str(&write(&b, 10_000).await);
    assert_eq!(read(&b).await.bytes, whole.as_bytes());
    a.shutdown().await;
    b.shutdown().await;
}

/// Compares the charged bytes with the size of the outputs.
#[tokio::test]
async fn an_output_costs_no_more_than_its_limit() {
    let bus = bus();
    let text = "x".repeat(32 * 1024);
    for _ in 0..(100 << 20) / text.len() {
        let delta = NewEvent::output_delta("answer", &text);
        bus.publish(&id("t"), delta).await.unwrap();
    }
    let charged = bus.stats().bytes;
    let config = BusConfig::default();
    let bound = config.log_limits.max_bytes + defaults::OUTPUT_BYTES + 2 * 64 * 1024;
    assert!(charged <= bound as u64, "{charged} bytes, {bound} at most");
    let snapshot = bus.snapshot(&id("t")).unwrap();
    let encoded = serde_json::to_vec(&*snapshot).unwrap().len();
    assert!(encoded <= 64 * 1024, "{encoded}");
    let kept = read(&bus).await;
    assert_eq!(kept.length, 100 << 20);
    assert_eq!(kept.length - kept.start, defaults::OUTPUT_BYTES as u64);
    assert_eq!(snapshot.outputs[0].length, kept.length);
}
