//! Answers that the accept loop gives before a service does, and the cleanup after a
//! node.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use tidings_bus::{BusConfig, EventBus};
use tidings_connections::{ConnectionManager, ConnectionsConfig};
use tidings_node::Server;
use tidings_node::listen::{Accepted, Acceptor, BoxedStream};
use tidings_testkit::{DEADLINE, TestClient, TestServer, eventually, http_exchange};
use tidings_transport::{TidingsService, TransportConfig, WEBSOCKET};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_request_names_one_host_that_is_the_servers() {
    let near = TestServer::start_with(&[]).await;
    let named = TestServer::start_with(&[("allow-host", "a.example")]).await;
    for (head, expected) in [
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\n", 200),
        ("GET /healthz HTTP/1.1\r\n", 400),
        (
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n",
            400,
        ),
        (
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n",
            400,
        ),
        (
            "GET /healthz HTTP/1.1\r\nHost: localhost@evil.example\r\n",
            400,
        ),
        ("GET /healthz HTTP/1.1\r\nHost: evil\u{80}.example\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: evil.example\r\n", 421),
        ("GET /healthz HTTP/1.1\r\nHost:\r\n", 421),
        ("GET /healthz HTTP/1.0\r\n", 421),
        (
            "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n",
            421,
        ),
        (
            "GET http://localhost/healthz HTTP/1.1\r\nHost: evil.example\r\n",
            200,
        ),
    ] {
        let request = format!("{head}Connection: close\r\n\r\n");
        for server in [&near, &named] {
            let answer = http_exchange(server.addr(), request.as_bytes()).await;
            assert_eq!(answer.status, expected, "{head}: {}", answer.text());
        }
    }
    near.stop().await;
    named.stop().await;
}

/// An acceptor that passes every stream on unchanged.
struct Plain;

#[async_trait]
impl Acceptor for Plain {
    async fn accept(&self, stream: BoxedStream) -> io::Result<Accepted> {
        Ok(Accepted::new(stream, false))
    }
}

#[tokio::test]
async fn a_handshake_is_answered_through_an_acceptor_without_encryption() {
    let bus = EventBus::new(BusConfig::default().framing(WEBSOCKET)).unwrap();
    let manager = ConnectionManager::new(bus, ConnectionsConfig::default()).unwrap();
    let service = TidingsService::new(manager, TransportConfig::default()).unwrap();
    let server = Server::bind(([127, 0, 0, 1], 0).into(), service)
        .await
        .unwrap()
        .secured(Arc::new(Plain));
    let addr = server.local_addr();
    let drain = CancellationToken::new();
    let running = tokio::spawn(server.run(drain.clone(), DEADLINE, DEADLINE));
    let connect = TestClient::connect(format!("ws://{addr}/ws/tasks/t"));
    let connected = tokio::time::timeout(DEADLINE, connect).await;
    let mut client = connected.expect("the handshake is answered");
    client.until("connection_established").await;
    drop(client);
    drain.cancel();
    assert_eq!(running.await.unwrap(), 0);
}

#[tokio::test]
async fn nothing_of_a_node_lives_on() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.toml");
    std::fs::write(&keys, "").unwrap();
    let before = Handle::current().metrics().num_alive_tasks();
    let options = [("auth", "keys"), ("api-keys", keys.to_str().unwrap())];
    let server = TestServer::start_with(&options).await;
    assert_eq!(server.get("/api/tasks").await.status, 401);
    server.stop().await;
    eventually("every task has ended", || {
        Handle::current().metrics().num_alive_tasks() == before
    })
    .await;
}
