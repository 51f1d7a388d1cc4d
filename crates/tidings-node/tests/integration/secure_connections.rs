//! `wss://` and HTTP/2 with a test CA, and certificates that are replaced.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tidings_bus::{BusConfig, EventBus};
use tidings_connections::{ConnectionManager, ConnectionsConfig};
use tidings_node::Server;
use tidings_testkit::{DEADLINE, WireChecker};
use tidings_tls::{CertificateError, Tls};
use tidings_transport::{TidingsService, TransportConfig, WEBSOCKET};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

/// A certificate authority, and the certificates that it has signed.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Returns a certificate for this machine and its key, as PEM.
    pub(crate) fn sign(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Returns the authority's own certificate, as PEM.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    async fn connect(
        &self,
        addr: SocketAddr,
        alpn: &[u8],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_as(addr, alpn, None).await
    }

    /// Connects, and shows a certificate with its key if it is asked for one.
    pub(crate) async fn connect_as(
        &self,
        addr: SocketAddr,
        alpn: &[u8],
        shown: Option<&(String, String)>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::clone(self.0.der())).unwrap();
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = config.with_root_certificates(roots);
        let mut config = match shown {
            None => config.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![chain], key).unwrap()
            }
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        let stream = TcpStream::connect(addr).await?;
        let name = "localhost".try_into().unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }
}

struct Running {
    addr: SocketAddr,
    bus: EventBus,
    tls: Tls,
    drain: CancellationToken,
    server: tokio::task::JoinHandle<usize>,
}

async fn start(authority: &Authority) -> Running {
    let (chain, key) = authority.sign();
    let tls = Tls::new(chain.as_bytes(), key.as_bytes()).unwrap();
    let bus = EventBus::new(BusConfig::default().framing(WEBSOCKET)).unwrap();
    let manager = ConnectionManager::new(bus.clone(), ConnectionsConfig::default()).unwrap();
    let config = TransportConfig::default().header_read_timeout(Duration::from_secs(2));
    let service = TidingsService::new(manager, config).unwrap();
    let server = Server::bind(([127, 0, 0, 1], 0).into(), service)
        .await
        .unwrap();
    let server = server.secured(Arc::new(tls.clone()));
    let addr = server.local_addr();
    let drain = CancellationToken::new();
    let server = tokio::spawn(server.run(drain.clone(), Duration::from_secs(1), DEADLINE));
    Running {
        addr,
        bus,
        tls,
        drain,
        server,
    }
}

impl Running {
    async fn publish(&self) {
        let task = "build-1".parse().unwrap();
        let event = serde_json::from_str(r#"{"event_type":"own","data":{}}"#).unwrap();
        self.bus.publish(&task, event).await.unwrap();
    }

    async fn stop(self) {
        self.drain.cancel();
        assert_eq!(self.server.await.unwrap(), 0, "nothing had to be aborted");
    }
}

#[tokio::test]
async fn a_watcher_stays_while_the_certificate_is_exchanged() {
    let authority = Authority::new();
    let running = start(&authority).await;
    let stream = authority.connect(running.addr, b"http/1.1").await.unwrap();
    let first = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let url = "wss://localhost/ws/tasks/build-1";
    let (mut watcher, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let mut checker = WireChecker::default();
    let next = async |watcher: &mut tokio_tungstenite::WebSocketStream<_>,
                      checker: &mut WireChecker| loop {
        let message = tokio::time::timeout(DEADLINE, watcher.next())
            .await
            .unwrap();
        if let Message::Text(text) = message.unwrap().unwrap() {
            return checker.message(&text).unwrap();
        }
    };
    assert_eq!(
        next(&mut watcher, &mut checker).await["event_type"],
        "connection_established"
    );
    running.publish().await;
    assert_eq!(next(&mut watcher, &mut checker).await["offset"], 1);

    let (chain, key) = authority.sign();
    let (_, others) = authority.sign();
    let mismatch = running.tls.replace(chain.as_bytes(), others.as_bytes());
    assert!(
        matches!(mismatch, Err(CertificateError::Key(_))),
        "{mismatch:?}"
    );
    let same = authority.connect(running.addr, b"http/1.1").await.unwrap();
    assert_eq!(
        same.get_ref().1.peer_certificates().unwrap()[0],
        first,
        "it stays"
    );
    running
        .tls
        .replace(chain.as_bytes(), key.as_bytes())
        .unwrap();
    let stream = authority.connect(running.addr, b"http/1.1").await.unwrap();
    assert_ne!(stream.get_ref().1.peer_certificates().unwrap()[0], first);
    running.publish().await;
    assert_eq!(next(&mut watcher, &mut checker).await["offset"], 2);
    drop((watcher, stream, same));
    running.stop().await;
}

#[tokio::test]
async fn rest_and_streams_go_over_http2_where_it_is_agreed_on() {
    let authority = Authority::new();
    let running = start(&authority).await;
    running.publish().await;
    let stream = authority.connect(running.addr, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let request = |path: &str, accept: &str| {
        http::Request::get(format!("https://localhost{path}"))
            .header("accept", accept)
            .body(Empty::<Bytes>::new())
            .unwrap()
    };
    let mut events = sender
        .send_request(request(
            "/api/tasks/build-1/events?since=0",
            "text/event-stream",
        ))
        .await
        .unwrap()
        .into_body();
    let page = sender
        .send_request(request("/api/tasks", "*/*"))
        .await
        .unwrap();
    assert_eq!(
        (page.status(), page.version()),
        (http::StatusCode::OK, http::Version::HTTP_2)
    );
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    let page = page.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&page).contains("build-1"));
    let mut seen = String::new();
    while !seen.contains("\"offset\":1,\"timestamp\"") {
        let frame = tokio::time::timeout(DEADLINE, events.frame())
            .await
            .unwrap();
        let data = frame.unwrap().unwrap().into_data().unwrap();
        seen.push_str(&String::from_utf8_lossy(&data));
    }
    drop((events, sender));
    connection.abort();
    running.stop().await;
}

#[tokio::test]
async fn who_does_not_shake_hands_is_let_go() {
    let authority = Authority::new();
    let running = start(&authority).await;
    // The client does not trust another authority's certificate and ends the connection.
    assert!(Authority::new().connect(running.addr, b"h2").await.is_err());
    // Plain HTTP, a broken TLS hello, and nothing at all.
    for hello in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01", b""] {
        let mut stream = TcpStream::connect(running.addr).await.unwrap();
        stream.write_all(hello).await.unwrap();
        let mut rest = Vec::new();
        let end = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "the server closes it");
    }
    running.stop().await;
}

#[test]
fn what_is_no_certificate_is_refused_by_what_is_wrong() {
    let (chain, key) = Authority::new().sign();
    let (_, other) = Authority::new().sign();
    for (chain, key, expected) in [
        (chain.as_str(), key.as_str(), None),
        ("", &key, Some("no certificate")),
        (&key, &key, Some("no certificate")),
        (&chain, "", Some("no private key")),
        (&chain, &chain, Some("no private key")),
        (&chain, &other, Some("does not belong to")),
    ] {
        let made = Tls::new(chain.as_bytes(), key.as_bytes());
        let error = made.err().map(|error| error.to_string());
        assert_eq!(error.is_none(), expected.is_none(), "{error:?}");
        assert!(
            error
                .unwrap_or_default()
                .contains(expected.unwrap_or_default())
        );
    }
}
