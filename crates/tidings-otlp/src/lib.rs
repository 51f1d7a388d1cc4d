//! Export of request spans to an OpenTelemetry collector, with OTLP over HTTP.
//!
//! A span continues the trace of its client through `traceparent`. It has the names of
//! OpenTelemetry's semantic conventions for HTTP servers. The usual environment variables of
//! OpenTelemetry set the sampling (`OTEL_TRACES_SAMPLER`), the name of the service
//! (`OTEL_SERVICE_NAME`) and the headers for the collector (`OTEL_EXPORTER_OTLP_HEADERS`).

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

/// The target of the exported spans. No other span has it.
const TARGET: &str = "tidings::request";

/// How long the collector may take to answer a request, and to receive the last spans at shutdown.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The system's certificates cannot be read. They are needed to verify the collector.
    #[error("the system's certificates cannot be read")]
    Certificates(#[source] std::io::Error),
    /// The address, or an environment variable of OpenTelemetry, is wrong.
    #[error("the exporter cannot be created: check the address and the OTEL_ variables")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
}

/// A running export of spans to a collector.
///
/// ```no_run
/// use tidings_otlp::Export;
/// use tidings_transport::TransportConfig;
/// use tracing_subscriber::prelude::*;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let export = Export::start("http://127.0.0.1:4318/v1/traces")?;
/// tracing_subscriber::registry().with(export.layer()).init();
/// let config = TransportConfig::default().request_spans(export.spans());
/// // Serve with this configuration, then send the remaining spans:
/// export.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Export(SdkTracerProvider);

impl Export {
    /// Starts the export, in batches, on a thread of its own. While the collector is unreachable,
    /// spans that do not fit into the buffer are lost. Nothing else is affected.
    ///
    /// `to` is the address that accepts spans, path included, such as
    /// `http://127.0.0.1:4318/v1/traces`. Call this inside a tokio runtime; the requests to the
    /// collector run on it.
    ///
    /// # Errors
    /// Returns [`ExportError`] if the exporter cannot be created.
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

    /// Returns the layer that exports the spans, for the application's subscriber.
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

    /// Returns the span factory for `TransportConfig::request_spans`.
    pub fn spans(&self) -> Arc<dyn RequestSpans> {
        Arc::new(Spans::default())
    }

    /// Sends the remaining spans, within five seconds.
    pub async fn stop(self) {
        // `shutdown` blocks on the exporter's thread, and that thread needs the runtime.
        let stopped = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(TIMEOUT));
        if let Ok(Err(error)) = stopped.await {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Creates the spans that are exported. They appear in the log as well.
#[derive(Debug, Default)]
struct Spans(TraceContextPropagator);

impl RequestSpans for Spans {
    fn begin(&self, request: &RequestHead<'_>) -> Span {
        // A client may send any word as the method, but the set of span names must stay small.
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
        // This fails if no layer accepts the span, or if it is not sampled. It then has no trace.
        let _ = span.set_parent(self.0.extract(&HeaderExtractor(request.headers)));
        span
    }
}

/// Returns whether the method is defined in RFC 9110 or RFC 5789.
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

/// A client whose requests run on the server's runtime. The exporter's thread is not part of that
/// runtime.
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
