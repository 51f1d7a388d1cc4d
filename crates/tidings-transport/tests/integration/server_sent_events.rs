//! The same messages as server-sent events, as a browser's `EventSource` reads them.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_bus::{EventBus, LogLimits};
use tidings_protocol::{NewEvent, Position, TaskId};
use tidings_testkit::{EventStream, TestConfig, TestServer, WireChecker, eventually};

fn task() -> TaskId {
    TaskId::new("t").unwrap()
}

async fn publish(bus: &EventBus, count: u64) {
    for _ in 0..count {
        let event = NewEvent::output_delta("o", "one line\nand another");
        bus.publish(&task(), event).await.unwrap();
    }
}

fn position(server: &TestServer, offset: u64) -> String {
    let epoch = server.bus().snapshot(&task()).unwrap().epoch.clone();
    format!("{epoch}:{offset}")
}

/// Opens a stream of a task at the position that the client has.
async fn open(server: &TestServer, query: &str, last: Option<&str>) -> EventStream {
    let headers = last.map(|id| format!("Last-Event-ID: {id}\r\n"));
    let path = format!("/api/tasks/t/events{query}");
    EventStream::open(server.addr(), &path, &headers.unwrap_or_default()).await
}

/// Compares the folded messages of a stream with the server's state.
fn assert_state(checker: &WireChecker, server: &TestServer) {
    let truth = server.bus().snapshot(&"t".parse().unwrap()).unwrap();
    if let Err(violation) = checker.compare(&truth) {
        panic!("{violation}");
    }
}

