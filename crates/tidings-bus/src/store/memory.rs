//! The store that other stores are compared with.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, Range};
use std::sync::Arc;

use async_trait::async_trait;
use tidings_protocol::{Epoch, ItemId, Offset, TaskId, TaskSnapshot, Timestamp};

use super::{
    Append, KeepChange, Keeper, KeptThing, Store, StoreError, StoredEvent, StoredRules, StoredTask,
    StoredText, Write,
};
use crate::lock::{Guard, Lock, place};
use crate::log::{OutputChange, OutputChanges, OutputExtent, kept_part};
use crate::tasks::trees::kin::Related;

#[derive(Debug)]
struct Entry {
    epoch: Epoch,
    next: Offset,
    events: VecDeque<StoredEvent>,
    snapshot: Arc<TaskSnapshot>,
    rules: StoredRules,
    outputs: BTreeMap<ItemId, Output>,
}

/// An output, and its text from `from` on.
#[derive(Debug)]
struct Output {
    extent: OutputExtent,
    from: u64,
    text: Vec<u8>,
}

fn place(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl Entry {
    fn write_outputs(&mut self, changes: &OutputChanges) {
        if changes.only {
            let kept = |id: &ItemId| changes.changed.iter().any(|c| c.output.output_id == *id);
            self.outputs.retain(|id, _| kept(id));
        }
        for id in &changes.forgotten {
            self.outputs.remove(id);
        }
        for OutputChange { output, from, text } in &changes.changed {
            let known = self.outputs.entry(output.output_id.clone());
            let known = known.or_insert_with(|| Output {
                extent: output.clone(),
                from: *from,
                text: Vec::new(),
            });
            known.extent.clone_from(output);
            if *from < known.from || *from > known.from + known.text.len() as u64 {
                known.from = *from;
            }
            known.text.truncate(place(from - known.from));
            known.text.extend_from_slice(text);
            let lost = output.start.saturating_sub(known.from);
            known.text.drain(..place(lost).min(known.text.len()));
            known.from += lost;
        }
    }

    fn stored(&self) -> StoredTask {
        StoredTask {
            snapshot: Arc::clone(&self.snapshot),
            first: self.events.front().map_or(self.next, |event| event.offset),
            rules: self.rules.clone(),
            outputs: self
                .outputs
                .values()
                .map(|output| output.extent.clone())
                .collect(),
        }
    }
}

/// Keeps tasks in memory, beyond the life of a bus but not of the process.
///
/// Use it in tests of a bus that restarts, and as the model of a durable store. A server gains
/// nothing from it. Without any store, the bus keeps the same events once instead of twice.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tasks: Lock<BTreeMap<TaskId, Entry>, place::Leaf>,
    write: Write,
    kept: Lock<BTreeMap<String, Vec<u8>>, place::Leaf>,
}

impl MemoryStore {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty store that the bus writes to in this way.
    pub fn written(write: Write) -> Self {
        Self {
            write,
            ..Self::default()
        }
    }

    fn lock(&self) -> Guard<'_, BTreeMap<TaskId, Entry>, place::Leaf> {
        self.tasks.lock()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn open(&self) -> Result<Vec<StoredTask>, StoreError> {
        Ok(self.lock().values().map(Entry::stored).collect())
    }

