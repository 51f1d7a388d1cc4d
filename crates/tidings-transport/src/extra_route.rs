//! Routes that an application adds to those of Tidings.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tidings_connections::ConnectionManager;

use crate::service::Core;

/// A route that an application adds to those of Tidings, for example for metrics.
///
/// A route answers `GET` and `HEAD`. Its responses get the same headers as those of Tidings. They
/// are counted, and they belong to a span.
///
/// ```
/// use bytes::Bytes;
/// use http::Response;
/// use tidings_transport::{ExtraRoute, TransportConfig};
///
/// let connected = ExtraRoute::admin("/connected", |asked| {
///     let text = asked.manager().connected().to_string();
///     Response::new(Bytes::from(text))
/// });
/// let config = TransportConfig::default().route(connected);
/// ```
#[derive(Clone)]
pub struct ExtraRoute {
    path: &'static str,
    open: bool,
    answer: Arc<Answer>,
}

type Answer = dyn Fn(&Asked<'_>) -> Response<Bytes> + Send + Sync;

impl ExtraRoute {
    /// Creates a route that answers every client, even without a token.
    ///
    /// `answer` runs on a thread of the runtime for each request, so it must not block.
    pub fn open(
        path: &'static str,
        answer: impl Fn(&Asked<'_>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self {
            path,
            open: true,
            answer: Arc::new(answer),
        }
    }

    /// Creates a route for clients with the permission `admin` for every task.
    ///
    /// `answer` runs on a thread of the runtime for each request, so it must not block.
    pub fn admin(
        path: &'static str,
        answer: impl Fn(&Asked<'_>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self {
            open: false,
            ..Self::open(path, answer)
        }
    }

    /// Returns the path.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// Returns whether the route answers every client.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    pub(crate) fn answer<B>(&self, core: &Core, request: &Request<B>) -> Response<Bytes> {
        (self.answer)(&Asked {
            core,
            headers: request.headers(),
            prefix: &core.prefix_of(request),
        })
    }
}

impl fmt::Debug for ExtraRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtraRoute")
            .field("path", &self.path)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

/// A request for an [`ExtraRoute`], and the service that received it.
pub struct Asked<'a> {
    core: &'a Core,
    headers: &'a HeaderMap,
    prefix: &'a str,
}

impl Asked<'_> {
    /// Returns the path under which the service is mounted, such as `/tidings`. It is empty without
    /// one.
    pub fn prefix(&self) -> &str {
        self.prefix
    }

    /// Returns the headers of the request.
    pub fn headers(&self) -> &HeaderMap {
        self.headers
    }

    /// Returns the connection manager of the service, which also leads to the bus.
    pub fn manager(&self) -> &ConnectionManager {
        &self.core.manager
    }

    /// Returns how long the service has existed.
    pub fn uptime(&self) -> Duration {
        self.core.started.elapsed()
    }

    /// Returns whether new connections are accepted, as `/readyz` says.
    pub fn is_ready(&self) -> bool {
        self.core.not_ready().is_none()
    }

    /// Returns the number of requests answered, by route and status. Paths without a route count as
    /// `none`.
    pub fn requests(&self) -> BTreeMap<(&'static str, u16), u64> {
        self.core.http.read()
    }
}

impl fmt::Debug for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked")
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}
