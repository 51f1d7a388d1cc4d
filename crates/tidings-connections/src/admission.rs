//! Admission: how clients connect, reconnect and disconnect.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidings_bus::Topic;
use tidings_bus::watch::Start;
use tidings_protocol::{
    ClientId, ControlMessage, Data, ErrorCode, EventType, Offset, Position, Since, Target, TaskId,
};
use tokio::time::Instant;

use crate::auth::{Access, AuthError, Credentials, Permission};
use crate::close::CloseReason;
use crate::connection::Connection;
use crate::group::Group;
use crate::holder::Holder;
use crate::jobs::Job;
use crate::limits::{Limited, Who};
use crate::manager::{AdmissionError, ConnectRequest, ConnectionGuard, Inner, Keep, UnknownClient};
use crate::opening::OpeningKind;
use crate::registry::{AT_ONCE, Client, Clients};
use crate::resume::{Away, Kept, ResumeToken, TokenHash};
use crate::shared::Ticket;
use crate::socket::{Socket, Wire};
use crate::subscription::Source;

/// Returns the resume token of a request, if it has a valid form.
fn presented(request: &ConnectRequest) -> Option<ResumeToken> {
    request.resume_token.as_ref()?.reveal().parse().ok()
}

/// The right of a client to connect now.
///
/// The server's state may change before the client connects. [`connect`](Self::connect) therefore
/// decides once more, and may still refuse the client.
#[must_use = "the client is connected by `connect`"]
pub struct Admitted {
    inner: Arc<Inner>,
    request: ConnectRequest,
    preface: Vec<u8>,
    /// In a cluster, the right to connect the client to this node.
    ticket: Option<Ticket>,
}

impl std::fmt::Debug for Admitted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admitted")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

impl Admitted {
    /// Sets bytes to write before the greeting and in the same call, such as the response of the
    /// transport's handshake. They are not written if the connection is refused.
    pub fn preface(mut self, bytes: Vec<u8>) -> Self {
        self.preface = bytes;
        self
    }

    /// Registers the connection. When this returns, its cursor is set and the greeting
    /// `connection_established` is on its way.
    ///
    /// The caller spawns the task that drives the connection, and holds the guard in it.
    ///
    /// # Errors
    /// Returns [`AdmissionError`] if the client is refused by now. The socket is then dropped.
    pub fn connect(
        self,
        socket: Box<dyn Socket>,
        wire: &'static dyn Wire,
    ) -> Result<ConnectionGuard, AdmissionError> {
        let inner = Arc::clone(&self.inner);
        inner.connect(self, socket, wire).inspect_err(|_| {
            inner.counters.rejected.fetch_add(1, Ordering::Relaxed);
        })
    }
}

