//! The blocks in which a store keeps an output's text. The output's extent alone decides the
//! places of its blocks, so a store writes, cuts and deletes text without a search. This module
//! does no I/O.

use std::ops::Range;

use super::extent::{OutputChange, OutputExtent};

/// Bytes of a block. An append writes the last block anew, so a block is not much
/// larger than an event.
pub const OUTPUT_BLOCK: u64 = 1024;

/// The effect of a change on the blocks of an output. Numbers count blocks from the beginning
/// of the whole output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPlan {
    /// The blocks to delete: first those before the kept text, then those after its end.
    pub delete: [Range<u64>; 2],
    /// The first block to write, and the number of its old bytes that it keeps.
    pub first: u64,
    /// See [`first`](Self::first).
    pub keep: usize,
}

/// Returns the blocks that hold an output's kept text.
pub fn blocks_of(output: &OutputExtent) -> Range<u64> {
    let first = output.start / OUTPUT_BLOCK;
    first..output.length.div_ceil(OUTPUT_BLOCK).max(first)
}

impl BlockPlan {
    /// Plans a change of an output that was stored as `before`.
    pub fn new(before: Option<&OutputExtent>, change: &OutputChange) -> Self {
        let before = before.map_or(0..0, blocks_of);
        let after = blocks_of(&change.output);
        Self {
            delete: [
                before.start..before.end.min(after.start),
                before.start.max(after.end)..before.end,
            ],
            first: change.from / OUTPUT_BLOCK,
            keep: usize::try_from(change.from % OUTPUT_BLOCK).unwrap_or(0),
        }
    }

    /// Returns the blocks to write, with their numbers. `kept` is the current block `first`. Its
    /// missing bytes lie before the kept text.
    pub fn write<'a>(
        &self,
        kept: &[u8],
        text: &'a [u8],
    ) -> impl Iterator<Item = (u64, Vec<u8>)> + use<'a> {
        let mut head = kept[..kept.len().min(self.keep)].to_vec();
        head.resize(self.keep, 0);
        let block = usize::try_from(OUTPUT_BLOCK).unwrap_or(usize::MAX);
        let mut rest = text;
        (self.first..).map_while(move |number| {
            let (now, later) = rest.split_at(rest.len().min(block - head.len()));
            rest = later;
            let mut bytes = std::mem::take(&mut head);
            bytes.extend_from_slice(now);
            (!now.is_empty()).then_some((number, bytes))
        })
    }
}

/// Returns the part of an output that lies in `wanted` and is kept.
pub fn kept_part(output: &OutputExtent, wanted: Range<u64>) -> Range<u64> {
    let from = wanted.start.max(output.start).min(output.length);
    from..wanted.end.min(output.length).max(from)
}

/// Cuts `part` out of the blocks that contain it. Returns `None` if a block is missing or
/// short.
pub fn cut_out(part: Range<u64>, blocks: impl Iterator<Item = Vec<u8>>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for block in blocks {
        bytes.extend_from_slice(&block);
    }
    let skipped = usize::try_from(part.start % OUTPUT_BLOCK).ok()?;
    let length = usize::try_from(part.end - part.start).ok()?;
    bytes.truncate(skipped + length);
    (bytes.len() == skipped + length).then(|| bytes.split_off(skipped))
}

/// Returns the blocks that a part of an output lies in.
pub fn blocks_in(part: &Range<u64>) -> Range<u64> {
    let first = part.start / OUTPUT_BLOCK;
    first..part.end.div_ceil(OUTPUT_BLOCK).max(first)
}
