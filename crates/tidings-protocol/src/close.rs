//! Close codes: why a connection closes, and what its client does next.

/// The next step of a client after its connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reconnect {
    /// Do not reconnect: the next connection would be closed for the same reason.
    Never,
    /// Connect at once.
    Now,
    /// Connect after the time that the server has given.
    After,
    /// Connect after a pause that grows with each failure.
    Backoff,
}

crate::text::named_enum!(Reconnect, UnknownReconnect, "a reconnect action", {
    Never => "never",
    Now => "now",
    After => "after",
    Backoff => "backoff",
});

/// A WebSocket close code that the server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// 1000: the connection is no longer needed.
    Normal,
    /// 1001: the peer is going away.
    GoingAway,
    /// 1002: a frame violates RFC 6455.
    Protocol,
    /// 1003: the client sent a binary message.
    Unsupported,
    /// 1007: a text message is not UTF-8.
    InvalidPayload,
    /// 1008: the server does not accept the origin or the subprotocol.
    Policy,
    /// 1009: a message is too large.
    TooLarge,
    /// 1011: the server failed.
    Internal,
    /// 1012: the server restarts.
    Restart,
    /// 1013: the server is full.
    TryAgainLater,
    /// 4401: a token is missing, bad or expired.
    Unauthenticated,
    /// 4403: the token does not allow this.
    Forbidden,
    /// 4408: the client did not answer heartbeats.
    HeartbeatTimeout,
    /// 4409: a newer connection of the same client replaced this one.
    Replaced,
    /// 4429: the client sent too many requests.
    RateLimited,
}

impl CloseCode {
    /// Every code that the server uses.
    pub const ALL: &'static [Self] = &[
        Self::Normal,
        Self::GoingAway,
        Self::Protocol,
        Self::Unsupported,
        Self::InvalidPayload,
        Self::Policy,
        Self::TooLarge,
        Self::Internal,
        Self::Restart,
        Self::TryAgainLater,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::HeartbeatTimeout,
        Self::Replaced,
        Self::RateLimited,
    ];

    /// Returns the number that goes into the close frame.
    pub const fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::Unsupported => 1003,
            Self::InvalidPayload => 1007,
            Self::Policy => 1008,
            Self::TooLarge => 1009,
            Self::Internal => 1011,
            Self::Restart => 1012,
            Self::TryAgainLater => 1013,
            Self::Unauthenticated => 4401,
            Self::Forbidden => 4403,
            Self::HeartbeatTimeout => 4408,
            Self::Replaced => 4409,
            Self::RateLimited => 4429,
        }
    }

    /// Returns the code with this number, or `None` if the server never uses the number.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.code() == code)
    }

    /// Returns the next step of a client, unless a `going_away` message said otherwise.
    ///
    /// All clients are generated from this one table, see `docs/schema/close-codes.json`. After a
    /// code that is not in the table, such as 1005 or 1006, a client retries with backoff.
    pub const fn reconnect(self) -> Reconnect {
        match self {
            // The client was replaced, or it would repeat the mistake that closed the connection.
            Self::Protocol
            | Self::Unsupported
            | Self::InvalidPayload
            | Self::Policy
            | Self::TooLarge
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::Replaced => Reconnect::Never,
            // The client's network failed, not the server.
            Self::HeartbeatTimeout => Reconnect::Now,
            // The server sends `going_away` before each close. A 1000 without it comes from a proxy
            // whose idle timeout expired.
            Self::Normal
            | Self::GoingAway
            | Self::Internal
            | Self::Restart
            | Self::TryAgainLater
            | Self::RateLimited => Reconnect::Backoff,
        }
    }

    /// Returns whether another token may help. If so, a client that can get a new token gets one,
    /// and tries once more before it gives up.
    pub const fn is_about_token(self) -> bool {
        matches!(self, Self::Unauthenticated | Self::Forbidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_back() {
        for code in CloseCode::ALL {
            assert_eq!(CloseCode::from_code(code.code()), Some(*code));
        }
        for unused in [0, 999, 1004, 1005, 1006, 1010, 1015, 3000, 4000, u16::MAX] {
            assert_eq!(CloseCode::from_code(unused), None);
        }
    }
}
