//! The handle: who connects, who comes back, who is told what.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tidings_bus::{Account, AccountId, ClientDirectory, EventBus, Keeper, Neighbours, StoreError};
use tidings_protocol::{
    ClientId, CloseCode, Data, ErrorCode, EventType, Offset, Secret, Since, TaskId,
};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::auth::{Access, AuthError, Authenticator, Credentials, Forbidden};
use crate::close::CloseReason;
use crate::config::{ConnectionsConfig, ConnectionsConfigError};
use crate::connection::{Connection, ConnectionInfo};
use crate::expiry::Expiries;
use crate::heartbeat;
use crate::kept::{self, Written};
use crate::limits::{ClientLimits, Limit, Limited, Limiter, Who};
use crate::peer::Peer;
use crate::registry::{Registry, Taken};
use crate::shared::{self, SendError, Shared, Ticket};
use crate::socket::{Socket, Wire};
use crate::stalls::Stalls;
use crate::stats::{ConnectionStates, ConnectionStats, Counters};

/// The least that a client is told to wait when the server restarts: nobody is
/// back before the port is, and a client that doubles its pauses needs one to double.
const RECONNECT_FLOOR: Duration = Duration::from_millis(250);

/// Connections to one bus.
///
/// A handle: clones are cheap and share one manager. Sockets and framing come
/// from the transport, see [`Socket`] and [`Wire`].
#[derive(Clone)]
pub struct ConnectionManager {
    pub(crate) inner: Arc<Inner>,
    stop: CancellationToken,
    _alive: Arc<DropGuard>,
}

pub(crate) struct Inner {
    pub(crate) bus: EventBus,
    pub(crate) config: ConnectionsConfig,
    pub(crate) registry: Registry,
    pub(crate) stalls: Stalls,
    pub(crate) expiries: Expiries,
    pub(crate) limiter: Limiter,
    /// Slices of jobs of all connections have their turns one after the other: what
    /// else is due waits for one of them at most.
    pub(crate) slices: Arc<Semaphore>,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    pub(crate) counters: Counters,
    pub(crate) draining: AtomicBool,
    /// Where clients are kept beyond the process.
    pub(crate) keeper: OnceLock<Arc<dyn Keeper>>,
    pub(crate) written: tokio::sync::Mutex<Written>,
    /// What this node shares with others, where there are any.
    pub(crate) shared: OnceLock<Arc<Shared>>,
}

/// What a client asks for when it connects.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectRequest {
    /// The task of the path; none for a connection that subscribes by message.
    pub task_id: Option<TaskId>,
    /// The id that the client has chosen, or got before.
    pub client_id: Option<ClientId>,
    /// The proof that it got with the id.
    pub resume_token: Option<Secret>,
    /// Where to go on in the path's task.
    pub since: Option<Since>,
    /// How many of the newest events to begin with.
    pub history: Option<u32>,
    /// Where it comes from.
    pub peer: Peer,
    /// What it may do, from [`ConnectionManager::authenticate`].
    pub access: Access,
    /// Whether its cursors outlive the connection.
    pub keep_when_gone: Keep,
    /// Written before the greeting, and in one call with it: what is left of the
    /// transport's own handshake. Not written if the connection does not come about.
    pub preface: Vec<u8>,
    /// The right to connect its client here, where nodes share clients.
    pub(crate) ticket: Option<Arc<Ticket>>,
}

/// Whether a client's cursors are kept when it goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keep {
    /// For the offline time.
    #[default]
    Resumable,
    /// Not at all: the transport's clients come back by position (SSE).
    Nothing,
}

impl ConnectRequest {
    /// Asks for a connection to one task.
    pub fn to_task(task_id: TaskId, access: Access) -> Self {
        Self {
            task_id: Some(task_id),
            ..Self::new(access)
        }
    }

    /// Asks for a connection that subscribes by message.
    pub fn new(access: Access) -> Self {
        Self {
            task_id: None,
            client_id: None,
            resume_token: None,
            since: None,
            history: None,
            peer: Peer::default(),
            access,
            keep_when_gone: Keep::default(),
            preface: Vec::new(),
            ticket: None,
        }
    }
}

/// Why a connection did not come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdmissionError {
    /// The client id is in use, and the token that proves it one's own is missing or wrong.
    #[error("this client id is in use; connect with its resume_token, or with another id")]
    ClientIdInUse,
    /// The token does not allow to watch the path's task.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The client has too many connections.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// As many connections as allowed are there.
    #[error("the server is full; try again later")]
    Full,
    /// The store that nodes share cannot be read just now.
    #[error("the service is not available; try again later")]
    Unavailable,
    /// The server is about to stop.
    #[error("the server is restarting")]
    Draining,
}

