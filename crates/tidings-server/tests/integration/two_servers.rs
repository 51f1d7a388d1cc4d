//! Two servers over one Redis. The test kills one server. The tests of `tidings-redis` check the
//! knowledge that two nodes have of each other.

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

async fn publish(server: &Server, n: u64) {
    let event = json!({"event_type": "agent_status_change", "event_id": n.to_string(),
        "data": {"agent_id": "a", "status": "working", "message": n.to_string()}});
    let published = tokio::time::timeout(support::DEADLINE, async {
        loop {
            let (status, answer) = post(server, "/api/tasks/t/events", &event).await;
            // On a busy machine Redis may not answer in time. The producer retries, and the event
            // id makes that safe.
            if status != 503 {
                return (status, answer);
            }
        }
    });
    let (status, answer) = published.await.expect("it is taken in time");
    assert_eq!((status, &answer["offset"]), (201, &json!(n)), "{answer}");
}

/// Reads up to this offset. The client's checker checks everything.
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
