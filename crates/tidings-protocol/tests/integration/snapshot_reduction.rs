//! A snapshot depends only on its events, and is never larger than its limit.

use proptest::collection::vec;
use proptest::prelude::*;
use tidings_protocol::{
    Epoch, MAX_ENTRIES, MAX_SNAPSHOT_BYTES, NewEvent, Offset, Payload, TaskId, TaskSnapshot,
    Timestamp,
};

use crate::strategies;

fn fresh() -> TaskSnapshot {
    TaskSnapshot::new(TaskId::new("task").unwrap(), Epoch::new("e1").unwrap())
}

/// Applies the event if it is allowed. Returns whether it was.
fn offer(snapshot: &mut TaskSnapshot, event: &NewEvent) -> bool {
    let payload = Payload::parse(&event.event_type, &event.data).unwrap();
    if snapshot.check(&event.event_type).is_err() {
        return false;
    }
    let offset = snapshot.offset.next();
    snapshot.apply(
        &payload,
        offset,
        Timestamp::from_millis(offset.get() * 1_000),
    );
    true
}

fn stored_and_read_back(snapshot: &TaskSnapshot) -> TaskSnapshot {
    serde_json::from_str(&serde_json::to_string(snapshot).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn it_is_the_same_wherever_it_was_kept(
        events in vec((strategies::reported(), any::<bool>()), 0..60),
    ) {
        let mut whole = fresh();
        let mut moved = fresh();
        for (event, moves) in &events {
            let applied = offer(&mut whole, event);
            prop_assert_eq!(offer(&mut moved, event), applied);
            if *moves {
                moved = stored_and_read_back(&moved);
            }
            prop_assert_eq!(&whole, &moved);
        }
    }

    #[test]
    fn it_never_outgrows_its_bound(events in vec(strategies::reported(), 0..120)) {
        let mut snapshot = fresh();
        for event in &events {
            offer(&mut snapshot, event);
            let size = serde_json::to_vec(&snapshot).unwrap().len();
            prop_assert!(size <= MAX_SNAPSHOT_BYTES, "{size} bytes after {event:?}");
        }
    }
}

fn reduce(events: impl IntoIterator<Item = NewEvent>) -> TaskSnapshot {
    let mut snapshot = fresh();
    for event in events {
        assert!(
            offer(&mut snapshot, &event),
            "{event:?} is refused while {}",
            snapshot.status
        );
    }
    let size = serde_json::to_vec(&snapshot).unwrap().len();
    assert!(size <= MAX_SNAPSHOT_BYTES, "{size} bytes");
    assert_eq!(snapshot, stored_and_read_back(&snapshot));
    snapshot
}

#[test]
fn of_a_long_output_the_end_stays() {
    let words = (0..40_000).map(|n| NewEvent::output_delta("o", format!("word{n} ")));
    let snapshot = reduce(words);
    assert!(snapshot.truncated);
    assert_eq!(snapshot.outputs.len(), 1);
    let output = &snapshot.outputs[0];
    let text = &output.text;
    assert!(text.ends_with("word39998 word39999 "), "the end is there");
    let whole: String = (0..40_000).map(|n| format!("word{n} ")).collect();
    assert_eq!(output.length, whole.len() as u64);
    assert_eq!(
        *text,
        whole[usize::try_from(output.start).unwrap()..],
        "what is missing is named"
    );
    assert!(
        text.len() > MAX_SNAPSHOT_BYTES / 2,
        "{} bytes are left",
        text.len()
    );
}

#[test]
fn text_that_escapes_swells_it_no_further() {
    let deltas = (0..200).map(|_| NewEvent::output_delta("o", "\u{1}".repeat(1_000)));
    assert!(reduce(deltas).truncated);
    let names = (0..100).map(|n| NewEvent::step_started(n.to_string(), &*"\"".repeat(9_000)));
    let snapshot = reduce(names);
    assert!(snapshot.truncated && !snapshot.steps.is_empty());
}

#[test]
fn outputs_go_before_inline_data_and_inline_data_before_the_result() {
    let big = |n: usize| serde_json::json!("x".repeat(n));
    let artifact = |id: &str, n| {
        let artifact = serde_json::json!({"artifact_id": id, "name": id, "data": big(n)});
        NewEvent::artifact(&serde_json::from_value(artifact).unwrap())
    };
    let text = || NewEvent::output_delta("o", "y".repeat(20_000));

    let snapshot = reduce([text(), artifact("a", 20_000), artifact("b", 20_000)]);
    assert!(snapshot.outputs[0].text.len() < 20_000);
    assert!(
        snapshot
            .artifacts
            .iter()
            .all(|artifact| artifact.data.is_some())
    );

    let snapshot = reduce([
        text(),
        artifact("a", 20_000),
        NewEvent::task_completed(big(45_000)),
    ]);
    assert!(snapshot.outputs[0].text.is_empty());
    assert!(snapshot.artifacts[0].data.is_none());
    assert_eq!(snapshot.artifacts[0].name.as_deref(), Some("a"));
    assert!(snapshot.result.is_some() && snapshot.truncated);

    // A result that can never fit must not displace the rest before it goes itself.
    let snapshot = reduce([text(), NewEvent::task_completed(big(60_000))]);
    assert!(snapshot.result.is_none() && snapshot.truncated);
    assert_eq!(snapshot.outputs[0].text.len(), 20_000);
}

#[test]
fn of_many_entries_the_oldest_go() {
    let snapshot = reduce((0..100).map(|n| NewEvent::step_started(format!("s{n}"), None)));
    assert!(snapshot.truncated);
    assert_eq!(snapshot.steps.len(), MAX_ENTRIES);
    assert_eq!(snapshot.steps[0].step_id.as_str(), "s36");
}

#[test]
fn what_ended_is_kept_with_its_state_and_within_bounds() {
    use tidings_protocol::{ItemState, MAX_ENDED};
    let mut events = vec![NewEvent::step_started("open", None)];
    for n in 0..100 {
        events.push(NewEvent::step_started(format!("s{n}"), "a step"));
        events.push(match n % 2 {
            0 => NewEvent::step_completed(format!("s{n}"), None),
            _ => NewEvent::step_failed(format!("s{n}"), "no"),
        });
    }
    events.push(NewEvent::tool_call_started("c", "grep", None));
    let snapshot = reduce(events.clone());
    assert!(!snapshot.truncated, "what ended long ago is not missed");
    assert_eq!(snapshot.steps.len(), 1 + MAX_ENDED);
    assert_eq!(snapshot.steps[0].state, ItemState::Running);
    let last = snapshot.steps.last().unwrap();
    assert_eq!(
        (last.step_id.as_str(), last.state),
        ("s99", ItemState::Failed)
    );
    assert!(last.ended_at > Some(last.started_at));

    events.push(NewEvent::task_completed(None));
    let snapshot = reduce(events);
    let open = |state| state == ItemState::Running;
    assert!(!snapshot.steps.iter().any(|step| open(step.state)));
    assert_eq!(snapshot.tool_calls[0].state, ItemState::Interrupted);
    assert_eq!(snapshot.tool_calls[0].ended_at, snapshot.finished_at);
}

#[test]
fn a_link_is_whole_or_left_out() {
    let artifact = |url: String| {
        let artifact = serde_json::json!({"artifact_id": "a", "url": url});
        NewEvent::artifact(&serde_json::from_value(artifact).unwrap())
    };
    let snapshot = reduce([artifact(format!(
        "https://example.org/{}",
        "x".repeat(5_000)
    ))]);
    assert_eq!(snapshot.artifacts[0].url, None);
    assert!(snapshot.truncated);
    let snapshot = reduce([artifact("https://example.org/x".to_owned())]);
    assert_eq!(
        snapshot.artifacts[0].url.as_deref(),
        Some("https://example.org/x")
    );
}

#[test]
fn a_new_run_is_no_longer_truncated() {
    let snapshot = reduce([
        NewEvent::task_started("Build"),
        NewEvent::output_delta("o", "x".repeat(60_000)),
        NewEvent::task_completed(None),
        NewEvent::task_started("Build"),
    ]);
    assert!(!snapshot.truncated && snapshot.outputs.is_empty());
    assert_eq!(
        (snapshot.run, snapshot.offset),
        (2, Offset::new(4).unwrap())
    );
}
