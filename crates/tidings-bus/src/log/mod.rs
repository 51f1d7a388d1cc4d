//! A task's log: records with offsets, laid down once, trimmed from the front.
//!
//! Plain data under its owner's lock. New records go to a *tail* that grows in
//! place; whoever reads *seals* the tail into an immutable [`Chunk`] and keeps
//! that by `Arc`. Under load a seal therefore collects everything published
//! since the last one, and a backlog leaves in one write from contiguous
//! bytes; at rest every event is its own chunk, and runs of small chunks are
//! merged (each byte is copied once more, never again).

mod chunk;
mod outputs;
mod record;
mod view;

use std::collections::VecDeque;
use std::sync::Arc;

use tidings_protocol::{
    Epoch, EventType, ItemId, Offset, ResetReason, TaskId, TaskSnapshot, Timestamp,
};

use crate::defaults::TASK_BYTES;
use crate::ledger::{Account, Kind, Tally};

pub use chunk::Chunk;
pub(crate) use chunk::RecordMeta;
pub use outputs::{
    BlockPlan, OUTPUT_BLOCK, OutputChange, OutputChanges, OutputExtent, OutputLimits, OutputText,
    blocks_in, blocks_of, cut_out, kept_part,
};
pub(crate) use outputs::{Extents, Outputs};
pub use record::EventRecord;
pub(crate) use record::Run;
pub use view::{Standing, View};

/// A chunk is sealed, and small chunks are merged, at this size. Large enough
/// that a lagging reader needs few slices, small enough that a chunk whose
/// last record is still retained holds little that is not.
pub(crate) const CHUNK_BYTES: usize = 16 * 1024;

/// So many small chunks in a row are merged into one.
const MERGE_RUN: usize = 32;

/// What a record costs beyond its bytes: its `RecordMeta` and a share of its chunk.
pub(crate) const RECORD_OVERHEAD: usize = 64;

/// A snapshot is charged in steps of so many bytes.
const SNAPSHOT_STEP: usize = 256;

/// Writes a transport's frame header for a text of the given length.
///
/// The bus lays it in front of each record so that a connection can write
/// straight from the log. The bus itself knows no transport: the header comes
/// from whoever builds the bus (for WebSocket: `tidings_transport::WEBSOCKET`).
#[derive(Clone, Copy)]
pub struct Framing {
    /// Tells one framing from another; a writer with another framing re-frames.
    pub name: &'static str,
    /// Appends the header for `payload_len` bytes of text.
    pub write_header: fn(payload_len: usize, out: &mut Vec<u8>),
}

impl Framing {
    /// No header at all: for a bus without sockets.
    pub const NONE: Framing = Framing {
        name: "none",
        write_header: |_, _| {},
    };
}

impl std::fmt::Debug for Framing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Framing").field(&self.name).finish()
    }
}

/// How much of one log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Records kept at most (≥ 1). Adjacent `output_delta`s of one output count as one.
    pub max_events: u64,
    /// Bytes kept at most, records' bookkeeping included; the newest record is always kept.
    pub max_bytes: usize,
}

/// Text of a record to append, and what is to be known about it.
pub(crate) struct Appended {
    pub(crate) event_type: EventType,
    pub(crate) timestamp: Timestamp,
    /// Where `data` lies, relative to the start of the text.
    pub(crate) data: (usize, usize),
    /// Of an `output_delta`: its output.
    pub(crate) output: Option<ItemId>,
}

/// The log itself.
#[derive(Debug)]
pub(crate) struct Log {
    task: Option<TaskId>,
    epoch: Epoch,
    /// Counts epoch changes, so that a cursor compares a number and not a text.
    generation: u32,
    /// Why the last one ended.
    reset_reason: ResetReason,
    /// Counts the times that the log, still without events, took over the epoch in
    /// which another node has begun the task. Cursors compare it.
    naming: u16,
    /// Oldest offset in memory; `head + 1` when there is none.
    first: u64,
    /// Oldest offset that the store has, where it has older ones than memory.
    stored_first: Option<u64>,
    head: u64,
    sealed: VecDeque<Arc<Chunk>>,
    /// How many of the newest chunks are small ones in a row, and their bytes:
    /// counted along, for to look at them again is a cache's miss each.
    run: usize,
    run_bytes: usize,
    tail_bytes: Vec<u8>,
    tail_records: Vec<RecordMeta>,
    /// Bytes of the records `first..=head`, overhead included.
    retained: usize,
    /// Events as retention counts them: a run of deltas of one output is one.
    units: u64,
    /// The output of the newest record, if that is an `output_delta`.
    last_output: Option<ItemId>,
    /// No sign of life has come from the producer since a `task_stalled`.
    stalled: bool,
    /// The task's outputs, whole.
    pub(crate) outputs: Outputs,
    /// What the store has, where it is written behind: what lies after it must
    /// stay until it has been handed over.
    saved: Option<u64>,
    /// Bytes of the records past what was saved, overhead included.
    waiting: usize,
    /// The task's state at `head`; none for an inbox.
    pub(crate) snapshot: Option<Arc<TaskSnapshot>>,
    /// Set when the log left the registry: whoever still holds it looks again.
    pub(crate) closed: bool,
    /// What the log holds, and whom it is charged to; none for a page of a log.
    tally: Option<Tally>,
}

