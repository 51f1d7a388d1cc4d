//! The write side of a connection: cursors, unfinished records and notices.
//!
//! One lock guards all of it. The fan-out pass, the connection's own task and senders of messages
//! hold the lock one after the other, for as many writes as the socket accepts without waiting. If
//! the socket takes only part of a write, the rest is written before anything else.

use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tidings_bus::watch::Start;
use tidings_bus::{Advance, Next, SkipPolicy, Topic, View, Watcher};
use tidings_protocol::{
    ControlMessage, Epoch, Gap, GapReason, Joined as JoinedMessage, Offset, ResetReason, Target,
    TaskId, TaskSnapshot, UnsubscribeReason,
};

use crate::auth::{Access, Permission};
use crate::close::CloseReason;
use crate::connection::Connection;
use crate::limits::Own;
use crate::opening::{Opening, OpeningKind};
use crate::pending::{Pending, Unsent};
use crate::subscriptions::{Drained, Source, Sub, Subscriptions};

/// The steps of one poll of a connection's task. A cursor that is served is one step, and a slice
/// of a job is a quarter of them.
const STEPS_A_POLL: usize = 64;

/// The phase of a connection's write side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// The close is being written, and nothing follows it.
    Closing(CloseReason),
}

/// The state that the lock of a connection guards.
///
/// The order of the fields is intentional. Everything that a delivery needs comes first, and
/// together with the lock it fills two cache lines.
#[repr(C)]
pub(crate) struct Outbound {
    pub(crate) phase: Phase,
    /// The socket took less than it was offered, and the connection's task waits for room. A new
    /// connection also starts in this state, so that nothing is sent before the greeting.
    pub(crate) blocked: bool,
    /// The socket failed, and nothing more can be written.
    pub(crate) broken: bool,
    /// `true` if the timer will check the progress of writes. A connection has at most one entry
    /// there, however often its socket fills up.
    pub(crate) watched: bool,
    /// The connection ends now, and the transport need not wait for the client.
    pub(crate) aborted: bool,
    /// Counts the writes that made progress.
    pub(crate) progress: u32,
    /// The number of events handed to the socket.
    pub(crate) delivered: u64,
    pub(crate) subs: Subscriptions,
    pub(crate) pending: Option<Box<Pending>>,
    /// Wakes the connection's task.
    waker: Option<Waker>,
    /// The client's permissions.
    pub(crate) access: Access,
    /// The client's rates, from its first message on.
    pub(crate) rates: Option<Box<Own>>,
}

impl Outbound {
    pub(crate) fn new(access: Access) -> Self {
        Self {
            phase: Phase::Open,
            blocked: true,
            broken: false,
            watched: false,
            aborted: false,
            progress: 0,
            delivered: 0,
            subs: Subscriptions::default(),
            pending: None,
            waker: None,
            access,
            rates: None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Wakes the connection's task.
    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Discards the bytes that are not written yet, and makes the connection's task end.
    pub(crate) fn cut_off(&mut self) {
        self.broken = true;
        self.wake();
    }

    /// Adds a cursor to the queue of cursors that wait for the socket.
    pub(crate) fn enqueue(&mut self, key: usize) {
        self.subs.enqueue(key);
    }

    /// Removes a cursor. Another cursor may reuse its key.
    pub(crate) fn remove_sub(&mut self, key: usize) -> Option<Sub> {
        if let Some(pending) = &mut self.pending {
            pending.disown(key);
        }
        self.subs.remove(key)
    }

    /// Removes all cursors and patterns. Each cursor is set back to what the client has really
    /// received. Bytes that still wait for the socket are discarded, because the cursor will
    /// deliver them again.
    pub(crate) fn take_subs(&mut self) -> Drained {
        let unsent = self.pending.as_mut().and_then(|p| p.take_unsent());
        if let Some((key, unsent)) = unsent
            && let Some(sub) = self.subs.get_mut(key)
        {
            match unsent {
                Unsent::Opening(opening) => sub.opening = Some(opening),
                Unsent::After(cursor) => sub.reader.set_cursor(cursor),
                Unsent::Record => sub.reader.retreat(1),
            }
            self.cut_off();
        }
        self.subs.drain()
    }

    /// Records which cursor owns the bytes that have just started to wait.
    fn note_unsent(&mut self, key: usize, unsent: Unsent) {
        if let Some(pending) = &mut self.pending {
            pending.note_unsent(key, unsent);
        }
    }

    pub(crate) fn pending(&mut self) -> &mut Pending {
        self.pending.get_or_insert_default()
    }

    /// Returns why the connection ends: the server's reason, or that the client is gone.
    fn reason(&self) -> CloseReason {
        match self.phase {
            Phase::Closing(reason) => reason,
            Phase::Open => CloseReason::ClientGone,
        }
    }

    /// Returns the number of bytes of answers and notices that wait for the socket.
    pub(crate) fn waiting_answers(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.owned())
    }
}

/// The result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Everything was written.
    Clear,
    /// The rest waits for the socket.
    Blocked,
}

