//! Clients that vanish at any point leave nothing behind: no connection, no task, no byte in a log,
//! no tokio task.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tidings_protocol::{Data, NewEvent, TaskId};
use tidings_testkit::{
    RawClient, TestClient, TestConfig, TestServer, eventually, frame, handshake,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tungstenite::protocol::frame::coding::{Data as Kind, OpCode};

/// The number of clients for each way to vanish.
const CLIENTS: usize = 300;

/// The number of clients at a time. Each needs two descriptors in the test's process.
const BATCH: usize = 100;

/// The moment at which a client vanishes.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Before it sends a byte.
    Silent,
    /// In the middle of its request's head.
    MidHandshake,
    /// After it sent the request, before it read the answer.
    UnreadHandshake,
    /// When it is connected.
    Connected,
    /// After half a frame.
    MidFrame,
    /// After half a fragmented message.
    MidMessage,
    /// In the middle of a request's body.
    MidBody,
    /// While it receives a stream.
    Streaming,
    /// After it closed its write side.
    HalfOpen,
    /// When it is subscribed to a pattern and to tasks of its own.
    Subscribed,
    /// When its socket is full.
    Blocked,
    /// When it has not read many answers.
    Unanswered,
}

impl Way {
    const ALL: [Self; 12] = [
        Self::Silent,
        Self::MidHandshake,
        Self::UnreadHandshake,
        Self::Connected,
        Self::MidFrame,
        Self::MidMessage,
        Self::MidBody,
        Self::Streaming,
        Self::HalfOpen,
        Self::Subscribed,
        Self::Blocked,
        Self::Unanswered,
    ];

    /// Connects, and acts up to the moment at which it vanishes. Returns the socket.
    async fn go(self, addr: SocketAddr, number: usize) -> TcpStream {
        let path = format!("/ws/tasks/left-{self:?}-{}", number % 7);
        let after = |request: String| async move {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            stream
        };
        let request = handshake(&path, "");
        match self {
            Self::Silent => after(String::new()).await,
            Self::MidHandshake => after(request[..request.len() / 2].to_owned()).await,
            Self::UnreadHandshake => after(request).await,
            Self::Connected => RawClient::connect(addr, &path).await.into_stream(),
            Self::MidFrame => {
                let mut client = RawClient::connect(addr, &path).await;
                // The frame announces a text of 100 bytes, but only three follow.
                client
                    .write(&[0x81, 0x80 | 100, 1, 2, 3, 4, b'x', b'x', b'x'])
                    .await;
                client.into_stream()
            }
            Self::MidMessage => {
                let mut client = RawClient::connect(addr, &path).await;
                client.write(&[0x01, 0x81, 0, 0, 0, 0, b'{']).await;
                client.into_stream()
            }
            Self::MidBody => {
                let head = "POST /api/tasks/left/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{";
                after(head.to_owned()).await
            }
            Self::Streaming => {
                let path = path.replace("/ws", "/api");
                after(format!(
                    "GET {path}/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
                ))
                .await
            }
            Self::HalfOpen => {
                let mut stream = RawClient::connect(addr, &path).await.into_stream();
                stream.shutdown().await.unwrap();
                stream
            }
            Self::Subscribed => {
                let mut client = RawClient::connect(addr, "/ws").await;
                client
                    .send(&json!({ "type": "subscribe", "pattern": "left-*" }))
                    .await;
                let own = format!("left-own-{number}");
                client
                    .send(&json!({ "type": "subscribe", "task_id": own, "since": "0" }))
                    .await;
                client.into_stream()
            }
            Self::Blocked => RawClient::connect_narrow(addr, "/ws/tasks/flood?since=0")
                .await
                .into_stream(),
            Self::Unanswered => {
                let mut client = RawClient::connect_narrow(addr, &path).await;
                let ping = frame(
                    OpCode::Data(Kind::Text),
                    br#"{"type":"ping","ref":"again"}"#,
                );
                client.write(&ping.repeat(5_000)).await;
                client.into_stream()
            }
        }
    }
}

/// The counts of everything that could be left behind.
#[derive(Debug, PartialEq)]
struct Left {
    connected: u64,
    away: u64,
    tasks: u64,
    bytes: u64,
    tokio_tasks: usize,
}

fn left(server: &TestServer) -> Left {
    let (bus, connections) = (server.bus().stats(), server.manager().stats());
    Left {
        connected: connections.connected,
        away: connections.away,
        tasks: bus.tasks,
        bytes: bus.bytes,
        tokio_tasks: Handle::current().metrics().num_alive_tasks(),
    }
}

