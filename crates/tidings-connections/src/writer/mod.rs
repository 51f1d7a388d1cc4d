//! The next bytes of a connection: a machine without a lock, a clock or a socket.
//!
//! [`Writer::next`] says what a cursor writes next. The caller offers the bytes to its socket and
//! reports with [`Writer::commit`] how many of them the socket accepted. The machine then moves the
//! cursor, and keeps the bytes that must follow before anything else. The bus's
//! [`Reader`](tidings_bus::Reader) decides what a subscriber gets next.
//!
//! * `notices`: the text of announcements, gaps and resets
//! * `offer`: the bytes of one write
//! * `pending`: the bytes that a socket has not accepted yet

mod notices;
mod offer;
mod pending;
#[cfg(test)]
mod tests;

use std::io::IoSlice;

use tidings_bus::watch::Start;
use tidings_bus::{Account, Counters, EventRecord, Framing, Next, SkipPolicy, Topic, View};
use tidings_protocol::{ControlMessage, Joined, Position, TaskId};

use self::offer::Commit;
pub(crate) use self::offer::Write;
use self::pending::{Pending, Unsent};
use crate::auth::Access;
use crate::subscription::{Source, Sub};
use crate::subscriptions::Subscriptions;

/// The bytes that are framed at a time if the bytes of the log cannot be sent unchanged.
const REFRAME_BYTES: usize = 32 * 1024;

/// The result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Everything was written.
    Clear,
    /// The rest waits for the socket.
    Blocked,
}

/// The next step of a cursor.
pub(crate) enum Turn {
    /// Nothing, until the log grows or the page from the store has arrived.
    Idle,
    /// The next events are not in memory. The caller fetches them.
    Fetch,
    /// The task is gone, and the client has all of it. The caller removes the cursor.
    Over,
    /// These bytes.
    Write(Write),
}

/// The text of messages, on one kind of transport and for one client.
pub(crate) trait Encoder {
    /// Returns whether the bytes of the log can be sent unchanged.
    fn is_as_is(&self) -> bool;
    /// Appends a control message.
    fn control(&self, message: &ControlMessage, into: &mut Vec<u8>);
    /// Appends an event, framed anew.
    fn event(
        &self,
        record: &EventRecord,
        positions: &dyn Fn() -> Vec<(TaskId, Position)>,
        into: &mut Vec<u8>,
    );
    /// Returns the greeting.
    fn established(&self, task: Option<Joined>) -> ControlMessage;
    /// Returns the framing of the events in the log.
    fn framing(&self) -> &Framing;
    /// Returns what a subscriber that lags may miss.
    fn skip(&self) -> SkipPolicy;
    /// Returns the client's permissions.
    fn access(&self) -> &Access;
    /// Returns the counters of gaps and resets.
    fn counters(&self) -> &Counters;
}

/// The progress of a connection's writes, and the bytes that wait for its socket.
pub(crate) struct Writer {
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
    pending: Option<Box<Pending>>,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            blocked: true,
            broken: false,
            watched: false,
            aborted: false,
            progress: 0,
            delivered: 0,
            pending: None,
        }
    }
}

impl Writer {
    /// Returns the next write of a cursor. The caller passes the result of each write to
    /// [`commit`](Self::commit) before it asks again.
    pub(crate) fn next(
        &self,
        subs: &mut Subscriptions,
        key: usize,
        (topic, view): (&Topic, &mut View),
        encoder: &impl Encoder,
    ) -> Turn {
        debug_assert!(self.pending.is_none(), "waiting bytes are written first");
        if let Some(write) = open(subs, key, (topic, &mut *view), encoder) {
            return Turn::Write(write);
        }
        let Some(sub) = subs.get_mut(key) else {
            return Turn::Idle;
        };
        let skip = match sub.source {
            Source::Task(_) => encoder.skip(),
            Source::Inbox(_) => SkipPolicy::NEVER,
        };
        let mut write = Write::of(key, Unsent::After(*sub.reader.cursor()));
        match sub.reader.next(topic, view, skip, !sub.stays()) {
            Next::CaughtUp | Next::Page(false) => return Turn::Idle,
            Next::Page(true) => return Turn::Fetch,
            Next::Over => return Turn::Over,
            Next::Events { from, to } => write.events(subs, (from, to), view, encoder),
            Next::Merged { from, to } => write.merged(subs, (from, to), view, encoder),
            notice @ (Next::Gap(_) | Next::Reset(_) | Next::Begun) => {
                notices::of_reader(sub, topic, notice, encoder, &mut write.bytes);
                write.end_control();
                // Events are written in the same call as the notices before them. Another notice
                // waits for the next call, so that an interrupted write contains only one notice.
                if let Some(events) = sub.reader.events_along(topic, view, skip) {
                    write.events(subs, events, view, encoder);
                }
            }
        }
        Turn::Write(write)
    }

