//! Every HTTP route, used as in a script.

mod publishing;
mod server;
mod tasks;

use serde_json::{Value, json};
use tidings_testkit::{HttpResponse, TestConfig, TestServer};

async fn start() -> TestServer {
    TestServer::start(TestConfig::default()).await
}

async fn post(server: &TestServer, path: &str, body: &Value) -> HttpResponse {
    let kind = [("Content-Type", "application/json")];
    server.http("POST", path, &kind, &body.to_string()).await
}

async fn publish(server: &TestServer, id: &str, body: &Value) -> Value {
    answered(server, id, body, 201).await
}

/// Publishes, and checks the status of the answer.
async fn answered(server: &TestServer, id: &str, body: &Value, status: u16) -> Value {
    let answer = post(server, &format!("/api/tasks/{id}/events"), body).await;
    assert_eq!(answer.status, status, "{}", answer.text());
    let kind = match status {
        200..300 => "application/json",
        _ => "application/problem+json",
    };
    assert_eq!(answer.header("content-type"), Some(kind));
    answer.json()
}

fn step(number: u64) -> Value {
    json!({ "event_type": "own", "data": { "n": number } })
}
