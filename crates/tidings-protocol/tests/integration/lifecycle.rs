//! Which events a status allows, and how they change a task's state.

use serde_json::json;
use tidings_protocol::{
    AgentStatus, Data, Epoch, EventType, NewEvent, Payload, TaskError, TaskId, TaskSnapshot,
    TaskStarted, TaskStatus, Timestamp,
};

struct Task(TaskSnapshot);

impl Task {
    fn new() -> Self {
        Self(TaskSnapshot::new(
            TaskId::new("t").unwrap(),
            Epoch::new("e").unwrap(),
        ))
    }

    /// Returns a task after these events, which came one second apart.
    fn after(events: impl IntoIterator<Item = NewEvent>) -> TaskSnapshot {
        let mut task = Self::new();
        for event in events {
            task.report(&event).unwrap();
        }
        task.0
    }

    fn report(&mut self, event: &NewEvent) -> Result<(), tidings_protocol::InvalidTransition> {
        let payload = Payload::parse(&event.event_type, &event.data).unwrap();
        self.0.check(&event.event_type)?;
        let offset = self.0.offset.next();
        self.0.apply(
            &payload,
            offset,
            Timestamp::from_millis(offset.get() * 1_000),
        );
        Ok(())
    }
}

fn start() -> NewEvent {
    NewEvent::task_started("Build")
}

fn seconds(n: u64) -> Option<Timestamp> {
    Some(Timestamp::from_millis(n * 1_000))
}

#[test]
fn the_table() {
    use EventType::{
        InputExpired, InputRequired, OutputDelta, ProgressUpdate, StepCompleted, StepFailed,
        StepStarted, TaskCancelled, TaskCompleted, TaskFailed, TaskStalled, TaskStarted,
        ToolCallStarted,
    };
    let refused_after_the_end = [
        ProgressUpdate,
        StepStarted,
        StepCompleted,
        StepFailed,
        ToolCallStarted,
        OutputDelta,
        InputRequired,
        InputExpired,
        TaskCompleted,
        TaskFailed,
        TaskCancelled,
        TaskStalled,
    ];
    let own = EventType::new("app.own").unwrap();
    for event_type in EventType::STANDARD.iter().chain([&own]) {
        assert!(
            TaskStatus::Pending.allows(event_type),
            "{event_type} while pending"
        );
        assert_eq!(
            TaskStatus::Running.allows(event_type),
            *event_type != TaskStarted
        );
        for ended in TaskStatus::ALL.iter().filter(|status| status.is_terminal()) {
            let expected = !refused_after_the_end.contains(event_type);
            assert_eq!(
                ended.allows(event_type),
                expected,
                "{event_type} when {ended}"
            );
        }
    }
}

#[test]
fn a_refusal_names_status_and_event() {
    let mut task = Task::new();
    task.report(&start()).unwrap();
    task.report(&NewEvent::task_completed(None)).unwrap();
    let before = task.0.clone();
    let error = task.report(&NewEvent::progress(99.0, None)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`progress_update` is not allowed while the task is completed"
    );
    assert_eq!(task.0, before);
}