/// Returns the state of a task before its first event.
fn before_the_first(task_id: TaskId, epoch: Epoch, access: &Access) -> JoinedMessage {
    JoinedMessage {
        permissions: access.told(&task_id),
        snapshot: Arc::new(TaskSnapshot::new(task_id.clone(), epoch.clone())),
        task_id,
        epoch,
        offset: Offset::ZERO,
        recovered: true,
    }
}

/// Creates the message that a task has begun in this epoch. The client has watched the task since
/// before its first event.
fn begun(task_id: TaskId, epoch: Epoch, access: &Access) -> ControlMessage {
    let state = before_the_first(task_id, epoch, access);
    ControlMessage::subscribed(None, None, state)
}

impl Watcher for Connection {
    fn advance(&self, key: usize, topic: &Arc<Topic>, view: &mut View) -> Advance {
        let mut out = self.lock();
        if !out.is_open() {
            return Advance::Gone;
        }
        // The key may have passed to another task since the fan-out pass copied it.
        match out.subs.get_mut(key) {
            Some(sub) if Arc::ptr_eq(sub.source.topic(), topic) => {}
            _ => return Advance::Done,
        }
        if out.blocked {
            out.enqueue(key);
        } else {
            self.pump(&mut out, key, topic, view);
        }
        Advance::Done
    }
}

/// Returns whether a cursor is going to be removed because its task may no longer be watched.
fn is_lost(out: &mut Outbound, key: usize) -> bool {
    if !out.subs.is_narrowing() {
        return false;
    }
    let task_id = out.subs.get_mut(key).and_then(|sub| sub.source.task_id());
    let task_id = task_id.cloned();
    task_id.is_some_and(|id| !out.access.allows(Permission::Watch, &id))
}

impl Connection {
    /// Writes everything that lies before one cursor, until it has caught up or the socket is full.
    fn pump(&self, out: &mut Outbound, key: usize, topic: &Arc<Topic>, view: &mut View) -> Flow {
        if is_lost(out, key) {
            return Flow::Clear;
        }
        loop {
            let opening = out.subs.take_opening(key);
            let mut notices = Vec::new();
            if let Some(mut opening) = opening {
                self.complete(out, key, &mut opening);
                let Some(sub) = out.subs.get_mut(key) else {
                    return Flow::Clear;
                };
                self.open(sub, &opening, &out.access, &mut notices);
                topic.fill(view, sub.reader.cursor().next_offset());
                // The announcement is written alone, so that its client has received either all or
                // nothing of it.
                if !notices.is_empty() && self.write_owned(out, &notices) == Flow::Blocked {
                    out.note_unsent(key, Unsent::Opening(opening));
                    out.enqueue(key);
                    return Flow::Blocked;
                }
                continue;
            }
            let Some(sub) = out.subs.get_mut(key) else {
                return Flow::Clear;
            };
            let unsent = Unsent::After(*sub.reader.cursor());
            let skip = match sub.source {
                Source::Task(_) => self.skip(),
                Source::Inbox(_) => SkipPolicy::NEVER,
            };
            let next = sub.reader.next(topic, view, skip, !sub.stays());
            let flow = match next {
                Next::CaughtUp | Next::Page(false) => return Flow::Clear,
                Next::Page(true) => {
                    self.fetch_page(key, sub);
                    return Flow::Clear;
                }
                Next::Over => {
                    topic.detach(sub.attached);
                    let task_id = sub.source.task_id().cloned();
                    out.remove_sub(key);
                    return self.tell_removed(out, task_id);
                }
                Next::Events { from, to } => self.write_events(out, key, notices, view, (from, to)),
                Next::Merged { from, to } => self.write_merged(out, key, view, (from, to)),
                Next::Gap(_) | Next::Reset(_) | Next::Begun => {
                    self.encode_notice((sub, &out.access), topic, next, &mut notices);
                    // Events are written in the same call as the notices before them. Another
                    // notice waits for the next call, so that an interrupted write contains only
                    // one notice.
                    match sub.reader.events_along(topic, view, skip) {
                        Some(events) => self.write_events(out, key, notices, view, events),
                        None => self.write_owned(out, &notices),
                    }
                }
            };
            if flow == Flow::Blocked {
                // Drop the page, so that memory does not grow with the number of full sockets.
                out.note_unsent(key, unsent);
                if let Some(sub) = out.subs.get_mut(key) {
                    sub.reader.drop_page();
                }
                out.enqueue(key);
                return flow;
            }
        }
    }

