//! Changes on their way into one commit of the engine.

use std::sync::{Arc, MutexGuard};

use fjall::{OwnedWriteBatch, PersistMode};
use tidings_bus::protocol::{Offset, TaskId, TaskSnapshot};
use tidings_bus::{Append, OutputChanges, StoreError};

use crate::config::StoreConfig;
use crate::defaults;
use crate::engine::{Engine, event_key};
use crate::error::Failure;
use crate::index::{Entry, Index, Tail};
use crate::outputs::Touched;
use crate::recovery;
use crate::rows::{CHANGES, Era, TaskRow};
use crate::store::{Open, Shared};

/// The index runs ahead of the engine until the commit: when that fails, both
/// are read anew.
///
/// The index is locked for a few instructions at a time, and never while the disk
/// is read or a state is encoded: readers and the bus look things up in it.
pub(crate) struct Batch<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) era: &'a Era,
    pub(crate) config: &'a StoreConfig,
    shared: &'a Shared,
    pub(crate) writes: OwnedWriteBatch,
    /// Outputs as they will be with this batch, as far as it changes them.
    outputs: Touched,
    /// Events that were added to it.
    pub(crate) events: u64,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(open: &'a Open, config: &'a StoreConfig, shared: &'a Shared) -> Self {
        Self {
            engine: &open.engine,
            era: &open.era,
            config,
            writes: open.engine.db.batch(),
            shared,
            outputs: Touched::default(),
            events: 0,
        }
    }

    /// Locks the index. The guard must not be held while the disk is read.
    pub(crate) fn index(&self) -> MutexGuard<'a, Index> {
        self.shared.lock_index()
    }

    /// Adds events, all or none.
    pub(crate) fn append(&mut self, append: &Append) -> Result<(), StoreError> {
        let mut index = self.index();
        let known = index.tasks.get(&append.task_id);
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
            let number = index.next_number;
            index.next_number += 1;
            index.tasks.insert(
                append.task_id.clone(),
                Entry {
                    number,
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
        }
        let Some(entry) = index.tasks.get_mut(&append.task_id) else {
            return Ok(());
        };
        self.events += append.events.len() as u64;
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
        let number = entry.number;
        entry.next = next.get();
        entry.bytes += size;
        entry.touched = append.snapshot.updated_at.unwrap_or(entry.touched);
        entry.ended = append.snapshot.status.is_terminal();
        let ended = entry.ended;
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
        // More than must be, so that it is rare.
        let over = (entry.bytes > self.config.max_task_bytes).then(|| {
            let excess = entry.bytes - self.config.max_task_bytes * 7 / 8;
            entry.first + entry.events_in(excess)
        });
        index.bytes += size;
        drop(index);
        if let Some(changes) = &append.outputs {
            let written = self
                .outputs
                .write(self.engine, &mut self.writes, number, changes);
            written.map_err(|damage| StoreError::Unavailable(Box::new(damage)))?;
        }
        if let Some(first) = over {
            self.trim(&append.task_id, first);
        }
        if new || due || ended || over.is_some() {
            self.write_state(&append.task_id)?;
        } else if !marked {
            self.writes
                .insert(&self.engine.tails, append.task_id.as_str(), "");
        }
        Ok(())
    }

    /// Has events before `first` deleted; the row is the caller's.
    fn trim(&mut self, task_id: &TaskId, first: u64) -> bool {
        let mut index = self.index();
        let Some(entry) = index.tasks.get_mut(task_id) else {
            return false;
        };
        let from = entry.first;
        let gone = entry.forget(first);
        let (number, first) = (entry.number, entry.first);
        index.bytes -= gone;
        drop(index);
        if first == from {
            return false;
        }
        self.writes.insert(
            &self.engine.garbage,
            event_key(number, from),
            first.to_be_bytes(),
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
    pub(crate) fn remove(&mut self, task_id: &TaskId) -> Result<(), StoreError> {
        self.trim(task_id, u64::MAX);
        let mut index = self.index();
        let removed = index.tasks.remove(task_id);
        index.bytes -= removed.as_ref().map_or(0, |entry| entry.bytes);
        drop(index);
        if let Some(removed) = removed {
            self.writes.remove(&self.engine.tasks, task_id.as_str());
            self.writes.remove(&self.engine.tails, task_id.as_str());
            self.writes.remove(&self.engine.rules, task_id.as_str());
            let none = OutputChanges {
                only: true,
                ..OutputChanges::default()
            };
            let forgotten =
                self.outputs
                    .write(self.engine, &mut self.writes, removed.number, &none);
            forgotten.map_err(|damage| StoreError::Unavailable(Box::new(damage)))?;
        }
        Ok(())
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
        let (tail, number, first, bytes) = {
            let mut index = self.index();
            let Some(entry) = index.tasks.get_mut(task_id) else {
                return Ok(());
            };
            let tail = entry.tail.take();
            (tail, entry.number, entry.first, entry.bytes)
        };
        let snapshot = match tail {
            Some(tail) => tail.snapshot,
            None => match recovery::read_row(self.engine, self.era, task_id) {
                Ok(Some(row)) => Arc::new(row.snapshot),
                Ok(None) => return Ok(()),
                Err(damage) => return Err(StoreError::Unavailable(Box::new(damage))),
            },
        };
        let row = TaskRow::<&TaskSnapshot> {
            number,
            era: self.era.number,
            first,
            bytes,
            snapshot: &snapshot,
        };
        let json =
            serde_json::to_vec(&row).map_err(|error| StoreError::Unavailable(error.into()))?;
        if let Some(entry) = self.index().tasks.get_mut(task_id) {
            entry.row_bytes = json.len() as u64;
        }
        self.writes
            .insert(&self.engine.tasks, task_id.as_str(), json);
        self.writes.remove(&self.engine.tails, task_id.as_str());
        Ok(())
    }

    /// What is to be written, to be given to [`commit`] when nobody is kept from
    /// the index any more.
    pub(crate) fn finish(mut self) -> OwnedWriteBatch {
        if !self.writes.is_empty() {
            let changes = {
                let mut index = self.index();
                index.changes += 1;
                index.changes
            };
            let changes = changes.to_string();
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
