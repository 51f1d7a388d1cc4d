//! A replaced producer can no longer publish, and no producer can leave a hole.

use crate::support::{self, bus, event, id, quiet};
use tidings_bus::PublishError;
use tidings_bus::protocol::{ErrorCode, EventId, FenceError, NewEvent, ProducerId, ProducerStamp};

fn by(producer: &str, epoch: u64, seq: u64, percent: f64) -> NewEvent {
    let stamp = ProducerStamp::new(ProducerId::new(producer).unwrap(), epoch, seq);
    NewEvent::progress(percent, None).with_producer(stamp)
}

#[tokio::test(start_paused = true)]
async fn a_zombie_is_fenced_and_changes_nothing() {
    let bus = bus();
    let task = id("t");
    bus.publish(&task, by("worker", 1, 1, 10.0)).await.unwrap();
    bus.publish(&task, by("worker", 2, 1, 60.0)).await.unwrap();
    let before = bus.snapshot(&task).unwrap();
    let mut watching = bus.subscribe(&task);

    let refused = bus
        .publish(&task, by("worker", 1, 2, 20.0))
        .await
        .unwrap_err();
    assert!(
        matches!(
            refused,
            PublishError::Fenced(FenceError::Fenced { current: 2 })
        ),
        "{refused:?}"
    );
    assert_eq!(refused.code(), ErrorCode::Fenced);
    let end = NewEvent::task_completed(None).with_producer(ProducerStamp::new(
        ProducerId::new("worker").unwrap(),
        1,
        2,
    ));
    assert_eq!(
        bus.publish(&task, end).await.unwrap_err().code(),
        ErrorCode::Fenced
    );

    quiet(&mut watching).await;
    assert_eq!(bus.snapshot(&task).unwrap(), before);
    assert_eq!(
        bus.publish(&task, by("worker", 2, 2, 70.0))
            .await
            .unwrap()
            .offset
            .get(),
        3
    );
}

#[tokio::test(start_paused = true)]
async fn a_hole_in_seq_is_refused_with_the_number_that_is_due() {
    let bus = bus();
    let task = id("t");
    bus.publish(&task, by("worker", 1, 41, 1.0)).await.unwrap();
    let before = bus.snapshot(&task).unwrap();
    for seq in [43, 100, 40, 0] {
        let refused = bus
            .publish(&task, by("worker", 1, seq, 2.0))
            .await
            .unwrap_err();
        assert!(
            matches!(
                refused,
                PublishError::Fenced(FenceError::SequenceGap { expected: 42 })
            ),
            "seq {seq}: {refused:?}"
        );
        assert_eq!(refused.code(), ErrorCode::SequenceGap);
    }
    assert_eq!(bus.snapshot(&task).unwrap(), before);
    assert_eq!(
        bus.publish(&task, by("worker", 1, 42, 2.0))
            .await
            .unwrap()
            .offset
            .get(),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_a_lost_answer_is_a_duplicate() {
    let bus = bus();
    let task = id("t");
    let mut watching = bus.subscribe(&task);
    for seq in 41..=43 {
        bus.publish(&task, by("worker", 1, seq, 1.0)).await.unwrap();
    }
    for seq in 41..=43 {
        let retry = bus.publish(&task, by("worker", 1, seq, 1.0)).await.unwrap();
        assert_eq!((retry.offset.get(), retry.duplicate), (seq - 40, true));
    }
    assert_eq!(support::offsets(&mut watching, 3).await, [1, 2, 3]);
    quiet(&mut watching).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_refused_for_another_reason_uses_up_no_seq() {
    let bus = bus();
    let task = id("t");
    bus.publish(&task, by("worker", 1, 1, 1.0)).await.unwrap();
    assert!(bus.publish(&task, by("worker", 1, 2, 101.0)).await.is_err());
    let stamp = ProducerStamp::new(ProducerId::new("worker").unwrap(), 1, 2);
    bus.publish(&task, NewEvent::task_completed(None).with_producer(stamp))
        .await
        .unwrap();
    let late = bus
        .publish(&task, by("worker", 1, 3, 2.0))
        .await
        .unwrap_err();
    assert_eq!(late.code(), ErrorCode::InvalidTransition);
    let stamp = ProducerStamp::new(ProducerId::new("worker").unwrap(), 1, 3);
    let again = NewEvent::task_started("again").with_producer(stamp);
    assert_eq!(bus.publish(&task, again).await.unwrap().offset.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_new_epoch_takes_over_and_starts_wherever_it_likes() {
    let bus = bus();
    let task = id("t");
    let mut watching = bus.subscribe(&task);
    bus.publish(&task, by("worker", 1, 1, 1.0)).await.unwrap();
    bus.publish(&task, by("worker", 7, 1_000, 2.0))
        .await
        .unwrap();
    bus.publish(&task, by("worker", 7, 1_001, 3.0))
        .await
        .unwrap();
    // Another producer of the same task has its own numbers.
    bus.publish(&task, by("other", 1, 5, 4.0)).await.unwrap();
    // The same producer has other numbers in another task.
    bus.publish(&id("u"), by("worker", 1, 1, 5.0))
        .await
        .unwrap();
    assert_eq!(support::offsets(&mut watching, 4).await, [1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_under_the_same_event_id_is_a_duplicate_and_no_gap_in_seq() {
    let bus = bus();
    let task = id("t");
    let mut watching = bus.subscribe(&task);
    let stamped =
        |seq, key: &str| by("worker", 1, seq, 1.0).with_event_id(EventId::new(key).unwrap());
    let first = bus.publish(&task, stamped(1, "k1")).await.unwrap();
    let second = bus.publish(&task, stamped(2, "k2")).await.unwrap();
    for (seq, key, offset) in [(1, "k1", first.offset), (2, "k2", second.offset)] {
        let retry = bus.publish(&task, stamped(seq, key)).await.unwrap();
        assert_eq!((retry.offset, retry.duplicate), (offset, true), "{key}");
    }
    let third = bus.publish(&task, stamped(3, "k3")).await.unwrap();
    assert_eq!((third.offset.get(), third.duplicate), (3, false));
    for due in 1..=3 {
        assert_eq!(event(&mut watching).await.offset().get(), due);
    }
    quiet(&mut watching).await;
}
