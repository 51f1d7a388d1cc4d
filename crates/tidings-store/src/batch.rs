//! The changes of one commit of the engine.

use std::sync::{Arc, MutexGuard};

use fjall::{OwnedWriteBatch, PersistMode};
use tidings_bus::protocol::{Offset, TaskId, TaskSnapshot};
use tidings_bus::{Append, OutputChanges, StoreError};

use crate::config::StoreConfig;
use crate::defaults;
use crate::engine::{Engine, event_key};
use crate::error::Failure;
use crate::index::{Entry, Index};
use crate::outputs::Touched;
use crate::recovery;
use crate::rows::{CHANGES, Era, TaskRow};
use crate::store::{Open, Shared};

/// A batch of changes. The index shows them before the engine commits them. If the commit fails,
/// both are loaded again.
///
/// The index is locked for a few instructions at a time, because readers and the bus use it. It is
/// never locked while the disk is read or a state is encoded.
pub(crate) struct Batch<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) era: &'a Era,
    pub(crate) config: &'a StoreConfig,
    shared: &'a Shared,
    pub(crate) writes: OwnedWriteBatch,
    /// The outputs that this batch changes, as they will be after the commit.
    outputs: Touched,
    /// The number of events that were added to the batch.
    pub(crate) events: u64,
    /// The tasks whose rows the batch writes.
    written: Vec<TaskId>,
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
            written: Vec::new(),
        }
    }

    /// Locks the index. The guard must not be held while the disk is read.
    pub(crate) fn index(&self) -> MutexGuard<'a, Index> {
        self.shared.lock_index()
    }

    /// Loads a task that exists into the index, if the index has no entry for it.
    fn look_up(&self, task_id: &TaskId) -> Result<(), StoreError> {
        {
            let index = self.index();
            if index.get(task_id).is_some() || !index.has(task_id) {
                return Ok(());
            }
        }
        let found = recovery::read_entry(self.engine, self.era, task_id);
        if let Some(entry) = found.map_err(|damage| StoreError::Unavailable(Box::new(damage)))? {
            self.index().adopt(task_id, entry);
        }
        Ok(())
    }

    /// Adds either all of the events or none.
    pub(crate) fn append(&mut self, append: &Append) -> Result<(), StoreError> {
        self.look_up(&append.task_id)?;
        let mut index = self.index();
        let known = index.get(&append.task_id);
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
            index.add(&append.task_id, &append.epoch);
        }
        let Some(entry) = index.get_mut(&append.task_id) else {
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
        // Remove more than necessary, so that this happens rarely.
        let over = (entry.bytes > self.config.max_task_bytes).then(|| {
            let excess = entry.bytes - self.config.max_task_bytes * 7 / 8;
            entry.first + entry.events_in(excess)
        });
        let row_bytes = entry.row_bytes;
        let added = (append.events.len() as u64, size);
        let first_after_row = index.follow(&append.task_id, added, Arc::clone(&append.snapshot));
        let tail = index.get(&append.task_id).and_then(Entry::tail);
        let due = tail
            .is_some_and(|tail| tail.events >= defaults::EVENTS_A_STATE && tail.bytes >= row_bytes);
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
        } else if first_after_row {
            self.writes
                .insert(&self.engine.tails, append.task_id.as_str(), "");
        }
        Ok(())
    }

    /// Marks the events before `first` for deletion. The caller must write the row. Returns whether
    /// there were such events.
    fn trim(&mut self, task_id: &TaskId, first: u64) -> bool {
        let mut index = self.index();
        let Some(entry) = index.get_mut(task_id) else {
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

    /// Removes the events before `first`.
    pub(crate) fn trim_to(&mut self, task_id: &TaskId, first: u64) -> Result<(), StoreError> {
        self.look_up(task_id)?;
        if self.trim(task_id, first) {
            self.write_state(task_id)?;
        }
        Ok(())
    }

    /// Removes the oldest events that together hold about `bytes` bytes.
    pub(crate) fn trim_most(&mut self, task_id: &TaskId, bytes: u64) -> Result<(), StoreError> {
        self.look_up(task_id)?;
        let first = {
            let index = self.index();
            let entry = index.get(task_id);
            entry.map(|entry| entry.first + entry.events_in(bytes))
        };
        match first {
            Some(first) => self.trim_to(task_id, first),
            None => Ok(()),
        }
    }

    /// Removes a task.
    pub(crate) fn remove(&mut self, task_id: &TaskId) -> Result<(), StoreError> {
        self.look_up(task_id)?;
        self.trim(task_id, u64::MAX);
        let removed = {
            let mut index = self.index();
            let number = index.get(task_id).map(|entry| entry.number);
            index.remove(task_id);
            number
        };
        if let Some(number) = removed {
            self.writes.remove(&self.engine.tasks, task_id.as_str());
            self.writes.remove(&self.engine.tails, task_id.as_str());
            self.writes.remove(&self.engine.rules, task_id.as_str());
            let none = OutputChanges {
                only: true,
                ..OutputChanges::default()
            };
            let forgotten = self
                .outputs
                .write(self.engine, &mut self.writes, number, &none);
            forgotten.map_err(|damage| StoreError::Unavailable(Box::new(damage)))?;
        }
        Ok(())
    }

    /// Stores the value under this name, or deletes the name if there is no value.
    pub(crate) fn keep(&mut self, name: &str, value: Option<Vec<u8>>) {
        match value {
            Some(value) => self.writes.insert(&self.engine.kept, name, value),
            None => self.writes.remove(&self.engine.kept, name),
        }
    }

    /// Writes a task's row, so that it includes all events.
    pub(crate) fn write_state(&mut self, task_id: &TaskId) -> Result<(), StoreError> {
        let (known, number, first, bytes) = {
            let index = self.index();
            let Some(entry) = index.get(task_id) else {
                return Ok(());
            };
            let known = entry.snapshot().cloned();
            (known, entry.number, entry.first, entry.bytes)
        };
        let snapshot = match known {
            Some(snapshot) => snapshot,
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
        self.index().write(task_id, snapshot, json.len() as u64);
        self.written.push(task_id.clone());
        self.writes
            .insert(&self.engine.tasks, task_id.as_str(), json);
        self.writes.remove(&self.engine.tails, task_id.as_str());
        Ok(())
    }

    /// Commits the batch. If the commit fails, nothing of the batch is stored.
    ///
    /// The index is not locked during the commit. Otherwise all readers would wait for the disk.
    pub(crate) fn commit(mut self) -> Result<(), Failure> {
        if self.writes.is_empty() {
            return Ok(());
        }
        let changes = {
            let mut index = self.index();
            index.changes += 1;
            index.changes
        };
        let changes = changes.to_string();
        self.writes.insert(&self.engine.meta, CHANGES, changes);
        let writes = self.writes.durability(Some(PersistMode::Buffer));
        writes.commit()?;
        self.shared.lock_index().committed(self.written);
        Ok(())
    }
}
