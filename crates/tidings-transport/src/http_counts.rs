//! Counts of requests, by route and status.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The label for paths without a route.
pub(crate) const NO_ROUTE: &str = "none";

/// Counts responses. Routes and statuses come from fixed sets in the code, so there are at most a
/// hundred series.
#[derive(Debug, Default, Clone)]
pub(crate) struct HttpCounts(Arc<Mutex<BTreeMap<(&'static str, u16), u64>>>);

impl HttpCounts {
    pub(crate) fn count(&self, route: &'static str, status: u16) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((route, status)).or_default() += 1;
    }

    /// Returns the number of responses for each route and status.
    pub(crate) fn read(&self) -> BTreeMap<(&'static str, u16), u64> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.clone()
    }
}
