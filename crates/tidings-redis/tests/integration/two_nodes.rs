//! Several nodes in this process over one Redis. Each node knows every task.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_protocol::{Position, TaskSnapshot};
use tidings_testkit::{DEADLINE, RedisServer, TestClient, TestServer, WireChecker};

async fn start(redis: &RedisServer) -> TestServer {
    TestServer::start_with(&[("redis", &redis.url())]).await
}

async fn post(server: &TestServer, path: &str, body: &Value) -> (u16, Value) {
    let response = server.http("POST", path, &[], &body.to_string()).await;
    (response.status, response.json())
}

async fn get(server: &TestServer, path: &str) -> (u16, Value) {
    let response = server.get(path).await;
    (response.status, response.json())
}

async fn publish(server: &TestServer, n: u64) {
    let event = json!({"event_type": "agent_status_change", "event_id": n.to_string(),
        "data": {"agent_id": "a", "status": "working", "message": n.to_string()}});
    let published = tokio::time::timeout(DEADLINE, async {
        loop {
            let (status, answer) = post(server, "/api/tasks/t/events", &event).await;
            // On a busy machine, Redis may not answer in time. A producer tries again, and its
            // event id makes the retry harmless.
            if status != 503 {
                return (status, answer);
            }
        }
    });
    let (status, answer) = published.await.expect("it is taken in time");
    assert_eq!((status, &answer["offset"]), (201, &json!(n)), "{answer}");
}

#[tokio::test]
async fn any_node_knows_every_task() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis).await, start(&redis).await);
    publish(&a, 1).await;
    let (status, task) = get(&b, "/api/tasks/t").await;
    assert_eq!((status, &task["offset"]), (200, &json!(1)));
    let (_, list) = get(&b, "/api/tasks?prefix=t").await;
    assert_eq!(list["tasks"][0]["task_id"], "t");
    let (_, page) = get(&b, "/api/tasks/t/events?since=0").await;
    assert_eq!(page["events"].as_array().unwrap().len(), 1);
    let command = json!({"command": "cancel"});
    let (status, answer) = post(&b, "/api/tasks/t/commands", &command).await;
    assert_eq!((status, &answer["offset"]), (202, &json!(2)), "{answer}");
    let (status, _) = post(&b, "/api/tasks/none/commands", &command).await;
    assert_eq!(status, 404);

    // A dashboard on one node sees tasks that appear on the other node.
    let mut dashboard = TestClient::connect(b.ws("/ws")).await;
    dashboard
        .send(&json!({"type": "subscribe", "pattern": "*"}))
        .await;
    let known = loop {
        let message = dashboard.until("subscribed").await;
        if message["task_id"] == "t" {
            break message;
        }
    };
    assert_eq!(known["data"]["offset"], 2);
    let event = json!({"event_type": "log", "data": {"message": "hello"}});
    post(&a, "/api/tasks/new/events", &event).await;
    let seen = dashboard.until("log").await;
    assert_eq!(
        (&seen["task_id"], &seen["offset"]),
        (&json!("new"), &json!(1))
    );
}

#[tokio::test]
async fn readiness_follows_redis_and_watchers_stay() {
    let redis = RedisServer::start();
    let server = start(&redis).await;
    let ready = async |expected: u16| {
        while get(&server, "/readyz").await.0 != expected {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let in_time = |what| tokio::time::timeout(DEADLINE, what);
    in_time(ready(200)).await.unwrap();
    publish(&server, 1).await;
    let mut watcher = TestClient::connect(server.ws("/ws/tasks/t")).await;
    watcher.until("connection_established").await;
    redis.pause();
    in_time(ready(503)).await.unwrap();
    let event = json!({"event_type": "log", "data": {"message": "hello"}});
    let (status, problem) = post(&server, "/api/tasks/t/events", &event).await;
    assert_eq!((status, &problem["code"]), (503, &json!("unavailable")));
    redis.resume();
    in_time(ready(200)).await.unwrap();
    let (status, answer) = post(&server, "/api/tasks/t/events", &event).await;
    assert_eq!(status, 201, "{answer}");
    watcher
        .until_offset("t", answer["offset"].as_u64().unwrap())
        .await;
}

#[tokio::test]
async fn a_task_without_events_is_watched_on_any_node_without_gap_or_reset() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis).await, start(&redis).await);
    let mut early = TestClient::connect(a.ws("/ws/tasks/t")).await;
    let joined = early.until("connection_established").await;
    let position = |epoch: &Value, offset: u64| -> Position {
        let text = format!("{}:{offset}", epoch.as_str().unwrap());
        text.parse().unwrap()
    };
    let empty = position(&joined["data"]["epoch"], 0);
    publish(&b, 1).await;
    publish(&b, 2).await;
    // The watcher is told the epoch that the other node chose, and then gets the events.
    let begun = early.next().await.unwrap();
    assert_eq!(begun["event_type"], "subscribed", "{begun}");
    for offset in 1..=2 {
        let event = early.next().await.unwrap();
        assert_eq!(event["offset"], offset, "{event}");
    }
    let (_, task) = get(&b, "/api/tasks/t").await;
    let task: TaskSnapshot = serde_json::from_value(task).unwrap();
    early.assert_state(&task);

    // The position before the first event, and the one after it, are valid on either node.
    let after = position(&begun["data"]["epoch"], 1);
    for node in [&a, &b] {
        for since in [&empty, &after] {
            let mut checker = WireChecker::default();
            checker.ask_since("t", since.clone());
            let path = format!("/ws/tasks/t?since={since}");
            let mut back = TestClient::connect_as(node.ws(&path), checker).await;
            let joined = back.next().await.unwrap();
            assert_eq!(joined["data"]["recovered"], true, "{since}: {joined}");
            let event = back.next().await.unwrap();
            assert_eq!(event["offset"], since.offset.get() + 1, "{since}: {event}");
            back.until_offset("t", 2).await;
            back.assert_state(&task);
        }
    }
}

