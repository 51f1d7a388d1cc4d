//! Two servers over one Redis: both see everything, and one may be killed.

#![cfg(unix)]

use crate::support::{self, Server, tidings};
use serde_json::{Value, json};
use tidings_testkit::{RedisServer, TestClient, WireChecker, http_exchange};

fn start(redis: &RedisServer) -> Server {
    let url = redis.url();
    Server::start(&mut tidings(&["--listen", "127.0.0.1:0", "--redis", &url]))
}

async fn post(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let response = http_exchange(server.addr().parse().unwrap(), request.as_bytes()).await;
    (response.status, response.json())
}

async fn get(server: &Server, path: &str) -> (u16, Value) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let response = http_exchange(server.addr().parse().unwrap(), request.as_bytes()).await;
    (response.status, response.json())
}

async fn publish(server: &Server, n: u64) {
    let event = json!({"event_type": "agent_status_change", "event_id": n.to_string(),
        "data": {"agent_id": "a", "status": "working", "message": n.to_string()}});
    let published = tokio::time::timeout(support::DEADLINE, async {
        loop {
            let (status, answer) = post(server, "/api/tasks/t/events", &event).await;
            // A machine that is busy enough may keep Redis from answering in
            // time; a producer tries again, and its id makes that harmless.
            if status != 503 {
                return (status, answer);
            }
        }
    });
    let (status, answer) = published.await.expect("it is taken in time");
    assert_eq!((status, &answer["offset"]), (201, &json!(n)), "{answer}");
}

/// Reads up to this offset; the client's checker looks at all of it.
async fn watch_to(client: &mut TestClient, head: u64) {
    loop {
        let message = client.next().await.expect("the connection lives");
        if message["offset"] == head {
            return;
        }
    }
}

#[tokio::test]
async fn watchers_of_a_killed_server_go_on_at_the_other() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis), start(&redis));
    publish(&a, 1).await;
    let ws = |server: &Server, query: &str| format!("ws://{}/ws/tasks/t{query}", server.addr());
    let mut on_a = TestClient::connect(ws(&a, "")).await;
    let mut on_b = TestClient::connect(ws(&b, "")).await;
    let hello = on_b.until("connection_established").await;
    assert_eq!(
        hello["data"]["offset"], 1,
        "what was before is there: {hello}"
    );
    for n in 2..=20 {
        publish(if n % 3 == 0 { &b } else { &a }, n).await;
    }
    watch_to(&mut on_a, 20).await;
    watch_to(&mut on_b, 20).await;
    let position = on_a.checker().task("t").unwrap().position().unwrap();

    a.signal("KILL");
    while on_a.next().await.is_some() {}
    publish(&b, 21).await;
    publish(&b, 22).await;
    let mut checker = WireChecker::default();
    checker.ask_since("t", position.clone());
    let since = format!("?since={position}");
    let mut back = TestClient::connect_as(ws(&b, &since), checker).await;
    let hello = back.until("connection_established").await;
    assert_eq!(hello["data"]["recovered"], true, "{hello}");
    watch_to(&mut back, 22).await;
    watch_to(&mut on_b, 22).await;
    publish(&b, 23).await;
    watch_to(&mut back, 23).await;
    for client in [&on_b, &back] {
        assert!(
            client
                .checker()
                .task("t")
                .unwrap()
                .checker
                .gaps()
                .is_empty()
        );
    }
}

#[tokio::test]
async fn any_server_knows_every_task() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis), start(&redis));
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

    // A dashboard on one sees what appears through the other.
    let mut dashboard = TestClient::connect(format!("ws://{}/ws", b.addr())).await;
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
    let server = start(&redis);
    let ready = async |expected: u16| {
        while get(&server, "/readyz").await.0 != expected {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let in_time = |what| tokio::time::timeout(support::DEADLINE, what);
    in_time(ready(200)).await.unwrap();
    publish(&server, 1).await;
    let mut watcher = TestClient::connect(format!("ws://{}/ws/tasks/t", server.addr())).await;
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
    watch_to(&mut watcher, answer["offset"].as_u64().unwrap()).await;
}
