//! The spans in which requests are answered.

use std::fmt::Debug;

use http::{HeaderMap, Method};
use tracing::Span;

/// The field of a span that records the response's status, if the span has the field.
pub(crate) const STATUS: &str = "http.response.status_code";

/// The parts of a request from which its span is created.
#[derive(Debug)]
#[non_exhaustive]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The pattern of the route, such as `/api/tasks/{task_id}`: the path without the parts that
    /// clients choose.
    pub route: &'static str,
    /// The headers, including `traceparent` if the client is in a trace.
    pub headers: &'a HeaderMap,
    /// The value of `x-request-id` in the response.
    pub request_id: &'a str,
}

/// Creates the spans in which requests are answered, for example to export them. See
/// [`TransportConfig::request_spans`](crate::TransportConfig::request_spans).
///
/// A span begins with the request and ends when the head of the response is ready. The status is
/// then recorded in its field `http.response.status_code`, if it has that field. Log lines in
/// between belong to the span.
pub trait RequestSpans: Debug + Send + Sync {
    /// Creates the span of a request. It is called for each request, before the client is
    /// authenticated, and must not block.
    fn begin(&self, request: &RequestHead<'_>) -> Span;
}

/// Creates spans for the log. Log lines within a span show the request's id.
#[derive(Debug)]
pub(crate) struct Logged;

impl RequestSpans for Logged {
    fn begin(&self, request: &RequestHead<'_>) -> Span {
        tracing::info_span!("request", request_id = request.request_id)
    }
}