    /// Encodes a notice of a reader: any message other than an event.
    fn encode_notice(
        &self,
        (sub, access): (&Sub, &Access),
        topic: &Topic,
        notice: Next,
        into: &mut Vec<u8>,
    ) {
        let task_id = sub.source.task_id().cloned();
        match (notice, task_id) {
            (Next::Gap(gap), task_id) => self.encode_gap(task_id, topic, gap, into),
            (Next::Reset(reason), Some(task_id)) => {
                let offset = sub.reader.cursor().delivered();
                self.encode_reset(task_id, topic, reason, offset, into);
            }
            (Next::Begun, Some(task_id)) => {
                self.encode(&begun(task_id, topic.standing().epoch, access), into);
            }
            _ => {}
        }
    }

    /// Fetches the next events of a cursor from the store. The cursor continues when they have
    /// arrived.
    fn fetch_page(&self, key: usize, sub: &mut Sub) {
        let Source::Task(task) = &sub.source else {
            return;
        };
        let task = Arc::clone(task);
        let fetch = self.manager().bus.fetch_page(&task, sub.reader.cursor());
        let me = self.weak();
        self.manager().work.spawn(async move {
            let page = fetch.await;
            if let Some(connection) = me.upgrade() {
                connection.fetched(key, task.topic(), page);
            }
        });
    }

    fn fetched(&self, key: usize, topic: &Arc<Topic>, page: View) {
        let mut out = self.lock();
        if !out.is_open() {
            return;
        }
        match out.subs.get_mut(key) {
            Some(sub) if Arc::ptr_eq(sub.source.topic(), topic) => {
                sub.reader.take_page(page);
            }
            _ => return,
        }
        if out.blocked {
            out.enqueue(key);
        } else {
            let mut view = View::default();
            if let Some(sub) = out.subs.get_mut(key) {
                topic.fill(&mut view, sub.reader.cursor().next_offset());
            }
            self.pump(&mut out, key, topic, &mut view);
        }
    }

    /// Joins the log and announces the subscription. The cursor is valid from here on.
    fn open(&self, sub: &mut Sub, opening: &Opening, access: &Access, notices: &mut Vec<u8>) {
        let topic = Arc::clone(sub.source.topic());
        let mut joined = topic.join(&opening.start);
        if let OpeningKind::Appeared { .. } = opening.kind
            && !joined.recovered
        {
            // The task is announced from its first event on. This already says that its earlier log
            // has ended.
            joined = topic.join(&Start::Retained);
        }
        sub.reader.set_cursor(joined.cursor);
        sub.last_heartbeat = joined.cursor.into();
        let task_id = sub.source.task_id().cloned();
        if let (Some(task_id), Some(snapshot)) = (&task_id, &joined.standing.snapshot) {
            let state = JoinedMessage {
                task_id: task_id.clone(),
                epoch: joined.standing.epoch.clone(),
                offset: joined.standing.offset,
                recovered: joined.recovered,
                snapshot: Arc::clone(snapshot),
                permissions: access.told(task_id),
            };
            match &opening.kind {
                OpeningKind::Established { preface } => {
                    notices.extend_from_slice(preface);
                    self.encode(&self.established(Some(state)), notices);
                }
                OpeningKind::Subscribed { reference, group } => {
                    let through = group.clone().map(Target::from);
                    let message = ControlMessage::subscribed(reference.clone(), through, state);
                    self.encode(&message, notices);
                }
                OpeningKind::Appeared { group } => {
                    // The client gets the state from before the first event, even if events have
                    // followed since. The events, or a gap, then start at offset 1.
                    let state = before_the_first(state.task_id, state.epoch, access);
                    let through = group.clone().map(Target::from);
                    let message = ControlMessage::subscribed(None, through, state);
                    self.encode(&message, notices);
                }
                OpeningKind::Silent => {}
            }
            for tree in &opening.trees {
                let message = ControlMessage::subscribed_member(tree.clone(), task_id.clone());
                self.encode(&message, notices);
            }
        }
        if let (true, Some(task_id)) = (joined.ahead, task_id) {
            let offset = joined.cursor.delivered();
            self.encode_reset(task_id, &topic, ResetReason::Ahead, offset, notices);
        }
    }

    /// Tells a client that watched the task through a group that the task is gone.
    fn tell_removed(&self, out: &mut Outbound, task_id: Option<TaskId>) -> Flow {
        let Some(task_id) = task_id else {
            return Flow::Clear;
        };
        self.leave_trees(out, &task_id);
        let mut notice = Vec::new();
        let gone = ControlMessage::unsubscribed(None, task_id, UnsubscribeReason::Removed);
        self.encode(&gone, &mut notice);
        self.write_owned(out, &notice)
    }