#[test]
fn from_start_to_end() {
    let task = Task::after([start()]);
    assert_eq!((task.status, task.run), (TaskStatus::Running, 1));
    assert_eq!(
        (task.name.as_deref(), task.started_at),
        (Some("Build"), seconds(1))
    );

    let task = Task::after([start(), NewEvent::task_completed(json!({"ok": 1}))]);
    assert_eq!(
        (task.status, task.progress),
        (TaskStatus::Completed, Some(100.0))
    );
    assert_eq!(
        (task.finished_at, task.updated_at),
        (seconds(2), seconds(2))
    );
    assert_eq!(task.result.unwrap().as_str(), r#"{"ok":1}"#);

    let task = Task::after([
        start(),
        NewEvent::progress(40.0, None),
        NewEvent::task_failed("no"),
    ]);
    assert_eq!(
        (task.status, task.progress),
        (TaskStatus::Failed, Some(40.0))
    );
    assert_eq!(task.error, Some(TaskError::new("no")));

    let task = Task::after([start(), NewEvent::task_cancelled("enough")]);
    assert_eq!(
        (task.status, task.message.as_deref()),
        (TaskStatus::Cancelled, Some("enough"))
    );
}

#[test]
fn a_task_may_be_reported_on_before_it_starts_and_end_without() {
    let task = Task::after([NewEvent::progress(10.0, "early")]);
    assert_eq!(
        (task.status, task.run, task.progress),
        (TaskStatus::Pending, 0, Some(10.0))
    );
    let task = Task::after([NewEvent::progress(10.0, "early"), start()]);
    assert_eq!(
        (task.run, task.progress),
        (1, Some(10.0)),
        "a first start clears nothing"
    );
    let task = Task::after([NewEvent::task_failed("no")]);
    assert_eq!(
        (task.status, task.run, task.started_at),
        (TaskStatus::Failed, 0, None)
    );
}

#[test]
fn the_end_clears_what_was_going_on_but_not_what_was_made() {
    let going_on = || {
        [
            start(),
            NewEvent::step_started("s", None),
            NewEvent::tool_call_started("c", "grep", None),
            NewEvent::input_required("i", "sure?", None),
            NewEvent::command_requested("r", "cancel", None, "ann"),
            NewEvent::agent_status("a", AgentStatus::Working, "on it"),
            NewEvent::output_delta("o", "text"),
        ]
    };
    let task = Task::after(going_on());
    assert_eq!(task.steps[0].step_id.as_str(), "s");
    assert_eq!(task.tool_calls[0].tool, "grep");
    assert_eq!(task.pending_inputs[0].prompt, "sure?");
    assert!(!task.pending_commands[0].accepted);

    let task = Task::after(going_on().into_iter().chain([NewEvent::task_failed("no")]));
    assert!(task.steps[0].ended_at.is_some() && task.tool_calls[0].ended_at.is_some());
    assert!(task.pending_inputs.is_empty());
    assert_eq!(
        (
            task.agents.len(),
            task.outputs.len(),
            task.pending_commands.len()
        ),
        (1, 1, 1)
    );

    let again = going_on()
        .into_iter()
        .chain([NewEvent::task_failed("no"), start()]);
    let task = Task::after(again);
    assert_eq!(
        (task.status, task.run, task.started_at),
        (TaskStatus::Running, 2, seconds(9))
    );
    assert_eq!(
        (task.error, task.finished_at, task.message),
        (None, None, None)
    );
    assert!(task.agents.is_empty() && task.outputs.is_empty() && task.pending_commands.is_empty());
}

#[test]
fn late_answers_are_taken_after_the_end() {
    let task = Task::after([
        start(),
        NewEvent::output_delta("o", "so f"),
        NewEvent::task_completed(None),
        NewEvent::tool_call_completed("c", None, None),
        NewEvent::output_completed("o", "so far"),
        NewEvent::agent_status("a", AgentStatus::Idle, None),
        NewEvent::log("bye"),
        NewEvent::command_requested("r", "rate", None, "ann"),
        NewEvent::command_accepted("r"),
    ]);
    assert_eq!(task.status, TaskStatus::Completed);
    assert_eq!(
        (task.outputs[0].text.as_str(), task.outputs[0].complete),
        ("so far", true)
    );
    assert_eq!(task.agents[0].status, AgentStatus::Idle);
    assert!(task.pending_commands[0].accepted);
}

#[test]
fn things_come_and_go() {
    let task = Task::after([
        NewEvent::step_started("a", "one"),
        NewEvent::step_started("b", None),
        NewEvent::step_completed("a", None),
        NewEvent::tool_call_started("x", "grep", None),
        NewEvent::tool_call_failed("x", "no"),
        NewEvent::input_required("i", "?", None),
        NewEvent::input_provided("i", &json!(1), "ann"),
        NewEvent::command_requested("r", "pause", None, "ann"),
        NewEvent::command_rejected("r", "cannot"),
        NewEvent::agent_status("p", AgentStatus::Working, None),
        NewEvent::agent_status("q", AgentStatus::Idle, None),
        NewEvent::agent_status("p", AgentStatus::Offline, "gone"),
    ]);
    assert_eq!(
        task.steps
            .iter()
            .filter(|step| step.ended_at.is_none())
            .count(),
        1
    );
    assert_eq!(task.steps[1].step_id.as_str(), "b");
    assert!(task.tool_calls[0].ended_at.is_some() && task.pending_inputs.is_empty());
    assert!(task.pending_commands.is_empty());
    let agents: Vec<_> = task
        .agents
        .iter()
        .map(|a| (a.agent_id.as_str(), a.status))
        .collect();
    assert_eq!(
        agents,
        [("p", AgentStatus::Offline), ("q", AgentStatus::Idle)],
        "as first seen"
    );
}

#[test]
fn a_stall_lasts_until_the_producer_is_heard() {
    let stalled = || [start(), NewEvent::task_stalled()];
    let after = |event| Task::after(stalled().into_iter().chain([event])).stalled;
    assert!(Task::after(stalled()).stalled);
    assert!(!after(NewEvent::log("still here")));
    assert!(!after(NewEvent::new(
        EventType::new("app.own").unwrap(),
        Data::empty()
    )));
    assert!(!after(NewEvent::task_failed(TaskError::lost())));
    assert!(
        after(NewEvent::command_requested("r", "cancel", None, "ann")),
        "that was a watcher"
    );
    assert!(
        after(NewEvent::input_provided("i", &json!(1), "ann")),
        "so was that"
    );
}

#[test]
fn progress_counts_in_the_total_that_is_known() {
    let mut started = TaskStarted::default();
    started.total = Some(8.0);
    let started = || NewEvent::task_started_with(&started);
    let current = |n: u32| {
        let data = Data::from_value(json!({"current": n})).unwrap();
        NewEvent::new(EventType::ProgressUpdate, data)
    };
    assert_eq!(Task::after([started(), current(2)]).progress, Some(25.0));
    let task = Task::after([
        started(),
        NewEvent::progress_of(1.0, 10.0, None),
        current(2),
    ]);
    assert_eq!(task.progress, Some(20.0), "the last total that was said");
    assert_eq!(Task::after([start(), current(2)]).progress, None);
    let task = Task::after([start(), NewEvent::progress(5.0, "linking"), current(2)]);
    assert_eq!(
        (task.progress, task.message.as_deref()),
        (Some(5.0), Some("linking"))
    );
}
