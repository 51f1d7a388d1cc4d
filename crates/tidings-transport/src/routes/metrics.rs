//! `/metrics`: the counters of bus and connections as OpenMetrics text.
//!
//! The counters live in the crates that count; here they are only named. So
//! there is one count of each thing, and a scrape costs nothing between scrapes.

use http::{HeaderValue, Response, header};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tidings_bus::BusStats;
use tidings_connections::ConnectionStats;

use crate::body::{Body, full};
use crate::problem::Problem;
use crate::service::Core;

#[derive(Debug)]
struct Stats {
    bus: BusStats,
    connections: ConnectionStats,
}

impl Core {
    pub(crate) fn metrics(&self) -> Response<Body> {
        let stats = Stats {
            bus: self.manager.bus().stats(),
            connections: self.manager.stats(),
        };
        let mut registry = Registry::with_prefix("tidings");
        registry.register_collector(Box::new(stats));
        let mut out = String::new();
        if text::encode(&mut out, &registry).is_err() {
            let detail = "the metrics could not be written";
            return Problem::new(tidings_protocol::ErrorCode::Unavailable, detail).into_response();
        }
        let mut response = Response::new(full(out));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
        );
        response
    }
}

impl Collector for Stats {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (bus, connections) = (&self.bus, &self.connections);
        for (name, help, value) in [
            (
                "events_published",
                "Events accepted into logs",
                bus.events_published,
            ),
            (
                "events_duplicate",
                "Publishes answered with an earlier event",
                bus.duplicates,
            ),
            ("events_refused", "Publishes refused", bus.refused),
            (
                "events_dropped",
                "Events dropped by retention",
                bus.events_dropped,
            ),
            ("deliveries", "Events handed to subscribers", bus.deliveries),
            ("tasks_removed", "Tasks removed", bus.tasks_removed),
            (
                "handler_errors",
                "Errors of event handlers",
                bus.handler_errors,
            ),
            (
                "handler_panics",
                "Panics of event handlers",
                bus.handler_panics,
            ),
            (
                "connections_accepted",
                "Connections made",
                connections.accepted,
            ),
            (
                "connections_rejected",
                "Connections refused",
                connections.rejected,
            ),
            (
                "connections_resumed",
                "Connections that went on",
                connections.resumed,
            ),
            (
                "connections_timed_out",
                "Connections closed for silence",
                connections.timed_out,
            ),
            (
                "auth_failures",
                "Tokens refused, and requests without one",
                connections.unauthenticated,
            ),
            (
                "forbidden",
                "Requests that the token did not allow, or from a page of a foreign origin",
                connections.forbidden,
            ),
            (
                "tokens_expired",
                "Connections closed because their token had expired",
                connections.tokens_expired,
            ),
            (
                "personal_messages",
                "Personal messages sent",
                connections.personal_messages,
            ),
        ] {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        for (name, help, value) in [
            ("connections", "Connections now", connections.connected),
            (
                "clients_away",
                "Clients that may resume, now",
                connections.away,
            ),
            ("tasks", "Tasks known now", bus.tasks),
            ("log_bytes", "Bytes held in logs now", bus.bytes),
            ("handlers", "Event handlers now", bus.handlers),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        let gaps = [
            ("expired", bus.gaps.expired),
            ("overrun", bus.gaps.overrun),
            ("conflated", bus.gaps.conflated),
            ("epoch_changed", bus.gaps.epoch_changed),
            ("ahead", bus.gaps.ahead),
        ];
        let counter = |value| ConstCounter::new(value);
        let kind = counter(0u64).metric_type();
        let mut family =
            encoder.encode_descriptor("gaps", "Gaps announced, by reason", None, kind)?;
        for (reason, value) in gaps {
            counter(value).encode(family.encode_family(&[("reason", reason)])?)?;
        }
        let statuses = [
            ("pending", bus.tasks_by_status.pending),
            ("running", bus.tasks_by_status.running),
            ("completed", bus.tasks_by_status.completed),
            ("failed", bus.tasks_by_status.failed),
            ("cancelled", bus.tasks_by_status.cancelled),
        ];
        let gauge = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let kind = gauge(0).metric_type();
        let mut family =
            encoder.encode_descriptor("tasks_by_status", "Tasks now, by status", None, kind)?;
        for (status, value) in statuses {
            gauge(value).encode(family.encode_family(&[("status", status)])?)?;
        }
        Ok(())
    }
}
