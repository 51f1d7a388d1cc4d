//! Fencing and leases hold after a crash and after an orderly stop, on a real disk.

use crate::support::{MODES, copy, fresh, id, open, step, until};
use tidings_bus::PublishError;
use tidings_bus::protocol::{
    Data, EventType, FenceError, NewEvent, ProducerId, ProducerStamp, TaskStatus,
};

fn stamped(epoch: u64, seq: u64) -> NewEvent {
    let producer = ProducerId::new("worker").unwrap();
    step(seq).with_producer(ProducerStamp::new(producer, epoch, seq))
}

fn leased(ms: u64) -> NewEvent {
    let data = format!("{{\"name\":\"work\",\"lease_ms\":{ms}}}");
    NewEvent::new(EventType::TaskStarted, Data::parse(&data).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_stays_refused_and_a_lease_runs_out_after_a_crash() {
    for sync in MODES {
        let directory = tempfile::tempdir().unwrap();
        let running = directory.path().join("running");
        let (bus, _) = open(&running, sync).await;
        bus.publish(&id("t"), leased(60_000)).await.unwrap();
        bus.publish(&id("t"), stamped(1, 1)).await.unwrap();
        bus.publish(&id("t"), stamped(2, 1)).await.unwrap();
        bus.publish(&id("silent"), leased(500)).await.unwrap();
        until(|| bus.stats().bytes_unsaved == 0).await;
        let path = fresh(&directory);
        copy(&running, &path);
        drop(bus);

        let (bus, _) = open(&path, sync).await;
        match bus.publish(&id("t"), stamped(1, 2)).await {
            Err(PublishError::Fenced(error)) => {
                assert_eq!(error, FenceError::Fenced { current: 2 }, "{sync}");
            }
            other => panic!("{sync}: {other:?}"),
        }
        bus.publish(&id("t"), stamped(2, 2)).await.unwrap();
        until(|| bus.snapshot(&id("silent")).unwrap().status == TaskStatus::Failed).await;
        assert!(bus.shutdown().await);
        drop(bus);

        // The same holds after an orderly stop.
        let (bus, _) = open(&path, sync).await;
        assert_eq!(bus.snapshot(&id("t")).unwrap().status, TaskStatus::Running);
        bus.publish(&id("t"), stamped(2, 4)).await.unwrap_err();
        bus.publish(&id("t"), stamped(2, 3)).await.unwrap();
        assert!(bus.shutdown().await);
    }
}
