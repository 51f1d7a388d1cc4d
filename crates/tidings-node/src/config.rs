//! What a node is run with: from options to the settings of each crate.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tidings_bus::BusConfig;
use tidings_connections::ConnectionsConfig;
use tidings_redis::Deployment;
use tidings_store::StoreConfig;
use tidings_transport::{Origins, TransportConfig, WEBSOCKET};

use crate::auth::Auth;
use crate::error::NodeConfigError;
use crate::limits::limits;
use crate::logging::LogFilter;
use crate::options::Options;
use crate::tls::TlsFiles;
use crate::value::{Collector, Log, LogFormat, Origin};

/// Over how long reconnects are spread when the server stops: a few thousand
/// clients come back to the next one at a rate that it does not notice.
const DRAIN_WINDOW: Duration = Duration::from_secs(5);

/// How long stopping may take: below the 10 s and more that container runtimes
/// and service managers wait before they kill.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// What a node is run with.
#[derive(Debug)]
#[non_exhaustive]
pub struct NodeConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The options that all of this was made from, without the file.
    pub given: Options,
    /// The same with the file.
    pub in_force: Options,
    /// Lets a reload exchange what is logged; none where the host logs its own way.
    pub log_filter: Option<LogFilter>,
    /// What is logged.
    pub log: Log,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Where spans of requests go; the host sends them.
    pub otlp: Option<Collector>,
    /// Who may come in.
    pub auth: Auth,
    /// The certificate and its key, for TLS.
    pub tls: Option<TlsFiles>,
    /// Tasks.
    pub bus: BusConfig,
    /// Connections.
    pub connections: ConnectionsConfig,
    /// HTTP.
    pub transport: TransportConfig,
    /// Where Redis is, for one of several nodes.
    pub redis: Option<Deployment>,
    /// What the node is called among several.
    pub node_name: Option<String>,
    /// Where tasks are kept; none for memory alone.
    pub data_dir: Option<PathBuf>,
    /// How tasks are kept on disk.
    pub store: StoreConfig,
    /// Where backups go; none are made without.
    pub backup_dir: Option<PathBuf>,
    /// Over how long clients are told to spread their coming back.
    pub drain_window: Duration,
    /// How long stopping may take.
    pub drain_deadline: Duration,
}

impl NodeConfig {
    /// From flags and variables, and from the file that they name.
    ///
    /// # Errors
    /// See [`NodeConfigError`].
    pub fn load(given: Options) -> Result<Self, NodeConfigError> {
        let file = given.config.clone().map(read).transpose()?;
        let in_force = given.clone().or(file.unwrap_or_default());
        Self::from_options(given, in_force)
    }
}

fn read(path: PathBuf) -> Result<Options, NodeConfigError> {
    parse(path)
}

/// The file as it is written.
pub(crate) fn table(path: PathBuf) -> Result<toml::Table, NodeConfigError> {
    parse(path)
}

fn parse<T: serde::de::DeserializeOwned>(path: PathBuf) -> Result<T, NodeConfigError> {
    match fs::read_to_string(&path) {
        Ok(text) => {
            toml::from_str(&text).map_err(|cause| NodeConfigError::FileWrong { path, cause })
        }
        Err(cause) => Err(NodeConfigError::FileUnreadable { path, cause }),
    }
}

/// Sets what is given, by the setter's name.
macro_rules! set {
    ($config:ident: $($setter:ident = $value:expr),* $(,)?) => {
        $(if let Some(value) = $value { $config = $config.$setter(value); })*
    };
}

impl NodeConfig {
    pub(crate) fn strangers(&self) -> bool {
        has_strangers(&self.auth, self.listen)
    }

    /// That tasks are to be in one place, and backups of that place.
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
                "--backup-dir: there is nothing to back up without --data-dir".into(),
            ));
        }
        Ok(())
    }

    fn from_options(given: Options, in_force: Options) -> Result<Self, NodeConfigError> {
        let options = &in_force;
        let auth = Auth::from_options(options)?;
        let listen = options.listen.as_ref().map_or_else(
            || SocketAddr::from(([127, 0, 0, 1], 8000)),
            |listen| listen.0,
        );
        let limits = limits(options, has_strangers(&auth, listen));
        Ok(Self {
            auth,
            tls: TlsFiles::from_options(options)?,
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
            log: options.log.clone().unwrap_or_default(),
            log_format: options.log_format.unwrap_or_default(),
            otlp: options.otlp.clone(),
            log_filter: None,
            given,
            in_force,
        })
    }
}

/// Whether people come in whom nobody knows.
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
