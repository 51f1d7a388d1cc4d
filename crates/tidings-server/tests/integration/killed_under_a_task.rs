//! A server is killed while a task runs, and restarts without its memory.
#![cfg(unix)]

use std::time::Duration;

use crate::support::{DEADLINE, Server, tidings};
use serde_json::Value;
use tidings_client::{Client, ClientConfig};
use tidings_testkit::http_exchange;

fn start(listen: &str) -> Server {
    Server::start(&mut tidings(&["--listen", listen, "--drain-window", "0s"]))
}

async fn get(addr: &str, path: &str) -> Value {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    let response = http_exchange(addr.parse().unwrap(), request.as_bytes()).await;
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    response.json()
}

#[tokio::test]
async fn its_end_is_in_the_log_once_and_after_its_start() {
    let server = start("127.0.0.1:0");
    let addr = server.addr().to_owned();
    let pause = Duration::from_millis(10);
    let client = Client::builder(format!("http://{addr}"))
        .config(ClientConfig::default().backoff(pause, 5 * pause))
        .connect()
        .await
        .unwrap();
    let task = client.task("render-7").name("Render").start().await;
    let task = task.unwrap();
    task.progress(40.0, "lighting");
    assert_eq!(client.flush(DEADLINE).await, 0);
    drop(server); // With SIGKILL.

    task.progress(80.0, "shadows");
    let ending = task.complete(None);
    let server = start(&addr);
    let ended = ending.await.unwrap();
    assert!(ended.losses.is_empty(), "{:?}", ended.losses);

    let state = get(server.addr(), "/api/tasks/render-7").await;
    assert_eq!(
        (&state["status"], &state["run"]),
        (&"completed".into(), &1.into())
    );
    let page = get(server.addr(), "/api/tasks/render-7/events?since=0").await;
    let events = page["events"].as_array().unwrap().iter();
    let types: Vec<_> = events
        .map(|event| event["event_type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["task_started", "progress_update", "task_completed"]);
}
