//! The service: a request in, a response out, whatever is around it.

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
use tokio_util::task::TaskTracker;
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

/// The address of the client, as a request extension. The accept loop of
/// `tidings-node` sets it. With the feature `axum` the service reads axum's
/// `ConnectInfo<SocketAddr>` as well. Elsewhere, insert it yourself to see it in
/// connection info, and to have limits count by address.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddr(pub SocketAddr);

/// Everything Tidings offers over HTTP, as a hyper and as a tower service.
///
/// * hyper: pass it to `hyper::server::conn::http1::Builder::serve_connection`,
///   and call `with_upgrades` on what that gives.
/// * axum: `Router::fallback_service(service)`, or `nest_service("/tidings", …)`; see
///   the feature `axum` and `AxumListener`.
/// * or let `tidings-node` run it.
///
/// Clones share one state.
#[derive(Clone)]
pub struct TidingsService {
    core: Arc<Core>,
}

/// What requests are answered from.
pub(crate) struct Core {
    pub(crate) manager: ConnectionManager,
    pub(crate) config: TransportConfig,
    /// The pages that are let in, for the moment.
    pages_from: RwLock<Arc<Allowed>>,
    refusals: Refusals,
    /// The names that it answers to.
    pub(crate) hosts: Hosts,
    pub(crate) routes: Routes,
    pub(crate) started: Instant,
    /// Requests answered.
    pub(crate) http: HttpCounts,
    /// Upgrades under way.
    pub(crate) tracker: TaskTracker,
}

/// Origins that are let in, and how browsers are told.
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
    /// Returns whether the page that a request comes from is let in. Logs the
    /// origins of those that are not.
    pub(crate) fn lets_in<B>(&self, request: &Request<B>) -> bool {
        let headers = request.headers();
        let host = host(request).ok().flatten();
        let allowed = self.allowed().origins.allow(headers, host);
        if !allowed {
            self.refusals.tell(headers);
        }
        allowed
    }

    /// Returns the path under which the service is mounted, where the configuration or
    /// axum's router says it.
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
    /// A service over the connections of `manager`, and its bus.
    ///
    /// # Errors
    /// A setting that cannot work.
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
            tracker: TaskTracker::new(),
        };
        Ok(Self {
            core: Arc::new(core),
        })
    }

    /// Tells the service where it is reached. On an address of this machine only, such
    /// as 127.0.0.1, it answers to names of this machine and to
    /// [`allowed_hosts`](TransportConfig::allowed_hosts) alone: a page of any site can
    /// have its own name lead there (DNS rebinding).
    pub fn listening_on(&self, addr: SocketAddr) {
        self.core.hosts.listening_on(addr);
    }

    /// Returns why a request is refused by the host that it asks for, if it is. The
    /// service looks itself; this is for routes of the application beside it.
    pub fn refusal_of_host<B>(&self, request: &Request<B>) -> Option<Problem> {
        self.core.hosts.refusal(request)
    }

    /// Sends every connection away when `stop` is cancelled: WebSockets and streams of
    /// events are told to come back, each after another part of `window`, and new ones
    /// are refused. The future is done when all have gone, or the window and the time
    /// for a write have passed. Dropping the future changes nothing.
    ///
    /// The one recipe for a stop, under axum as under hyper:
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
    /// Outside of a tokio runtime.
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
                tracing::warn!(left, "connections did not end in time");
            }
        }))
    }

    /// The connections behind it.
    pub fn manager(&self) -> &ConnectionManager {
        &self.core.manager
    }

    /// The settings it was made with.
    pub fn config(&self) -> &TransportConfig {
        &self.core.config
    }

    /// Returns every route: its path, and the methods that it has.
    pub fn routes(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.core.routes.all()
    }

    /// Lets pages of other origins in from now on. Connections that are there stay.
    ///
    /// # Errors
    /// An origin that is none; nothing has changed then.
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
    /// Answers a WebSocket handshake with a connection that sends every message
    /// back, by the sockets, the parser and the writer of a session.
    ///
    /// For test suites of RFC 6455, which want an echo; see `examples/echo.rs`.
    /// It is on no route of its own.
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

/// The end of a [drain](TidingsService::drain_on): a future.
#[derive(Debug)]
#[must_use = "await it after the server has stopped, or drop it explicitly"]
pub struct Drained(tokio::task::JoinHandle<()>);

impl Future for Drained {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // It ends early only with the runtime.
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

/// The future of a response.
pub type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// What a browser is told of every answer; an answer that says it itself, as
/// pages say what they may load, is left as it is.
fn harden(headers: &mut HeaderMap) {
    for (name, value) in [
        // Text that anybody published is never to be taken for a page.
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

/// The service without CORS around it.
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
        // What happens while it is answered is logged in it.
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
