//! The events that a task accepts in each state, through the bus.

use crate::support::{self, bus, id, quiet};
use serde_json::json;
use tidings_bus::PublishError;
use tidings_bus::protocol::{
    AgentStatus, Data, ErrorCode, EventType, NewEvent, TaskError, TaskStatus,
};

/// One event of each standard type, and one event of an application type.
fn one_of_each() -> Vec<NewEvent> {
    let artifact = serde_json::from_value(json!({"artifact_id": "a"})).unwrap();
    vec![
        NewEvent::task_started("again"),
        NewEvent::progress(50.0, None),
        NewEvent::step_started("s", None),
        NewEvent::step_completed("s", None),
        NewEvent::step_failed("s", "no"),
        NewEvent::task_completed(None),
        NewEvent::task_failed("no"),
        NewEvent::task_cancelled(None),
        NewEvent::agent_status("a", AgentStatus::Idle, None),
        NewEvent::tool_call_started("t", "grep", None),
        NewEvent::tool_call_completed("t", None, None),
        NewEvent::tool_call_failed("t", "no"),
        NewEvent::output_delta("o", "text"),
        NewEvent::output_completed("o", None),
        NewEvent::artifact(&artifact),
        NewEvent::input_required("i", "sure?", None),
        NewEvent::input_provided("i", &json!(true), "ann"),
        NewEvent::input_expired("i"),
        NewEvent::task_stalled(),
        NewEvent::log("line"),
        NewEvent::command_requested("c", "cancel", None, "ann"),
        NewEvent::command_accepted("c"),
        NewEvent::command_rejected("c", "no"),
        NewEvent::command_completed("c", None),
        NewEvent::new(EventType::new("app.own").unwrap(), Data::empty()),
    ]
}

/// Events that report work, or a second end. A task refuses them after its end.
const AFTER_THE_END: [&str; 12] = [
    "progress_update",
    "step_started",
    "step_completed",
    "step_failed",
    "tool_call_started",
    "output_delta",
    "input_required",
    "input_expired",
    "task_completed",
    "task_failed",
    "task_cancelled",
    "task_stalled",
];

