//! The permissions of a token, on every route to a task.

use serde_json::{Value, json};
use tidings_connections::{AuthError, Principal};
use tidings_protocol::{NewEvent, TaskId};
use tidings_testkit::{
    EventStream, HttpResponse, TestClient, TestConfig, TestServer, Tokens, permissions,
};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::Request;

fn somebody(name: &str, allowed: &str) -> Principal {
    Principal::new(permissions(allowed)).subject(name)
}

async fn server() -> TestServer {
    let tokens = Tokens::default()
        .with("watcher", somebody("ada", "watch build-*"))
        .with("worker", somebody("w1", "publish build-*"))
        .with(
            "commander",
            somebody("bo", "publish build-*, command build-1"),
        )
        .with("answerer", somebody("di", "answer build-*"))
        .with("remover", somebody("cy", "admin build-*"))
        .with(
            "root",
            somebody("root", "watch *, publish *, command *, admin *"),
        )
        .refusing("old", AuthError::Expired);
    let server = TestServer::start_asking(TestConfig::default(), tokens).await;
    for id in ["build-1", "build-2", "secret-1", "a"] {
        let task = TaskId::new(id).unwrap();
        let event = NewEvent::task_started(id);
        server.bus().publish(&task, event).await.unwrap();
    }
    server
}

fn ws(server: &TestServer, path: &str, token: &str) -> Request<()> {
    let mut request = server.ws(path).into_client_request().unwrap();
    let value = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert("authorization", value);
    request
}

async fn http(
    server: &TestServer,
    method: &str,
    path: &str,
    token: &str,
    body: &str,
) -> HttpResponse {
    let value = format!("Bearer {token}");
    let headers = [("Authorization", value.as_str())];
    let headers = if token.is_empty() { &[][..] } else { &headers };
    server.http(method, path, headers, body).await
}

const EVENT: &str = r#"{"event_type":"log","data":{"message":"x"}}"#;
const REQUEST: &str =
    r#"{"event_type":"command_requested","data":{"command_id":"c1","command":"cancel","by":"me"}}"#;
const PROVIDED: &str =
    r#"{"event_type":"input_provided","data":{"input_id":"i","value":1,"by":"me"}}"#;
const ASKED: &str = "/api/tasks/build-1/inputs/i";
const ANSWER: &str = r#"{"value":1}"#;
const COMMAND: &str = r#"{"command":"cancel"}"#;
const MESSAGE: &str = r#"{"event_type":"hello"}"#;

