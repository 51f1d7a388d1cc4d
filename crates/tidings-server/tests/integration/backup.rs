//! `tidings backup` and `tidings inspect` with the real binary: a copy of a server under full load,
//! and a server started from that copy.
#![cfg(unix)]

use std::path::Path;

use crate::support::{Server, finish, refusal, tidings};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tidings_protocol::{Event, Payload, TaskSnapshot};
use tidings_testkit::{DEADLINE, TestClient, WireChecker, http_exchange};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

const TASKS: usize = 3;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn start(data: &Path, sync: &str, more: &[&str]) -> Server {
    let arguments = ["--listen", "127.0.0.1:0", "--data-dir", text(data)];
    Server::start(tidings(&arguments).args(["--sync", sync]).args(more))
}

/// Publishes as fast as the server acknowledges, until the connection breaks.
async fn publish(addr: String, task: String) {
    let (mut stream, _) = tokio_tungstenite::connect_async(format!("ws://{addr}/ws"))
        .await
        .unwrap();
    let mut count = 0_u64;
    let mut waiting = 0;
    loop {
        while waiting < 32 {
            count += 1;
            let event = json!({
                "type": "publish", "ref": count, "task_id": task, "event_type": "progress_update",
                "data": {"progress": count % 100, "message": "x".repeat(200)},
            });
            if stream.send(Message::text(event.to_string())).await.is_err() {
                return;
            }
            waiting += 1;
        }
        let answer = tokio::time::timeout(DEADLINE, stream.next()).await;
        match answer.expect("an answer in time") {
            Some(Ok(Message::Text(text))) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                waiting -= i32::from(message["event_type"] == "ack");
                assert_ne!(message["event_type"], "error", "{message}");
            }
            Some(Ok(_)) => {}
            _ => return,
        }
    }
}

async fn get(addr: &str, path: &str) -> Value {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    let response = http_exchange(addr.parse().unwrap(), request.as_bytes()).await;
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    response.json()
}

/// Returns the state as the server has it, and the state computed from its events.
async fn states(addr: &str, task: &str) -> (TaskSnapshot, TaskSnapshot) {
    let state = get(addr, &format!("/api/tasks/{task}")).await;
    let state: TaskSnapshot = serde_json::from_value(state).unwrap();
    let mut replay = TaskSnapshot::new(state.task_id.clone(), state.epoch.clone());
    let mut since = "0".to_owned();
    loop {
        let page = format!("/api/tasks/{task}/events?since={since}&limit=1000");
        let page = get(addr, &page).await;
        assert!(page["gap"].is_null(), "{}", page["gap"]);
        let events = page["events"].as_array().unwrap();
        for event in events {
            let event: Event = serde_json::from_value(event.clone()).unwrap();
            assert_eq!(event.first_offset(), replay.offset.next(), "no hole");
            let payload = Payload::of(&event).unwrap();
            replay.apply(&payload, event.offset, event.timestamp);
        }
        if events.is_empty() {
            return (state, replay);
        }
        since = page["next"].as_str().unwrap().to_owned();
    }
}

/// Returns the output of a command, which must succeed.
async fn printed(arguments: Vec<String>) -> String {
    let run = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        finish(&mut tidings(&arguments))
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().copied().map(str::to_owned).collect()
}

