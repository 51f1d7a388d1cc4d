//! The settings of the transport.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tidings_bus::Backups;
use tidings_connections::Signer;

use crate::extra_route::ExtraRoute;
use crate::forwarded::trusts;
use crate::origin::Origins;
use crate::pages::Pages;
use crate::spans::{Logged, RequestSpans};

/// The settings of a [`TidingsService`](crate::TidingsService) and of the accept loop of
/// `tidings-node`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TransportConfig {
    /// The web pages that may connect. Default: pages of the same origin.
    pub allowed_origins: Origins,
    /// The host names that the service accepts, besides the names of this machine itself. They are
    /// checked if the service listens on the loopback address, as a protection against DNS
    /// rebinding (see [`listening_on`](crate::TidingsService::listening_on)). They are also checked
    /// if any name is set.
    pub allowed_hosts: Vec<String>,
    /// The path under which a router or a proxy mounts the service, such as `/tidings`. Default:
    /// none. It is needed for correct URLs if the router removes this path. With the feature
    /// `axum`, axum's `nest_service` does not need it.
    pub prefix: String,
    /// The networks of proxies that are trusted to tell the client's address (`Forwarded`,
    /// `X-Forwarded-For`, the PROXY protocol). Default: none.
    pub trusted_proxies: Vec<IpNet>,
    /// Requires that connections from trusted proxies begin with a header of the PROXY protocol,
    /// version 2. Other connections are then refused. Default: no.
    pub proxy_protocol: bool,
    /// Allows a token in the query (`?token=`). The token may then appear in the logs of every proxy
    /// on the way. Allow it only for clients that cannot send a token in another way. Default: no.
    pub token_in_query: bool,
    /// The largest body of a request, in bytes. Default: 1 MiB, which is enough for a batch of
    /// events.
    pub max_body_bytes: usize,
    /// How long a client may take to send a request's head. An idle connection also counts.
    /// Default: 15 s.
    pub header_read_timeout: Duration,
    /// How long a client may take to send a request's body. Default: 15 s.
    pub body_read_timeout: Duration,
    /// The most HTTP connections at a time, without WebSockets and event streams. Default: 4,096.
    /// If all are in use, an idle connection of the address that has the most ends for a new one.
    pub max_http_connections: usize,
    /// The same limit for one address (for IPv6, one /64 network). Default: 1,024. Trusted proxies
    /// have no such limit.
    pub max_http_connections_per_address: usize,
    /// The most concurrent requests on one HTTP/2 connection. Each may be a stream of events.
    /// Default: 128.
    pub max_http2_streams: usize,
    /// How long an HTTP/2 connection may stay open without a request. For HTTP/1.1,
    /// `header_read_timeout` limits this. Default: 60 s.
    pub http2_idle_timeout: Duration,
    /// The pages that are served at paths without a route. Default: none.
    pub pages: Option<Pages>,
    /// Routes of the application, in addition to those of Tidings. Default: none.
    pub routes: Vec<ExtraRoute>,
    /// The code that makes a backup when an administrator requests one. Default: none.
    pub backups: Option<Arc<dyn Backups>>,
    /// The signer of answer links. Default: none, and the server then makes no answer links.
    pub link_signer: Option<Arc<dyn Signer>>,
    /// The factory of the spans in which requests are answered. Default: spans for the log, at
    /// level `INFO` and with the field `request_id`.
    pub request_spans: Arc<dyn RequestSpans>,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            allowed_origins: Origins::SameOrigin,
            allowed_hosts: Vec::new(),
            prefix: String::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            token_in_query: false,
            max_body_bytes: 1024 * 1024,
            header_read_timeout: Duration::from_secs(15),
            body_read_timeout: Duration::from_secs(15),
            max_http_connections: 4_096,
            max_http_connections_per_address: 1_024,
            max_http2_streams: 128,
            http2_idle_timeout: Duration::from_secs(60),
            pages: None,
            routes: Vec::new(),
            backups: None,
            link_signer: None,
            request_spans: Arc::new(Logged),
        }
    }
}

