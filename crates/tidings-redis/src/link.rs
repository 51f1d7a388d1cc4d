//! The connection for commands. The link connects, watches the connection, and connects again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::{AsyncPushSender, ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, Pipeline,
    ProtocolVersion, RedisError, RedisFuture, RedisResult, ScriptInvocation, ServerErrorKind,
    Value, from_redis_value,
};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{Deployment, RedisConfig};
use crate::defaults::{BACKOFF_MAX, BACKOFF_MIN, CONNECT_TIMEOUT, PING_INTERVAL};
use crate::sentinel;

/// A connection to a server, or to all masters of a cluster.
#[derive(Clone)]
pub(crate) enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(connection) => connection.req_packed_commands(cmd, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// The receiver of pushed messages. It must not block.
pub(crate) type PushSender = Arc<dyn AsyncPushSender>;

/// Connects as the deployment requires. With `pushes`, the connection uses RESP3 and passes on
/// pushed messages.
pub(crate) async fn connect(
    config: &RedisConfig,
    pushes: Option<PushSender>,
) -> RedisResult<Connection> {
    let mut settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(config.response_timeout));
    if let Some(pushes) = pushes.clone() {
        settings = settings.set_push_sender(pushes);
    }
    match &config.deployment {
        Deployment::Single(info) => {
            let client = Client::open(resp3(info))?;
            let connection = client.get_multiplexed_async_connection_with_config(&settings);
            Ok(Connection::Server(connection.await?))
        }
        Deployment::Sentinel {
            sentinels,
            master,
            server,
        } => {
            let named = sentinel::master(sentinels, master).await?;
            let client = Client::open(resp3(&sentinel::at(server, named)))?;
            let connection = client.get_multiplexed_async_connection_with_config(&settings);
            let connection = connection.await?;
            Ok(Connection::Server(connection))
        }
        Deployment::Cluster(nodes) => {
            let mut builder = ClusterClient::builder(nodes.iter().map(resp3))
                .use_protocol(ProtocolVersion::RESP3)
                .connection_timeout(CONNECT_TIMEOUT)
                .response_timeout(config.response_timeout)
                .retries(3);
            if let Some(pushes) = pushes {
                builder = builder.push_sender(pushes);
            }
            let client = builder.build()?;
            let connecting = client.get_async_connection();
            let connection = tokio::time::timeout(4 * CONNECT_TIMEOUT, connecting)
                .await
                .map_err(|_| io_error("the cluster could not be reached in time"))??;
            Ok(Connection::Cluster(connection))
        }
    }
}

fn resp3(info: &ConnectionInfo) -> ConnectionInfo {
    let settings = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP3);
    info.clone().set_redis_settings(settings)
}

pub(crate) fn io_error(text: &'static str) -> RedisError {
    RedisError::from((ErrorKind::Io, text))
}

/// Returns whether another try may help, on another connection or a little later.
pub(crate) fn is_transient(error: &RedisError) -> bool {
    use ServerErrorKind as Server;
    error.is_io_error()
        || error.is_timeout()
        || error.is_unrecoverable_error()
        || matches!(
            error.kind(),
            ErrorKind::ClusterConnectionNotFound
                | ErrorKind::MasterNameNotFoundBySentinel
                | ErrorKind::Server(
                    Server::BusyLoading
                        | Server::TryAgain
                        | Server::ClusterDown
                        | Server::MasterDown
                        | Server::ReadOnly
                        | Server::Moved
                        | Server::Ask
                )
        )
}

/// Returns whether the server refuses writes until an administrator helps: it has no memory left,
/// cannot write to its disk, or has too few replicas.
fn refuses_writes(error: &RedisError) -> bool {
    matches!(error.code(), Some("OOM" | "MISCONF" | "NOREPLICAS"))
}

/// The pauses between attempts. The pause doubles up to a limit. Each pause is a random part
/// between half and all of it, so that nodes do not come back all at once.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(BACKOFF_MIN)
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.0 = (self.0 * 2).min(BACKOFF_MAX);
        pause
    }
}

/// The work for the connection.
#[derive(Clone, Copy)]
enum Work<'a> {
    Command(&'a Cmd),
    Script(&'a ScriptInvocation<'a>),
}

