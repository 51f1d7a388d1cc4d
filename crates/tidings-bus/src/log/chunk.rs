//! A run of records that will not change any more.

use tidings_protocol::{Epoch, EventClass, EventType, TaskId, Timestamp};

/// What the log keeps about a record beside its bytes.
#[derive(Debug, Clone)]
pub(crate) struct RecordMeta {
    /// Where the record's bytes end within the chunk; it starts where the one before ends.
    pub(crate) end: u32,
    /// Bytes of transport framing in front of the JSON text.
    pub(crate) frame_header_len: u8,
    /// The `data` object, relative to the start of the JSON text.
    pub(crate) data: (u32, u32),
    pub(crate) event_type: EventType,
    pub(crate) timestamp: Timestamp,
}

/// Sealed, immutable, contiguous records: header, text, header, text, …
///
/// Readers hold chunks by `Arc` and need no lock while they write from them to
/// a socket, so a publisher never waits for a system call.
#[derive(Debug)]
pub struct Chunk {
    pub(crate) task: Option<TaskId>,
    pub(crate) epoch: Epoch,
    pub(crate) first: u64,
    pub(crate) bytes: Box<[u8]>,
    pub(crate) records: Box<[RecordMeta]>,
}

impl Chunk {
    /// The offset of the last record.
    pub(crate) fn last(&self) -> u64 {
        self.first + self.records.len() as u64 - 1
    }

    /// The position of an offset within the chunk; the caller knows it is inside.
    pub(crate) fn index_of(&self, offset: u64) -> usize {
        debug_assert!(offset >= self.first && offset <= self.last());
        // A chunk holds at most CHUNK_BYTES / 1 records, far below usize on any target.
        usize::try_from(offset - self.first).unwrap_or(usize::MAX)
    }

    /// Where the record at `index` begins in the chunk's bytes.
    pub(crate) fn start_of(&self, index: usize) -> usize {
        if index == 0 {
            0
        } else {
            self.records[index - 1].end as usize
        }
    }

    /// Where the record at `index` ends in the chunk's bytes.
    pub(crate) fn end_of(&self, index: usize) -> usize {
        self.records[index].end as usize
    }

    /// Header and text of one record.
    pub(crate) fn frame(&self, index: usize) -> &[u8] {
        &self.bytes[self.start_of(index)..self.end_of(index)]
    }

    /// The JSON text of one record.
    pub(crate) fn text(&self, index: usize) -> &[u8] {
        &self.frame(index)[usize::from(self.records[index].frame_header_len)..]
    }

    pub(crate) fn class(&self, index: usize) -> EventClass {
        self.records[index].event_type.class()
    }

    /// Bytes from the record at `from` to the end of the record at `to`, both offsets inside.
    pub fn frames(&self, from: u64, to: u64) -> &[u8] {
        &self.bytes[self.start_of(self.index_of(from))..self.end_of(self.index_of(to))]
    }

    /// All bytes of the chunk.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the frame of one record lies within [`bytes`](Self::bytes).
    pub fn frame_range(&self, offset: u64) -> std::ops::Range<usize> {
        let index = self.index_of(offset);
        self.start_of(index)..self.end_of(index)
    }

    /// The first offset in the chunk.
    pub fn first_offset(&self) -> u64 {
        self.first
    }

    /// The last offset in the chunk.
    pub fn last_offset(&self) -> u64 {
        self.last()
    }

    /// How many whole records lie within the first `written` bytes after the
    /// start of `from`, and how many bytes of the next one.
    ///
    /// This is how a writer turns "the socket took n bytes" into a cursor.
    pub fn whole_records(&self, from: u64, written: usize) -> (u64, usize) {
        let first = self.index_of(from);
        let start = self.start_of(first);
        let target = start + written;
        // Most writes take everything, so look at the end before searching.
        let ends = &self.records[first..];
        let whole = match ends.last() {
            Some(last) if last.end as usize <= target => ends.len(),
            _ => ends.partition_point(|record| record.end as usize <= target),
        };
        let boundary = if whole == 0 {
            start
        } else {
            ends[whole - 1].end as usize
        };
        (whole as u64, target - boundary)
    }

    /// A chunk with this record and no other.
    pub(crate) fn only(&self, offset: u64) -> Chunk {
        let frame = &self.bytes[self.frame_range(offset)];
        let record = RecordMeta {
            // A record's length fits where its end within a chunk does.
            end: u32::try_from(frame.len()).unwrap_or(u32::MAX),
            ..self.records[self.index_of(offset)].clone()
        };
        Chunk {
            task: self.task.clone(),
            epoch: self.epoch.clone(),
            first: offset,
            bytes: frame.into(),
            records: Box::new([record]),
        }
    }

    /// One chunk with the records of all of these, which follow each other.
    pub(crate) fn merge(parts: &[std::sync::Arc<Chunk>]) -> Chunk {
        let bytes: usize = parts.iter().map(|part| part.bytes.len()).sum();
        let records: usize = parts.iter().map(|part| part.records.len()).sum();
        let mut merged_bytes = Vec::with_capacity(bytes);
        let mut merged_records = Vec::with_capacity(records);
        for part in parts {
            let base = u32::try_from(merged_bytes.len()).unwrap_or(u32::MAX);
            merged_bytes.extend_from_slice(&part.bytes);
            merged_records.extend(part.records.iter().map(|record| RecordMeta {
                end: record.end + base,
                ..record.clone()
            }));
        }
        Chunk {
            task: parts[0].task.clone(),
            epoch: parts[0].epoch.clone(),
            first: parts[0].first,
            bytes: merged_bytes.into_boxed_slice(),
            records: merged_records.into_boxed_slice(),
        }
    }
}
