//! A task's whole outputs. A snapshot contains only a part of a long output.
//!
//! [`Extents`] decides which part of each output is kept. The text is in memory, and in the
//! store if the store keeps outputs. Text that the store has may be absent from memory after a
//! restart, or when memory was short.

mod blocks;
mod extent;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use tidings_protocol::{ItemId, Offset, Payload, TaskSnapshot};

pub use blocks::{BlockPlan, OUTPUT_BLOCK, blocks_in, blocks_of, cut_out, kept_part};
pub(crate) use extent::Extents;
pub use extent::{OutputChange, OutputChanges, OutputExtent, OutputLimits};

/// The bytes of an output without its text.
const OUTPUT_OVERHEAD: usize = 128;

/// The most spare bytes that an output's buffer may keep.
const SLACK: usize = 16 * 1024;

/// Part of an output's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputText {
    /// The start of the kept text in the whole output, in bytes.
    pub start: u64,
    /// The length of the whole output so far, in bytes.
    pub length: u64,
    /// True if no more text will come.
    pub complete: bool,
    /// The place of `bytes` in the whole output.
    pub range: Range<u64>,
    /// The requested bytes, as far as they are kept.
    pub bytes: Vec<u8>,
}

impl OutputText {
    /// Inserts text in front that ends where the current text begins.
    pub(crate) fn put_before(&mut self, from: u64, mut bytes: Vec<u8>) {
        bytes.append(&mut self.bytes);
        self.bytes = bytes;
        self.range.start = from;
        self.start = self.start.min(from);
    }

    /// Starts at a whole character, if the text was cut within one.
    pub(crate) fn begin_whole(mut self) -> Self {
        if self.start > 0 && self.range.start == self.start {
            let is_inside = |byte: &&u8| **byte & 0xc0 == 0x80;
            let inside = self.bytes.iter().take_while(is_inside).count();
            self.bytes.drain(..inside);
            self.start += inside as u64;
            self.range.start = self.start;
        }
        self
    }
}

/// The text of an output from `from` on.
#[derive(Debug, Default)]
struct Text {
    from: u64,
    bytes: VecDeque<u8>,
    /// The start of the text that was not given to the store yet.
    unsaved: Option<u64>,
    /// The start of the unsaved text when the current write to the store began.
    leaving: Option<u64>,
}

impl Text {
    fn end(&self) -> u64 {
        self.from + self.bytes.len() as u64
    }

    /// Replaces the text from `from` on.
    fn write(&mut self, from: u64, text: &[u8], most: usize) {
        if from < self.from || from > self.end() {
            self.from = from;
            self.bytes.clear();
        }
        self.bytes.truncate(place(from - self.from));
        // A buffer that doubles would take twice the limit.
        let wanted = self.bytes.len() + text.len();
        if wanted > self.bytes.capacity() {
            let room = (2 * self.bytes.capacity()).min(most).max(wanted);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend(text);
    }

    /// Forgets the text before `start`.
    fn cut(&mut self, start: u64) {
        if start > self.from {
            let lost = place(start - self.from).min(self.bytes.len());
            self.bytes.drain(..lost);
            self.from = start;
            let left = self.bytes.len();
            if self.bytes.capacity() - left > (left / 4).max(SLACK) {
                self.bytes.shrink_to(left);
            }
        }
    }

    fn is_saved(&self) -> bool {
        self.unsaved.is_none() && self.leaving.is_none()
    }
}

fn place(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Changes without text that the store does not know yet.
#[derive(Debug, Default)]
struct Untold {
    only: bool,
    forgotten: Vec<ItemId>,
}

/// The outputs of a task.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    extents: Extents,
    texts: HashMap<ItemId, Text>,
    /// The bytes of all outputs.
    bytes: usize,
    /// The unsaved changes, if the store is written behind.
    untold: Option<Box<Untold>>,
}

/// The part of an output that is in memory.
pub(crate) struct Part {
    pub(crate) text: OutputText,
    /// The start of the output's text in memory.
    pub(crate) here: u64,
    /// The range that only a store may have.
    pub(crate) missing: Option<Range<u64>>,
}

/// Returns whether an event may change a task's whole outputs.
pub(crate) fn changes_outputs(payload: &Payload) -> bool {
    matches!(
        payload,
        Payload::OutputDelta(_) | Payload::OutputCompleted(_) | Payload::TaskStarted(_)
    )
}

impl Outputs {
    /// Returns the bytes of all outputs.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the kept part of each output.
    pub(crate) fn extents(&self) -> &Extents {
        &self.extents
    }

    /// Returns the current length of an output. Returns `None` if the output is not known.
    #[cfg(test)]
    pub(crate) fn length(&self, id: &ItemId) -> Option<u64> {
        self.extents.find(id).map(|output| output.length)
    }

    /// Starts to record changes for a store that is written behind.
    pub(crate) fn track(&mut self) {
        self.untold.get_or_insert_default();
    }

    pub(crate) fn clear(&mut self) {
        let tracked = self.untold.is_some();
        *self = Self::default();
        if tracked {
            self.track();
        }
    }

    /// Forgets the text that a store has, or all text if there is no store. The lengths stay.
    pub(crate) fn forget_text(&mut self) {
        for output in self.extents.iter() {
            if let Some(text) = self.texts.get_mut(&output.output_id)
                && text.is_saved()
            {
                *text = Text {
                    from: output.length,
                    ..Text::default()
                };
            }
        }
        self.count();
    }