#[tokio::test(start_paused = true)]
async fn each_state_takes_what_makes_sense_in_it_and_refuses_the_rest() {
    // All events except `children_update`, which follows from other tasks.
    assert_eq!(one_of_each().len(), EventType::STANDARD.len());
    let start = || NewEvent::task_started("work");
    let table: [(&str, Vec<NewEvent>, TaskStatus, &[&str]); 6] = [
        ("nothing", vec![], TaskStatus::Pending, &[]),
        ("log", vec![NewEvent::log("line")], TaskStatus::Pending, &[]),
        (
            "start",
            vec![start()],
            TaskStatus::Running,
            &["task_started"],
        ),
        (
            "done",
            vec![start(), NewEvent::task_completed(None)],
            TaskStatus::Completed,
            &AFTER_THE_END,
        ),
        (
            "failed",
            vec![start(), NewEvent::task_failed("no")],
            TaskStatus::Failed,
            &AFTER_THE_END,
        ),
        (
            "cancelled",
            vec![NewEvent::task_cancelled(None)],
            TaskStatus::Cancelled,
            &AFTER_THE_END,
        ),
    ];
    for (state, before, status, refused) in table {
        for event in one_of_each() {
            let (bus, task) = (bus(), id("t"));
            for event in &before {
                bus.publish(&task, event.clone()).await.unwrap();
            }
            let answers = event.event_type == EventType::InputProvided;
            let ends_question = answers || event.event_type == EventType::InputExpired;
            let asks = u64::from(ends_question && !status.is_terminal());
            if asks > 0 {
                let question = NewEvent::input_required("i", "sure?", None);
                bus.publish(&task, question).await.unwrap();
            }
            let snapshot = bus.snapshot(&task);
            assert_eq!(
                snapshot
                    .as_ref()
                    .map_or(TaskStatus::Pending, |task| task.status),
                status
            );
            let (kind, head) = (event.event_type.clone(), before.len() as u64 + asks);
            let result = bus.publish(&task, event).await;
            if answers && status.is_terminal() {
                // The end of the task has ended its questions.
                let error = result.unwrap_err();
                assert_eq!(error.code(), ErrorCode::InputNotOpen, "after {state}");
                continue;
            }
            if !refused.contains(&kind.as_str()) {
                let published =
                    result.unwrap_or_else(|error| panic!("{kind} after {state}: {error}"));
                assert_eq!(published.offset.get(), head + 1, "{kind} after {state}");
                continue;
            }
            let Err(error) = result else {
                panic!("{kind} after {state} was taken")
            };
            assert_eq!(
                error.code(),
                ErrorCode::InvalidTransition,
                "{kind} after {state}"
            );
            let PublishError::Transition(transition) = error else {
                panic!("{error:?}")
            };
            assert_eq!((transition.status, transition.event_type), (status, kind));
            assert_eq!(bus.snapshot(&task), snapshot, "a refusal changes nothing");
            assert_eq!(bus.stats().events_published, head);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn data_that_does_not_fit_is_refused_with_its_own_code() {
    let bus = bus();
    let task = id("t");
    bus.task_started(&task, "work").await.unwrap();
    let mut watching = bus.subscribe(&task);
    let before = bus.snapshot(&task);
    let of = |kind: &str, data: &str| {
        NewEvent::new(EventType::new(kind).unwrap(), Data::parse(data).unwrap())
    };
    for (kind, data) in [
        ("progress_update", r#"{"progress":101}"#),
        ("progress_update", r#"{"progress":"much"}"#),
        ("step_started", "{}"),
        ("task_failed", "{}"),
        (
            "agent_status_change",
            r#"{"agent_id":"a","status":"bored"}"#,
        ),
        ("task_started", r#"{"lease_ms":1}"#),
    ] {
        let error = bus.publish(&task, of(kind, data)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidEvent, "{kind} {data}");
    }
    let big = format!(r#"{{"text":"{}"}}"#, "x".repeat(64 * 1024));
    let error = bus.publish(&task, of("app.big", &big)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::TooLarge);
    assert!(matches!(error, PublishError::TooLarge { size, max: 65_536 } if size == big.len()));
    assert_eq!(bus.snapshot(&task), before);
    assert_eq!(bus.stats().refused, 7);
    quiet(&mut watching).await;
}

#[tokio::test(start_paused = true)]
async fn a_start_after_the_end_opens_a_new_run_with_nothing_of_the_old_one() {
    let bus = bus();
    let task = id("t");
    bus.task_started(&task, "Work").await.unwrap();
    bus.progress(&task, 80.0, "nearly").await.unwrap();
    bus.agent_status(&task, "a", AgentStatus::Working, None)
        .await
        .unwrap();
    bus.task_failed(&task, TaskError::new("no").with_code("io"))
        .await
        .unwrap();
    let ended = bus.snapshot(&task).unwrap();
    assert_eq!((ended.run, ended.status), (1, TaskStatus::Failed));
    assert!(ended.finished_at.is_some() && ended.error.is_some());

    let mut watching = bus.subscribe(&task);
    let again = NewEvent::new(EventType::TaskStarted, Data::empty());
    assert_eq!(
        bus.publish(&task, again).await.unwrap().offset.get(),
        5,
        "numbers go on"
    );
    let running = bus.snapshot(&task).unwrap();
    assert_eq!((running.run, running.status), (2, TaskStatus::Running));
    assert_eq!(
        running.name.as_deref(),
        Some("Work"),
        "its name is still its name"
    );
    assert_eq!((running.progress, running.message.as_deref()), (None, None));
    assert!(running.error.is_none() && running.finished_at.is_none() && running.agents.is_empty());
    assert_eq!(running.epoch, ended.epoch);

    bus.progress(&task, 10.0, "once more").await.unwrap();
    bus.task_completed(&task, Some(json!(7))).await.unwrap();
    assert_eq!(support::offsets(&mut watching, 3).await, [5, 6, 7]);
    let ended = bus.snapshot(&task).unwrap();
    assert_eq!((ended.run, ended.status), (2, TaskStatus::Completed));
}