/// A setting that does not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportConfigError {
    /// A limit is too small to let anything through.
    #[error("{field} must be at least {least}")]
    TooSmall {
        /// The name of the field.
        field: &'static str,
        /// The smallest value that works.
        least: u64,
    },
    /// A text is not an origin.
    #[error("allowed_origins: {origin:?} is not an origin such as https://example.org")]
    Origin {
        /// The text.
        origin: String,
    },
    /// A route of the application cannot be added.
    #[error("the route {path} cannot be added: it is not a path, or another route already has it")]
    Route {
        /// The path of the route.
        path: &'static str,
    },
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl TransportConfig {
    /// Sets the web pages that may connect.
    #[must_use]
    pub fn allowed_origins(mut self, origins: Origins) -> Self {
        self.allowed_origins = origins;
        self
    }

    /// Sets the host names that the server accepts.
    #[must_use]
    pub fn allowed_hosts<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.allowed_hosts = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the path under which the service is mounted.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the networks of trusted proxies.
    #[must_use]
    pub fn trusted_proxies(mut self, networks: Vec<IpNet>) -> Self {
        self.trusted_proxies = networks;
        self
    }

    /// Sets whether trusted proxies use the PROXY protocol.
    #[must_use]
    pub fn proxy_protocol(mut self, spoken: bool) -> Self {
        self.proxy_protocol = spoken;
        self
    }

    /// Sets whether a token may be in the query.
    #[must_use]
    pub fn token_in_query(mut self, allowed: bool) -> Self {
        self.token_in_query = allowed;
        self
    }

    /// Sets the largest body of a request, in bytes.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// Sets how long a client may take to send a request's head.
    #[must_use]
    pub fn header_read_timeout(mut self, timeout: Duration) -> Self {
        self.header_read_timeout = timeout;
        self
    }

    /// Sets how long a client may take to send a request's body.
    #[must_use]
    pub fn body_read_timeout(mut self, timeout: Duration) -> Self {
        self.body_read_timeout = timeout;
        self
    }

    /// Sets the most HTTP connections at a time.
    #[must_use]
    pub fn max_http_connections(mut self, count: usize) -> Self {
        self.max_http_connections = count;
        self
    }

    /// Sets the most HTTP connections from one address.
    #[must_use]
    pub fn max_http_connections_per_address(mut self, count: usize) -> Self {
        self.max_http_connections_per_address = count;
        self
    }

    /// Sets the most concurrent requests on one HTTP/2 connection.
    #[must_use]
    pub fn max_http2_streams(mut self, count: usize) -> Self {
        self.max_http2_streams = count;
        self
    }

    /// Sets how long an HTTP/2 connection may stay open without a request.
    #[must_use]
    pub fn http2_idle_timeout(mut self, timeout: Duration) -> Self {
        self.http2_idle_timeout = timeout;
        self
    }

    /// Sets the pages that are served at paths without a route.
    #[must_use]
    pub fn pages(mut self, pages: Pages) -> Self {
        self.pages = Some(pages);
        self
    }

    /// Adds a route.
    #[must_use]
    pub fn route(mut self, route: ExtraRoute) -> Self {
        self.routes.push(route);
        self
    }

    /// Sets the factory of the spans in which requests are answered.
    #[must_use]
    pub fn request_spans(mut self, spans: Arc<dyn RequestSpans>) -> Self {
        self.request_spans = spans;
        self
    }

    /// Returns whether an address belongs to a trusted proxy.
    pub fn trusts(&self, ip: IpAddr) -> bool {
        trusts(&self.trusted_proxies, ip)
    }

    /// Sets the code that makes backups.
    #[must_use]
    pub fn backups(mut self, backups: Arc<dyn Backups>) -> Self {
        self.backups = Some(backups);
        self
    }

    /// Sets the signer of answer links. All nodes need the same key.
    #[must_use]
    pub fn link_signer(mut self, signer: Arc<dyn Signer>) -> Self {
        self.link_signer = Some(signer);
        self
    }

    pub(crate) fn validate(&self) -> Result<(), TransportConfigError> {
        let checks = [
            ("max_body_bytes", self.max_body_bytes as u64, 1_024),
            (
                "header_read_timeout (ms)",
                millis(self.header_read_timeout),
                10,
            ),
            ("body_read_timeout (ms)", millis(self.body_read_timeout), 10),
            ("max_http_connections", self.max_http_connections as u64, 1),
            ("max_http2_streams", self.max_http2_streams as u64, 1),
            (
                "max_http_connections_per_address",
                self.max_http_connections_per_address as u64,
                1,
            ),
        ];
        for (field, value, least) in checks {
            if value < least {
                return Err(TransportConfigError::TooSmall { field, least });
            }
        }
        self.allowed_origins.validate()
    }
}
