//! A whole server: a bus, its connections and a listener, until a token stops it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidings_bus::{BusConfig, EventBus, Keeper, SchemaCheck};
use tidings_connections::ConnectionManager;
use tidings_metrics::Served;
use tidings_redis::{Deployment, Redis, RedisConfig};
use tidings_store::BackupDirectory;
use tidings_transport::{ExtraRoute, TidingsService, TransportConfig};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::auth;
use crate::config::NodeConfig;
use crate::error::{NodeConfigError, StartError};
use crate::listen::Server;
use crate::pages::dashboard;
use crate::reload::{Reload, ReloadHandle, Reloaded};
use crate::schemas::JsonSchemas;
use crate::storage;
use crate::tls;

/// The minimum time for the bus to stop after all connections have ended. The bus waits only for
/// its store, so this limit only prevents a hang.
const BUS_DEADLINE: Duration = Duration::from_secs(1);

/// The longest time that the start waits for Redis. With this wait, a started server is normally
/// ready.
const REDIS_DEADLINE: Duration = Duration::from_secs(5);

/// A server that listens. It serves while [`run`](Self::run) runs.
///
/// ```
/// use tidings_node::{Node, NodeConfig, Options};
/// use tokio_util::sync::CancellationToken;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = NodeConfig::load(Options::default())?.listen("127.0.0.1:0".parse()?);
/// let node = Node::start(config).await?;
/// println!("the dashboard is at {}", node.url());
///
/// let drain = CancellationToken::new();
/// let running = tokio::spawn(node.run(drain.clone()));
/// drain.cancel();
/// assert!(running.await?.in_order);
/// # Ok(())
/// # }
/// ```
#[must_use = "a node serves only while run() is polled"]
#[derive(Debug)]
pub struct Node {
    bus: EventBus,
    server: Server,
    /// Keeps the connections to Redis open.
    _redis: Option<Redis>,
    manager: ConnectionManager,
    reload: ReloadHandle,
    secured: bool,
    /// The background tasks that watch files. They end with the node.
    background: JoinSet<()>,
    window: Duration,
    deadline: Duration,
}

/// The result of stopping a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StopReport {
    /// The number of connections that did not end in time.
    pub aborted: usize,
    /// True if the bus stopped in time and its store has written everything.
    pub in_order: bool,
}

impl Node {
    /// Creates all parts of the server and listens.
    ///
    /// # Errors
    /// Returns [`StartError`] if a part cannot be created or the address cannot be listened on.
    ///
    /// # Cancel safety
    /// Not cancel safe. Dropping the future skips the orderly shutdown of a bus that is already
    /// open.
    pub async fn start(mut config: NodeConfig) -> Result<Self, StartError> {
        let schemas = || Arc::new(JsonSchemas) as Arc<dyn SchemaCheck>;
        config.bus.schemas.get_or_insert_with(schemas);
        let strangers = config.strangers();
        let given = config.given().clone();
        config.auth.check(config.listen)?;
        let tls = match &config.tls {
            None => None,
            Some(files) => Some((files.clone(), files.load()?)),
        };
        config.check_homes()?;
        let asking = config.auth.read()?;
        let mut keeper: Option<Arc<dyn Keeper>> = None;
        let mut transport = routes(config.transport);
        if transport.pages.is_none() && config.dashboard {
            transport = transport.pages(dashboard());
        }
        let (bus, redis) = match (config.shared_bus, &config.data_dir) {
            (Some(bus), _) => (bus, None),
            (None, Some(path)) => {
                let (bus, store) = storage::open(path, config.store, config.bus).await?;
                if let Some(into) = config.backup_dir {
                    let backups = BackupDirectory::new(Arc::clone(&store), into);
                    transport = transport.backups(Arc::new(backups));
                }
                keeper = Some(store);
                (bus, None)
            }
            (None, None) => {
                let name = config.node_name.unwrap_or_else(|| named(config.listen));
                open(config.bus, config.redis, name).await?
            }
        };
        let mut background = JoinSet::new();
        let started = async {
            let connections = config.connections;
            let mut keys = None;
            let manager = match asking {
                None => ConnectionManager::new(bus.clone(), connections),
                Some(asking) => {
                    asking.warm_up().await;
                    keys = asking.keys;
                    let authenticator = asking.authenticator;
                    ConnectionManager::with_authenticator(bus.clone(), connections, authenticator)
                }
            };
            let manager = manager.map_err(NodeConfigError::setting)?;
            if let Some(keys) = keys.clone() {
                background.spawn(auth::follow(keys));
            }
            if let Some(keeper) = keeper {
                let clients = manager
                    .restore(keeper)
                    .await
                    .map_err(StartError::Recovery)?;
                if clients > 0 {
                    tracing::info!(clients, "clients can resume where they were");
                }
            }
            if let Some(redis) = &redis {
                manager.join(redis.clients(), redis.neighbours());
            }
            let service = TidingsService::new(manager.clone(), transport)
                .map_err(NodeConfigError::setting)?;
            let certificate = Arc::new(Notify::new());
            let reload = ReloadHandle::new(Reload {
                given,
                in_force: Mutex::new(config.in_force),
                strangers,
                filter: config.log_filter,
                service: service.clone(),
                keys,
                certificate: Arc::clone(&certificate),
            });
            let addr = config.listen;
            let mut server = Server::bind(addr, service)
                .await
                .map_err(|cause| StartError::Listen { addr, cause })?
                .mounts(config.mounts.make(&bus));
            let secured = tls.is_some();
            if let Some((files, tls)) = tls {
                background.spawn(tls::follow(files, tls.clone(), certificate));
                server = server.secured(Arc::new(tls));
            }
            Ok(Self {
                bus: bus.clone(),
                server,
                _redis: redis,
                manager,
                reload,
                secured,
                background,
                window: config.drain_window,
                deadline: config.drain_deadline,
            })
        };
        let started = started.await;
        if started.is_err() {
            // Shut down in order, so that the stored data stays as good as it was.
            bus.shutdown().await;
        }
        started
    }

