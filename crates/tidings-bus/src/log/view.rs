//! A log at one moment, as a reader sees it without the log's lock.

use std::sync::Arc;

use tidings_protocol::{Epoch, EventType, Merger, Offset, ResetReason, TaskSnapshot};

use super::{Chunk, EventRecord, Framing, Run};

/// A consistent view of a topic: its head, its oldest retained offset, and the requested chunks
/// between them.
///
/// A view is filled under the log's lock for a few instructions, and read without the lock.
/// Readers share one view one after the other, because most of them need the same last chunk.
#[derive(Debug, Default)]
pub struct View {
    /// The oldest readable offset, and the oldest offset in memory. The events between them must
    /// be fetched.
    pub(crate) first: u64,
    pub(crate) hot: u64,
    pub(crate) head: u64,
    /// The distance from this view's head to the log's head, for a page from the store.
    pub(crate) ahead: u64,
    pub(crate) generation: u32,
    /// How many times the log took over another epoch while it had no events.
    pub(crate) naming: u16,
    /// The reason why the generation before it ended.
    pub(crate) reset: ResetReason,
    pub(crate) chunks: Vec<Arc<Chunk>>,
}

impl View {
    /// Returns the log's newest offset when the view was filled.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Returns the oldest retained offset when the view was filled.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Drops the chunks of the log.
    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
    }

    /// Returns the chunk that contains `offset`, and its place in the list.
    fn find(&self, offset: u64) -> Option<(usize, &Arc<Chunk>)> {
        // This is nearly always the last chunk.
        let last = self.chunks.len().checked_sub(1)?;
        if self.chunks[last].first <= offset {
            return (offset <= self.head).then(|| (last, &self.chunks[last]));
        }
        let at = self.chunks.partition_point(|chunk| chunk.last() < offset);
        self.chunks
            .get(at)
            .filter(|chunk| chunk.first <= offset)
            .map(|chunk| (at, chunk))
    }

    /// Returns the chunks from the one that contains `offset` to the newest.
    pub fn chunks_from(&self, offset: u64) -> &[Arc<Chunk>] {
        self.find(offset).map_or(&[], |(at, _)| &self.chunks[at..])
    }

    /// Returns whether a subscriber that lags may miss the event at `offset`.
    pub(crate) fn may_drop(&self, offset: u64) -> bool {
        let found = self.find(offset);
        found.is_some_and(|(_, chunk)| chunk.may_drop(chunk.index_of(offset)))
    }

    /// Returns whether the types of the events at `offset` and after it allow merging.
    pub(crate) fn may_merge(&self, offset: u64) -> bool {
        let meta = |offset| {
            let (_, chunk) = self.find(offset)?;
            Some(&chunk.records[chunk.index_of(offset)])
        };
        let (Some(first), Some(next)) = (meta(offset), meta(offset + 1)) else {
            return false;
        };
        match next.event_type {
            EventType::OutputDelta => next.continues,
            EventType::ProgressUpdate | EventType::ChildrenUpdate => {
                first.event_type == next.event_type
            }
            _ => false,
        }
    }

    /// Merges the events from `from` up to `to`, as far as this preserves the state. Returns
    /// `None` if the view does not contain them. Returns the event itself if it cannot be
    /// merged.
    pub fn merge(&self, from: u64, to: u64, framing: &Framing) -> Option<EventRecord> {
        let first = self.record(from)?;
        let Some(mut merger) = first.decode().ok().as_ref().and_then(Merger::begin) else {
            return Some(first);
        };
        let mut last = None;
        for offset in from + 1..=to {
            let Some(record) = self.record(offset) else {
                break;
            };
            if !record.decode().is_ok_and(|event| merger.push(&event)) {
                break;
            }
            last = Some(record);
        }
        match last {
            Some(last) => last.merged(&merger.finish(), framing),
            None => Some(first),
        }
    }

    /// Returns the events from `from` to `to` that the view contains, chunk by chunk.
    pub(crate) fn runs(&self, from: u64, to: u64) -> impl Iterator<Item = Run> {
        let chunks = self.chunks_from(from).iter();
        chunks
            .take_while(move |chunk| chunk.first <= to)
            .map(move |chunk| Run::new(chunk, from.max(chunk.first), to.min(chunk.last())))
    }

    /// Returns one event of the view.
    pub fn record(&self, offset: u64) -> Option<EventRecord> {
        self.find(offset)
            .map(|(_, chunk)| EventRecord::new(Arc::clone(chunk), offset))
    }
}

/// The state of a log when a subscriber joins, with the task's state at that moment.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The log's epoch.
    pub epoch: Epoch,
    /// The log's newest offset.
    pub offset: Offset,
    /// The task's state at that offset. `None` for an inbox.
    pub snapshot: Option<Arc<TaskSnapshot>>,
}
