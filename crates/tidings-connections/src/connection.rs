//! One connection: its client, its socket and its subscriptions.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Serialize;
use tidings_bus::lock::{Guard, Lock, place};
use tidings_bus::watch::{Start, Task};
use tidings_bus::{
    Account, ChildWatcher, Counters, Hold, OverLimit, PatternWatcher, Reader, SkipPolicy, Topic,
    Watcher,
};
use tidings_protocol::{ClientId, ControlMessage, Joined, Pattern, Target, TaskId, Timestamp};

use crate::auth::{Access, Permission};
use crate::close::CloseReason;
use crate::manager::{Inner, Keep};
use crate::opening::{Opening, OpeningKind};
use crate::outbound::{Outbound, Phase};
use crate::peer::{Peer, RemoteAddr};
use crate::resume::ResumeToken;
use crate::socket::{Socket, Wire};
use crate::stats::{ConnectionStates, LAG_BOUNDS};
use crate::subscription::{Source, Sub};

/// A live connection.
///
/// [`Admitted::connect`](crate::Admitted::connect) creates it. A task of the
/// transport drives it: the task polls [`poll_drive`](Connection::poll_drive), passes messages to
/// [`receive`](Connection::receive), and drops the guard at the end.
///
/// The order of the fields is intentional. A delivery touches the first bytes of one connection
/// after the other. Besides the system call, cache misses are its main cost.
#[repr(C)]
pub struct Connection {
    socket: Box<dyn Socket>,
    manager: Arc<Inner>,
    /// `true` if the wire has the bus's framing, so that the bytes of the log can be sent
    /// unchanged.
    as_is: bool,
    keep: Keep,
    /// The number of heartbeats since the client's last sign of life.
    unanswered: AtomicU8,
    /// `true` while messages of the client are being processed. Nothing is read from the client
    /// meanwhile.
    receiving: AtomicBool,
    /// The number of messages received.
    received: AtomicU32,
    out: Lock<Outbound, place::Subscriber>,
    wire: &'static dyn Wire,
    me: Weak<Connection>,
    client_id: ClientId,
    /// The task in the path. Messages without a task refer to it.
    path_task: Option<TaskId>,
    token: ResumeToken,
    since: Timestamp,
    user_agent: Option<Arc<str>>,
    remote_addr: Option<RemoteAddr>,
}

/// With the counters of its `Arc`, the struct fits into one size class of the allocator. The next
/// size class is 64 bytes larger.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Connection>() + 2 * size_of::<usize>() <= 320);

/// A description of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionInfo {
    /// The client's id.
    pub client_id: ClientId,
    /// When the client connected.
    pub connected_at: Timestamp,
    /// The client's address.
    pub remote_addr: Option<SocketAddr>,
    /// The name of the client's software, as the client sent it.
    pub user_agent: Option<Arc<str>>,
    /// The name that the client's token proved.
    pub subject: Option<Arc<str>>,
    /// The kind of transport: `websocket` or `sse`.
    pub transport: &'static str,
    /// The tasks that the client watches.
    pub subscriptions: Vec<SubscriptionInfo>,
    /// The patterns that the client watches.
    pub patterns: Vec<Pattern>,
    /// The topmost tasks of the trees that the client watches.
    pub trees: Vec<TaskId>,
    /// The number of events handed to the client's socket.
    pub delivered: u64,
    /// The number of messages that the client sent.
    pub received: u32,
    /// The number of undelivered events, over all subscriptions.
    pub lag: u64,
    /// `true` while the client's socket is full.
    pub blocked: bool,
}

/// A subscription of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubscriptionInfo {
    /// The id of the task.
    pub task_id: TaskId,
    /// The last offset that the client received or was told about.
    pub offset: u64,
    /// The number of undelivered events.
    pub lag: u64,
}

