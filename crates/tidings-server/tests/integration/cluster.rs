//! Clients of several servers over one Redis. A client continues on any server that it reconnects
//! to. Each server knows all clients, and each client is connected in one place only.
#![cfg(unix)]

use crate::support::{DEADLINE, Server, tidings};
use serde_json::{Value, json};
use tidings_client::protocol::Position;
use tidings_testkit::{RedisServer, TestClient, WireChecker, http_exchange};

/// Starts a server with this name.
fn start(redis: &RedisServer, name: &str) -> Server {
    let url = redis.url();
    let arguments = ["--listen", "127.0.0.1:0", "--redis", &url];
    let more = ["--node-name", name, "--drain-window", "0s"];
    Server::start(&mut tidings(&[&arguments[..], &more[..]].concat()))
}

async fn ask(server: &Server, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let response = http_exchange(server.addr().parse().unwrap(), request.as_bytes()).await;
    let json = serde_json::from_str(response.text()).unwrap_or_default();
    (response.status, json)
}

async fn get(server: &Server, path: &str) -> Value {
    let (status, json) = ask(server, "GET", path, None).await;
    assert_eq!(status, 200, "{path}: {json}");
    json
}

async fn step(server: &Server, n: u64) {
    let event = match n % 2 {
        0 => json!({"event_type": "custom.step", "event_id": n.to_string(), "data": {"n": n}}),
        _ => json!({"event_type": "output_delta", "event_id": n.to_string(),
            "data": {"output_id": "o", "text": format!("wörd {n} ")}}),
    };
    let published = tokio::time::timeout(DEADLINE, async {
        loop {
            let path = "/api/tasks/t/events";
            let (status, answer) = ask(server, "POST", path, Some(&event)).await;
            // On a busy machine Redis may not answer in time. The event id makes a retry safe.
            if status != 503 {
                return (status, answer);
            }
        }
    });
    let (status, answer) = published.await.expect("it is taken in time");
    assert_eq!((status, &answer["offset"]), (201, &json!(n)), "{answer}");
}

/// Compares what a client has received, folded, with the state that a server has.
async fn assert_state(client: &TestClient, server: &Server) {
    let truth = get(server, "/api/tasks/t").await;
    client.assert_state(&serde_json::from_value(truth).unwrap());
}

async fn note(server: &Server, client: &str, n: u64) -> (u16, Value) {
    let message = json!({"event_type": "note", "data": {"n": n}});
    let path = format!("/api/connections/{client}/messages");
    ask(server, "POST", &path, Some(&message)).await
}

/// Sends a personal message, which must be accepted under this offset.
async fn send(server: &Server, client: &str, n: u64) {
    let (status, answer) = note(server, client, n).await;
    assert_eq!((status, &answer["offset"]), (202, &json!(n)), "{answer}");
}

/// Expects the next personal messages to have these offsets and contents.
async fn expect_notes(client: &mut TestClient, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        let note = client.until("personal_message").await;
        let expected = json!({"event_type": "note", "data": {"n": n}, "offset": n});
        assert_eq!(note["data"], expected);
    }
}

fn ws(server: &Server, path: &str) -> String {
    format!("ws://{}{path}", server.addr())
}

/// Connects a client. Returns the client and its resume token.
async fn connect(server: &Server, path: &str) -> (TestClient, String) {
    let mut client = TestClient::connect(ws(server, path)).await;
    let hello = client.until("connection_established").await;
    let token = hello["data"]["resume_token"].as_str().unwrap().to_owned();
    (client, token)
}

/// Calls `done` repeatedly until it returns `true`.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let asked = tokio::time::timeout(DEADLINE, async {
        while !done().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    assert!(asked.await.is_ok(), "in time: {what}");
}

/// Returns a field of a client's record in Redis.
fn field(redis: &RedisServer, client: &str, field: &str) -> String {
    let keys = redis.command(&format!("KEYS *:client:{client}")).unwrap();
    let Some(key) = keys.lines().find(|line| line.starts_with('{')) else {
        return String::new();
    };
    let got = redis.command(&format!("HGET {key} {field}")).unwrap();
    got.lines().nth(1).unwrap_or_default().to_owned()
}

