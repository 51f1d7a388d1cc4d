//! Where a request has its token, and what that allows.

use std::net::SocketAddr;

use http::{HeaderMap, Request, header};
use tidings_connections::{Access, AuthError, Credentials};
use tidings_protocol::Secret;

use crate::query::Query;
use crate::service::{Core, PeerAddr};

/// What a token is offered as among the subprotocols: the one way in which a
/// page can send it with a WebSocket handshake.
const SUBPROTOCOL_PREFIX: &str = "bearer.";

/// A token, and who brought it.
pub(crate) struct Shown {
    token: Option<Secret>,
    addr: Option<SocketAddr>,
}

impl Core {
    /// What a request shows. Taken out of it, for its body need not be `Sync`
    /// and so is not to be held while this is checked.
    pub(crate) fn shown<B>(&self, request: &Request<B>) -> Shown {
        Shown {
            token: token(request, self.config.token_in_query),
            addr: request.extensions().get::<PeerAddr>().map(|addr| addr.0),
        }
    }

    /// What somebody may do who shows this.
    pub(crate) async fn access(&self, shown: Shown) -> Result<Access, AuthError> {
        let token = shown.token.as_ref().map(Secret::reveal);
        let credentials = Credentials::new(token, shown.addr);
        self.manager.authenticate(credentials).await
    }
}

/// The token of a request: the first of header, subprotocol and query.
fn token<B>(request: &Request<B>, in_query: bool) -> Option<Secret> {
    let headers = request.headers();
    bearer(headers)
        .or_else(|| subprotocol(headers))
        .or_else(|| {
            let query = Query::of(request.uri());
            in_query.then(|| query.text("token")).flatten()
        })
        .map(Secret::from)
}

/// `Authorization: Bearer …`; the scheme's case does not matter (RFC 9110 §11.1).
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
