//! `--data-dir`: the data that a restart finds, and directories that are refused.
#![cfg(unix)]

use std::path::Path;

use crate::support::{Server, refusal, tidings};
use serde_json::{Value, json};
use tidings_testkit::{TestClient, WireChecker, http_exchange};

fn start(data: &Path, sync: &str) -> Server {
    let data = data.to_str().unwrap();
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        data,
        "--sync",
        sync,
    ];
    Server::start(&mut tidings(&arguments))
}

async fn publish(addr: &str, body: &Value) -> Value {
    let body = body.to_string();
    let request = format!(
        "POST /api/tasks/t/events HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let response = http_exchange(addr.parse().unwrap(), request.as_bytes()).await;
    assert_eq!(response.status, 201, "{}", response.text());
    response.json()
}

/// Watches, publishes, kills the server and reconnects. Returns the greeting and the client.
async fn back_after_a_kill(sync: &str) -> (Value, TestClient) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = start(&data, sync);
    let url = format!("ws://{}/ws/tasks/t", server.addr());
    let mut client = TestClient::connect(url).await;
    for n in 1..=20 {
        let event = json!({"event_type": "progress_update", "data": {"progress": n}});
        publish(server.addr(), &event).await;
    }
    client.until_offset("t", 20).await;
    let position = client.checker().task("t").unwrap().position().unwrap();
    drop(server); // With SIGKILL.

    let server = start(&data, sync);
    let mut checker = WireChecker::default();
    checker.ask_since("t", position.clone());
    let url = format!("ws://{}/ws/tasks/t?since={position}", server.addr());
    let mut client = TestClient::connect_as(url, checker).await;
    let hello = client.until("connection_established").await;
    if sync == "every-commit" {
        let event = json!({"event_type": "progress_update", "data": {"progress": 99}});
        let next = publish(server.addr(), &event).await;
        assert_eq!(next["offset"], 21);
        client.until_offset("t", 21).await;
    } else {
        let reset = client.until("reset").await;
        assert_eq!(reset["data"]["reason"], "epoch_changed", "{reset}");
    }
    (hello, client)
}

#[tokio::test]
async fn a_watcher_goes_on_after_a_kill_in_every_commit() {
    let (hello, client) = back_after_a_kill("every-commit").await;
    assert_eq!(hello["data"]["recovered"], true, "{hello}");
    let task = client.checker().task("t").unwrap();
    assert_eq!(task.checker.gaps(), [], "and no gap");
    assert_eq!(task.checker.delivered(), 1);
}

#[tokio::test]
async fn a_watcher_is_told_after_a_kill_in_interval() {
    let (hello, client) = back_after_a_kill("interval:50").await;
    assert_eq!(hello["data"]["recovered"], false, "{hello}");
    let task = client.checker().task("t").unwrap();
    assert_eq!(task.checker.gaps(), [], "the reset says it");
    assert!(task.snapshot.is_some(), "with the state");
}

#[test]
fn a_second_server_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let _first = start(&data, "os");
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        data.to_str().unwrap(),
    ];
    let said = refusal_of(&arguments, 75);
    assert!(said.contains("in use by another process"), "{said}");
}

#[test]
fn a_directory_of_something_else_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("thesis.txt"), "all of it").unwrap();
    let arguments = ["--data-dir", directory.path().to_str().unwrap()];
    let said = refusal_of(&arguments, 65);
    assert!(said.contains("name an empty or a new one"), "{said}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

fn refusal_of(arguments: &[&str], code: i32) -> String {
    // The refusal is on standard error even if logging is off.
    let mut command = tidings(arguments);
    refusal(command.args(["--log", "off"]), code)
}

#[test]
fn a_mode_that_is_none_is_refused() {
    let said = refusal_of(&["--sync", "sometimes"], 64);
    assert!(said.contains("every-commit"), "{said}");
}
