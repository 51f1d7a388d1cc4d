//! Whole outputs. A row says which part of an output is kept. Blocks contain its text.

use std::collections::HashMap;
use std::ops::Range;

use fjall::OwnedWriteBatch;
use tidings_bus::blocks::{BlockPlan, blocks_in, blocks_of, cut_out, kept_part};
use tidings_bus::protocol::ItemId;
use tidings_bus::{OutputChange, OutputChanges, OutputExtent, StoredText};

use crate::engine::Engine;
use crate::error::Damage;
use crate::recovery::row;

/// The most attempts to read a text that is being changed.
const TRIES: usize = 8;

/// Returns the key of an output's row. The keys of its blocks begin with it.
fn output_key(number: u64, id: &ItemId) -> Vec<u8> {
    // No id contains a zero byte, so no key of an output is the beginning of another one's key.
    [&number.to_be_bytes(), id.as_str().as_bytes(), &[0]].concat()
}

fn block_key(output: &[u8], block: u64) -> Vec<u8> {
    [output, &block.to_be_bytes()].concat()
}

/// Returns which parts of a task's outputs are kept.
pub(crate) fn read(engine: &Engine, number: u64) -> Result<Vec<OutputExtent>, Damage> {
    let mut found = Vec::new();
    for output in engine.outputs.prefix(number.to_be_bytes()) {
        found.push(row("an output", &output.value()?)?);
    }
    Ok(found)
}

fn read_one(engine: &Engine, key: &[u8]) -> Result<Option<OutputExtent>, Damage> {
    let found = engine.outputs.get(key)?;
    found.map(|found| row("an output", &found)).transpose()
}

/// Reads the kept part of a range of an output's text. Returns `None` if the output does not exist.
pub(crate) fn read_text(
    engine: &Engine,
    number: u64,
    id: &ItemId,
    wanted: &Range<u64>,
) -> Result<Option<StoredText>, Damage> {
    let key = output_key(number, id);
    for _ in 0..TRIES {
        let Some(output) = read_one(engine, &key)? else {
            return Ok(None);
        };
        let part = kept_part(&output, wanted.clone());
        let mut blocks = Vec::new();
        for block in blocks_in(&part) {
            let found = engine.texts.get(block_key(&key, block))?;
            blocks.push(found.map(|found| found.to_vec()).unwrap_or_default());
        }
        // Use the text only if the output is still the one that was read. It may have been cut or
        // replaced meanwhile.
        if read_one(engine, &key)?.is_some_and(|still| still.start == output.start)
            && let Some(bytes) = cut_out(part.clone(), blocks.into_iter())
        {
            let from = part.start;
            return Ok(Some(StoredText { from, bytes }));
        }
    }
    Err(Damage::Output {
        output: id.to_string(),
    })
}

/// The outputs that one batch changes, as they will be after the commit. Until then the engine
/// shows their old state.
#[derive(Default)]
pub(crate) struct Touched {
    outputs: HashMap<Vec<u8>, Option<OutputExtent>>,
    /// The last block of each output. The next change may continue it.
    blocks: HashMap<Vec<u8>, Vec<u8>>,
}

impl Touched {
    /// Writes the changes of an append to a task's outputs.
    pub(crate) fn write(
        &mut self,
        engine: &Engine,
        writes: &mut OwnedWriteBatch,
        number: u64,
        changes: &OutputChanges,
    ) -> Result<(), Damage> {
        if changes.only {
            for id in self.all(engine, number)? {
                let stays = |change: &OutputChange| change.output.output_id == id;
                if !changes.changed.iter().any(stays) {
                    self.forget(engine, writes, &output_key(number, &id))?;
                }
            }
        }
        for id in &changes.forgotten {
            self.forget(engine, writes, &output_key(number, id))?;
        }
        for change in &changes.changed {
            let key = output_key(number, &change.output.output_id);
            self.change(engine, writes, key, change)?;
        }
        Ok(())
    }

    /// Returns the outputs of a task, including the changes of this batch.
    fn all(&self, engine: &Engine, number: u64) -> Result<Vec<ItemId>, Damage> {
        let mut found: Vec<_> = read(engine, number)?;
        let here = self.outputs.iter();
        let here = here.filter(|(key, _)| key.starts_with(&number.to_be_bytes()));
        found.extend(here.filter_map(|(_, output)| output.clone()));
        Ok(found.into_iter().map(|output| output.output_id).collect())
    }

    fn before(&self, engine: &Engine, key: &[u8]) -> Result<Option<OutputExtent>, Damage> {
        match self.outputs.get(key) {
            Some(known) => Ok(known.clone()),
            None => read_one(engine, key),
        }
    }

    fn forget(
        &mut self,
        engine: &Engine,
        writes: &mut OwnedWriteBatch,
        key: &[u8],
    ) -> Result<(), Damage> {
        if let Some(output) = self.before(engine, key)? {
            for block in blocks_of(&output) {
                self.remove_block(engine, writes, block_key(key, block));
            }
            writes.remove(&engine.outputs, key);
            self.outputs.insert(key.to_owned(), None);
        }
        Ok(())
    }

    fn remove_block(&mut self, engine: &Engine, writes: &mut OwnedWriteBatch, key: Vec<u8>) {
        self.blocks.remove(&key);
        writes.remove(&engine.texts, key);
    }

    fn change(
        &mut self,
        engine: &Engine,
        writes: &mut OwnedWriteBatch,
        key: Vec<u8>,
        change: &OutputChange,
    ) -> Result<(), Damage> {
        let before = self.before(engine, &key)?;
        let plan = BlockPlan::new(before.as_ref(), change);
        let first = block_key(&key, plan.first);
        let kept = match self.blocks.remove(&first) {
            Some(known) => known,
            None if plan.keep == 0 || change.text.is_empty() => Vec::new(),
            None => match engine.texts.get(&first)? {
                Some(found) => found.to_vec(),
                None => Vec::new(),
            },
        };
        for block in plan.delete.iter().cloned().flatten() {
            self.remove_block(engine, writes, block_key(&key, block));
        }
        let mut last = None;
        for (block, text) in plan.write(&kept, &change.text) {
            let block = block_key(&key, block);
            writes.insert(&engine.texts, block.clone(), &*text);
            last = Some((block, text));
        }
        // If nothing was written, the block is unchanged.
        let (block, text) = last.unwrap_or((first, kept));
        if !text.is_empty() {
            self.blocks.insert(block, text);
        }
        let json = serde_json::to_vec(&change.output).map_err(|cause| Damage::Row {
            what: "an output".to_owned(),
            cause,
        })?;
        writes.insert(&engine.outputs, key.clone(), json);
        self.outputs.insert(key, Some(change.output.clone()));
        Ok(())
    }
}