/// Waits until the client's watched tasks are written to Redis, at any position.
async fn until_written(redis: &RedisServer, client: &str) {
    until("the client is written", async || {
        field(redis, client, "k").contains("task_id")
    })
    .await;
}

async fn until_away(redis: &RedisServer, client: &str) {
    until("the client is away", async || {
        field(redis, client, "o").is_empty() && !field(redis, client, "t").is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_client_goes_on_at_another_server_where_it_was() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis, "a"), start(&redis, "b"));
    step(&a, 1).await;
    let (mut client, token) = connect(&a, "/ws/tasks/t?client_id=me").await;
    step(&b, 2).await;
    client.until_offset("t", 2).await;
    send(&b, "me", 1).await;
    send(&a, "me", 2).await;
    expect_notes(&mut client, 1..=2).await;
    let before = client.cut();
    until_away(&redis, "me").await;
    assert_eq!(get(&b, "/api/connections").await["connections"], json!([]));
    assert!(
        !field(&redis, "me", "t").contains(&token),
        "no token lies there"
    );

    step(&a, 3).await;
    send(&a, "me", 3).await;
    send(&b, "me", 4).await;
    let mut stranger = TestClient::connect(ws(&b, "/ws?client_id=me")).await;
    assert_eq!(stranger.close_code().await, Some(4403), "it has no token");
    let path = format!("/ws/tasks/t?client_id=me&resume_token={token}");
    let mut back = TestClient::connect_as(ws(&b, &path), before.resumed(|_| true)).await;
    let hello = back.until("connection_established").await;
    assert_eq!(hello["data"]["recovered"], true, "{hello}");
    assert_eq!(hello["data"]["resume_token"], token.as_str());
    back.until_offset("t", 3).await;
    expect_notes(&mut back, 3..=4).await;
    send(&a, "me", 5).await;
    expect_notes(&mut back, 5..=5).await;
    assert_state(&back, &a).await;
    assert!(back.checker().task("t").unwrap().checker.gaps().is_empty());
}

#[tokio::test]
async fn a_newer_connection_elsewhere_replaces_the_older_one() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis, "a"), start(&redis, "b"));
    let (mut old, token) = connect(&a, "/ws/tasks/t?client_id=me").await;
    for n in 1..=5 {
        step(&b, n).await;
    }
    old.until_offset("t", 5).await;
    send(&b, "me", 1).await;
    expect_notes(&mut old, 1..=1).await;
    let path = format!("/ws/tasks/t?client_id=me&resume_token={token}");
    let resumed = old.checker().resumed(|_| true);
    let mut new = TestClient::connect_as(ws(&b, &path), resumed).await;
    assert_eq!(old.close_code().await, Some(4409));
    let hello = new.until("connection_established").await;
    assert_eq!(hello["data"]["recovered"], true, "{hello}");
    send(&a, "me", 2).await;
    expect_notes(&mut new, 2..=2).await;
    step(&a, 6).await;
    new.until_offset("t", 6).await;
    // The client returns to the first server at once.
    let resumed = new.checker().resumed(|_| true);
    let mut newest = TestClient::connect_as(ws(&a, &path), resumed).await;
    assert_eq!(new.close_code().await, Some(4409));
    send(&b, "me", 3).await;
    step(&b, 7).await;
    newest.until_offset("t", 7).await;
    assert_state(&newest, &b).await;
    let all = get(&b, "/api/connections").await;
    assert_eq!(all["connections"].as_array().unwrap().len(), 1, "{all}");
}