impl Log {
    pub(crate) fn new(task: Option<TaskId>, epoch: Epoch) -> Self {
        let snapshot = task
            .clone()
            .map(|task_id| Arc::new(TaskSnapshot::new(task_id, epoch.clone())));
        Self {
            task,
            epoch,
            generation: 0,
            reset_reason: ResetReason::default(),
            naming: 0,
            first: 1,
            stored_first: None,
            head: 0,
            sealed: VecDeque::new(),
            run: 0,
            run_bytes: 0,
            tail_bytes: Vec::new(),
            tail_records: Vec::new(),
            retained: 0,
            units: 0,
            last_output: None,
            stalled: false,
            outputs: Outputs::default(),
            saved: None,
            waiting: 0,
            snapshot,
            closed: false,
            tally: None,
        }
    }

    /// Charges what the log holds to an account from here on.
    pub(crate) fn charge_to(&mut self, account: &Account) {
        match &mut self.tally {
            Some(tally) => tally.move_to(account),
            None => self.tally = Some(account.tally()),
        }
        self.recount();
    }

    /// Charges what the log holds now; called whenever that has changed.
    pub(crate) fn recount(&mut self) {
        let Some(tally) = &mut self.tally else { return };
        let retained = self.retained as u64;
        if self.task.is_none() {
            tally.set(Kind::Inbox, retained);
            return;
        }
        let task = if self.closed { 0 } else { TASK_BYTES as u64 };
        let declared = self.head > 0;
        tally.set(Kind::Events, retained);
        tally.set(Kind::Output, self.outputs.bytes() as u64);
        tally.set(Kind::Task, if declared { task } else { 0 });
        tally.set(Kind::Undeclared, if declared { 0 } else { task });
        let known = match &self.snapshot {
            Some(snapshot) if !self.closed => snapshot.known_bytes(),
            _ => Some(0),
        };
        // Not known just after something was taken out: then it counts as before.
        if let Some(bytes) = known {
            // In steps, so that a message's length does not change it all the
            // time; the first step is in the bytes of the task.
            let steps = bytes.saturating_sub(1) / SNAPSHOT_STEP;
            tally.set(Kind::Snapshot, (steps * SNAPSHOT_STEP) as u64);
        }
    }

    /// A log that goes on after `head`, of which nothing is in memory yet.
    pub(crate) fn resume(&mut self, epoch: Epoch, next: u64, snapshot: TaskSnapshot) {
        self.epoch = epoch;
        self.first = next;
        self.head = next - 1;
        self.snapshot = Some(Arc::new(snapshot));
    }

    /// Goes on where a store is: of its events nothing is in memory.
    pub(crate) fn resume_cold(&mut self, snapshot: Arc<TaskSnapshot>, stored_first: Offset) {
        self.epoch = snapshot.epoch.clone();
        self.head = snapshot.offset.get();
        self.first = self.head + 1;
        self.stored_first = Some(stored_first.get());
        self.saved = self.saved.map(|_| self.head);
        self.waiting = 0;
        self.snapshot = Some(snapshot);
    }

    /// A log of a few events from the middle of another.
    pub(crate) fn part(of: &Log, from: u64) -> Self {
        let mut part = Self::new(None, of.epoch.clone());
        part.task = of.task.clone();
        part.generation = of.generation;
        part.naming = of.naming;
        part.first = from;
        part.head = from - 1;
        // What came before is not known here.
        part.stalled = true;
        part
    }

    /// Notes what the store says is the oldest that it has.
    pub(crate) fn set_stored_first(&mut self, offset: u64) {
        self.stored_first = Some(offset);
    }

    /// The oldest offset that can be read, from memory or from the store.
    pub(crate) fn oldest(&self) -> u64 {
        self.stored_first
            .map_or(self.first, |stored| stored.min(self.first))
    }

    /// Notes that the store has everything up to `offset`, and no more. Returns the
    /// bytes that waited before.
    pub(crate) fn set_saved(&mut self, offset: u64) -> usize {
        self.saved = Some(offset);
        let waiting = self.bytes_after(offset);
        std::mem::replace(&mut self.waiting, waiting)
    }