#[tokio::test]
async fn a_stream_greets_first_and_then_brings_every_event_with_its_position() {
    let server = TestServer::start(TestConfig::default()).await;
    publish(server.bus(), 2).await;
    let mut stream = open(&server, "", None).await;
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_eq!(
        stream.header("cache-control"),
        Some("no-cache, no-transform")
    );
    let hello = stream.next().await.unwrap();
    assert_eq!(hello.retry, Some(2_000), "how long to wait is said first");
    assert_eq!(hello.id, None, "control messages are no position");
    let mut checker = WireChecker::default();
    let greeting = checker.message(&hello.data).unwrap();
    assert_eq!(greeting["event_type"], "connection_established");
    assert_eq!(greeting["data"]["offset"], 2);
    publish(server.bus(), 5).await;
    for offset in 3..=7 {
        let event = stream.next().await.unwrap();
        checker.message(&event.data).unwrap();
        assert_eq!(event.id, Some(position(&server, offset)));
    }
    assert!(
        !stream.seen().contains("event:"),
        "`onmessage` sees everything"
    );
    assert_state(&checker, &server);
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn the_last_event_id_resumes_exactly() {
    let server = TestServer::start(TestConfig::default()).await;
    publish(server.bus(), 9).await;
    let at = position(&server, 4);
    // The header is newer than the position in the URL that the browser reconnects to.
    let old = position(&server, 1);
    let mut stream = open(&server, &format!("?since={old}"), Some(&at)).await;
    let mut checker = WireChecker::default();
    checker.ask_since("t", at.parse::<Position>().unwrap());
    let hello = checker.message(&stream.next().await.unwrap().data).unwrap();
    assert_eq!(hello["data"]["recovered"], true);
    for offset in 5..=9 {
        let event = stream.next().await.unwrap();
        checker.message(&event.data).unwrap();
        assert_eq!(event.id, Some(position(&server, offset)));
    }
    publish(server.bus(), 1).await;
    checker.message(&stream.next().await.unwrap().data).unwrap();
    assert_eq!(checker.task("t").unwrap().checker.delivered(), 6);
    assert_state(&checker, &server);
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn what_retention_took_is_named_by_a_gap() {
    let mut config = TestConfig::default();
    let limits = LogLimits {
        max_events: 10,
        max_bytes: 1 << 20,
    };
    config.bus = config.bus.log_limits(limits);
    let server = TestServer::start(config).await;
    // A run of deltas would count as one event.
    for n in 0..30 {
        let event = NewEvent::log(n.to_string());
        server.bus().publish(&task(), event).await.unwrap();
    }
    let at = position(&server, 5);
    let mut stream = open(&server, "", Some(&at)).await;
    let mut checker = WireChecker::default();
    checker.ask_since("t", at.parse::<Position>().unwrap());
    let hello = checker.message(&stream.next().await.unwrap().data).unwrap();
    assert_eq!(hello["data"]["recovered"], false);
    let told = stream.next().await.unwrap();
    let gap = checker.message(&told.data).unwrap();
    assert_eq!((gap["event_type"].as_str(), told.id), (Some("gap"), None));
    assert_eq!(
        (&gap["data"]["from"], &gap["data"]["to"]),
        (&json!(6), &json!(20))
    );
    assert_eq!(gap["data"]["reason"], "expired");
    for _ in 21..=30 {
        checker.message(&stream.next().await.unwrap().data).unwrap();
    }
    assert_eq!(checker.task("t").unwrap().checker.expected(), Some(31));
    assert_state(&checker, &server);
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn comments_keep_an_idle_stream_awake() {
    let mut config = TestConfig::default();
    config.connections = config
        .connections
        .heartbeat_interval(Duration::from_millis(50));
    let server = TestServer::start(config).await;
    publish(server.bus(), 3).await;
    let mut stream = open(&server, "", None).await;
    stream.next().await.unwrap();
    for _ in 0..4 {
        // The client need not answer: there are far more heartbeats than a WebSocket may leave
        // unanswered.
        let beat = stream.next().await.unwrap();
        assert!(beat.comments > 0, "a comment goes before it");
        assert_eq!(beat.id, None);
        let message: Value = serde_json::from_str(&beat.data).unwrap();
        assert_eq!(message["event_type"], "heartbeat");
        assert_eq!(message["data"]["heads"], json!({ "t": 3 }));
    }
    assert_eq!(server.manager().stats().timed_out, 0);
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_goes_frees_everything() {
    let server = TestServer::start(TestConfig::default()).await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        let mut stream = open(&server, "", None).await;
        stream.next().await.unwrap();
        streams.push(stream);
    }
    let info = server.manager().connections(Some(&task()));
    assert_eq!(info.len(), 50);
    assert!(info.iter().all(|info| info.transport == "sse"));
    assert_eq!(server.bus().stats().tasks, 1);
    drop(streams);
    let (manager, bus) = (server.manager().clone(), server.bus().clone());
    eventually("all have gone", || manager.connected() == 0).await;
    assert_eq!(manager.stats().away, 0, "they come back by position");
    assert_eq!(bus.stats().tasks, 0, "nobody watches it any more");
    server.stop().await;
}

/// When the server drains, a stream ends with `going_away` and a proper end of the HTTP body.
#[tokio::test]
async fn a_drain_ends_the_stream() {
    let server = TestServer::start(TestConfig::default()).await;
    let mut stream = open(&server, "", None).await;
    stream.next().await.unwrap();
    let stopping = tokio::spawn(server.stop());
    let goodbye: Value = serde_json::from_str(&stream.next().await.unwrap().data).unwrap();
    assert_eq!(goodbye["event_type"], "going_away");
    assert_eq!(goodbye["data"]["reconnect"], "after");
    assert!(stream.next().await.is_none());
    assert!(stream.ended_well(), "the last chunk is there");
    assert_eq!(stopping.await.unwrap(), 0);
}

#[tokio::test]
async fn a_head_request_leaves_no_stream_open() {
    let server = TestServer::start(TestConfig::default()).await;
    let headers = [("Accept", "text/event-stream")];
    let answer = server
        .http("HEAD", "/api/tasks/t/events", &headers, "")
        .await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let (manager, bus) = (server.manager().clone(), server.bus().clone());
    eventually("nothing is left of it", || {
        manager.connected() == 0 && bus.stats().tasks == 0
    })
    .await;
    server.stop().await;
}