#[tokio::test]
async fn a_client_of_a_killed_server_loses_nothing() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis, "a"), start(&redis, "b"));
    step(&a, 1).await;
    let (mut client, token) = connect(&a, "/ws/tasks/t?client_id=me").await;
    until_written(&redis, "me").await;
    for n in 2..=10 {
        step(&b, n).await;
    }
    client.until_offset("t", 10).await;
    a.signal("KILL");
    while client.next().await.is_some() {}
    for n in 11..=15 {
        step(&b, n).await;
    }
    // The client's server is dead, and no other server has noticed.
    send(&b, "me", 1).await;
    send(&b, "me", 2).await;
    // A client's positions are written every few seconds. The client continues there, so it may
    // receive some messages again.
    let kept: Value = serde_json::from_str(&field(&redis, "me", "k")).unwrap();
    let since = &kept["subscriptions"][0]["since"];
    let since: Position = serde_json::from_value(since.clone()).unwrap();
    assert!((1..=10).contains(&since.offset.get()), "{kept}");
    let mut checker = WireChecker::default();
    checker.ask_since("t", since);
    let path = format!("/ws/tasks/t?client_id=me&resume_token={token}");
    let mut back = TestClient::connect_as(ws(&b, &path), checker).await;
    let hello = back.until("connection_established").await;
    assert_eq!(hello["data"]["recovered"], true, "{hello}");
    send(&b, "me", 3).await;
    // Events and personal messages arrive in any order relative to each other.
    let mut notes = Vec::new();
    while notes.len() < 3 || back.checker().task("t").unwrap().checker.expected() < Some(16) {
        let message = back.next().await.expect("the connection lives");
        if message["event_type"] == "personal_message" {
            notes.push(message["data"]["offset"].clone());
        }
    }
    assert_eq!(notes, [1, 2, 3]);
    assert_state(&back, &b).await;
    assert!(back.checker().task("t").unwrap().checker.gaps().is_empty());
}

#[tokio::test]
async fn messages_to_a_client_of_a_killed_server_wait_for_it() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis, "a"), start(&redis, "b"));
    let (client, token) = connect(&a, "/ws?client_id=me").await;
    a.signal("KILL");
    drop(client);
    for n in 1..=3 {
        send(&b, "me", n).await;
    }
    let path = format!("/ws?client_id=me&resume_token={token}");
    let (mut back, same) = connect(&b, &path).await;
    assert_eq!(same, token);
    expect_notes(&mut back, 1..=3).await;
    send(&b, "me", 4).await;
    expect_notes(&mut back, 4..=4).await;
}

#[tokio::test]
async fn an_inbox_keeps_so_many_and_names_what_it_did_not() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis, "a"), start(&redis, "b"));
    let (client, token) = connect(&a, "/ws?client_id=me").await;
    client.cut();
    until_away(&redis, "me").await;
    for n in 1..=105 {
        send(if n % 2 == 0 { &a } else { &b }, "me", n).await;
    }
    let path = format!("/ws?client_id=me&resume_token={token}");
    let (mut back, _) = connect(&b, &path).await;
    let gap = back.until("gap").await;
    assert_eq!(
        (&gap["data"]["from"], &gap["data"]["to"]),
        (&json!(1), &json!(5))
    );
    expect_notes(&mut back, 6..=105).await;
}

#[tokio::test]
async fn every_server_knows_who_is_where() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis, "a"), start(&redis, "b"));
    let (mut on_a, _) = connect(&a, "/ws/tasks/t?client_id=one").await;
    let (_on_b, _) = connect(&b, "/ws/tasks/u?client_id=two").await;
    for server in [&a, &b] {
        // On a busy machine a node may not answer in time.
        let (mut stats, mut all, mut some) = (Value::Null, Value::Null, Value::Null);
        until("both answer", async || {
            stats = get(server, "/api/stats").await;
            all = get(server, "/api/connections").await;
            some = get(server, "/api/connections?task=t").await;
            let answered = [&stats, &all, &some].map(|answer| answer["unanswered"] == json!([]));
            stats["nodes"][1].is_object() && answered == [true; 3]
        })
        .await;
        let mut who: Vec<_> = all["connections"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| format!("{} at {}", one["client_id"], one["node"]))
            .collect();
        who.sort();
        assert_eq!(who, [r#""one" at "a""#, r#""two" at "b""#], "{all}");
        assert_eq!(some["connections"][0]["client_id"], "one");
        assert_eq!(some["connections"].as_array().unwrap().len(), 1);
        let one = get(server, "/api/connections/one").await;
        assert_eq!(
            (&one["node"], &one["transport"]),
            (&json!("a"), &json!("websocket"))
        );
        assert_eq!(stats["connections"]["connected"], 2, "{stats}");
    }
    let (status, _) = ask(&b, "GET", "/api/connections/nobody", None).await;
    assert_eq!(status, 404);
    assert_eq!(note(&b, "nobody", 1).await.0, 404);

    let (status, _) = ask(&b, "DELETE", "/api/connections/one", None).await;
    assert_eq!(status, 204);
    assert_eq!(on_a.close_code().await, Some(1000));
    assert_eq!(ask(&b, "DELETE", "/api/connections/one", None).await.0, 404);
    assert_eq!(note(&a, "one", 1).await.0, 404, "nothing is kept of it");

    // A node that is stopped is named in the answer, and the others answer.
    a.signal("STOP");
    let all = get(&b, "/api/connections").await;
    a.signal("CONT");
    assert_eq!(all["unanswered"], json!(["a"]), "{all}");
    assert_eq!(all["connections"][0]["client_id"], "two");
}

#[tokio::test]
async fn a_client_taken_from_a_server_that_stood_still_is_at_one_place() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis, "a"), start(&redis, "b"));
    let (mut old, token) = connect(&a, "/ws/tasks/t?client_id=me").await;
    until_written(&redis, "me").await;
    a.signal("STOP");
    let path = format!("/ws/tasks/t?client_id=me&resume_token={token}");
    let (mut new, _) = connect(&b, &path).await;
    a.signal("CONT");
    assert_eq!(
        old.close_code().await,
        Some(4409),
        "it is told when it wakes"
    );
    step(&a, 1).await;
    send(&a, "me", 1).await;
    new.until_offset("t", 1).await;
    expect_notes(&mut new, 1..=1).await;
}

