//! The limits by name, and how often each was hit.

use std::time::Duration;

use serde::Serialize;

/// The limits that a client can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The number of connections from one address.
    AddressConnections,
    /// The number of connections of one subject.
    SubjectConnections,
    /// The number of connections that are begun.
    Handshakes,
    /// The number of messages.
    Messages,
    /// The number of bytes.
    Bytes,
    /// The number of tasks created.
    Tasks,
    /// The number of requests that failed before their client was authenticated.
    Failures,
    /// The number of tasks matched and events read.
    Work,
    /// The number of HTTP connections at a time.
    HttpConnections,
    /// The number of messages and requests that were refused.
    Refusals,
}

impl Limit {
    /// All limits, in the order of their variants.
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

    /// Returns the counted thing in words, for an error text.
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

    /// Returns advice for a client that has reached the limit.
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

/// Returned when a client has reached a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "too many {}; try again in {} ms, and {}",
    .limit.as_str(), .retry_after.as_millis(), .limit.advice()
)]
#[non_exhaustive]
pub struct Limited {
    /// The limit.
    pub limit: Limit,
    /// How long to wait before the next try.
    pub retry_after: Duration,
}

/// How often each limit was reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LimitStats {
    /// The number of connections refused because of their address.
    pub address_connections: u64,
    /// The number of connections refused because of their subject.
    pub subject_connections: u64,
    /// The number of connections refused because too many were begun in a short time.
    pub handshakes: u64,
    /// The number of messages and requests refused.
    pub messages: u64,
    /// The number of reads and bodies refused.
    pub bytes: u64,
    /// The number of tasks that were not created.
    pub tasks: u64,
    /// The number of requests refused unread, because too many requests from their address failed.
    pub failures: u64,
    /// The number of requests refused because their client had caused too much work.
    pub work: u64,
    /// The number of HTTP connections that were refused, admitted for probes only, or closed in
    /// favour of another one.
    pub http_connections: u64,
    /// The number of connections closed and requests refused, because too many earlier ones were
    /// refused.
    pub refusals: u64,
}

impl LimitStats {
    /// Returns how often each limit was reached, with the limit's name in metrics.
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
