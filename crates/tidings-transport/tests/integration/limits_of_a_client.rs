//! Clients that exceed a limit: each limit refuses, names the reason, and is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use serde_json::{Value, json};
use tidings_connections::{
    AuthError, Authenticator, ClientLimits, Credentials, LimitStats, Principal, Rate,
};
use tidings_testkit::{
    RawClient, RawFrame, TestClient, TestConfig, TestServer, Tokens, eventually, frame, permissions,
};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::Request;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

async fn server(set: impl FnOnce(&mut ClientLimits)) -> TestServer {
    let mut limits = ClientLimits::default();
    set(&mut limits);
    let mut config = TestConfig::default();
    config.connections = config.connections.limits(limits);
    let somebody =
        |name| Principal::new(permissions("watch *, publish *, command *, admin *")).subject(name);
    let tokens = Tokens::default()
        .with("ada", somebody("ada"))
        .with("bo", somebody("bo"));
    TestServer::start_asking(config, tokens).await
}

fn ws(server: &TestServer, token: &str) -> Request<()> {
    let mut request = server.ws("/ws").into_client_request().unwrap();
    let value = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert("authorization", value);
    request
}

fn stats(server: &TestServer) -> LimitStats {
    server.manager().stats().limited
}

async fn code(client: &mut TestClient, message: Value) -> Value {
    client.send(&message).await;
    let answer = client.next().await.unwrap();
    answer["data"]["code"].clone()
}

