//! The write side of a connection: cursors, unfinished records and notices.
//!
//! One lock guards all of it. The fan-out pass, the connection's own task and senders of messages
//! hold the lock one after the other, for as many writes as the socket accepts without waiting. If
//! the socket takes only part of a write, the rest is written before anything else.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};

use tidings_bus::{Advance, Counters, EventRecord, Framing, SkipPolicy, Topic, View, Watcher};
use tidings_protocol::{ControlMessage, Joined, Position, TaskId, UnsubscribeReason};

use crate::auth::{Access, Permission};
use crate::close::CloseReason;
use crate::connection::Connection;
use crate::limits::Own;
use crate::subscription::{Source, Sub};
use crate::subscriptions::{Drained, Subscriptions};
use crate::writer::{Encoder, Flow, Turn, Write, Writer};

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
    pub(crate) writer: Writer,
    pub(crate) subs: Subscriptions,
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
            writer: Writer::default(),
            subs: Subscriptions::default(),
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
        self.writer.broken = true;
        self.wake();
    }

    /// Adds a cursor to the queue of cursors that wait for the socket.
    pub(crate) fn enqueue(&mut self, key: usize) {
        self.subs.enqueue(key);
    }

    /// Removes a cursor. Another cursor may reuse its key.
    pub(crate) fn remove_sub(&mut self, key: usize) -> Option<Sub> {
        self.writer.disown(key);
        self.subs.remove(key)
    }

    /// Removes all cursors and patterns. Each cursor is set back to what the client has really
    /// received. Bytes that still wait for the socket are discarded, because the cursor will
    /// deliver them again.
    pub(crate) fn take_subs(&mut self) -> Drained {
        if self.writer.rewind(&mut self.subs) {
            self.cut_off();
        }
        self.subs.drain()
    }

    /// Returns why the connection ends: the server's reason, or that the client is gone.
    fn reason(&self) -> CloseReason {
        match self.phase {
            Phase::Closing(reason) => reason,
            Phase::Open => CloseReason::ClientGone,
        }
    }
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
        if out.writer.blocked {
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
    fn pump(&self, out: &mut Outbound, key: usize, topic: &Arc<Topic>, view: &mut View) {
        if is_lost(out, key) {
            return;
        }
        loop {
            self.complete(out, key);
            let text = Text(self, &out.access);
            match out.writer.next(&mut out.subs, key, (topic, view), &text) {
                Turn::Idle => return,
                Turn::Fetch => return self.fetch_page(out, key),
                Turn::Over => return self.drop_removed(out, key),
                Turn::Write(write) => {
                    if self.write(out, write, view) == Flow::Blocked {
                        return;
                    }
                }
            }
        }
    }

    /// Offers a write of a cursor to the socket.
    fn write(&self, out: &mut Outbound, write: Write, view: &View) -> Flow {
        let (offered, written) = {
            let sub = out.subs.get(write.key());
            let offer = write.offer(sub.map_or(view, |sub| sub.reader.view(view)));
            let written = self.try_write(&mut out.writer, offer.slices());
            (offer.len(), written)
        };
        let account = || self.account(&out.access);
        let (events, flow) =
            out.writer
                .commit(&mut out.subs, write, (offered, written), view, account);
        if events > 0 {
            self.counters().delivered(events);
        }
        self.arm(out, flow)
    }

    /// Fetches the next events of a cursor from the store. The cursor continues when they have
    /// arrived.
    fn fetch_page(&self, out: &Outbound, key: usize) {
        let Some(sub) = out.subs.get(key) else { return };
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
        if out.writer.blocked {
            out.enqueue(key);
        } else {
            let mut view = View::default();
            if let Some(sub) = out.subs.get_mut(key) {
                topic.fill(&mut view, sub.reader.cursor().next_offset());
            }
            self.pump(&mut out, key, topic, &mut view);
        }
    }

    /// Removes the cursor of a task that is gone. Tells a client that watched the task through a
    /// group.
    fn drop_removed(&self, out: &mut Outbound, key: usize) {
        let Some(sub) = out.remove_sub(key) else {
            return;
        };
        sub.source.topic().detach(sub.attached);
        let Some(task_id) = sub.source.task_id().cloned() else {
            return;
        };
        self.leave_trees(out, &task_id);
        let mut notice = Vec::new();
        let gone = ControlMessage::unsubscribed(None, task_id, UnsubscribeReason::Removed);
        self.encode(&gone, &mut notice);
        self.write_owned(out, &notice);
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
            if out.writer.broken || !out.is_open() {
                out.subs.give_up_slice();
            }
            let flushed = self.socket().poll_flush(cx);
            if out.writer.broken || matches!(flushed, Poll::Ready(Err(_))) {
                return Poll::Ready(out.reason());
            }
            if !out.writer.blocked && !out.subs.any_waiting() {
                // The socket has accepted the messages of the last slice, so the next slice may
                // run.
                if steps < STEPS_A_POLL
                    && permit.is_none()
                    && !out.writer.is_waiting()
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
                if let (Phase::Closing(reason), false) = (out.phase, out.writer.is_waiting()) {
                    // Bytes that the socket itself buffers come first.
                    return self.socket().poll_flush(cx).map(|_| reason);
                }
                out.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if out.writer.blocked {
                out.subs.give_up_slice();
                out.waker = Some(cx.waker().clone());
                if ready!(self.socket().poll_write_ready(cx)).is_err() {
                    return Poll::Ready(out.reason());
                }
                out.writer.blocked = false;
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
        if out.writer.aborted {
            return Poll::Ready(());
        }
        out.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Serves the waiting cursors as long as the socket accepts data.
    fn serve_waiting(&self, out: &mut Outbound, view: &mut View, limit: usize) -> usize {
        let mut steps = 0;
        while steps < limit && !out.writer.blocked {
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
        out.writer.blocked = false;
        let early = out.writer.take_early();
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
            self.write_control(out, &early);
        }
        self.serve_waiting(out, &mut View::default(), usize::MAX);
        out.wake();
    }

    /// Writes answers and notices. Bytes that the socket does not accept are queued.
    pub(crate) fn write_control(&self, out: &mut Outbound, bytes: &[u8]) {
        if out.writer.blocked || out.writer.is_waiting() {
            let account = || self.account(&out.access);
            out.writer.pending_control(bytes, account);
        } else {
            self.write_owned(out, bytes);
        }
    }

    fn write_owned(&self, out: &mut Outbound, bytes: &[u8]) {
        let written = self.try_write(&mut out.writer, &[IoSlice::new(bytes)]);
        let account = || self.account(&out.access);
        let flow = out.writer.commit_control(bytes, written, account);
        self.arm(out, flow);
    }

    /// Writes the waiting bytes. Returns `true` if none are left.
    fn flush_pending(&self, out: &mut Outbound) -> bool {
        let Some(waiting) = out.writer.waiting() else {
            return true;
        };
        let (written, failed) = self.offer(&waiting);
        out.writer.broken |= failed;
        let flow = out.writer.commit_waiting(written);
        self.arm(out, flow) == Flow::Clear
    }

    /// After a write that the socket took only in part: makes the timer check that writes progress,
    /// and wakes the connection's task, which waits for room.
    fn arm(&self, out: &mut Outbound, flow: Flow) -> Flow {
        if flow == Flow::Blocked {
            if !std::mem::replace(&mut out.writer.watched, true) {
                self.watch_progress(out.writer.progress);
            }
            out.wake();
        }
        flow
    }

    fn try_write(&self, writer: &mut Writer, slices: &[IoSlice<'_>]) -> usize {
        let (written, failed) = self.offer(slices);
        writer.broken |= failed;
        written
    }

    /// Tries to write once. Returns the number of written bytes, and whether the socket failed. After
    /// a failure nothing more is written, and the connection's task ends the connection in the usual
    /// way.
    fn offer(&self, slices: &[IoSlice<'_>]) -> (usize, bool) {
        loop {
            match self.socket().try_write(slices) {
                Ok(written) => {
                    let bytes_out = &self.manager().counters.bytes_out;
                    bytes_out.fetch_add(written as u64, Ordering::Relaxed);
                    return (written, false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (0, false),
                Err(error) => {
                    tracing::debug!(client_id = %self.client_id(), %error, "a write failed");
                    return (0, true);
                }
            }
        }
    }
}

/// The text of a connection's messages, for the permissions of its client.
struct Text<'a>(&'a Connection, &'a Access);

impl Encoder for Text<'_> {
    fn is_as_is(&self) -> bool {
        self.0.writes_as_is()
    }

    fn control(&self, message: &ControlMessage, into: &mut Vec<u8>) {
        self.0.encode(message, into);
    }

    fn event(
        &self,
        record: &EventRecord,
        positions: &dyn Fn() -> Vec<(TaskId, Position)>,
        into: &mut Vec<u8>,
    ) {
        self.0.wire().event_among(record, positions, into);
    }

    fn established(&self, task: Option<Joined>) -> ControlMessage {
        self.0.established(task)
    }

    fn framing(&self) -> &Framing {
        self.0.manager().bus.framing()
    }

    fn skip(&self) -> SkipPolicy {
        self.0.skip()
    }

    fn access(&self) -> &Access {
        self.1
    }

    fn counters(&self) -> &Counters {
        self.0.counters()
    }
}