    fn encode_reset(
        &self,
        task_id: TaskId,
        topic: &Topic,
        reason: ResetReason,
        offset: Offset,
        notices: &mut Vec<u8>,
    ) {
        // Only an inbox has no snapshot, and the log of an inbox never starts over.
        let Some(snapshot) = topic.snapshot() else {
            return;
        };
        self.counters().reset(reason);
        let message = ControlMessage::reset(task_id, reason, offset, snapshot);
        self.encode(&message, notices);
    }

    fn encode_gap(&self, task_id: Option<TaskId>, topic: &Topic, gap: Gap, notices: &mut Vec<u8>) {
        self.counters().gap(&gap);
        let snapshot = match gap.reason {
            GapReason::Conflated => None,
            _ => topic.snapshot(),
        };
        self.encode(&ControlMessage::gap(task_id, gap, snapshot), notices);
    }

    /// Encodes and frames a control message.
    pub(crate) fn encode(&self, message: &ControlMessage, into: &mut Vec<u8>) {
        self.wire().control(&message.encode(self.now()), into);
    }

    /// Drives the write side from the connection's task. Waits until the socket has room, then
    /// writes the waiting bytes and serves the waiting cursors.
    ///
    /// Returns `Pending` while the connection is open. Returns the reason when the connection has
    /// closed and everything that can be written has been written.
    pub fn poll_drive(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let mut view = View::default();
        let mut steps = 0;
        // Held until this poll has written the messages of the slice as far as possible.
        let mut permit = None;
        loop {
            let mut guard = self.lock();
            let out = &mut *guard;
            if out.broken || !out.is_open() {
                out.subs.give_up_slice();
            }
            let flushed = self.socket().poll_flush(cx);
            if out.broken || matches!(flushed, Poll::Ready(Err(_))) {
                return Poll::Ready(out.reason());
            }
            if !out.blocked && !out.subs.any_waiting() {
                // The socket has accepted the messages of the last slice, so the next slice may
                // run.
                if steps < STEPS_A_POLL
                    && permit.is_none()
                    && out.pending.is_none()
                    && let Some(slice) = self.poll_jobs(out, cx)
                {
                    steps += STEPS_A_POLL / 4;
                    permit = Some(slice);
                    drop(guard);
                    self.run_slice();
                    continue;
                }
                let did_its_share = steps >= STEPS_A_POLL || permit.is_some();
                if did_its_share && !out.subs.has_no_jobs() && out.is_open() {
                    cx.waker().wake_by_ref();
                }
                if let (Phase::Closing(reason), None) = (out.phase, &out.pending) {
                    // Bytes that the socket itself buffers come first.
                    return self.socket().poll_flush(cx).map(|_| reason);
                }
                out.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if out.blocked {
                out.subs.give_up_slice();
                out.waker = Some(cx.waker().clone());
                if ready!(self.socket().poll_write_ready(cx)).is_err() {
                    return Poll::Ready(out.reason());
                }
                out.blocked = false;
            }
            if !self.flush_pending(out) {
                continue;
            }
            steps += self.serve_waiting(out, &mut view, STEPS_A_POLL.saturating_sub(steps));
            if steps >= STEPS_A_POLL {
                // Yield to other tasks, and ask the runtime to poll this one again.
                cx.waker().wake_by_ref();
                out.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
    }

    /// Completes when the connection must end at once. A transport that waits for the client after
    /// the close was written, and no longer polls [`poll_drive`](Self::poll_drive), polls this.
    pub fn poll_aborted(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut out = self.lock();
        if out.aborted {
            return Poll::Ready(());
        }
        out.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Serves the waiting cursors as long as the socket accepts data.
    fn serve_waiting(&self, out: &mut Outbound, view: &mut View, limit: usize) -> usize {
        let mut steps = 0;
        while steps < limit && !out.blocked {
            let Some(key) = out.subs.next_waiting() else {
                break;
            };
            steps += 1;
            let open = out.is_open();
            if let Some(sub) = out.subs.get_mut(key).filter(|_| open) {
                let topic = Arc::clone(sub.source.topic());
                topic.fill(view, sub.reader.cursor().next_offset());
                self.pump(out, key, &topic, view);
            }
        }
        steps
    }

    /// Writes the greeting: the announcement of the path's task if there is one, and `hello`
    /// otherwise. Messages that were sent in the meantime follow.
    pub(crate) fn greet(&self, path: Option<usize>, hello: &[u8]) {
        let mut out = self.lock();
        let out = &mut *out;
        out.blocked = false;
        let early = out.pending.take();
        match path {
            Some(key) => {
                let mut view = View::default();
                if let Some(sub) = out.subs.get_mut(key) {
                    let topic = Arc::clone(sub.source.topic());
                    self.pump(out, key, &topic, &mut view);
                }
            }
            None => {
                self.write_owned(out, hello);
            }
        }
        if let Some(early) = early {
            self.write_control(out, &early.into_owned());
        }
        self.serve_waiting(out, &mut View::default(), usize::MAX);
        out.wake();
    }
}
