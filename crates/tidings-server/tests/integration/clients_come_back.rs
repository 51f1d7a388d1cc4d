//! With `--data-dir`, a client gets its own cursors and its inbox back after a restart of the
//! server.
#![cfg(unix)]

use std::path::Path;

use crate::support::{Server, tidings};
use serde_json::{Value, json};
use tidings_testkit::{TestClient, http_exchange};

fn start(data: &Path) -> Server {
    let data = data.to_str().unwrap();
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        data,
        "--drain-window",
        "0s",
    ];
    Server::start(&mut tidings(&arguments))
}

async fn post(addr: &str, path: &str, body: &Value) -> Value {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let response = http_exchange(addr.parse().unwrap(), request.as_bytes()).await;
    assert!(response.status < 300, "{path}: {}", response.text());
    response.json()
}

async fn step(addr: &str, task: &str, n: u64) {
    let event = json!({"event_type": "custom.step", "data": {"n": n}});
    post(addr, &format!("/api/tasks/{task}/events"), &event).await;
}

#[tokio::test]
async fn to_its_cursors_and_its_inbox() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = start(&data);
    let addr = server.addr().to_owned();
    for task in ["a", "b"] {
        step(&addr, task, 1).await;
    }
    let mut client = TestClient::connect(format!("ws://{addr}/ws/tasks/a?client_id=me")).await;
    let hello = client.until("connection_established").await;
    let token = hello["data"]["resume_token"].as_str().unwrap().to_owned();
    client
        .send(&json!({"type": "subscribe", "ref": 1, "task_id": "b"}))
        .await;
    client.until("subscribed").await;
    for task in ["a", "b"] {
        step(&addr, task, 2).await;
        client.until_offset(task, 2).await;
    }
    let message = json!({"event_type": "note", "data": {"n": 1}});
    post(&addr, "/api/connections/me/messages", &message).await;
    client.until("personal_message").await;
    // The client disconnects. It receives the events that follow when it is back.
    let before = client.cut();
    until_away(&addr).await;
    step(&addr, "b", 3).await;
    let message = json!({"event_type": "note", "data": {"n": 2}});
    post(&addr, "/api/connections/me/messages", &message).await;
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));

    let server = start(&data);
    let addr = server.addr().to_owned();
    step(&addr, "a", 3).await;
    let stranger = format!("ws://{addr}/ws?client_id=me");
    assert!(
        tokio_tungstenite::connect_async(stranger).await.is_err()
            || refused(&format!("ws://{addr}/ws?client_id=me")).await,
        "without its token it is somebody else"
    );
    let url = format!("ws://{addr}/ws/tasks/a?client_id=me&resume_token={token}");
    let mut client = TestClient::connect_as(url, before.resumed(|_| true)).await;
    let hello = client.until("connection_established").await;
    assert_eq!(hello["data"]["recovered"], true, "{hello}");
    let note = client.until("personal_message").await;
    assert_eq!(note["data"]["data"]["n"], 2, "{note}");
    for task in ["a", "b"] {
        client.until_offset(task, 3).await;
        let seen = client.checker().task(task).unwrap();
        assert_eq!(seen.checker.gaps(), [], "{task}");
        assert_eq!(seen.checker.delivered(), 1, "{task}: what it had not had");
    }
}

/// Returns whether a connection is refused because the client id belongs to another client.
async fn refused(url: &str) -> bool {
    let mut stranger = TestClient::connect(url).await;
    stranger.close_code().await == Some(4403)
}

/// Waits until the server has noticed that the client disconnected.
async fn until_away(addr: &str) {
    let request = format!("GET /api/stats HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    let waited = tokio::time::timeout(tidings_testkit::DEADLINE, async {
        loop {
            let stats = http_exchange(addr.parse().unwrap(), request.as_bytes()).await;
            if stats.json()["connections"]["away"] == 1 {
                return;
            }
        }
    });
    waited.await.expect("it is away in time");
}