    /// Loads the outputs of a store at the event of a snapshot, with the text of the snapshot.
    pub(crate) fn seed(&mut self, stored: Vec<OutputExtent>, snapshot: &TaskSnapshot) {
        self.clear();
        self.extents = Extents::stored(stored);
        for output in &snapshot.outputs {
            let known = self.extents.find(&output.output_id);
            if known.is_none() {
                self.extents.add(OutputExtent {
                    output_id: output.output_id.clone(),
                    began: snapshot.offset,
                    start: output.start,
                    length: output.length,
                    complete: output.complete,
                });
            } else if known.is_none_or(|known| known.length != output.length) {
                continue;
            }
            let text = Text {
                from: output.start,
                bytes: output.text.as_bytes().iter().copied().collect(),
                ..Text::default()
            };
            self.texts.insert(output.output_id.clone(), text);
        }
        self.count();
    }

    /// Applies the event at `offset`. A `task_started` that opens a `new_run` starts without the
    /// outputs of the last run.
    pub(crate) fn take(&mut self, event: (&Payload, Offset), new_run: bool, limits: OutputLimits) {
        if !changes_outputs(event.0) {
            return;
        }
        let mut changes = OutputChanges::default();
        self.extents.take(event, new_run, limits, &mut changes);
        self.write(&changes, limits);
    }

    /// Applies changes that were decided and stored before.
    pub(crate) fn take_staged(
        &mut self,
        extents: Extents,
        changes: &OutputChanges,
        limits: OutputLimits,
    ) {
        self.extents = extents;
        self.write(changes, limits);
    }

    fn write(&mut self, changes: &OutputChanges, limits: OutputLimits) {
        if changes.is_empty() {
            return;
        }
        if changes.only {
            self.texts.clear();
        }
        for id in &changes.forgotten {
            self.texts.remove(id);
        }
        for change in &changes.changed {
            let text = self
                .texts
                .entry(change.output.output_id.clone())
                .or_insert_with(|| Text {
                    from: change.from,
                    ..Text::default()
                });
            text.cut(change.output.start.min(change.from));
            text.write(change.from, &change.text, limits.each);
            text.cut(change.output.start);
            if self.untold.is_some() {
                let from = text
                    .unsaved
                    .map_or(change.from, |from| from.min(change.from));
                text.unsaved = Some(from);
            }
        }
        if let Some(untold) = &mut self.untold {
            if changes.only {
                **untold = Untold::default();
            }
            untold.only |= changes.only;
            untold.forgotten.extend(changes.forgotten.iter().cloned());
        }
        self.count();
    }

    fn count(&mut self) {
        let texts = self.texts.values().map(|text| text.bytes.capacity());
        let known = self.extents.iter().count();
        self.bytes = texts.sum::<usize>() + known * OUTPUT_OVERHEAD;
    }

    /// Takes the next changes for the store. Returns `None` if the store has everything.
    pub(crate) fn begin_save(&mut self) -> Option<OutputChanges> {
        let untold = self.untold.as_mut()?;
        let mut changes = OutputChanges {
            only: std::mem::take(&mut untold.only),
            forgotten: std::mem::take(&mut untold.forgotten),
            changed: Vec::new(),
        };
        for output in self.extents.iter() {
            let Some(text) = self.texts.get_mut(&output.output_id) else {
                continue;
            };
            let Some(unsaved) = text.unsaved.take() else {
                continue;
            };
            let from = unsaved.max(text.from).min(output.length);
            text.leaving = Some(from);
            changes.changed.push(OutputChange {
                output: output.clone(),
                from,
                text: text
                    .bytes
                    .range(place(from - text.from)..)
                    .copied()
                    .collect(),
            });
        }
        (!changes.is_empty()).then_some(changes)
    }

    /// Records the result of the changes that were taken last.
    pub(crate) fn end_save(&mut self, saved: bool) {
        let Some(untold) = &mut self.untold else {
            return;
        };
        for text in self.texts.values_mut() {
            let left = text.leaving.take();
            if !saved && let Some(from) = left {
                text.unsaved = Some(text.unsaved.map_or(from, |unsaved| unsaved.min(from)));
            }
        }
        if saved {
            return;
        }
        // The store's state of the other outputs is not known, so send all outputs.
        untold.only = true;
        for output in self.extents.iter() {
            let text = self.texts.entry(output.output_id.clone());
            let text = text.or_insert_with(|| Text {
                from: output.length,
                ..Text::default()
            });
            text.unsaved = Some(text.from);
        }
    }

    /// Reads a part of an output, as far as the part is kept.
    pub(crate) fn read(&self, id: &ItemId, wanted: Range<u64>) -> Option<Part> {
        let output = self.extents.find(id)?;
        let text = self.texts.get(id);
        let here = text.map_or(output.length, |text| text.from);
        let part = kept_part(output, wanted);
        let from = part.start.max(here).min(part.end);
        let bytes = text
            .filter(|_| part.end > here)
            .map_or_else(Vec::new, |text| {
                let range = place(from - text.from)..place(part.end - text.from);
                text.bytes.range(range).copied().collect()
            });
        let missing = part.start..here.min(part.end);
        Some(Part {
            missing: (!missing.is_empty()).then_some(missing),
            here,
            text: OutputText {
                start: output.start,
                length: output.length,
                complete: output.complete,
                range: from..part.end.max(from),
                bytes,
            },
        })
    }
}

#[cfg(test)]
mod tests;
