//! Requests, by route and status.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::{Arc, Mutex};

use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::families::Families;

/// What there is for a path that no route has.
pub(crate) const NO_ROUTE: &str = "none";

/// Counts answers. Routes are those of the router, statuses those that the code
/// gives, so there are a hundred series at most.
#[derive(Debug, Default, Clone)]
pub(crate) struct HttpCounts(Arc<Mutex<BTreeMap<(&'static str, u16), u64>>>);

impl HttpCounts {
    pub(crate) fn count(&self, route: &'static str, status: u16) {
        let mut counts = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *counts.entry((route, status)).or_default() += 1;
    }

    pub(super) fn encode(&self, to: &mut Families<'_>) -> Result<(), Error> {
        let counts = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone();
        let mut family = to.0.encode_descriptor(
            "tidings_http_requests",
            "Requests answered",
            None,
            MetricType::Counter,
        )?;
        for ((route, status), count) in counts {
            let status = status.to_string();
            let labels = [("route", route), ("status", status.as_str())];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
