//! `tidings serve`: a bus, its connections and a listener, until a signal.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tidings_bus::{BusConfig, EventBus, Keeper};
use tidings_connections::ConnectionManager;
use tidings_metrics::Served;
use tidings_redis::{Deployment, Redis, RedisConfig};
use tidings_store::BackupDirectory;
use tidings_transport::{ExtraRoute, Server, TidingsService, TransportConfig};
use tokio_util::sync::CancellationToken;

use crate::auth;
use crate::config::Settings;
use crate::failure::Failure;
use crate::logging;
use crate::otlp::Export;
use crate::pages::pages;
use crate::reload::Reload;
use crate::signals;
use crate::storage;
use crate::tls;

/// How long the bus may take to stop once nobody is connected, at least. It
/// waits for nothing but its store, so this is only not to hang whatever happens.
const BUS_DEADLINE: Duration = Duration::from_secs(1);

/// How long the start waits for Redis, so that a server that is not ready is
/// the exception.
const REDIS_DEADLINE: Duration = Duration::from_secs(5);

/// Serves until a signal.
pub(crate) fn run(settings: Settings) -> Result<(), Failure> {
    block_on(async { Instance::start(settings).await?.run().await })
}

/// Runs `main` on a runtime.
pub(crate) fn block_on(main: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.map_err(Failure::System)?.block_on(main)
}

/// A server that listens.
pub(crate) struct Instance {
    pub(crate) bus: EventBus,
    /// Cancelled when the server is to stop.
    pub(crate) drain: CancellationToken,
    server: Server,
    /// Keeps the connections to Redis.
    _redis: Option<Redis>,
    manager: ConnectionManager,
    export: Option<Export>,
    window: Duration,
    deadline: Duration,
}

impl Instance {
    /// Wires the crates together, listens, and says so on standard output.
    pub(crate) async fn start(settings: Settings) -> Result<Self, Failure> {
        let export = settings.otlp.as_ref().map(Export::start).transpose()?;
        let filter = logging::start(&settings.log, settings.log_format, export.as_ref());
        let strangers = settings.strangers();
        let drain = CancellationToken::new();
        signals::install(drain.clone()).map_err(Failure::System)?;
        settings.auth.check(settings.listen)?;
        let tls = match &settings.tls {
            None => None,
            Some(files) => Some((files.clone(), files.load()?)),
        };
        settings.check_homes()?;
        let asking = settings.auth.read()?;
        let mut keeper: Option<Arc<dyn Keeper>> = None;
        let mut transport = routes(settings.transport).pages(pages());
        if let Some(export) = &export {
            transport = transport.request_spans(export.spans());
        }
        let (bus, redis) = match &settings.data_dir {
            Some(path) => {
                let (bus, store) = storage::open(path, settings.store, settings.bus).await?;
                if let Some(into) = settings.backup_dir {
                    let backups = BackupDirectory::new(Arc::clone(&store), into);
                    transport = transport.backups(Arc::new(backups));
                }
                keeper = Some(store);
                (bus, None)
            }
            None => {
                let name = settings.node_name.unwrap_or_else(|| named(settings.listen));
                open(settings.bus, settings.redis, name).await?
            }
        };
        let started = async {
            let connections = settings.connections;
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
            let manager = manager.map_err(setting)?;
            if let Some(keys) = keys.clone() {
                tokio::spawn(auth::follow(keys));
            }
            if let Some(keeper) = keeper {
                let clients = manager.restore(keeper).await.map_err(Failure::Recovery)?;
                if clients > 0 {
                    tracing::info!(clients, "clients may come back to where they were");
                }
            }
            if let Some(redis) = &redis {
                manager.join(redis.clients(), redis.neighbours());
            }
            let service = TidingsService::new(manager.clone(), transport).map_err(setting)?;
            let reload = Reload {
                given: settings.given,
                in_force: settings.in_force,
                strangers,
                filter,
                service: service.clone(),
                keys,
            };
            let hangup = signals::hangup().map_err(Failure::System)?;
            tokio::spawn(reload.follow(hangup));
            let addr = settings.listen;
            let server = Server::bind(addr, service)
                .await
                .map_err(|cause| Failure::Listen { addr, cause })?;
            let server = match &tls {
                None => server,
                Some((files, tls)) => {
                    tokio::spawn(tls::follow(
                        files.clone(),
                        tls.clone(),
                        signals::hangup().map_err(Failure::System)?,
                    ));
                    server.secured(Arc::new(tls.clone()))
                }
            };
            announce(server.local_addr(), tls.is_some());
            Ok::<_, Failure>(Self {
                bus: bus.clone(),
                _redis: redis,
                drain,
                server,
                manager,
                export,
                window: settings.drain_window,
                deadline: settings.drain_deadline,
            })
        };
        let started = started.await;
        if started.is_err() {
            // A stop in order: what is stored is as good as it was.
            bus.shutdown().await;
        }
        started
    }

