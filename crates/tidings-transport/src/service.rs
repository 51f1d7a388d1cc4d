//! The service: answers requests, independent of the server around it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use tidings_connections::{Access, ConnectRequest, ConnectionManager, Keep};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower_http::cors::{Cors, CorsLayer};
use tracing::Instrument as _;

use crate::body::Body;
use crate::config::{TransportConfig, TransportConfigError};
use crate::hosts::Hosts;
use crate::http_counts::{HttpCounts, NO_ROUTE};
use crate::origin::{Origins, Refusals, host};
use crate::problem::Problem;
use crate::request_id;
use crate::routes::Routes;
use crate::spans::{RequestHead, STATUS};
use crate::upgrade;
use crate::websocket::{Echoed, WEBSOCKET};

/// The address of the client, as a request extension. The accept loop of `tidings-node` sets it.
/// With the feature `axum`, the service also reads axum's `ConnectInfo`, of a `PeerAddr` or of a
/// `SocketAddr`. In other servers, insert it yourself. Connection info shows the address, and limits
/// count by it.
///
/// With axum, give `PeerAddr` to `into_make_service_with_connect_info`. It then also sets
/// `TCP_NODELAY` on each connection of axum's own listener.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddr(pub SocketAddr);

/// Everything that Tidings offers over HTTP, as a hyper service and a tower service.
///
/// * hyper: pass it to `hyper::server::conn::http1::Builder::serve_connection`, and call
///   `with_upgrades` on the result.
/// * axum: use `Router::fallback_service(service)` or `nest_service("/tidings", …)`. See the feature
///   `axum` and `AxumListener`.
/// * `tidings-node` runs it on its own listener.
///
/// Clones share one state.
#[derive(Clone)]
pub struct TidingsService {
    core: Arc<Core>,
}

/// The state from which requests are answered.
pub(crate) struct Core {
    pub(crate) manager: ConnectionManager,
    pub(crate) config: TransportConfig,
    /// The pages that are allowed at the moment.
    pages_from: RwLock<Arc<Allowed>>,
    refusals: Refusals,
    /// The host names for which the service answers.
    pub(crate) hosts: Hosts,
    pub(crate) routes: Routes,
    pub(crate) started: Instant,
    /// The counts of answered requests.
    pub(crate) http: HttpCounts,
}

/// The allowed origins, and the CORS headers for browsers.
pub(crate) struct Allowed {
    pub(crate) origins: Origins,
    cors: Option<CorsLayer>,
}

impl Allowed {
    fn new(origins: Origins) -> Arc<Self> {
        let cors = origins.cors();
        Arc::new(Self { origins, cors })
    }
}

impl Core {
    /// Returns whether the page that made a request is allowed. Logs the origin if it is not.
    pub(crate) fn lets_in<B>(&self, request: &Request<B>) -> bool {
        let headers = request.headers();
        let host = host(request).ok().flatten();
        let allowed = self.allowed().origins.allow(headers, host);
        if !allowed {
            self.refusals.tell(headers);
        }
        allowed
    }

    /// Returns the path under which the service is mounted, according to axum's router or the
    /// configuration.
    pub(crate) fn prefix_of<B>(&self, request: &Request<B>) -> String {
        #[cfg(feature = "axum")]
        if let Some(axum::extract::OriginalUri(whole)) = request.extensions().get() {
            let (whole, own) = (whole.path(), request.uri().path());
            if let Some(prefix) = whole.strip_suffix(own) {
                return prefix.to_owned();
            }
        }
        let _ = request;
        self.config.prefix.trim_end_matches('/').to_owned()
    }

    pub(crate) fn allowed(&self) -> Arc<Allowed> {
        let allowed = self.pages_from.read();
        Arc::clone(&allowed.unwrap_or_else(PoisonError::into_inner))
    }
}