    /// Returns the address on which the node listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Returns a URL that reaches the node from this machine, such as `http://127.0.0.1:8000`.
    pub fn url(&self) -> String {
        let addr = self.addr();
        // The unspecified address can be listened on, but not connected to. Use loopback.
        let ip = match addr.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let scheme = if self.secured { "https" } else { "http" };
        format!("{scheme}://{}", SocketAddr::new(ip, addr.port()))
    }

    /// Returns the node's bus.
    pub fn bus(&self) -> &EventBus {
        &self.bus
    }

    /// Returns the manager of the node's connections.
    pub fn manager(&self) -> &ConnectionManager {
        &self.manager
    }

    /// Reads the configuration, the keys and the certificate again, see [`ReloadHandle::reload`].
    ///
    /// # Errors
    /// Returns an error if the configuration is wrong. The old one then stays in effect.
    pub fn reload(&self) -> Result<Reloaded, NodeConfigError> {
        self.reload.reload()
    }

    /// Returns a handle that reloads the node while it runs.
    pub fn reload_handle(&self) -> ReloadHandle {
        self.reload.clone()
    }

    /// Serves until `drain` is cancelled and the drain is complete. All tasks of the node's
    /// listener and connections have ended then.
    ///
    /// # Cancel safety
    /// Not cancel safe. Dropping the future stops accepting connections, but does not drain and
    /// does not stop the bus. Cancel `drain` instead.
    pub async fn run(mut self, drain: CancellationToken) -> StopReport {
        let aborted = self.server.run(drain, self.window, self.deadline).await;
        let deadline = BUS_DEADLINE.max(self.deadline);
        match tokio::time::timeout(deadline, self.manager.save()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "clients' positions were not written"),
            Err(_) => tracing::warn!("clients' positions were not written in time"),
        }
        self.manager.stop().await;
        self.background.shutdown().await;
        // If the bus has a store, the store writes its remaining data now.
        let in_order = tokio::time::timeout(deadline, self.bus.shutdown())
            .await
            .unwrap_or(false);
        StopReport { aborted, in_order }
    }
}

/// Adds the routes of a whole server to those of the transport.
fn routes(config: TransportConfig) -> TransportConfig {
    let metrics = ExtraRoute::admin("/metrics", |asked| {
        let served = Served::new(asked.uptime(), asked.is_ready(), asked.requests());
        tidings_metrics::answer(asked.headers(), asked.manager(), served)
    });
    let mut config = config.route(metrics);
    config.routes.extend(tidings_describe::routes());
    config
}

/// Creates the bus, alone or as a node of a cluster over Redis.
async fn open(
    config: BusConfig,
    deployment: Option<Deployment>,
    name: String,
) -> Result<(EventBus, Option<Redis>), NodeConfigError> {
    let Some(deployment) = deployment else {
        return Ok((
            EventBus::new(config).map_err(NodeConfigError::setting)?,
            None,
        ));
    };
    let redis = Redis::start(
        RedisConfig::new(deployment)
            .retaining_as(&config)
            .node_name(name),
    );
    if !redis.wait(REDIS_DEADLINE).await {
        tracing::warn!("Redis does not answer yet; the server starts, but is not ready");
    }
    let config = config.broker(Some(redis.broker()));
    let bus = EventBus::open(config, redis.store()).await;
    Ok((bus.map_err(NodeConfigError::setting)?, Some(redis)))
}

/// Returns the default name of a node: its machine and its port.
fn named(listen: SocketAddr) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok());
    let host = host.as_deref().map_or("tidings", str::trim);
    match listen.port() {
        // The system chooses the port later, so use the process id, which is also unique.
        0 => format!("{host}-{}", std::process::id()),
        port => format!("{host}:{port}"),
    }
}