async fn until<T>(what: impl AsyncFnMut() -> Option<T>) -> T {
    let mut what = what;
    let found = async {
        loop {
            if let Some(found) = what().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, found)
        .await
        .expect("in time")
}

/// Posts again and again, until Redis has answered in time.
async fn posted(server: &TestServer, path: &str, body: &Value) -> (u16, Value) {
    until(async || {
        let answer = post(server, path, body).await;
        (answer.0 != 503).then_some(answer)
    })
    .await
}

fn asks(input: &str, expires_in_ms: Option<u64>) -> Value {
    json!({"event_type": "input_required", "event_id": input,
        "data": {"input_id": input, "prompt": "?", "expires_in_ms": expires_in_ms}})
}

#[tokio::test]
async fn of_two_answers_on_two_nodes_exactly_one_wins() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis).await, start(&redis).await);
    for round in 0..20 {
        let name = format!("q{round}");
        let (status, answer) = posted(&a, "/api/tasks/t/events", &asks(&name, None)).await;
        assert_eq!(status, 201, "{answer}");
        let path = format!("/api/tasks/t/inputs/{name}");
        let (values, body) = ([1, 2], |n: u64| json!({ "value": n }));
        let (one, two) = (body(values[0]), body(values[1]));
        let (first, second) = tokio::join!(post(&a, &path, &one), post(&b, &path, &two));
        // An answer without a confirmation may have been accepted.
        let taken = [&first, &second]
            .iter()
            .filter(|answer| answer.0 == 201)
            .count();
        let unsure = [&first, &second]
            .iter()
            .filter(|answer| answer.0 == 503)
            .count();
        assert!(taken <= 1 && taken + unsure >= 1, "{first:?} {second:?}");
        for node in [&a, &b] {
            let (status, problem) = posted(node, &path, &json!({ "value": 3 })).await;
            assert_eq!(
                (status, &problem["code"]),
                (409, &json!("already_answered"))
            );
        }
        let (_, page) = get(&b, "/api/tasks/t/events?since=0&type=input_provided").await;
        let events = page["events"].as_array().unwrap();
        assert_eq!(events.len(), round + 1, "{page}");
    }
    let (_, inbox) = get(&b, "/api/inputs").await;
    assert_eq!(inbox, json!({ "inputs": [], "next": null }));
}

#[tokio::test]
async fn a_question_expires_though_the_node_that_took_it_is_gone() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis).await, start(&redis).await);
    let (status, answer) = posted(&a, "/api/tasks/t/events", &asks("q", Some(1_500))).await;
    assert_eq!(status, 201, "{answer}");
    let (status, _) = posted(&a, "/api/tasks/t/events", &asks("open", None)).await;
    assert_eq!(status, 201);
    let (_, inbox) = get(&b, "/api/inputs?prefix=t").await;
    assert_eq!(inbox["inputs"].as_array().unwrap().len(), 2, "{inbox}");
    // The task has left the memory of every node.
    a.stop().await;
    let state = until(async || {
        let (_, state) = get(&b, "/api/tasks/t").await;
        (state["ended_inputs"][0]["input_id"] == "q").then_some(state)
    })
    .await;
    assert_eq!(state["ended_inputs"][0]["by"], Value::Null, "{state}");
    assert_eq!(state["pending_inputs"][0]["input_id"], "open");
    let (status, problem) = posted(&b, "/api/tasks/t/inputs/q", &json!({ "value": 1 })).await;
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("input_not_open")),
        "{problem}"
    );
}

#[tokio::test]
async fn a_node_decides_by_redis_and_not_by_its_own_old_copy() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis).await, start(&redis).await);
    let events = "/api/tasks/t/events";
    let event = |event_type: &str| json!({ "event_type": event_type, "data": { "message": "" } });
    // Each node gets a copy of the task by publishing to it. Nobody watches the task, so a node
    // hears nothing of what the other one publishes.
    assert_eq!(posted(&b, events, &event("log")).await.0, 201);
    assert_eq!(posted(&a, events, &asks("q", None)).await.0, 201);
    let (status, answer) = posted(&b, "/api/tasks/t/inputs/q", &json!({ "value": 1 })).await;
    assert_eq!(status, 201, "{answer}");
    let (status, problem) = posted(&a, "/api/tasks/t/inputs/q", &json!({ "value": 2 })).await;
    let taken = (409, &json!("already_answered"));
    assert_eq!((status, &problem["code"]), taken, "{problem}");
    let provided = json!({ "event_type": "input_provided",
        "data": { "input_id": "q", "value": 2, "by": "worker" } });
    let (status, problem) = posted(&a, events, &provided).await;
    assert_eq!((status, &problem["code"]), taken, "{problem}");
    // A run that another node has ended is followed by a new one.
    assert_eq!(posted(&a, events, &event("task_started")).await.0, 201);
    assert_eq!(posted(&b, events, &event("task_completed")).await.0, 201);
    let (status, started) = posted(&a, events, &event("task_started")).await;
    assert_eq!((status, &started["run"]), (201, &json!(2)), "{started}");
    let (status, report) = posted(
        &b,
        events,
        &json!({ "event_type": "progress_update", "run": 2,
        "data": { "progress": 10 } }),
    )
    .await;
    assert_eq!(status, 201, "{report}");
}
