//! Handshakes: which are refused, and data that arrives together with one.

use serde_json::json;
use tidings_testkit::{DEADLINE, RawClient, TestClient, TestConfig, TestServer, frame, handshake};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tungstenite::protocol::frame::coding::{Control, OpCode};

use super::frames::text;
use super::{Bystander, server};

#[tokio::test]
async fn whoever_may_not_come_in_is_told_why() {
    let mut config = TestConfig::default();
    config.connections = config.connections.max_connections(2);
    let server = TestServer::start(config).await;
    let mut bystander = Bystander::join(&server).await;
    for (what, path, headers, code, error, reconnect) in [
        (
            "another origin",
            "/ws",
            "Origin: https://evil.example\r\n",
            1008,
            None,
            "never",
        ),
        (
            "no origin",
            "/ws/tasks/t",
            "Origin: null\r\n",
            1008,
            None,
            "never",
        ),
        (
            "another subprotocol",
            "/ws",
            "Sec-WebSocket-Protocol: graphql-ws, mqtt\r\n",
            1008,
            None,
            "never",
        ),
    ] {
        let client = RawClient::connect_with(server.addr(), path, headers).await;
        refused(client, what, code, error, reconnect).await;
        bystander.is_undisturbed(&server, what).await;
    }
    let mut owner = TestClient::connect(server.ws("/ws?client_id=mine")).await;
    owner.until("connection_established").await;
    for query in ["client_id=mine", "client_id=mine&resume_token=guess"] {
        let thief = RawClient::connect(server.addr(), &format!("/ws?{query}")).await;
        refused(thief, query, 4403, Some("forbidden"), "never").await;
    }
    let third = RawClient::connect(server.addr(), "/ws").await;
    refused(third, "full", 1013, Some("unavailable"), "backoff").await;
    bystander.is_undisturbed(&server, "the refusals").await;
    owner.send(&json!({ "type": "ping" })).await;
    assert_eq!(
        owner.next().await.unwrap()["event_type"],
        "pong",
        "the owner is undisturbed"
    );
    assert_eq!(server.manager().stats().accepted, 2);
    server.stop().await;
}

async fn refused(client: RawClient, what: &str, code: u16, error: Option<&str>, reconnect: &str) {
    let (messages, closed) = client.to_end().await;
    assert_eq!(closed, Some(code), "{what}: {messages:?}");
    let goodbye = messages.last().unwrap_or_else(|| panic!("{what}: no word"));
    assert_eq!(goodbye["event_type"], "going_away", "{what}");
    assert_eq!(goodbye["data"]["reconnect"], reconnect, "{what}");
    assert_eq!(
        messages.len(),
        1 + usize::from(error.is_some()),
        "{what}: {messages:?}"
    );
    if let Some(error) = error {
        assert_eq!(messages[0]["data"]["code"], error, "{what}");
    }
}

/// RFC 6455 §4.4: a client with another version learns which version the server supports.
#[tokio::test]
async fn another_version_of_the_protocol_is_told_the_right_one() {
    let server = server().await;
    let headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "8"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let answer = server.http("GET", "/ws", &headers, "").await;
    assert_eq!(answer.status, 426);
    assert_eq!(answer.header("sec-websocket-version"), Some("13"));
    server.stop().await;
}

/// Messages in the same segment as the handshake are not lost, and the payload of a ping comes
/// back.
#[tokio::test]
async fn what_comes_along_with_the_handshake_counts() {
    let server = server().await;
    let early = text(br#"{"type":"ping","ref":"early"}"#);
    let ping = frame(OpCode::Control(Control::Ping), b"payload");
    let together = [handshake("/ws", "").as_bytes(), &early, &ping].concat();
    let mut stream = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(&together).await.unwrap();
    let mut seen = Vec::new();
    let pong = [&[0x8a, 7][..], b"payload"].concat();
    let contains = |seen: &[u8], part: &[u8]| seen.windows(part.len()).any(|at| at == part);
    let read = async {
        while !(contains(&seen, &pong) && contains(&seen, br#"{"ref":"early"}"#)) {
            assert!(
                stream.read_buf(&mut seen).await.unwrap() > 0,
                "an answer before the end"
            );
        }
    };
    assert!(
        tokio::time::timeout(DEADLINE, read).await.is_ok(),
        "both are answered"
    );
    server.stop().await;
}