async fn restored_after_a_backup_under_load(sync: &str) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let backups = directory.path().join("backups");
    let server = start(&data, sync, &["--backup-dir", text(&backups)]);
    let addr = server.addr().to_owned();
    let mut publishing = JoinSet::new();
    for n in 0..TASKS {
        publishing.spawn(publish(addr.clone(), format!("t{n}")));
    }
    let mut client = TestClient::connect(format!("ws://{addr}/ws/tasks/t0")).await;
    client.until_offset("t0", 500).await;

    let url = format!("http://{addr}");
    let making = tokio::spawn(printed(words(&["backup", "--url", &url])));
    while !making.is_finished() {
        client.next().await.expect("publishers and watchers go on");
    }
    let said = making.await.unwrap();
    let (made, counts) = said.trim().split_once(": ").unwrap();
    assert!(counts.starts_with("3 tasks, "), "{said}");
    assert_eq!(Path::new(made).parent(), Some(backups.as_path()), "{said}");

    // The restored server must not reuse the offsets of events seen after the backup.
    let seen = client.checker().task("t0").unwrap().position().unwrap();
    client.until_offset("t0", seen.offset.get() + 500).await;
    let position = client.checker().task("t0").unwrap().position().unwrap();
    drop(server); // With SIGKILL.
    publishing.join_all().await;

    let found = printed(words(&["inspect", made, "--json"])).await;
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["left"], "backup");
    assert_eq!(found["epoch_goes_on"], false);
    assert_eq!(found["tasks"].as_array().unwrap().len(), TASKS);
    let first = &found["tasks"][0];
    assert_eq!(first["task_id"], "t0");
    let head = first["offset"].as_u64().unwrap();
    assert!(
        head > 0 && head < position.offset.get(),
        "{head} {position}"
    );
    let told = printed(words(&["inspect", made])).await;
    assert!(told.starts_with("left as a backup"), "{told}");
    assert!(told.contains(&format!(":{head}\n")), "{told}");

    let server = start(Path::new(made), sync, &[]);
    let addr = server.addr();
    let mut checker = WireChecker::default();
    checker.ask_since("t0", position.clone());
    let url = format!("ws://{addr}/ws/tasks/t0?since={position}");
    let mut client = TestClient::connect_as(url, checker).await;
    let hello = client.until("connection_established").await;
    assert_eq!(hello["data"]["recovered"], false, "{hello}");
    let reset = client.until("reset").await;
    assert_eq!(reset["data"]["reason"], "epoch_changed", "{reset}");
    for n in 0..TASKS {
        let (state, replay) = states(addr, &format!("t{n}")).await;
        assert_eq!(state, replay, "its state is its events'");
        assert_ne!(state.epoch, position.epoch);
    }
    let publishing = tokio::spawn(publish(addr.to_owned(), "t0".to_owned()));
    client.until_offset("t0", head + 200).await;
    let task = client.checker().task("t0").unwrap();
    assert_ne!(task.epoch.as_ref(), Some(&position.epoch));
    drop(server);
    publishing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_under_load_starts_in_every_commit() {
    restored_after_a_backup_under_load("every-commit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_under_load_starts_in_interval() {
    restored_after_a_backup_under_load("interval:50").await;
}

#[test]
fn a_directory_that_a_server_has_is_neither_copied_nor_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let copy = directory.path().join("copy");
    let server = start(&data, "os", &[]);
    let url = format!("http://{}", server.addr());
    for arguments in [
        &["inspect", text(&data)][..],
        &["backup", "--data-dir", text(&data), text(&copy)],
    ] {
        let said = refusal(&mut tidings(arguments), 75);
        assert!(said.contains("tidings backup --url"), "{said}");
    }
    // A server without a directory for backups says which option it needs.
    let said = refusal(&mut tidings(&["backup", "--url", &url]), 69);
    assert!(said.contains("--backup-dir"), "{said}");

    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let output = finish(&mut tidings(&[
        "backup",
        "--data-dir",
        text(&data),
        text(&copy),
    ]));
    assert_eq!(output.status.code(), Some(0));
    let said = refusal(
        &mut tidings(&["backup", "--data-dir", text(&data), text(&copy)]),
        73,
    );
    assert!(said.contains("already"), "{said}");
    let output = finish(&mut tidings(&["inspect", text(&data)]));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        told.starts_with("left by an orderly stop, sync os, epochs go on"),
        "{told}"
    );
    refusal(
        &mut tidings(&["inspect", text(&directory.path().join("none"))]),
        66,
    );
}

#[test]
fn backups_without_a_data_directory_are_refused() {
    let mut command = tidings(&["--backup-dir", "backups", "--log", "off"]);
    let said = refusal(&mut command, 64);
    assert!(said.contains("--data-dir"), "{said}");
}
