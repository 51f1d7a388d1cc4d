//! The counters of a bus: atomics that are read together as [`BusStats`].

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tidings_protocol::{Gap, GapReason, ResetReason};

use crate::spread::Spread;
use crate::timing::Timings;

/// Counters since the bus was created. Some fields are current values, as they say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BusStats {
    /// The number of events accepted into logs.
    pub events_published: u64,
    /// The number of publishes that repeated an event accepted before.
    pub duplicates: u64,
    /// The number of publishes refused, for any reason.
    pub refused: u64,
    /// The number of events handed to subscribers, including sockets.
    pub deliveries: u64,
    /// The number of gaps reported, by reason.
    pub gaps: GapCounts,
    /// The number of events that those gaps replaced, by reason.
    pub gap_events: GapCounts,
    /// The number of resets reported to subscribers.
    pub resets: ResetCounts,
    /// The number of bytes of `data` in accepted events.
    pub bytes_published: u64,
    /// The number of events that retention has removed.
    pub events_dropped: u64,
    /// The number of tasks removed, by retention or by a deletion.
    pub tasks_removed: u64,
    /// The number of tasks that left memory because it was short, and that remain in the store.
    pub tasks_shelved: u64,
    /// The current number of tasks, including undeclared tasks that are only watched.
    pub tasks: u64,
    /// The current number of tasks, by status.
    pub tasks_by_status: StatusCounts,
    /// The bytes that tasks use now: logs, snapshots, rules and bookkeeping.
    pub bytes: u64,
    /// The bytes that clients use now besides tasks: undeclared tasks, cursors, inboxes.
    pub bytes_clients: u64,
    /// Requests refused because their account held as much as one account may.
    pub memory_refused_account: u64,
    /// Requests refused because all clients together held as much as they may.
    pub memory_refused_clients: u64,
    /// The bytes of events that a write-behind store does not have yet.
    pub bytes_unsaved: u64,
    /// The current number of event handlers.
    pub handlers: u64,
    /// The number of errors that handlers have returned.
    pub handler_errors: u64,
    /// The number of panics in handlers.
    pub handler_panics: u64,
    /// The number of events that handlers had not handled when the bus stopped.
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
    pub(crate) deliveries: Spread,
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
    /// Counts events handed to a subscriber. Code outside of the bus, such as the writer of a
    /// socket, calls this with the number of events of one write.
    pub fn delivered(&self, events: u64) {
        self.deliveries.add(events);
    }

    /// Counts a gap that was reported to a subscriber.
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

    /// Counts a reset that was reported to a subscriber.
    pub fn reset(&self, reason: ResetReason) {
        let at = match reason {
            ResetReason::EpochChanged => 0,
            ResetReason::Removed => 1,
            ResetReason::Ahead => 2,
        };
        self.resets[at].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the measured durations.
    pub fn timings(&self) -> &Timings {
        &self.timings
    }

    pub(crate) fn read(&self) -> BusStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BusStats {
            events_published: get(&self.published),
            duplicates: get(&self.duplicates),
            refused: get(&self.refused),
            deliveries: self.deliveries.sum(),
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
