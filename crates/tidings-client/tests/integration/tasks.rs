//! Tests tasks that a program performs, as a server sees them.

use std::time::Duration;

use tidings_bus::BusConfig;
use tidings_client::protocol::{ErrorCode, NewEvent, TaskId, TaskSnapshot, TaskStatus};
use tidings_client::{Client, ClientConfig, ConnectError, ReceiptError};
use tidings_testkit::{DEADLINE, TestConfig, TestServer, eventually};

async fn server() -> (TestServer, Client) {
    let server = TestServer::start(TestConfig::default()).await;
    let client = Client::connect(url(&server)).await.unwrap();
    (server, client)
}

fn url(server: &TestServer) -> String {
    format!("http://{}", server.addr())
}

fn state(server: &TestServer, id: &str) -> Option<TaskSnapshot> {
    let id: TaskId = id.parse().unwrap();
    let state = server.bus().snapshot(&id)?;
    Some(TaskSnapshot::clone(&state))
}

#[tokio::test]
async fn a_worker_whose_start_is_refused_does_not_touch_the_run_of_another() {
    let (server, client) = server().await;
    let first = client.task("render-7").start().await.unwrap();
    let second = client.task("render-7").start_now();
    second.progress(90.0, "not mine");
    let refused = second.complete(None).await.unwrap_err();
    let running_already = matches!(
        refused,
        ReceiptError::Refused {
            code: ErrorCode::InvalidTransition,
            ..
        }
    );
    assert!(running_already, "{refused}");
    drop(client.task("render-7").start_now());
    assert_eq!(client.flush(DEADLINE).await, 0);
    let running = state(&server, "render-7").unwrap();
    assert_eq!(
        (running.status, running.progress),
        (TaskStatus::Running, None)
    );
    first.complete(None).await.unwrap();
}

#[tokio::test]
async fn a_report_that_is_refused_is_told_at_the_end_and_ends_nothing() {
    let (server, client) = server().await;
    let task = client.task("render-7").start().await.unwrap();
    task.progress(500.0, None);
    task.log("a line");
    let wrong = task.try_publish(NewEvent::progress(-1.0, None));
    assert!(matches!(wrong.await, Err(ReceiptError::Refused { .. })));
    let ended = task.complete(None).await.unwrap();
    assert_eq!(ended.losses.refused_count, 2);
    let state = state(&server, "render-7").unwrap();
    assert_eq!(
        (state.status, state.offset.get()),
        (TaskStatus::Completed, 3)
    );
}

/// Returns a client without a server, whose buffer is full.
fn full(addr: std::net::SocketAddr) -> Client {
    let config = ClientConfig::default()
        .pending(2, 1 << 20)
        .backoff(Duration::from_millis(10), Duration::from_millis(50));
    let client = Client::builder(format!("http://{addr}")).config(config);
    client.build().unwrap()
}

#[tokio::test]
async fn an_end_that_nobody_waits_for_any_more_is_reported_all_the_same() {
    let server = TestServer::start(TestConfig::default()).await;
    let addr = server.addr();
    server.stop().await;
    let client = full(addr);
    let task = client.task("render-7").start_now();
    for line in 0..10 {
        task.log(line.to_string());
    }
    // The program stops waiting. The end is still sent.
    let end = tokio::time::timeout(Duration::ZERO, task.complete(None)).await;
    assert!(end.is_err());
    drop(client.task("render-8").start_now());

    let config = TestConfig {
        bus: BusConfig::default(),
        ..TestConfig::default()
    };
    let server = TestServer::start_at(config, addr).await;
    eventually("both have ended", || {
        let ended = |id| state(&server, id).is_some_and(|state| state.status.is_terminal());
        ended("render-7") && ended("render-8")
    })
    .await;
    assert_eq!(
        state(&server, "render-7").unwrap().status,
        TaskStatus::Completed
    );
    let dropped = state(&server, "render-8").unwrap();
    assert_eq!(dropped.error.unwrap().code.as_deref(), Some("dropped"));
}

#[tokio::test]
async fn a_server_that_comes_back_empty_has_the_task_completed_once() {
    let (server, _) = server().await;
    let config =
        ClientConfig::default().backoff(Duration::from_millis(10), Duration::from_millis(50));
    let client = Client::builder(url(&server))
        .config(config)
        .connect()
        .await
        .unwrap();
    let task = client
        .task("render-7")
        .name("Render")
        .start()
        .await
        .unwrap();
    task.progress(40.0, "lighting");
    assert_eq!(client.flush(DEADLINE).await, 0);
    let addr = server.addr();
    server.crash().await;
    task.progress(80.0, None);
    let ending = task.complete(None);
    let config = TestConfig {
        bus: BusConfig::default(),
        ..TestConfig::default()
    };
    let server = TestServer::start_at(config, addr).await;
    let ended = ending.await.unwrap();
    assert!(ended.losses.is_empty(), "{:?}", ended.losses);
    let id: TaskId = "render-7".parse().unwrap();
    let page = server
        .bus()
        .history(&id, Some(tidings_client::protocol::Since::Start), 100)
        .await;
    let types: Vec<_> = page
        .unwrap()
        .events
        .iter()
        .map(|event| event.event_type().to_string())
        .collect();
    assert_eq!(types, ["task_started", "progress_update", "task_completed"]);
    let state = state(&server, "render-7").unwrap();
    assert_eq!((state.status, state.run), (TaskStatus::Completed, 1));
}

#[tokio::test]
async fn an_error_goes_into_the_log_with_its_causes_and_its_code() {
    let (server, client) = server().await;
    let task = client.task("render-7").start().await.unwrap();
    let cause = "x".parse::<u8>().unwrap_err();
    task.fail(std::io::Error::other(cause)).await.unwrap();
    let error = state(&server, "render-7").unwrap().error.unwrap();
    assert_eq!(error.message, "invalid digit found in string");
    let task = client.task("render-8").start().await.unwrap();
    task.fail("out of lamps").await.unwrap();
    assert_eq!(
        state(&server, "render-8").unwrap().error.unwrap().message,
        "out of lamps"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_at_once() {
    let server = TestServer::start(TestConfig::default()).await;
    let url = url(&server);
    server.stop().await;
    let error = Client::connect(url.clone()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Lost { .. }), "{error}");
    assert!(error.to_string().contains(&url), "{error}");
}
