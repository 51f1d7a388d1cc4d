//! The manager of all connections: connecting, resuming, and personal messages.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tidings_bus::{Account, AccountId, ClientDirectory, EventBus, Keeper, Neighbours, StoreError};
use tidings_protocol::{
    ClientId, CloseCode, Data, ErrorCode, EventType, Offset, Secret, Since, Target, TaskCommanded,
    TaskId,
};
use tokio::sync::Semaphore;
use tokio_util::sync::DropGuard;

use crate::admission::Admitted;
use crate::auth::{Access, AuthError, Authenticator, Credentials, Forbidden};
use crate::close::CloseReason;
use crate::config::{ConnectionsConfig, ConnectionsConfigError};
use crate::connection::{Connection, ConnectionInfo};
use crate::kept::{self, Written};
use crate::limits::{ClientLimits, Limit, Limited, Limiter, Who};
use crate::peer::Peer;
use crate::registry::{Registry, Taken};
use crate::shared::{self, SendError, Shared};
use crate::stats::{ConnectionStates, ConnectionStats, Counters};
use crate::tasks::Tasks;
use crate::timers::{self, Expiries, Stalls};
use crate::tree_commands::{CommandTreeError, TreeCommand};

/// The shortest wait that a client is told when the server restarts. The new server needs some time
/// to listen, and a client that doubles its pauses needs a pause to start with.
const RECONNECT_FLOOR: Duration = Duration::from_millis(250);

/// The connections of one bus.
///
/// Clones are cheap and share one manager. The transport provides sockets and framing, see
/// [`Socket`](crate::Socket) and [`Wire`](crate::Wire).
#[derive(Clone)]
pub struct ConnectionManager {
    pub(crate) inner: Arc<Inner>,
    _alive: Arc<DropGuard>,
}

pub(crate) struct Inner {
    pub(crate) bus: EventBus,
    pub(crate) config: ConnectionsConfig,
    pub(crate) registry: Registry,
    pub(crate) stalls: Stalls,
    pub(crate) expiries: Expiries,
    pub(crate) limiter: Limiter,
    /// Allows one slice of a job at a time, over all connections. Other work therefore waits for
    /// one slice at most.
    pub(crate) slices: Arc<Semaphore>,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    pub(crate) counters: Counters,
    pub(crate) draining: AtomicBool,
    /// The storage of clients beyond the process, if there is one.
    pub(crate) keeper: OnceLock<Arc<dyn Keeper>>,
    pub(crate) written: tokio::sync::Mutex<Written>,
    /// The state that this node shares with other nodes, in a cluster.
    pub(crate) shared: OnceLock<Arc<Shared>>,
    /// Work for clients, such as handshakes in progress.
    pub(crate) work: Tasks,
    /// The manager's own timers, and its exchange with other nodes.
    pub(crate) own: Tasks,
}

/// The parameters of a new connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectRequest {
    /// The task in the path. `None` for a connection that subscribes by message.
    pub task_id: Option<TaskId>,
    /// The id that the client has chosen, or received on an earlier connection.
    pub client_id: Option<ClientId>,
    /// The token that the client received together with the id.
    pub resume_token: Option<Secret>,
    /// Where to continue in the task of the path.
    pub since: Option<Since>,
    /// How many of the newest events to start with.
    pub history: Option<u32>,
    /// The first subscriptions of a connection without a task in its path, each with the position
    /// to continue from. They are made right after the greeting. `history` holds for a target
    /// without a position.
    ///
    /// A target that may not be watched is answered with `unsubscribed`. If none may be watched,
    /// the connection is refused.
    pub targets: Vec<(Target, Option<Since>)>,
    /// The other side of the socket.
    pub peer: Peer,
    /// The client's permissions, from [`ConnectionManager::authenticate`].
    pub access: Access,
    /// The state that is kept of the client after it disconnects.
    pub keep_when_gone: Keep,
}

