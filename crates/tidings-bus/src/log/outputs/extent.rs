//! Decides which part of each output is kept, and how an event changes it. Pure.
//!
//! The decisions depend only on the events and the limits. Every node and every store therefore
//! keeps the same parts.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tidings_protocol::{ItemId, Offset, OutputDelta, Payload};

/// The most outputs of one task that are kept. Beyond it, the oldest outputs are forgotten. A
/// snapshot lists 64.
pub(crate) const MAX_OUTPUTS: usize = 256;

/// Bytes that a cut removes in addition to the necessary bytes.
const CUT_AHEAD: u64 = 16 * 1024;

/// How many bytes of a task's outputs are kept outside the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLimits {
    /// Bytes of one output. A longer one loses its beginning.
    pub each: usize,
    /// Bytes of all outputs of a task. Beyond it, the longest outputs lose their beginning
    /// first.
    pub task: usize,
}

/// The part of an output that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputExtent {
    /// The output.
    pub output_id: ItemId,
    /// The event that began it.
    pub began: Offset,
    /// The start of the kept text in the whole output, in bytes.
    pub start: u64,
    /// The length of the whole output so far, in bytes.
    pub length: u64,
    /// True if no more text will come.
    pub complete: bool,
}

impl OutputExtent {
    fn kept(&self) -> u64 {
        self.length - self.start
    }
}

/// The changes of a task's outputs. Outputs are forgotten first, and text is written
/// afterwards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputChanges {
    /// If true, every output that is not in `changed` is forgotten.
    pub only: bool,
    /// Outputs that are forgotten.
    pub forgotten: Vec<ItemId>,
    /// Outputs that have changed, each once.
    pub changed: Vec<OutputChange>,
}

/// The change of one output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChange {
    /// The output after the events. Text before its `start` is forgotten.
    pub output: OutputExtent,
    /// The start of `text` in the whole output. The text replaces all text from there on, and
    /// ends at the output's `length`.
    pub from: u64,
    /// The new text.
    pub text: Vec<u8>,
}

impl OutputChanges {
    /// Returns whether nothing changes.
    pub fn is_empty(&self) -> bool {
        !self.only && self.forgotten.is_empty() && self.changed.is_empty()
    }

    /// Records that an output is now `output`, with `text` written at `from`.
    fn write(&mut self, output: &OutputExtent, from: u64, text: &[u8]) {
        let mut changed = self.changed.iter_mut();
        let known = changed.find(|change| change.output.output_id == output.output_id);
        let Some(known) = known else {
            self.changed.push(OutputChange {
                output: output.clone(),
                from,
                text: text.to_owned(),
            });
            return;
        };
        if from == known.from + known.text.len() as u64 {
            known.text.extend_from_slice(text);
        } else {
            known.from = from;
            known.text = text.to_owned();
        }
        known.output.clone_from(output);
    }

    fn forget(&mut self, id: &ItemId) {
        self.changed.retain(|change| change.output.output_id != *id);
        self.forgotten.push(id.clone());
    }

    /// Removes text that is not kept.
    fn trim(&mut self) {
        for change in &mut self.changed {
            let lost = change.output.start.saturating_sub(change.from);
            let lost = usize::try_from(lost).unwrap_or(usize::MAX);
            let lost = lost.min(change.text.len());
            change.text.drain(..lost);
            change.from += lost as u64;
        }
    }
}

/// The outputs of a task, in the order in which they began.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extents {
    list: VecDeque<OutputExtent>,
    /// The kept bytes of all outputs.
    kept: u64,
}

