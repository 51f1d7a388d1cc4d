//! The reasons for closing a connection, with their codes and texts.

use std::time::Duration;

use tidings_protocol::{CloseCode, ErrorCode, Reconnect};

/// The reason for which the server closes a connection, or found it closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client closed it, or its connection broke.
    ClientGone,
    /// The client did not answer heartbeats.
    HeartbeatTimeout,
    /// A write made no progress within the write timeout.
    WriteTimeout,
    /// The same client connected again.
    Replaced,
    /// An operator closed it.
    Kicked,
    /// The server drains. The client should reconnect after this time.
    Restart(Duration),
    /// The client has no permission for this.
    Forbidden,
    /// The token is missing, invalid or expired.
    Unauthenticated,
    /// The token has expired.
    TokenExpired,
    /// The client sent more than it may, or has too many connections.
    RateLimited,
    /// The server is full.
    Full,
    /// The store that the nodes share cannot be read at the moment.
    Unavailable,
    /// The client sent a binary message.
    Binary,
    /// A text message is not UTF-8.
    InvalidPayload,
    /// The server does not accept the origin or the subprotocol.
    Policy,
    /// A message is too large.
    TooLarge,
    /// The client violated RFC 6455.
    Protocol,
    /// The server failed.
    Internal,
}

impl CloseReason {
    /// Returns the WebSocket close code.
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

    /// Returns the reason as a short text, for `going_away` and the close frame.
    pub fn text(self) -> &'static str {
        match self {
            Self::ClientGone => "goodbye",
            Self::HeartbeatTimeout => "no answer to heartbeats",
            Self::WriteTimeout => "the client does not read",
            Self::Replaced => "replaced by a newer connection",
            Self::Kicked => "closed by an operator",
            Self::Restart(_) => "the service restarts",
            Self::Forbidden => "not allowed",
            Self::Unauthenticated => "a valid token is needed",
            Self::TokenExpired => "the token has expired",
            Self::RateLimited => "the client exceeded a limit",
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

    /// Returns what the client should do after the close.
    pub fn reconnect(self) -> Reconnect {
        match self {
            Self::Restart(_) => Reconnect::After,
            Self::Kicked => Reconnect::Never,
            other => other.code().reconnect(),
        }
    }

    /// Returns how long the client should wait before it reconnects.
    pub fn reconnect_after(self) -> Option<Duration> {
        match self {
            Self::Restart(after) => Some(after),
            _ => None,
        }
    }

    /// Returns the error that is sent before the close, if the client caused it.
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
