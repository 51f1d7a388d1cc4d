//! Changes on their way into one commit of the engine.

use std::sync::Arc;

use fjall::{OwnedWriteBatch, PersistMode};
use tidings_bus::protocol::{Offset, TaskId, TaskSnapshot};
use tidings_bus::{Append, StoreError};

use crate::config::StoreConfig;
use crate::defaults;
use crate::engine::{Engine, event_key};
use crate::error::Failure;
use crate::index::{Entry, Index, Tail};
use crate::recovery;
use crate::rows::{CHANGES, Era, TaskRow};
use crate::store::Open;

/// The index runs ahead of the engine until the commit: when that fails, both
/// are read anew.
pub(crate) struct Batch<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) era: &'a Era,
    pub(crate) config: &'a StoreConfig,
    pub(crate) index: &'a mut Index,
    pub(crate) writes: OwnedWriteBatch,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(open: &'a Open, config: &'a StoreConfig, index: &'a mut Index) -> Self {
        Self {
            engine: &open.engine,
            era: &open.era,
            config,
            writes: open.engine.db.batch(),
            index,
        }
    }

    /// Adds events, all or none.
    pub(crate) fn append(&mut self, append: &Append) -> Result<(), StoreError> {
        let known = self.index.tasks.get(&append.task_id);
        let expected = known.map_or(Offset::FIRST, Entry::next_offset);
        let other_epoch = known.is_some_and(|entry| entry.epoch != append.epoch);
        let mut next = expected;
        for event in &append.events {
            if other_epoch || event.offset != next {
                return Err(StoreError::Conflict {
                    expected: next,
                    got: event.offset,
                });
            }
            next = next.next();
        }
        let new = known.is_none();
        if new {
            self.index.tasks.insert(
                append.task_id.clone(),
                Entry {
                    number: self.index.next_number,
                    epoch: append.epoch.clone(),
                    first: expected.get(),
                    next: expected.get(),
                    bytes: 0,
                    touched: Default::default(),
                    ended: false,
                    row_bytes: 0,
                    tail: None,
                },
            );
            self.index.next_number += 1;
        }
        let Some(entry) = self.index.tasks.get_mut(&append.task_id) else {
            return Ok(());
        };
        let mut size = 0;
        for event in &append.events {
            let key = event_key(entry.number, event.offset.get());
            self.writes.insert(&self.engine.events, key, &*event.json);
            size += event.json.len();
        }
        if let Some(rules) = &append.rules {
            let name = append.task_id.as_str();
            if rules.is_empty() {
                self.writes.remove(&self.engine.rules, name);
            } else {
                let json = serde_json::to_vec(&**rules)
                    .map_err(|error| StoreError::Unavailable(error.into()))?;
                self.writes.insert(&self.engine.rules, name, json);
            }
        }
        let size = size as u64;
        entry.next = next.get();
        entry.bytes += size;
        entry.touched = append.snapshot.updated_at.unwrap_or(entry.touched);
        entry.ended = append.snapshot.status.is_terminal();
        self.index.bytes += size;
        let (events, bytes, marked) = match &entry.tail {
            Some(tail) => (tail.events, tail.bytes, true),
            None => (0, 0, false),
        };
        entry.tail = Some(Tail {
            events: events + append.events.len() as u64,
            bytes: bytes + size,
            snapshot: Arc::clone(&append.snapshot),
        });
        let due = entry.tail.as_ref().is_some_and(|tail| {
            tail.events >= defaults::EVENTS_A_STATE && tail.bytes >= entry.row_bytes
        });
        let over = entry.bytes > self.config.max_task_bytes;
        if over {
            // More than must be, so that it is rare.
            let excess = entry.bytes - self.config.max_task_bytes * 7 / 8;
            let first = entry.first + entry.events_in(excess);
            self.trim(&append.task_id, first);
        }
        if new || due || entry_ended(self.index, &append.task_id) || over {
            self.write_state(&append.task_id)?;
        } else if !marked {
            self.writes
                .insert(&self.engine.tails, append.task_id.as_str(), "");
        }
        Ok(())
    }

    /// Has events before `first` deleted; the row is the caller's.
    fn trim(&mut self, task_id: &TaskId, first: u64) -> bool {
        let Some(entry) = self.index.tasks.get_mut(task_id) else {
            return false;
        };
        let from = entry.first;
        self.index.bytes -= entry.forget(first);
        if entry.first == from {
            return false;
        }
        self.writes.insert(
            &self.engine.garbage,
            event_key(entry.number, from),
            entry.first.to_be_bytes(),
        );
        true
    }

    /// Forgets events before `first`.
    pub(crate) fn trim_to(&mut self, task_id: &TaskId, first: u64) -> Result<(), StoreError> {
        if self.trim(task_id, first) {
            self.write_state(task_id)?;
        }
        Ok(())
    }

    /// Forgets a task.
    pub(crate) fn remove(&mut self, task_id: &TaskId) {
        self.trim(task_id, u64::MAX);
        if let Some(entry) = self.index.tasks.remove(task_id) {
            self.index.bytes -= entry.bytes;
            self.writes.remove(&self.engine.tasks, task_id.as_str());
            self.writes.remove(&self.engine.tails, task_id.as_str());
            self.writes.remove(&self.engine.rules, task_id.as_str());
        }
    }

    /// Keeps, or forgets, what is named.
    pub(crate) fn keep(&mut self, name: &str, value: Option<Vec<u8>>) {
        match value {
            Some(value) => self.writes.insert(&self.engine.kept, name, value),
            None => self.writes.remove(&self.engine.kept, name),
        }
    }

    /// Writes a task's row, with all events counted in.
    pub(crate) fn write_state(&mut self, task_id: &TaskId) -> Result<(), StoreError> {
        let Some(entry) = self.index.tasks.get_mut(task_id) else {
            return Ok(());
        };
        let snapshot = match entry.tail.take() {
            Some(tail) => tail.snapshot,
            None => match recovery::read_row(self.engine, self.era, task_id) {
                Ok(Some(row)) => Arc::new(row.snapshot),
                Ok(None) => return Ok(()),
                Err(damage) => return Err(StoreError::Unavailable(Box::new(damage))),
            },
        };
        let row = TaskRow::<&TaskSnapshot> {
            number: entry.number,
            era: self.era.number,
            first: entry.first,
            bytes: entry.bytes,
            snapshot: &snapshot,
        };
        let json =
            serde_json::to_vec(&row).map_err(|error| StoreError::Unavailable(error.into()))?;
        entry.row_bytes = json.len() as u64;
        self.writes
            .insert(&self.engine.tasks, task_id.as_str(), json);
        self.writes.remove(&self.engine.tails, task_id.as_str());
        Ok(())
    }

    /// What is to be written, to be given to [`commit`] when nobody is kept from
    /// the index any more.
    pub(crate) fn finish(mut self) -> OwnedWriteBatch {
        if !self.writes.is_empty() {
            self.index.changes += 1;
            let changes = self.index.changes.to_string();
            self.writes.insert(&self.engine.meta, CHANGES, changes);
        }
        self.writes
    }
}

/// Commits; nothing of it is there if that fails.
pub(crate) fn commit(writes: OwnedWriteBatch) -> Result<(), Failure> {
    if writes.is_empty() {
        return Ok(());
    }
    Ok(writes.durability(Some(PersistMode::Buffer)).commit()?)
}

fn entry_ended(index: &Index, task_id: &TaskId) -> bool {
    index.tasks.get(task_id).is_some_and(|entry| entry.ended)
}
