//! Counts of requests, by route and status.

use std::collections::BTreeMap;
use std::fmt::Error;

use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use crate::families::Families;

/// Writes how many requests were answered. Routes and statuses are closed sets.
pub(crate) fn encode(
    requests: &BTreeMap<(&'static str, u16), u64>,
    to: &mut Families<'_>,
) -> Result<(), Error> {
    let mut family = to.0.encode_descriptor(
        "tidings_http_requests",
        "Requests answered",
        None,
        MetricType::Counter,
    )?;
    for ((route, status), count) in requests {
        let status = status.to_string();
        let labels = [("route", *route), ("status", status.as_str())];
        ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
