//! How the server sees spans and events.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use tidings_client::protocol::{EventType, TaskId, TaskStatus};
use tidings_client::{Client, Start, Update};
use tidings_testkit::{DEADLINE, TestConfig, TestServer};
use tidings_tracing::TaskLayer;
use tracing_subscriber::layer::SubscriberExt as _;

#[tokio::test]
async fn a_span_is_a_task_with_steps_progress_log_and_outcome() {
    let server = TestServer::start(TestConfig::default()).await;
    let client = Client::connect(format!("http://{}", server.addr()))
        .await
        .unwrap();
    let subscriber = tracing_subscriber::registry().with(TaskLayer::new(client.clone()));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("nobody's business");
        let task = tracing::info_span!("render", tidings.task = "render-7").entered();
        let step = tracing::info_span!("lighting").entered();
        tracing::info!(progress = 40, "two lamps");
        tracing::warn!(lamp = 3, "a lamp is dim");
        drop(step);
        drop(task);
        let _failing = tracing::info_span!("render", tidings.task = "render-8").entered();
        tracing::error!("no lamps");
    });
    assert_eq!(client.flush(DEADLINE).await, 0);

    let id: TaskId = "render-7".parse().unwrap();
    let mut watch = client.watch_from(id.clone(), Start::Retained);
    let mut events = Vec::new();
    while events.len() < 6 {
        if let Update::Event(event) = watch.recv().await.unwrap().unwrap() {
            events.push((event.event_type.clone(), event.data.get()));
        }
    }
    let types: Vec<_> = events
        .iter()
        .map(|(event_type, _)| event_type.clone())
        .collect();
    assert_eq!(
        types,
        [
            EventType::TaskStarted,
            EventType::StepStarted,
            EventType::ProgressUpdate,
            EventType::Log,
            EventType::StepCompleted,
            EventType::TaskCompleted,
        ]
    );
    assert_eq!(events[1].1["name"], "lighting");
    assert_eq!(events[2].1["progress"], 40);
    assert_eq!(events[2].1["message"], "two lamps");
    assert_eq!(events[3].1["message"], "a lamp is dim lamp=3");
    assert_eq!(events[3].1["level"], "warn");

    let failed = server.bus().snapshot(&"render-8".parse().unwrap()).unwrap();
    assert_eq!(failed.status, TaskStatus::Failed);
    assert_eq!(failed.error.as_ref().unwrap().message, "no lamps");
    client.close(Duration::from_secs(1)).await;
}

async fn reported(work: impl FnOnce()) -> (TestServer, Client) {
    let server = TestServer::start(TestConfig::default()).await;
    let client = Client::connect(format!("http://{}", server.addr()))
        .await
        .unwrap();
    let subscriber = tracing_subscriber::registry().with(TaskLayer::new(client.clone()));
    tracing::subscriber::with_default(subscriber, work);
    assert_eq!(client.flush(DEADLINE).await, 0);
    (server, client)
}

#[tokio::test]
async fn a_panic_inside_a_span_is_the_failure_of_the_task_and_of_its_step() {
    let (server, _client) = reported(|| {
        let work = || {
            let _task = tracing::info_span!("render", tidings.task = "render-7").entered();
            let _step = tracing::info_span!("lighting").entered();
            panic!("as it may happen");
        };
        assert!(std::panic::catch_unwind(work).is_err());
    })
    .await;
    let state = server.bus().snapshot(&"render-7".parse().unwrap()).unwrap();
    assert_eq!(state.status, TaskStatus::Failed);
    assert_eq!(
        state.error.as_ref().unwrap().code.as_deref(),
        Some("panicked")
    );
    let events = server
        .bus()
        .history(&state.task_id, None, 100)
        .await
        .unwrap()
        .events;
    let failed = |event: &tidings_bus::EventRecord| *event.event_type() == EventType::StepFailed;
    assert!(events.iter().any(failed));
}

#[tokio::test]
async fn fields_that_are_recorded_later_count() {
    let (server, _client) = reported(|| {
        let span = tracing::info_span!(
            "render",
            tidings.task = tracing::field::Empty,
            progress = tracing::field::Empty
        );
        span.record("tidings.task", "render-7");
        span.record("progress", 40.0);
        span.in_scope(|| tracing::error!("no lamps"));
    })
    .await;
    let state = server.bus().snapshot(&"render-7".parse().unwrap()).unwrap();
    assert_eq!(
        (state.status, state.progress),
        (TaskStatus::Failed, Some(40.0))
    );
}

#[tokio::test]
async fn a_flood_of_spans_does_not_keep_the_task_from_ending() {
    let (server, client) = reported(|| {
        let _task = tracing::info_span!("render", tidings.task = "render-7").entered();
        for _ in 0..20_000 {
            let _step = tracing::info_span!("lighting").entered();
        }
    })
    .await;
    let state = server.bus().snapshot(&"render-7".parse().unwrap()).unwrap();
    assert_eq!(state.status, TaskStatus::Completed);
    client.close(Duration::from_secs(1)).await;
}
