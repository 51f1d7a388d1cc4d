//! Why a connection ends: one type, one mapping to codes and words.

use std::time::Duration;

use tidings_protocol::{CloseCode, ErrorCode, Reconnect};

/// Why the server closes a connection, or found it closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client closed it, or its connection broke.
    ClientGone,
    /// No answer to heartbeats.
    HeartbeatTimeout,
    /// Writes made no progress for the write timeout.
    WriteTimeout,
    /// The same client connected again.
    Replaced,
    /// An operator closed it.
    Kicked,
    /// The server drains; come back after this long.
    Restart(Duration),
    /// The client may not do this.
    Forbidden,
    /// Token missing, bad or expired.
    Unauthenticated,
    /// The token's time is over.
    TokenExpired,
    /// The client sends more than it may, or has too many connections.
    RateLimited,
    /// The server is full.
    Full,
    /// The store that nodes share cannot be read just now.
    Unavailable,
    /// A binary message came.
    Binary,
    /// A text message was not UTF-8.
    InvalidPayload,
    /// The origin or the subprotocol is not one of ours.
    Policy,
    /// A message was too large.
    TooLarge,
    /// RFC 6455 was broken.
    Protocol,
    /// Something went wrong here.
    Internal,
}

impl CloseReason {
    /// The WebSocket close code.
    pub fn code(self) -> CloseCode {
        match self {
            Self::ClientGone | Self::Kicked => CloseCode::Normal,
            Self::HeartbeatTimeout | Self::WriteTimeout => CloseCode::HeartbeatTimeout,
            Self::Replaced => CloseCode::Replaced,
            Self::Restart(_) => CloseCode::Restart,
            Self::Forbidden => CloseCode::Forbidden,
            Self::Unauthenticated | Self::TokenExpired => CloseCode::Unauthenticated,
            Self::RateLimited => CloseCode::RateLimited,
            Self::Full | Self::Unavailable => CloseCode::TryAgainLater,
            Self::Binary => CloseCode::Unsupported,
            Self::InvalidPayload => CloseCode::InvalidPayload,
            Self::Policy => CloseCode::Policy,
            Self::TooLarge => CloseCode::TooLarge,
            Self::Protocol => CloseCode::Protocol,
            Self::Internal => CloseCode::Internal,
        }
    }

    /// The reason in a word or three, for `going_away` and the close frame.
    pub fn text(self) -> &'static str {
        match self {
            Self::ClientGone => "goodbye",
            Self::HeartbeatTimeout => "no answer to heartbeats",
            Self::WriteTimeout => "the connection does not read",
            Self::Replaced => "replaced by a newer connection",
            Self::Kicked => "closed by an operator",
            Self::Restart(_) => "the service restarts",
            Self::Forbidden => "not allowed",
            Self::Unauthenticated => "a valid token is needed",
            Self::TokenExpired => "the token has expired",
            Self::RateLimited => "more than a client may",
            Self::Full => "the server is full",
            Self::Unavailable => "the service is not available",
            Self::Binary => "binary messages are not supported",
            Self::InvalidPayload => "text must be UTF-8",
            Self::Policy => "origin or subprotocol not accepted",
            Self::TooLarge => "message too large",
            Self::Protocol => "protocol error",
            Self::Internal => "internal error",
        }
    }

    /// What the client is to do next.
    pub fn reconnect(self) -> Reconnect {
        match self {
            Self::Restart(_) => Reconnect::After,
            Self::Kicked => Reconnect::Never,
            other => other.code().reconnect(),
        }
    }

    /// How long the client is to wait first.
    pub fn reconnect_after(self) -> Option<Duration> {
        match self {
            Self::Restart(after) => Some(after),
            _ => None,
        }
    }

    /// The error that is sent before the close, where the client did something wrong.
    pub fn error(self) -> Option<ErrorCode> {
        match self {
            Self::Forbidden => Some(ErrorCode::Forbidden),
            Self::Unauthenticated | Self::TokenExpired => Some(ErrorCode::Unauthenticated),
            Self::TooLarge => Some(ErrorCode::TooLarge),
            Self::RateLimited => Some(ErrorCode::RateLimited),
            Self::Full | Self::Unavailable => Some(ErrorCode::Unavailable),
            Self::Binary | Self::InvalidPayload => Some(ErrorCode::InvalidMessage),
            _ => None,
        }
    }
}
