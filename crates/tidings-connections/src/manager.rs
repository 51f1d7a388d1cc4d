//! The handle: who connects, who comes back, who is told what.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidings_bus::{EventBus, Start};
use tidings_protocol::{
    ClientId, ControlMessage, Data, EventType, Offset, Position, Since, TaskId,
};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::close::CloseReason;
use crate::config::{ConfigError, ConnectionsConfig};
use crate::connection::{Connection, ConnectionInfo, Peer};
use crate::heartbeat;
use crate::registry::{Client, Registry};
use crate::resume::{Away, Kept, KeptSubscription, ResumeToken};
use crate::socket::{Socket, Wire};
use crate::stalls::Stalls;
use crate::stats::{ConnectionStats, Counters};
use crate::subscriptions::{Opening, OpeningKind, Source};

/// The least that a client is told to wait when the server restarts: nobody is
/// back before the port is, and a client that doubles its pauses needs one to double.
const RECONNECT_FLOOR: Duration = Duration::from_millis(250);

/// Connections to one bus.
///
/// A handle: clones are cheap and share one manager. Sockets and framing come
/// from the transport, see [`Socket`] and [`Wire`].
#[derive(Clone)]
pub struct ConnectionManager {
    inner: Arc<Inner>,
    _alive: Arc<DropGuard>,
}

pub(crate) struct Inner {
    pub(crate) bus: EventBus,
    pub(crate) config: ConnectionsConfig,
    pub(crate) registry: Registry,
    pub(crate) stalls: Stalls,
    pub(crate) counters: Counters,
    draining: AtomicBool,
}

/// What a client asks for when it connects.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ConnectRequest {
    /// The task of the path; none for a connection that subscribes by message.
    pub task_id: Option<TaskId>,
    /// The id that the client has chosen, or got before.
    pub client_id: Option<ClientId>,
    /// The proof that it got with the id.
    pub resume_token: Option<String>,
    /// Where to go on in the path's task.
    pub since: Option<Since>,
    /// How many of the newest events to begin with.
    pub history: Option<u32>,
    /// Where it comes from.
    pub peer: Peer,
    /// Whether its cursors outlive the connection.
    pub keep_when_gone: Keep,
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
    /// A connection to one task.
    pub fn to_task(task_id: TaskId) -> Self {
        Self {
            task_id: Some(task_id),
            ..Self::default()
        }
    }

    /// A connection that subscribes by message.
    pub fn new() -> Self {
        Self::default()
    }
}

/// Why a connection did not come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The client id is in use, and the token that proves it one's own is missing or wrong.
    #[error("this client id is in use; connect with its resume_token, or with another id")]
    ClientIdInUse,
    /// As many connections as allowed are there.
    #[error("the server is full; try again later")]
    Full,
    /// The server is about to stop.
    #[error("the server is restarting")]
    Draining,
}

