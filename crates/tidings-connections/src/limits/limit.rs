//! The limits by name, and how often each was hit.

use std::time::Duration;

use serde::Serialize;

/// What a client has too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Connections from one address.
    AddressConnections,
    /// Connections of one subject.
    SubjectConnections,
    /// Connections begun.
    Handshakes,
    /// Messages.
    Messages,
    /// Bytes.
    Bytes,
    /// Tasks made.
    Tasks,
    /// Requests that came to nothing.
    Failures,
    /// Tasks matched and events read.
    Work,
    /// HTTP connections at a time.
    HttpConnections,
    /// Messages and requests that were refused.
    Refusals,
}

impl Limit {
    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::AddressConnections,
        Self::SubjectConnections,
        Self::Handshakes,
        Self::Messages,
        Self::Bytes,
        Self::Tasks,
        Self::Failures,
        Self::Work,
        Self::HttpConnections,
        Self::Refusals,
    ];

    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AddressConnections => "connections from this address",
            Self::SubjectConnections => "connections of this subject",
            Self::Handshakes => "new connections",
            Self::Messages => "messages",
            Self::Bytes => "bytes",
            Self::Tasks => "new tasks",
            Self::Failures => "failed requests from this address",
            Self::Work => "tasks and events looked at",
            Self::HttpConnections => "HTTP connections",
            Self::Refusals => "refused messages and requests",
        }
    }

    /// Returns what a client can do about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::AddressConnections | Self::SubjectConnections | Self::HttpConnections => {
                "close connections that are not needed, or watch several tasks on one"
            }
            Self::Handshakes => "keep connections open and reuse them",
            Self::Messages => "send fewer messages, or several events in one request",
            Self::Bytes => "send smaller events, or fewer",
            Self::Tasks => "publish to tasks that exist",
            Self::Failures => "correct the token or the address that is asked for",
            Self::Work => {
                "use narrower patterns, shorter pages, and subscribe instead of asking again"
            }
            Self::Refusals => "heed the errors that come back",
        }
    }

    /// Returns the limit's name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AddressConnections => "address_connections",
            Self::SubjectConnections => "subject_connections",
            Self::Handshakes => "handshakes",
            Self::Messages => "messages",
            Self::Bytes => "bytes",
            Self::Tasks => "tasks",
            Self::Failures => "failures",
            Self::Work => "work",
            Self::HttpConnections => "http_connections",
            Self::Refusals => "refusals",
        }
    }
}

/// A client has used what it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "too many {}; try again in {} ms, and {}",
    .limit.as_str(), .retry_after.as_millis(), .limit.advice()
)]
#[non_exhaustive]
pub struct Limited {
    /// What of.
    pub limit: Limit,
    /// When there is some again.
    pub retry_after: Duration,
}

/// How often each limit was hit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LimitStats {
    /// Connections refused for their address.
    pub address_connections: u64,
    /// Connections refused for their subject.
    pub subject_connections: u64,
    /// Connections refused for coming too fast.
    pub handshakes: u64,
    /// Messages and requests refused.
    pub messages: u64,
    /// Reads and bodies refused.
    pub bytes: u64,
    /// Tasks that were not made.
    pub tasks: u64,
    /// Requests refused unread, because too many from their address came to nothing.
    pub failures: u64,
    /// Requests refused, because their client had caused too much work.
    pub work: u64,
    /// HTTP connections that were turned away, let in for probes only, or ended
    /// for another.
    pub http_connections: u64,
    /// Connections ended and requests refused, because too many before were refused.
    pub refusals: u64,
}

impl LimitStats {
    /// Returns how often each limit was hit, with its name in metrics.
    pub fn each(&self) -> [(&'static str, u64); Limit::ALL.len()] {
        Limit::ALL.map(|limit| (limit.name(), self.of(limit)))
    }

    fn of(&self, limit: Limit) -> u64 {
        match limit {
            Limit::AddressConnections => self.address_connections,
            Limit::SubjectConnections => self.subject_connections,
            Limit::Handshakes => self.handshakes,
            Limit::Messages => self.messages,
            Limit::Bytes => self.bytes,
            Limit::Tasks => self.tasks,
            Limit::Failures => self.failures,
            Limit::Work => self.work,
            Limit::HttpConnections => self.http_connections,
            Limit::Refusals => self.refusals,
        }
    }
}
