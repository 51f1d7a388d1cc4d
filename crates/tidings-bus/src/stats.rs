//! Counters of a bus: plain atomics, read as one [`BusStats`].

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tidings_protocol::{Gap, GapReason, ResetReason};

use crate::timing::Timings;

/// Counts since the bus was made, unless said otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BusStats {
    /// Events accepted into logs.
    pub events_published: u64,
    /// Publishes answered with an earlier event's offset.
    pub duplicates: u64,
    /// Publishes refused, whatever the reason.
    pub refused: u64,
    /// Events handed to subscribers, sockets included.
    pub deliveries: u64,
    /// Gaps announced, by reason.
    pub gaps: GapCounts,
    /// Events that those gaps stood for, by reason.
    pub gap_events: GapCounts,
    /// Resets that subscribers were told of.
    pub resets: ResetCounts,
    /// Bytes of `data` of the events accepted.
    pub bytes_published: u64,
    /// Events that retention has dropped.
    pub events_dropped: u64,
    /// Tasks that retention or a deletion has removed.
    pub tasks_removed: u64,
    /// Tasks that have left memory because it was short, and are in the store.
    pub tasks_shelved: u64,
    /// Tasks known now, watched but undeclared ones included.
    pub tasks: u64,
    /// Tasks now, by status.
    pub tasks_by_status: StatusCounts,
    /// Bytes that tasks hold now: logs, snapshots and rules, bookkeeping included.
    pub bytes: u64,
    /// Bytes that clients hold now beside tasks: undeclared tasks, cursors, inboxes.
    pub bytes_clients: u64,
    /// Requests refused because their account held as much as one account may.
    pub memory_refused_account: u64,
    /// Requests refused because all clients together held as much as they may.
    pub memory_refused_clients: u64,
    /// Bytes of events that the store has yet to get, where it is written behind.
    pub bytes_unsaved: u64,
    /// Event handlers now.
    pub handlers: u64,
    /// Errors that handlers have returned.
    pub handler_errors: u64,
    /// Panics that handlers have raised.
    pub handler_panics: u64,
    /// Events that handlers had not handled when the bus stopped.
    pub handler_unhandled: u64,
}

/// Gaps by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's")]
pub struct GapCounts {
    pub expired: u64,
    pub overrun: u64,
    pub conflated: u64,
}

impl GapCounts {
    fn read(counters: &[AtomicU64; 3]) -> Self {
        let [expired, overrun, conflated] =
            std::array::from_fn(|at| counters[at].load(Ordering::Relaxed));
        Self {
            expired,
            overrun,
            conflated,
        }
    }
}

/// Resets by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's")]
pub struct ResetCounts {
    pub epoch_changed: u64,
    pub removed: u64,
    pub ahead: u64,
}

impl ResetCounts {
    fn read(counters: &[AtomicU64; 3]) -> Self {
        let [epoch_changed, removed, ahead] =
            std::array::from_fn(|at| counters[at].load(Ordering::Relaxed));
        Self {
            epoch_changed,
            removed,
            ahead,
        }
    }
}

/// Tasks by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's")]
pub struct StatusCounts {
    pub pending: u64,
    pub running: u64,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
}

/// The live counters behind [`BusStats`].
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) published: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) deliveries: AtomicU64,
    pub(crate) gaps: [AtomicU64; 3],
    pub(crate) gap_events: [AtomicU64; 3],
    pub(crate) resets: [AtomicU64; 3],
    pub(crate) bytes_published: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) removed: AtomicU64,
    pub(crate) shelved: AtomicU64,
    pub(crate) handler_errors: AtomicU64,
    pub(crate) handler_panics: AtomicU64,
    pub(crate) handler_unhandled: AtomicU64,
    pub(crate) timings: Timings,
}

impl Counters {
    /// Counts events handed to a subscriber. Watchers outside the bus call this
    /// (a socket's writer), with as many as went out in one go.
    pub fn delivered(&self, events: u64) {
        self.deliveries.fetch_add(events, Ordering::Relaxed);
    }

    /// Counts a gap that a subscriber was told of.
    pub fn gap(&self, gap: &Gap) {
        let at = match gap.reason {
            GapReason::Expired => 0,
            GapReason::Overrun => 1,
            GapReason::Conflated => 2,
        };
        self.gaps[at].fetch_add(1, Ordering::Relaxed);
        let events = (gap.to.get() + 1).saturating_sub(gap.from.get());
        self.gap_events[at].fetch_add(events, Ordering::Relaxed);
    }

    /// Counts a reset that a subscriber was told of.
    pub fn reset(&self, reason: ResetReason) {
        let at = match reason {
            ResetReason::EpochChanged => 0,
            ResetReason::Removed => 1,
            ResetReason::Ahead => 2,
        };
        self.resets[at].fetch_add(1, Ordering::Relaxed);
    }

    /// How long things take.
    pub fn timings(&self) -> &Timings {
        &self.timings
    }

    pub(crate) fn read(&self) -> BusStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BusStats {
            events_published: get(&self.published),
            duplicates: get(&self.duplicates),
            refused: get(&self.refused),
            deliveries: get(&self.deliveries),
            gaps: GapCounts::read(&self.gaps),
            gap_events: GapCounts::read(&self.gap_events),
            resets: ResetCounts::read(&self.resets),
            bytes_published: get(&self.bytes_published),
            events_dropped: get(&self.dropped),
            tasks_removed: get(&self.removed),
            tasks_shelved: get(&self.shelved),
            handler_errors: get(&self.handler_errors),
            handler_panics: get(&self.handler_panics),
            handler_unhandled: get(&self.handler_unhandled),
            ..BusStats::default()
        }
    }
}
