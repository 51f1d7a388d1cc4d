//! What the bus and the connections have counted.

use std::fmt::Error;

use tidings_bus::{BusStats, EventBus, GapCounts, TimingCounts};
use tidings_connections::{ConnectionManager, ConnectionStates, ConnectionStats, LAG_BOUNDS};
use tidings_protocol::{CloseCode, ErrorCode};

use crate::families::Families;

#[derive(Debug)]
pub(super) struct Bus {
    stats: BusStats,
    limit: usize,
    publish: TimingCounts,
    delivery: TimingCounts,
    store_read: TimingCounts,
    store_write: TimingCounts,
}

#[derive(Debug)]
pub(super) struct Connections {
    stats: ConnectionStats,
    limit: usize,
    states: ConnectionStates,
    ends: Vec<(Option<CloseCode>, u64)>,
    errors: Vec<(ErrorCode, u64)>,
}

fn gaps(gaps: GapCounts) -> [(&'static str, u64); 3] {
    [
        ("expired", gaps.expired),
        ("overrun", gaps.overrun),
        ("conflated", gaps.conflated),
    ]
}

impl Bus {
    pub(super) fn of(bus: &EventBus) -> Self {
        let timings = bus.counters().timings();
        Self {
            stats: bus.stats(),
            limit: bus.config().total_bytes,
            publish: timings.publish.read(),
            delivery: timings.delivery.read(),
            store_read: timings.store_read.read(),
            store_write: timings.store_write.read(),
        }
    }

    pub(super) fn encode(&self, to: &mut Families<'_>) -> Result<(), Error> {
        let stats = &self.stats;
        for (name, help, value) in [
            (
                "tidings_events_published",
                "Events accepted into logs",
                stats.events_published,
            ),
            (
                "tidings_events_published_bytes",
                "Bytes of data of the events accepted",
                stats.bytes_published,
            ),
            (
                "tidings_events_duplicate",
                "Publishes answered with an earlier event",
                stats.duplicates,
            ),
            ("tidings_events_refused", "Publishes refused", stats.refused),
            (
                "tidings_events_dropped",
                "Events dropped by retention",
                stats.events_dropped,
            ),
            (
                "tidings_deliveries",
                "Events handed to subscribers, sockets and those in the process",
                stats.deliveries,
            ),
            (
                "tidings_tasks_removed",
                "Tasks removed",
                stats.tasks_removed,
            ),
            (
                "tidings_handler_errors",
                "Errors of event handlers",
                stats.handler_errors,
            ),
            (
                "tidings_handler_panics",
                "Panics of event handlers",
                stats.handler_panics,
            ),
        ] {
            to.counter(name, help, value)?;
        }
        to.counters("tidings_gaps", "Gaps announced", "reason", gaps(stats.gaps))?;
        to.counters(
            "tidings_gap_events",
            "Events that gaps stood for",
            "reason",
            gaps(stats.gap_events),
        )?;
        to.counters(
            "tidings_resets",
            "Positions of subscribers that became void",
            "reason",
            [
                ("epoch_changed", stats.resets.epoch_changed),
                ("removed", stats.resets.removed),
                ("ahead", stats.resets.ahead),
            ],
        )?;
        to.gauge("tidings_tasks", "Tasks known now", stats.tasks)?;
        let by_status = stats.tasks_by_status;
        to.gauges(
            "tidings_tasks_by_status",
            "Tasks now that have had an event",
            "status",
            [
                ("pending", by_status.pending),
                ("running", by_status.running),
                ("completed", by_status.completed),
                ("failed", by_status.failed),
                ("cancelled", by_status.cancelled),
            ],
        )?;
        to.gauge("tidings_handlers", "Event handlers now", stats.handlers)?;
        to.gauges(
            "tidings_memory_bytes",
            "Bytes held now, by what for",
            "part",
            [("logs", stats.bytes), ("unsaved", stats.bytes_unsaved)],
        )?;
        to.gauge(
            "tidings_logs_limit_bytes",
            "Bytes that logs may hold",
            self.limit as u64,
        )?;
        to.histogram(
            "tidings_publish_duration_seconds",
            "From a call of publish to its answer, the store included",
            &self.publish,
        )?;
        to.histogram(
            "tidings_delivery_duration_seconds",
            "From a publish until every watcher of its task has been visited; one publish at a time is followed",
            &self.delivery,
        )?;
        to.histograms(
            "tidings_store_duration_seconds",
            "Calls of the store",
            "operation",
            &[("read", &self.store_read), ("write", &self.store_write)],
        )
    }
}

impl Connections {
    pub(super) fn of(manager: &ConnectionManager) -> Self {
        Self {
            stats: manager.stats(),
            limit: manager.config().max_connections,
            states: manager.states(),
            ends: manager.ends(),
            errors: manager.errors(),
        }
    }

    pub(super) fn encode(&self, to: &mut Families<'_>) -> Result<(), Error> {
        let (stats, states) = (&self.stats, &self.states);
        for (name, help, value) in [
            (
                "tidings_connections_accepted",
                "Connections made",
                stats.accepted,
            ),
            (
                "tidings_connections_rejected",
                "Connections refused",
                stats.rejected,
            ),
            (
                "tidings_connections_resumed",
                "Connections that went on where their client had been",
                stats.resumed,
            ),
            (
                "tidings_connections_timed_out",
                "Connections closed for silence",
                stats.timed_out,
            ),
            (
                "tidings_auth_failures",
                "Tokens refused, and requests without one",
                stats.unauthenticated,
            ),
            (
                "tidings_forbidden",
                "Requests that the token did not allow, or from a page of a foreign origin",
                stats.forbidden,
            ),
            (
                "tidings_tokens_expired",
                "Connections closed because their token had expired",
                stats.tokens_expired,
            ),
            (
                "tidings_messages_received",
                "Messages from clients",
                stats.messages,
            ),
            (
                "tidings_received_bytes",
                "Bytes from WebSocket clients, framing included",
                stats.bytes_in,
            ),
            (
                "tidings_sent_bytes",
                "Bytes handed to the sockets of connections, framing included",
                stats.bytes_out,
            ),
            (
                "tidings_personal_messages",
                "Personal messages put into inboxes",
                stats.personal_messages,
            ),
        ] {
            to.counter(name, help, value)?;
        }
        let limited = stats.limited;
        to.counters(
            "tidings_limited",
            "Refusals because a client had used what it may",
            "limit",
            limited.each(),
        )?;
        let codes: Vec<_> = self
            .ends
            .iter()
            .map(|(code, count)| {
                let code = code.map_or_else(|| "client".to_owned(), |code| code.code().to_string());
                (code, *count)
            })
            .collect();
        to.counters(
            "tidings_connections_closed",
            "Connections that ended, by the server's close code; client where the client ended it or it broke",
            "code",
            codes.iter().map(|(code, count)| (code.as_str(), *count)),
        )?;
        to.counters(
            "tidings_errors",
            "Errors told to clients, over WebSocket and HTTP; limits hit among them",
            "code",
            self.errors
                .iter()
                .map(|(code, count)| (code.as_str(), *count)),
        )?;
        to.gauges(
            "tidings_connections",
            "Connections now",
            "state",
            [
                ("flowing", states.flowing),
                ("blocked", states.blocked),
                ("closing", states.closing),
            ],
        )?;
        to.gauge(
            "tidings_connections_limit",
            "Connections that there may be",
            self.limit as u64,
        )?;
        to.gauge(
            "tidings_clients_away",
            "Clients that may resume, now",
            stats.away,
        )?;
        to.gauge(
            "tidings_subscriptions",
            "Cursors of connections now, inboxes included",
            states.subscriptions,
        )?;
        to.gauge(
            "tidings_lag_events",
            "Events that connections have still to get, now, all together",
            states.lag,
        )?;
        let bounds: Vec<_> = LAG_BOUNDS
            .iter()
            .map(ToString::to_string)
            .chain(["+Inf".to_owned()])
            .collect();
        to.gauges(
            "tidings_connections_by_lag",
            "Connections now, by how many events they have still to get: up to this many, and more than the bound before",
            "up_to",
            bounds.iter().map(String::as_str).zip(states.by_lag),
        )
    }
}
