//! The reasons why a client has no connection.

use std::error::Error;
use std::sync::Arc;

/// Why a client has no connection.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// No server answers at the address, or it is not a WebSocket server.
    #[error("the server cannot be reached")]
    Unreachable(#[source] Arc<dyn Error + Send + Sync>),
    /// The server answered the handshake with an HTTP status.
    #[error("the server answered with HTTP status {status}")]
    Refused {
        /// The status.
        status: u16,
    },
    /// Connecting took too long.
    #[error("the server did not answer in time")]
    Timeout,
    /// The server closed the connection.
    #[error("the server closed the connection{}{reason}", if reason.is_empty() { "" } else { ": " })]
    Closed {
        /// The WebSocket close code, if one came.
        code: Option<u16>,
        /// The server's reason, in its own words. It may be empty.
        reason: String,
    },
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] Arc<dyn Error + Send + Sync>),
    /// The server has been silent for too long.
    #[error("the server has fallen silent")]
    Silent,
    /// The token source failed, or did not answer in time. The client asks it again.
    #[error("the token source has given no token")]
    NoToken,
}

impl PartialEq for Loss {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unreachable(a), Self::Unreachable(b)) | (Self::Broken(a), Self::Broken(b)) => {
                Arc::ptr_eq(a, b)
            }
            (Self::Refused { status: a }, Self::Refused { status: b }) => a == b,
            (
                Self::Closed {
                    code: a,
                    reason: why_a,
                },
                Self::Closed {
                    code: b,
                    reason: why_b,
                },
            ) => a == b && why_a == why_b,
            (Self::Silent, Self::Silent)
            | (Self::Timeout, Self::Timeout)
            | (Self::NoToken, Self::NoToken) => true,
            _ => false,
        }
    }
}
