//! What the writer knows of each task without asking the engine.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use tidings_bus::protocol::{Epoch, Offset, TaskId, TaskSnapshot, Timestamp};

/// A task, as far as its newest commit.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Stands for it in keys.
    pub(crate) number: u64,
    pub(crate) epoch: Epoch,
    /// The oldest offset that is there; `next` when none is.
    pub(crate) first: u64,
    /// The offset that is accepted next.
    pub(crate) next: u64,
    /// Bytes of the events from `first` on, near enough: what is trimmed counts
    /// with the average.
    pub(crate) bytes: u64,
    /// When its newest event came, and whether that was the task's end.
    pub(crate) touched: Timestamp,
    pub(crate) ended: bool,
    /// Bytes of the state in its row.
    pub(crate) row_bytes: u64,
    /// What was written since its row was.
    pub(crate) tail: Option<Tail>,
}

/// Events that a task's row does not count in.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    /// The state with them.
    pub(crate) snapshot: Arc<TaskSnapshot>,
}

impl Entry {
    pub(crate) fn events(&self) -> u64 {
        self.next - self.first
    }

    /// How many of the oldest events hold about so many bytes.
    pub(crate) fn events_in(&self, bytes: u64) -> u64 {
        let average = (self.bytes / self.events().max(1)).max(1);
        bytes.div_ceil(average).min(self.events())
    }

    /// Forgets events before `first`; gives the bytes that go.
    pub(crate) fn forget(&mut self, first: u64) -> u64 {
        let first = first.clamp(self.first, self.next);
        let gone = first - self.first;
        let bytes = if first == self.next {
            self.bytes
        } else {
            self.bytes / self.events().max(1) * gone
        };
        self.first = first;
        self.bytes -= bytes;
        bytes
    }

    pub(crate) fn first_offset(&self) -> Offset {
        Offset::new(self.first).unwrap_or(Offset::MAX)
    }

    pub(crate) fn next_offset(&self) -> Offset {
        Offset::new(self.next).unwrap_or(Offset::MAX)
    }
}

impl Index {
    /// Ids of up to `limit` tasks that begin with `prefix`, after `after`.
    pub(crate) fn list(&self, prefix: &str, after: Option<&TaskId>, limit: usize) -> Vec<TaskId> {
        let start = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        let tasks = self.tasks.range::<str, _>((start, Bound::Unbounded));
        let ids = tasks.map(|(task_id, _)| task_id);
        ids.take_while(|task_id| task_id.as_str().starts_with(prefix))
            .take(limit)
            .cloned()
            .collect()
    }

    /// Up to `limit` tasks in the order of their ids, after `after`.
    pub(crate) fn page<T>(
        &self,
        after: Option<&TaskId>,
        limit: usize,
        look: impl Fn(&TaskId, &Entry) -> T,
    ) -> Vec<T> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = self
            .tasks
            .range::<TaskId, _>((start, Bound::Unbounded))
            .take(limit);
        page.map(|(task_id, entry)| look(task_id, entry)).collect()
    }
}

/// All tasks.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) tasks: BTreeMap<TaskId, Entry>,
    /// The number that the next new task gets. Never one that is in use, also
    /// by events that have yet to be deleted.
    pub(crate) next_number: u64,
    /// Bytes of events over all tasks.
    pub(crate) bytes: u64,
    /// Commits since the store was made.
    pub(crate) changes: u64,
}
