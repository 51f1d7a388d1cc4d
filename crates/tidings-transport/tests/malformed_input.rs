//! Whatever a client sends: it is told what was wrong, and nobody else notices.

#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use serde_json::{Value, json};
use tidings_protocol::{Data, NewEvent, TaskId};
use tidings_testkit::{
    DEADLINE, RawClient, TestClient, TestConfig, TestServer, eventually, frame, handshake,
    masked_frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tungstenite::Message;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data as Kind, OpCode};

/// The largest message of these servers, in bytes.
const MAX_MESSAGE: usize = 8 * 1024;

async fn server() -> TestServer {
    let mut config = TestConfig::default();
    config.connections = config
        .connections
        .max_message_bytes(MAX_MESSAGE)
        .max_subscriptions(2);
    config.bus = config.bus.max_event_bytes(1024);
    TestServer::start(config).await
}

/// Somebody who watches a task of its own, while others make mistakes.
struct Bystander {
    client: TestClient,
    events: u64,
}

impl Bystander {
    async fn join(server: &TestServer) -> Self {
        let mut client = TestClient::connect(server.ws("/ws/tasks/bystander")).await;
        client.until("connection_established").await;
        Self { client, events: 0 }
    }

    /// One more event, and nothing but that, comes to the bystander.
    async fn is_undisturbed(&mut self, server: &TestServer, after: &str) {
        let event = NewEvent::new("step".parse().unwrap(), Data::empty());
        let task = TaskId::new("bystander").unwrap();
        server.bus().publish(&task, event).await.unwrap();
        self.events += 1;
        let message = self.client.next().await;
        let offset = message.expect(after)["offset"].as_u64();
        assert_eq!(offset, Some(self.events), "{after}");
    }
}