    /// Serves until the drain has been asked for and is done.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let aborted = self
            .server
            .run(self.drain, self.window, self.deadline)
            .await;
        let deadline = BUS_DEADLINE.max(self.deadline);
        match tokio::time::timeout(deadline, self.manager.save()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "clients' positions were not written"),
            Err(_) => tracing::warn!("clients' positions were not written in time"),
        }
        // With a store it writes what is left.
        let stopped = tokio::time::timeout(deadline, self.bus.shutdown())
            .await
            .unwrap_or(false);
        if let Some(export) = self.export {
            export.stop().await;
        }
        tracing::info!(aborted, stopped, "stopped");
        Ok(())
    }
}

/// Adds the routes of a server to those of the transport.
fn routes(config: TransportConfig) -> TransportConfig {
    let metrics = ExtraRoute::admin("/metrics", |asked| {
        let served = Served::new(asked.uptime(), asked.is_ready(), asked.requests());
        tidings_metrics::answer(asked.headers(), asked.manager(), served)
    });
    let mut config = config.route(metrics);
    config.routes.extend(tidings_describe::routes());
    config
}

/// The bus, alone or as one of several over Redis.
async fn open(
    config: BusConfig,
    deployment: Option<Deployment>,
    name: String,
) -> Result<(EventBus, Option<Redis>), Failure> {
    let Some(deployment) = deployment else {
        return Ok((EventBus::new(config).map_err(setting)?, None));
    };
    let redis = Redis::start(
        RedisConfig::new(deployment)
            .retaining_as(&config)
            .node_name(name),
    );
    if !redis.wait(REDIS_DEADLINE).await {
        tracing::warn!("Redis does not answer yet; the server starts, and is not ready");
    }
    let config = config.broker(Some(redis.broker()));
    let bus = EventBus::open(config, redis.store()).await;
    Ok((bus.map_err(setting)?, Some(redis)))
}

/// What a server is called if nobody says: its machine and its port.
fn named(listen: SocketAddr) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok());
    let host = host.as_deref().map_or("tidings", str::trim);
    match listen.port() {
        // The system chooses one later; this is its own too.
        0 => format!("{host}-{}", std::process::id()),
        port => format!("{host}:{port}"),
    }
}

pub(crate) fn setting(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Setting(Box::new(error))
}

/// Says where the server is and where to look.
fn announce(addr: SocketAddr, tls: bool) {
    // What cannot be connected to is listened on all the same: show a way in.
    let host = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let near = SocketAddr::new(host, addr.port());
    let (http, ws) = if tls {
        ("https", "wss")
    } else {
        ("http", "ws")
    };
    let text = format!(
        "\
listening on {http}://{addr}

Dashboard        {http}://{near}/
Watch a task     {ws}://{near}/ws/tasks/test_001
  as a stream    curl -N -H 'Accept: text/event-stream' {http}://{near}/api/tasks/test_001/events
Publish to it    curl -d '{{\"event_type\":\"task_started\",\"data\":{{\"name\":\"A test\"}}}}' {http}://{near}/api/tasks/test_001/events
See all tasks    curl {http}://{near}/api/tasks
API              {http}://{near}/api/openapi.json
"
    );
    let mut out = io::stdout().lock();
    // The server serves just as well when nobody reads this.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
