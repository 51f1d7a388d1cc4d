//! Counters of connections.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tidings_protocol::{CloseCode, ErrorCode};

use crate::close::CloseReason;
use crate::limits::LimitStats;

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
    /// Messages received from clients.
    pub messages: u64,
    /// Bytes received from clients, framing included.
    pub bytes_in: u64,
    /// Bytes handed to sockets, framing included.
    pub bytes_out: u64,
    /// How often limits of clients were hit.
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
    /// By the place in `CloseCode::ALL`, and those that the client ended.
    closes: [AtomicU64; CloseCode::ALL.len()],
    gone: AtomicU64,
    /// By the place in `ErrorCode::ALL`.
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

/// What connections stand at, by state and by how far they are behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStates {
    /// Connections whose socket takes what it is offered.
    pub flowing: u64,
    /// Connections whose socket is full.
    pub blocked: u64,
    /// Connections that are being closed.
    pub closing: u64,
    /// Connections by the events that they have still to get, over all of their
    /// subscriptions: [`LAG_BOUNDS`], and more.
    pub by_lag: [u64; LAG_BOUNDS.len() + 1],
    /// The events that all of them have still to get.
    pub lag: u64,
    /// Cursors: subscriptions by name and by pattern, and inboxes.
    pub subscriptions: u64,
}

/// Upper bounds for [`ConnectionStates::by_lag`]: caught up, a burst behind,
/// beginning to skip, and at the end of what a log keeps by default.
pub const LAG_BOUNDS: [u64; 4] = [0, 16, 256, 1_000];