    /// Returns the bytes that wait to be handed over.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns the bytes of the records after `offset`, overhead included.
    fn bytes_after(&self, offset: u64) -> usize {
        if offset >= self.head {
            return 0;
        }
        let next = self.first.max(offset + 1);
        let start = self.sealed.partition_point(|chunk| chunk.last() < next);
        let sealed = self.sealed.range(start..).map(|chunk| {
            let from = next.max(chunk.first);
            let records = chunk.records.len() - chunk.index_of(from);
            chunk.frames(from, chunk.last()).len() + records * RECORD_OVERHEAD
        });
        let in_tail = self.head + 1 - self.tail_records.len() as u64;
        let skipped = usize::try_from(next.saturating_sub(in_tail)).unwrap_or(usize::MAX);
        let before = match skipped.checked_sub(1) {
            Some(last) => self.tail_records.get(last).map_or(0, |record| record.end),
            None => 0,
        };
        let records = self.tail_records.len().saturating_sub(skipped);
        let tail = self.tail_bytes.len() - before as usize + records * RECORD_OVERHEAD;
        sealed.sum::<usize>() + if records == 0 { 0 } else { tail }
    }

    /// The newest offset that the store has; the head where nothing waits.
    pub(crate) fn saved(&self) -> u64 {
        self.saved.unwrap_or(self.head)
    }

    pub(crate) fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    pub(crate) fn head_offset(&self) -> Offset {
        // Offsets stay far below 2^53: at a million a second it takes 285 years.
        Offset::new(self.head).unwrap_or(Offset::MAX)
    }

    pub(crate) fn retained_events(&self) -> u64 {
        self.head + 1 - self.first
    }

    /// Appends one record whose text `write` lays down; gives its offset.
    pub(crate) fn append(
        &mut self,
        framing: &Framing,
        write: impl FnOnce(u64, &mut Vec<u8>) -> Appended,
        scratch: &mut Vec<u8>,
    ) -> u64 {
        let offset = self.head + 1;
        // The header's length depends on the text's, so the text is laid down
        // aside first: one short copy, against moving it within the tail.
        scratch.clear();
        let appended = write(offset, scratch);
        let before = self.tail_bytes.len();
        (framing.write_header)(scratch.len(), &mut self.tail_bytes);
        let header = self.tail_bytes.len() - before;
        self.tail_bytes.extend_from_slice(scratch);
        let size = self.tail_bytes.len() - before;
        let continues = appended.output.is_some()
            && appended.output == self.last_output
            && self.first <= self.head;
        self.last_output = appended.output;
        self.units += u64::from(!continues);
        let ends_stall = self.note_stall(&appended.event_type);
        self.tail_records.push(RecordMeta {
            end: narrow(self.tail_bytes.len()),
            frame_header_len: u8::try_from(header).unwrap_or(u8::MAX),
            continues,
            ends_stall,
            data: (narrow(appended.data.0), narrow(appended.data.1)),
            event_type: appended.event_type,
            timestamp: appended.timestamp,
        });
        self.head = offset;
        self.retained += size + RECORD_OVERHEAD;
        if self.saved.is_some() {
            self.waiting += size + RECORD_OVERHEAD;
        }
        if self.tail_bytes.len() >= CHUNK_BYTES {
            self.seal();
        }
        offset
    }

    /// Follows whether the task is stalled; true for a `log` that ends a stall.
    fn note_stall(&mut self, event_type: &EventType) -> bool {
        match event_type {
            EventType::TaskStalled => self.stalled = true,
            // They come from those who watch, and are no sign of the producer's life.
            EventType::CommandRequested | EventType::InputProvided | EventType::InputExpired => {}
            _ => {
                let ended = std::mem::take(&mut self.stalled);
                return ended && *event_type == EventType::Log;
            }
        }
        false
    }

    /// Drops records from memory, from the front, until the limits hold; gives how many went.
    pub(crate) fn trim(&mut self, limits: &LogLimits) -> u64 {
        let before = self.first;
        while self.first < self.head
            && self.first <= self.saved()
            && (self.units > limits.max_events || self.retained > limits.max_bytes)
        {
            self.drop_first();
        }
        self.first - before
    }

    /// Drops every record that need not stay; gives how many went.
    pub(crate) fn drop_saved(&mut self) -> u64 {
        if self.saved() >= self.head {
            return self.trim_all();
        }
        let before = self.first;
        while self.first <= self.saved() {
            self.drop_first();
        }
        self.first - before
    }