    /// Records how many bytes of a cursor's write the socket accepted. Moves the cursor behind each
    /// event that the client has, or that waits for the socket in part. Returns the number of
    /// events, and whether bytes are left.
    pub(crate) fn commit(
        &mut self,
        subs: &mut Subscriptions,
        write: Write,
        (offered, written): (usize, usize),
        view: &View,
        account: impl FnOnce() -> Account,
    ) -> (u64, Flow) {
        self.note(written);
        let key = write.key;
        let Commit {
            advance,
            events,
            rest,
        } = match subs.get(key) {
            Some(sub) => write.accepted(sub.reader.view(view), written),
            None => Commit::default(),
        };
        self.delivered += events;
        if let Some(sub) = subs.get_mut(key) {
            sub.reader.advance(advance);
        }
        if let Some((frame, partial)) = rest {
            self.pending().push_record(key, frame, partial);
        }
        let flow = if written == offered {
            Flow::Clear
        } else {
            self.blocked = true;
            self.pending_control(
                &write.bytes[written.min(write.control)..write.control],
                account,
            );
            if let Some(pending) = &mut self.pending {
                pending.note_unsent(key, write.unsent);
            }
            if let Some(sub) = subs.get_mut(key) {
                // Drop the page, so that memory does not grow with the number of full sockets.
                sub.reader.drop_page();
            }
            subs.enqueue(key);
            Flow::Blocked
        };
        (events, flow)
    }

    /// Queues answers and notices for the socket, and charges them to the client.
    pub(crate) fn pending_control(&mut self, bytes: &[u8], account: impl FnOnce() -> Account) {
        if !bytes.is_empty() {
            self.pending().push_owned(bytes, account);
        }
    }

    /// Records how many of these answers and notices the socket accepted.
    pub(crate) fn commit_control(
        &mut self,
        bytes: &[u8],
        written: usize,
        account: impl FnOnce() -> Account,
    ) -> Flow {
        self.note(written);
        if written == bytes.len() {
            return Flow::Clear;
        }
        self.blocked = true;
        self.pending_control(&bytes[written..], account);
        Flow::Blocked
    }

    /// Returns the bytes that must be written before anything else.
    pub(crate) fn waiting(&self) -> Option<[IoSlice<'_>; 2]> {
        Some(self.pending.as_ref()?.slices())
    }

    /// Records how many of the waiting bytes the socket accepted.
    pub(crate) fn commit_waiting(&mut self, written: usize) -> Flow {
        self.note(written);
        let Some(pending) = &mut self.pending else {
            return Flow::Clear;
        };
        if written == pending.len() {
            self.pending = None;
            return Flow::Clear;
        }
        pending.consume(written);
        self.blocked = true;
        Flow::Blocked
    }

    fn note(&mut self, written: usize) {
        if written > 0 {
            self.progress = self.progress.wrapping_add(1);
        }
    }

    fn pending(&mut self) -> &mut Pending {
        self.pending.get_or_insert_default()
    }

    /// Returns whether bytes wait for the socket.
    pub(crate) fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    /// Takes the messages that were sent before the greeting.
    pub(crate) fn take_early(&mut self) -> Option<Vec<u8>> {
        Some(self.pending.take()?.into_owned())
    }

    /// Returns the number of bytes of answers and notices that wait for the socket.
    pub(crate) fn waiting_answers(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.owned())
    }

    /// Returns whether the account that pays for the waiting answers, or all accounts together, hold
    /// more than they may.
    pub(crate) fn is_over(&self) -> bool {
        let pending = self.pending.as_ref();
        pending.is_some_and(|pending| pending.is_over())
    }

    /// Forgets which waiting bytes belong to a cursor, because the cursor is gone.
    pub(crate) fn disown(&mut self, key: usize) {
        if let Some(pending) = &mut self.pending {
            pending.disown(key);
        }
    }

    /// Sets the cursor whose bytes are waiting back to what the client has really received. Returns
    /// `true` if there is such a cursor. The waiting bytes must then be discarded, because the
    /// cursor will deliver them again.
    pub(crate) fn rewind(&mut self, subs: &mut Subscriptions) -> bool {
        let unsent = self.pending.as_mut().and_then(|p| p.take_unsent());
        let Some((key, unsent)) = unsent else {
            return false;
        };
        let Some(sub) = subs.get_mut(key) else {
            return false;
        };
        match unsent {
            Unsent::Opening(opening) => sub.reopen(opening),
            Unsent::After(cursor) => sub.reader.set_cursor(cursor),
            Unsent::Record => sub.reader.retreat(1),
        }
        true
    }
}

/// Opens a cursor: it joins the log, and is valid from here on. Returns the announcement, which is
/// written alone. Its client has received either all or nothing of it.
fn open(
    subs: &mut Subscriptions,
    key: usize,
    (topic, view): (&Topic, &mut View),
    encoder: &impl Encoder,
) -> Option<Write> {
    let opening = subs.take_opening(key)?;
    let sub = subs.get_mut(key)?;
    let mut bytes = Vec::new();
    notices::open(sub, topic, &opening, encoder, &mut bytes);
    topic.fill(view, sub.reader.cursor().next_offset());
    if bytes.is_empty() {
        return None;
    }
    let mut write = Write::of(key, Unsent::Opening(opening));
    write.bytes = bytes;
    write.end_control();
    Some(write)
}

/// Returns the client's position in each task that it subscribed to by name, once it has received
/// this record of this cursor. Everything before the cursors has been written before this record,
/// because nothing is written past a message that waits for the socket.
fn positions_with(
    subs: &Subscriptions,
    key: usize,
    record: &EventRecord,
) -> Vec<(TaskId, Position)> {
    let position_of = |(at, sub): (usize, &Sub)| {
        let Source::Task(task) = &sub.source else {
            return None;
        };
        let position = if at == key {
            record.position()
        } else if let Start::After(position) = sub.kept(task).start {
            position
        } else {
            // The client has not heard of the subscription yet, and asks for it again.
            return None;
        };
        Some((task.id().clone(), position))
    };
    let named = subs.iter().filter(|(_, sub)| sub.explicit);
    named.filter_map(position_of).collect()
}