impl AdmissionError {
    /// How a transport that can only close tells it.
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

/// There is no such client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no client {0} is connected or away")]
pub struct UnknownClient(pub ClientId);

/// Keeps a connection registered; dropping it, on whatever way out, takes the
/// connection out and keeps what its client may come back for.
#[derive(Debug)]
pub struct ConnectionGuard {
    pub(crate) connection: Arc<Connection>,
}

impl ConnectionGuard {
    /// The connection.
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
    /// A manager of connections to `bus`; must be made inside a tokio runtime.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(bus: EventBus, config: ConnectionsConfig) -> Result<Self, ConnectionsConfigError> {
        Self::start(bus, config, None)
    }

    /// A manager that asks everybody who they are; must be made inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// A setting that cannot work.
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
        let stop = CancellationToken::new();
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
        });
        tokio::spawn(heartbeat::run(
            Arc::downgrade(&inner),
            interval,
            stop.clone(),
        ));
        Ok(Self {
            inner,
            stop: stop.clone(),
            _alive: Arc::new(stop.drop_guard()),
        })
    }

    /// The bus behind it.
    pub fn bus(&self) -> &EventBus {
        &self.inner.bus
    }

    /// The settings it was made with.
    pub fn config(&self) -> &ConnectionsConfig {
        &self.inner.config
    }

    /// Puts other limits of one client in force. Rates of a connection stay as
    /// they were at its first message; a manager that was made without limits of
    /// connections goes on without, as it has not counted those that are there.
    pub fn set_limits(&self, limits: ClientLimits) {
        self.inner.limiter.set(limits);
    }

    /// Whether everybody is asked who they are.
    pub fn asks_for_tokens(&self) -> bool {
        self.inner.authenticator.is_some()
    }

    /// What somebody may do: everything, if nobody is asked who they are.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Access, AuthError> {
        self.inner.authenticate(credentials).await
    }

    /// Counts a request that was refused for what its token does not allow.
    pub fn count_forbidden(&self) {
        self.inner
            .counters
            .forbidden
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Brings what a request asks for to this node, where nodes share tasks and
    /// clients: call it before [`connect`](Self::connect), so that the client is
    /// greeted with all there is. A client that is connected to another node is
    /// taken over from there. Alone it does nothing.
    ///
    /// # Errors
    /// [`AdmissionError::Unavailable`] while what is shared cannot be read: what
    /// this node has may lie behind what the client has seen on another. Where
    /// clients are shared, whatever [`connect`](Self::connect) would refuse.
    ///
    /// # Cancel safety
    /// A client that was taken over, and then not connected, is given back.
    pub async fn prepare(&self, request: &mut ConnectRequest) -> Result<(), AdmissionError> {
        if !self.inner.bus.is_shared() {
            return Ok(());
        }
        // Boxed: most are alone, and would carry along what that takes.
        Box::pin(self.prepare_shared(request)).await
    }

    async fn prepare_shared(&self, request: &mut ConnectRequest) -> Result<(), AdmissionError> {
        let bus = &self.inner.bus;
        let claimed = match self.inner.shared.get() {
            Some(shared) => self.inner.claim(shared, request).await?,
            None => Default::default(),
        };
        let unavailable = |error| {
            tracing::debug!(%error, "a client is sent away: tasks cannot be fetched");
            AdmissionError::Unavailable
        };
        let (mut tasks, mut patterns) = self.inner.kept_by(request.client_id.as_ref());
        tasks.extend(claimed.0);
        patterns.extend(claimed.1);
        tasks.sort_unstable();
        tasks.dedup();
        if let Some(task_id) = &request.task_id {
            let fetched = bus.fetch(task_id, request.since.as_ref()).await;
            fetched.map_err(unavailable)?;
        }
        for task_id in tasks {
            bus.fetch(&task_id, None).await.map_err(unavailable)?;
        }
        for pattern in patterns {
            bus.fetch_matching(&pattern).await.map_err(unavailable)?;
        }
        Ok(())
    }

    /// Takes note of a connection that somebody begins, before anything is read.
    ///
    /// # Errors
    /// Too many come from there.
    pub fn note_handshake(&self, ip: std::net::IpAddr) -> Result<(), Limited> {
        self.inner.limiter.handshake(Who::of(ip))
    }

    /// Counts a refusal by a limit that the caller keeps.
    pub fn count_limited(&self, limit: Limit) {
        self.inner.limiter.count(limit);
    }

    /// Takes note of a request, or of an event in one.
    ///
    /// # Errors
    /// The client has sent more than it may.
    pub fn note_request(
        &self,
        access: &Access,
        addr: Option<std::net::SocketAddr>,
    ) -> Result<(), Limited> {
        let who = access.who(addr);
        self.inner.limiter.heeds(who.as_ref())?;
        self.inner.limiter.messages(who, 1)
    }

    /// Takes note of a request that came to nothing before anybody knew who asks.
    ///
    /// # Errors
    /// Too many requests from this address came to nothing.
    pub fn note_failure(&self, addr: Option<std::net::SocketAddr>) -> Result<(), Limited> {
        let Some(address) = addr.map(|addr| Who::of(addr.ip())) else {
            return Ok(());
        };
        self.inner.limiter.may_fail(&address)?;
        self.inner.limiter.failed(&address);
        Ok(())
    }

    /// Returns the account that pays for what a client makes the server hold: its
    /// subject's, else its address's. Where no limit is in force it is the bus's own.
    pub fn account(&self, access: &Access, addr: Option<std::net::SocketAddr>) -> Account {
        self.inner.account(access, addr)
    }

    /// Takes note of a request that was refused although it is known who asks.
    pub fn note_refusal(&self, access: &Access, addr: Option<std::net::SocketAddr>) {
        self.inner.limiter.refused(access.who(addr).as_ref());
    }

    /// Waits until a request may cause so many units of work: tasks matched, events
    /// read, KiB answered. Those of one client have their turns one after the other.
    ///
    /// # Errors
    /// The client has caused so much work that this would take longer than
    /// [`WORK_WAIT`](crate::defaults::WORK_WAIT). Nothing was charged.
    pub async fn turn(
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

    /// Gives back units of work that a request was charged for and did not cause.
    pub fn spare_work(&self, access: &Access, addr: Option<std::net::SocketAddr>, units: usize) {
        self.inner
            .limiter
            .spare_work(access.who(addr).as_ref(), units);
    }

    /// Takes note of tasks that were matched and events that were read for a client.
    pub fn note_work(&self, access: &Access, addr: Option<std::net::SocketAddr>, units: usize) {
        self.inner.limiter.worked(access.who(addr).as_ref(), units);
    }

    /// Takes note of the bytes of a request's body.
    ///
    /// # Errors
    /// The client has sent more than it may.
    pub fn note_bytes(
        &self,
        access: &Access,
        addr: Option<std::net::SocketAddr>,
        bytes: usize,
    ) -> Result<(), Limited> {
        self.inner.limiter.bytes(access.who(addr), bytes)
    }

    /// Takes note of a task that is about to be made by publishing to it.
    ///
    /// # Errors
    /// The client has made more than it may.
    pub fn note_task(
        &self,
        access: &Access,
        addr: Option<std::net::SocketAddr>,
        task_id: &TaskId,
    ) -> Result<(), Limited> {
        self.inner.note_task(access, addr, task_id)
    }

    /// Registers a connection. Its first message, `connection_established`, is
    /// on its way when this returns; the cursor was set in the same moment.
    ///
    /// The caller spawns what drives it, and holds the guard there.
    ///
    /// # Errors
    /// See [`AdmissionError`]; the socket is dropped then.
    pub fn connect(
        &self,
        request: ConnectRequest,
        socket: Box<dyn Socket>,
        wire: &'static dyn Wire,
    ) -> Result<ConnectionGuard, AdmissionError> {
        self.inner.connect(request, socket, wire).inspect_err(|_| {
            self.inner.counters.rejected.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Whether a request would be refused now, without a socket yet.
    ///
    /// # Errors
    /// See [`AdmissionError`].
    pub fn check(&self, request: &ConnectRequest) -> Result<(), AdmissionError> {
        self.inner.check(request).inspect_err(|_| {
            self.inner.counters.rejected.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// What is known of a client's connection; none if it is not connected.
    pub fn connection(&self, client_id: &ClientId) -> Option<ConnectionInfo> {
        self.inner
            .find(client_id)
            .map(|connection| connection.info())
    }

    /// What is known of all connections, or of those that watch a task.
    pub fn connections(&self, task_id: Option<&TaskId>) -> Vec<ConnectionInfo> {
        self.inner.connections(task_id)
    }

    /// Puts a message into a client's inbox: it gets it now, or when it comes
    /// back within the offline time, to whichever node. Gives the message's
    /// offset there.
    ///
    /// # Errors
    /// The client is neither connected nor away; or, where nodes share clients,
    /// what they share cannot be reached.
    pub async fn send_personal(
        &self,
        client_id: &ClientId,
        event_type: EventType,
        data: Data,
    ) -> Result<Offset, SendError> {
        match self.inner.shared.get() {
            None => Ok(self.inner.send_personal(client_id, event_type, data)?),
            Some(shared) => {
                let sent = self
                    .inner
                    .send_by_directory(shared, client_id, event_type, data);
                sent.await
            }
        }
    }

    /// Counters, and what they stand at now; of this node, where there are several.
    pub fn stats(&self) -> ConnectionStats {
        self.inner.stats()
    }

    /// What connections stand at now. Looks at every one of them, each for a
    /// moment: for a scrape, not for a loop.
    pub fn states(&self) -> ConnectionStates {
        let all: Vec<_> = self.inner.registry.lock().connections().cloned().collect();
        let mut states = ConnectionStates::default();
        for connection in all {
            connection.add_to(&mut states);
        }
        states
    }

    /// How connections have ended, by close code; none where the client ended
    /// it or it broke.
    pub fn ends(&self) -> Vec<(Option<CloseCode>, u64)> {
        self.inner.counters.ends()
    }

    /// Errors told to clients, by code.
    pub fn errors(&self) -> Vec<(ErrorCode, u64)> {
        self.inner.counters.errors()
    }

    /// Counts an error that a transport has told by itself.
    pub fn count_error(&self, code: ErrorCode) {
        self.inner.counters.error(code);
    }

    /// How many connections there are.
    pub fn connected(&self) -> usize {
        self.inner.registry.lock().connected()
    }

    /// Whether connections are no longer accepted.
    pub fn is_draining(&self) -> bool {
        self.inner.draining.load(Ordering::Acquire)
    }

    /// Takes in the clients that `keeper` has, and keeps them there from now on,
    /// so that they come back to where they were after a restart too. Gives how
    /// many may. To be called once, before anybody connects.
    ///
    /// # Errors
    /// What is kept cannot be read.
    pub async fn restore(&self, keeper: Arc<dyn Keeper>) -> Result<usize, StoreError> {
        let count = kept::restore(&self.inner, &*keeper).await?;
        if self.inner.keeper.set(keeper).is_ok() {
            let stop = self.stop.clone();
            tokio::spawn(kept::run(Arc::downgrade(&self.inner), stop));
        }
        Ok(count)
    }

    /// Makes this node one of several: from now on clients are theirs together.
    /// To be called once, before anybody connects.
    pub fn join(&self, directory: Arc<dyn ClientDirectory>, neighbours: Arc<dyn Neighbours>) {
        let shared = Shared::new(directory, neighbours);
        if self.inner.shared.set(Arc::clone(&shared)).is_err() {
            return;
        }
        let heard = shared.neighbours.heard();
        let (inner, stop) = (Arc::downgrade(&self.inner), self.stop.clone());
        tokio::spawn(shared::hear(
            inner.clone(),
            Arc::clone(&shared),
            heard,
            stop.clone(),
        ));
        tokio::spawn(shared::run(inner, shared, stop));
    }

    /// Writes where clients are; after a drain, so that a stop in order loses
    /// nothing of it. Without a keeper and alone it does nothing.
    ///
    /// # Errors
    /// They could not be written: what was written before holds.
    pub async fn save(&self) -> Result<(), StoreError> {
        if let Some(shared) = self.inner.shared.get() {
            self.inner.write_clients(shared).await?;
        }
        kept::save(&self.inner).await
    }

    /// Refuses new connections and closes those there are with 1012, each told
    /// to come back after another part of `window`, so that they do not all
    /// come at once. Returns when they have gone; the caller sets the deadline.
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
        while self.inner.registry.lock().connected() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Inner {
    /// Returns the account that pays for what a client makes the server hold.
    pub(crate) fn account(&self, access: &Access, addr: Option<std::net::SocketAddr>) -> Account {
        let ledger = self.bus.ledger();
        if !self.limiter.limits_anything() {
            // Whoever runs the server for themselves knows their clients.
            return ledger.own().clone();
        }
        match (access.subject(), addr) {
            (Some(subject), _) => ledger.account(&AccountId::subject(subject)),
            (None, Some(addr)) => ledger.account(&AccountId::address(addr.ip())),
            (None, None) => ledger.own().clone(),
        }
    }

    /// This node's connections; only those that watch the task, if one is named.
    pub(crate) fn connections(&self, task_id: Option<&TaskId>) -> Vec<ConnectionInfo> {
        let all: Vec<_> = self.registry.lock().connections().cloned().collect();
        all.iter()
            .filter(|connection| task_id.is_none_or(|task_id| connection.watches(task_id)))
            .map(|connection| connection.info())
            .collect()
    }

    /// Closes a client's connection to this node, and forgets what this node
    /// has of it.
    pub(crate) fn kick(&self, client_id: &ClientId) -> bool {
        let taken = self.registry.lock().take(client_id);
        match taken {
            Some(Taken::Connected(connection)) => connection.close(CloseReason::Kicked),
            Some(Taken::Away(away)) => self.release(&away),
            None => return false,
        }
        if let Some(shared) = self.shared.get() {
            // Finds that it is gone, and lets go of its place.
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