    async fn find(&self, task_id: &TaskId) -> Result<Option<StoredTask>, StoreError> {
        Ok(self.lock().get(task_id).map(Entry::stored))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, StoreError> {
        let start = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        let tasks = self.lock();
        let ids = tasks.range::<str, _>((start, Bound::Unbounded));
        Ok(ids
            .map(|(task_id, _)| task_id.clone())
            .take_while(|task_id| task_id.as_str().starts_with(prefix))
            .take(limit)
            .collect())
    }

    async fn asking(
        &self,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, StoreError> {
        let mut ids = self.list(prefix, after, usize::MAX).await?;
        let tasks = self.lock();
        ids.retain(|id| {
            tasks
                .get(id)
                .is_some_and(|task| !task.snapshot.pending_inputs.is_empty())
        });
        ids.truncate(limit);
        Ok(ids)
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<TaskId>, StoreError> {
        let tasks = self.lock();
        let is_due = |entry: &Entry| {
            let mut inputs = entry.snapshot.pending_inputs.iter();
            inputs.any(|input| input.expires_at.is_some_and(|at| at <= now))
        };
        let due = tasks.iter().filter(|(_, entry)| is_due(entry));
        Ok(due.map(|(id, _)| id.clone()).take(limit).collect())
    }

    async fn related(
        &self,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<(TaskId, Related)>, StoreError> {
        let tasks = self.lock();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let kin = tasks.range::<TaskId, _>((start, Bound::Unbounded));
        let kin = kin.filter_map(|(id, entry)| Some((id.clone(), Related::of(&entry.snapshot)?)));
        Ok(kin.take(limit).collect())
    }

    async fn append(&self, append: Append) -> Result<(), StoreError> {
        let mut tasks = self.lock();
        let known = tasks.get(&append.task_id);
        let expected = known.map_or(Offset::FIRST, |entry| entry.next);
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
        let entry = tasks.entry(append.task_id).or_insert_with(|| Entry {
            epoch: append.epoch,
            next,
            events: VecDeque::new(),
            snapshot: Arc::clone(&append.snapshot),
            rules: StoredRules::default(),
            outputs: BTreeMap::new(),
        });
        entry.events.extend(append.events);
        entry.next = next;
        entry.snapshot = append.snapshot;
        if let Some(rules) = append.rules {
            entry.rules = StoredRules::clone(&rules);
        }
        if let Some(changes) = append.outputs {
            entry.write_outputs(&changes);
        }
        Ok(())
    }

    async fn read(
        &self,
        task_id: &TaskId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let tasks = self.lock();
        let Some(entry) = tasks.get(task_id) else {
            return Ok(Vec::new());
        };
        let start = entry.events.partition_point(|event| event.offset < from);
        let mut bytes = 0;
        Ok(entry
            .events
            .range(start..)
            .take_while(|event| {
                let first = bytes == 0;
                bytes += event.json.len();
                first || bytes <= max_bytes
            })
            .cloned()
            .collect())
    }

    async fn read_output(
        &self,
        task_id: &TaskId,
        output_id: &ItemId,
        wanted: Range<u64>,
    ) -> Result<Option<StoredText>, StoreError> {
        let tasks = self.lock();
        let output = tasks
            .get(task_id)
            .and_then(|entry| entry.outputs.get(output_id));
        Ok(output.map(|output| {
            let part = kept_part(&output.extent, wanted);
            let range = place(part.start - output.from)..place(part.end - output.from);
            StoredText {
                from: part.start,
                bytes: output.text[range].to_vec(),
            }
        }))
    }

    async fn trim(&self, task_id: &TaskId, first: Offset) -> Result<(), StoreError> {
        if let Some(entry) = self.lock().get_mut(task_id) {
            while entry
                .events
                .front()
                .is_some_and(|event| event.offset < first)
            {
                entry.events.pop_front();
            }
        }
        Ok(())
    }

    async fn remove(&self, task_id: &TaskId) -> Result<(), StoreError> {
        self.lock().remove(task_id);
        Ok(())
    }

    fn first(&self, task_id: &TaskId) -> Option<Offset> {
        self.lock().get(task_id).map(|entry| entry.stored().first)
    }

    fn write(&self) -> Write {
        self.write
    }
}

#[async_trait]
impl Keeper for MemoryStore {
    async fn kept(&self) -> Result<Vec<KeptThing>, StoreError> {
        let kept = self.kept.lock();
        Ok(kept
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect())
    }

    async fn keep(&self, changes: Vec<KeepChange>) -> Result<(), StoreError> {
        let mut kept = self.kept.lock();
        for (name, value) in changes {
            match value {
                Some(value) => kept.insert(name, value),
                None => kept.remove(&name),
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn conforms() {
        let make = || std::sync::Arc::new(super::MemoryStore::new());
        super::super::conformance::run(make).await;
        super::super::conformance::run_first(make).await;
        super::super::conformance::run_outputs(make).await;
        super::super::conformance::run_trees(make).await;
    }
}