/// One message that is refused.
struct Row {
    path: &'static str,
    /// Sent first, and answered without an error.
    before: &'static [&'static str],
    text: String,
    code: &'static str,
    /// What the error's message must name.
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
        // No message at all.
        row("", "invalid_message", "line 1 column 0"),
        row("hello", "invalid_message", "line 1 column 1"),
        row(r#"{"type":"ping""#, "invalid_message", "line 1"),
        row(r#"{"type":"ping"} x"#, "invalid_message", "trailing"),
        row("[1]", "invalid_message", "JSON object"),
        row("null", "invalid_message", "JSON object"),
        row(r#""ping""#, "invalid_message", "JSON object"),
        // The type.
        row(r#"{"ref":"a"}"#, "invalid_message", "`type`").answering(json!("a")),
        row(r#"{"type":7,"ref":1}"#, "invalid_message", "`type`").answering(json!(1)),
        row(r#"{"type":"dance","ref":{"n":[1]}}"#, "unknown_type", "dance")
            .answering(json!({ "n": [1] })),
        row(long_ref, "invalid_message", "`ref`"),
        // Publish.
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
            "`progress_update` makes no sense while the task is completed",
        )
        .on("/ws/tasks/ended")
        .after(&[r#"{"type":"publish","event_type":"task_completed","data":{}}"#])
        .answering(json!("late")),
        row(
            r#"{"type":"publish","event_type":"task_started","data":{}}"#,
            "invalid_transition",
            "`task_started`",
        )
        .on("/ws/tasks/begun")
        .after(&[r#"{"type":"publish","event_type":"task_started","data":{}}"#]),
        row(
            r#"{"type":"publish","ref":"z","event_type":"own","data":{},"producer":{"id":"p","epoch":1,"seq":9}}"#,
            "fenced",
            "with epoch 2",
        )
        .on("/ws/tasks/fenced")
        .after(&[
            r#"{"type":"publish","event_type":"own","data":{},"producer":{"id":"p","epoch":2,"seq":1}}"#,
        ])
        .answering(json!("z")),
        row(
            r#"{"type":"publish","event_type":"own","data":{},"producer":{"id":"p","epoch":2,"seq":3}}"#,
            "sequence_gap",
            "next seq is 2",
        )
        .on("/ws/tasks/gap")
        .after(&[
            r#"{"type":"publish","event_type":"own","data":{},"producer":{"id":"p","epoch":2,"seq":1}}"#,
        ]),
        // Subscribe and unsubscribe.
        row(r#"{"type":"subscribe","ref":8,"task_id":"ü"}"#, "invalid_task_id", "`task_id`")
            .answering(json!(8)),
        row(r#"{"type":"subscribe","pattern":"build-"}"#, "invalid_task_id", "`pattern`"),
        row(r#"{"type":"subscribe","pattern":"a*b*"}"#, "invalid_task_id", "`pattern`"),
        row(
            r#"{"type":"subscribe","task_id":"t","pattern":"*"}"#,
            "invalid_message",
            "not both",
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
        // Command and authenticate.
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

/// The header of a text message of one frame.
const TEXT: FrameHeader = FrameHeader {
    is_final: true,
    rsv1: false,
    rsv2: false,
    rsv3: false,
    opcode: OpCode::Data(Kind::Text),
    mask: None,
};

fn text(payload: &[u8]) -> Vec<u8> {
    frame(OpCode::Data(Kind::Text), payload)
}

fn unmasked(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    TEXT.format(payload.len() as u64, &mut bytes).unwrap();
    bytes.extend_from_slice(payload);
    bytes
}

/// What breaks RFC 6455 or a hard limit: the bytes, the close code, the error before it.
fn fatal() -> Vec<(&'static str, Vec<u8>, u16, Option<&'static str>)> {
    let with = |change: fn(&mut FrameHeader), payload: &[u8]| {
        let mut header = TEXT;
        change(&mut header);
        masked_frame(&header, payload)
    };
    let ping = br#"{"type":"ping"}"#;
    let announced = |len: u64| {
        let mut bytes = Vec::new();
        let header = FrameHeader {
            mask: Some([0; 4]),
            ..TEXT
        };
        header.format(len, &mut bytes).unwrap();
        bytes
    };
    let fragments = {
        let mut bytes = with(|header| header.is_final = false, &[b' '; 5_000]);
        bytes.extend(with(
            |header| header.opcode = OpCode::Data(Kind::Continue),
            &[b' '; 5_000],
        ));
        bytes
    };
    let control = |kind| move |payload: &[u8]| frame(OpCode::Control(kind), payload);
    let close = control(Control::Close);
    let two_messages_begun = [with(|header| header.is_final = false, b"{"), text(ping)].concat();
    vec![
        (
            "binary",
            frame(OpCode::Data(Kind::Binary), ping),
            1003,
            Some("invalid_message"),
        ),
        (
            "empty binary",
            frame(OpCode::Data(Kind::Binary), b""),
            1003,
            Some("invalid_message"),
        ),
        (
            "no UTF-8",
            text(b"{\"type\":\"\xff\xfe\"}"),
            1007,
            Some("invalid_message"),
        ),
        (
            "half a character",
            text(b"\xc3"),
            1007,
            Some("invalid_message"),
        ),
        (
            "a surrogate",
            text(b"\xed\xa0\x80"),
            1007,
            Some("invalid_message"),
        ),
        (
            "too large",
            text(&[b' '; MAX_MESSAGE + 1]),
            1009,
            Some("too_large"),
        ),
        ("too large in fragments", fragments, 1009, Some("too_large")),
        (
            "announced too large",
            announced(1 << 40),
            1009,
            Some("too_large"),
        ),
        ("not masked", unmasked(ping), 1002, None),
        (
            "a reserved opcode",
            with(
                |header| header.opcode = OpCode::Data(Kind::Reserved(3)),
                ping,
            ),
            1002,
            None,
        ),
        (
            "a reserved control opcode",
            with(
                |header| header.opcode = OpCode::Control(Control::Reserved(11)),
                b"",
            ),
            1002,
            None,
        ),
        ("RSV1", with(|header| header.rsv1 = true, ping), 1002, None),
        ("RSV2", with(|header| header.rsv2 = true, ping), 1002, None),
        ("RSV3", with(|header| header.rsv3 = true, ping), 1002, None),
        ("a long ping", control(Control::Ping)(&[0; 126]), 1002, None),
        (
            "a ping in fragments",
            with(
                |header| {
                    header.opcode = OpCode::Control(Control::Ping);
                    header.is_final = false;
                },
                b"",
            ),
            1002,
            None,
        ),
        (
            "a continuation of nothing",
            with(|header| header.opcode = OpCode::Data(Kind::Continue), ping),
            1002,
            None,
        ),
        ("a message within a message", two_messages_begun, 1002, None),
        ("a close of one byte", close(&[3]), 1002, None),
    ]
}

#[tokio::test]
async fn what_breaks_the_protocol_or_a_limit_closes_with_its_code() {
    let server = server().await;
    let mut bystander = Bystander::join(&server).await;
    for (what, bytes, code, error) in fatal() {
        let mut client = RawClient::connect(server.addr(), "/ws").await;
        // What came before it is answered first.
        client.send(&json!({ "type": "ping", "ref": what })).await;
        client.write(&bytes).await;
        let (messages, closed) = client.to_end().await;
        assert_eq!(closed, Some(code), "{what}: {messages:?}");
        let kinds: Vec<_> = messages
            .iter()
            .map(|message| message["event_type"].as_str().unwrap())
            .collect();
        let expected: &[&str] = match error {
            Some(_) => &["connection_established", "pong", "error", "going_away"],
            None => &["connection_established", "pong", "going_away"],
        };
        assert_eq!(kinds, expected, "{what}");
        if let Some(error) = error {
            assert_eq!(messages[2]["data"]["code"], error, "{what}");
        }
        let goodbye = messages.last().unwrap();
        assert_eq!(goodbye["data"]["reconnect"], "never", "{what}: {goodbye}");
        bystander.is_undisturbed(&server, what).await;
    }
    let manager = server.manager().clone();
    eventually("they are gone, all but the bystander", || {
        manager.stats().connected == 1
    })
    .await;
    server.stop().await;
}

/// A client's close is answered in kind; one that breaks the rules, with 1002.
#[tokio::test]
async fn a_close_is_answered() {
    let server = server().await;
    let close = |code: u16, reason: &[u8]| {
        let payload = [&code.to_be_bytes()[..], reason].concat();
        frame(OpCode::Control(Control::Close), &payload)
    };
    for (what, bytes, code) in [
        ("done", close(1000, b"done"), 1000),
        ("an application's own", close(4242, b""), 4242),
        ("a code that may not be sent", close(1005, b""), 1002),
        ("a code that is none", close(17, b""), 1002),
        ("a reason that is no UTF-8", close(1000, b"\xff"), 1007),
    ] {
        let mut client = RawClient::connect(server.addr(), "/ws").await;
        client.write(&bytes).await;
        let (_, closed) = client.to_end().await;
        assert_eq!(closed, Some(code), "{what}");
    }
    server.stop().await;
}

#[tokio::test]
async fn whoever_may_not_come_in_is_told_why() {
    let mut config = TestConfig::default();
    config.connections = config.connections.max_connections(2);
    let server = TestServer::start(config).await;
    let mut bystander = Bystander::join(&server).await;
    for (what, path, headers, code, error, reconnect) in [
        (
            "another origin",
            "/ws",
            "Origin: https://evil.example\r\n",
            1008,
            None,
            "never",
        ),
        (
            "no origin",
            "/ws/tasks/t",
            "Origin: null\r\n",
            1008,
            None,
            "never",
        ),
        (
            "another subprotocol",
            "/ws",
            "Sec-WebSocket-Protocol: graphql-ws, mqtt\r\n",
            1008,
            None,
            "never",
        ),
    ] {
        let client = RawClient::connect_with(server.addr(), path, headers).await;
        refused(client, what, code, error, reconnect).await;
        bystander.is_undisturbed(&server, what).await;
    }
    let mut owner = TestClient::connect(server.ws("/ws?client_id=mine")).await;
    owner.until("connection_established").await;
    for query in ["client_id=mine", "client_id=mine&resume_token=guess"] {
        let thief = RawClient::connect(server.addr(), &format!("/ws?{query}")).await;
        refused(thief, query, 4403, Some("forbidden"), "never").await;
    }
    let third = RawClient::connect(server.addr(), "/ws").await;
    refused(third, "full", 1013, Some("unavailable"), "backoff").await;
    bystander.is_undisturbed(&server, "the refusals").await;
    owner.send(&json!({ "type": "ping" })).await;
    assert_eq!(
        owner.next().await.unwrap()["event_type"],
        "pong",
        "the owner is undisturbed"
    );
    assert_eq!(server.manager().stats().accepted, 2);
    server.stop().await;
}

async fn refused(client: RawClient, what: &str, code: u16, error: Option<&str>, reconnect: &str) {
    let (messages, closed) = client.to_end().await;
    assert_eq!(closed, Some(code), "{what}: {messages:?}");
    let goodbye = messages.last().unwrap_or_else(|| panic!("{what}: no word"));
    assert_eq!(goodbye["event_type"], "going_away", "{what}");
    assert_eq!(goodbye["data"]["reconnect"], reconnect, "{what}");
    assert_eq!(
        messages.len(),
        1 + usize::from(error.is_some()),
        "{what}: {messages:?}"
    );
    if let Some(error) = error {
        assert_eq!(messages[0]["data"]["code"], error, "{what}");
    }
}

#[tokio::test]
async fn http_requests_get_problems_that_name_what_was_wrong() {
    let server = server().await;
    let upgrade: &[(&str, &str)] = &[
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let sse: &[(&str, &str)] = &[("Accept", "text/event-stream")];
    let sse_last: &[(&str, &str)] = &[("Accept", "text/event-stream"), ("Last-Event-ID", "x")];
    let none: &[(&str, &str)] = &[];
    for (method, path, headers, body, status, code, part) in [
        (
            "GET",
            "/api/tasks/a%20b",
            none,
            "",
            400,
            Some("invalid_task_id"),
            "' '",
        ),
        (
            "GET",
            "/api/tasks/%ff",
            none,
            "",
            400,
            Some("invalid_message"),
            "UTF-8",
        ),
        (
            "GET",
            "/api/tasks/a%20b/events",
            sse,
            "",
            400,
            Some("invalid_task_id"),
            "' '",
        ),
        (
            "POST",
            "/api/tasks/a%20b/events",
            none,
            "{}",
            400,
            Some("invalid_task_id"),
            "' '",
        ),
        (
            "DELETE",
            "/api/tasks/a%20b",
            none,
            "",
            400,
            Some("invalid_task_id"),
            "' '",
        ),
        (
            "GET",
            "/ws/tasks/a%20b",
            upgrade,
            "",
            400,
            Some("invalid_task_id"),
            "' '",
        ),
        (
            "GET",
            "/ws?client_id=a%20b",
            upgrade,
            "",
            400,
            Some("invalid_message"),
            "`client_id`",
        ),
        (
            "GET",
            "/ws/tasks/t?since=x",
            upgrade,
            "",
            400,
            Some("invalid_message"),
            "`since`",
        ),
        (
            "GET",
            "/ws/tasks/t?history=-1",
            upgrade,
            "",
            400,
            Some("invalid_message"),
            "`history`",
        ),
        (
            "GET",
            "/api/tasks/t/events?since=x",
            none,
            "",
            400,
            Some("invalid_message"),
            "`since`",
        ),
        (
            "GET",
            "/api/tasks/t/events?limit=x",
            none,
            "",
            400,
            Some("invalid_message"),
            "`limit`",
        ),
        (
            "GET",
            "/api/tasks/t/events",
            sse_last,
            "",
            400,
            Some("invalid_message"),
            "Last-Event-ID",
        ),
        (
            "GET",
            "/api/tasks?status=odd",
            none,
            "",
            400,
            Some("invalid_message"),
            "`status`",
        ),
        (
            "GET",
            "/api/tasks?limit=-1",
            none,
            "",
            400,
            Some("invalid_message"),
            "`limit`",
        ),
        (
            "GET",
            "/api/tasks?after=a%20b",
            none,
            "",
            400,
            Some("invalid_task_id"),
            "`after`",
        ),
        (
            "GET",
            "/api/connections?task=a%20b",
            none,
            "",
            400,
            Some("invalid_task_id"),
            "`task`",
        ),
        (
            "GET",
            "/api/connections/a%20b",
            none,
            "",
            400,
            Some("invalid_message"),
            "' '",
        ),
        (
            "GET",
            "/api/connections/nobody",
            none,
            "",
            404,
            None,
            "nobody",
        ),
        (
            "GET",
            "/api/tasks/nothing",
            none,
            "",
            404,
            Some("task_not_found"),
            "nothing",
        ),
        (
            "GET",
            "/api/tasks/nothing/events",
            none,
            "",
            404,
            Some("task_not_found"),
            "nothing",
        ),
        (
            "DELETE",
            "/api/tasks/nothing",
            none,
            "",
            404,
            Some("task_not_found"),
            "nothing",
        ),
        ("GET", "/nowhere", none, "", 404, None, "/nowhere"),
        ("GET", "/api/tasks/", none, "", 404, None, "/api/tasks/"),
        (
            "PUT",
            "/api/tasks/t",
            none,
            "{}",
            405,
            None,
            "GET, HEAD, DELETE",
        ),
        (
            "PATCH",
            "/api/tasks/t/events",
            none,
            "{}",
            405,
            None,
            "GET, HEAD, POST",
        ),
        ("GET", "/api/tasks/t/commands", none, "", 405, None, "POST"),
        ("POST", "/healthz", none, "{}", 405, None, "GET, HEAD"),
        ("POST", "/ws", none, "{}", 405, None, "GET"),
        ("GET", "/ws", none, "", 426, None, "WebSocket"),
        ("GET", "/ws/tasks/t", none, "", 426, None, "WebSocket"),
        (
            "POST",
            "/api/tasks/t/events",
            none,
            "{",
            400,
            Some("invalid_message"),
            "line 1",
        ),
        (
            "POST",
            "/api/tasks/t/events",
            none,
            "[{}",
            400,
            Some("invalid_message"),
            "line 1",
        ),
        (
            "POST",
            "/api/tasks/t/events",
            none,
            "{}",
            400,
            Some("invalid_event"),
            "`event_type`",
        ),
        (
            "POST",
            "/api/tasks/t/events",
            none,
            "7",
            400,
            Some("invalid_event"),
            "integer `7`",
        ),
        (
            "POST",
            "/api/tasks/t/events",
            none,
            r#"{"event_type":"progress_update","data":{"progress":101}}"#,
            400,
            Some("invalid_event"),
            "`progress` must be a number from 0 to 100",
        ),
        (
            "POST",
            "/api/connections/nobody/messages",
            none,
            r#"{"event_type":"note"}"#,
            404,
            None,
            "nobody",
        ),
        (
            "POST",
            "/api/tasks/nothing/commands",
            none,
            r#"{"command":"cancel"}"#,
            404,
            Some("task_not_found"),
            "nothing",
        ),
    ] {
        let what = format!("{method} {path} {body}");
        let answer = server.http(method, path, headers, body).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{what}"
        );
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{what}");
        assert_eq!(problem["code"].as_str(), code, "{what}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{what}: {detail:?} lacks {part:?}");
        match status {
            405 => assert_eq!(answer.header("allow"), Some(part), "{what}"),
            426 => assert_eq!(answer.header("upgrade"), Some("websocket"), "{what}"),
            _ => {}
        }
    }
    assert_eq!(
        server.bus().stats().tasks,
        0,
        "nothing came of any of these"
    );
    assert_eq!(server.manager().stats().accepted, 0);
    server.stop().await;
}

/// RFC 6455 §4.4: whoever speaks another version is told which one is spoken.
#[tokio::test]
async fn another_version_of_the_protocol_is_told_the_right_one() {
    let server = server().await;
    let headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "8"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let answer = server.http("GET", "/ws", &headers, "").await;
    assert_eq!(answer.status, 426);
    assert_eq!(answer.header("sec-websocket-version"), Some("13"));
    server.stop().await;
}

/// Messages that come in the same segment as the handshake are not lost, and a
/// ping's payload comes back.
#[tokio::test]
async fn what_comes_along_with_the_handshake_counts() {
    let server = server().await;
    let early = text(br#"{"type":"ping","ref":"early"}"#);
    let ping = frame(OpCode::Control(Control::Ping), b"payload");
    let together = [handshake("/ws", "").as_bytes(), &early, &ping].concat();
    let mut stream = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(&together).await.unwrap();
    let mut seen = Vec::new();
    let pong = [&[0x8a, 7][..], b"payload"].concat();
    let contains = |seen: &[u8], part: &[u8]| seen.windows(part.len()).any(|at| at == part);
    let read = async {
        while !(contains(&seen, &pong) && contains(&seen, br#"{"ref":"early"}"#)) {
            assert!(
                stream.read_buf(&mut seen).await.unwrap() > 0,
                "an answer before the end"
            );
        }
    };
    assert!(
        tokio::time::timeout(DEADLINE, read).await.is_ok(),
        "both are answered"
    );
    server.stop().await;
}
