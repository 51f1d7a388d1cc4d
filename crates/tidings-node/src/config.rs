//! The configuration of a node: turns options into the settings of each crate.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use tidings_auth::LinkKey;
use tidings_bus::{BusConfig, EventBus};
use tidings_connections::{Authenticator, ConnectionsConfig};
use tidings_redis::Deployment;
use tidings_store::StoreConfig;
use tidings_transport::{Origins, TransportConfig, WEBSOCKET};
use tower_service::Service;

use crate::auth::{Auth, OwnAuthenticator, read_text};
use crate::error::NodeConfigError;
use crate::limits::limits;
use crate::listen::{BoxError, Mounts};
use crate::logging::LogFilter;
use crate::options::Options;
use crate::tls::TlsFiles;
use crate::value::{Collector, Log, LogFormat, Origin};

/// The time over which reconnects are spread when the server stops. A few thousand clients then
/// come to the next server at a rate that causes no load.
const DRAIN_WINDOW: Duration = Duration::from_secs(5);

/// The time limit for stopping. Container runtimes and service managers wait 10 s or more before
/// they kill a process.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// The configuration of a node.
///
/// [`load`](Self::load) creates it from options: values, environment variables and a file. The
/// fields and setters are for settings that a program chooses itself.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeConfig {
    /// The address to listen on. Port 0 chooses a free port. Default: 127.0.0.1:8000.
    pub listen: SocketAddr,
    /// The settings of the bus. A reload does not change them.
    pub bus: BusConfig,
    /// The settings of the connections. A reload changes their limits.
    pub connections: ConnectionsConfig,
    /// The settings of the HTTP service. A reload changes the origins.
    pub transport: TransportConfig,
    /// The address of Redis, which makes the node part of a cluster. Default: none.
    pub redis: Option<Deployment>,
    /// The node's name in the cluster. Default: the name of its machine and its port.
    pub node_name: Option<String>,
    /// The directory where tasks are stored. Default: none, tasks are kept in memory only.
    pub data_dir: Option<PathBuf>,
    /// The settings of the data directory.
    pub store: StoreConfig,
    /// The directory for backups. Default: none, no backups can be made.
    pub backup_dir: Option<PathBuf>,
    /// The time over which clients spread their reconnects when the node stops. Default: 5 s.
    pub drain_window: Duration,
    /// The time limit for stopping. Default: 10 s.
    pub drain_deadline: Duration,
    /// True if the node serves the dashboard. The node does not serve it if
    /// [`TransportConfig::pages`] has other pages. Default: true.
    pub dashboard: bool,
    /// The address to which request spans are exported. The node does not export them itself:
    /// `tidings-otlp` does.
    pub otlp: Option<String>,
    pub(crate) log: Log,
    pub(crate) log_format: LogFormat,
    pub(crate) log_filter: Option<LogFilter>,
    pub(crate) auth: Auth,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) shared_bus: Option<EventBus>,
    pub(crate) mounts: Mounts,
    /// The options that the configuration was created from, without the file.
    given: Options,
    /// The same options, with those of the file.
    pub(crate) in_force: Options,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self::new(
            Options::default(),
            Options::default(),
            Auth::default(),
            None,
        )
    }
}

impl NodeConfig {
    /// Creates a configuration from options, and from the file that they name. Values that are set
    /// take precedence over the file.
    ///
    /// ```no_run
    /// use tidings_node::{NodeConfig, Options};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut values = Options::default();
    /// values.set("config", "tidings.toml")?;
    /// let options = values.or(&Options::from_env(&[])?);
    /// let config = NodeConfig::load(options)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or contains an error, or if options contradict
    /// each other.
    pub fn load(given: Options) -> Result<Self, NodeConfigError> {
        let in_force = match &given.config {
            Some(path) => given.clone().or(&Options::from_file(path)?),
            None => given.clone(),
        };
        let auth = Auth::from_options(&in_force)?;
        let tls = TlsFiles::from_options(&in_force)?;
        let link_key = in_force.answer_link_key.as_deref();
        let link_key = link_key.map(link_key_of).transpose()?;
        let mut config = Self::new(given, in_force, auth, tls);
        if let Some(key) = link_key {
            config.transport = config.transport.link_signer(Arc::new(key));
        }
        Ok(config)
    }

