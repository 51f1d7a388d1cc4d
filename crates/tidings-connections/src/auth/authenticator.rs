//! From a token to somebody.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tidings_protocol::{ErrorCode, Timestamp};

use super::Permissions;
use crate::close::CloseReason;
use crate::limits::Limited;

/// What somebody shows who wants to be let in.
#[derive(Clone, Copy, Default)]
#[non_exhaustive]
pub struct Credentials<'a> {
    /// The token, if there is one. Whoever gets it must not log it.
    pub token: Option<&'a str>,
    /// Where they come from.
    pub remote_addr: Option<SocketAddr>,
    request: Option<&'a (dyn Any + Send + Sync)>,
}

impl<'a> Credentials<'a> {
    /// Of somebody who shows this token.
    pub fn new(token: Option<&'a str>, remote_addr: Option<SocketAddr>) -> Self {
        Self {
            token,
            remote_addr,
            request: None,
        }
    }

    /// Adds the request that they came with, as the transport knows it.
    #[must_use]
    pub fn with_request(mut self, request: &'a (impl Any + Send + Sync)) -> Self {
        self.request = Some(request);
        self
    }

    /// Returns the request that they came with: cookies, other headers, what a
    /// middleware has put into its extensions. Over HTTP, `T` is
    /// `http::request::Parts`; see `tidings_transport::RequestParts`. None where the
    /// transport's requests are of another type, and for the message `authenticate`,
    /// which brings a token alone.
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

/// Somebody who was let in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Principal {
    /// Who it is: shown in connection info, the `by` of commands, and what
    /// limits per subject count by.
    pub subject: Option<Arc<str>>,
    /// What they may do.
    pub permissions: Permissions,
    /// Until when, any allowance for clocks that differ included; none: for as
    /// long as they stay connected.
    pub expires_at: Option<Timestamp>,
}

impl Principal {
    /// Somebody with these permissions, without a name and without an end.
    pub fn new(permissions: Permissions) -> Self {
        Self {
            permissions,
            ..Self::default()
        }
    }

    /// Sets who it is.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<Arc<str>>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Sets until when.
    #[must_use]
    pub fn expires_at(mut self, at: Option<Timestamp>) -> Self {
        self.expires_at = at;
        self
    }
}

/// Why somebody is not let in. The text is meant for them: it says what is
/// wrong with the token, and nothing of what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// There is no token; get one.
    #[error("a token is needed")]
    Missing,
    /// It is not a token of the kind that is used here.
    #[error("the token is malformed")]
    Malformed,
    /// It is not one of ours: signed by another key, changed, or unknown.
    #[error("the token is not valid")]
    Invalid,
    /// It is ours, but made for another audience or by another issuer.
    #[error("the token is not for this server")]
    NotForHere,
    /// Its time is over; get another.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Too many tokens from this address were refused; wait, and correct the token.
    #[error(transparent)]
    Limited(Limited),
    /// It cannot be checked now; try again later.
    #[error("tokens cannot be checked at the moment")]
    Unavailable,
}

impl AuthError {
    /// The protocol's code.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Unavailable => ErrorCode::Unavailable,
            Self::Limited(_) => ErrorCode::RateLimited,
            _ => ErrorCode::Unauthenticated,
        }
    }

    /// How a transport that can only close tells it.
    pub fn close_reason(self) -> CloseReason {
        match self {
            Self::Unavailable => CloseReason::Full,
            Self::Limited(_) => CloseReason::RateLimited,
            Self::Expired => CloseReason::TokenExpired,
            _ => CloseReason::Unauthenticated,
        }
    }
}

/// Knows who may come in: the seam for one's own way of checking tokens, cookies or
/// certificates.
///
/// A service whose own middleware knows already who asks needs none: it puts an
/// [`Access`](super::Access) into the extensions of the request.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no authenticator",
    note = "implement `Authenticator` for it, with `#[async_trait]` above the `impl`"
)]
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Says who shows these credentials.
    ///
    /// Called for every HTTP request, every connection, and every
    /// `authenticate` message, so it is to be quick; without a token too, for
    /// those who let strangers in with permissions of their own.
    ///
    /// # Errors
    /// See [`AuthError`].
    async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Principal, AuthError>;
}
