//! Messages that are refused on a connection that stays open.

use serde_json::{Value, json};
use tidings_protocol::TaskId;
use tidings_testkit::TestClient;
use tungstenite::Message;

use super::{Bystander, server};

/// A message that is refused.
struct Row {
    path: &'static str,
    /// Messages that are sent before it, and answered without an error.
    before: &'static [&'static str],
    text: String,
    code: &'static str,
    /// The text that the error's message must contain.
    part: &'static str,
    reference: Value,
}

fn row(text: impl Into<String>, code: &'static str, part: &'static str) -> Row {
    Row {
        path: "/ws",
        before: &[],
        text: text.into(),
        code,
        part,
        reference: Value::Null,
    }
}

impl Row {
    fn on(mut self, path: &'static str) -> Self {
        self.path = path;
        self
    }

    fn after(mut self, before: &'static [&'static str]) -> Self {
        self.before = before;
        self
    }

    fn answering(mut self, reference: Value) -> Self {
        self.reference = reference;
        self
    }
}

fn malformed() -> Vec<Row> {
    let long_ref = format!(r#"{{"type":"ping","ref":"{}"}}"#, "x".repeat(300));
    let deep = format!(
        r#"{{"type":"publish","ref":7,"task_id":"deep","event_type":"log","data":{}1{}}}"#,
        "{\"a\":".repeat(100),
        "}".repeat(100)
    );
    let large = format!(
        r#"{{"type":"publish","ref":1,"task_id":"large","event_type":"own","data":{{"x":"{}"}}}}"#,
        "x".repeat(2_000)
    );
    vec![
        // Not a message at all.
        row("", "invalid_message", "line 1 column 0"),
        row("hello", "invalid_message", "line 1 column 1"),
        row(r#"{"type":"ping""#, "invalid_message", "line 1"),
        row(r#"{"type":"ping"} x"#, "invalid_message", "trailing"),
        row("[1]", "invalid_message", "JSON object"),
        row("null", "invalid_message", "JSON object"),
        row(r#""ping""#, "invalid_message", "JSON object"),
        // Errors in `type`.
        row(r#"{"ref":"a"}"#, "invalid_message", "`type`").answering(json!("a")),
        row(r#"{"type":7,"ref":1}"#, "invalid_message", "`type`").answering(json!(1)),
        row(r#"{"type":"dance","ref":{"n":[1]}}"#, "unknown_type", "dance")
            .answering(json!({ "n": [1] })),
        row(long_ref, "invalid_message", "`ref`"),
        // Errors in `publish`.
        row(r#"{"type":"publish","ref":2,"task_id":"t"}"#, "invalid_event", "`event_type`")
            .answering(json!(2)),
        row(
            r#"{"type":"publish","ref":3,"event_type":"own","data":{}}"#,
            "invalid_message",
            "`task_id` is missing",
        )
        .answering(json!(3)),
        row(
            r#"{"type":"publish","ref":4,"task_id":"a b","event_type":"own"}"#,
            "invalid_task_id",
            "`task_id`",
        )
        .answering(json!(4)),
        row(
            r#"{"type":"publish","ref":5,"task_id":"t","event_type":"NO"}"#,
            "invalid_event",
            "`event_type`",
        )
        .answering(json!(5)),
        row(
            r#"{"type":"publish","task_id":"t","event_type":"heartbeat","data":{}}"#,
            "invalid_event",
            "reserved",
        ),
        row(
            r#"{"type":"publish","task_id":"t","event_type":"own","data":[]}"#,
            "invalid_event",
            "`data`",
        ),
        row(
            r#"{"type":"publish","ref":6,"event_type":"progress_update","data":{"progress":101}}"#,
            "invalid_event",
            "`progress` must be a number from 0 to 100",
        )
        .on("/ws/tasks/t")
        .answering(json!(6)),
        row(
            r#"{"type":"publish","event_type":"step_started","data":{}}"#,
            "invalid_event",
            "`step_id`",
        )
        .on("/ws/tasks/t"),
        row(
            r#"{"type":"publish","event_type":"task_failed","data":{"error":{}}}"#,
            "invalid_event",
            "`message`",
        )
        .on("/ws/tasks/t"),
        row(
            r#"{"type":"publish","event_type":"agent_status_change","data":{"agent_id":"a","status":"asleep"}}"#,
            "invalid_event",
            "`status`",
        )
        .on("/ws/tasks/t"),
        row(deep, "invalid_event", "64 levels").answering(json!(7)),
        row(large, "too_large", "1024 are allowed").answering(json!(1)),
        row(
            r#"{"type":"publish","ref":"late","event_type":"progress_update","data":{"progress":1}}"#,
            "invalid_transition",
            "`progress_update` is not allowed while the task is completed",
        )
        .on("/ws/tasks/ended")
        .after(&[r#"{"type":"publish","ref":0,"event_type":"task_completed","data":{}}"#])
        .answering(json!("late")),
        row(
            r#"{"type":"publish","event_type":"task_started","data":{}}"#,
            "invalid_transition",
            "`task_started`",
        )
        .on("/ws/tasks/begun")
        .after(&[r#"{"type":"publish","ref":0,"event_type":"task_started","data":{}}"#]),
        row(
            r#"{"type":"publish","ref":"z","event_type":"own","data":{},"producer":{"id":"p","epoch":1,"seq":9}}"#,
            "fenced",
            "with epoch 2",
        )
        .on("/ws/tasks/fenced")
        .after(&[
            r#"{"type":"publish","ref":0,"event_type":"own","data":{},"producer":{"id":"p","epoch":2,"seq":1}}"#,
        ])
        .answering(json!("z")),
        row(
            r#"{"type":"publish","event_type":"own","data":{},"producer":{"id":"p","epoch":2,"seq":3}}"#,
            "sequence_gap",
            "continue with seq 2",
        )
        .on("/ws/tasks/gap")
        .after(&[
            r#"{"type":"publish","ref":0,"event_type":"own","data":{},"producer":{"id":"p","epoch":2,"seq":1}}"#,
        ]),
        row(
            r#"{"type":"publish","event_type":"own","data":{},"run":3}"#,
            "wrong_run",
            "belongs to run 3, the task's current run is 1",
        )
        .on("/ws/tasks/runs")
        .after(&[r#"{"type":"publish","ref":0,"event_type":"task_started","data":{}}"#]),
        row(
            r#"{"type":"publish","event_type":"own","data":{},"run":-1}"#,
            "invalid_event",
            "`run`",
        )
        .on("/ws/tasks/runs"),
        // Errors in `subscribe` and `unsubscribe`.
        row(r#"{"type":"subscribe","ref":8,"task_id":"ü"}"#, "invalid_task_id", "`task_id`")
            .answering(json!(8)),
        row(r#"{"type":"subscribe","pattern":"build-"}"#, "invalid_task_id", "`pattern`"),
        row(r#"{"type":"subscribe","pattern":"a*b*"}"#, "invalid_task_id", "`pattern`"),
        row(
            r#"{"type":"subscribe","task_id":"t","pattern":"*"}"#,
            "invalid_message",
            "give only one of",
        ),
        row(r#"{"type":"subscribe","ref":9}"#, "invalid_message", "`task_id` is missing")
            .answering(json!(9)),
        row(r#"{"type":"subscribe","task_id":"t","since":"x"}"#, "invalid_message", "`since`"),
        row(
            r#"{"type":"subscribe","task_id":"t","history":-1}"#,
            "invalid_message",
            "`history`",
        ),
        row(
            r#"{"type":"subscribe","ref":10,"task_id":"c"}"#,
            "too_many_subscriptions",
            "2 subscriptions already",
        )
        .after(&[
            r#"{"type":"subscribe","task_id":"a"}"#,
            r#"{"type":"subscribe","pattern":"b-*"}"#,
        ])
        .answering(json!(10)),
        row(
            r#"{"type":"unsubscribe","ref":11,"task_id":"never"}"#,
            "not_subscribed",
            "never",
        )
        .answering(json!(11)),
        row(r#"{"type":"unsubscribe","pattern":"never-*"}"#, "not_subscribed", "never-*"),
        row(r#"{"type":"unsubscribe"}"#, "invalid_message", "`task_id` is missing"),
        // Errors in `command` and `authenticate`.
        row(r#"{"type":"command","task_id":"t"}"#, "invalid_message", "`command`"),
        row(
            r#"{"type":"command","ref":12,"task_id":"nobody","command":"cancel"}"#,
            "task_not_found",
            "nobody",
        )
        .answering(json!(12)),
        row(r#"{"type":"authenticate"}"#, "invalid_message", "`token`"),
    ]
}

#[tokio::test]
async fn each_malformed_message_gets_its_error_and_the_connection_lives() {
    let server = server().await;
    let mut bystander = Bystander::join(&server).await;
    for row in malformed() {
        let mut client = TestClient::connect(server.ws(row.path)).await;
        client.until("connection_established").await;
        for before in row.before {
            client.send_raw(Message::text(*before)).await;
            loop {
                let kind = client.next().await.unwrap()["event_type"].clone();
                assert_ne!(kind, "error", "{before}");
                if kind == "ack" || kind == "subscribed" {
                    break;
                }
            }
        }
        client.send_raw(Message::text(row.text.clone())).await;
        client
            .send(&json!({ "type": "ping", "ref": "alive" }))
            .await;
        let error = client.until("error").await;
        let shown: String = row.text.chars().take(200).collect();
        assert_eq!(error["data"]["code"], row.code, "{shown}: {error}");
        let message = error["data"]["message"].as_str().unwrap();
        assert!(
            message.contains(row.part),
            "{shown}: {message:?} lacks {:?}",
            row.part
        );
        assert_eq!(error["data"]["ref"], row.reference, "{shown}: {error}");
        let next = client.next().await.unwrap();
        assert_eq!(
            next["event_type"], "pong",
            "one error, and it lives: {shown}: {next}"
        );
        assert_eq!(next["data"]["ref"], "alive");
        bystander.is_undisturbed(&server, &shown).await;
    }
    assert!(
        server.bus().snapshot(&TaskId::new("t").unwrap()).is_none(),
        "nothing was published"
    );
    server.stop().await;
}