    /// Returns the options that the configuration was created from, without the file.
    pub(crate) fn given(&self) -> &Options {
        &self.given
    }

    fn new(given: Options, in_force: Options, auth: Auth, tls: Option<TlsFiles>) -> Self {
        let options = &in_force;
        let listen = options.listen.as_ref().map_or_else(
            || SocketAddr::from(([127, 0, 0, 1], 8000)),
            |listen| listen.0,
        );
        let limits = limits(options, has_strangers(&auth, listen));
        Self {
            auth,
            tls,
            listen,
            bus: bus(options),
            connections: connections(options).limits(limits),
            transport: transport(options),
            redis: options.redis.as_ref().map(|url| url.0.clone()),
            node_name: options.node_name.clone(),
            store: store(options),
            data_dir: options.data_dir.clone(),
            backup_dir: options.backup_dir.clone(),
            drain_window: options.drain_window.map_or(DRAIN_WINDOW, |time| time.get()),
            drain_deadline: options
                .drain_deadline
                .map_or(DRAIN_DEADLINE, |time| time.get()),
            dashboard: true,
            otlp: options.otlp.as_ref().map(Collector::traces),
            log: options.log.clone().unwrap_or_default(),
            log_format: options.log_format.unwrap_or_default(),
            log_filter: None,
            shared_bus: None,
            mounts: Mounts::default(),
            given,
            in_force,
        }
    }

    /// Sets the address to listen on. Port 0 chooses a free port.
    #[must_use]
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.listen = addr;
        self
    }

    /// Sets an authenticator of the program's own, which replaces the one in the options.
    #[must_use]
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.auth = Auth::Own(OwnAuthenticator(authenticator));
        self
    }

    /// Uses a bus that the program has created. The node then neither opens a store nor joins
    /// Redis. It stops the bus when it stops.
    #[must_use]
    pub fn over(mut self, bus: EventBus) -> Self {
        self.shared_bus = Some(bus);
        self
    }

    /// Lets a reload change which lines are logged. `filter` is the result of
    /// [`logging::start`](crate::logging::start).
    #[must_use]
    pub fn log_filter(mut self, filter: LogFilter) -> Self {
        self.log_filter = Some(filter);
        self
    }

    /// Adds routes of the program's own: the service that `make` returns answers `prefix` and every
    /// path below it. `make` runs when the node starts, and receives the node's bus.
    ///
    /// The service can be any tower service, such as an axum `Router`. It sees whole paths. The
    /// node only checks the host name before it calls the service, so the service must authenticate
    /// its own clients. The longest prefix wins, also over the node's own routes.
    ///
    /// # Panics
    /// Panics if `prefix` does not begin with a slash.
    #[must_use]
    pub fn mount<S, B>(
        mut self,
        prefix: &str,
        make: impl Fn(EventBus) -> S + Send + Sync + 'static,
    ) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.mounts.add(prefix, make);
        self
    }

    pub(crate) fn strangers(&self) -> bool {
        has_strangers(&self.auth, self.listen)
    }

    /// Checks that tasks are stored in one place only, and that backups have a data directory.
    pub(crate) fn check_homes(&self) -> Result<(), NodeConfigError> {
        if self.data_dir.is_some() && self.redis.is_some() {
            return Err(NodeConfigError::Setting(
                "tasks are kept in Redis or in a data directory, not in both: \
                 leave out --redis or --data-dir"
                    .into(),
            ));
        }
        if self.backup_dir.is_some() && self.data_dir.is_none() {
            return Err(NodeConfigError::Setting(
                "--backup-dir needs --data-dir: there is nothing to back up without it".into(),
            ));
        }
        Ok(())
    }
}

/// Calls a setter for each value that is set. The setter has the name of the field.
macro_rules! set {
    ($config:ident: $($setter:ident = $value:expr),* $(,)?) => {
        $(if let Some(value) = $value { $config = $config.$setter(value); })*
    };
}

/// Reads the key of answer links.
fn link_key_of(path: &Path) -> Result<LinkKey, NodeConfigError> {
    LinkKey::new(read_text(path)?.as_bytes()).map_err(|cause| NodeConfigError::LinkKey {
        path: path.to_owned(),
        cause,
    })
}

