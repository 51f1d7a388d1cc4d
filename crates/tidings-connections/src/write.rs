//! Writes to the socket: bytes of the log unchanged, events framed anew, and waiting bytes.

use std::io::{self, IoSlice};
use std::sync::atomic::Ordering;

use tidings_bus::watch::Start;
use tidings_bus::{Chunk, EventRecord, View};
use tidings_protocol::{Position, TaskId};

use crate::connection::Connection;
use crate::outbound::{Flow, Outbound};
use crate::subscriptions::{Source, Sub};

/// The most slices of the log in one system call.
const MAX_SLICES: usize = 16;

/// The bytes that are framed at a time if the bytes of the log cannot be sent unchanged.
const REFRAME_BYTES: usize = 32 * 1024;

impl Connection {
    /// Writes notices, and then the events that follow the cursor.
    pub(crate) fn write_events(
        &self,
        out: &mut Outbound,
        key: usize,
        notices: Vec<u8>,
        view: &View,
        (from, to): (u64, u64),
    ) -> Flow {
        self.with_view(out, key, view, |out, view| {
            if self.writes_as_is() {
                self.write_from_log(out, key, &notices, view, from, to)
            } else {
                self.write_reframed(out, key, notices, view, from, to)
            }
        })
    }

    /// Calls the writer with the page of a cursor if it has one, and with the log otherwise.
    fn with_view(
        &self,
        out: &mut Outbound,
        key: usize,
        view: &View,
        write: impl FnOnce(&mut Outbound, &View) -> Flow,
    ) -> Flow {
        let page = out.subs.get_mut(key).and_then(|sub| sub.reader.lend_page());
        let flow = write(out, page.as_ref().unwrap_or(view));
        if let Some(sub) = out.subs.get_mut(key) {
            sub.reader.return_page(page);
        }
        flow
    }

    /// Writes notices and then the log's own bytes, in one system call. This is the usual case.
    fn write_from_log(
        &self,
        out: &mut Outbound,
        key: usize,
        notices: &[u8],
        view: &View,
        from: u64,
        to: u64,
    ) -> Flow {
        let chunks = view.chunks_from(from);
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut count = 0;
        let mut offered = notices.len();
        if !notices.is_empty() {
            slices[0] = IoSlice::new(notices);
            count = 1;
        }
        for chunk in chunks {
            if count == MAX_SLICES || chunk.first_offset() > to {
                break;
            }
            let (first, last) = within(chunk, from, to);
            let frames = chunk.frames(first, last);
            offered += frames.len();
            slices[count] = IoSlice::new(frames);
            count += 1;
        }
        let written = self.try_write(out, &slices[..count]);
        if written < notices.len() {
            self.queue(out, &notices[written..]);
            return self.block(out);
        }
        let mut left = written - notices.len();
        let mut delivered = 0;
        let mut rest = None;
        for chunk in chunks {
            if chunk.first_offset() > to || left == 0 {
                break;
            }
            let (first, last) = within(chunk, from, to);
            let (whole, partial) = chunk.whole_records(first, left);
            let whole = whole.min(last - first + 1);
            delivered += whole;
            if first + whole <= last {
                if partial > 0 {
                    rest = Some((chunk, first + whole, partial));
                    delivered += 1;
                }
                break;
            }
            left -= chunk.frames(first, last).len();
        }
        if let Some(sub) = out.subs.get_mut(key) {
            sub.reader.advance(delivered);
        }
        if let Some((chunk, offset, partial)) = rest {
            out.pending()
                .push_record(key, chunk.copy_of(offset), partial);
        }
        self.count_delivered(out, delivered);
        if written < offered {
            self.block(out)
        } else {
            Flow::Clear
        }
    }

    /// Frames events anew, a bounded amount at a time, and writes them.
    ///
    /// If the socket accepts only a part of a frame, the rest of this frame waits. The frames after
    /// it are made again later. The cursor therefore never lies behind the written bytes, and a
    /// client that resumes receives nothing twice.
    fn write_reframed(
        &self,
        out: &mut Outbound,
        key: usize,
        mut bytes: Vec<u8>,
        view: &View,
        from: u64,
        to: u64,
    ) -> Flow {
        let notices = bytes.len();
        let mut ends = Vec::new();
        for offset in from..=to {
            let Some(record) = view.record(offset) else {
                break;
            };
            self.frame(out, key, &record, &mut bytes);
            ends.push(bytes.len());
            if bytes.len() >= REFRAME_BYTES {
                break;
            }
        }
        let written = self.try_write(out, &[IoSlice::new(&bytes)]);
        if written < notices {
            self.queue(out, &bytes[written..notices]);
            return self.block(out);
        }
        let whole = ends.partition_point(|end| *end <= written);
        let begun = whole.checked_sub(1).map_or(notices, |last| ends[last]);
        let partial = written - begun;
        let delivered = (whole + usize::from(partial > 0)) as u64;
        if let Some(sub) = out.subs.get_mut(key) {
            sub.reader.advance(delivered);
        }
        if partial > 0 {
            let frame = bytes[begun..ends[whole]].into();
            out.pending().push_record(key, frame, partial);
        }
        self.count_delivered(out, delivered);
        if written < bytes.len() {
            self.block(out)
        } else {
            Flow::Clear
        }
    }