#[tokio::test]
async fn every_rest_route_asks_for_its_own_permission() {
    let server = server().await;
    for (method, path, token, body, status) in [
        ("GET", "/api/tasks/build-1", "watcher", "", 200),
        ("GET", "/api/tasks/secret-1", "watcher", "", 403),
        ("GET", "/api/tasks/secret-9", "watcher", "", 403),
        ("GET", "/api/tasks/build-9", "watcher", "", 404),
        ("GET", "/api/tasks/build-1", "worker", "", 403),
        ("GET", "/api/tasks/build-1/events", "watcher", "", 200),
        ("GET", "/api/tasks/secret-1/events", "watcher", "", 403),
        ("GET", "/api/tasks/build-1/events", "worker", "", 403),
        ("POST", "/api/tasks/build-1/events", "worker", EVENT, 201),
        ("POST", "/api/tasks/secret-1/events", "worker", EVENT, 403),
        ("POST", "/api/tasks/build-1/events", "watcher", EVENT, 403),
        // A request for a command is an event, but it needs the permission `command`.
        ("POST", "/api/tasks/build-1/events", "worker", REQUEST, 403),
        (
            "POST",
            "/api/tasks/build-1/events",
            "commander",
            REQUEST,
            201,
        ),
        (
            "POST",
            "/api/tasks/build-1/commands",
            "commander",
            COMMAND,
            202,
        ),
        (
            "POST",
            "/api/tasks/build-2/commands",
            "commander",
            COMMAND,
            403,
        ),
        (
            "POST",
            "/api/tasks/build-1/commands",
            "worker",
            COMMAND,
            403,
        ),
        // An answer is an event too, and needs the permission `answer`.
        ("POST", "/api/tasks/build-1/events", "worker", PROVIDED, 403),
        ("POST", ASKED, "watcher", ANSWER, 403),
        ("POST", ASKED, "worker", ANSWER, 403),
        ("POST", ASKED, "answerer", ANSWER, 409),
        // The permission `command` includes `answer`.
        ("POST", ASKED, "commander", ANSWER, 409),
        (
            "POST",
            "/api/tasks/build-2/inputs/i",
            "commander",
            ANSWER,
            403,
        ),
        (
            "POST",
            "/api/tasks/build-1/inputs/i/links",
            "watcher",
            r#"{"for":"ada"}"#,
            403,
        ),
        ("GET", "/api/inputs", "watcher", "", 200),
        ("DELETE", "/api/tasks/build-2", "watcher", "", 403),
        ("DELETE", "/api/tasks/secret-1", "remover", "", 403),
        ("DELETE", "/api/tasks/build-2", "remover", "", 204),
        ("GET", "/api/connections", "remover", "", 403),
        ("GET", "/api/connections?task=build-1", "remover", "", 403),
        ("GET", "/api/connections", "root", "", 200),
        ("GET", "/api/connections/x", "watcher", "", 403),
        ("GET", "/api/connections/x", "root", "", 404),
        ("DELETE", "/api/connections/x", "remover", "", 403),
        ("DELETE", "/api/connections/x", "root", "", 404),
        (
            "POST",
            "/api/connections/x/messages",
            "remover",
            MESSAGE,
            403,
        ),
        ("POST", "/api/connections/x/messages", "root", MESSAGE, 404),
        ("POST", "/api/backups", "watcher", "", 403),
        ("POST", "/api/backups", "remover", "", 403),
        // A client with the permission learns that the server has no directory for backups.
        ("POST", "/api/backups", "root", "", 404),
        ("GET", "/api/stats", "watcher", "", 403),
        ("GET", "/api/stats", "root", "", 200),
        ("GET", "/metrics", "watcher", "", 403),
        ("GET", "/metrics", "root", "", 200),
    ] {
        let answer = http(&server, method, path, token, body).await;
        assert_eq!(
            answer.status,
            status,
            "{method} {path} as {token}: {}",
            answer.text()
        );
        if status == 403 {
            assert_eq!(answer.json()["code"], "forbidden");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn without_a_token_only_what_tells_nothing_is_answered() {
    let server = server().await;
    for path in ["/", "/healthz", "/readyz", "/api/openapi.json"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    for (method, path) in [
        ("GET", "/api/tasks"),
        ("GET", "/api/tasks/build-1"),
        ("DELETE", "/api/tasks/build-1"),
        ("GET", "/api/tasks/build-1/events"),
        ("POST", "/api/tasks/build-1/events"),
        ("POST", "/api/tasks/build-1/commands"),
        ("GET", "/api/connections"),
        ("GET", "/api/connections/x"),
        ("DELETE", "/api/connections/x"),
        ("POST", "/api/connections/x/messages"),
        ("GET", "/api/stats"),
        ("GET", "/metrics"),
    ] {
        let answer = http(&server, method, path, "", "").await;
        assert_eq!(answer.status, 401, "{method} {path}");
        assert_eq!(answer.json()["code"], "unauthenticated");
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Bearer realm=\"tidings\"")
        );
        let answer = http(&server, method, path, "guess", "").await;
        assert_eq!(answer.status, 401, "{method} {path}");
        let scheme = answer.header("www-authenticate").unwrap();
        assert!(scheme.contains("invalid_token"), "{scheme}");
        assert!(!answer.text().contains("guess"), "it is not repeated");
    }
    assert!(server.manager().stats().unauthenticated >= 24);
    server.stop().await;
}

#[tokio::test]
async fn the_list_of_tasks_has_what_may_be_watched_and_pages_as_ever() {
    let server = server().await;
    let list = async |query: &str, token: &str| {
        let path = format!("/api/tasks{query}");
        let page = http(&server, "GET", &path, token, "").await.json();
        let ids = page["tasks"].as_array().unwrap().iter();
        let ids: Vec<_> = ids
            .map(|task| task["task_id"].as_str().unwrap().to_owned())
            .collect();
        (ids.join(" "), page["next"].clone())
    };
    assert_eq!(
        list("", "watcher").await,
        ("build-1 build-2".into(), Value::Null)
    );
    assert_eq!(
        list("?prefix=se", "watcher").await,
        (String::new(), Value::Null)
    );
    assert_eq!(
        list("?limit=1", "watcher").await,
        ("build-1".into(), json!("build-1"))
    );
    assert_eq!(
        list("?limit=1&after=build-1", "watcher").await,
        ("build-2".into(), Value::Null)
    );
    assert_eq!(
        list("?after=zzz", "watcher").await,
        (String::new(), Value::Null)
    );
    assert_eq!(list("", "worker").await, (String::new(), Value::Null));
    assert_eq!(
        list("", "root").await,
        ("a build-1 build-2 secret-1".into(), Value::Null)
    );
    server.stop().await;
}

#[tokio::test]
async fn a_connection_is_refused_by_a_close_code_that_a_page_can_see() {
    let server = server().await;
    for (path, token, code) in [
        ("/ws/tasks/build-1", "", 4401),
        ("/ws", "", 4401),
        ("/ws", "guess", 4401),
        ("/ws/tasks/build-1", "old", 4401),
        ("/ws/tasks/secret-1", "watcher", 4403),
        ("/ws/tasks/build-1", "worker", 4403),
        // A token in the query is ignored, unless the server allows it.
        ("/ws/tasks/build-1?token=watcher", "", 4401),
    ] {
        let mut client = TestClient::connect(ws(&server, path, token)).await;
        let expected = if code == 4401 {
            "unauthenticated"
        } else {
            "forbidden"
        };
        let error = client.until("error").await;
        assert_eq!(error["data"]["code"], expected, "{path} as {token:?}");
        assert_eq!(client.close_code().await, Some(code), "{path} as {token:?}");
    }
    assert_eq!(server.manager().stats().accepted, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_token_comes_by_header_by_subprotocol_or_where_allowed_by_query() {
    let mut config = TestConfig::default();
    config.transport = config.transport.token_in_query(true);
    let tokens = Tokens::default().with("a.b-c_d", somebody("ada", "watch build-*"));
    let server = TestServer::start_asking(config, tokens).await;
    let mut by_protocol = server
        .ws("/ws/tasks/build-1")
        .into_client_request()
        .unwrap();
    let offered = "tidings.v1, bearer.a.b-c_d".parse().unwrap();
    by_protocol
        .headers_mut()
        .insert("sec-websocket-protocol", offered);
    for request in [
        ws(&server, "/ws/tasks/build-1", "a.b-c_d"),
        by_protocol,
        server
            .ws("/ws/tasks/build-1?token=a.b-c_d")
            .into_client_request()
            .unwrap(),
    ] {
        let mut client = TestClient::connect(request).await;
        client.until("connection_established").await;
    }
    assert_eq!(server.get("/api/tasks?token=a.b-c_d").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn who_is_refused_by_subprotocol_hears_why() {
    let server = server().await;
    for offered in ["tidings.v1", "tidings.v1, bearer.old"] {
        let mut request = server.ws("/ws").into_client_request().unwrap();
        let value = offered.parse().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", value);
        // Like a browser, this client refuses a connection whose offered subprotocol was not
        // answered.
        let mut client = TestClient::connect(request).await;
        let error = client.until("error").await;
        assert_eq!(error["data"]["code"], "unauthenticated", "{offered}");
        assert_eq!(client.close_code().await, Some(4401), "{offered}");
    }
    server.stop().await;
}

/// Returns the answer to a message with a `ref`.
async fn ask(client: &mut TestClient, mut message: Value) -> Value {
    message["ref"] = json!(1);
    client.send(&message).await;
    loop {
        let answer = client.next().await.expect("an answer");
        if answer["data"]["ref"] == 1 {
            return answer;
        }
    }
}

fn outcome(answer: &Value) -> &str {
    let code = answer["data"]["code"].as_str();
    code.or(answer["event_type"].as_str()).unwrap()
}

#[tokio::test]
async fn messages_are_held_to_the_same_permissions() {
    let server = server().await;
    for (token, message, expected) in [
        (
            "watcher",
            json!({"type": "subscribe", "task_id": "build-1"}),
            "subscribed",
        ),
        (
            "watcher",
            json!({"type": "subscribe", "task_id": "secret-1"}),
            "forbidden",
        ),
        (
            "watcher",
            json!({"type": "subscribe", "task_id": "secret-1", "since": "0"}),
            "forbidden",
        ),
        (
            "watcher",
            json!({"type": "subscribe", "pattern": "secret-*"}),
            "forbidden",
        ),
        (
            "worker",
            json!({"type": "subscribe", "pattern": "*"}),
            "forbidden",
        ),
        (
            "worker",
            json!({"type": "publish", "task_id": "build-1", "event_type": "log", "data": {"message": "x"}}),
            "ack",
        ),
        (
            "worker",
            json!({"type": "publish", "task_id": "secret-1", "event_type": "log", "data": {"message": "x"}}),
            "forbidden",
        ),
        (
            "worker",
            json!({"type": "publish", "task_id": "build-1", "event_type": "command_requested",
                   "data": {"command_id": "c", "command": "cancel", "by": "me"}}),
            "forbidden",
        ),
        (
            "worker",
            json!({"type": "command", "task_id": "build-1", "command": "cancel"}),
            "forbidden",
        ),
        (
            "commander",
            json!({"type": "command", "task_id": "build-1", "command": "cancel"}),
            "ack",
        ),
        (
            "commander",
            json!({"type": "command", "task_id": "secret-1", "command": "cancel"}),
            "forbidden",
        ),
    ] {
        let mut client = TestClient::connect(ws(&server, "/ws", token)).await;
        let answer = ask(&mut client, message.clone()).await;
        assert_eq!(outcome(&answer), expected, "{token}: {message} → {answer}");
        // The connection stays open after a refusal.
        let pong = ask(&mut client, json!({"type": "ping"})).await;
        assert_eq!(pong["event_type"], "pong");
    }
    let command = http(
        &server,
        "GET",
        "/api/tasks/build-1/events?since=0",
        "root",
        "",
    )
    .await
    .json();
    let by: Vec<_> = command["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|event| event["data"]["by"].as_str())
        .collect();
    assert_eq!(by, ["bo"], "a command says who asked for it");
    server.stop().await;
}

#[tokio::test]
async fn a_pattern_brings_what_may_be_watched_and_nothing_that_appears_later() {
    let server = server().await;
    let mut client = TestClient::connect(ws(&server, "/ws", "watcher")).await;
    for id in ["build-1", "build-2"] {
        client.checker_mut().ask_retained(id);
    }
    let everything = json!({"type": "subscribe", "pattern": "*", "since": "0"});
    ask(&mut client, everything).await;
    for id in ["secret-2", "build-3", "zzz"] {
        let task = TaskId::new(id).unwrap();
        server
            .bus()
            .publish(&task, NewEvent::task_started(id))
            .await
            .unwrap();
    }
    client.until_offset("build-3", 1).await;
    // Any other message would have arrived before the answer to this one.
    ask(&mut client, json!({"type": "ping"})).await;
    let seen: Vec<_> = [
        "a", "build-1", "build-2", "build-3", "secret-1", "secret-2", "zzz",
    ]
    .into_iter()
    .filter(|id| client.checker().task(id).is_some())
    .collect();
    assert_eq!(seen, ["build-1", "build-2", "build-3"]);
    server.stop().await;
}

#[tokio::test]
async fn server_sent_events_are_no_way_around() {
    let server = server().await;
    let mut stream = EventStream::open(
        server.addr(),
        "/api/tasks/build-1/events?since=0",
        "Authorization: bearer watcher\r\n",
    )
    .await;
    assert!(
        stream
            .next()
            .await
            .unwrap()
            .data
            .contains("connection_established")
    );
    for (task, token, status) in [
        ("secret-1", "watcher", 403),
        ("build-1", "worker", 403),
        ("build-1", "guess", 401),
    ] {
        let headers = [
            ("Authorization", format!("Bearer {token}")),
            ("Accept", "text/event-stream".to_owned()),
        ];
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let path = format!("/api/tasks/{task}/events");
        let answer = server.http("GET", &path, &headers, "").await;
        assert_eq!(answer.status, status, "{task} as {token}");
    }
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn what_a_client_left_is_not_another_subjects() {
    let server = server().await;
    let path = "/ws/tasks/build-1?client_id=laptop";
    let mut client = TestClient::connect(ws(&server, path, "watcher")).await;
    let hello = client.until("connection_established").await;
    let resume = hello["data"]["resume_token"].as_str().unwrap().to_owned();
    let path = format!("/ws?client_id=laptop&resume_token={resume}");
    // A stolen resume token is not sufficient, whether the client is connected or not. The thief
    // becomes another client.
    let steal = async || {
        let mut thief = TestClient::connect(ws(&server, &path, "root")).await;
        let hello = thief.until("connection_established").await;
        assert_ne!(hello["data"]["client_id"], "laptop");
        thief.send(&json!({"type": "ping"})).await;
        assert_eq!(thief.next().await.unwrap()["event_type"], "pong");
    };
    steal().await;
    client.close().await;
    tidings_testkit::eventually("they are away", || server.manager().stats().away == 2).await;
    steal().await;
    let mut owner = TestClient::connect(ws(&server, &path, "watcher")).await;
    owner.until("connection_established").await;
    owner.until("subscribed").await;
    server.stop().await;
}

#[tokio::test]
async fn pages_of_other_origins_may_not_even_ask() {
    let server = TestServer::start(TestConfig::default()).await;
    let own = format!("http://{}", server.addr());
    for (origin, status) in [
        (own.as_str(), 201),
        ("http://evil.example", 403),
        ("null", 403),
    ] {
        // A request that a page can send without a preflight request of the browser.
        let headers = [("Origin", origin), ("Content-Type", "text/plain")];
        let answer = server
            .http("POST", "/api/tasks/t/events", &headers, EVENT)
            .await;
        assert_eq!(answer.status, status, "{origin}");
    }
    assert_eq!(
        server
            .manager()
            .bus()
            .snapshot(&TaskId::new("t").unwrap())
            .unwrap()
            .offset
            .get(),
        1
    );
    server.stop().await;
}

/// Events name the requester or answerer from the token, and only the bus makes its own events.
/// This holds for every way to publish.
#[tokio::test]
async fn nobody_publishes_in_anothers_name_or_in_the_servers() {
    let server = server().await;
    let forged = json!({"event_type": "command_requested",
        "data": {"command_id": "c1", "command": "cancel", "by": "root"}});
    let answer = json!({"event_type": "input_provided",
        "data": {"input_id": "i1", "value": 1, "by": "root"}});
    let asks = json!({"event_type": "input_required",
        "data": {"input_id": "i1", "prompt": "sure?"}});
    let path = "/api/tasks/build-1/events";
    let batch = json!([forged, asks, answer]).to_string();
    let sent = http(&server, "POST", path, "commander", &forged.to_string()).await;
    assert_eq!(sent.status, 201, "{}", sent.text());
    let sent = http(&server, "POST", path, "commander", &batch).await;
    assert!([201, 207].contains(&sent.status), "{}", sent.text());
    let cloud = json!({"specversion": "1.0", "id": "1", "source": "/x",
        "type": "command_requested", "data": forged["data"]});
    let value = "Bearer commander";
    let headers = [
        ("Authorization", value),
        ("content-type", "application/cloudevents+json"),
    ];
    let sent = server
        .http("POST", path, &headers, &cloud.to_string())
        .await;
    assert_eq!(sent.status, 201, "{}", sent.text());
    let mut client = TestClient::connect(ws(&server, "/ws", "commander")).await;
    let mut message = forged.clone();
    message["type"] = json!("publish");
    message["task_id"] = json!("build-1");
    message["ref"] = json!(1);
    client.send(&message).await;
    client.until("ack").await;
    let page = http(&server, "GET", &format!("{path}?since=0"), "root", "").await;
    let page = page.json();
    let events = page["events"].as_array().unwrap();
    let names: Vec<_> = events
        .iter()
        .filter_map(|event| event["data"]["by"].as_str())
        .collect();
    assert_eq!(names, ["bo"; 5], "{page}");

    for event_type in ["task_stalled", "input_expired", "children_update"] {
        let event = json!({"event_type": event_type, "data": {}}).to_string();
        let refused = http(&server, "POST", path, "root", &event).await;
        assert_eq!(refused.json()["code"], "invalid_event", "{event_type}");
        let mut message: Value = serde_json::from_str(&event).unwrap();
        message["type"] = json!("publish");
        message["task_id"] = json!("build-1");
        client.send(&message).await;
        let error = client.until("error").await;
        assert_eq!(error["data"]["code"], "invalid_event", "{event_type}");
    }
    server.stop().await;
}