impl Extents {
    /// Creates the outputs that a store has.
    pub(crate) fn stored(mut outputs: Vec<OutputExtent>) -> Self {
        outputs.sort_by(|a, b| (a.began, &a.output_id).cmp(&(b.began, &b.output_id)));
        Self {
            kept: outputs.iter().map(OutputExtent::kept).sum(),
            list: outputs.into(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &OutputExtent> {
        self.list.iter()
    }

    pub(crate) fn find(&self, id: &ItemId) -> Option<&OutputExtent> {
        self.list.iter().rev().find(|known| known.output_id == *id)
    }

    /// Adds an output that another part of the bus knows.
    pub(crate) fn add(&mut self, output: OutputExtent) {
        self.kept += output.kept();
        self.list.push_back(output);
    }

    /// Applies the event at `offset`, and adds its changes to `changes`. A `task_started` that
    /// opens a `new_run` starts without the outputs of the last run.
    pub(crate) fn take(
        &mut self,
        (payload, offset): (&Payload, Offset),
        new_run: bool,
        limits: OutputLimits,
        changes: &mut OutputChanges,
    ) {
        let id = match payload {
            Payload::OutputDelta(delta) => {
                self.grow(delta, offset, changes);
                &delta.output_id
            }
            Payload::OutputCompleted(completed) => {
                let id = &completed.output_id;
                let at = self.find_or_begin(id, offset, changes);
                let (before, output) = (self.list[at].kept(), &mut self.list[at]);
                output.complete = true;
                let text = completed.text.as_deref();
                if let Some(text) = text {
                    output.start = 0;
                    output.length = text.len() as u64;
                    self.kept = self.kept - before + output.length;
                }
                let from = text.map_or(output.length, |_| 0);
                changes.write(output, from, text.unwrap_or_default().as_bytes());
                id
            }
            Payload::TaskStarted(_) if new_run => {
                *self = Self::default();
                *changes = OutputChanges {
                    only: true,
                    ..OutputChanges::default()
                };
                return;
            }
            _ => return,
        };
        self.bound(id, limits, changes);
        changes.trim();
    }

    fn grow(&mut self, delta: &OutputDelta, offset: Offset, changes: &mut OutputChanges) {
        let at = self.find_or_begin(&delta.output_id, offset, changes);
        let output = &mut self.list[at];
        output.complete = false;
        let length = output.length;
        let at = delta.at.unwrap_or(length);
        if at > length {
            // Text is missing in between. The output keeps only the later text.
            self.kept -= output.kept();
            (output.start, output.length) = (at, at);
        }
        let known = usize::try_from(length.saturating_sub(at)).unwrap_or(usize::MAX);
        let new = delta.text.get(known..).unwrap_or_default();
        let from = output.length;
        output.length += new.len() as u64;
        self.kept += new.len() as u64;
        changes.write(output, from, new.as_bytes());
    }

    /// Applies the limits after an output has grown.
    fn bound(&mut self, id: &ItemId, limits: OutputLimits, changes: &mut OutputChanges) {
        let [each, task] = [limits.each, limits.task].map(|limit| limit as u64);
        let grown = self.list.iter().rposition(|known| known.output_id == *id);
        if let Some(at) = grown {
            let excess = self.list[at].kept().saturating_sub(each);
            if excess > 0 {
                self.cut(at, excess, changes);
            }
        }
        while self.kept > task {
            let Some(at) = self.richest(grown) else { break };
            // Cut more than necessary, so that the next words do not cut again.
            let kept = self.list[at].kept();
            let cut = self.kept - task + CUT_AHEAD.min(kept / 2);
            self.cut(at, cut.min(kept), changes);
        }
    }

    fn cut(&mut self, at: usize, bytes: u64, changes: &mut OutputChanges) {
        let output = &mut self.list[at];
        output.start += bytes;
        self.kept -= bytes;
        let end = changes.changed.iter().find_map(|change| {
            let same = change.output.output_id == output.output_id;
            same.then(|| change.from + change.text.len() as u64)
        });
        changes.write(output, end.unwrap_or(output.length), &[]);
    }

    /// Returns the output that can best lose text. This is the longest output except the one
    /// that has grown, unless that one is much longer.
    fn richest(&self, grown: Option<usize>) -> Option<usize> {
        let kept = |at: &usize| self.list[*at].kept();
        let others = (0..self.list.len()).filter(|at| Some(*at) != grown);
        match (others.max_by_key(kept), grown) {
            (Some(other), Some(own)) if kept(&other) < kept(&own) / 4 => Some(own),
            (Some(other), _) if kept(&other) > 0 => Some(other),
            (_, own) => own,
        }
    }

    fn find_or_begin(&mut self, id: &ItemId, offset: Offset, changes: &mut OutputChanges) -> usize {
        let known = self.list.iter().rposition(|known| known.output_id == *id);
        known.unwrap_or_else(|| {
            if self.list.len() >= MAX_OUTPUTS
                && let Some(oldest) = self.list.pop_front()
            {
                self.kept -= oldest.kept();
                changes.forget(&oldest.output_id);
            }
            self.list.push_back(OutputExtent {
                output_id: id.clone(),
                began: offset,
                start: 0,
                length: 0,
                complete: false,
            });
            self.list.len() - 1
        })
    }
}
