//! A task's log: records with offsets, written once, removed from the front.
//!
//! The log is plain data under its owner's lock. New records go to a *tail* that grows in
//! place. A reader *seals* the tail into an immutable [`Chunk`] and keeps the chunk by `Arc`.
//! Under load, a seal collects all events since the last seal, and a backlog leaves in one
//! write from contiguous bytes. At rest, every event is its own chunk. The log merges runs of
//! small chunks, which copies each byte once more.

mod chunk;
mod extent;
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
use extent::Extent;
pub use outputs::{
    BlockPlan, OUTPUT_BLOCK, OutputChange, OutputChanges, OutputExtent, OutputLimits, OutputText,
    blocks_in, blocks_of, cut_out, kept_part,
};
pub(crate) use outputs::{Extents, Outputs, changes_outputs};
pub use record::EventRecord;
pub(crate) use record::Run;
pub use view::{Standing, View};

/// The size at which a chunk is sealed, and up to which small chunks are merged. A larger chunk
/// needs fewer slices per lagging reader. A smaller chunk holds fewer old records when only its
/// last record is retained.
pub(crate) const CHUNK_BYTES: usize = 16 * 1024;

/// The number of small chunks in a row that are merged into one.
const MERGE_RUN: usize = 32;

/// Bytes of a record in addition to its text: its `RecordMeta` and a share of its chunk.
pub(crate) const RECORD_OVERHEAD: usize = 64;

/// Bytes of a chunk in addition to its records, with its place in the log.
const CHUNK_OVERHEAD: usize = size_of::<Chunk>() + 24;

/// A snapshot is charged in steps of this many bytes.
const SNAPSHOT_STEP: usize = 256;

/// Writes a transport's frame header for a text of the given length.
///
/// The bus writes the header in front of each record, so that a connection can write straight
/// from the log. The bus itself knows no transport. The program that creates the bus chooses
/// the header (for WebSocket: `tidings_transport::WEBSOCKET`).
#[derive(Clone, Copy)]
pub struct Framing {
    /// The name of the framing. A writer with another framing frames each event anew.
    pub name: &'static str,
    /// Appends the header for `payload_len` bytes of text.
    pub write_header: fn(payload_len: usize, out: &mut Vec<u8>),
}

impl Framing {
    /// Writes no header. Use it for a bus without sockets.
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

/// The limits of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// The most records that are kept (≥ 1). Adjacent `output_delta`s of one output count as
    /// one.
    pub max_events: u64,
    /// The most bytes that are kept, with the bookkeeping of the records. The newest record is
    /// always kept.
    pub max_bytes: usize,
}

/// The text of a record to append, and the properties that the log needs.
pub(crate) struct Appended {
    pub(crate) event_type: EventType,
    pub(crate) timestamp: Timestamp,
    /// The place of `data`, relative to the start of the text.
    pub(crate) data: (usize, usize),
    /// The output of an `output_delta`. `None` for other events.
    pub(crate) output: Option<ItemId>,
}

