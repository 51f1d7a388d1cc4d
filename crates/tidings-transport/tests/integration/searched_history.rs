//! `GET /api/tasks/{id}/events?text=…&type=…`.

use serde_json::{Value, json};
use tidings_bus::LogLimits;
use tidings_testkit::{TestConfig, TestServer};

async fn server_with(lines: &[Value]) -> TestServer {
    let mut config = TestConfig::default();
    config.bus = config.bus.log_limits(LogLimits {
        max_events: 100_000,
        max_bytes: 64 * 1024 * 1024,
    });
    let server = TestServer::start(config).await;
    for batch in lines.chunks(1_000) {
        let kind = [("Content-Type", "application/json")];
        let body = Value::from(batch.to_vec()).to_string();
        let answer = server
            .http("POST", "/api/tasks/t/events", &kind, &body)
            .await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    server
}

fn log(message: &str) -> Value {
    json!({ "event_type": "log", "data": { "message": message } })
}

/// Returns the offsets of a page, and the position to continue at.
async fn found(server: &TestServer, query: &str) -> (Vec<u64>, String) {
    let answer = server
        .get(&format!("/api/tasks/t/events?since=0&{query}"))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let page = answer.json();
    assert!(page.get("gap").is_none(), "{page}");
    let events = page["events"].as_array().expect("events");
    let offsets = events.iter().filter_map(|event| event["offset"].as_u64());
    let next = page["next"].as_str().expect("next").to_owned();
    (offsets.collect(), next)
}

fn offset_of(position: &str) -> u64 {
    let (_, offset) = position.rsplit_once(':').expect("a position");
    offset.parse().expect("an offset")
}

#[tokio::test]
async fn a_text_is_found_in_any_string_of_the_data_whatever_its_case() {
    let server = server_with(&[
        json!({ "event_type": "task_started", "data": { "name": "Größe" } }),
        log("she said \"stop\"\nand went"),
        json!({ "event_type": "own", "data": { "deep": [{ "x": "NEEDLE" }], "needle": 1 } }),
        log("nothing"),
    ])
    .await;
    assert_eq!(found(&server, "text=needle").await.0, [3]);
    assert_eq!(found(&server, "text=%22STOP%22").await.0, [2]);
    assert_eq!(found(&server, "text=gr%C3%B6%C3%9Fe").await.0, [1]);
    assert_eq!(found(&server, "text=task_st").await.0, [1]);
    assert_eq!(found(&server, "type=log").await.0, [2, 4]);
    assert_eq!(
        found(&server, "type=own,task_started&text=needle").await.0,
        [3]
    );
    let (offsets, next) = found(&server, "text=nowhere").await;
    assert_eq!((offsets.len(), offset_of(&next)), (0, 4));
}

#[tokio::test]
async fn pages_go_on_past_what_was_left_out() {
    let lines: Vec<Value> = (1..=2_500)
        .map(|line| log(if line % 500 == 0 { "found" } else { "other" }))
        .collect();
    let server = server_with(&lines).await;
    let (offsets, next) = found(&server, "text=found&limit=2").await;
    assert_eq!((offsets, offset_of(&next)), (vec![500, 1_000], 1_000));
    let answer = server
        .get(&format!(
            "/api/tasks/t/events?since={next}&text=found&limit=9"
        ))
        .await
        .json();
    let offsets: Vec<u64> = answer["events"]
        .as_array()
        .expect("events")
        .iter()
        .filter_map(|event| event["offset"].as_u64())
        .collect();
    assert_eq!(offsets, [1_500, 2_000, 2_500]);
    assert_eq!(offset_of(answer["next"].as_str().expect("next")), 2_500);
}

#[tokio::test]
async fn one_request_reads_a_bounded_part_and_says_where_to_go_on() {
    let mut lines = vec![log("other"); 21_000];
    lines.push(log("found"));
    let server = server_with(&lines).await;
    let (offsets, next) = found(&server, "text=found").await;
    assert_eq!((offsets.len(), offset_of(&next)), (0, 20_000));
}

#[tokio::test]
async fn a_type_that_is_no_name_is_refused() {
    let server = server_with(&[log("x")]).await;
    let answer = server.get("/api/tasks/t/events?type=log,No%20Name").await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().contains("parameter `type`"),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("No Name"), "{}", answer.text());
}
