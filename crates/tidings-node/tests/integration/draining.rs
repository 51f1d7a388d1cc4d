//! A server that stops tells all clients, and stops in time.

use std::time::{Duration, Instant};

use tidings_bus::{BusConfig, EventBus};
use tidings_connections::{ConnectionManager, ConnectionsConfig};
use tidings_node::{Node, NodeConfig, Options, Server};
use tidings_testkit::{DEADLINE, RawClient, TestClient, TestConfig, TestServer, eventually};
use tidings_transport::{TidingsService, TransportConfig, WEBSOCKET};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

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

/// A client that does not read cannot delay the drain.
#[tokio::test]
async fn a_client_that_does_not_read_is_not_waited_for() {
    let mut config = TestConfig::default();
    config.connections = config.connections.close_timeout(Duration::from_millis(100));
    let server = TestServer::start(config).await;
    let mut stuck = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
    let handshake = "GET /ws/tasks/t HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
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
    let stopped = tokio::time::timeout(DEADLINE / 2, server.stop()).await;
    assert!(
        stopped.is_ok(),
        "the server stops although a client does not read"
    );
}

/// During a drain, health checks report it, and new connections are refused.
#[tokio::test]
async fn a_draining_service_says_so() {
    let server = TestServer::start(TestConfig::default()).await;
    assert_eq!(server.get("/readyz").await.status, 200);
    server.manager().drain(Duration::ZERO).await;
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["status"], "draining");
    assert_eq!(
        server.get("/healthz").await.status,
        200,
        "it lives all the same"
    );
    let late = RawClient::connect(server.addr(), "/ws").await;
    let (messages, code) = late.to_end().await;
    assert_eq!(code, Some(1012));
    assert_eq!(messages.last().unwrap()["event_type"], "going_away");
    assert_eq!(messages.last().unwrap()["data"]["reconnect"], "after");
    let headers = [("Accept", "text/event-stream")];
    let stream = server
        .http("GET", "/api/tasks/t/events", &headers, "")
        .await;
    assert_eq!(
        (stream.status, stream.json()["code"].as_str()),
        (503, Some("unavailable"))
    );
    assert!(stream.header("retry-after").is_some());
    server.stop().await;
}

/// A running request is answered, and then its connection closes.
#[tokio::test]
async fn a_request_under_way_is_finished() {
    let server = TestServer::start(TestConfig::default()).await;
    let (addr, bus) = (server.addr(), server.bus().clone());
    let body = r#"{"event_type":"own","data":{}}"#;
    let (half, rest) = body.split_at(body.len() / 2);
    let mut under_way = tokio::net::TcpStream::connect(addr).await.unwrap();
    let head = format!(
        "POST /api/tasks/t/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{half}",
        body.len()
    );
    under_way.write_all(head.as_bytes()).await.unwrap();
    let mut idle = tokio::net::TcpStream::connect(addr).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 15];
    idle.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");

    let manager = server.manager().clone();
    let stopping = tokio::spawn(server.stop());
    eventually("it drains", || manager.is_draining()).await;
    let mut left = Vec::new();
    let ended = tokio::time::timeout(DEADLINE / 2, idle.read_to_end(&mut left)).await;
    assert!(ended.is_ok(), "an idle connection is not waited for");
    assert!(!stopping.is_finished(), "the request is");
    let refused = tokio::net::TcpStream::connect(addr).await;
    assert!(refused.is_err(), "nobody else gets in");
    under_way.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    under_way.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(stopping.await.unwrap(), 0, "nothing had to be aborted");
    assert_eq!(bus.stats().events_published, 1);
}

