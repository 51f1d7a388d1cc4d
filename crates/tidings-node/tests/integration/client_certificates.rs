//! Clients that show a certificate. An authenticator sees the certificate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidings_bus::{BusConfig, EventBus};
use tidings_connections::{
    AuthError, Authenticator, ConnectionManager, ConnectionsConfig, Credentials, Permissions,
    Principal,
};
use tidings_node::Server;
use tidings_testkit::DEADLINE;
use tidings_tls::{CertificateError, Tls};
use tidings_transport::{PeerCertificates, RequestParts, TidingsService, TransportConfig};
use tokio_util::sync::CancellationToken;

use crate::secure_connections::Authority;

/// Accepts every client that shows its own certificate and no other.
struct ByCertificate;

#[async_trait::async_trait]
impl Authenticator for ByCertificate {
    async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Principal, AuthError> {
        let request: &RequestParts = credentials.request().ok_or(AuthError::Missing)?;
        let shown = request.extensions.get::<PeerCertificates>();
        let PeerCertificates(shown) = shown.ok_or(AuthError::Missing)?;
        assert_eq!(shown.len(), 1, "the client's own certificate");
        Ok(Principal::new(Permissions::all()))
    }
}

async fn start(authority: &Authority) -> (SocketAddr, CancellationToken) {
    let (chain, key) = authority.sign();
    let tls = Tls::new(chain.as_bytes(), key.as_bytes()).unwrap();
    let tls = tls.ask_clients(authority.pem().as_bytes()).unwrap();
    let bus = EventBus::new(BusConfig::default()).unwrap();
    let config = ConnectionsConfig::default();
    let manager = ConnectionManager::with_authenticator(bus, config, Arc::new(ByCertificate));
    let service = TidingsService::new(manager.unwrap(), TransportConfig::default()).unwrap();
    let server = Server::bind(([127, 0, 0, 1], 0).into(), service);
    let server = server.await.unwrap().secured(Arc::new(tls));
    let (addr, drain) = (server.local_addr(), CancellationToken::new());
    tokio::spawn(server.run(drain.clone(), Duration::ZERO, DEADLINE));
    (addr, drain)
}

/// Returns the status of a request over a new connection, or `None` if the connection fails.
async fn status(
    authority: &Authority,
    addr: SocketAddr,
    alpn: &[u8],
    shown: Option<&(String, String)>,
) -> Option<StatusCode> {
    let stream = authority.connect_as(addr, alpn, shown).await.ok()?;
    let request = Request::get("https://localhost/api/tasks").header("host", "localhost");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    // Over TLS 1.3, a client learns only after the handshake that its certificate is refused.
    let answer = if alpn == b"h2" {
        let io = TokioIo::new(stream);
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.ok()?;
        tokio::spawn(connection);
        sender.send_request(request).await
    } else {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        sender.send_request(request).await
    };
    answer.ok().map(|answer| answer.status())
}

#[tokio::test]
async fn an_authenticator_sees_the_certificate_of_a_client() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (addr, drain) = start(&authority).await;
    let (known, unknown) = (authority.sign(), other.sign());
    for alpn in [&b"http/1.1"[..], b"h2"] {
        let known = status(&authority, addr, alpn, Some(&known)).await;
        assert_eq!(known, Some(StatusCode::OK));
        let nobody = status(&authority, addr, alpn, None).await;
        assert_eq!(nobody, Some(StatusCode::UNAUTHORIZED));
        let unknown = status(&authority, addr, alpn, Some(&unknown)).await;
        assert_eq!(unknown, None, "another authority has signed it");
    }
    drain.cancel();
}

#[test]
fn an_authority_that_is_none_is_refused() {
    let (chain, key) = Authority::new().sign();
    let tls = Tls::new(chain.as_bytes(), key.as_bytes()).unwrap();
    let refused = tls.ask_clients(b"").unwrap_err();
    assert!(
        matches!(refused, CertificateError::Authorities(_)),
        "{refused}"
    );
}
