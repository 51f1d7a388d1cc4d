//! Metrics: what the crates count, by the names that operators see.
//!
//! The counters live in the crates that count; here they are only named. So
//! there is one count of each thing, and a scrape costs nothing between scrapes.
//! No label has values from outside: routes, codes, reasons and states are
//! closed sets, tasks and clients are never labels.

mod families;
mod http;
mod parts;
mod process;
mod text;

pub(crate) use http::{HttpCounts, NO_ROUTE};
pub(crate) use text::{OPENMETRICS, PROMETHEUS, as_prometheus};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text::encode};
use prometheus_client::registry::Registry;

use crate::service::Core;
use families::Families;

/// What one scrape shows, taken at one time.
#[derive(Debug)]
struct Scrape {
    bus: parts::Bus,
    connections: parts::Connections,
    http: HttpCounts,
    ready: bool,
    uptime: f64,
}

/// All metrics as OpenMetrics text.
pub(crate) fn collect(core: &Core) -> Result<String, std::fmt::Error> {
    let manager = &core.manager;
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape {
        bus: parts::Bus::of(manager.bus()),
        connections: parts::Connections::of(manager),
        http: core.http.clone(),
        ready: core.not_ready().is_none(),
        uptime: core.started.elapsed().as_secs_f64(),
    }));
    let mut out = String::new();
    encode(&mut out, &registry)?;
    Ok(out)
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut families = Families(encoder);
        let version = env!("CARGO_PKG_VERSION");
        families.gauges(
            "tidings_build_info",
            "The version that runs",
            "version",
            [(version, 1)],
        )?;
        families.gauge_f64(
            "tidings_uptime_seconds",
            "Since the server began to answer",
            self.uptime,
        )?;
        families.gauge(
            "tidings_ready",
            "Whether new connections are welcome, as /readyz says",
            u64::from(self.ready),
        )?;
        self.bus.encode(&mut families)?;
        self.connections.encode(&mut families)?;
        self.http.encode(&mut families)?;
        process::encode(&mut families)
    }
}
