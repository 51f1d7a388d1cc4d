//! `/metrics`: Prometheus' text format, or OpenMetrics for those who ask for it.

use http::{HeaderMap, HeaderValue, Response, header};
use tidings_protocol::ErrorCode;

use crate::body::{Body, full};
use crate::metrics::{OPENMETRICS, PROMETHEUS, as_prometheus, collect};
use crate::problem::Problem;
use crate::service::Core;

impl Core {
    pub(crate) fn metrics(&self, headers: &HeaderMap) -> Response<Body> {
        let Ok(text) = collect(self) else {
            let detail = "the metrics could not be written";
            return Problem::new(ErrorCode::Unavailable, detail).into_response();
        };
        let (text, kind) = if wants_openmetrics(headers) {
            (text, OPENMETRICS)
        } else {
            (as_prometheus(&text), PROMETHEUS)
        };
        let mut response = Response::new(full(text));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::VARY, HeaderValue::from_static("accept"));
        response
    }
}

/// Prometheus asks for OpenMetrics first, curl for anything.
fn wants_openmetrics(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("application/openmetrics-text"))
}
