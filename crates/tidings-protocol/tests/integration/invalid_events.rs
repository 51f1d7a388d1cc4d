//! The error for an event that does not fit its type names the field and the rule.

use tidings_protocol::{Data, EventType, Payload};

#[test]
fn each_mistake_is_named() {
    use EventType::*;
    let cases = [
        (
            ProgressUpdate,
            "{}",
            "progress_update: `progress` must be given, or `current`",
        ),
        (
            ProgressUpdate,
            r#"{"message":"x"}"#,
            "must be given, or `current`",
        ),
        (
            ProgressUpdate,
            r#"{"progress":null,"message":"x"}"#,
            "progress_update: `progress` must be a number from 0 to 100, not null (NaN",
        ),
        (
            ProgressUpdate,
            r#"{"current":null}"#,
            "progress_update: `current` must be a finite number, not null (NaN",
        ),
        (
            ProgressUpdate,
            r#"{"progress":100.01}"#,
            "`progress` must be a number from 0 to 100",
        ),
        (
            ProgressUpdate,
            r#"{"progress":-0.5}"#,
            "`progress` must be a number from 0 to 100",
        ),
        (
            ProgressUpdate,
            r#"{"progress":"40"}"#,
            "`progress`: invalid type: string \"40\", expected f64",
        ),
        (
            ProgressUpdate,
            r#"{"current":-1}"#,
            "`current` must be a finite number, 0 or more",
        ),
        (
            ProgressUpdate,
            r#"{"current":1,"total":-2}"#,
            "`total` must be a finite number",
        ),
        (
            ProgressUpdate,
            r#"{"progress":1,"progress":2}"#,
            "duplicate field `progress`",
        ),
        (
            TaskStarted,
            r#"{"lease_ms":99}"#,
            "`lease_ms` must be 100 to",
        ),
        (
            TaskStarted,
            r#"{"lease_ms":604800001}"#,
            "`lease_ms` must be 100 to",
        ),
        (
            TaskStarted,
            r#"{"lease_ms":1.5}"#,
            "`lease_ms`: invalid type: floating point",
        ),
        (
            TaskStarted,
            r#"{"weight":1000001}"#,
            "`weight` must be 0, or a number from 0.001 to 1000000",
        ),
        (
            TaskStarted,
            r#"{"weight":0.0004}"#,
            "`weight` must be 0, or a number from 0.001 to 1000000",
        ),
        (
            TaskStarted,
            r#"{"weight":-1}"#,
            "`weight` must be 0, or a number from 0.001 to 1000000",
        ),
        (
            InputRequired,
            r#"{"input_id":"i","prompt":"?","choices":["yes",null]}"#,
            "`choices` must be 1 to 64 values other than null",
        ),
        (
            TaskStarted,
            r#"{"name":7,"total":1}"#,
            "`name`: invalid type: integer `7`",
        ),
        (
            TaskStarted,
            r#"{"parent_task_id":"a b"}"#,
            "`parent_task_id`: task_id has ' '",
        ),
        (StepStarted, "{}", "step_started: missing field `step_id`"),
        (
            StepStarted,
            r#"{"step_id":""}"#,
            "`step_id`: an item's id is empty",
        ),
        (StepStarted, r#"{"step_id":"a\u0007"}"#, "at character 2"),
        (StepFailed, r#"{"step_id":"a"}"#, "missing field `error`"),
        (
            StepFailed,
            r#"{"step_id":"a","error":7}"#,
            "`error`: invalid type: integer `7`, expected an error",
        ),
        (
            TaskFailed,
            r#"{"error":{"code":"x"}}"#,
            "missing field `message`",
        ),
        (
            AgentStatusChange,
            r#"{"agent_id":"a","status":"asleep"}"#,
            "one of `idle` `working`",
        ),
        (
            ToolCallCompleted,
            r#"{"tool_call_id":"a","duration_ms":-1}"#,
            "`duration_ms` must be",
        ),
        (OutputDelta, r#"{"output_id":"a"}"#, "missing field `text`"),
        (
            Log,
            r#"{"message":"x","stream":"stdin"}"#,
            "`stream`: expected a log stream, one of",
        ),
        (
            InputProvided,
            r#"{"input_id":"i","by":"ann"}"#,
            "missing field `value`",
        ),
        (
            CommandRequested,
            r#"{"command_id":"c","command":"","by":"a"}"#,
            "`command` must be 1 to 64",
        ),
        (
            CommandRejected,
            r#"{"command_id":"c"}"#,
            "missing field `reason`",
        ),
    ];
    for (event_type, data, expected) in cases {
        let data = Data::parse(data).unwrap();
        let error = Payload::parse(&event_type, &data).unwrap_err();
        assert_eq!(error.event_type(), &event_type);
        let text = error.to_string();
        assert!(
            text.contains(expected),
            "{data}: {text:?} lacks {expected:?}"
        );
        assert!(text.starts_with(event_type.as_str()), "{text}");
    }
}

#[test]
fn an_error_may_be_plain_text() {
    for data in [
        r#"{"error":"disk full"}"#,
        r#"{"error":{"message":"disk full"}}"#,
    ] {
        let payload = Payload::parse(&EventType::TaskFailed, &Data::parse(data).unwrap()).unwrap();
        let Payload::TaskFailed(failed) = payload else {
            panic!("{payload:?}")
        };
        assert_eq!(
            (failed.error.code, &*failed.error.message),
            (None, "disk full")
        );
    }
}

#[test]
fn an_answer_that_is_null_is_read_and_a_duration_may_be_a_fraction() {
    // A bus takes no such answer.
    let data = Data::parse(r#"{"input_id":"i","value":null,"by":"ann"}"#).unwrap();
    assert!(Payload::parse(&EventType::InputProvided, &data).is_ok());
    let data = Data::parse(r#"{"tool_call_id":"a","duration_ms":12.5,"output":null}"#).unwrap();
    assert!(Payload::parse(&EventType::ToolCallCompleted, &data).is_ok());
    for weight in ["0", "0.001", "2.5", "1000000"] {
        let data = Data::parse(&format!("{{\"weight\":{weight}}}")).unwrap();
        assert!(Payload::parse(&EventType::TaskStarted, &data).is_ok());
    }
}

#[test]
fn types_without_a_promise_take_anything() {
    let data = Data::parse(r#"{"progress":"lots"}"#).unwrap();
    let own = EventType::new("app.own").unwrap();
    assert_eq!(Payload::parse(&own, &data).unwrap(), Payload::Custom);
    assert_eq!(
        Payload::parse(&EventType::TaskStalled, &data).unwrap(),
        Payload::TaskStalled
    );
}
