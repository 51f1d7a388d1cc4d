//! The bytes of one write: control messages, and then events.

use std::io::IoSlice;
use std::sync::Arc;

use tidings_bus::{Chunk, EventRecord, View};

use super::pending::Unsent;
use super::{Encoder, REFRAME_BYTES, positions_with};
use crate::subscriptions::Subscriptions;

/// The most slices of the log in one system call.
const MAX_SLICES: usize = 16;

/// The next write of a cursor.
pub(crate) struct Write {
    pub(super) key: usize,
    /// Control messages, and then events that were framed anew.
    pub(super) bytes: Vec<u8>,
    /// The number of these bytes that are control messages.
    pub(super) control: usize,
    pub(super) body: Body,
    /// Where the cursor starts again if its client receives the control messages only in part.
    pub(super) unsent: Unsent,
}

/// The events of a write.
pub(super) enum Body {
    None,
    /// The log's own bytes of these offsets follow.
    Log {
        from: u64,
        to: u64,
    },
    /// The frames among the bytes, by their ends.
    Frames(Vec<usize>),
    /// One event that stands for this many offsets. If the socket accepts a part of it, the rest
    /// waits like a control message.
    Merged(u64),
}

/// The part of a write that a socket accepted.
#[derive(Default)]
pub(super) struct Commit {
    /// The number of offsets that the cursor moves.
    pub(super) advance: u64,
    /// The number of events.
    pub(super) events: u64,
    /// The event that was accepted in part, and the number of its bytes that were accepted.
    pub(super) rest: Option<(Arc<[u8]>, usize)>,
}

/// The slices to offer to a socket.
pub(crate) struct Offer<'a> {
    slices: [IoSlice<'a>; MAX_SLICES],
    count: usize,
    len: usize,
}

impl<'a> Offer<'a> {
    fn push(&mut self, bytes: &'a [u8]) {
        self.slices[self.count] = IoSlice::new(bytes);
        self.count += 1;
        self.len += bytes.len();
    }

    pub(crate) fn slices(&self) -> &[IoSlice<'a>] {
        &self.slices[..self.count]
    }

    /// Returns the number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Write {
    pub(super) fn of(key: usize, unsent: Unsent) -> Self {
        Self {
            key,
            bytes: Vec::new(),
            control: 0,
            body: Body::None,
            unsent,
        }
    }

    /// Returns the key of the cursor.
    pub(crate) fn key(&self) -> usize {
        self.key
    }

    /// Ends the control messages.
    pub(super) fn end_control(&mut self) {
        self.control = self.bytes.len();
    }

    /// Adds events. The log's bytes are sent unchanged if the transport allows it. This is the usual
    /// case.
    pub(super) fn events(
        &mut self,
        subs: &Subscriptions,
        (from, to): (u64, u64),
        view: &View,
        encoder: &impl Encoder,
    ) {
        if encoder.is_as_is() {
            self.body = Body::Log { from, to };
            return;
        }
        let mut ends = Vec::new();
        for offset in from..=to {
            let Some(record) = self.view_of(subs, view).record(offset) else {
                break;
            };
            self.frame(subs, &record, encoder);
            ends.push(self.bytes.len());
            if self.bytes.len() >= REFRAME_BYTES {
                break;
            }
        }
        self.body = Body::Frames(ends);
    }

    /// Adds one event that stands for several, for a subscriber that lags.
    pub(super) fn merged(
        &mut self,
        subs: &Subscriptions,
        (from, to): (u64, u64),
        view: &View,
        encoder: &impl Encoder,
    ) {
        let merged = self.view_of(subs, view).merge(from, to, encoder.framing());
        let Some(merged) = merged else {
            return self.events(subs, (from, to), view, encoder);
        };
        if encoder.is_as_is() {
            self.bytes.extend_from_slice(merged.frame());
        } else {
            self.frame(subs, &merged, encoder);
        }
        self.end_control();
        self.body = Body::Merged(merged.offset().get() + 1 - from);
    }

    /// Returns the page of the cursor if it has one, and the log otherwise.
    fn view_of<'a>(&self, subs: &'a Subscriptions, view: &'a View) -> &'a View {
        let sub = subs.get(self.key);
        sub.map_or(view, |sub| sub.reader.view(view))
    }

    fn frame(&mut self, subs: &Subscriptions, record: &EventRecord, encoder: &impl Encoder) {
        let positions = || positions_with(subs, self.key, record);
        encoder.event(record, &positions, &mut self.bytes);
    }

    /// Returns the bytes to offer to the socket, from the cursor's page or the log.
    pub(crate) fn offer<'a>(&'a self, view: &'a View) -> Offer<'a> {
        let mut offer = Offer {
            slices: [IoSlice::new(&[]); MAX_SLICES],
            count: 0,
            len: 0,
        };
        if !self.bytes.is_empty() {
            offer.push(&self.bytes);
        }
        if let Body::Log { from, to } = self.body {
            for chunk in view.chunks_from(from) {
                if offer.count == MAX_SLICES || chunk.first_offset() > to {
                    break;
                }
                let (first, last) = within(chunk, from, to);
                offer.push(chunk.frames(first, last));
            }
        }
        offer
    }

    /// Returns what the client has after `written` bytes.
    pub(super) fn accepted(&self, view: &View, written: usize) -> Commit {
        match &self.body {
            Body::None => Commit::default(),
            Body::Merged(offsets) => Commit {
                advance: *offsets,
                events: 1,
                rest: None,
            },
            _ if written < self.control => Commit::default(),
            Body::Log { from, to } => {
                accepted_of_log(view, (*from, *to), written - self.bytes.len())
            }
            Body::Frames(ends) => self.accepted_frames(ends, written),
        }
    }

    /// If the socket accepts only a part of a frame, the rest of this frame waits. The frames after
    /// it are made again later. The cursor therefore never lies behind the written bytes, and a
    /// client that resumes receives nothing twice.
    fn accepted_frames(&self, ends: &[usize], written: usize) -> Commit {
        let whole = ends.partition_point(|end| *end <= written);
        let begun = whole.checked_sub(1).map_or(self.control, |last| ends[last]);
        let partial = written - begun;
        let events = (whole + usize::from(partial > 0)) as u64;
        Commit {
            advance: events,
            events,
            rest: (partial > 0).then(|| (self.bytes[begun..ends[whole]].into(), partial)),
        }
    }
}

/// Returns what the client has after `left` bytes of the log from `from` on.
fn accepted_of_log(view: &View, (from, to): (u64, u64), mut left: usize) -> Commit {
    let mut commit = Commit::default();
    for chunk in view.chunks_from(from) {
        if chunk.first_offset() > to || left == 0 {
            break;
        }
        let (first, last) = within(chunk, from, to);
        let (whole, partial) = chunk.whole_records(first, left);
        let whole = whole.min(last - first + 1);
        commit.events += whole;
        if first + whole <= last {
            if partial > 0 {
                commit.rest = Some((chunk.copy_of(first + whole), partial));
                commit.events += 1;
            }
            break;
        }
        left -= chunk.frames(first, last).len();
    }
    commit.advance = commit.events;
    commit
}

/// Returns the part of a chunk between two offsets.
fn within(chunk: &Chunk, from: u64, to: u64) -> (u64, u64) {
    (from.max(chunk.first_offset()), to.min(chunk.last_offset()))
}