/// Runs commands in Redis, and survives broken connections.
#[derive(Clone)]
pub(crate) struct Link {
    inner: Arc<Inner>,
}

struct Inner {
    config: RedisConfig,
    /// The connection and its number.
    current: watch::Sender<Option<(u64, Connection)>>,
    /// The number of the last connection that was found broken.
    broken: AtomicU64,
    look: Notify,
    durable: AtomicBool,
    /// True if the connection for messages receives them.
    hearing: AtomicBool,
    /// True if the server refuses writes. Not used in a cluster, where other servers may take
    /// them.
    refusing: AtomicBool,
    /// The last time at which everything worked.
    well: Mutex<Option<Instant>>,
}

impl Link {
    /// Starts to connect, and keeps connecting until `stop`.
    pub(crate) fn start(config: RedisConfig, stop: CancellationToken) -> Self {
        let inner = Arc::new(Inner {
            config,
            current: watch::Sender::new(None),
            broken: AtomicU64::new(0),
            look: Notify::new(),
            durable: AtomicBool::new(false),
            hearing: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            well: Mutex::new(None),
        });
        let link = Self {
            inner: Arc::clone(&inner),
        };
        tokio::spawn(async move {
            tokio::select! {
                () = supervise(&inner) => {}
                () = stop.cancelled() => {}
            }
            inner.current.send_replace(None);
        });
        link
    }

    pub(crate) fn config(&self) -> &RedisConfig {
        &self.inner.config
    }

    /// Returns whether Redis answers at the moment.
    pub(crate) fn is_up(&self) -> bool {
        self.inner.current.borrow().is_some()
    }

    /// Records whether messages arrive.
    pub(crate) fn set_hearing(&self, hearing: bool) {
        self.inner.hearing.store(hearing, Ordering::Relaxed);
    }

    /// Returns whether Redis answers, takes writes, and messages arrive. Also returns true shortly
    /// after a failure, while commands still wait for Redis.
    pub(crate) fn is_available(&self) -> bool {
        let mut well = self
            .inner
            .well
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        if self.is_up() && is(&self.inner.hearing) && !is(&self.inner.refusing) {
            *well = Some(Instant::now());
            return true;
        }
        well.is_some_and(|at| at.elapsed() < self.inner.config.wait)
    }

    /// Returns a channel that changes whenever the connection changes.
    pub(crate) fn changes(&self) -> watch::Receiver<Option<(u64, Connection)>> {
        self.inner.current.subscribe()
    }

    /// Returns whether Redis has written every answered change to its disk.
    pub(crate) fn is_durable(&self) -> bool {
        self.inner.durable.load(Ordering::Relaxed)
    }

    /// Runs a command. See [`run`](Self::run).
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        Ok(from_redis_value(self.run(Work::Command(command)).await?)?)
    }

    /// Runs a script. See [`run`](Self::run).
    pub(crate) async fn invoke(&self, script: &ScriptInvocation<'_>) -> RedisResult<Value> {
        self.run(Work::Script(script)).await
    }

    /// Does `work`. After a temporary failure, does the work again over another connection until
    /// the waiting time is over. The work must therefore be harmless when done twice.
    async fn run(&self, work: Work<'_>) -> RedisResult<Value> {
        let deadline = Instant::now() + self.inner.config.wait;
        let mut backoff = Backoff::new();
        loop {
            let Some((number, mut connection)) = self.connection(deadline).await else {
                return Err(io_error("Redis is away"));
            };
            let done = match work {
                Work::Command(command) => command.query_async(&mut connection).await,
                Work::Script(script) => script.invoke_async(&mut connection).await,
            };
            match done {
                Err(error) if is_transient(&error) => {
                    if matches!(connection, Connection::Server(_)) {
                        self.report_broken(number);
                    }
                    let pause = backoff.next();
                    if Instant::now() + pause >= deadline {
                        return Err(error);
                    }
                    tokio::time::sleep(pause).await;
                }
                Err(error) if refuses_writes(&error) => {
                    if matches!(connection, Connection::Server(_))
                        && !self.inner.refusing.swap(true, Ordering::Relaxed)
                    {
                        tracing::error!(%error, "Redis refuses writes; publishes are refused until it takes them again");
                    }
                    return Err(error);
                }
                result => return result,
            }
        }
    }

    async fn connection(&self, deadline: Instant) -> Option<(u64, Connection)> {
        let mut current = self.inner.current.subscribe();
        let ready = tokio::time::timeout_at(deadline, current.wait_for(Option::is_some)).await;
        ready.ok()?.ok()?.clone()
    }

    fn report_broken(&self, number: u64) {
        self.inner.broken.fetch_max(number, Ordering::SeqCst);
        self.inner.look.notify_one();
    }
}