/// The state that is kept of a client after it disconnects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keep {
    /// The cursors are kept for the offline time.
    #[default]
    Resumable,
    /// Nothing is kept, because the transport's clients reconnect with a position (SSE).
    Nothing,
}

impl ConnectRequest {
    /// Creates a request for a connection to one task.
    pub fn to_task(task_id: TaskId, access: Access) -> Self {
        Self {
            task_id: Some(task_id),
            ..Self::new(access)
        }
    }

    /// Creates a request for a connection that subscribes by message.
    pub fn new(access: Access) -> Self {
        Self {
            task_id: None,
            client_id: None,
            resume_token: None,
            since: None,
            history: None,
            targets: Vec::new(),
            peer: Peer::default(),
            access,
            keep_when_gone: Keep::default(),
        }
    }
}

/// The reason why a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdmissionError {
    /// The client id is in use, and the resume token is missing or wrong.
    #[error("this client id is in use; connect with its resume_token, or with another id")]
    ClientIdInUse,
    /// The token does not allow to watch the task in the path.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The client has too many connections.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// The server has as many connections as it may have.
    #[error("the server is full; try again later")]
    Full,
    /// The store that the nodes share cannot be read at the moment.
    #[error("the service is not available; try again later")]
    Unavailable,
    /// The server is stopping.
    #[error("the server is restarting")]
    Draining,
}

impl AdmissionError {
    /// Returns the reason with which a transport closes a connection after this error.
    pub fn close_reason(self) -> CloseReason {
        match self {
            Self::ClientIdInUse | Self::Forbidden(_) => CloseReason::Forbidden,
            Self::Limited(_) => CloseReason::RateLimited,
            Self::Full => CloseReason::Full,
            Self::Unavailable => CloseReason::Unavailable,
            Self::Draining => CloseReason::Restart(Duration::from_secs(1)),
        }
    }
}

/// The client does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("client {0} is neither connected nor able to resume")]
pub struct UnknownClient(pub ClientId);

/// Keeps a connection registered. Dropping the guard always unregisters the connection, and keeps
/// the state with which its client can resume.
#[must_use = "dropping the guard unregisters the connection"]
#[derive(Debug)]
pub struct ConnectionGuard {
    pub(crate) connection: Arc<Connection>,
}

impl ConnectionGuard {
    /// Returns the connection.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.connection.end();
        tracing::debug!(client_id = %self.connection.client_id(), "a client is gone");
        let manager = Arc::clone(self.connection.manager());
        manager.disconnected(&self.connection);
    }
}

impl ConnectionManager {
    /// Creates a manager for the connections of `bus`. Call this inside a tokio runtime.
    ///
    /// # Errors
    /// Returns an error if a setting does not work.
    pub fn new(bus: EventBus, config: ConnectionsConfig) -> Result<Self, ConnectionsConfigError> {
        Self::start(bus, config, None)
    }

    /// Creates a manager that authenticates all clients. Call this inside a tokio runtime.
    ///
    /// # Errors
    /// Returns an error if a setting does not work.
    pub fn with_authenticator(
        bus: EventBus,
        config: ConnectionsConfig,
        authenticator: Arc<dyn Authenticator>,
    ) -> Result<Self, ConnectionsConfigError> {
        Self::start(bus, config, Some(authenticator))
    }

    fn start(
        bus: EventBus,
        config: ConnectionsConfig,
        authenticator: Option<Arc<dyn Authenticator>>,
    ) -> Result<Self, ConnectionsConfigError> {
        config.validate()?;
        let interval = config.heartbeat_interval;
        let limiter = Limiter::new(config.limits);
        let inner = Arc::new(Inner {
            bus,
            config,
            registry: Registry::default(),
            stalls: Stalls::default(),
            expiries: Expiries::default(),
            limiter,
            slices: Arc::new(Semaphore::new(1)),
            authenticator,
            counters: Counters::default(),
            draining: AtomicBool::new(false),
            keeper: OnceLock::new(),
            written: tokio::sync::Mutex::default(),
            shared: OnceLock::new(),
            work: Tasks::default(),
            own: Tasks::default(),
        });
        let timer = timers::run(Arc::downgrade(&inner), interval);
        inner.own.spawn(timer);
        let alive = inner.own.token().drop_guard();
        Ok(Self {
            inner,
            _alive: Arc::new(alive),
        })
    }

