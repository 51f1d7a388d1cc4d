//! A worker cannot change the run of another worker, and learns the number of its own run.

use std::sync::Arc;

use crate::support::{bus, id};
use tidings_bus::protocol::{ErrorCode, EventId, NewEvent, ProducerId, ProducerStamp, TaskStatus};
use tidings_bus::{BusConfig, EventBus, MemoryStore, Write};

/// Creates a bus without a store, one that writes through, and one that writes behind.
async fn every_bus() -> Vec<EventBus> {
    let mut buses = vec![bus()];
    for write in [Write::Through, Write::Behind] {
        let store = Arc::new(MemoryStore::written(write));
        let opened = EventBus::open(BusConfig::default(), store).await;
        buses.push(opened.unwrap());
    }
    buses
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_start_was_refused_cannot_end_the_run_of_another() {
    for bus in every_bus().await {
        let task = id("t");
        let first = bus.publish(&task, NewEvent::task_started("one")).await;
        let run = first.unwrap().run.unwrap();
        assert_eq!(run, 1);
        let second = bus.publish(&task, NewEvent::task_started("two")).await;
        assert_eq!(second.unwrap_err().code(), ErrorCode::InvalidTransition);
        // This worker never learned a run. An invented run is not the task's run.
        for made_up in [0, 2] {
            let end = NewEvent::task_completed(None).with_run(made_up);
            let refused = bus.publish(&task, end).await.unwrap_err();
            assert_eq!(refused.code(), ErrorCode::WrongRun);
            let text = refused.to_string();
            assert!(text.contains(&format!("run {made_up}")), "{text}");
        }
        assert_eq!(bus.snapshot(&task).unwrap().status, TaskStatus::Running);
        let end = NewEvent::task_completed(None).with_run(run);
        assert_eq!(bus.publish(&task, end).await.unwrap().run, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_was_superseded_cannot_touch_the_next_run() {
    for bus in every_bus().await {
        let task = id("t");
        let start = |name: &str| NewEvent::task_started(name);
        bus.publish(&task, start("one")).await.unwrap();
        let lost = NewEvent::task_failed("lost");
        bus.publish(&task, lost).await.unwrap();
        let second = bus.publish(&task, start("two")).await.unwrap();
        assert_eq!(second.run, Some(2));
        let late = NewEvent::progress(90.0, None).with_run(1);
        let refused = bus.publish(&task, late).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::WrongRun);
        assert_eq!(bus.snapshot(&task).unwrap().progress, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retried_start_is_told_the_run_that_it_opened() {
    for bus in every_bus().await {
        let task = id("t");
        let start = |n: u64| {
            NewEvent::task_started("work").with_event_id(EventId::new(n.to_string()).unwrap())
        };
        let stamped = |n: u64| {
            let producer = ProducerId::new("worker").unwrap();
            NewEvent::task_started("work").with_producer(ProducerStamp::new(producer, 1, n))
        };
        for n in 1..=3 {
            let by_id = bus.publish(&task, start(n)).await.unwrap();
            bus.publish(&task, NewEvent::task_completed(None))
                .await
                .unwrap();
            let by_seq = bus.publish(&task, stamped(n)).await.unwrap();
            bus.publish(&task, NewEvent::task_completed(None))
                .await
                .unwrap();
            for (event, first) in [(start(n), by_id), (stamped(n), by_seq)] {
                let again = bus.publish(&task, event).await.unwrap();
                assert!(again.duplicate);
                assert_eq!((again.offset, again.run), (first.offset, first.run));
            }
        }
        assert_eq!(bus.snapshot(&task).unwrap().run, 6);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retried_start_is_known_after_a_restart() {
    for write in [Write::Through, Write::Behind] {
        let store = Arc::new(MemoryStore::written(write));
        let task = id("t");
        let start = NewEvent::task_started("work").with_event_id(EventId::new("s").unwrap());
        let bus = EventBus::open(BusConfig::default(), store.clone())
            .await
            .unwrap();
        let first = bus.publish(&task, start.clone()).await.unwrap();
        assert!(bus.shutdown().await);
        let bus = EventBus::open(BusConfig::default(), store).await.unwrap();
        let again = bus.publish(&task, start).await.unwrap();
        assert_eq!((again.offset, again.run), (first.offset, Some(1)));
        assert!(again.duplicate);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_in_the_same_group_is_a_duplicate() {
    for bus in every_bus().await {
        let task = id("t");
        let stamped = |n: u64| {
            let producer = ProducerId::new("worker").unwrap();
            NewEvent::log(n.to_string()).with_producer(ProducerStamp::new(producer, 1, n))
        };
        let mut batch: Vec<_> = (1..=100).map(|n| (task.clone(), stamped(n))).collect();
        batch.push((task.clone(), stamped(100)));
        batch.push((task.clone(), stamped(1)));
        let answers = bus.publish_batch(batch).await;
        let offset = |n: usize| answers[n].as_ref().unwrap().offset.get();
        assert_eq!((offset(99), offset(100)), (100, 100));
        assert!(answers[100].as_ref().unwrap().duplicate);
        assert!(answers[101].as_ref().unwrap().duplicate);
        assert_eq!(offset(101), 0, "its offset is not known any more");
        assert_eq!(bus.snapshot(&task).unwrap().offset.get(), 100);
    }
}
