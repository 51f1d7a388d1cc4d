//! What a reader sees of a log at one moment, without its lock.

use std::sync::Arc;

use tidings_protocol::{Epoch, EventType, Merger, Offset, ResetReason, TaskSnapshot};

use super::{Chunk, EventRecord, Framing, Run};
use crate::deliver::cursor::Cursor;
use crate::deliver::topic::Topic;

/// A consistent picture of a topic: its head, its oldest retained offset, and
/// the chunks between that a reader asked for.
///
/// Filled under the log's lock for a few instructions; read without it. Reused
/// from one reader to the next, since most want the same last chunk.
#[derive(Debug, Default)]
pub struct View {
    /// The oldest offset that can be read, and the oldest in memory: between
    /// them lies what has to be fetched.
    pub(crate) first: u64,
    pub(crate) hot: u64,
    pub(crate) head: u64,
    /// How far the log's head is past this one: of a page from the store.
    pub(crate) ahead: u64,
    pub(crate) generation: u32,
    /// How often the log's epoch was taken over while it had no events.
    pub(crate) naming: u16,
    /// Why the generation before it ended.
    pub(crate) reset: ResetReason,
    pub(crate) chunks: Vec<Arc<Chunk>>,
}

impl View {
    /// The log's newest offset when the view was taken.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Whether a cursor's next event is here.
    pub fn covers(&self, cursor: &Cursor) -> bool {
        self.generation == cursor.generation()
            && (self.first..=self.head).contains(&cursor.next_offset())
            && !self.chunks.is_empty()
    }

    /// The one chunk in which all lies that a cursor has before it, if it does.
    pub(crate) fn whole(&self, cursor: &Cursor) -> Option<Arc<Chunk>> {
        let newest = self.chunks.last()?;
        let all = newest.first..=newest.last();
        let next = cursor.next_offset();
        (self.generation == cursor.generation()
            && self.naming == cursor.naming()
            && newest.last() == self.head
            && all.contains(&next))
        .then(|| Arc::clone(newest))
    }

    /// The oldest retained offset when the view was taken.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Lets go of what it holds of a log.
    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
    }

    /// Makes sure that the chunks from `from` on are here (or gone from the log).
    pub(crate) fn reach(&mut self, topic: &Topic, from: u64) {
        let here = self.chunks.first().map_or(u64::MAX, |chunk| chunk.first);
        if from.max(self.hot) < here && from <= self.head {
            topic.fill(self, from);
        }
    }

    /// The chunk that holds `offset`, and its place in the list.
    fn find(&self, offset: u64) -> Option<(usize, &Arc<Chunk>)> {
        // Nearly always the last.
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

    /// The chunks from the one that holds `offset` to the newest.
    pub fn chunks_from(&self, offset: u64) -> &[Arc<Chunk>] {
        self.find(offset).map_or(&[], |(at, _)| &self.chunks[at..])
    }

    /// Whether a subscriber that lags may miss the event at `offset`.
    pub(crate) fn may_drop(&self, offset: u64) -> bool {
        let found = self.find(offset);
        found.is_some_and(|(_, chunk)| chunk.may_drop(chunk.index_of(offset)))
    }

    /// Whether the events at `offset` and after it may be merged, by their types.
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
            EventType::ProgressUpdate => first.event_type == EventType::ProgressUpdate,
            _ => false,
        }
    }

    /// Merges the events from `from` on, up to `to`, as far as that keeps the state;
    /// none if they are not here. The event itself if it cannot be merged.
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

    /// The events from `from` to `to`, as far as they are here, chunk by chunk.
    pub(crate) fn runs(&self, from: u64, to: u64) -> impl Iterator<Item = Run> {
        let chunks = self.chunks_from(from).iter();
        chunks
            .take_while(move |chunk| chunk.first <= to)
            .map(move |chunk| Run::new(chunk, from.max(chunk.first), to.min(chunk.last())))
    }

    /// One event of the view.
    pub fn record(&self, offset: u64) -> Option<EventRecord> {
        self.find(offset)
            .map(|(_, chunk)| EventRecord::new(Arc::clone(chunk), offset))
    }
}

/// What a subscriber is told when it joins: where the log stands, and the task's state there.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The log's epoch.
    pub epoch: Epoch,
    /// The log's newest offset.
    pub offset: Offset,
    /// The task's state at that offset; none for an inbox.
    pub snapshot: Option<Arc<TaskSnapshot>>,
}