impl Connection {
    #[allow(
        clippy::too_many_arguments,
        reason = "the one place that makes a connection"
    )]
    pub(crate) fn new(
        manager: Arc<Inner>,
        client_id: ClientId,
        token: ResumeToken,
        socket: Box<dyn Socket>,
        wire: &'static dyn Wire,
        peer: Peer,
        access: Access,
        path_task: Option<TaskId>,
        keep: Keep,
    ) -> Arc<Self> {
        let since = manager.bus.config().clock.now();
        let framing = manager.bus.framing();
        let as_is = wire.framing().is_some_and(|own| own.name == framing.name);
        Arc::new_cyclic(|me| Self {
            manager,
            client_id,
            token,
            socket,
            wire,
            as_is,
            user_agent: peer.user_agent,
            remote_addr: peer.remote_addr.map(RemoteAddr::from),
            since,
            path_task,
            keep,
            out: Lock::new(Outbound::new(access)),
            unanswered: AtomicU8::new(0),
            receiving: AtomicBool::new(false),
            received: AtomicU32::new(0),
            me: me.clone(),
        })
    }

    /// Returns the id of the client.
    pub fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// Returns the task to which messages without a task refer.
    pub fn path_task(&self) -> Option<&TaskId> {
        self.path_task.as_ref()
    }

    /// Returns the socket.
    pub fn socket(&self) -> &dyn Socket {
        self.socket.as_ref()
    }

    /// Returns the size of the largest message that the client may send, in bytes.
    pub fn max_message_bytes(&self) -> usize {
        self.manager.config.max_message_bytes
    }

    /// Returns how long a close may take.
    pub fn close_timeout(&self) -> std::time::Duration {
        self.manager.config.close_timeout
    }

    pub(crate) fn wire(&self) -> &'static dyn Wire {
        self.wire
    }

    pub(crate) fn writes_as_is(&self) -> bool {
        self.as_is
    }

    pub(crate) fn manager(&self) -> &Arc<Inner> {
        &self.manager
    }

    /// Returns the client's address.
    pub(crate) fn remote_addr(&self) -> Option<SocketAddr> {
        self.remote_addr.map(SocketAddr::from)
    }

    /// Returns a copy of the client's permissions, because a renewed token may change them.
    pub fn access(&self) -> Access {
        self.lock().access.clone()
    }

    /// Returns the owner of the client.
    pub(crate) fn owner(&self) -> Option<Arc<str>> {
        self.lock().access.owner()
    }

    /// Returns whether the client's cursors outlive the connection.
    pub(crate) fn keep(&self) -> Keep {
        self.keep
    }

    pub(crate) fn token(&self) -> &ResumeToken {
        &self.token
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.manager.bus.counters()
    }

    pub(crate) fn skip(&self) -> SkipPolicy {
        self.manager.config.skip
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.manager.bus.config().clock.now()
    }

    pub(crate) fn lock(&self) -> Guard<'_, Outbound, place::Subscriber> {
        self.out.lock()
    }

    /// Makes the manager's timer check whether writes progress from here on.
    pub(crate) fn watch_progress(&self, progress: u32) {
        self.manager
            .stalls
            .watch(self.me.clone(), progress, self.manager.config.write_timeout);
    }

    pub(crate) fn established(&self, task: Option<Joined>) -> ControlMessage {
        let interval = self.manager.config.heartbeat_interval.as_millis();
        ControlMessage::connection_established(
            self.client_id.clone(),
            self.token.to_string(),
            u64::try_from(interval).unwrap_or(u64::MAX),
            task,
        )
        .with_max_message_bytes(self.max_message_bytes())
    }

    /// Returns whether the transport should stop reading from the client for now. Either the client
    /// has not read its answers, or an earlier request is still being processed.
    pub fn is_backed_up(&self) -> bool {
        let out = self.lock();
        let waiting = out.writer.waiting_answers();
        waiting > self.manager.config.max_pending_answers
            || !out.subs.has_no_jobs()
            // The answers that wait for this account, or for all accounts together, exceed their
            // limit.
            || (waiting > 0 && out.writer.is_over())
    }

    /// Records a sign of life, which any received data is.
    pub fn saw_life(&self) {
        self.unanswered.store(0, Ordering::Relaxed);
    }

    /// Counts received bytes.
    pub fn count_bytes_in(&self, bytes: usize) {
        let counter = &self.manager.counters.bytes_in;
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
        self.manager
            .counters
            .messages
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Records that messages of the client are being processed, until the guard is dropped.
    pub(crate) fn receiving(&self) -> Receiving<'_> {
        self.receiving.store(true, Ordering::Relaxed);
        Receiving(self)
    }

    /// Returns whether messages of the client are being processed.
    pub(crate) fn is_receiving(&self) -> bool {
        self.receiving.load(Ordering::Relaxed)
    }

    /// Counts a heartbeat that is about to be sent. Returns how many heartbeats before it had no
    /// answer.
    pub(crate) fn count_heartbeat(&self) -> u8 {
        let unanswered = self.unanswered.load(Ordering::Relaxed);
        self.unanswered
            .store(unanswered.saturating_add(1), Ordering::Relaxed);
        unanswered
    }

    /// Sends a control message. The message is dropped if the connection is closing.
    pub fn send(&self, message: &ControlMessage) {
        let mut bytes = Vec::new();
        self.encode(message, &mut bytes);
        let mut out = self.lock();
        if out.is_open() {
            self.write_control(&mut out, &bytes);
        }
    }

    /// Sends bytes that are already framed, such as a pong of the transport.
    pub fn send_framed(&self, bytes: &[u8]) {
        let mut out = self.lock();
        self.write_control(&mut out, bytes);
    }

    /// Closes the connection. Sends an error if the reason has one, then `going_away`, then the
    /// close.
    ///
    /// This is the only way in which a connection is closed. Later calls have no effect.
    /// [`poll_drive`](Self::poll_drive) completes when the close is written, or when the close
    /// timeout has passed.
    pub fn close(&self, reason: CloseReason) {
        self.close_locked(&mut self.lock(), reason);
    }

    /// Closes the connection if its token has expired by `now`.
    pub(crate) fn expire(&self, now: Timestamp) {
        let mut out = self.lock();
        if out.access.expires_at().is_some_and(|at| at <= now) {
            self.close_locked(&mut out, CloseReason::TokenExpired);
        }
    }

    /// Closes the connection like [`close`](Self::close). The caller holds the lock.
    pub(crate) fn close_locked(&self, out: &mut Outbound, reason: CloseReason) {
        if !out.is_open() {
            return;
        }
        tracing::debug!(client_id = %self.client_id, ?reason, "closing a connection");
        out.phase = Phase::Closing(reason);
        if reason != CloseReason::ClientGone {
            let mut bytes = Vec::new();
            if let Some(code) = reason.error() {
                self.manager.counters.error(code);
                self.encode(
                    &ControlMessage::error(None, code, reason.text()),
                    &mut bytes,
                );
            }
            let goodbye = ControlMessage::going_away(
                reason.text(),
                reason.reconnect(),
                reason.reconnect_after(),
            );
            self.encode(&goodbye, &mut bytes);
            self.wire.close(reason.code(), reason.text(), &mut bytes);
            self.write_control(out, &bytes);
        }
        out.wake();
        let progress = out.writer.progress;
        let limit = self.manager.config.close_timeout;
        self.manager.stalls.watch(self.me.clone(), progress, limit);
        self.manager.counters.closed(reason);
    }

    /// Makes the connection's task end at once, whether or not a close was sent.
    pub(crate) fn abort(&self) {
        let mut out = self.lock();
        if out.is_open() {
            let restart = CloseReason::Restart(Duration::ZERO);
            out.phase = Phase::Closing(restart);
            self.manager.counters.closed(restart);
        }
        out.writer.aborted = true;
        out.cut_off();
    }

    /// Records that the connection's task has ended. Nothing is written from here on.
    pub(crate) fn end(&self) {
        let mut out = self.lock();
        if out.is_open() {
            out.phase = Phase::Closing(CloseReason::ClientGone);
            self.manager.counters.closed(CloseReason::ClientGone);
        }
    }

    /// Returns whether neither side has closed the connection.
    pub fn is_open(&self) -> bool {
        self.lock().is_open()
    }

    /// Returns a description of the connection.
    pub fn info(&self) -> ConnectionInfo {
        let out = self.lock();
        let subscriptions: Vec<_> = out
            .subs
            .iter()
            .filter_map(|(_, sub)| {
                Some(SubscriptionInfo {
                    task_id: sub.source.task_id()?.clone(),
                    offset: sub.reader.cursor().delivered().get(),
                    lag: sub.reader.cursor().lag(sub.source.topic()),
                })
            })
            .collect();
        let targets: Vec<Target> = out
            .subs
            .groups()
            .map(|known| known.group().into())
            .collect();
        ConnectionInfo {
            client_id: self.client_id.clone(),
            connected_at: self.since,
            remote_addr: self.remote_addr(),
            user_agent: self.user_agent.clone(),
            subject: out.access.subject().cloned(),
            transport: self.wire.name(),
            lag: subscriptions.iter().map(|sub| sub.lag).sum(),
            subscriptions,
            patterns: targets
                .iter()
                .filter_map(Target::pattern)
                .cloned()
                .collect(),
            trees: targets.iter().filter_map(Target::tree).cloned().collect(),
            delivered: out.writer.delivered,
            received: self.received.load(Ordering::Relaxed),
            blocked: out.writer.blocked,
        }
    }

    /// Adds the connection's state to the totals.
    pub(crate) fn add_to(&self, states: &mut ConnectionStates) {
        let out = self.lock();
        if !out.is_open() {
            states.closing += 1;
        } else if out.writer.blocked {
            states.blocked += 1;
        } else {
            states.flowing += 1;
        }
        let mut lag = 0;
        for (_, sub) in out.subs.iter() {
            states.subscriptions += 1;
            lag += sub.reader.cursor().lag(sub.source.topic());
        }
        states.lag += lag;
        states.by_lag[LAG_BOUNDS.partition_point(|bound| *bound < lag)] += 1;
    }

    /// Returns whether the client watches this task, by name, by a pattern or in a tree.
    pub fn watches(&self, task_id: &TaskId) -> bool {
        self.lock().subs.find(task_id).is_some()
    }

    pub(crate) fn weak(&self) -> Weak<Self> {
        self.me.clone()
    }

    fn watcher(&self) -> Option<Arc<dyn Watcher>> {
        Some(self.me.upgrade()?)
    }

    pub(crate) fn pattern_watcher(&self) -> Option<Arc<dyn PatternWatcher>> {
        Some(self.me.upgrade()?)
    }

    pub(crate) fn child_watcher(&self) -> Option<Arc<dyn ChildWatcher>> {
        Some(self.me.upgrade()?)
    }

    /// Adds a cursor, which opens when the socket has room. Returns its key, or `None` if the
    /// source has left the registry.
    ///
    /// # Errors
    /// Returns an error if the client already holds as much as it may.
    pub(crate) fn add(
        &self,
        out: &mut Outbound,
        source: Source,
        start: Start,
        kind: OpeningKind,
        explicit: bool,
    ) -> Result<Option<usize>, OverLimit> {
        let Some(watcher) = self.watcher() else {
            return Ok(None);
        };
        out.subs.reserve(|| self.account(&out.access))?;
        let key = out.subs.vacant_key();
        let topic = source.topic();
        let task_id = source.task_id();
        let topmost = task_id.is_some_and(|id| out.subs.is_topmost(id));
        let hold = match source {
            Source::Task(_) if !explicit && !topmost => Hold::Follows,
            _ => Hold::Keeps,
        };
        let Some(attached) = topic.attach(watcher, key, hold) else {
            out.subs.unreserve();
            return Ok(None);
        };
        // A placeholder: the cursor is set when the subscription opens.
        let reader = Reader::at(topic.join(&Start::Live).cursor);
        let opening = Opening {
            start,
            kind,
            trees: Vec::new(),
        };
        let sub = Sub::new(source, reader, attached, opening, (explicit, topmost));
        out.subs.insert(sub);
        out.enqueue(key);
        self.changed();
        Ok(Some(key))
    }

    /// Returns the account that is charged for what this connection makes the server hold.
    pub(crate) fn account(&self, access: &Access) -> Account {
        self.manager.account(access, self.remote_addr())
    }

    /// Records that the subscriptions have changed, if other nodes need to know.
    pub(crate) fn changed(&self) {
        if let Some(shared) = self.manager.shared.get() {
            shared.write_soon(&self.client_id);
        }
    }

    /// Makes way for a cursor on this task. Returns `false` if the connection already has one. A
    /// cursor on a removed task with the same id is dropped, because the new subscription's
    /// announcement also says that the old task has ended. The old task leaves its trees.
    pub(crate) fn drop_older(&self, out: &mut Outbound, task: &Arc<Task>) -> bool {
        let Some(key) = out.subs.find(task.id()) else {
            return true;
        };
        if out.subs.is_of(key, task) {
            return false;
        }
        if let Some(old) = out.remove_sub(key) {
            old.source.topic().detach(old.attached);
        }
        self.leave_trees(out, task.id());
        true
    }

    /// Adds a cursor on a task that appeared in a group, unless the connection has one.
    ///
    /// # Errors
    /// Returns an error if the client already holds as much as it may.
    pub(crate) fn add_new(
        &self,
        out: &mut Outbound,
        task: &Arc<Task>,
    ) -> Result<Option<usize>, OverLimit> {
        let group = out.subs.matching(task.id());
        let source = Source::Task(Arc::clone(task));
        let kind = OpeningKind::Appeared { group };
        self.add(out, source, Start::Retained, kind, false)
    }

    /// Adds a cursor on a task. It replaces a cursor that a group may have added when the task was
    /// created. Returns `None` if the task was removed in the meantime.
    ///
    /// # Errors
    /// Returns an error if the client already holds as much as it may.
    pub(crate) fn add_task(
        &self,
        task: &Arc<Task>,
        start: Start,
        kind: OpeningKind,
        explicit: bool,
    ) -> Result<Option<usize>, OverLimit> {
        let mut out = self.lock();
        let known = out.subs.find(task.id());
        if known.is_some_and(|key| !out.subs.is_of(key, task)) {
            self.leave_trees(&mut out, task.id());
        }
        let replaced = known.and_then(|key| out.remove_sub(key));
        let added = self.add(
            &mut out,
            Source::Task(Arc::clone(task)),
            start,
            kind,
            explicit,
        );
        out.wake();
        drop(out);
        if let Some(Sub {
            source: Source::Task(task),
            attached,
            ..
        }) = &replaced
        {
            self.manager().bus.detach(task, *attached);
        }
        added
    }

    /// Returns the client's inbox, if it has one.
    pub(crate) fn inbox(&self) -> Option<Arc<Topic>> {
        self.lock()
            .subs
            .iter()
            .find_map(|(_, sub)| match &sub.source {
                Source::Inbox(inbox) => Some(Arc::clone(inbox)),
                Source::Task(_) => None,
            })
    }

    /// Discards the bytes that are not written yet, and makes the connection's task end.
    pub(crate) fn cut_off(&self) {
        self.lock().cut_off();
    }

    /// Removes the client's inbox. Returns the number of the last message that the client received.
    pub(crate) fn drop_inbox(&self) -> u64 {
        let mut out = self.lock();
        let mut subs = out.subs.iter();
        let key = subs.find_map(|(key, sub)| matches!(sub.source, Source::Inbox(_)).then_some(key));
        drop(subs);
        let Some(sub) = key.and_then(|key| out.remove_sub(key)) else {
            return 0;
        };
        sub.source.topic().detach(sub.attached);
        sub.seen()
    }

    /// Adds the client's inbox. A connection that is closing gets it too, so that the messages are
    /// kept with the rest of the client's state.
    pub(crate) fn add_inbox(&self, inbox: &Arc<Topic>, start: Start) {
        let mut out = self.lock();
        let source = Source::Inbox(Arc::clone(inbox));
        // The inbox's messages are charged, and therefore bounded. It would be wrong to lose them
        // because its one cursor exceeds a limit.
        if let Err(over) = self.add(&mut out, source, start, OpeningKind::Silent, false) {
            tracing::debug!(client_id = %self.client_id, %over, "an inbox has no cursor");
            return self.close_locked(&mut out, CloseReason::RateLimited);
        }
        out.wake();
    }
}

/// Marks a connection whose messages are being processed.
pub(crate) struct Receiving<'a>(&'a Connection);

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        self.0.receiving.store(false, Ordering::Relaxed);
    }
}

impl PatternWatcher for Connection {
    fn discovered(&self, _: usize, task: &Arc<Task>) {
        let mut out = self.lock();
        if !out.is_open() || !out.access.allows(Permission::Watch, task.id()) {
            return;
        }
        if self.drop_older(&mut out, task)
            && let Err(over) = self.add_new(&mut out, task)
            && let Some(group) = out.subs.matching(task.id())
        {
            self.end_group(&mut out, group, &over);
        }
        out.wake();
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}
