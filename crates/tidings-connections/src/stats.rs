//! Counters of connections.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tidings_protocol::{CloseCode, ErrorCode};

use crate::close::CloseReason;
use crate::limits::LimitStats;

/// Counters since the manager was created. Some fields are current values, as they say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// The current number of connections.
    pub connected: u64,
    /// The current number of disconnected clients that may resume.
    pub away: u64,
    /// The number of connections accepted.
    pub accepted: u64,
    /// The number of connections refused.
    pub rejected: u64,
    /// The number of connections that resumed their client's state.
    pub resumed: u64,
    /// The number of connections closed because the client did not answer or did not read.
    pub timed_out: u64,
    /// The number of personal messages put into inboxes.
    pub personal_messages: u64,
    /// The number of tokens refused and of requests without a token.
    pub unauthenticated: u64,
    /// The number of requests that the token did not allow.
    pub forbidden: u64,
    /// The number of connections closed because their token had expired.
    pub tokens_expired: u64,
    /// The number of messages received from clients.
    pub messages: u64,
    /// The number of bytes received from clients, including framing.
    pub bytes_in: u64,
    /// The number of bytes handed to sockets, including framing.
    pub bytes_out: u64,
    /// How often each limit of clients was reached.
    pub limited: LimitStats,
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
    pub(crate) messages: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    /// Indexed by the place in `CloseCode::ALL`. The client's own closes are counted separately.
    closes: [AtomicU64; CloseCode::ALL.len()],
    gone: AtomicU64,
    /// Indexed by the place in `ErrorCode::ALL`.
    errors: [AtomicU64; ErrorCode::ALL.len()],
}

fn place<T: PartialEq>(all: &[T], one: &T) -> Option<usize> {
    all.iter().position(|known| known == one)
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
        let counter = match reason {
            CloseReason::ClientGone => Some(&self.gone),
            reason => place(CloseCode::ALL, &reason.code()).map(|at| &self.closes[at]),
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn count_personal(&self) {
        self.personal.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn error(&self, code: ErrorCode) {
        if let Some(at) = place(ErrorCode::ALL, &code) {
            self.errors[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn ends(&self) -> Vec<(Option<CloseCode>, u64)> {
        let codes = CloseCode::ALL.iter().copied().map(Some).chain([None]);
        let counts = self.closes.iter().chain([&self.gone]);
        codes
            .zip(counts.map(|count| count.load(Ordering::Relaxed)))
            .collect()
    }

    pub(crate) fn errors(&self) -> Vec<(ErrorCode, u64)> {
        let counts = self
            .errors
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        ErrorCode::ALL.iter().copied().zip(counts).collect()
    }

    pub(crate) fn read(
        &self,
        connected: usize,
        away: usize,
        limited: LimitStats,
    ) -> ConnectionStats {
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
            messages: get(&self.messages),
            bytes_in: get(&self.bytes_in),
            bytes_out: get(&self.bytes_out),
            limited,
        }
    }
}

/// The current connections, by state and by number of undelivered events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStates {
    /// Connections whose socket accepts data.
    pub flowing: u64,
    /// Connections whose socket is full.
    pub blocked: u64,
    /// Connections that are closing.
    pub closing: u64,
    /// Connections by their number of undelivered events over all subscriptions. The bounds are
    /// [`LAG_BOUNDS`]; the last entry counts the rest.
    pub by_lag: [u64; LAG_BOUNDS.len() + 1],
    /// The number of undelivered events of all connections.
    pub lag: u64,
    /// The number of cursors: subscriptions by name and by pattern, and inboxes.
    pub subscriptions: u64,
}

/// The upper bounds of [`ConnectionStates::by_lag`]: caught up, behind by a burst, starting to
/// skip, and at the end of what a log keeps by default.
pub const LAG_BOUNDS: [u64; 4] = [0, 16, 256, 1_000];
