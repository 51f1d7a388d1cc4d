//! At every offset, the bus's snapshot equals the fold of the delivered events.

use crate::support::{event, id, limited};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use tidings_bus::protocol::{AgentStatus, Data, EventType, NewEvent, Payload, TaskSnapshot};
use tidings_bus::{EventBus, EventRecord, Filter};

/// Returns ids from a small set, so that events concern the same items.
fn item() -> impl Strategy<Value = String> {
    (0..4_u8).prop_map(|n| format!("id-{n}"))
}

/// Returns mostly short texts, and sometimes a long one that tests the snapshot's bound.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![8 => "\\PC{0,24}", 1 => ("\\PC{1,3}", 1..8_000_usize).prop_map(|(t, n)| t.repeat(n))]
}

fn result() -> impl Strategy<Value = Option<Value>> {
    option::of(prop_oneof![
        Just(json!({"ok": true, "n": 1.50})),
        Just(json!(null)),
        text().prop_map(Value::from)
    ])
}

/// Returns data of some type, valid or not.
fn raw() -> impl Strategy<Value = NewEvent> {
    let types = EventType::STANDARD.to_vec();
    let data = select(vec![
        "{}",
        r#"{"progress":1e3}"#,
        r#"{"progress":"ten"}"#,
        r#"{"current":3,"total":4,"note":"kept"}"#,
        r#"{"step_id":"id-1","error":{"message":"no"},"agent_id":"id-2","status":"working"}"#,
        r#"{"total":7.5,"lease_ms":5}"#,
        r#"{"output_id":"id-1","text":7}"#,
    ]);
    (select(types), data).prop_map(|(kind, data)| NewEvent::new(kind, Data::parse(data).unwrap()))
}

fn reported() -> impl Strategy<Value = NewEvent> {
    prop_oneof![
        3 => text().prop_map(NewEvent::task_started),
        4 => (-5.0..110.0_f64, option::of(text()))
            .prop_map(|(percent, text)| NewEvent::progress(percent, text.as_deref())),
        2 => (0.0..1e6_f64, 0.0..1e6_f64).prop_map(|(now, all)| NewEvent::progress_of(now, all, None)),
        1 => result().prop_map(NewEvent::task_completed),
        1 => text().prop_map(NewEvent::task_failed),
        1 => text().prop_map(|text| NewEvent::task_cancelled(&*text)),
        1 => Just(NewEvent::task_stalled()),
        3 => (item(), text()).prop_map(|(id, text)| NewEvent::step_started(id, &*text)),
        2 => (item(), result()).prop_map(|(id, value)| NewEvent::step_completed(id, value)),
        1 => (item(), text()).prop_map(|(id, text)| NewEvent::step_failed(id, text)),
        3 => (item(), select(AgentStatus::ALL), text())
            .prop_map(|(id, status, text)| NewEvent::agent_status(id, status, &*text)),
        3 => (item(), text(), result())
            .prop_map(|(id, tool, input)| NewEvent::tool_call_started(id, tool, input)),
        2 => item().prop_map(|id| NewEvent::tool_call_completed(id, None, None)),
        1 => item().prop_map(|id| NewEvent::tool_call_failed(id, "no")),
        6 => (item(), text()).prop_map(|(id, text)| NewEvent::output_delta(id, text)),
        2 => (item(), option::of(text()))
            .prop_map(|(id, text)| NewEvent::output_completed(id, text.as_deref())),
        3 => (item(), text(), result()).prop_map(|(id, text, data)| {
            let artifact = json!({"artifact_id": id, "name": text, "url": text, "data": data});
            NewEvent::artifact(&serde_json::from_value(artifact).unwrap())
        }),
        3 => (item(), text()).prop_map(|(id, text)| NewEvent::input_required(id, text, None)),
        2 => item().prop_map(|id| NewEvent::input_provided(id, &json!(true), "ann")),
        3 => (item(), text()).prop_map(|(id, by)| NewEvent::command_requested(id, "pause", None, by)),
        1 => item().prop_map(NewEvent::command_accepted),
        1 => item().prop_map(|id| NewEvent::command_rejected(id, "no")),
        1 => item().prop_map(|id| NewEvent::command_completed(id, None)),
        1 => text().prop_map(NewEvent::log),
        1 => Just(NewEvent::new(EventType::new("app.own").unwrap(), Data::empty())),
        4 => raw(),
    ]
}

fn fold(snapshot: &mut TaskSnapshot, record: &EventRecord) {
    let event = record.decode().unwrap();
    let payload = Payload::of(&event).unwrap();
    snapshot.check(&event.event_type).unwrap();
    snapshot.apply(&payload, event.offset, event.timestamp);
}

async fn holds(events: Vec<NewEvent>) -> Result<(), TestCaseError> {
    let bus = EventBus::new(limited(100_000)).unwrap();
    let task = id("t");
    let mut watching = bus.subscribe(Filter::task(task.clone()));
    let fresh = TaskSnapshot::clone(watching.standing().unwrap().snapshot.as_ref().unwrap());
    let mut folded = fresh.clone();
    let mut taken = 0;
    for new in events {
        let before = bus.snapshot(&task);
        match bus.publish(&task, new.clone()).await {
            Err(_) => prop_assert_eq!(bus.snapshot(&task), before, "refused: {:?}", new),
            Ok(published) => {
                taken += 1;
                prop_assert_eq!(published.offset.get(), taken);
                fold(&mut folded, &event(&mut watching).await);
                prop_assert_eq!(&*bus.snapshot(&task).unwrap(), &folded, "after {:?}", new);
            }
        }
    }
    if let Some(page) = bus.history(&task, None, 100_000).await {
        prop_assert_eq!(page.events.len() as u64, taken);
        let mut again = fresh;
        page.events
            .iter()
            .for_each(|record| fold(&mut again, record));
        prop_assert_eq!(&*bus.snapshot(&task).unwrap(), &again);
    }
    // The snapshot has no content that its JSON lacks.
    let text = serde_json::to_string(&folded).unwrap();
    prop_assert_eq!(serde_json::from_str::<TaskSnapshot>(&text).unwrap(), folded);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn folding_what_the_bus_delivers_gives_its_snapshot_at_every_offset(
        events in vec(reported(), 0..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(holds(events))?;
    }
}
