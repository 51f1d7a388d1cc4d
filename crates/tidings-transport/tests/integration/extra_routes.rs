//! An application adds its own routes to those of Tidings.

use bytes::Bytes;
use http::Response;
use tidings_bus::{BusConfig, EventBus};
use tidings_connections::{ConnectionManager, ConnectionsConfig};
use tidings_testkit::{TestConfig, TestServer};
use tidings_transport::{ExtraRoute, TidingsService, TransportConfig};

fn hello(path: &'static str) -> ExtraRoute {
    ExtraRoute::open(path, |_| Response::new(Bytes::from_static(b"hello")))
}

#[tokio::test]
async fn a_route_is_answered_listed_and_counted() {
    let mut config = TestConfig::default();
    config.transport = config.transport.route(hello("/hello"));
    let server = TestServer::start(config).await;
    let answer = server.get("/hello").await;
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let refused = server.http("POST", "/hello", &[], "").await;
    assert_eq!(refused.status, 405);
    assert_eq!(refused.header("allow"), Some("GET, HEAD"));

    let index = server.get("/").await.json();
    let routes = index["routes"].as_array().unwrap();
    assert!(routes.iter().any(|path| path == "/hello"), "{routes:?}");
    let metrics = server.get("/metrics").await;
    let line = "tidings_http_requests_total{route=\"/hello\",status=\"200\"} 1";
    assert!(metrics.text().contains(line), "{}", metrics.text());
    server.stop().await;
}

#[tokio::test]
async fn a_path_that_is_taken_or_none_is_refused_at_the_start() {
    for path in ["/healthz", "/ws/tasks/{id}", "/{broken"] {
        let bus = EventBus::new(BusConfig::default()).unwrap();
        let manager = ConnectionManager::new(bus, ConnectionsConfig::default()).unwrap();
        let config = TransportConfig::default().route(hello(path));
        let error = TidingsService::new(manager, config).unwrap_err();
        assert!(error.to_string().contains(path), "{error}");
    }
}
