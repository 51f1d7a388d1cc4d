//! A request has an id, and the events of a publisher carry its trace.

use serde_json::json;
use tidings_testkit::{TestConfig, TestServer};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn events_carry_the_trace_of_their_publisher() {
    let server = TestServer::start(TestConfig::default()).await;
    let batch = json!([
        { "event_type": "log", "data": { "message": "one" } },
        { "event_type": "log", "data": { "message": "two", "traceparent": "own" } }
    ]);
    let headers = [
        ("content-type", "application/json"),
        ("traceparent", PARENT),
    ];
    let answer = server
        .http("POST", "/api/tasks/t/events", &headers, &batch.to_string())
        .await;
    assert_eq!(answer.status, 201);
    let page = server.get("/api/tasks/t/events?since=0").await.json();
    assert_eq!(page["events"][0]["data"]["traceparent"], PARENT);
    assert_eq!(page["events"][0]["data"]["message"], "one");
    assert_eq!(page["events"][1]["data"]["traceparent"], "own");
    server.stop().await;
}

#[tokio::test]
async fn a_request_is_answered_with_its_id() {
    let server = TestServer::start(TestConfig::default()).await;
    let given = server
        .http("GET", "/healthz", &[("x-request-id", "mine-7")], "")
        .await;
    assert_eq!(given.header("x-request-id"), Some("mine-7"));
    let (one, other) = (server.get("/healthz").await, server.get("/nothing").await);
    let id = |answer: &tidings_testkit::HttpResponse| {
        answer.header("x-request-id").expect("an id").to_owned()
    };
    assert_ne!(id(&one), id(&other));
    server.stop().await;
}
