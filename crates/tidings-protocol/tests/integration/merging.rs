//! A merged event leads to the same state as the events that it replaces.

use proptest::collection::vec;
use proptest::prelude::*;
use tidings_protocol::{
    Epoch, Event, Fold, MAX_MERGED_BYTES, Merger, NewEvent, Offset, Payload, TaskId, TaskSnapshot,
    Timestamp,
};

use crate::strategies;

fn fresh() -> TaskSnapshot {
    TaskSnapshot::new(TaskId::new("task").unwrap(), Epoch::new("e1").unwrap())
}

/// Publishes the events that are allowed. Returns the log, and the state after each event.
fn publish(events: impl IntoIterator<Item = NewEvent>) -> Vec<(Event, TaskSnapshot)> {
    let mut state = fresh();
    let mut log = Vec::new();
    for new in events {
        if state.check(&new.event_type).is_err() {
            continue;
        }
        let offset = state.offset.next();
        let mut event = Event {
            event_type: new.event_type,
            task_id: state.task_id.clone(),
            offset,
            from: None,
            timestamp: Timestamp::from_millis(offset.get() * 1_000),
            event_id: None,
            source: None,
            at: None,
            data: new.data,
        };
        if let Ok(Payload::OutputDelta(delta)) = Payload::of(&event) {
            let mut outputs = state.outputs.iter();
            let known = outputs.find(|output| output.output_id == delta.output_id);
            event.at = Some(known.map_or(0, |output| output.length));
        }
        let payload = Payload::of(&event).unwrap();
        state.apply(&payload, offset, event.timestamp);
        log.push((event, state.clone()));
    }
    log
}

/// Merges as many events as possible.
fn merge(log: &[(Event, TaskSnapshot)]) -> Vec<Event> {
    let mut merged = Vec::new();
    let mut at = 0;
    while let Some((first, _)) = log.get(at) {
        at += 1;
        let Some(mut merger) = Merger::begin(first) else {
            merged.push(first.clone());
            continue;
        };
        while let Some((next, _)) = log.get(at)
            && merger.push(next)
        {
            at += 1;
        }
        merged.push(merger.finish());
    }
    merged
}

/// Folds events, starting from a snapshot, and compares the state after each event.
fn check(log: &[(Event, TaskSnapshot)], events: &[Event], from: &TaskSnapshot) {
    let mut fold = Fold::default();
    fold.snapshot(from.clone().into());
    let mut next = 1;
    for event in events {
        assert_eq!(event.first_offset().get(), next, "contiguous");
        next = event.offset.get() + 1;
        let text = serde_json::to_string(event).unwrap();
        let read: Event = serde_json::from_str(&text).unwrap();
        fold.event(&read).unwrap();
        if event.offset >= from.offset {
            let index = usize::try_from(event.offset.get() - 1).unwrap();
            assert_eq!(**fold.state().unwrap(), log[index].1, "after {text}");
        }
    }
    assert_eq!(next, log.len() as u64 + 1);
}

fn adjacent() -> impl Strategy<Value = NewEvent> {
    let amount = || proptest::option::of(prop_oneof![Just(0.0), 0.0..10.0_f64]);
    let text = || {
        proptest::option::of(prop_oneof![
            9 => "[a-z]{0,3}",
            1 => (1..4_000_usize).prop_map(|n| "x".repeat(n)),
        ])
    };
    let update = (amount(), amount(), amount(), text(), text()).prop_filter_map(
        "one of them is given",
        |(progress, current, total, message, stage)| {
            progress.or(current)?;
            let mut data = serde_json::json!({ "own": progress });
            for (name, value) in [
                ("progress", progress),
                ("current", current),
                ("total", total),
            ] {
                if let Some(value) = value {
                    data[name] = value.into();
                }
            }
            for (name, value) in [("message", message), ("stage", stage)] {
                if let Some(value) = value {
                    data[name] = value.into();
                }
            }
            let data = tidings_protocol::Data::from_value(data).unwrap();
            Some(NewEvent::new(
                tidings_protocol::EventType::ProgressUpdate,
                data,
            ))
        },
    );
    let delta = (
        "[ab]",
        prop_oneof!["\\PC{0,9}", (1..9_000_usize).prop_map(|n| "ö\"".repeat(n))],
    )
        .prop_map(|(id, text)| NewEvent::output_delta(id, text));
    prop_oneof![6 => update, 6 => delta, 1 => strategies::reported()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn the_state_is_the_same(events in vec(adjacent(), 0..80)) {
        let log = publish(events);
        check(&log, &merge(&log), &fresh());
    }

    #[test]
    fn the_state_is_the_same_from_any_snapshot_on(
        events in vec(adjacent(), 1..60),
        at in any::<prop::sample::Index>(),
    ) {
        let log = publish(events);
        prop_assume!(!log.is_empty());
        let (_, snapshot) = &log[at.index(log.len())];
        check(&log, &merge(&log), snapshot);
    }
}

#[test]
fn a_message_that_is_not_repeated_stays() {
    let update = |n: u32| NewEvent::progress(f64::from(n), None);
    let mut events = vec![NewEvent::progress(1.0, "linking")];
    events.extend((2..=50).map(update));
    let log = publish(events);
    let merged = merge(&log);
    assert_eq!(merged.len(), 1);
    let data = merged[0].data.get();
    assert_eq!(
        (&data["message"], data["progress"].as_f64()),
        (&"linking".into(), Some(50.0))
    );
    let (from, to) = (merged[0].from.unwrap(), merged[0].offset);
    assert_eq!((from, to), (Offset::FIRST, Offset::new(50).unwrap()));
}

#[test]
fn a_merged_event_is_bounded() {
    let deltas = (0..1_000).map(|_| NewEvent::output_delta("o", "x".repeat(600)));
    let log = publish(deltas);
    let merged = merge(&log);
    assert!(merged.len() > 1);
    for event in &merged {
        assert!(event.data.as_str().len() <= MAX_MERGED_BYTES);
    }
    check(&log, &merged, &fresh());
}

#[test]
fn outputs_that_take_turns_are_not_merged() {
    let deltas = (0..10).map(|n| NewEvent::output_delta((n % 2).to_string(), "x"));
    let log = publish(deltas);
    assert!(merge(&log).iter().all(|event| event.from.is_none()));
}