#[tokio::test]
async fn messages_beyond_the_rate_are_refused_and_a_flood_is_the_end() {
    let server = server(|limits| {
        limits.messages_per_connection = Some(Rate::new(1, 5));
        limits.refusals_per_client = Some(Rate::new(1, 1_000));
    })
    .await;
    let mut client = TestClient::connect(ws(&server, "ada")).await;
    client.until("connection_established").await;
    for number in 0..5 {
        assert_eq!(
            code(&mut client, json!({"type": "ping"})).await,
            Value::Null,
            "{number}"
        );
    }
    client
        .send(&json!({"type": "ping", "ref": "one too many"}))
        .await;
    let refusal = client.until("error").await;
    assert_eq!(refusal["data"]["code"], "rate_limited");
    assert_eq!(refusal["data"]["ref"], "one too many");
    // Another client, and the same client on another connection, are not affected.
    for token in ["bo", "ada"] {
        let mut other = TestClient::connect(ws(&server, token)).await;
        other.until("connection_established").await;
        assert_eq!(code(&mut other, json!({"type": "ping"})).await, Value::Null);
    }
    let mut flood =
        RawClient::connect_with(server.addr(), "/ws", "Authorization: Bearer ada\r\n").await;
    let ping = frame(OpCode::Data(Data::Text), br#"{"type":"ping"}"#);
    flood.write(&ping.repeat(2_000)).await;
    loop {
        match flood.next().await.expect("a close before the end") {
            RawFrame::Close(code) => break assert_eq!(code, 4429),
            RawFrame::Text(message) if message["event_type"] == "going_away" => {
                assert_eq!(message["data"]["reconnect"], "backoff");
            }
            _ => {}
        }
    }
    assert!(stats(&server).messages > 1_000);
    server.stop().await;
}

/// Sends the same frame many times, and reads until the server closes the connection.
async fn flood(server: &TestServer, headers: &str, part: &[u8], what: &str) {
    let headers = format!("Authorization: Bearer ada\r\n{headers}");
    let mut client = RawClient::connect_with(server.addr(), "/ws", &headers).await;
    // The number is so large that the rate's refill on a slow machine makes no difference.
    client.write(&part.repeat(4_000)).await;
    loop {
        match client.next().await {
            Some(RawFrame::Close(code)) => break assert_eq!(code, 4429, "{what}"),
            Some(_) => {}
            None => panic!("{what}: a close before the end"),
        }
    }
}

/// A message is charged before it is parsed. A client whose messages are refused again and again is
/// disconnected.
#[tokio::test]
async fn whoever_goes_on_with_what_is_refused_is_let_go() {
    let text = |json: &str| frame(OpCode::Data(Data::Text), json.as_bytes());
    let cloud = "Sec-WebSocket-Protocol: cloudevents.json\r\n";
    let floods = [
        ("malformed", "", text("x")),
        ("of a type that nobody knows", "", text(r#"{"type":"x"}"#)),
        ("pings", "", text(r#"{"type":"ping"}"#)),
        ("tokens that are refused", "", {
            text(r#"{"type":"authenticate","token":"guess"}"#)
        }),
        ("not subscribed", "", {
            text(r#"{"type":"unsubscribe","task_id":"t"}"#)
        }),
        (
            "CloudEvents that are none",
            cloud,
            text(r#"{"specversion":"1.0"}"#),
        ),
        ("frames that are no message", "", {
            frame(OpCode::Control(Control::Ping), b"")
        }),
    ];
    let patience = Some(Rate::new(1, 1_000));
    for (what, headers, part) in &floods {
        let connection = server(|limits| {
            limits.messages_per_connection = Some(Rate::new(1, 5));
            limits.refusals_per_client = patience;
        })
        .await;
        flood(&connection, headers, part, what).await;
        connection.stop().await;
        let client = server(|limits| {
            limits.messages_per_client = Some(Rate::new(1, 5));
            limits.refusals_per_client = patience;
        })
        .await;
        flood(&client, headers, part, what).await;
        // No other client is affected.
        let mut other = TestClient::connect(ws(&client, "bo")).await;
        other.until("connection_established").await;
        assert_eq!(code(&mut other, json!({"type": "ping"})).await, Value::Null);
        client.stop().await;
    }
}

/// A new connection does not help a client that was refused too often.
#[tokio::test]
async fn refusals_count_over_all_connections_of_a_client() {
    // The rate refills so slowly that it makes no difference during the test.
    let server = server(|limits| limits.refusals_per_client = Some(Rate::new(1, 10_000))).await;
    let malformed = frame(OpCode::Data(Data::Text), b"x");
    for _ in 0..12 {
        let headers = "Authorization: Bearer ada\r\n";
        let mut client = RawClient::connect_with(server.addr(), "/ws", headers).await;
        client.write(&malformed.repeat(1_000)).await;
        let mut errors = 0;
        while errors < 1_000 {
            match client.next().await {
                Some(RawFrame::Text(message)) => {
                    errors += usize::from(message["event_type"] == "error");
                }
                Some(RawFrame::Close(code)) => {
                    assert_eq!(code, 4429);
                    break;
                }
                Some(_) => {}
                None => break,
            }
        }
    }
    let mut turned_away = TestClient::connect(ws(&server, "ada")).await;
    // A connection that is greeted is not going to be closed, so waiting for its close would hang.
    while let Some(message) = turned_away.next().await {
        assert_ne!(message["event_type"], "connection_established");
    }
    assert_eq!(turned_away.close_code().await, Some(4429));
    let get = async |token: &str| {
        let value = format!("Bearer {token}");
        let headers = [("Authorization", value.as_str())];
        server.http("GET", "/api/tasks", &headers, "").await
    };
    let refused = get("ada").await;
    assert_eq!(refused.status, 429);
    let text = refused.text();
    assert!(text.contains("heed the errors"), "{text}");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(get("bo").await.status, 200, "nobody else hears of it");
    assert!(stats(&server).refusals > 0);
    server.stop().await;
}

/// Counts how often the authenticator is called.
struct Counting(Arc<AtomicUsize>, Tokens);

#[async_trait]
impl Authenticator for Counting {
    async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Principal, AuthError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        self.1.authenticate(credentials).await
    }
}

/// Requests that fail before authentication are charged to the address. Beyond the limit, the
/// server does not examine requests of that address.
#[tokio::test]
async fn an_address_whose_requests_come_to_nothing_is_not_listened_to() {
    let asked = Arc::new(AtomicUsize::new(0));
    let mut config = TestConfig::default();
    let mut limits = ClientLimits::default();
    limits.failures_per_address = Some(Rate::new(1, 20));
    config.connections = config.connections.limits(limits);
    let tokens = Tokens::default().with("ada", Principal::new(permissions("watch *")));
    let server = TestServer::start_asking(config, Counting(Arc::clone(&asked), tokens)).await;
    let get = async |path: &str, token: &str| {
        let value = format!("Bearer {token}");
        let headers = [("Authorization", value.as_str())];
        let headers = if token.is_empty() { &[][..] } else { &headers };
        server.http("GET", path, headers, "").await
    };
    assert_eq!(get("/api/tasks", "ada").await.status, 200);
    let kinds = [
        ("/api/tasks", "guess", 401),
        ("/api/tasks", "", 401),
        ("/nowhere", "", 404),
        ("/nowhere", "ada", 404),
    ];
    for (path, token, status) in kinds {
        assert_eq!(get(path, token).await.status, status, "{path} {token:?}");
    }
    let mut refused = None;
    for _ in 0..10_000 {
        let answer = get("/api/tasks", "guess").await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status, 401);
    }
    let refused = refused.expect("an end of it");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.header("connection"), Some("close"));
    assert!(
        refused.text().contains("correct the token"),
        "{}",
        refused.text()
    );
    assert!(stats(&server).failures > 0);
    // A handshake is refused as well.
    let header = "Authorization: Bearer guess\r\n";
    let mut told = None;
    for _ in 0..1_000 {
        let client = RawClient::connect_with(server.addr(), "/ws", header).await;
        let (messages, code) = client.to_end().await;
        if code == Some(4429) {
            told = Some(messages[0]["data"]["code"].clone());
            break;
        }
        assert_eq!(code, Some(4401));
    }
    assert_eq!(told, Some(json!("rate_limited")));
    // Meanwhile the authenticator is not called, and health probes are still answered.
    let before = asked.load(Ordering::Relaxed);
    let mut seen = 0;
    for _ in 0..20 {
        seen += usize::from(get("/api/tasks", "guess").await.status == 429);
        assert_eq!(get("/healthz", "").await.status, 200);
    }
    let asked = asked.load(Ordering::Relaxed) - before;
    assert_eq!(seen + asked, 20, "asked only when it was not refused");
    assert!(seen > 0);
    server.stop().await;
}

#[tokio::test]
async fn bytes_beyond_the_rate_are_the_end_whatever_they_are() {
    let server = server(|limits| limits.bytes_per_connection = Some(Rate::new(1, 60_000))).await;
    let ping = frame(OpCode::Control(Control::Ping), &[7; 100]);
    let fragment = {
        let header = tungstenite::protocol::frame::FrameHeader {
            is_final: false,
            opcode: OpCode::Data(Data::Continue),
            ..Default::default()
        };
        tidings_testkit::masked_frame(&header, b"x")
    };
    let start = {
        let header = tungstenite::protocol::frame::FrameHeader {
            is_final: false,
            opcode: OpCode::Data(Data::Text),
            ..Default::default()
        };
        tidings_testkit::masked_frame(&header, b"x")
    };
    let spaces = frame(OpCode::Data(Data::Text), &[b' '; 50_000]);
    for flood in [
        ping.repeat(1_000),
        [start, fragment.repeat(10_000)].concat(),
        spaces.repeat(2),
    ] {
        let mut client =
            RawClient::connect_with(server.addr(), "/ws", "Authorization: Bearer ada\r\n").await;
        client.write(&flood).await;
        loop {
            match client.next().await {
                Some(RawFrame::Close(code)) => break assert_eq!(code, 4429),
                Some(_) => {}
                None => panic!("a close before the end"),
            }
        }
    }
    assert_eq!(stats(&server).bytes, 3);
    server.stop().await;
}

#[tokio::test]
async fn a_client_has_so_many_connections_by_address_and_by_subject() {
    let server = server(|limits| {
        limits.connections_per_address = Some(3);
        limits.connections_per_subject = Some(2);
    })
    .await;
    let mut there = Vec::new();
    for token in ["ada", "ada"] {
        let mut client = TestClient::connect(ws(&server, token)).await;
        client.until("connection_established").await;
        there.push(client);
    }
    let headers = [
        ("Authorization", "Bearer ada"),
        ("Accept", "text/event-stream"),
    ];
    let answer = server
        .http("GET", "/api/tasks/t/events", &headers, "")
        .await;
    assert_eq!(answer.status, 429);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.json()["code"], "rate_limited");
    let mut third = TestClient::connect(ws(&server, "bo")).await;
    third.until("connection_established").await;
    let mut refused = TestClient::connect(ws(&server, "bo")).await;
    assert_eq!(refused.close_code().await, Some(4429), "and not just cut");
    let counted = stats(&server);
    assert_eq!(
        (counted.subject_connections, counted.address_connections),
        (1, 1)
    );
    drop(there);
    eventually("the two are gone", || server.manager().connected() == 1).await;
    let mut back = TestClient::connect(ws(&server, "ada")).await;
    back.until("connection_established").await;
    server.stop().await;
}

#[tokio::test]
async fn connections_that_come_too_fast_are_turned_away_unread() {
    let server = server(|limits| limits.handshakes_per_address = Some(Rate::new(1, 3))).await;
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(server.get("/healthz").await);
    }
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(&statuses[..3], [200, 200, 200]);
    assert!(statuses[3..].contains(&429), "{statuses:?}");
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert!(refused.header("retry-after").is_some());
    assert!(stats(&server).handshakes > 0);
    server.stop().await;
}

#[tokio::test]
async fn requests_events_bytes_and_tasks_of_one_client_have_rates() {
    let event = r#"{"event_type":"own","data":{}}"#;
    let publish = async |server: &TestServer, token: &str, task: &str, body: &str| {
        let value = format!("Bearer {token}");
        let headers = [("Authorization", value.as_str())];
        let path = format!("/api/tasks/{task}/events");
        server.http("POST", &path, &headers, body).await
    };
    let tasks = server(|limits| limits.tasks_per_client = Some(Rate::new(1, 2))).await;
    for (task, status) in [("a", 201), ("b", 201), ("c", 429), ("a", 201), ("b", 201)] {
        let answer = publish(&tasks, "ada", task, event).await;
        assert_eq!(answer.status, status, "{task}");
        assert_eq!(answer.header("retry-after").is_some(), status == 429);
    }
    assert_eq!(
        publish(&tasks, "bo", "c", event).await.status,
        201,
        "another's to make"
    );
    assert_eq!(stats(&tasks).tasks, 1);
    let mut client = TestClient::connect(ws(&tasks, "ada")).await;
    client.until("connection_established").await;
    let message = json!({"type": "publish", "task_id": "d", "event_type": "own", "data": {}});
    assert_eq!(code(&mut client, message).await, "rate_limited");
    drop(client);
    tasks.stop().await;

    let requests = server(|limits| limits.messages_per_client = Some(Rate::new(1, 5))).await;
    // One request and four events are allowed. The fifth event exceeds the limit.
    let batch = format!("[{}]", [event; 6].join(","));
    let answer = publish(&requests, "ada", "a", &batch).await;
    let answers = answer.json();
    let refused = answers.as_array().unwrap().iter();
    let refused = refused
        .filter(|answer| answer["code"] == "rate_limited")
        .count();
    assert!((1..=2).contains(&refused), "{answers}");
    assert_eq!(publish(&requests, "bo", "a", event).await.status, 201);
    requests.stop().await;

    let bytes = server(|limits| limits.bytes_per_client = Some(Rate::new(1, 1_000))).await;
    let large = format!(
        r#"{{"event_type":"own","data":{{"x":"{}"}}}}"#,
        "x".repeat(900)
    );
    assert_eq!(publish(&bytes, "ada", "a", &large).await.status, 201);
    assert_eq!(publish(&bytes, "ada", "a", &large).await.status, 429);
    assert_eq!(publish(&bytes, "bo", "a", &large).await.status, 201);
    // The body of every route is counted.
    let command = format!(r#"{{"command":"x","args":{{"x":"{}"}}}}"#, "x".repeat(900));
    let headers = [("Authorization", "Bearer ada")];
    for path in ["/api/tasks/a/commands", "/api/connections/x/messages"] {
        let answer = bytes.http("POST", path, &headers, &command).await;
        assert_eq!(answer.status, 429, "{path}: {}", answer.text());
    }
    bytes.stop().await;
}

#[tokio::test]
async fn refusals_are_in_the_metrics_by_limit() {
    let server = server(|limits| limits.tasks_per_client = Some(Rate::new(1, 1))).await;
    let headers = [("Authorization", "Bearer ada")];
    for task in ["a", "b"] {
        let path = format!("/api/tasks/{task}/events");
        server
            .http("POST", &path, &headers, r#"{"event_type":"own","data":{}}"#)
            .await;
    }
    let metrics = server.http("GET", "/metrics", &headers, "").await;
    let line = "tidings_limited_total{limit=\"tasks\"} 1";
    assert!(metrics.text().contains(line), "{}", metrics.text());
    server.stop().await;
}