    /// Frames one event of a cursor.
    fn frame(&self, out: &Outbound, key: usize, record: &EventRecord, into: &mut Vec<u8>) {
        let positions = || positions_with(out, key, record);
        self.wire().event_among(record, &positions, into);
    }

    /// Writes one event that stands for several, for a subscriber that lags.
    pub(crate) fn write_merged(
        &self,
        out: &mut Outbound,
        key: usize,
        view: &View,
        (from, to): (u64, u64),
    ) -> Flow {
        self.with_view(out, key, view, |out, view| {
            let mut bytes = Vec::new();
            let framing = self.manager().bus.framing();
            if let Some(merged) = view.merge(from, to, framing) {
                if self.writes_as_is() {
                    bytes.extend_from_slice(merged.frame());
                } else {
                    self.frame(out, key, &merged, &mut bytes);
                }
                if let Some(sub) = out.subs.get_mut(key) {
                    sub.reader.advance(merged.offset().get() + 1 - from);
                }
                self.count_delivered(out, 1);
            }
            self.write_owned(out, &bytes)
        })
    }

    /// Queues answers and notices for the socket, and charges them to the client.
    fn queue(&self, out: &mut Outbound, bytes: &[u8]) {
        let pending = out.pending.get_or_insert_default();
        pending.push_owned(bytes, || self.account(&out.access));
    }

    /// Writes answers and notices. Bytes that the socket does not accept are queued.
    pub(crate) fn write_control(&self, out: &mut Outbound, bytes: &[u8]) {
        if out.blocked || out.pending.is_some() {
            self.queue(out, bytes);
        } else {
            self.write_owned(out, bytes);
        }
    }

    pub(crate) fn write_owned(&self, out: &mut Outbound, bytes: &[u8]) -> Flow {
        let written = self.try_write(out, &[IoSlice::new(bytes)]);
        if written == bytes.len() {
            return Flow::Clear;
        }
        self.queue(out, &bytes[written..]);
        self.block(out)
    }

    fn count_delivered(&self, out: &mut Outbound, events: u64) {
        if events > 0 {
            out.delivered += events;
            self.counters().delivered(events);
        }
    }

    /// Tries to write once. After an error nothing more is written, and the connection's task ends
    /// the connection in the usual way.
    fn try_write(&self, out: &mut Outbound, slices: &[IoSlice<'_>]) -> usize {
        loop {
            match self.socket().try_write(slices) {
                Ok(written) => {
                    if written > 0 {
                        out.progress = out.progress.wrapping_add(1);
                        self.manager()
                            .counters
                            .bytes_out
                            .fetch_add(written as u64, Ordering::Relaxed);
                    }
                    return written;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return 0,
                Err(error) => {
                    tracing::debug!(client_id = %self.client_id(), %error, "a write failed");
                    out.broken = true;
                    return 0;
                }
            }
        }
    }

    fn block(&self, out: &mut Outbound) -> Flow {
        out.blocked = true;
        if !out.watched {
            out.watched = true;
            self.watch_progress(out.progress);
        }
        out.wake();
        Flow::Blocked
    }

    /// Writes the waiting bytes. Returns `true` if none are left.
    pub(crate) fn flush_pending(&self, out: &mut Outbound) -> bool {
        let Some(mut pending) = out.pending.take() else {
            return true;
        };
        let offered = pending.len();
        let written = self.try_write(out, &pending.slices());
        if written == offered {
            return true;
        }
        pending.consume(written);
        out.pending = Some(pending);
        self.block(out);
        false
    }
}

/// Returns the client's position in each task that it subscribed to by name, once it has received
/// this record of this cursor. Everything before the cursors has been written before this record,
/// because nothing is written past a message that waits for the socket.
fn positions_with(out: &Outbound, key: usize, record: &EventRecord) -> Vec<(TaskId, Position)> {
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
    let named = out.subs.iter().filter(|(_, sub)| sub.explicit);
    named.filter_map(position_of).collect()
}

/// Returns the part of a chunk between two offsets.
fn within(chunk: &Chunk, from: u64, to: u64) -> (u64, u64) {
    (from.max(chunk.first_offset()), to.min(chunk.last_offset()))
}