impl ConnectError {
    /// How a transport that can only close tells it.
    pub fn close_reason(self) -> CloseReason {
        match self {
            Self::ClientIdInUse => CloseReason::Forbidden,
            Self::Full => CloseReason::Full,
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
    connection: Arc<Connection>,
    keep: Keep,
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
        let manager = Arc::clone(self.connection.manager());
        manager.disconnected(&self.connection, self.keep);
    }
}

impl ConnectionManager {
    /// A manager of connections to `bus`; must be made inside a tokio runtime.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(bus: EventBus, config: ConnectionsConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let stop = CancellationToken::new();
        let interval = config.heartbeat_interval;
        let inner = Arc::new(Inner {
            bus,
            config,
            registry: Registry::default(),
            stalls: Stalls::default(),
            counters: Counters::default(),
            draining: AtomicBool::new(false),
        });
        tokio::spawn(heartbeat::run(
            Arc::downgrade(&inner),
            interval,
            stop.clone(),
        ));
        Ok(Self {
            inner,
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

    /// Registers a connection. Its first message, `connection_established`, is
    /// on its way when this returns; the cursor was set in the same moment.
    ///
    /// The caller spawns what drives it, and holds the guard there.
    ///
    /// # Errors
    /// See [`ConnectError`]; the socket is dropped then.
    pub fn connect(
        &self,
        request: ConnectRequest,
        socket: Box<dyn Socket>,
        wire: &'static dyn Wire,
    ) -> Result<ConnectionGuard, ConnectError> {
        self.inner.connect(request, socket, wire).inspect_err(|_| {
            self.inner.counters.rejected.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Whether a request would be refused now, without a socket yet.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn check(&self, request: &ConnectRequest) -> Result<(), ConnectError> {
        self.inner.check(request)
    }

    /// What is known of a client's connection; none if it is not connected.
    pub fn connection(&self, client_id: &ClientId) -> Option<ConnectionInfo> {
        self.inner
            .find(client_id)
            .map(|connection| connection.info())
    }

    /// What is known of all connections, or of those that watch a task.
    pub fn connections(&self, task_id: Option<&TaskId>) -> Vec<ConnectionInfo> {
        let all: Vec<_> = self.inner.registry.lock().connections().cloned().collect();
        all.iter()
            .filter(|connection| task_id.is_none_or(|task_id| connection.watches(task_id)))
            .map(|connection| connection.info())
            .collect()
    }

    /// Closes a client's connection and forgets what was kept of the client.
    /// False if there is no such client.
    pub fn kick(&self, client_id: &ClientId) -> bool {
        let (connection, away) = {
            let mut clients = self.inner.registry.lock();
            let connection = match clients.by_id.get(client_id) {
                Some(Client::Connected { connection, .. }) => Some(Arc::clone(connection)),
                _ => None,
            };
            if let Some(connection) = &connection {
                clients.remove(connection);
            }
            (connection, clients.take_away(client_id))
        };
        if let Some(away) = &away {
            self.inner.release(away);
        }
        match &connection {
            Some(connection) => {
                connection.close(CloseReason::Kicked);
                true
            }
            None => away.is_some(),
        }
    }

    /// Puts a message into a client's inbox: it gets it now, or when it comes
    /// back within the offline time. Gives the message's offset there.
    ///
    /// # Errors
    /// The client is neither connected nor away.
    pub fn send_personal(
        &self,
        client_id: &ClientId,
        event_type: EventType,
        data: Data,
    ) -> Result<Offset, UnknownClient> {
        self.inner.send_personal(client_id, event_type, data)
    }

    /// Counters, and what they stand at now.
    pub fn stats(&self) -> ConnectionStats {
        let (connected, away) = {
            let clients = self.inner.registry.lock();
            (clients.connected(), clients.away())
        };
        self.inner.counters.read(connected, away)
    }

    /// How many connections there are.
    pub fn connected(&self) -> usize {
        self.inner.registry.lock().connected()
    }

    /// Whether connections are no longer accepted.
    pub fn is_draining(&self) -> bool {
        self.inner.draining.load(Ordering::Acquire)
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

impl std::fmt::Debug for ConnectionManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionManager")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn find(&self, client_id: &ClientId) -> Option<Arc<Connection>> {
        match self.registry.lock().by_id.get(client_id) {
            Some(Client::Connected { connection, .. }) => Some(Arc::clone(connection)),
            _ => None,
        }
    }

    /// Where a subscription starts, from what its request says.
    pub(crate) fn start(&self, since: Option<Since>, history: Option<u32>) -> Start {
        match (since, history) {
            (Some(since), _) => since.into(),
            (None, Some(count)) => Start::History(u64::from(count.min(self.config.max_history))),
            (None, None) => Start::Live,
        }
    }

    fn check(&self, request: &ConnectRequest) -> Result<(), ConnectError> {
        if self.draining.load(Ordering::Acquire) {
            return Err(ConnectError::Draining);
        }
        let clients = self.registry.lock();
        let Some(id) = &request.client_id else {
            return if clients.connected() < self.config.max_connections {
                Ok(())
            } else {
                Err(ConnectError::Full)
            };
        };
        let owner = match clients.by_id.get(id) {
            Some(Client::Connected { connection, .. }) => Some(*connection.token()),
            Some(Client::Away(away)) => Some(away.token),
            None => None,
        };
        let replaces = matches!(clients.by_id.get(id), Some(Client::Connected { .. }));
        if let Some(owner) = owner {
            let token = request
                .resume_token
                .as_deref()
                .and_then(|text| text.parse().ok());
            if !token.is_some_and(|token: ResumeToken| token.is(&owner)) {
                return Err(ConnectError::ClientIdInUse);
            }
        }
        if !replaces && clients.connected() >= self.config.max_connections {
            return Err(ConnectError::Full);
        }
        Ok(())
    }

    fn connect(
        self: &Arc<Self>,
        request: ConnectRequest,
        socket: Box<dyn Socket>,
        wire: &'static dyn Wire,
    ) -> Result<ConnectionGuard, ConnectError> {
        self.check(&request)?;
        let keep = request.keep_when_gone;
        let since = request.since.clone();
        let client_id = request.client_id.clone().unwrap_or_else(ClientId::generate);
        // The new connection holds the id before the old one is gone, so a
        // third cannot slip in; both hold the same proof by now.
        let (connection, kept, replaced) = {
            let mut clients = self.registry.lock();
            let mut replaced = None;
            let mut kept = None;
            let mut token = None;
            match clients.by_id.get(&client_id) {
                Some(Client::Connected { connection, .. }) => {
                    token = Some(*connection.token());
                    replaced = Some(Arc::clone(connection));
                }
                Some(Client::Away(away)) => token = Some(away.token),
                None => {}
            }
            if let Some(away) = clients.take_away(&client_id) {
                kept = Some(away.kept);
            }
            if let Some(old) = &replaced {
                clients.remove(old);
            }
            let connection = Connection::new(
                Arc::clone(self),
                client_id,
                token.unwrap_or_else(ResumeToken::generate),
                socket,
                wire,
                request.peer,
                request.task_id.clone(),
            );
            // Whatever is sent to it from now on waits behind the greeting.
            clients.insert(Arc::clone(&connection));
            (connection, kept, replaced)
        };
        let guard = ConnectionGuard {
            connection: Arc::clone(&connection),
            keep,
        };
        let kept = match replaced {
            Some(old) => {
                old.close(CloseReason::Replaced);
                Some(self.take_subscriptions(&old))
            }
            None => kept,
        };
        self.counters.accepted.fetch_add(1, Ordering::Relaxed);
        let mut kept = match kept {
            Some(kept) => {
                self.counters.resumed.fetch_add(1, Ordering::Relaxed);
                kept
            }
            None => Kept::default(),
        };
        let start = self.start(since.clone(), request.history);
        self.establish(
            &connection,
            request.task_id,
            start,
            since.is_some(),
            &mut kept,
        );
        self.restore(&connection, kept);
        Ok(guard)
    }

    /// Joins the path's task, if there is one, and says hello.
    fn establish(
        &self,
        connection: &Arc<Connection>,
        task_id: Option<TaskId>,
        mut start: Start,
        explicit_start: bool,
        kept: &mut Kept,
    ) {
        let Some(task_id) = task_id else {
            let mut hello = Vec::new();
            connection.encode(&connection.established(None), &mut hello);
            connection.greet(None, &hello);
            return;
        };
        // Its own cursor goes on, unless the client says better.
        let own = kept
            .subscriptions
            .iter()
            .position(|known| known.task_id == task_id);
        if let Some(own) = own.map(|at| kept.subscriptions.swap_remove(at))
            && !explicit_start
        {
            start = own.start;
        }
        loop {
            let task = self.bus.task_or_new(&task_id);
            let kind = OpeningKind::Established;
            if let Some(key) = connection.add_task(&task, start.clone(), kind, true) {
                connection.greet(Some(key), &[]);
                return;
            }
        }
    }

    /// Takes up the rest of what a client had.
    fn restore(&self, connection: &Arc<Connection>, kept: Kept) {
        for known in kept.subscriptions {
            loop {
                let task = self.bus.task_or_new(&known.task_id);
                let pattern = kept
                    .patterns
                    .iter()
                    .filter(|_| !known.explicit)
                    .find(|pattern| pattern.matches(&known.task_id))
                    .cloned();
                let kind = if known.appeared {
                    OpeningKind::Appeared { pattern }
                } else {
                    OpeningKind::Subscribed {
                        reference: None,
                        pattern,
                    }
                };
                let start = known.start.clone();
                if connection
                    .add_task(&task, start, kind, known.explicit)
                    .is_some()
                {
                    break;
                }
            }
        }
        for pattern in &kept.patterns {
            connection.resume_pattern(pattern);
        }
        if let Some((inbox, seen)) = kept.inbox {
            let epoch = inbox.standing().epoch;
            let offset = Offset::new(seen).unwrap_or(Offset::MAX);
            connection.add_inbox(&inbox, Start::After(Position { epoch, offset }));
        }
    }

    /// Takes a connection's cursors away from the bus and writes down where they were.
    fn take_subscriptions(&self, connection: &Connection) -> Kept {
        let (subs, patterns) = {
            let mut out = connection.lock();
            let patterns = out.subs.patterns.take();
            (out.take_subs(), patterns)
        };
        let mut kept = Kept::default();
        for pattern in patterns
            .into_iter()
            .flat_map(|patterns| *patterns)
            .map(|(_, known)| known)
        {
            self.bus.unwatch_pattern(pattern.id);
            kept.patterns.push(pattern.pattern);
        }
        for sub in subs {
            match &sub.source {
                Source::Task(task) => {
                    let position = task.topic().position(&sub.cursor);
                    let (start, appeared) = match sub.opening.map(|opening| *opening) {
                        Some(Opening {
                            start,
                            kind: OpeningKind::Appeared { .. },
                        }) => (start, true),
                        Some(Opening { start, .. }) => (start, false),
                        None => (Start::After(position), false),
                    };
                    kept.subscriptions.push(KeptSubscription {
                        task_id: task.id().clone(),
                        start,
                        explicit: sub.explicit,
                        appeared,
                    });
                    self.bus.detach(task, sub.attached);
                }
                Source::Inbox(inbox) => {
                    inbox.detach(sub.attached);
                    kept.inbox = Some((Arc::clone(inbox), sub.cursor.delivered().get()));
                }
            }
        }
        kept
    }

    /// What happens when a connection's task ends.
    fn disconnected(&self, connection: &Arc<Connection>, keep: Keep) {
        let kept = self.take_subscriptions(connection);
        let mut clients = self.registry.lock();
        let registered = clients.remove(connection);
        let ttl = self.config.offline_ttl;
        let draining = self.draining.load(Ordering::Acquire);
        if !registered || keep == Keep::Nothing || ttl.is_zero() || draining {
            drop(clients);
            if registered {
                self.release_inbox(&kept);
            }
            return;
        }
        let id = connection.client_id().clone();
        clients.keep(id, Away::new(*connection.token(), kept, ttl));
        let expired = clients.take_expired(Instant::now(), self.config.max_away);
        drop(clients);
        for away in &expired {
            self.release(away);
        }
    }

    /// Forgets clients that were away too long.
    pub(crate) fn expire_away(&self, now: Instant) {
        let expired = self.registry.lock().take_expired(now, self.config.max_away);
        for away in &expired {
            self.release(away);
        }
    }

    fn release(&self, away: &Away) {
        self.release_inbox(&away.kept);
    }

    fn release_inbox(&self, kept: &Kept) {
        if let Some((inbox, _)) = &kept.inbox {
            self.bus.release_detached(inbox);
        }
    }

    fn send_personal(
        &self,
        client_id: &ClientId,
        event_type: EventType,
        data: Data,
    ) -> Result<Offset, UnknownClient> {
        let mut clients = self.registry.lock();
        let inbox = match clients.by_id.get_mut(client_id) {
            None => return Err(UnknownClient(client_id.clone())),
            Some(Client::Away(away)) => {
                let inbox = away
                    .kept
                    .inbox
                    .get_or_insert_with(|| (self.bus.detached_topic(), 0));
                Arc::clone(&inbox.0)
            }
            Some(Client::Connected { connection, .. }) => connection.inbox().unwrap_or_else(|| {
                let inbox = self.bus.detached_topic();
                connection.add_inbox(&inbox, Start::Retained);
                inbox
            }),
        };
        drop(clients);
        let at = self.bus.config().clock.now();
        let limits = self.config.inbox;
        let kind = event_type.clone();
        let offset = self
            .bus
            .append_detached(&inbox, &limits, kind, |offset, text| {
                let offset = Offset::new(offset).unwrap_or(Offset::MAX);
                let message = ControlMessage::personal_message(offset, event_type, data);
                text.extend_from_slice(message.encode(at).as_bytes());
            });
        self.counters.personal.fetch_add(1, Ordering::Relaxed);
        Ok(Offset::new(offset).unwrap_or(Offset::MAX))
    }
}
