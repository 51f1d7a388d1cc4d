//! Why a connection is closed, and what its client does next.

/// What a client does after the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reconnect {
    /// Nothing: it would be the same again.
    Never,
    /// Connect at once.
    Now,
    /// Connect after the time that is given.
    After,
    /// Connect after a pause that grows with each failure.
    Backoff,
}

crate::text::named_enum!(Reconnect, UnknownReconnect, "what to do after a close", {
    Never => "never",
    Now => "now",
    After => "after",
    Backoff => "backoff",
});

/// A WebSocket close code that the server uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// 1000: nothing is left to do.
    Normal,
    /// 1001: the peer goes away.
    GoingAway,
    /// 1002: a frame breaks RFC 6455.
    Protocol,
    /// 1003: a binary message.
    Unsupported,
    /// 1007: text that is not UTF-8.
    InvalidPayload,
    /// 1008: an origin or a subprotocol that is not accepted.
    Policy,
    /// 1009: a message that is too large.
    TooLarge,
    /// 1011: an error of the server's own.
    Internal,
    /// 1012: the service restarts.
    Restart,
    /// 1013: the server is full.
    TryAgainLater,
    /// 4401: a token is missing, bad or expired.
    Unauthenticated,
    /// 4403: the token does not allow this.
    Forbidden,
    /// 4408: no answer to heartbeats.
    HeartbeatTimeout,
    /// 4409: a newer connection of the same client has taken over.
    Replaced,
    /// 4429: too many requests.
    RateLimited,
}

impl CloseCode {
    /// Every code.
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

    /// The number in the close frame.
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

    /// The code with this number; none for one that the server never uses.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.code() == code)
    }

    /// Returns what a client does next, unless `going_away` has told it otherwise.
    ///
    /// The one table that all clients are generated from, see `docs/schema/close-codes.json`.
    /// A code that is not in it, such as 1005 or 1006, is followed by a try with backoff.
    pub const fn reconnect(self) -> Reconnect {
        match self {
            // It was replaced, or would make the same mistake again.
            Self::Protocol
            | Self::Unsupported
            | Self::InvalidPayload
            | Self::Policy
            | Self::TooLarge
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::Replaced => Reconnect::Never,
            // Its network, and not the server, was at fault.
            Self::HeartbeatTimeout => Reconnect::Now,
            // The server says goodbye before each close: without that, 1000 is some
            // proxy's idle timeout.
            Self::Normal
            | Self::GoingAway
            | Self::Internal
            | Self::Restart
            | Self::TryAgainLater
            | Self::RateLimited => Reconnect::Backoff,
        }
    }

    /// Returns whether another token may help: a client that can get one does so, and
    /// tries once more before it gives up.
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