async fn supervise(inner: &Inner) {
    let mut told = false;
    for number in 1.. {
        let mut backoff = Backoff::new();
        let mut connection = loop {
            match connect(&inner.config, None).await {
                Ok(connection) => break connection,
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(%error, "Redis cannot be reached; trying on");
                    }
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        };
        let durable = match &mut connection {
            Connection::Server(server)
                if matches!(inner.config.deployment, Deployment::Single(_)) =>
            {
                writes_are_durable(server).await
            }
            _ => false,
        };
        inner.durable.store(durable, Ordering::Relaxed);
        if let Err(error) = ping(&mut connection, &inner.config.prefix).await {
            // The replica is about to become the master, or the server is loading.
            tracing::debug!(%error, "Redis is not ready");
            tokio::time::sleep(backoff.next()).await;
            continue;
        }
        told = false;
        tracing::info!(durable, "connected to Redis");
        inner
            .current
            .send_replace(Some((number, connection.clone())));
        loop {
            tokio::select! {
                () = tokio::time::sleep(PING_INTERVAL) => {}
                () = inner.look.notified() => {}
            }
            if inner.broken.load(Ordering::SeqCst) >= number {
                break;
            }
            if let Err(error) = ping(&mut connection, &inner.config.prefix).await {
                tracing::debug!(%error, "Redis does not answer");
                break;
            }
            if inner.refusing.load(Ordering::Relaxed)
                && takes_writes(&mut connection, &inner.config.prefix).await
            {
                inner.refusing.store(false, Ordering::Relaxed);
                tracing::info!("Redis takes writes again");
            }
        }
        tracing::warn!("the connection to Redis is lost");
        inner.current.send_replace(None);
    }
}

/// Returns whether the server takes a write that needs memory.
async fn takes_writes(connection: &mut Connection, prefix: &str) -> bool {
    let written: RedisResult<Value> = redis::cmd("SET")
        .arg(ping_key(prefix))
        .arg("")
        .arg("PX")
        .arg(1)
        .query_async(connection)
        .await;
    written.is_ok()
}

/// Returns a key that the node's Redis user may use.
fn ping_key(prefix: &str) -> String {
    format!("{{{prefix}:ping}}")
}

/// Sends a command that only a writable master answers.
async fn ping(connection: &mut Connection, prefix: &str) -> RedisResult<()> {
    match connection {
        Connection::Server(server) => {
            let role: Value = redis::cmd("ROLE").query_async(server).await?;
            let Value::Array(role) = role else {
                return Ok(());
            };
            match role.first() {
                Some(Value::BulkString(role)) if role == b"master" => Ok(()),
                _ => Err(RedisError::from((
                    ErrorKind::Server(ServerErrorKind::ReadOnly),
                    "it is not the master",
                ))),
            }
        }
        Connection::Cluster(cluster) => redis::cmd("GET")
            .arg(ping_key(prefix))
            .query_async::<Value>(cluster)
            .await
            .map(drop),
    }
}

/// Returns whether the server writes to disk before it answers. Returns false if the user may
/// not ask. A restart then changes epochs, which is never wrong.
async fn writes_are_durable(server: &mut MultiplexedConnection) -> bool {
    let asked: RedisResult<std::collections::HashMap<String, String>> = redis::cmd("CONFIG")
        .arg("GET")
        .arg("append*")
        .query_async(server)
        .await;
    asked.is_ok_and(|set| {
        let is = |name: &str, value: &str| set.get(name).is_some_and(|found| found == value);
        is("appendonly", "yes") && is("appendfsync", "always")
    })
}