/// An error of a request's body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl TidingsService {
    /// Creates a service for the connections of `manager` and its bus.
    ///
    /// # Errors
    /// Returns an error if a setting does not work.
    pub fn new(
        manager: ConnectionManager,
        config: TransportConfig,
    ) -> Result<Self, TransportConfigError> {
        config.validate()?;
        if !manager.bus().use_framing(WEBSOCKET) {
            tracing::warn!(
                "the bus had events before the service was made, so every connection frames \
                 them anew: make the service first, or build the bus with .framing(WEBSOCKET)"
            );
        }
        let routes = Routes::new(&config.routes)?;
        let core = Core {
            manager,
            pages_from: RwLock::new(Allowed::new(config.allowed_origins.clone())),
            refusals: Refusals::default(),
            hosts: Hosts::new(&config.allowed_hosts),
            config,
            routes,
            started: Instant::now(),
            http: HttpCounts::default(),
        };
        Ok(Self {
            core: Arc::new(core),
        })
    }

    /// Records an address on which the server listens. If it is a loopback address such as
    /// 127.0.0.1, the service accepts only names of this machine and
    /// [`allowed_hosts`](TransportConfig::allowed_hosts). Otherwise any web site could let its name
    /// lead to this server (DNS rebinding).
    pub fn listening_on(&self, addr: SocketAddr) {
        self.core.hosts.listening_on(addr);
    }

    /// Returns the reason for refusing a request because of its host, or `None` to accept it. The
    /// service checks its own requests. Use this for other routes of the application.
    pub fn refusal_of_host<B>(&self, request: &Request<B>) -> Option<Problem> {
        self.core.hosts.refusal(request)
    }

    /// Drains all connections when `stop` is cancelled. New connections are refused. Each existing
    /// WebSocket and event stream is told to reconnect after a different part of `window`. The
    /// future completes when all have ended. When the window and the time for a write have passed,
    /// the remaining ones are [aborted](ConnectionManager::abort).
    ///
    /// A stop works in the same way under axum and under hyper:
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use tokio_util::sync::CancellationToken;
    /// # async fn serve(stop: CancellationToken) {}
    /// # async fn example(service: tidings_transport::TidingsService) {
    /// let stop = CancellationToken::new();
    /// let drained = service.drain_on(stop.clone(), Duration::from_secs(5));
    /// // axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned())
    /// serve(stop).await;
    /// drained.await;
    /// # }
    /// ```
    ///
    /// # Panics
    /// Panics outside of a tokio runtime.
    ///
    /// # Cancel safety
    /// Cancel safe. If the future is dropped, the drain continues.
    pub fn drain_on(&self, stop: CancellationToken, window: Duration) -> Drained {
        let manager = self.core.manager.clone();
        Drained(tokio::spawn(async move {
            stop.cancelled().await;
            let deadline = window + manager.config().write_timeout;
            if tokio::time::timeout(deadline, manager.drain(window))
                .await
                .is_err()
            {
                let left = manager.connected();
                tracing::warn!(left, "aborting connections that did not end in time");
                // An event stream ends with its HTTP connection, which belongs to the server. The
                // limit is for a server that does not end it.
                let limit = manager.config().close_timeout;
                let _ = tokio::time::timeout(limit, manager.abort()).await;
            }
        }))
    }

    /// Returns the connection manager.
    pub fn manager(&self) -> &ConnectionManager {
        &self.core.manager
    }

    /// Returns the settings of the service.
    pub fn config(&self) -> &TransportConfig {
        &self.core.config
    }

    /// Returns the path of every route, with its methods.
    pub fn routes(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.core.routes.all()
    }

    /// Replaces the allowed origins. Existing connections stay open.
    ///
    /// # Errors
    /// Returns an error if a text is not an origin. Nothing has changed then.
    pub fn set_allowed_origins(&self, origins: Origins) -> Result<(), TransportConfigError> {
        origins.validate()?;
        let mut allowed = self
            .core
            .pages_from
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *allowed = Allowed::new(origins);
        Ok(())
    }

    /// Answers one request.
    ///
    /// # Cancel safety
    /// A dropped future leaves open whether the request took effect.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let plain = Plain(Arc::clone(&self.core));
        match &self.core.allowed().cors {
            None => plain.respond(request).await,
            Some(layer) => {
                let mut cors: Cors<Plain> = tower_layer::Layer::layer(layer, plain);
                match tower_service::Service::call(&mut cors, request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
        }
    }
}

impl TidingsService {
    /// Answers a WebSocket handshake with a connection that echoes every message. It uses the
    /// sockets, the parser and the writer of a session.
    ///
    /// It is for test suites of RFC 6455, see `examples/echo.rs`. No route leads to it.
    pub fn echo<B>(&self, request: Request<B>) -> Response<Body> {
        let mut connect = ConnectRequest::new(Access::unrestricted());
        connect.keep_when_gone = Keep::Nothing;
        upgrade::websocket::<Echoed, _>(&self.core, request, connect, Ok(()))
            .unwrap_or_else(Problem::into_response)
    }
}

impl std::fmt::Debug for TidingsService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TidingsService")
            .field("config", &self.core.config)
            .finish_non_exhaustive()
    }
}

/// A future that completes when a [drain](TidingsService::drain_on) has ended.
#[derive(Debug)]
#[must_use = "await it after the server has stopped, or drop it explicitly"]
pub struct Drained(tokio::task::JoinHandle<()>);

impl Future for Drained {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // The task ends early only if the runtime ends.
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

/// The future of a response.
pub type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Adds security headers for browsers. A header that the answer already has is kept, such as the
/// policy of a page.
fn harden(headers: &mut HeaderMap) {
    for (name, value) in [
        // A browser must never treat published text as a page.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
}

/// The service without its CORS layer.
#[derive(Clone)]
struct Plain(Arc<Core>);

impl Plain {
    async fn respond<B>(self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let core = self.0;
        let began = Instant::now();
        let id = request_id::of(request.headers());
        let found = core.routes.find(request.uri().path());
        let route = found.as_ref().map_or(NO_ROUTE, |found| found.label);
        let method = request.method().clone();
        // Log lines during the request belong to this span.
        let span = core.config.request_spans.begin(&RequestHead {
            method: &method,
            route,
            headers: request.headers(),
            request_id: id.to_str().unwrap_or_default(),
        });
        let answered = core.route(found, request).instrument(span.clone()).await;
        let mut response = answered.unwrap_or_else(|problem| {
            if let Some(code) = problem.code() {
                core.manager.count_error(code);
            }
            if problem.is_forbidden() {
                core.manager.count_forbidden();
            }
            problem.into_response()
        });
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            harden(response.headers_mut());
        }
        let status = response.status().as_u16();
        core.http.count(route, status);
        span.record(STATUS, status);
        tracing::debug!(
            request_id = id.to_str().unwrap_or_default(),
            %method,
            route,
            status,
            took = ?began.elapsed(),
            "answered a request"
        );
        response.headers_mut().insert(request_id::REQUEST_ID, id);
        response
    }
}

impl<B> tower_service::Service<Request<B>> for Plain
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let plain = self.clone();
        Box::pin(async move { Ok(plain.respond(request).await) })
    }
}

impl<B> tower_service::Service<Request<B>> for TidingsService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let service = self.clone();
        Box::pin(async move { Ok(service.handle(request).await) })
    }
}

impl<B> hyper::service::Service<Request<B>> for TidingsService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<B>) -> ResponseFuture {
        let service = self.clone();
        Box::pin(async move { Ok(service.handle(request).await) })
    }
}