#[tokio::test]
async fn clients_outlive_a_redis_that_stands_still_and_one_that_restarts() {
    let mut redis = RedisServer::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (a, b) = (start(&redis, "a"), start(&redis, "b"));
    let (mut client, token) = connect(&a, "/ws/tasks/t?client_id=me").await;
    send(&b, "me", 1).await;
    expect_notes(&mut client, 1..=1).await;
    redis.pause();
    let (status, problem) = note(&b, "me", 2).await;
    assert_eq!((status, &problem["code"]), (503, &json!("unavailable")));
    redis.resume();
    until("messages are taken again", async || {
        note(&b, "me", 0).await.0 == 202
    })
    .await;
    let before = client.until("personal_message").await["data"]["offset"].as_u64();
    redis.start_again();
    until("both are ready", async || {
        let ready = async |server| ask(server, "GET", "/readyz", None).await.0 == 200;
        ready(&a).await && ready(&b).await
    })
    .await;
    // The server may have stored a message and still refused it. The numbers continue either way.
    let (status, answer) = note(&b, "me", 9).await;
    assert_eq!(status, 202, "{answer}");
    let last = answer["offset"].as_u64();
    assert!(last > before, "{last:?} after {before:?}");
    let mut seen = before;
    while seen != last {
        let next = client.until("personal_message").await["data"]["offset"].as_u64();
        assert_eq!(next, seen.map(|seen| seen + 1), "none twice, none missing");
        seen = next;
    }
    step(&b, 1).await;
    client.until_offset("t", 1).await;
    let resumed: WireChecker = client.cut().resumed(|_| true);
    let path = format!("/ws/tasks/t?client_id=me&resume_token={token}");
    let mut back = TestClient::connect_as(ws(&b, &path), resumed).await;
    let hello = back.until("connection_established").await;
    assert_eq!(hello["data"]["recovered"], true, "{hello}");
}

#[tokio::test]
async fn a_rolling_restart_takes_clients_along() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis, "a"), start(&redis, "b"));
    let (mut client, token) = connect(&a, "/ws/tasks/t?client_id=me").await;
    step(&b, 1).await;
    client.until_offset("t", 1).await;
    a.signal("TERM");
    assert_eq!(client.close_code().await, Some(1012));
    assert_eq!(a.wait(), Some(0));
    step(&b, 2).await;
    send(&b, "me", 1).await;
    let path = format!("/ws/tasks/t?client_id=me&resume_token={token}");
    let resumed = client.cut().resumed(|_| true);
    let mut back = TestClient::connect_as(ws(&b, &path), resumed).await;
    back.until_offset("t", 2).await;
    expect_notes(&mut back, 1..=1).await;
}
