//! The service over a stream that is not a TCP socket: a pipe in memory with a small buffer, like a
//! slow link. It stands for TLS and any other stream that hyper supports.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tidings_bus::{BusConfig, EventBus};
use tidings_connections::{ConnectionManager, ConnectionsConfig};
use tidings_protocol::{NewEvent, TaskId};
use tidings_testkit::{DEADLINE, WireChecker, eventually, handshake};
use tidings_transport::{TidingsService, TransportConfig, WEBSOCKET};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;
use tokio_tungstenite::{WebSocketStream, client_async};
use tungstenite::Message;

struct Embedded {
    bus: EventBus,
    manager: ConnectionManager,
    service: TidingsService,
}

impl Embedded {
    fn new(config: BusConfig) -> Self {
        let bus = EventBus::new(config).unwrap();
        let manager = ConnectionManager::new(bus.clone(), ConnectionsConfig::default()).unwrap();
        let service = TidingsService::new(manager.clone(), TransportConfig::default()).unwrap();
        Self {
            bus,
            manager,
            service,
        }
    }

    async fn connect(&self, path: &str, capacity: usize) -> WebSocketStream<DuplexStream> {
        let (client, server) = duplex(capacity);
        let service = self.service.clone();
        tokio::spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(server), service);
            let _ = connection.with_upgrades().await;
        });
        client_async(format!("ws://in-memory{path}"), client)
            .await
            .unwrap()
            .0
    }
}

async fn next(socket: &mut WebSocketStream<DuplexStream>) -> Option<Message> {
    tokio::time::timeout(DEADLINE, socket.next())
        .await
        .unwrap()?
        .ok()
}

async fn read_to(socket: &mut WebSocketStream<DuplexStream>, checker: &mut WireChecker, last: u64) {
    while checker.task("t").and_then(|task| task.checker.expected()) != Some(last + 1) {
        if let Some(Message::Text(text)) = next(socket).await {
            checker.message(&text).unwrap();
        }
    }
}

async fn publish(bus: &EventBus, count: u64) {
    let task = TaskId::new("t").unwrap();
    for _ in 0..count {
        bus.publish(&task, NewEvent::log("x".repeat(500)))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_pipe_carries_everything_in_order() {
    for capacity in [64, 1_000, 100_000] {
        let server = Embedded::new(BusConfig::default().framing(WEBSOCKET));
        let mut watcher = server.connect("/ws/tasks/t", capacity).await;
        let mut checker = WireChecker::default();
        publish(&server.bus, 3).await;
        read_to(&mut watcher, &mut checker, 3).await;
        // More than the pipe and the buffer hold, while the client does not read.
        publish(&server.bus, 600).await;
        read_to(&mut watcher, &mut checker, 603).await;
        let ask = r#"{"type":"publish","ref":1,"event_type":"log","data":{"message":"m"}}"#;
        watcher.send(Message::text(ask)).await.unwrap();
        read_to(&mut watcher, &mut checker, 604).await;
        watcher.close(None).await.unwrap();
        while next(&mut watcher).await.is_some() {}
        eventually("the connection is gone", || {
            server.manager.stats().connected == 0
        })
        .await;
    }
}

/// A bus that was created without WebSocket framing serves WebSockets nevertheless.
#[tokio::test]
async fn a_bus_without_our_framing_is_framed_anew() {
    let server = Embedded::new(BusConfig::default());
    let mut watcher = server.connect("/ws/tasks/t", 2_000).await;
    let mut checker = WireChecker::default();
    publish(&server.bus, 1).await;
    read_to(&mut watcher, &mut checker, 1).await;
    publish(&server.bus, 600).await;
    read_to(&mut watcher, &mut checker, 601).await;
}

#[tokio::test]
async fn a_pipe_that_breaks_leaves_nothing_behind() {
    let server = Embedded::new(BusConfig::default().framing(WEBSOCKET));
    let watcher = server.connect("/ws/tasks/t", 100).await;
    eventually("the watcher is there", || {
        server.manager.stats().connected == 1
    })
    .await;
    publish(&server.bus, 50).await;
    drop(watcher);
    eventually("it is gone", || server.manager.stats().connected == 0).await;
}

/// The clock is the runtime's own, which stands still while anything runs.
#[tokio::test(start_paused = true)]
async fn a_refused_client_that_stays_is_not_waited_for_long() {
    let server = Embedded::new(BusConfig::default().framing(WEBSOCKET));
    let (mut client, far) = duplex(10_000);
    let service = server.service.clone();
    tokio::spawn(async move {
        let connection = http1::Builder::new().serve_connection(TokioIo::new(far), service);
        let _ = connection.with_upgrades().await;
    });
    let request = handshake("/ws", "Origin: https://evil.example\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    assert!(String::from_utf8_lossy(&received).contains("going_away"));
    let before = Instant::now();
    server.manager.drain(Duration::ZERO).await;
    assert!(before.elapsed() > Duration::ZERO, "it is waited for");
    assert!(before.elapsed() < Duration::from_secs(60));
    drop(client);
}
