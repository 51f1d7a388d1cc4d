//! The span that a request is answered in.

use std::fmt::Debug;

use http::{HeaderMap, Method};
use tracing::Span;

/// The field of a span that the answer's status is recorded in, if it has it.
pub(crate) const STATUS: &str = "http.response.status_code";

/// What a request's span can be made from.
#[derive(Debug)]
#[non_exhaustive]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The route's pattern, such as `/api/tasks/{task_id}`: the path without
    /// what clients put into it.
    pub route: &'static str,
    /// The headers, among them `traceparent` where the client is in a trace.
    pub headers: &'a HeaderMap,
    /// What the answer will have as `x-request-id`.
    pub request_id: &'a str,
}

/// Makes the spans that requests are answered in, for a service that sends them
/// somewhere: see [`TransportConfig::request_spans`](crate::TransportConfig::request_spans).
///
/// A span begins with the request and ends when the answer's head is ready. Then
/// the status is recorded in its field `http.response.status_code`, if it has it.
/// What is logged meanwhile is in the span.
pub trait RequestSpans: Debug + Send + Sync {
    /// The span of one request. Called for each, before anything is known of who
    /// sends it; must not block.
    fn begin(&self, request: &RequestHead<'_>) -> Span;
}

/// Spans for the log: what is in them is logged under the request's id.
#[derive(Debug)]
pub(crate) struct Logged;

impl RequestSpans for Logged {
    fn begin(&self, request: &RequestHead<'_>) -> Span {
        tracing::info_span!("request", request_id = request.request_id)
    }
}