/// Returns true if unknown clients may connect.
fn has_strangers(auth: &Auth, listen: SocketAddr) -> bool {
    auth.asks() || !listen.ip().is_loopback()
}

fn bus(options: &Options) -> BusConfig {
    let mut bus = BusConfig::default().framing(WEBSOCKET);
    let mut limits = bus.log_limits;
    limits.max_events = options
        .max_events
        .map_or(limits.max_events, |count| count.get());
    limits.max_bytes = options
        .max_task_bytes
        .map_or(limits.max_bytes, |size| size.to_usize());
    set! { bus:
        log_limits = Some(limits),
        finished_events_ttl = options.finished_ttl.map(|time| time.get()),
        pinned_ttl = options.pinned_ttl.map(|time| time.get()),
        idle_ttl = options.idle_ttl.map(|time| time.get()),
        total_bytes = options.max_total_bytes.map(|size| size.to_usize()),
        clients_bytes = options.max_clients_bytes.map(|size| Some(size.to_usize())),
        account_bytes = options.client_bytes.map(|size| Some(size.to_usize())),
        max_event_bytes = options.max_event_bytes.map(|size| size.to_usize()),
        idempotency_ids = options.idempotency_ids.map(|count| count.to_usize()),
        idempotency_ttl = options.idempotency_ttl.map(|time| time.get()),
    }
    bus
}

fn connections(options: &Options) -> ConnectionsConfig {
    let mut connections = ConnectionsConfig::default();
    let mut skip = connections.skip;
    skip.behind = options.skip_behind.map_or(skip.behind, |count| count.get());
    let mut inbox = connections.inbox;
    inbox.max_events = options
        .inbox_messages
        .map_or(inbox.max_events, |count| count.get());
    set! { connections:
        skip = Some(skip),
        inbox = Some(inbox),
        heartbeat_interval = options.heartbeat_interval.map(|time| time.get()),
        write_timeout = options.write_timeout.map(|time| time.get()),
        offline_ttl = options.offline_ttl.map(|time| time.get()),
        max_connections = options.max_connections.map(|count| count.to_usize()),
        max_subscriptions = options.max_subscriptions.map(|count| count.to_usize()),
        max_message_bytes = options.max_message_bytes.map(|size| size.to_usize()),
        max_pending_answers = options.max_unread_bytes.map(|size| size.to_usize()),
    }
    connections
}

fn transport(options: &Options) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let trusted = options.trusted_proxy.as_ref();
    let trusted = trusted.map(|networks| networks.iter().map(|network| network.0).collect());
    set! { transport:
        token_in_query = options.token_in_query,
        allowed_hosts = options.allow_host.clone(),
        trusted_proxies = trusted,
        proxy_protocol = options.proxy_protocol,
        allowed_origins = options.allow_origin.as_deref().map(origins),
        header_read_timeout = options.header_timeout.map(|time| time.get()),
        body_read_timeout = options.body_timeout.map(|time| time.get()),
        max_http_connections = options.max_http_connections.map(|count| count.to_usize()),
        max_http_connections_per_address =
            options.address_http_connections.map(|count| count.to_usize()),
        max_body_bytes = options.max_body_bytes.map(|size| size.to_usize()),
        max_http2_streams = options.max_http2_streams.map(|count| count.to_usize()),
        http2_idle_timeout = options.http2_idle_timeout.map(|time| time.get()),
    }
    transport
}

fn store(options: &Options) -> StoreConfig {
    let mut store = StoreConfig::default();
    set! { store:
        sync = options.sync.map(|mode| mode.0),
        max_task_bytes = options.max_stored_task_bytes.map(|size| size.get()),
        max_total_bytes = options.max_stored_bytes.map(|size| size.get()),
        events_ttl = options.stored_ttl.map(|time| time.get()),
    }
    store
}

fn origins(allowed: &[Origin]) -> Origins {
    let listed = allowed.iter().map(|origin| match origin {
        Origin::Any => None,
        Origin::One(origin) => Some(origin.clone()),
    });
    listed
        .collect::<Option<Vec<_>>>()
        .map_or(Origins::Any, Origins::List)
}