/// The log itself.
#[derive(Debug)]
pub(crate) struct Log {
    task: Option<TaskId>,
    epoch: Epoch,
    /// Counts epoch changes, so that a cursor compares a number and not a text.
    generation: u32,
    /// The reason why the last generation ended.
    reset_reason: ResetReason,
    /// Counts how often the log, still without events, took over the epoch in which another node
    /// has begun the task. Cursors compare it.
    naming: u16,
    extent: Extent,
    sealed: VecDeque<Arc<Chunk>>,
    /// The number of small chunks in a row at the newest end, and their bytes. The log updates
    /// these numbers with each change, because a read of every chunk would miss the CPU cache.
    run: usize,
    run_bytes: usize,
    tail_bytes: Vec<u8>,
    tail_records: Vec<RecordMeta>,
    /// Bytes of the records `first..=head`, overhead included.
    retained: usize,
    /// The number of events as retention counts them. A run of deltas of one output counts as
    /// one.
    units: u64,
    /// The output of the newest record, if that record is an `output_delta`.
    last_output: Option<ItemId>,
    /// True if the producer has sent no sign of life since a `task_stalled`.
    stalled: bool,
    /// The whole outputs of the task.
    pub(crate) outputs: Outputs,
    /// The task's state at `head`. `None` for an inbox.
    pub(crate) snapshot: Option<Arc<TaskSnapshot>>,
    /// Set when the log left the registry. A holder of the log must look the task up again.
    pub(crate) closed: bool,
    /// The bytes of the log, and the account that pays for them. `None` for a page of a log.
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
            extent: Extent::at(1),
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
            snapshot,
            closed: false,
            tally: None,
        }
    }

    /// Charges the bytes of the log to `account` from now on.
    pub(crate) fn charge_to(&mut self, account: &Account) {
        match &mut self.tally {
            Some(tally) => tally.move_to(account),
            None => self.tally = Some(account.tally()),
        }
        self.recount();
    }

    /// Charges the current bytes of the log. The caller calls it after every change.
    pub(crate) fn recount(&mut self) {
        let Some(tally) = &mut self.tally else { return };
        let retained = self.retained as u64;
        let spare = self.tail_records.capacity() - self.tail_records.len();
        let records = spare * size_of::<RecordMeta>();
        let bytes = self.tail_bytes.capacity() - self.tail_bytes.len();
        let chunks = self.sealed.len() * CHUNK_OVERHEAD;
        // In a task with few events, these buffers are most of its memory.
        let buffers = (bytes + records + chunks) as u64;
        if self.task.is_none() {
            tally.set(Kind::Inbox, retained);
            return;
        }
        let task = if self.closed { 0 } else { TASK_BYTES as u64 };
        let declared = self.extent.head() > 0;
        tally.set(Kind::Events, retained + buffers);
        tally.set(Kind::Output, self.outputs.bytes() as u64);
        tally.set(Kind::Task, if declared { task } else { 0 });
        tally.set(Kind::Undeclared, if declared { 0 } else { task });
        let known = match &self.snapshot {
            Some(snapshot) if !self.closed => snapshot.known_bytes(),
            _ => Some(0),
        };
        // Just after a removal the size is not known. The old size then counts.
        if let Some(bytes) = known {
            // Charge in steps, so that the length of each message does not change the charge.
            // The first step is part of the task's own bytes.
            let steps = bytes.saturating_sub(1) / SNAPSHOT_STEP;
            tally.set(Kind::Snapshot, (steps * SNAPSHOT_STEP) as u64);
        }
    }

    /// Continues the log after `head`, without any event in memory.
    pub(crate) fn resume(&mut self, epoch: Epoch, next: u64, snapshot: TaskSnapshot) {
        self.epoch = epoch;
        self.extent.resume(next, self.extent.stored_first());
        self.snapshot = Some(Arc::new(snapshot));
    }

    /// Continues the log where a store is, without any event in memory.
    pub(crate) fn resume_cold(&mut self, snapshot: Arc<TaskSnapshot>, stored_first: Offset) {
        self.epoch = snapshot.epoch.clone();
        let next = snapshot.offset.get() + 1;
        self.extent.resume(next, Some(stored_first.get()));
        self.snapshot = Some(snapshot);
    }

    /// Creates a log of a few events from the middle of another log.
    pub(crate) fn part(of: &Log, from: u64) -> Self {
        let mut part = Self::new(None, of.epoch.clone());
        part.task = of.task.clone();
        part.generation = of.generation;
        part.naming = of.naming;
        part.extent = Extent::at(from);
        // This part does not know the earlier events.
        part.stalled = true;
        part
    }

    /// Records the oldest offset that the store has.
    pub(crate) fn set_stored_first(&mut self, offset: u64) {
        self.extent.set_stored_first(offset);
    }

    /// Returns the oldest offset that can be read, from memory or from the store.
    pub(crate) fn oldest(&self) -> u64 {
        self.extent.oldest()
    }

    /// Records that the store has everything up to `offset`, and no more. Returns the bytes that
    /// waited before.
    pub(crate) fn set_saved(&mut self, offset: u64) -> usize {
        let waiting = self.bytes_after(offset);
        self.extent.set_saved(offset, waiting)
    }

    /// Returns the bytes that the store does not have yet.
    pub(crate) fn waiting(&self) -> usize {
        self.extent.waiting()
    }

    /// Returns the bytes of the records after `offset`, overhead included.
    fn bytes_after(&self, offset: u64) -> usize {
        if offset >= self.head() {
            return 0;
        }
        let next = self.first().max(offset + 1);
        let start = self.sealed.partition_point(|chunk| chunk.last() < next);
        let sealed = self.sealed.range(start..).map(|chunk| {
            let from = next.max(chunk.first);
            let records = chunk.records.len() - chunk.index_of(from);
            chunk.frames(from, chunk.last()).len() + records * RECORD_OVERHEAD
        });
        let in_tail = self.head() + 1 - self.tail_records.len() as u64;
        let skipped = usize::try_from(next.saturating_sub(in_tail)).unwrap_or(usize::MAX);
        let before = match skipped.checked_sub(1) {
            Some(last) => self.tail_records.get(last).map_or(0, |record| record.end),
            None => 0,
        };
        let records = self.tail_records.len().saturating_sub(skipped);
        let tail = self.tail_bytes.len() - before as usize + records * RECORD_OVERHEAD;
        sealed.sum::<usize>() + if records == 0 { 0 } else { tail }
    }

    /// Returns the newest offset that the store has. Returns the head if nothing waits.
    pub(crate) fn saved(&self) -> u64 {
        self.extent.saved()
    }

    pub(crate) fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) fn first(&self) -> u64 {
        self.extent.first()
    }

    pub(crate) fn head(&self) -> u64 {
        self.extent.head()
    }

    pub(crate) fn head_offset(&self) -> Offset {
        // Offsets stay far below 2^53. A million events per second take 285 years to reach it.
        Offset::new(self.head()).unwrap_or(Offset::MAX)
    }

    pub(crate) fn retained_events(&self) -> u64 {
        self.extent.len()
    }

    /// Appends one record, with the text that `write` produces. Returns its offset.
    pub(crate) fn append(
        &mut self,
        framing: &Framing,
        write: impl FnOnce(u64, &mut Vec<u8>) -> Appended,
        scratch: &mut Vec<u8>,
    ) -> u64 {
        let offset = self.head() + 1;
        // The header's length depends on the text's length, so `write` fills a separate buffer
        // first. One short copy is cheaper than moving the text within the tail.
        scratch.clear();
        let appended = write(offset, scratch);
        let before = self.tail_bytes.len();
        (framing.write_header)(scratch.len(), &mut self.tail_bytes);
        let header = self.tail_bytes.len() - before;
        self.tail_bytes.extend_from_slice(scratch);
        let size = self.tail_bytes.len() - before;
        let continues = appended.output.is_some()
            && appended.output == self.last_output
            && self.extent.len() > 0;
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
        self.extent.push(size + RECORD_OVERHEAD);
        self.retained += size + RECORD_OVERHEAD;
        if self.tail_bytes.len() >= CHUNK_BYTES {
            self.seal();
        }
        offset
    }

    /// Tracks whether the task is stalled. Returns true for a `log` that ends a stall.
    fn note_stall(&mut self, event_type: &EventType) -> bool {
        match event_type {
            EventType::TaskStalled => self.stalled = true,
            // Watchers or other tasks send these events, so they are no sign of the producer's
            // life.
            EventType::CommandRequested
            | EventType::InputProvided
            | EventType::InputExpired
            | EventType::ChildrenUpdate => {}
            _ => {
                let ended = std::mem::take(&mut self.stalled);
                return ended && *event_type == EventType::Log;
            }
        }
        false
    }

    /// Drops the oldest records from memory until the limits hold. Returns their number.
    pub(crate) fn trim(&mut self, limits: &LogLimits) -> u64 {
        let before = self.first();
        while self.extent.len() > 1
            && self.extent.may_drop()
            && (self.units > limits.max_events || self.retained > limits.max_bytes)
        {
            self.drop_first();
        }
        self.first() - before
    }

    /// Drops every record that may go. Returns their number.
    pub(crate) fn drop_saved(&mut self) -> u64 {
        if self.saved() >= self.head() {
            return self.trim_all();
        }
        let before = self.first();
        while self.extent.may_drop() {
            self.drop_first();
        }
        self.first() - before
    }

    /// Drops every record. The offsets continue.
    pub(crate) fn trim_all(&mut self) -> u64 {
        self.sealed.clear();
        self.run = 0;
        self.run_bytes = 0;
        self.tail_bytes = Vec::new();
        self.tail_records = Vec::new();
        self.retained = 0;
        self.units = 0;
        self.extent.drop_all()
    }

    /// Starts again with a new epoch, at offset 1, without records.
    pub(crate) fn reset(&mut self, epoch: Epoch, reason: ResetReason) {
        self.reset_reason = reason;
        self.generation = self.generation.wrapping_add(1);
        self.begin(epoch);
    }

    /// Takes over the epoch in which another node has begun a task that has no events here. No
    /// position becomes void. All watchers are before the first event: they are told the epoch,
    /// and then get that event.
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
        self.extent.resume(1, None);
        self.last_output = None;
        self.stalled = false;
        self.outputs.clear();
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
            let index = front.index_of(self.first());
            self.retained -= front.frame(index).len() + RECORD_OVERHEAD;
            if front.last() == self.first() {
                if self.run == self.sealed.len() {
                    self.run -= 1;
                    self.run_bytes -= front.bytes.len();
                }
                self.sealed.pop_front();
            }
        }
        self.extent.drop_first();
        let next = match self.sealed.front() {
            Some(front) => front.records.get(front.index_of(self.first())),
            None => self.tail_records.first(),
        };
        // A run of deltas counts until its last delta has gone.
        if !next.is_some_and(|next| next.continues) {
            self.units -= 1;
        }
    }

    /// Makes the records of the tail readable.
    pub(crate) fn seal(&mut self) {
        if self.tail_records.is_empty() {
            return;
        }
        let first = self.head() + 1 - self.tail_records.len() as u64;
        // Keep a small buffer for the next event. A large one would stay in every task that was
        // busy once, so the chunk takes it, without a copy.
        let (bytes, records) = if self.tail_bytes.capacity() > 1024 {
            let records = std::mem::take(&mut self.tail_records);
            (std::mem::take(&mut self.tail_bytes).into(), records.into())
        } else {
            let records = self.tail_records.drain(..).collect();
            let bytes = self.tail_bytes.as_slice().into();
            self.tail_bytes.clear();
            (bytes, records)
        };
        let chunk = Chunk::new(self.task.clone(), self.epoch.clone(), first, bytes, records);
        self.push_chunk(chunk);
    }

    /// Adds a chunk. Merges the newest chunks if enough small ones follow each other.
    ///
    /// The run ends at a chunk that is already large, so each byte is merged once.
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

    /// Collects the sealed chunks with offsets from `from` on, oldest first.
    pub(crate) fn collect(&self, from: u64, into: &mut Vec<Arc<Chunk>>) {
        into.clear();
        // The newest chunk is nearly always enough, and the others stay out of the CPU cache.
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
