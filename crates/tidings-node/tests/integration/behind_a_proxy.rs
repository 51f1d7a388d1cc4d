//! Client addresses behind a proxy, and the host names that the server accepts.

use serde_json::Value;
use tidings_connections::{ClientLimits, Rate};
use tidings_testkit::{TestClient, TestConfig, TestServer, http_exchange};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tungstenite::client::IntoClientRequest;

async fn server(trusted: &[&str], proxy_protocol: bool) -> TestServer {
    let mut config = TestConfig::default();
    let networks = trusted.iter().map(|network| network.parse().unwrap());
    config.transport = config
        .transport
        .trusted_proxies(networks.collect())
        .proxy_protocol(proxy_protocol);
    TestServer::start(config).await
}

/// Returns the address that the server reports for its only connection.
async fn seen(server: &TestServer) -> String {
    let infos = server.manager().connections(None);
    let info = serde_json::to_value(&infos[0]).unwrap();
    let Value::String(addr) = &info["remote_addr"] else {
        panic!("{info}")
    };
    addr.rsplit_once(':').unwrap().0.to_owned()
}

#[tokio::test]
async fn only_a_trusted_proxy_is_believed_who_is_behind_it() {
    for (trusted, expected) in [
        (&[][..], "127.0.0.1"),
        (&["10.0.0.0/8"], "127.0.0.1"),
        (&["127.0.0.0/8"], "192.0.2.7"),
    ] {
        let server = server(trusted, false).await;
        let mut request = server.ws("/ws").into_client_request().unwrap();
        let value = "6.6.6.6, 192.0.2.7".parse().unwrap();
        request.headers_mut().insert("x-forwarded-for", value);
        let mut client = TestClient::connect(request).await;
        client.until("connection_established").await;
        assert_eq!(seen(&server).await, expected, "{trusted:?}");
        drop(client);
        server.stop().await;
    }
}

/// Returns a PROXY protocol header for a client at 192.0.2.7.
fn header() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([192, 0, 2, 7, 127, 0, 0, 1, 0x12, 0x34, 0x1f, 0x40]);
    header
}

#[tokio::test]
async fn the_proxy_protocol_says_who_is_behind() {
    let server = server(&["127.0.0.1/32"], true).await;
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(&header()).await.unwrap();
    let url = server.ws("/ws");
    let (client, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    assert_eq!(seen(&server).await, "192.0.2.7");
    drop(client);
    // A proxy that checks the server's health is itself the client.
    let mut local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec();
    local.extend_from_slice(
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(http_exchange(server.addr(), &local).await.status, 200);
    let mut long = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec();
    long.resize(70_000, 0);
    let wrong_version = [&header()[..12], &b"\x31\x11\0\x0c123456789012"[..]].concat();
    for bad in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        &long,
        &wrong_version,
    ] {
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        let _ = stream.write_all(bad).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "{:?}", String::from_utf8_lossy(&answer));
    }
    server.stop().await;
}

/// With the PROXY protocol, the trusted networks name the proxies that may speak it. A client in
/// such a network is not a proxy, so its own header says nothing.
#[tokio::test]
async fn a_client_in_a_trusted_network_behind_the_proxy_protocol_is_not_believed() {
    let server = server(&["127.0.0.1/32", "192.0.2.0/24"], true).await;
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(&header()).await.unwrap();
    let mut request = server.ws("/ws").into_client_request().unwrap();
    let value = "6.6.6.6".parse().unwrap();
    request.headers_mut().insert("x-forwarded-for", value);
    let client = tokio_tungstenite::client_async(request, stream).await;
    let (client, _) = client.unwrap();
    assert_eq!(seen(&server).await, "192.0.2.7");
    drop(client);
    server.stop().await;
}

/// The limit on new connections counts the client in the header, and not the proxy.
#[tokio::test]
async fn a_client_behind_the_proxy_protocol_cannot_connect_too_fast() {
    let mut config = TestConfig::default();
    config.transport = config
        .transport
        .trusted_proxies(vec!["127.0.0.1/32".parse().unwrap()])
        .proxy_protocol(true);
    let mut limits = ClientLimits::default();
    limits.handshakes_per_address = Some(Rate::new(1, 1));
    config.connections = config.connections.limits(limits);
    let server = TestServer::start(config).await;
    let mut request = header();
    request.extend_from_slice(
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(http_exchange(server.addr(), &request).await.status, 200);
    let mut turned_away = false;
    for _ in 0..100 {
        turned_away |= http_exchange(server.addr(), &request).await.status == 429;
        if turned_away {
            break;
        }
    }
    assert!(turned_away, "each of a hundred clients was let in");
    server.stop().await;
}

#[tokio::test]
async fn a_page_that_calls_this_machine_by_its_own_name_gets_nothing() {
    let server = TestServer::start(TestConfig::default()).await;
    for (host, status) in [
        (server.addr().to_string(), 200),
        ("localhost".to_owned(), 200),
        ("evil.example".to_owned(), 421),
        (format!("evil.example:{}", server.addr().port()), 421),
    ] {
        let request =
            format!("GET /api/tasks HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = http_exchange(server.addr(), request.as_bytes()).await;
        assert_eq!(answer.status, status, "{host}");
        for name in [
            "x-content-type-options",
            "content-security-policy",
            "referrer-policy",
        ] {
            assert!(answer.header(name).is_some() || status == 421, "{name}");
        }
    }
    let upgrade =
        tidings_testkit::handshake("/ws", "").replace("Host: localhost", "Host: evil.example");
    assert_eq!(
        http_exchange(server.addr(), upgrade.as_bytes())
            .await
            .status,
        421
    );
    server.stop().await;
}
