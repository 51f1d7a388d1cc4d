//! No client can take all places for HTTP connections.

use std::net::SocketAddr;

use tidings_testkit::{DEADLINE, TestConfig, TestServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Connects from an address of this machine, and sends some bytes.
async fn connect(server: &TestServer, from: [u8; 4], bytes: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    let mut stream = socket.connect(server.addr()).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream
}

/// Reads until the text contains `end`, or until the stream ends.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let reading = async {
        let mut bytes = [0; 4096];
        while !text.contains(end) {
            match stream.read(&mut bytes).await {
                Ok(0) | Err(_) => break,
                Ok(count) => text.push_str(&String::from_utf8_lossy(&bytes[..count])),
            }
        }
    };
    tokio::time::timeout(DEADLINE, reading)
        .await
        .expect("an answer, or the end");
    text
}

async fn status(server: &TestServer, from: [u8; 4], path: &str) -> u16 {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut stream = connect(server, from, &request).await;
    let answer = until(&mut stream, "\r\n").await;
    answer[9..12].parse().unwrap()
}

const ADA: [u8; 4] = [127, 0, 0, 1];
const BO: [u8; 4] = [127, 0, 0, 2];

/// A request that is answered only when its body arrives.
const WAITS: &str = "POST /api/tasks/t/events HTTP/1.1\r\nHost: localhost\r\n\
    Expect: 100-continue\r\nContent-Length: 100\r\n\r\n";

async fn server(max: usize, per_address: usize) -> TestServer {
    let mut config = TestConfig::default();
    config.transport = config
        .transport
        .max_http_connections(max)
        .max_http_connections_per_address(per_address);
    TestServer::start(config).await
}

/// 4,096 connections that requested `/healthz` every nine seconds once kept all others out.
#[tokio::test]
async fn idle_connections_make_room_for_others() {
    let server = server(4, 100).await;
    let keep = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut idle = Vec::new();
    for _ in 0..4 {
        let mut stream = connect(&server, ADA, keep).await;
        until(&mut stream, "ok").await;
        idle.push(stream);
    }
    let mut other = connect(&server, BO, keep).await;
    assert!(until(&mut other, "ok").await.contains("200 OK"));
    // The first connection was idle longest. The others stay.
    assert_eq!(until(&mut idle[0], "never").await, "");
    for stream in &mut idle[1..] {
        stream.write_all(keep.as_bytes()).await.unwrap();
        assert!(until(stream, "ok").await.contains("200 OK"));
    }
    assert_eq!(status(&server, BO, "/api/tasks").await, 200);
    assert!(server.manager().stats().limited.http_connections >= 2);
    server.stop().await;
}

#[tokio::test]
async fn where_nobody_is_idle_only_probes_get_in() {
    let server = server(2, 100).await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&server, ADA, WAITS).await;
        assert!(until(&mut stream, "100 Continue").await.contains("100"));
        busy.push(stream);
    }
    assert_eq!(status(&server, BO, "/healthz").await, 200);
    assert_eq!(status(&server, BO, "/readyz").await, 200);
    assert_eq!(status(&server, BO, "/api/tasks").await, 503);
    // The running request is not interrupted.
    let mut stream = busy.pop().unwrap();
    stream.write_all(&[b' '; 100]).await.unwrap();
    assert!(until(&mut stream, "\r\n").await.contains("400"));
    drop(stream);
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while status(&server, BO, "/api/tasks").await != 200 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the place is never free"
        );
    }
    drop(busy);
    server.stop().await;
}

#[tokio::test]
async fn one_address_has_so_many_places() {
    let server = server(100, 2).await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&server, ADA, WAITS).await;
        until(&mut stream, "100 Continue").await;
        busy.push(stream);
    }
    assert_eq!(status(&server, ADA, "/api/tasks").await, 429);
    assert_eq!(status(&server, BO, "/api/tasks").await, 200);
    drop(busy);
    server.stop().await;
}

#[tokio::test]
async fn streams_and_sockets_hold_no_place() {
    let server = server(1, 100).await;
    let stream = "GET /api/tasks/t/events HTTP/1.1\r\nHost: localhost\r\n\
        Accept: text/event-stream\r\n\r\n";
    let socket = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut there = Vec::new();
    for request in [stream, socket, stream, socket] {
        let mut connection = connect(&server, ADA, request).await;
        let told = until(&mut connection, "connection_established").await;
        assert!(told.contains("connection_established"), "{told}");
        there.push(connection);
    }
    assert_eq!(status(&server, BO, "/api/tasks").await, 200);
    assert_eq!(server.manager().connected(), 4);
    drop(there);
    server.stop().await;
}
