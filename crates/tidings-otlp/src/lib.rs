//! Spans of requests, sent to a collector by OTLP over HTTP.
//!
//! A span goes on in its client's trace, by `traceparent`, and has the names of
//! OpenTelemetry's semantic conventions for HTTP servers. How many are kept
//! (`OTEL_TRACES_SAMPLER`), what the service is called (`OTEL_SERVICE_NAME`) and
//! what a collector wants to see (`OTEL_EXPORTER_OTLP_HEADERS`) is said by the
//! variables that every program with OpenTelemetry has.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tidings_transport::{RequestHead, RequestSpans};
use tokio::runtime::Handle;
use tracing::field::Empty;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// The target of the spans that are sent; nothing else has it.
const TARGET: &str = "tidings::request";

/// How long a collector may take to answer, and to take what is left at a stop.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The system's certificates, by which a collector is known, cannot be read.
    #[error("the system's certificates cannot be read")]
    Certificates(#[source] std::io::Error),
    /// The address or a variable of OpenTelemetry is wrong.
    #[error("the way to the collector cannot be made")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
}

/// The way to a collector.
#[derive(Debug)]
pub struct Export(SdkTracerProvider);

impl Export {
    /// Sends from now on, in batches, from a thread of its own. A collector that
    /// is away costs the spans that find no room meanwhile, and nothing else.
    ///
    /// `to` is the address that takes spans, path included, such as
    /// `http://127.0.0.1:4318/v1/traces`. Call it inside a tokio runtime, which
    /// the requests to the collector run on.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn start(to: &str) -> Result<Self, ExportError> {
        let https = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(ExportError::Certificates)?
            .https_or_http()
            .enable_http1()
            .build();
        let client = OnRuntime {
            client: HyperClient::new(https, TIMEOUT, None),
            runtime: Handle::current(),
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(to)
            .build()
            .map_err(ExportError::Exporter)?;
        let resource = Resource::builder();
        let resource = match std::env::var_os("OTEL_SERVICE_NAME") {
            Some(_) => resource,
            None => resource.with_service_name("tidings"),
        };
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_batch_exporter(exporter)
            .build();
        Ok(Self(provider))
    }

    /// Returns the layer that takes the spans, for the application's subscriber.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("tidings"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|span| span.target() == TARGET))
    }

    /// Returns what makes the spans, for `TransportConfig::request_spans`.
    pub fn spans(&self) -> Arc<dyn RequestSpans> {
        Arc::new(Spans::default())
    }

    /// Sends the spans that are left, within five seconds.
    pub async fn stop(self) {
        // It waits for its thread, which needs the runtime for the way out.
        let stopped = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(TIMEOUT));
        if let Ok(Err(error)) = stopped.await {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Makes the spans that are sent. They are the log's too.
#[derive(Debug, Default)]
struct Spans(TraceContextPropagator);

impl RequestSpans for Spans {
    fn begin(&self, request: &RequestHead<'_>) -> Span {
        // Any word may come as a method, and names are to be few.
        let (name, method) = match is_known(request.method) {
            true => (request.method.as_str(), request.method.as_str()),
            false => ("HTTP", "_OTHER"),
        };
        let span = tracing::info_span!(
            target: TARGET,
            "request",
            otel.name = format_args!("{name} {}", request.route),
            otel.kind = "server",
            http.request.method = method,
            http.route = request.route,
            http.response.status_code = Empty,
            request_id = request.request_id,
        );
        // Fails where nobody takes it, sampling or not: then there is no trace.
        let _ = span.set_parent(self.0.extract(&HeaderExtractor(request.headers)));
        span
    }
}

/// Whether it is one of RFC 9110 or RFC 5789.
fn is_known(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET
            | Method::HEAD
            | Method::POST
            | Method::PUT
            | Method::DELETE
            | Method::CONNECT
            | Method::OPTIONS
            | Method::TRACE
            | Method::PATCH
    )
}

/// A client whose requests run on the server's runtime, since the thread that
/// sends is none of it.
#[derive(Debug)]
struct OnRuntime {
    client: HyperClient<HttpsConnector<HttpConnector>>,
    runtime: Handle,
}

#[async_trait::async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self
            .runtime
            .spawn(async move { client.send_bytes(request).await });
        sent.await?
    }
}
