//! A server that stops tells everyone, and stops in time.

#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use std::time::Duration;

use tidings_testkit::{TestClient, TestConfig, TestServer};
use tokio::io::AsyncReadExt;

#[tokio::test]
async fn everyone_is_told_when_to_come_back() {
    let server = TestServer::start(TestConfig::default()).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = TestClient::connect(server.ws("/ws/tasks/t")).await;
        client.until("connection_established").await;
        clients.push(client);
    }
    let stopping = tokio::spawn(server.stop());
    let mut pauses = Vec::new();
    for client in &mut clients {
        assert_eq!(client.close_code().await, Some(1012));
        let goodbye = client
            .checker()
            .going_away()
            .expect("told before it was closed");
        assert_eq!(goodbye["reconnect"], "after");
        pauses.push(goodbye["reconnect_after_ms"].as_u64().unwrap());
    }
    pauses.sort_unstable();
    pauses.dedup();
    assert_eq!(pauses.len(), 8, "spread over the window: {pauses:?}");
    assert!(pauses[0] > 0 && pauses[7] < 4_000, "{pauses:?}");
    assert_eq!(stopping.await.unwrap(), 0, "none had to be aborted");
}

/// A client that reads nothing cannot hold a server up.
#[tokio::test]
async fn a_client_that_does_not_read_is_not_waited_for() {
    let mut config = TestConfig::default();
    config.connections = config.connections.close_timeout(Duration::from_millis(100));
    let server = TestServer::start(config).await;
    let mut stuck = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
    let handshake = "GET /ws/tasks/t HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stuck, handshake.as_bytes())
        .await
        .unwrap();
    let mut response = [0; 12];
    stuck.read_exact(&mut response).await.unwrap();
    assert_eq!(&response, b"HTTP/1.1 101");
    let task = tidings_protocol::TaskId::new("t").unwrap();
    for _ in 0..500 {
        let event = tidings_protocol::NewEvent::log("x".repeat(30_000));
        server.bus().publish(&task, event).await.unwrap();
        tokio::task::yield_now().await;
    }
    let stopped = tokio::time::timeout(Duration::from_secs(10), server.stop()).await;
    assert!(
        stopped.is_ok(),
        "the server stops although a client does not read"
    );
}
