//! The settings of a [`ConnectionManager`](crate::ConnectionManager).

use std::time::Duration;

use tidings_bus::{LogLimits, SkipPolicy};

use crate::defaults;
use crate::limits::ClientLimits;

/// The settings of connections. [`defaults`] explains the default values.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionsConfig {
    /// The time between two heartbeats. Default: 25 s.
    pub heartbeat_interval: Duration,
    /// How long a write may make no progress. It is noticed within twice this time. Default: 30 s.
    pub write_timeout: Duration,
    /// How long the writing of a close may take. Default: 5 s.
    pub close_timeout: Duration,
    /// How long a disconnected client is kept. Zero keeps none. Default: 5 min.
    pub offline_ttl: Duration,
    /// The most disconnected clients to keep. Default: 100,000.
    pub max_away: usize,
    /// The most connections at a time. Default: 15,000.
    pub max_connections: usize,
    /// The most tasks and patterns that one connection may subscribe to by name. Default: 1,000.
    pub max_subscriptions: usize,
    /// The largest message from a client, in bytes. Default: 64 KiB.
    pub max_message_bytes: usize,
    /// How far behind a connection must be to skip events that it may miss. Default: 256 events.
    pub skip: SkipPolicy,
    /// The limits of an inbox. Default: 100 messages, 256 KiB.
    pub inbox: LogLimits,
    /// The most bytes of answers that may wait for a client that does not read. Default: 64 KiB.
    pub max_pending_answers: usize,
    /// The number of tasks that a change of subscriptions visits before it yields to others.
    /// Default: 64, which takes a tenth of a millisecond. A higher number makes the change faster,
    /// but others wait longer.
    pub slice: usize,
    /// The limits of a single client. Default: no limits.
    pub limits: ClientLimits,
    /// The most events that `history=N` returns. Default: 1,000.
    pub max_history: u32,
}

impl Default for ConnectionsConfig {
    fn default() -> Self {
        Self {
            heartbeat_interval: defaults::HEARTBEAT_INTERVAL,
            write_timeout: defaults::WRITE_TIMEOUT,
            close_timeout: defaults::CLOSE_TIMEOUT,
            offline_ttl: defaults::OFFLINE_TTL,
            max_away: defaults::MAX_AWAY,
            max_connections: defaults::MAX_CONNECTIONS,
            max_subscriptions: defaults::MAX_SUBSCRIPTIONS,
            max_message_bytes: defaults::MAX_MESSAGE_BYTES,
            skip: SkipPolicy::behind(defaults::SKIP_BEHIND),
            inbox: LogLimits {
                max_events: defaults::INBOX_MESSAGES,
                max_bytes: defaults::INBOX_BYTES,
            },
            max_pending_answers: defaults::MAX_PENDING_ANSWERS,
            slice: defaults::SLICE,
            limits: ClientLimits::default(),
            max_history: defaults::MAX_HISTORY,
        }
    }
}

/// A setting that does not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be at least {least}")]
pub struct ConnectionsConfigError {
    /// The name of the field.
    pub field: &'static str,
    /// The smallest value that works.
    pub least: u64,
}

macro_rules! setters {
    ($($name:ident: $type:ty),* $(,)?) => {
        /// Chained setters, one per field. The fields explain their meaning.
        impl ConnectionsConfig {
            $(
                /// Sets the field with this name.
                #[must_use]
                pub fn $name(mut self, value: $type) -> Self {
                    self.$name = value;
                    self
                }
            )*
        }
    };
}

setters! {
    heartbeat_interval: Duration,
    write_timeout: Duration,
    close_timeout: Duration,
    offline_ttl: Duration,
    max_away: usize,
    max_connections: usize,
    max_subscriptions: usize,
    max_message_bytes: usize,
    skip: SkipPolicy,
    inbox: LogLimits,
    max_pending_answers: usize,
    slice: usize,
    limits: ClientLimits,
    max_history: u32,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl ConnectionsConfig {
    pub(crate) fn validate(&self) -> Result<(), ConnectionsConfigError> {
        let checks = [
            (
                "heartbeat_interval (ms)",
                millis(self.heartbeat_interval),
                10,
            ),
            ("write_timeout (ms)", millis(self.write_timeout), 10),
            ("close_timeout (ms)", millis(self.close_timeout), 1),
            ("max_connections", self.max_connections as u64, 1),
            ("max_subscriptions", self.max_subscriptions as u64, 1),
            ("max_message_bytes", self.max_message_bytes as u64, 256),
            ("slice", self.slice as u64, 1),
            ("inbox.max_events", self.inbox.max_events, 1),
            ("inbox.max_bytes", self.inbox.max_bytes as u64, 1_024),
            (
                "max_pending_answers",
                self.max_pending_answers as u64,
                1_024,
            ),
        ];
        for (field, value, least) in checks {
            if value < least {
                return Err(ConnectionsConfigError { field, least });
            }
        }
        Ok(())
    }
}