impl Inner {
    /// Decides whether a client may connect, and prepares its connection.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        mut request: ConnectRequest,
    ) -> Result<Admitted, AdmissionError> {
        // Most servers are not in a cluster. The box keeps the cluster's future out of their
        // futures.
        let ticket = match self.bus.is_shared() {
            true => Box::pin(self.prepare(&mut request)).await?,
            false => None,
        };
        self.check(&request)?;
        Ok(Admitted {
            inner: Arc::clone(self),
            request,
            preface: Vec::new(),
            ticket,
        })
    }

    /// Fetches the tasks that a client will watch, and claims the client if nodes share clients.
    async fn prepare(
        self: &Arc<Self>,
        request: &mut ConnectRequest,
    ) -> Result<Option<Ticket>, AdmissionError> {
        let ticket = match self.shared.get() {
            Some(shared) => Some(self.claim(shared, request).await?),
            None => None,
        };
        // On another node the client may have seen newer events than this node has.
        let unavailable = |error| {
            tracing::debug!(%error, "a client is refused: its tasks cannot be fetched");
            AdmissionError::Unavailable
        };
        let (mut tasks, mut groups) = self.kept_by(request.client_id.as_ref());
        if let Some(ticket) = &ticket {
            let claimed = ticket.watched();
            tasks.extend(claimed.0);
            groups.extend(claimed.1);
        }
        tasks.sort_unstable();
        tasks.dedup();
        if let Some(task_id) = &request.task_id {
            let fetched = self.bus.fetch(task_id, request.since.as_ref()).await;
            fetched.map_err(unavailable)?;
        }
        for (target, since) in &request.targets {
            if request.access.check_target(target).is_err() {
                continue;
            }
            let fetched = match target {
                Target::Task(task_id) => {
                    let fetched = self.bus.fetch(task_id, since.as_ref()).await;
                    fetched.map(drop)
                }
                // The other tasks of a tree are fetched while it is walked.
                Target::Tree(root) => self.bus.fetch(root, None).await.map(drop),
                Target::Pattern(pattern) => self.bus.fetch_matching(pattern).await,
            };
            fetched.map_err(unavailable)?;
        }
        for task_id in tasks {
            self.bus.fetch(&task_id, None).await.map_err(unavailable)?;
        }
        for group in groups {
            // The tasks of a tree are fetched while it is walked.
            if let Group::Pattern(pattern) = group {
                let fetched = self.bus.fetch_matching(&pattern).await;
                fetched.map_err(unavailable)?;
            }
        }
        Ok(ticket)
    }

    pub(crate) fn find(&self, client_id: &ClientId) -> Option<Arc<Connection>> {
        match self.registry.lock().by_id.get(client_id) {
            Some(Client::Connected { connection, .. }) => Some(Arc::clone(connection)),
            _ => None,
        }
    }

    pub(crate) async fn authenticate(
        &self,
        credentials: Credentials<'_>,
    ) -> Result<Access, AuthError> {
        let Some(authenticator) = &self.authenticator else {
            return Ok(Access::unrestricted());
        };
        let address = credentials.remote_addr.map(|addr| Who::of(addr.ip()));
        if let Some(address) = &address {
            // Check this first, because everything that follows costs more.
            self.limiter.may_fail(address).map_err(AuthError::Limited)?;
        }
        let known = authenticator.authenticate(credentials).await;
        let known = known.map(|principal| Access::by_token(principal, credentials.token));
        known.inspect_err(|error| {
            self.counters
                .unauthenticated
                .fetch_add(1, Ordering::Relaxed);
            // Do not count this against the client: the failure to check tokens is the server's.
            if let Some(address) = address.filter(|_| *error != AuthError::Unavailable) {
                self.limiter.failed(&address);
            }
        })
    }

    /// Returns the subject and the address by which a connection is counted.
    fn counted(&self, access: &Access, addr: Option<SocketAddr>) -> Vec<Who> {
        if !self.limiter.counts_connections() {
            return Vec::new();
        }
        let subject = access.subject().map(|name| Who::Subject(name.clone()));
        let address = addr.map(|addr| Who::of(addr.ip()));
        subject.into_iter().chain(address).collect()
    }

    pub(crate) fn note_task(
        &self,
        access: &Access,
        addr: Option<SocketAddr>,
        task_id: &TaskId,
    ) -> Result<(), Limited> {
        let known = |task_id: &TaskId| self.bus.snapshot(task_id).is_some();
        self.limiter.task(access.who(addr), task_id, known)
    }

    /// Returns where a subscription starts, according to the request.
    pub(crate) fn start(&self, since: Option<Since>, history: Option<u32>) -> Start {
        match (since, history) {
            (Some(since), _) => since.into(),
            (None, Some(count)) => Start::History(u64::from(count.min(self.config.max_history))),
            (None, None) => Start::Live,
        }
    }

    /// Returns the tasks and groups that a disconnected client will resume.
    fn kept_by(&self, client_id: Option<&ClientId>) -> (Vec<TaskId>, Vec<Group>) {
        let clients = self.registry.lock();
        match client_id.and_then(|id| clients.by_id.get(id)) {
            Some(Client::Away(away)) => {
                let tasks = away.kept.subscriptions.iter();
                let tasks = tasks.map(|kept| kept.task_id.clone()).collect();
                (tasks, away.kept.groups.clone())
            }
            _ => (Vec::new(), Vec::new()),
        }
    }

    pub(crate) fn check(&self, request: &ConnectRequest) -> Result<(), AdmissionError> {
        let id = request.client_id.as_ref();
        let holder = id.and_then(|id| self.registry.holder(id));
        let replaced = self.may_connect(request, holder.as_ref())?;
        self.has_room(&self.registry.lock(), replaced.is_some())?;
        let addr = request.peer.remote_addr;
        self.limiter.heeds(request.access.who(addr).as_ref())?;
        let counted = self.counted(&request.access, addr);
        Ok(self.limiter.room(&counted, &self.given_up(replaced))?)
    }

    /// Returns the places of a connection that is replaced, if there is one.
    fn given_up(&self, replaced: Option<(&Arc<Connection>, &Access)>) -> Vec<Who> {
        replaced.map_or_else(Vec::new, |(connection, access)| {
            self.counted(access, connection.remote_addr())
        })
    }

    /// Checks the request against its permissions and against the holder of its client id. Returns
    /// the connection that the new one replaces, if there is one.
    fn may_connect<'a>(
        &self,
        request: &ConnectRequest,
        holder: Option<&'a Holder>,
    ) -> Result<Option<(&'a Arc<Connection>, &'a Access)>, AdmissionError> {
        if self.draining.load(Ordering::Acquire) {
            return Err(AdmissionError::Draining);
        }
        if let Some(task_id) = &request.task_id {
            request.access.check(Permission::Watch, task_id)?;
        }
        let refused = request.targets.iter();
        let refused = refused.map(|(target, _)| request.access.check_target(target).err());
        // Refuse only if there are targets and the client may watch none of them.
        if let Some(Some(forbidden)) = refused.reduce(|all, next| all.and(next)) {
            return Err(forbidden.into());
        }
        match holder {
            // If the id belongs to another owner, the client will get a new id, so it replaces no
            // connection.
            Some(holder) if holder.belongs_to(&request.access) => {
                if !holder.has_token(presented(request).as_ref()) {
                    return Err(AdmissionError::ClientIdInUse);
                }
                Ok(holder.connection())
            }
            _ => Ok(None),
        }
    }

    /// Checks that there is a place for a connection. A connection that replaces another one takes
    /// the other one's place.
    fn has_room(&self, clients: &Clients, replaces: bool) -> Result<(), AdmissionError> {
        if replaces || clients.connected() < self.config.max_connections {
            Ok(())
        } else {
            Err(AdmissionError::Full)
        }
    }

    /// Gives a new id to a client that asks for another owner's id. The state of one owner never
    /// goes to another owner, and no client is refused because its id is taken.
    pub(crate) fn release_id_of_another(&self, request: &mut ConnectRequest) {
        let Some(id) = &request.client_id else {
            return;
        };
        let holder = self.registry.holder(id);
        if holder.is_some_and(|holder| !holder.belongs_to(&request.access)) {
            request.client_id = None;
            request.resume_token = None;
        }
    }

    fn connect(
        self: &Arc<Self>,
        admission: Admitted,
        socket: Box<dyn Socket>,
        wire: &'static dyn Wire,
    ) -> Result<ConnectionGuard, AdmissionError> {
        let Admitted {
            mut request,
            preface,
            ticket,
            inner: _,
        } = admission;
        let since = request.since.clone();
        let expires_at = request.access.expires_at();
        self.release_id_of_another(&mut request);
        let client_id = request.client_id.clone().unwrap_or_else(ClientId::generate);
        // If the task exists, all of its connections share one copy of its id.
        let path_task = request.task_id.clone().map(|task_id| {
            let known = self.bus.task(&task_id);
            known.map_or(task_id, |task| task.id().clone())
        });
        let counted = self.counted(&request.access, request.peer.remote_addr);
        // Declared before the handover, and so dropped after it: if a panic unwinds, the guard
        // begins a handover of its own.
        let guard;
        let _handover = self.registry.hand_over(&client_id);
        // The new connection holds the id before the old one is gone, so no third connection can
        // take it in between. Both have the same resume token by now.
        let (connection, kept, replaced) = {
            let (_holder, given_up, replaces, mut clients) = loop {
                // Nobody holds an id that was generated just now.
                let asked = request.client_id.as_ref();
                let holder = asked.and_then(|id| self.registry.holder(id));
                let replaced = self.may_connect(&request, holder.as_ref())?;
                let replaces = replaced.is_some();
                // While a client moves to a new connection, both connections count for a moment,
                // even at the limit.
                let given_up = self.given_up(replaced);
                if holder
                    .as_ref()
                    .is_some_and(|holder| !holder.belongs_to(&request.access))
                {
                    // Another client has taken the id in the meantime.
                    return Err(AdmissionError::ClientIdInUse);
                }
                let clients = self.registry.lock();
                if clients.is_held_by(&client_id, holder.as_ref()) {
                    break (holder, given_up, replaces, clients);
                }
            };
            // A drain lists the connections under this lock after it has set its flag. It finds a
            // connection that passes this check.
            if self.draining.load(Ordering::Acquire) {
                return Err(AdmissionError::Draining);
            }
            self.has_room(&clients, replaces)?;
            // Nothing may be refused from here on, because the places are taken.
            self.limiter.join(&counted, &given_up)?;
            let mut replaced = None;
            let mut kept = None;
            let token = match clients.by_id.get(&client_id) {
                Some(Client::Connected { connection, .. }) => {
                    replaced = Some(Arc::clone(connection));
                    Some(*connection.token())
                }
                // The token is the right one, because `may_connect` has checked it.
                Some(Client::Away(_)) => presented(&request),
                None => ticket.as_ref().map(|ticket| ticket.token),
            };
            if let Some(away) = clients.take_away(&client_id) {
                kept = Some(away.kept);
            }
            if let Some(old) = &replaced {
                clients.dismiss(old);
            }
            let connection = Connection::new(
                Arc::clone(self),
                client_id,
                token.unwrap_or_else(ResumeToken::generate),
                socket,
                wire,
                request.peer,
                request.access,
                path_task,
                request.keep_when_gone,
            );
            // From here on, messages to the connection wait until the greeting is written.
            clients.insert(Arc::clone(&connection));
            (connection, kept, replaced)
        };
        guard = ConnectionGuard {
            connection: Arc::clone(&connection),
        };
        let kept = match replaced {
            Some(old) => {
                old.close(CloseReason::Replaced);
                Some(self.take_subscriptions(&old))
            }
            // The state in this node's memory is newer than the state in the shared directory.
            // State that was older was removed by the claim.
            None => kept.or_else(|| ticket.as_ref()?.kept()),
        };
        self.counters.accepted.fetch_add(1, Ordering::Relaxed);
        self.expiries.follow(&connection, None, expires_at);
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
            preface,
            request.task_id,
            start,
            since.is_some(),
            &mut kept,
        );
        self.restore(&connection, kept);
        connection.subscribe_all(request.targets, request.history);
        if let Some(ticket) = ticket {
            ticket.used();
        }
        Ok(guard)
    }

    /// Joins the task in the path, if there is one, and sends the greeting.
    fn establish(
        &self,
        connection: &Arc<Connection>,
        preface: Vec<u8>,
        task_id: Option<TaskId>,
        mut start: Start,
        explicit_start: bool,
        kept: &mut Kept,
    ) {
        let Some(task_id) = task_id else {
            let mut hello = preface;
            connection.encode(&connection.established(None), &mut hello);
            connection.greet(None, &hello);
            return;
        };
        // The client's own cursor continues, unless the request names another position.
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
            let account = connection.account(&connection.access());
            let task = match self.bus.task_for(&account, &task_id) {
                Ok(task) => task,
                Err(over) => {
                    tracing::debug!(client_id = %connection.client_id(), %over, "no room");
                    connection.greet(None, &preface);
                    connection.send(&ControlMessage::error(
                        None,
                        ErrorCode::TooManySubscriptions,
                        over.to_string(),
                    ));
                    return connection.close(CloseReason::RateLimited);
                }
            };
            let kind = OpeningKind::Established {
                preface: preface.clone(),
            };
            // The first cursor is not charged, so there is always room for it.
            if let Ok(Some(key)) = connection.add_task(&task, start.clone(), kind, true) {
                connection.greet(Some(key), &[]);
                return;
            }
        }
    }

    /// Restores the rest of a client's state: some parts at once, the others while the connection
    /// is already in use.
    fn restore(&self, connection: &Arc<Connection>, kept: Kept) {
        if let Some((inbox, seen)) = kept.inbox {
            let epoch = inbox.standing().epoch;
            let offset = Offset::new(seen).unwrap_or(Offset::MAX);
            connection.add_inbox(&inbox, Start::After(Position { epoch, offset }));
        }
        if !kept.subscriptions.is_empty() || !kept.groups.is_empty() {
            connection.begin(Job::restore(kept.subscriptions, kept.groups));
        }
    }

    /// Detaches a connection's cursors from the bus, and returns where they were.
    pub(crate) fn take_subscriptions(&self, connection: &Connection) -> Kept {
        let drained = connection.lock().take_subs();
        let mut kept = Kept::default();
        for sub in drained.subs {
            match &sub.source {
                Source::Task(task) => {
                    let mut kept_sub = sub.kept(task);
                    if !sub.explicit {
                        let mut groups = drained.groups.iter();
                        kept_sub.tree = match groups.find(|known| known.holds(task.id())) {
                            Some(group) => group.root().cloned(),
                            None => drained.jobs.tree_of(task.id()).cloned(),
                        };
                    }
                    kept.subscriptions.push(kept_sub);
                    self.bus.detach(task, sub.attached);
                }
                Source::Inbox(inbox) => {
                    inbox.detach(sub.attached);
                    kept.inbox = Some((Arc::clone(inbox), sub.seen()));
                }
            }
        }
        drained.jobs.move_to(&mut kept);
        for group in drained.groups {
            kept.groups.push(group.group());
            group.detach(&self.bus);
        }
        kept
    }

    /// Cleans up after a connection's task has ended.
    pub(crate) fn disconnected(&self, connection: &Arc<Connection>) {
        let _handover = self.registry.hand_over(connection.client_id());
        let kept = self.take_subscriptions(connection);
        let access = connection.access();
        self.expiries.follow(connection, access.expires_at(), None);
        self.limiter
            .leave(&self.counted(&access, connection.remote_addr()));
        // The hash and the owner are computed before the registry is locked.
        let token = TokenHash::of(connection.token());
        let (account, owner) = (connection.account(&access), access.owner());
        let mut clients = self.registry.lock();
        let registered = clients.ended(connection);
        let ttl = self.config.offline_ttl;
        let draining = self.draining.load(Ordering::Acquire);
        // If the process is stopping, the client will reconnect to the next process. Keep its state
        // only if that process can know about it.
        let shared = self.shared.get();
        let ends = draining && self.keeper.get().is_none() && shared.is_none();
        if !registered || connection.keep() == Keep::Nothing || ttl.is_zero() || ends {
            drop(clients);
            // No other connection has taken the inbox.
            self.release_inbox(&kept);
            if registered && let Some(shared) = shared {
                shared.gone(connection.client_id(), self.config.max_away);
            }
            return;
        }
        let id = connection.client_id().clone();
        let limits = self.bus.ledger().limits();
        // Most of an account's quota is reserved for connected clients.
        let most = if account == *self.bus.ledger().own() {
            limits.clients
        } else {
            limits.account / 4
        };
        let (charge, mut expired) = clients.make_room(&account, kept.bytes(), most);
        match charge {
            Some(charge) => clients.keep(id, Away::new(token, owner, kept, ttl, charge)),
            None => {
                tracing::debug!(client_id = %id, "there is no room to keep a client");
                self.release_inbox(&kept);
            }
        }
        expired.extend(clients.take_expired(Instant::now(), self.config.max_away));
        drop(clients);
        for kept in &expired {
            self.release_inbox(kept);
        }
        if let Some(shared) = shared {
            shared.write_soon(connection.client_id());
        }
    }

    /// Deletes clients that have been disconnected for too long.
    pub(crate) fn expire_away(&self, now: Instant) {
        loop {
            let expired = self.registry.lock().take_expired(now, self.config.max_away);
            for kept in &expired {
                self.release_inbox(kept);
            }
            if expired.len() < AT_ONCE {
                return;
            }
        }
    }

    pub(crate) fn release(&self, away: &Away) {
        self.release_inbox(&away.kept);
    }

    pub(crate) fn release_inbox(&self, kept: &Kept) {
        if let Some((inbox, _)) = &kept.inbox {
            self.bus.release_detached(inbox);
        }
    }

    pub(crate) fn send_personal(
        &self,
        client_id: &ClientId,
        event_type: &EventType,
        data: &Data,
    ) -> Result<Offset, UnknownClient> {
        let at = self.bus.config().clock.now();
        loop {
            let inbox = self.inbox_to(client_id)?;
            let append = |offset, text: &mut Vec<u8>| {
                let offset = Offset::new(offset).unwrap_or(Offset::MAX);
                let message =
                    ControlMessage::personal_message(offset, event_type.clone(), data.clone());
                text.extend_from_slice(message.encode(at).as_bytes());
            };
            let kind = event_type.clone();
            let limits = &self.config.inbox;
            // `None`: the client was deleted meanwhile. It may have come back with another inbox.
            if let Some(offset) = self.bus.append_detached(&inbox, limits, kind, append) {
                self.counters.count_personal();
                return Ok(Offset::new(offset).unwrap_or(Offset::MAX));
            }
        }
    }

    /// Returns a client's inbox. Creates it for the client's first message.
    fn inbox_to(&self, client_id: &ClientId) -> Result<Arc<Topic>, UnknownClient> {
        // The client keeps its connection, or stays away, until this guard is dropped.
        let _handover = self.registry.hand_over(client_id);
        let connection = {
            let mut clients = self.registry.lock();
            match clients.by_id.get_mut(client_id) {
                None => return Err(UnknownClient(client_id.clone())),
                Some(Client::Away(away)) => {
                    let account = away.charge.account();
                    let inbox = away.kept.inbox.get_or_insert_with(|| {
                        let inbox = self.bus.detached_topic();
                        self.bus.charge_detached(&inbox, account);
                        (inbox, 0)
                    });
                    return Ok(Arc::clone(&inbox.0));
                }
                Some(Client::Connected { connection, .. }) => Arc::clone(connection),
            }
        };
        Ok(connection.inbox().unwrap_or_else(|| {
            let inbox = self.bus.detached_topic();
            let account = connection.account(&connection.access());
            self.bus.charge_detached(&inbox, &account);
            connection.add_inbox(&inbox, Start::Retained);
            inbox
        }))
    }
}
