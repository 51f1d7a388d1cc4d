//! Finding the credentials of a request, and the permissions that they give.

use std::net::SocketAddr;

use http::request::Parts;
use http::{Extensions, HeaderMap, header};
use tidings_connections::{Access, AuthError, Credentials};
use tidings_protocol::Secret;

use crate::query::Query;
use crate::service::{Core, PeerAddr};

/// The prefix of a token among the subprotocols. It is the only way in which a web page can send a
/// token with a WebSocket handshake.
const SUBPROTOCOL_PREFIX: &str = "bearer.";

/// The client's certificates in DER form, its own first, as a request extension.
///
/// Insert this where you accept TLS connections, so that an
/// [`Authenticator`](tidings_connections::Authenticator) can see it.
#[derive(Debug, Clone)]
pub struct PeerCertificates(pub std::sync::Arc<[Vec<u8>]>);

/// Returns the value of a cookie.
///
/// ```
/// use http::Request;
///
/// let request = Request::builder().header("cookie", "theme=dark; session=s3cr3t");
/// let (parts, ()) = request.body(()).unwrap().into_parts();
/// assert_eq!(tidings_transport::cookie(&parts.headers, "session"), Some("s3cr3t"));
/// ```
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(known, value)| (known == name).then(|| value.trim_matches('"')))
}

/// Returns the address of the client, from the listener or from axum.
pub(crate) fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    if let Some(PeerAddr(addr)) = extensions.get() {
        return Some(*addr);
    }
    #[cfg(feature = "axum")]
    {
        use axum::extract::ConnectInfo;

        let plain = extensions.get::<ConnectInfo<SocketAddr>>();
        let own = extensions.get::<ConnectInfo<PeerAddr>>();
        plain
            .map(|ConnectInfo(addr)| *addr)
            .or_else(|| own.map(|ConnectInfo(PeerAddr(addr))| *addr))
    }
    #[cfg(not(feature = "axum"))]
    None
}

impl Core {
    /// Returns the permissions of a request. If a middleware of the application has put an
    /// [`Access`] into the request's extensions, that one is used.
    pub(crate) async fn access(&self, request: &Parts) -> Result<Access, AuthError> {
        if let Some(access) = request.extensions.get::<Access>() {
            return Ok(access.clone());
        }
        let token = token(request, self.config.token_in_query);
        let token = token.as_ref().map(Secret::reveal);
        let addr = request.extensions.get().map(|PeerAddr(addr)| *addr);
        let credentials = Credentials::new(token, addr).with_request(request);
        self.manager.authenticate(credentials).await
    }
}

/// Returns the token from the header, the subprotocol or the query, whichever is found first.
fn token(request: &Parts, in_query: bool) -> Option<Secret> {
    bearer(&request.headers)
        .or_else(|| subprotocol(&request.headers))
        .or_else(|| {
            let query = Query::of(&request.uri);
            in_query.then(|| query.text("token")).flatten()
        })
        .map(Secret::from)
}

/// Reads `Authorization: Bearer …`. The scheme is case-insensitive (RFC 9110 §11.1).
fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned())
}

fn subprotocol(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|name| name.trim().strip_prefix(SUBPROTOCOL_PREFIX))
        .map(str::to_owned)
}