    /// Drops every record; offsets go on.
    pub(crate) fn trim_all(&mut self) -> u64 {
        let dropped = self.retained_events();
        self.sealed.clear();
        self.run = 0;
        self.run_bytes = 0;
        self.tail_bytes = Vec::new();
        self.tail_records = Vec::new();
        self.first = self.head + 1;
        self.retained = 0;
        self.units = 0;
        dropped
    }

    /// Starts over: a new epoch, offset 1 next, nothing retained.
    pub(crate) fn reset(&mut self, epoch: Epoch, reason: ResetReason) {
        self.reset_reason = reason;
        self.generation = self.generation.wrapping_add(1);
        self.begin(epoch);
    }

    /// Takes over the epoch in which another node has begun a task that has no
    /// events here. No position becomes void: whoever watches is before the first
    /// event, is told the epoch, and gets that event.
    pub(crate) fn adopt(&mut self, epoch: Epoch) {
        self.naming = self.naming.wrapping_add(1);
        self.begin(epoch);
    }

    pub(crate) fn naming(&self) -> u16 {
        self.naming
    }

    pub(crate) fn reset_reason(&self) -> ResetReason {
        self.reset_reason
    }

    fn begin(&mut self, epoch: Epoch) {
        self.trim_all();
        self.first = 1;
        self.stored_first = None;
        self.last_output = None;
        self.stalled = false;
        self.outputs.clear();
        self.head = 0;
        self.saved = self.saved.map(|_| 0);
        self.waiting = 0;
        self.snapshot = self
            .task
            .clone()
            .map(|task_id| Arc::new(TaskSnapshot::new(task_id, epoch.clone())));
        self.epoch = epoch;
    }

    fn drop_first(&mut self) {
        if self.sealed.is_empty() {
            self.seal();
        }
        if let Some(front) = self.sealed.front() {
            let index = front.index_of(self.first);
            self.retained -= front.frame(index).len() + RECORD_OVERHEAD;
            if front.last() == self.first {
                if self.run == self.sealed.len() {
                    self.run -= 1;
                    self.run_bytes -= front.bytes.len();
                }
                self.sealed.pop_front();
            }
        }
        self.first += 1;
        let next = match self.sealed.front() {
            Some(front) => front.records.get(front.index_of(self.first)),
            None => self.tail_records.first(),
        };
        // A run of deltas is counted until the last of it has gone.
        if !next.is_some_and(|next| next.continues) {
            self.units -= 1;
        }
    }

    /// Makes what is in the tail readable.
    pub(crate) fn seal(&mut self) {
        if self.tail_records.is_empty() {
            return;
        }
        let first = self.head + 1 - self.tail_records.len() as u64;
        let chunk = Chunk::new(
            self.task.clone(),
            self.epoch.clone(),
            first,
            self.tail_bytes.as_slice().into(),
            self.tail_records.drain(..).collect(),
        );
        // A small buffer is kept for the next event; a large one would be
        // memory at rest in every task that once was busy.
        self.tail_bytes.clear();
        if self.tail_bytes.capacity() > 1024 {
            self.tail_bytes = Vec::new();
            self.tail_records = Vec::new();
        }
        self.push_chunk(chunk);
    }

    /// Takes a chunk in, and merges the newest ones once there is a run of small ones.
    ///
    /// The run ends with a chunk that is large already, so each byte is merged once.
    fn push_chunk(&mut self, chunk: Chunk) {
        let bytes = chunk.bytes.len();
        let large = bytes >= CHUNK_BYTES / 2 || chunk.records.len() >= MERGE_RUN;
        self.sealed.push_back(Arc::new(chunk));
        if large {
            self.run = 0;
            self.run_bytes = 0;
            return;
        }
        self.run += 1;
        self.run_bytes += bytes;
        if self.run >= MERGE_RUN || (self.run > 1 && self.run_bytes >= CHUNK_BYTES) {
            let mut parts = self.sealed.split_off(self.sealed.len() - self.run);
            let merged = Chunk::merge(parts.make_contiguous());
            self.sealed.push_back(Arc::new(merged));
            self.run = 0;
            self.run_bytes = 0;
        }
    }

    /// Sealed chunks that hold offsets from `from` on, oldest first.
    pub(crate) fn collect(&self, from: u64, into: &mut Vec<Arc<Chunk>>) {
        into.clear();
        // Nearly always the newest is all, and the others stay out of the cache.
        match self.sealed.back() {
            Some(newest) if newest.first <= from => {
                into.extend((newest.last() >= from).then(|| Arc::clone(newest)));
            }
            _ => {
                let start = self.sealed.partition_point(|chunk| chunk.last() < from);
                into.extend(self.sealed.range(start..).cloned());
            }
        }
    }
}

/// A chunk is at most CHUNK_BYTES plus one record (≤ the message limit), so u32 holds any position.
pub(crate) fn narrow(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
