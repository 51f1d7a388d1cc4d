//! Authentication: from a token to a principal.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tidings_protocol::{ErrorCode, Timestamp};

use super::Permissions;
use crate::close::CloseReason;
use crate::limits::Limited;

/// The credentials that a client presents, and the request that contained them.
#[derive(Clone, Copy, Default)]
#[non_exhaustive]
pub struct Credentials<'a> {
    /// The token, if there is one. Never log it.
    pub token: Option<&'a str>,
    /// The address of the client.
    pub remote_addr: Option<SocketAddr>,
    request: Option<&'a (dyn Any + Send + Sync)>,
}

impl<'a> Credentials<'a> {
    /// Creates credentials from a token and the client's address.
    pub fn new(token: Option<&'a str>, remote_addr: Option<SocketAddr>) -> Self {
        Self {
            token,
            remote_addr,
            request: None,
        }
    }

    /// Adds the request that contained the credentials.
    #[must_use]
    pub fn with_request(mut self, request: &'a (impl Any + Send + Sync)) -> Self {
        self.request = Some(request);
        self
    }

    /// Returns the request that contained the credentials, with its cookies, other headers and
    /// extensions. Over HTTP, `T` is `http::request::Parts`, see `tidings_transport::RequestParts`.
    /// Returns `None` if the transport's requests have another type. Also returns `None` for the
    /// message `authenticate`, which contains only a token.
    pub fn request<T: Any>(&self) -> Option<&'a T> {
        self.request?.downcast_ref()
    }
}

impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("token", &self.token.map(|_| "…"))
            .field("remote_addr", &self.remote_addr)
            .finish()
    }
}

/// An authenticated person or program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Principal {
    /// The principal's name. It appears in connection info and as the `by` of commands. Limits per
    /// subject are counted by it.
    pub subject: Option<Arc<str>>,
    /// The principal's permissions.
    pub permissions: Permissions,
    /// When the authentication ends, including any tolerance for clocks. `None` lasts as long as
    /// the connection.
    pub expires_at: Option<Timestamp>,
}

impl Principal {
    /// Creates a principal with these permissions, without a name and without an end.
    pub fn new(permissions: Permissions) -> Self {
        Self {
            permissions,
            ..Self::default()
        }
    }

    /// Sets the principal's name.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<Arc<str>>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Sets when the authentication ends.
    #[must_use]
    pub fn expires_at(mut self, at: Option<Timestamp>) -> Self {
        self.expires_at = at;
        self
    }
}

/// The reason why a client was not authenticated. The text is meant for the client. It says what is
/// wrong with the token, but not what a valid token would look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The request has no token. Get one.
    #[error("a token is needed")]
    Missing,
    /// The token does not have the expected form.
    #[error("the token is malformed")]
    Malformed,
    /// The token is unknown, was changed, or is signed with another key.
    #[error("the token is not valid")]
    Invalid,
    /// The token is genuine, but for another audience or from another issuer.
    #[error("the token is not for this server")]
    NotForHere,
    /// The token has expired. Get another one.
    #[error("the token has expired")]
    Expired,
    /// The token is not valid yet.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Too many tokens from this address were refused. Wait, and correct the token.
    #[error(transparent)]
    Limited(Limited),
    /// The server cannot check tokens at the moment. Try again later.
    #[error("tokens cannot be checked at the moment")]
    Unavailable,
}

impl AuthError {
    /// Returns the protocol's code for this error.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Unavailable => ErrorCode::Unavailable,
            Self::Limited(_) => ErrorCode::RateLimited,
            _ => ErrorCode::Unauthenticated,
        }
    }

    /// Returns the reason with which a transport closes a connection after this error.
    pub fn close_reason(self) -> CloseReason {
        match self {
            Self::Unavailable => CloseReason::Full,
            Self::Limited(_) => CloseReason::RateLimited,
            Self::Expired => CloseReason::TokenExpired,
            _ => CloseReason::Unauthenticated,
        }
    }
}

/// Authenticates clients. Implement this trait to check your own tokens, cookies or certificates.
///
/// If your own middleware already authenticates requests, you need no authenticator. Put an
/// [`Access`](super::Access) into the extensions of the request instead.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no authenticator",
    note = "implement `Authenticator` for it, with `#[async_trait]` above the `impl`"
)]
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Returns the principal that these credentials belong to.
    ///
    /// This is called for every HTTP request, every connection and every `authenticate` message, so
    /// it must be fast. It is also called without a token. An implementation may then grant
    /// permissions to strangers.
    ///
    /// # Errors
    /// Returns [`AuthError`] if the client is not authenticated.
    ///
    /// # Cancel safety
    /// The future is dropped if the client disconnects before it completes.
    async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Principal, AuthError>;
}
