//! Counters of connections.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::close::CloseReason;

/// Counts since the manager was made, unless said otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Connections now.
    pub connected: u64,
    /// Clients that are away and may resume, now.
    pub away: u64,
    /// Connections ever made.
    pub accepted: u64,
    /// Connections refused before they began.
    pub rejected: u64,
    /// Connections that went on where their client had been.
    pub resumed: u64,
    /// Connections closed for no answer, or because they did not read.
    pub timed_out: u64,
    /// Personal messages put into inboxes.
    pub personal_messages: u64,
    /// Tokens refused, and requests without one.
    pub unauthenticated: u64,
    /// Requests that the token did not allow.
    pub forbidden: u64,
    /// Connections closed because their token had expired.
    pub tokens_expired: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) resumed: AtomicU64,
    pub(crate) timed_out: AtomicU64,
    pub(crate) personal: AtomicU64,
    pub(crate) unauthenticated: AtomicU64,
    pub(crate) forbidden: AtomicU64,
    pub(crate) tokens_expired: AtomicU64,
}

impl Counters {
    pub(crate) fn closed(&self, reason: CloseReason) {
        if matches!(
            reason,
            CloseReason::HeartbeatTimeout | CloseReason::WriteTimeout
        ) {
            self.timed_out.fetch_add(1, Ordering::Relaxed);
        }
        if reason == CloseReason::TokenExpired {
            self.tokens_expired.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self, connected: usize, away: usize) -> ConnectionStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ConnectionStats {
            connected: connected as u64,
            away: away as u64,
            accepted: get(&self.accepted),
            rejected: get(&self.rejected),
            resumed: get(&self.resumed),
            timed_out: get(&self.timed_out),
            personal_messages: get(&self.personal),
            unauthenticated: get(&self.unauthenticated),
            forbidden: get(&self.forbidden),
            tokens_expired: get(&self.tokens_expired),
        }
    }
}