/// Starts a server with one task that fills sockets, and one task that a bystander watches.
async fn server(offline_ttl: Duration) -> (TestServer, TestClient) {
    let mut config = TestConfig::default();
    config.connections = config
        .connections
        .offline_ttl(offline_ttl)
        .heartbeat_interval(Duration::from_secs(2));
    config.bus = config.bus.log_limits(tidings_bus::LogLimits {
        max_events: 10_000,
        max_bytes: 8 * 1024 * 1024,
    });
    let server = TestServer::start(config).await;
    let data = Data::from_value(json!({ "text": "x".repeat(32 * 1024) })).unwrap();
    let event = NewEvent::new("own".parse().unwrap(), data);
    for _ in 0..200 {
        let task = TaskId::new("flood").unwrap();
        server.bus().publish(&task, event.clone()).await.unwrap();
    }
    let mut bystander = TestClient::connect(server.ws("/ws/tasks/bystander")).await;
    bystander.until("connection_established").await;
    (server, bystander)
}

#[derive(Debug, Clone, Copy)]
enum Cut {
    /// A FIN, or a RST if unread bytes were left.
    Dropped,
    /// A RST at once.
    Reset,
}

async fn come_and_go(server: &TestServer, way: Way, cut: Cut, clients: usize) {
    let addr = server.addr();
    for batch in 0..clients / BATCH {
        let mut coming = JoinSet::new();
        for number in 0..BATCH {
            coming.spawn(async move {
                let stream = way.go(addr, batch * BATCH + number).await;
                if let Cut::Reset = cut {
                    // Without lingering, bytes in transit are discarded, and a RST is sent.
                    let socket = socket2::SockRef::from(&stream);
                    socket.set_linger(Some(Duration::ZERO)).unwrap();
                }
                stream
            });
        }
        let streams = coming.join_all().await;
        assert_eq!(streams.len(), BATCH, "{way:?} {cut:?}");
    }
}

/// 300 clients for each of twelve moments and two kinds of cut: 7,200 clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_way_they_vanish() {
    let (server, mut bystander) = server(Duration::ZERO).await;
    // The client whose handshake opened the bystander's connection has disconnected.
    eventually("the server is at rest", || left(&server).connected == 1).await;
    let before = left(&server);
    let mut events = 0;
    for way in Way::ALL {
        for cut in [Cut::Dropped, Cut::Reset] {
            come_and_go(&server, way, cut, CLIENTS).await;
            eventually(&format!("{way:?} {cut:?} leaves nothing behind"), || {
                let now = left(&server);
                now.connected == 1 && now.tasks == before.tasks
            })
            .await;
            let event = NewEvent::new("step".parse().unwrap(), Data::empty());
            let task = TaskId::new("bystander").unwrap();
            server.bus().publish(&task, event).await.unwrap();
            events += 1;
            bystander.until_offset("bystander", events).await;
        }
    }
    assert!(
        server.manager().stats().accepted > 2_000,
        "{:?}",
        server.manager().stats()
    );
    let grown = server.bus().stats().bytes;
    let mut last = left(&server);
    eventually("no tokio task and no byte is left", || {
        last = left(&server);
        // The only addition is the bystander's own events.
        last.bytes = before.bytes;
        last == before
    })
    .await;
    let own = server.bus().stats().bytes;
    assert!(
        // Each of them was read before the next one, and so has a chunk of its own.
        own <= grown && own - before.bytes < 16 * 1024,
        "{own} bytes, {} before",
        before.bytes
    );
    bystander.cut();
    server.stop().await;
}

/// Clients that may reconnect are kept for a while, and then deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_come_back_is_forgotten() {
    let (server, bystander) = server(Duration::from_millis(300)).await;
    let before = left(&server);
    come_and_go(&server, Way::Subscribed, Cut::Dropped, CLIENTS).await;
    let manager = server.manager().clone();
    // The offline time of the first client may end before the last client has disconnected.
    let mut most = 0;
    eventually("all have gone", || {
        most = most.max(manager.stats().away);
        manager.stats().connected == 1
    })
    .await;
    assert!(most > 0, "they were kept");
    eventually("they are forgotten, and what they held with them", || {
        left(&server) == before
    })
    .await;
    bystander.cut();
    server.stop().await;
}
