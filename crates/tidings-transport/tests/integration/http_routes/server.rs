//! The requests of operators over HTTP: connections, the server itself, other pages.

use serde_json::json;
use tidings_protocol::TaskId;
use tidings_testkit::{TestClient, TestConfig, TestServer};
use tidings_transport::Origins;

use super::{post, publish, start, step};

#[tokio::test]
async fn connections_are_listed_kicked_and_written_to() {
    let server = start().await;
    let mut one = TestClient::connect(server.ws("/ws/tasks/t?client_id=one")).await;
    let mut two = TestClient::connect(server.ws("/ws/tasks/u?client_id=two")).await;
    one.until("connection_established").await;
    two.until("connection_established").await;
    let ids = async |query: &str| {
        let answer = server.get(&format!("/api/connections{query}")).await.json();
        let all = answer["connections"].as_array().unwrap().iter();
        let mut ids: Vec<_> = all
            .map(|info| info["client_id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    };
    assert_eq!(ids("").await, ["one", "two"]);
    assert_eq!(ids("?task=u").await, ["two"]);
    assert_eq!(ids("?task=v").await, [""; 0]);
    let info = server.get("/api/connections/one").await.json();
    assert_eq!(info["client_id"], "one");
    assert_eq!(info["transport"], "websocket");
    assert_eq!(
        info["subscriptions"],
        json!([{ "task_id": "t", "offset": 0, "lag": 0 }])
    );
    assert!(info["connected_at"].is_string() && info["remote_addr"].is_string());

    let note = json!({ "event_type": "note", "data": { "text": "hello" } });
    for offset in 1..=2 {
        let sent = post(&server, "/api/connections/one/messages", &note).await;
        assert_eq!(
            (sent.status, sent.json()),
            (202, json!({ "offset": offset }))
        );
        let message = one.until("personal_message").await;
        assert_eq!(message["data"]["offset"], offset);
        assert_eq!(message["data"]["data"], note["data"]);
    }
    let wrong = post(
        &server,
        "/api/connections/one/messages",
        &json!({ "data": {} }),
    )
    .await;
    assert_eq!(wrong.status, 400);

    let kicked = server.http("DELETE", "/api/connections/one", &[], "").await;
    assert_eq!((kicked.status, kicked.body.len()), (204, 0));
    assert_eq!(one.close_code().await, Some(1000));
    assert_eq!(server.get("/api/connections/one").await.status, 404);
    assert_eq!(
        server
            .http("DELETE", "/api/connections/one", &[], "")
            .await
            .status,
        404
    );
    assert_eq!(
        post(&server, "/api/connections/one/messages", &note)
            .await
            .status,
        404
    );
    assert_eq!(ids("").await, ["two"]);
    server.stop().await;
}

#[tokio::test]
async fn the_server_tells_of_itself() {
    let server = start().await;
    publish(&server, "t", &step(1)).await;
    let mut watcher = TestClient::connect(server.ws("/ws/tasks/t")).await;
    watcher.until("connection_established").await;
    publish(&server, "t", &json!({ "event_type": "task_started" })).await;
    watcher.until("task_started").await;

    let stats = server.get("/api/stats").await.json();
    assert_eq!(stats["bus"]["events_published"], 2);
    assert_eq!(stats["bus"]["deliveries"], 1);
    assert_eq!(stats["bus"]["tasks_by_status"]["running"], 1);
    assert_eq!(stats["connections"]["connected"], 1);
    assert_eq!(
        server.get("/healthz").await.json(),
        json!({ "status": "ok" })
    );
    let ready = server.get("/readyz").await;
    assert_eq!(
        (ready.status, ready.json()),
        (200, json!({ "status": "ready" }))
    );
    let index = server.get("/").await.json();
    assert_eq!(index["protocol"], "tidings.v1");
    let openapi = server.get("/api/openapi.json").await.json();
    for path in index["routes"].as_array().unwrap() {
        let path = path.as_str().unwrap();
        // Every listed route is described, and every described route exists.
        let described = openapi["paths"].get(path).is_some();
        assert!(
            described || path == "/api/openapi.json" || path == "/",
            "{path}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn cors_answers_listed_pages_only() {
    let page = "https://app.example";
    let mut config = TestConfig::default();
    config.transport = config
        .transport
        .allowed_origins(Origins::List(vec![page.to_owned()]));
    let server = TestServer::start(config).await;
    let preflight = async |origin: &str| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            (
                "Access-Control-Request-Headers",
                "content-type, idempotency-key",
            ),
        ];
        server
            .http("OPTIONS", "/api/tasks/t/events", &headers, "")
            .await
    };
    let listed = preflight(page).await;
    assert_eq!(listed.status, 200);
    assert_eq!(listed.header("access-control-allow-origin"), Some(page));
    let methods = listed
        .header("access-control-allow-methods")
        .unwrap()
        .to_owned();
    for method in ["GET", "POST", "DELETE"] {
        assert!(methods.contains(method), "{methods}");
    }
    let headers = listed.header("access-control-allow-headers").unwrap();
    assert!(headers.contains("content-type") && headers.contains("idempotency-key"));
    let other = preflight("https://evil.example").await;
    assert_eq!(other.header("access-control-allow-origin"), None);
    let get = async |origin| {
        server
            .http("GET", "/healthz", &[("Origin", origin)], "")
            .await
    };
    assert_eq!(
        get(page).await.header("access-control-allow-origin"),
        Some(page)
    );
    let other = get("https://evil.example").await;
    assert_eq!(other.header("access-control-allow-origin"), None);
    server.stop().await;

    // Without a list of origins, pages of other origins are refused.
    let server = start().await;
    let answer = server
        .http("GET", "/healthz", &[("Origin", page)], "")
        .await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert!(server.bus().snapshot(&TaskId::new("t").unwrap()).is_none());
    server.stop().await;
}
