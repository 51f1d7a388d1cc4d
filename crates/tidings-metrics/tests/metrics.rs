//! Metrics report what happened, in the requested format.

use serde_json::json;
use tidings_protocol::{NewEvent, TaskId};
use tidings_testkit::{HttpResponse, TestClient, TestConfig, TestServer, eventually};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0";

async fn scrape(server: &TestServer, accept: &str) -> HttpResponse {
    let answer = server
        .http("GET", "/metrics", &[("accept", accept)], "")
        .await;
    assert_eq!(answer.status, 200);
    answer
}

/// Returns the value of one series.
async fn value(server: &TestServer, series: &str) -> f64 {
    let answer = scrape(server, "*/*").await;
    let line = answer
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
        .unwrap_or_else(|| panic!("{series} in {}", answer.text()));
    line.parse().expect("a number")
}

/// Checks that every sample follows the description of its family.
fn check_families(text: &str, counter: impl Fn(&str) -> String) {
    let (mut family, mut kind) = (String::new(), String::new());
    let mut samples = 0;
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().expect("a name").to_owned();
            assert!(rest.len() > family.len() + 1, "{line} says nothing");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            kind = rest.rsplit(' ').next().expect("a type").to_owned();
            assert!(rest.starts_with(&family), "{line} is not of {family}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let name = series.split('{').next().expect("a name");
            let allowed = match kind.as_str() {
                "counter" => vec![counter(&family)],
                "histogram" => ["_bucket", "_sum", "_count"]
                    .map(|end| format!("{family}{end}"))
                    .to_vec(),
                _ => vec![family.clone()],
            };
            assert!(allowed.iter().any(|known| known == name), "{line}");
            samples += 1;
        }
    }
    assert!(samples > 100, "{samples} samples are too few");
}

#[tokio::test]
async fn the_format_is_the_one_that_was_asked_for() {
    let server = TestServer::start(TestConfig::default()).await;
    let plain = scrape(&server, "*/*").await;
    assert_eq!(
        plain.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    assert!(!plain.text().contains("# EOF"));
    check_families(plain.text(), str::to_owned);

    let open = scrape(&server, OPENMETRICS).await;
    assert_eq!(
        open.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(open.text().ends_with("# EOF\n"), "it says where it ends");
    check_families(open.text(), |family| format!("{family}_total"));
    server.stop().await;
}

#[tokio::test]
async fn a_delivery_shows_on_its_way() {
    let server = TestServer::start(TestConfig::default()).await;
    let task: TaskId = "counted".parse().unwrap();
    let mut client = TestClient::connect(server.ws("/ws/tasks/counted")).await;
    client.until("connection_established").await;
    for _ in 0..3 {
        let event = NewEvent::log("12345");
        server.bus().publish(&task, event).await.unwrap();
    }
    client.until_offset("counted", 3).await;
    assert_eq!(value(&server, "tidings_events_published_total").await, 3.0);
    assert_eq!(value(&server, "tidings_deliveries_total").await, 3.0);
    assert_eq!(
        value(&server, "tidings_publish_duration_seconds_count").await,
        3.0
    );
    let delivery = server.bus().counters().timings();
    eventually("the pass is noted", || delivery.delivery.read().count > 0).await;
    assert!(value(&server, "tidings_sent_bytes_total").await > 3.0 * 80.0);
    assert_eq!(
        value(&server, "tidings_connections{state=\"flowing\"}").await,
        1.0
    );
    assert_eq!(
        value(&server, "tidings_connections_by_lag{up_to=\"0\"}").await,
        1.0
    );
    client.close().await;
    server.stop().await;
}

#[tokio::test]
async fn errors_ends_and_requests_are_told_apart() {
    let server = TestServer::start(TestConfig::default()).await;
    let mut client = TestClient::connect(server.ws("/ws")).await;
    client.until("connection_established").await;
    client.send(&json!({ "type": "no_such" })).await;
    client.until("error").await;
    client
        .send_raw(tokio_tungstenite::tungstenite::Message::binary(vec![1]))
        .await;
    assert_eq!(client.close_code().await, Some(1003));
    server.get("/api/tasks/nobody").await;
    server.get("/api/tasks/somebody").await;
    server.get("/no/such/path").await;
    for (series, expected) in [
        ("tidings_errors_total{code=\"unknown_type\"}", 1.0),
        ("tidings_errors_total{code=\"task_not_found\"}", 2.0),
        ("tidings_connections_closed_total{code=\"1003\"}", 1.0),
        ("tidings_messages_received_total", 1.0),
        (
            "tidings_http_requests_total{route=\"/api/tasks/{task_id}\",status=\"404\"}",
            2.0,
        ),
        (
            "tidings_http_requests_total{route=\"none\",status=\"404\"}",
            1.0,
        ),
    ] {
        assert_eq!(value(&server, series).await, expected, "{series}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_full_server_is_not_ready_and_says_so() {
    let mut config = TestConfig::default();
    config.connections = config.connections.max_connections(1);
    let server = TestServer::start(config).await;
    assert_eq!(server.get("/readyz").await.status, 200);
    let mut client = TestClient::connect(server.ws("/ws")).await;
    client.until("connection_established").await;
    let answer = server.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["status"], "full");
    assert_eq!(value(&server, "tidings_ready").await, 0.0);
    client.close().await;
    let manager = server.manager().clone();
    eventually("the client has gone", || manager.connected() == 0).await;
    assert_eq!(server.get("/readyz").await.status, 200);
    server.stop().await;
}
