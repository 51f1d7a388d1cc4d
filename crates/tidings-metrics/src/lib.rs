//! All counters of Tidings as text for Prometheus.
//!
//! The counters live in the crates that count. This crate only names them, so each thing is counted
//! once, and nothing is computed between scrapes. Labels never have values from outside: routes,
//! codes, reasons and states are closed sets, and no label contains a task or a client.
//!
//! [`answer`] returns the whole response to a scrape. An application that mounts
//! `tidings-transport` adds it as a route of its own:
//!
//! ```
//! use tidings_metrics::Served;
//! use tidings_transport::{ExtraRoute, TransportConfig};
//!
//! let metrics = ExtraRoute::admin("/metrics", |asked| {
//!     let served = Served::new(asked.uptime(), asked.is_ready(), asked.requests());
//!     tidings_metrics::answer(asked.headers(), asked.manager(), served)
//! });
//! let config = TransportConfig::default().route(metrics);
//! ```

mod families;
mod http;
mod parts;
mod process;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text::encode};
use prometheus_client::registry::Registry;
use tidings_connections::ConnectionManager;

use families::Families;
use text::{OPENMETRICS, PROMETHEUS, as_prometheus};

/// The values that an HTTP service reports about itself.
#[derive(Debug, Clone)]
pub struct Served {
    uptime: Duration,
    ready: bool,
    requests: BTreeMap<(&'static str, u16), u64>,
}

impl Served {
    /// Creates the report from the age of the service, whether new connections are accepted, and
    /// the number of requests answered by route and status.
    pub fn new(
        uptime: Duration,
        ready: bool,
        requests: BTreeMap<(&'static str, u16), u64>,
    ) -> Self {
        Self {
            uptime,
            ready,
            requests,
        }
    }
}

/// Answers a scrape, in OpenMetrics if the headers ask for it, otherwise in Prometheus' text
/// format.
pub fn answer(headers: &HeaderMap, manager: &ConnectionManager, served: Served) -> Response<Bytes> {
    let Ok(text) = openmetrics(manager, served) else {
        let mut response = Response::new(Bytes::from_static(b"the metrics could not be written"));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return response;
    };
    let (text, kind) = if wants_openmetrics(headers) {
        (text, OPENMETRICS)
    } else {
        (as_prometheus(&text), PROMETHEUS)
    };
    let mut response = Response::new(Bytes::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// Returns all metrics as OpenMetrics text.
///
/// # Errors
/// Returns an error if the text cannot be written.
pub fn openmetrics(manager: &ConnectionManager, served: Served) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape {
        bus: parts::Bus::of(manager.bus()),
        connections: parts::Connections::of(manager),
        served,
    }));
    let mut out = String::new();
    encode(&mut out, &registry)?;
    Ok(out)
}

/// Returns whether the headers ask for OpenMetrics. Prometheus asks for it, curl does not.
fn wants_openmetrics(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("application/openmetrics-text"))
}

/// The values of one scrape, all read at the same time.
#[derive(Debug)]
struct Scrape {
    bus: parts::Bus,
    connections: parts::Connections,
    served: Served,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut families = Families(encoder);
        let version = env!("CARGO_PKG_VERSION");
        families.gauges(
            "tidings_build_info",
            "The version of the server",
            "version",
            [(version, 1)],
        )?;
        families.gauge_f64(
            "tidings_uptime_seconds",
            "Time since the server began to answer",
            self.served.uptime.as_secs_f64(),
        )?;
        families.gauge(
            "tidings_ready",
            "Whether the server accepts new connections, as /readyz says",
            u64::from(self.served.ready),
        )?;
        self.bus.encode(&mut families)?;
        self.connections.encode(&mut families)?;
        http::encode(&self.served.requests, &mut families)?;
        process::encode(&mut families)
    }
}
