//! A sealed sequence of records.

use std::sync::{Arc, Weak};

use crate::lock::{Lock, place};

use tidings_protocol::{Epoch, EventClass, EventType, TaskId, Timestamp};

/// The data about a record in addition to its bytes.
#[derive(Debug, Clone)]
pub(crate) struct RecordMeta {
    /// Where the record's bytes end within the chunk; it starts where the one before ends.
    pub(crate) end: u32,
    /// Bytes of transport framing in front of the JSON text.
    pub(crate) frame_header_len: u8,
    /// True for an `output_delta` of the same output as the record before.
    pub(crate) continues: bool,
    /// True for a `log` that ends a stall. Leaving it out would change a subscriber's state.
    pub(crate) ends_stall: bool,
    /// The `data` object, relative to the start of the JSON text.
    pub(crate) data: (u32, u32),
    pub(crate) event_type: EventType,
    pub(crate) timestamp: Timestamp,
}

/// Sealed, immutable, contiguous records: header, text, header, text, …
///
/// Readers hold chunks by `Arc`, and write from them to a socket without a lock. A publisher
/// therefore never waits for a system call.
#[derive(Debug)]
pub struct Chunk {
    pub(crate) task: Option<TaskId>,
    pub(crate) epoch: Epoch,
    pub(crate) first: u64,
    pub(crate) bytes: Box<[u8]>,
    pub(crate) records: Box<[RecordMeta]>,
    /// The first offset that the one record stands for, if it is a merged one.
    pub(crate) merged_from: Option<u64>,
    copies: Lock<Vec<Copied>, place::Leaf>,
}

/// The copied frame of one record. A reader may still hold it.
#[derive(Debug)]
struct Copied {
    index: usize,
    frame: Weak<[u8]>,
}

impl Chunk {
    pub(crate) fn new(
        task: Option<TaskId>,
        epoch: Epoch,
        first: u64,
        bytes: Box<[u8]>,
        records: Box<[RecordMeta]>,
    ) -> Self {
        Self {
            task,
            epoch,
            first,
            bytes,
            records,
            merged_from: None,
            copies: Lock::default(),
        }
    }

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

    /// Whether a subscriber that lags may miss a record.
    pub(crate) fn may_drop(&self, index: usize) -> bool {
        self.class(index) == EventClass::Droppable && !self.records[index].ends_stall
    }

    /// Bytes from the record at `from` to the end of the record at `to`, both offsets inside.
    pub fn frames(&self, from: u64, to: u64) -> &[u8] {
        &self.bytes[self.start_of(self.index_of(from))..self.end_of(self.index_of(to))]
    }

    /// The first offset in the chunk.
    pub fn first_offset(&self) -> u64 {
        self.first
    }

    /// The last offset in the chunk.
    pub fn last_offset(&self) -> u64 {
        self.last()
    }

    /// Returns the number of whole records in the first `written` bytes after the start of `from`.
    /// Also returns the number of bytes of the next record.
    ///
    /// A writer uses it to turn the number of bytes that a socket took into a cursor.
    pub fn whole_records(&self, from: u64, written: usize) -> (u64, usize) {
        let first = self.index_of(from);
        let start = self.start_of(first);
        let target = start + written;
        // Most writes take everything, so check the end before searching.
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

    /// Returns a copy of one record's frame, to finish a record that a socket took only in part.
    ///
    /// Without the copy, the chunk would stay in memory until the socket has room again, long
    /// after retention. Callers that need the same record at the same time share one copy.
    /// Thousands of sockets of the same size are full at the same record.
    pub fn copy_of(&self, offset: u64) -> Arc<[u8]> {
        let index = self.index_of(offset);
        let mut copies = self.copies.lock();
        let known = copies.iter().find(|known| known.index == index);
        if let Some(frame) = known.and_then(|known| known.frame.upgrade()) {
            return frame;
        }
        let frame: Arc<[u8]> = self.frame(index).into();
        // Remove frames without a holder. Their entries would take memory.
        copies.retain(|known| known.frame.strong_count() > 0);
        copies.push(Copied {
            index,
            frame: Arc::downgrade(&frame),
        });
        frame
    }

    /// Creates one chunk with the records of all given chunks, which follow each other.
    pub(crate) fn merge(parts: &[Arc<Chunk>]) -> Chunk {
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
        Chunk::new(
            parts[0].task.clone(),
            parts[0].epoch.clone(),
            parts[0].first,
            merged_bytes.into_boxed_slice(),
            merged_records.into_boxed_slice(),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Chunk, Epoch, EventType, RecordMeta, Timestamp};

    #[test]
    fn a_copy_is_shared_while_somebody_has_it_and_forgotten_after() {
        let record = |end| RecordMeta {
            end,
            frame_header_len: 0,
            continues: false,
            ends_stall: false,
            data: (0, 0),
            event_type: EventType::new("step").unwrap(),
            timestamp: Timestamp::default(),
        };
        let epoch = Epoch::new("e").unwrap();
        let records = Box::new([record(3), record(5)]);
        let chunk = Chunk::new(None, epoch, 7, b"onetw".as_slice().into(), records);
        let first = chunk.copy_of(7);
        assert_eq!(&*first, b"one");
        assert!(Arc::ptr_eq(&first, &chunk.copy_of(7)));
        drop(first);
        let second = chunk.copy_of(8);
        assert_eq!(&*second, b"tw");
        assert_eq!(chunk.copies.lock().len(), 1, "the first is gone");
        assert_eq!(&*chunk.copy_of(7), b"one");
        assert!(Arc::ptr_eq(&second, &chunk.copy_of(8)));
    }
}