    /// Returns the bus.
    pub fn bus(&self) -> &EventBus {
        &self.inner.bus
    }

    /// Returns the settings.
    pub fn config(&self) -> &ConnectionsConfig {
        &self.inner.config
    }

    /// Replaces the limits of a single client. A connection keeps the rates that held at its first
    /// message. A manager that was created without limits on connections has not counted its
    /// connections, so it ignores limits on connections that are set later.
    pub fn set_limits(&self, limits: ClientLimits) {
        self.inner.limiter.set(limits);
    }

    /// Returns whether clients are authenticated.
    pub fn asks_for_tokens(&self) -> bool {
        self.inner.authenticator.is_some()
    }

    /// Returns the permissions that belong to the credentials. Without authentication everything is
    /// allowed.
    ///
    /// # Errors
    /// Returns [`AuthError`] if the client is not authenticated.
    ///
    /// # Cancel safety
    /// Cancel safe if the authenticator is cancel safe.
    pub async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Access, AuthError> {
        self.inner.authenticate(credentials).await
    }

    /// Counts a request that was refused because its token lacks a permission.
    pub fn count_forbidden(&self) {
        self.inner
            .counters
            .forbidden
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Decides whether a client may connect: permissions, limits, the client's id and its resume
    /// token. In a cluster, also fetches the client's tasks and takes the client over from another
    /// node, so that its greeting is complete. Call [`Admitted::connect`] with the socket next.
    ///
    /// # Errors
    /// Returns [`AdmissionError`] if the connection is refused.
    ///
    /// # Cancel safety
    /// Cancel safe. A client that was taken over but not connected is given back.
    pub async fn admit(&self, request: ConnectRequest) -> Result<Admitted, AdmissionError> {
        self.inner.admit(request).await.inspect_err(|_| {
            self.inner.counters.rejected.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Counts a new connection, before anything is read from it.
    ///
    /// # Errors
    /// Returns an error if too many connections come from this address.
    pub fn note_handshake(&self, ip: std::net::IpAddr) -> Result<(), Limited> {
        self.inner.limiter.handshake(Who::of(ip))
    }

    /// Counts a refusal by a limit that the caller enforces.
    pub fn count_limited(&self, limit: Limit) {
        self.inner.limiter.count(limit);
    }

    /// Counts a request, or one event of a request.
    ///
    /// # Errors
    /// Returns an error if the client has sent more than it may.
    pub fn note_request(
        &self,
        access: &Access,
        addr: Option<std::net::SocketAddr>,
    ) -> Result<(), Limited> {
        let who = access.who(addr);
        self.inner.limiter.heeds(who.as_ref())?;
        self.inner.limiter.messages(who, 1)
    }

    /// Counts a request that failed before the client was authenticated.
    ///
    /// # Errors
    /// Returns an error if too many requests from this address failed.
    pub fn note_failure(&self, addr: Option<std::net::SocketAddr>) -> Result<(), Limited> {
        let Some(address) = addr.map(|addr| Who::of(addr.ip())) else {
            return Ok(());
        };
        self.inner.limiter.may_fail(&address)?;
        self.inner.limiter.failed(&address);
        Ok(())
    }

    /// Returns the account that pays for the memory that a client uses. It is the
    /// account of the subject, or else of the address. Without limits it is the bus's own account.
    pub fn account(&self, access: &Access, addr: Option<std::net::SocketAddr>) -> Account {
        self.inner.account(access, addr)
    }

    /// Counts a refused request whose client is known.
    pub fn note_refusal(&self, access: &Access, addr: Option<std::net::SocketAddr>) {
        self.inner.limiter.refused(access.who(addr).as_ref());
    }

    /// Charges `units` of work to a client, and waits until its request may cause them. One unit is
    /// one task matched, one event read, or one KiB answered. Requests of one client wait behind
    /// each other.
    ///
    /// # Errors
    /// Returns an error if the wait would be longer than [`WORK_WAIT`](crate::defaults::WORK_WAIT).
    /// Nothing was charged.
    ///
    /// # Cancel safety
    /// Cancel safe. If the future is dropped, the work stays charged.
    pub async fn reserve_work(
        &self,
        access: &Access,
        addr: Option<std::net::SocketAddr>,
        units: usize,
    ) -> Result<(), Limited> {
        let limiter = &self.inner.limiter;
        let most = crate::defaults::WORK_WAIT;
        let wait = limiter.reserve_work_within(access.who(addr).as_ref(), units, most)?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// Asks a task and all tasks below it to do something, the deepest first. The answers are in
    /// the order in which the tasks were asked.
    ///
    /// A task below the topmost one that has ended is not asked. A task that the client may watch
    /// and not command is refused. A task that the client may not watch either is left out.
    ///
    /// # Errors
    /// Returns an error if nothing was sent at all.
    ///
    /// # Cancel safety
    /// A dropped future leaves open which tasks were asked.
    pub async fn command_tree(
        &self,
        access: &Access,
        addr: Option<std::net::SocketAddr>,
        command: TreeCommand<'_>,
    ) -> Result<Vec<TaskCommanded>, CommandTreeError> {
        self.inner.command_tree(access, addr, command).await
    }

    /// Refunds units of work that a request was charged for but did not cause.
    pub fn spare_work(&self, access: &Access, addr: Option<std::net::SocketAddr>, units: usize) {
        self.inner
            .limiter
            .spare_work(access.who(addr).as_ref(), units);
    }

    /// Counts tasks that were matched and events that were read for a client.
    pub fn note_work(&self, access: &Access, addr: Option<std::net::SocketAddr>, units: usize) {
        self.inner.limiter.worked(access.who(addr).as_ref(), units);
    }

    /// Counts the bytes of a request's body.
    ///
    /// # Errors
    /// Returns an error if the client has sent more than it may.
    pub fn note_bytes(
        &self,
        access: &Access,
        addr: Option<std::net::SocketAddr>,
        bytes: usize,
    ) -> Result<(), Limited> {
        self.inner.limiter.bytes(access.who(addr), bytes)
    }

    /// Counts a task that a publish is about to create.
    ///
    /// # Errors
    /// Returns an error if the client has created more tasks than it may.
    pub fn note_task(
        &self,
        access: &Access,
        addr: Option<std::net::SocketAddr>,
        task_id: &TaskId,
    ) -> Result<(), Limited> {
        self.inner.note_task(access, addr, task_id)
    }

    /// Returns a description of a client's connection, or `None` if the client is not connected.
    pub fn connection(&self, client_id: &ClientId) -> Option<ConnectionInfo> {
        self.inner
            .find(client_id)
            .map(|connection| connection.info())
    }

    /// Returns descriptions of all connections, or only of the connections that watch a task.
    pub fn connections(&self, task_id: Option<&TaskId>) -> Vec<ConnectionInfo> {
        self.inner.connections(task_id)
    }

    /// Puts a message into a client's inbox, and returns the message's offset there. The client
    /// receives the message at once, or when it reconnects to any node within the offline time.
    ///
    /// # Errors
    /// Returns an error if the client is neither connected nor kept. In a cluster, it also returns
    /// an error if the shared state cannot be reached.
    ///
    /// # Cancel safety
    /// A dropped future leaves open whether the message was sent.
    pub async fn send_personal(
        &self,
        client_id: &ClientId,
        event_type: EventType,
        data: Data,
    ) -> Result<Offset, SendError> {
        match self.inner.shared.get() {
            None => Ok(self.inner.send_personal(client_id, &event_type, &data)?),
            Some(shared) => {
                let sent = self
                    .inner
                    .send_by_directory(shared, client_id, event_type, data);
                sent.await
            }
        }
    }

    /// Returns the counters and the current values, of this node only.
    pub fn stats(&self) -> ConnectionStats {
        self.inner.stats()
    }

    /// Returns the current states of the connections. Locks each connection for a moment, so do not
    /// call it in a loop.
    pub fn states(&self) -> ConnectionStates {
        let all: Vec<_> = self.inner.registry.lock().connections().cloned().collect();
        let mut states = ConnectionStates::default();
        for connection in all {
            connection.add_to(&mut states);
        }
        states
    }

    /// Returns how many connections ended with each close code. The code is `None` if the client
    /// closed the connection or the connection broke.
    pub fn ends(&self) -> Vec<(Option<CloseCode>, u64)> {
        self.inner.counters.ends()
    }

    /// Returns the number of errors sent to clients, by code.
    pub fn errors(&self) -> Vec<(ErrorCode, u64)> {
        self.inner.counters.errors()
    }

    /// Counts an error that the transport has sent without this crate.
    pub fn count_error(&self, code: ErrorCode) {
        self.inner.counters.error(code);
    }

    /// Returns the number of connections.
    pub fn connected(&self) -> usize {
        self.inner.registry.lock().connected()
    }

    /// Returns whether new connections are refused because of a drain.
    pub fn is_draining(&self) -> bool {
        self.inner.draining.load(Ordering::Acquire)
    }

    /// Loads the clients from `keeper` and stores clients there from now on. Clients can then
    /// resume after a restart of the process. Returns how many clients may still reconnect. Call
    /// this once, before the first connection.
    ///
    /// # Errors
    /// Returns an error if the stored clients cannot be read.
    ///
    /// # Cancel safety
    /// If the future is dropped, only some clients may be loaded, and later changes are not stored.
    pub async fn restore(&self, keeper: Arc<dyn Keeper>) -> Result<usize, StoreError> {
        let count = kept::restore(&self.inner, &*keeper).await?;
        if self.inner.keeper.set(keeper).is_ok() {
            let inner = Arc::downgrade(&self.inner);
            self.inner.own.spawn(kept::run(inner));
        }
        Ok(count)
    }

    /// Makes this node part of a cluster, whose nodes share their clients. Call this once, before
    /// the first connection.
    pub fn join(&self, directory: Arc<dyn ClientDirectory>, neighbours: Arc<dyn Neighbours>) {
        let shared = Shared::new(directory, neighbours);
        if self.inner.shared.set(Arc::clone(&shared)).is_err() {
            return;
        }
        let heard = shared.neighbours.heard();
        let inner = Arc::downgrade(&self.inner);
        let own = &self.inner.own;
        own.spawn(shared::hear(inner.clone(), Arc::clone(&shared), heard));
        own.spawn(shared::run(inner, shared));
    }

    /// Writes the positions of all clients. Call this after a drain, so that an orderly stop loses
    /// nothing. Does nothing without a keeper and without a cluster.
    ///
    /// # Errors
    /// Returns an error if the positions cannot be written. Earlier writes stay valid.
    ///
    /// # Cancel safety
    /// Not cancel safe. If the future is dropped, a client may count as written although its state
    /// is not stored. It is then written only after its next change.
    pub async fn save(&self) -> Result<(), StoreError> {
        if let Some(shared) = self.inner.shared.get() {
            self.inner.write_clients(shared).await?;
        }
        kept::save(&self.inner).await
    }

    /// Spawns work for a client that has no connection yet, or gets none, such as a handshake or a
    /// refusal. A [drain](Self::drain) waits for it, and [`abort`](Self::abort) ends it.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.inner.work.spawn(work);
    }

    /// Refuses new connections and closes the existing ones with 1012. Each client is told to
    /// reconnect after a different part of `window`, so that they do not all come at once. Returns
    /// when all connections have ended, and all [work](Self::spawn) for other clients. The caller
    /// sets the deadline, and calls [`abort`](Self::abort) when it has passed.
    ///
    /// # Cancel safety
    /// Cancel safe. New connections stay refused, and connections that were told to close keep
    /// closing. Call it again to close the others.
    pub async fn drain(&self, window: Duration) {
        self.inner.draining.store(true, Ordering::Release);
        let connections: Vec<_> = self.inner.registry.lock().connections().cloned().collect();
        let count = u32::try_from(connections.len()).unwrap_or(u32::MAX).max(1);
        for (number, connection) in connections.into_iter().enumerate() {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let after = RECONNECT_FLOOR + window * number / count;
            connection.close(CloseReason::Restart(after));
            if number % 64 == 63 {
                tokio::task::yield_now().await;
            }
        }
        self.all_ended().await;
    }

    /// Ends all connections, and all [work](Self::spawn) for other clients. Clients are told
    /// nothing, and bytes that wait for their sockets are discarded. New connections are refused
    /// from now on. Returns when everything has ended. The state of clients that may come back is
    /// kept as after any disconnect.
    ///
    /// A connection ends with the task that drives it. The transport's service drives a WebSocket
    /// in a task of its own, which ends without help. An event stream ends with its HTTP connection,
    /// which the HTTP server must end.
    ///
    /// # Cancel safety
    /// Cancel safe. Connections and work end even if the future is dropped after its first poll.
    pub async fn abort(&self) {
        self.inner.draining.store(true, Ordering::Release);
        self.inner.work.abort();
        let alive: Vec<_> = self.inner.registry.lock().alive().cloned().collect();
        for connection in alive {
            connection.abort();
        }
        self.all_ended().await;
    }

    /// Ends the manager's timers and its exchange with other nodes. Returns when they have ended.
    /// Call this at the very end, after [`drain`](Self::drain) and [`save`](Self::save): without
    /// the timers, connections have no heartbeats and no deadlines.
    ///
    /// # Cancel safety
    /// Cancel safe. The tasks end even if the future is dropped after its first poll.
    pub async fn stop(&self) {
        self.inner.own.abort();
        self.inner.own.ended().await;
    }

    async fn all_ended(&self) {
        self.inner.work.ended().await;
        while self.inner.registry.lock().alive().next().is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Inner {
    /// Returns the account that pays for the memory that a client uses.
    pub(crate) fn account(&self, access: &Access, addr: Option<std::net::SocketAddr>) -> Account {
        let ledger = self.bus.ledger();
        if !self.limiter.limits_anything() {
            // Without limits the operator trusts all clients.
            return ledger.own().clone();
        }
        match (access.subject(), addr) {
            (Some(subject), _) => ledger.account(&AccountId::subject(subject)),
            (None, Some(addr)) => ledger.account(&AccountId::address(addr.ip())),
            (None, None) => ledger.own().clone(),
        }
    }

    /// Returns this node's connections, or only the connections that watch the named task.
    pub(crate) fn connections(&self, task_id: Option<&TaskId>) -> Vec<ConnectionInfo> {
        let all: Vec<_> = self.registry.lock().connections().cloned().collect();
        all.iter()
            .filter(|connection| task_id.is_none_or(|task_id| connection.watches(task_id)))
            .map(|connection| connection.info())
            .collect()
    }

    /// Closes a client's connection to this node, and deletes this node's state of the client.
    pub(crate) fn kick(&self, client_id: &ClientId) -> bool {
        let taken = self.registry.lock().take(client_id);
        match taken {
            Some(Taken::Connected(connection)) => connection.close(CloseReason::Kicked),
            Some(Taken::Away(away)) => self.release(&away),
            None => return false,
        }
        if let Some(shared) = self.shared.get() {
            // The writer then finds that the client is gone, and removes it from the directory.
            shared.write_soon(client_id);
        }
        true
    }

    pub(crate) fn stats(&self) -> ConnectionStats {
        let (connected, away) = {
            let clients = self.registry.lock();
            (clients.connected(), clients.away())
        };
        let limited = self.limiter.stats();
        self.counters.read(connected, away, limited)
    }
}

impl std::fmt::Debug for ConnectionManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionManager")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