/// The server stops at its deadline even if clients ignore it. It reports the number of aborted
/// connections.
#[tokio::test]
async fn the_deadline_holds() {
    let bus = EventBus::new(BusConfig::default().framing(WEBSOCKET)).unwrap();
    let hour = Duration::from_secs(3_600);
    let config = ConnectionsConfig::default()
        .close_timeout(hour)
        .write_timeout(hour);
    let manager = ConnectionManager::new(bus, config).unwrap();
    let transport = TransportConfig::default().body_read_timeout(hour);
    let service = TidingsService::new(manager.clone(), transport).unwrap();
    let server = Server::bind(([127, 0, 0, 1], 0).into(), service)
        .await
        .unwrap();
    let addr = server.local_addr();
    let drain = CancellationToken::new();
    let deadline = Duration::from_millis(300);
    let running = tokio::spawn(server.run(drain.clone(), Duration::ZERO, deadline));
    // Two clients that ignore every close, and a request whose body never arrives.
    let deaf = [
        RawClient::connect(addr, "/ws").await,
        RawClient::connect(addr, "/ws").await,
    ];
    let mut slow = tokio::net::TcpStream::connect(addr).await.unwrap();
    let head = b"POST /api/tasks/t/events HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    slow.write_all(head).await.unwrap();
    let mut go_on = [0; 25];
    slow.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    eventually("they are there", || manager.connected() == 2).await;
    let begin = Instant::now();
    drain.cancel();
    // The server would wait for these three for an hour.
    let left = tokio::time::timeout(DEADLINE, running).await;
    let left = left.expect("the drain ends at its deadline").unwrap();
    assert!(begin.elapsed() >= deadline, "they had their time");
    assert_eq!(left, 3);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(DEADLINE, slow.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the request is aborted");
    drop(deaf);
}

/// Every client here would keep its task alive for an hour: a WebSocket that ignores the close, one
/// that does not read, one that was replaced and stays, a refused one, an event stream, a request
/// without its body, and a connection without a request.
#[tokio::test]
async fn nothing_lives_when_the_server_has_stopped() {
    let before = Handle::current().metrics().num_alive_tasks();
    let hour = Duration::from_secs(3_600);
    let mut config = NodeConfig::load(Options::default()).unwrap();
    config.listen = ([127, 0, 0, 1], 0).into();
    config.connections = config
        .connections
        .close_timeout(hour)
        .write_timeout(hour)
        .heartbeat_interval(hour);
    config.transport = config
        .transport
        .body_read_timeout(hour)
        .header_read_timeout(hour);
    config.drain_window = Duration::ZERO;
    config.drain_deadline = Duration::from_millis(300);
    let node = Node::start(config).await.unwrap();
    let (addr, manager, bus) = (node.addr(), node.manager().clone(), node.bus().clone());
    let drain = CancellationToken::new();
    let running = tokio::spawn(node.run(drain.clone()));

    let send = async |text: String| {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    };
    let request = |method: &str, headers: &str| {
        format!("{method} /api/tasks/t/events HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
    };
    let deaf = RawClient::connect(addr, "/ws").await;
    let full = RawClient::connect_narrow(addr, "/ws/tasks/t").await;
    let mut replaced = RawClient::connect(addr, "/ws?client_id=a").await;
    let hello = replaced.next_text().await;
    let token = hello["data"]["resume_token"].as_str().unwrap();
    let path = format!("/ws?client_id=a&resume_token={token}");
    let replacing = RawClient::connect(addr, &path).await;
    let origin = "Origin: https://evil.example\r\n";
    let refused = RawClient::connect_with(addr, "/ws", origin).await;
    let silent = [
        send(request("GET", "Accept: text/event-stream\r\n")).await,
        send(request("POST", "Content-Length: 9\r\n")).await,
        send(String::new()).await,
    ];
    eventually("they are connected", || manager.connected() == 4).await;
    let task = tidings_protocol::TaskId::new("t").unwrap();
    while manager.states().blocked < 2 {
        let event = tidings_protocol::NewEvent::log("x".repeat(30_000));
        bus.publish(&task, event).await.unwrap();
        tokio::task::yield_now().await;
    }

    drain.cancel();
    let stopped = tokio::time::timeout(DEADLINE, running).await;
    let stopped = stopped.expect("the deadline holds").unwrap();
    assert!(stopped.aborted > 0);
    assert_eq!(manager.connected(), 0);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), before);
    drop((deaf, full, replaced, replacing, refused, silent));
}
