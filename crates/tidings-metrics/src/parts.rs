//! The counters of the bus and of the connections.

use std::fmt::Error;

use tidings_bus::{BusStats, EventBus, GapCounts, LedgerLimits, TimingCounts};
use tidings_connections::{ConnectionManager, ConnectionStates, ConnectionStats, LAG_BOUNDS};
use tidings_protocol::{CloseCode, ErrorCode};

use crate::families::Families;

#[derive(Debug)]
pub(super) struct Bus {
    stats: BusStats,
    limits: LedgerLimits,
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
            limits: *bus.ledger().limits(),
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
                "Bytes of data in accepted events",
                stats.bytes_published,
            ),
            (
                "tidings_events_duplicate",
                "Publishes that repeated an event accepted before",
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
                "Events handed to subscribers, over sockets and within the process",
                stats.deliveries,
            ),
            (
                "tidings_tasks_removed",
                "Tasks removed",
                stats.tasks_removed,
            ),
            (
                "tidings_handler_errors",
                "Errors returned by event handlers",
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
            "Events replaced by gaps",
            "reason",
            gaps(stats.gap_events),
        )?;
        to.counters(
            "tidings_resets",
            "Resets: positions of subscribers that became invalid",
            "reason",
            [
                ("epoch_changed", stats.resets.epoch_changed),
                ("removed", stats.resets.removed),
                ("ahead", stats.resets.ahead),
            ],
        )?;
        to.gauge("tidings_tasks", "Tasks that exist now", stats.tasks)?;
        let by_status = stats.tasks_by_status;
        to.gauges(
            "tidings_tasks_by_status",
            "Tasks that exist now and have had an event",
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
            "Bytes in memory now, by purpose",
            "part",
            [
                ("logs", stats.bytes),
                ("clients", stats.bytes_clients),
                ("unsaved", stats.bytes_unsaved),
            ],
        )?;
        to.gauge(
            "tidings_logs_limit_bytes",
            "Limit of bytes in logs",
            self.limits.tasks,
        )?;
        to.gauges(
            "tidings_clients_limit_bytes",
            "Bytes that clients may hold beside tasks: all of them, and one account",
            "of",
            [
                ("all", self.limits.clients),
                ("account", self.limits.account),
            ],
        )?;
        to.counters(
            "tidings_memory_refused",
            "Requests refused because clients held as much memory as they may",
            "limit",
            [
                ("account", stats.memory_refused_account),
                ("clients", stats.memory_refused_clients),
            ],
        )?;
        to.counter(
            "tidings_tasks_shelved",
            "Tasks that left memory for the store because memory was short",
            stats.tasks_shelved,
        )?;
        to.histogram(
            "tidings_publish_duration_seconds",
            "Time from a publish to its answer, including the store",
            &self.publish,
        )?;
        to.histogram(
            "tidings_delivery_duration_seconds",
            "Time from a publish until every subscriber of its task was visited; measured for one publish at a time",
            &self.delivery,
        )?;
        to.histograms(
            "tidings_store_duration_seconds",
            "Time of calls to the store",
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
                "Connections that resumed their client's position",
                stats.resumed,
            ),
            (
                "tidings_connections_timed_out",
                "Connections closed because the client was silent",
                stats.timed_out,
            ),
            (
                "tidings_auth_failures",
                "Requests refused because their token was missing or invalid",
                stats.unauthenticated,
            ),
            (
                "tidings_forbidden",
                "Requests refused because the token or the origin did not allow them",
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
                "Bytes received from WebSocket clients, including framing",
                stats.bytes_in,
            ),
            (
                "tidings_sent_bytes",
                "Bytes handed to the sockets of connections, including framing",
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
            "Requests refused because the client reached a limit",
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
            "Connections closed, by the server's close code; client if the client closed the connection or it broke",
            "code",
            codes.iter().map(|(code, count)| (code.as_str(), *count)),
        )?;
        to.counters(
            "tidings_errors",
            "Errors sent to clients over WebSocket and HTTP, including reached limits",
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
            "Limit of connections",
            self.limit as u64,
        )?;
        to.gauge(
            "tidings_clients_away",
            "Clients that can resume now",
            stats.away,
        )?;
        to.gauge(
            "tidings_subscriptions",
            "Cursors of connections now, including inboxes",
            states.subscriptions,
        )?;
        to.gauge(
            "tidings_lag_events",
            "Undelivered events of all connections now",
            states.lag,
        )?;
        let bounds: Vec<_> = LAG_BOUNDS
            .iter()
            .map(ToString::to_string)
            .chain(["+Inf".to_owned()])
            .collect();
        to.gauges(
            "tidings_connections_by_lag",
            "Connections now, by their number of undelivered events: up to this bound, and above the previous bound",
            "up_to",
            bounds.iter().map(String::as_str).zip(states.by_lag),
        )
    }
}
