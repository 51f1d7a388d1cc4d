//! The limits on the size of a snapshot.

use super::TaskSnapshot;
use super::entries::{Ends, Entry, OutputState};
use super::weight;
use crate::Json;

/// The most bytes that a snapshot may have as JSON: as many as a message.
pub const MAX_SNAPSHOT_BYTES: usize = 64 * 1024;

/// The most bytes that a single text in a snapshot may have as JSON: a name, a message or a prompt,
/// but not an output. The end of a longer text is cut off.
pub const MAX_TEXT_BYTES: usize = 2 * 1024;

/// The most entries in one list of a snapshot. If there are more, the oldest are left out.
pub const MAX_ENTRIES: usize = 64;

/// The most ended steps, and ended tool calls, that a snapshot keeps. If there are more, the
/// ones that began first are left out.
pub const MAX_ENDED: usize = 32;

/// The most ended questions that a snapshot keeps. If there are more, the ones that ended first
/// are left out.
pub const MAX_ENDED_INPUTS: usize = 16;

/// Bytes for everything except lists and result: five texts of [`MAX_TEXT_BYTES`], ids, times,
/// and the names of the fields.
const FIXED_BYTES: usize = 12 * 1024;

/// The most bytes that the lists and the result may have.
const BUDGET: usize = MAX_SNAPSHOT_BYTES - FIXED_BYTES;

impl TaskSnapshot {
    /// Removes content until the snapshot fits its limits.
    pub(super) fn bound(&mut self) {
        self.cap_lists();
        if self.weigh() <= BUDGET {
            return;
        }
        self.truncated = true;
        self.drop_what_can_never_fit();
        self.cut_outputs();
        self.drop_inline_data();
        if self.weigh() > BUDGET
            && let Some(result) = self.result.take()
        {
            self.shrink(result.as_str().len());
        }
        self.drop_oldest();
    }

    fn cap_lists(&mut self) {
        forget_ended(&mut self.steps);
        forget_ended(&mut self.tool_calls);
        let excess = self.ended_inputs.len().saturating_sub(MAX_ENDED_INPUTS);
        self.ended_inputs.drain(..excess);
        let dropped = cap(&mut self.agents)
            | cap(&mut self.steps)
            | cap(&mut self.tool_calls)
            | cap(&mut self.pending_inputs)
            | cap(&mut self.pending_commands)
            | cap(&mut self.outputs)
            | cap(&mut self.artifacts);
        if dropped {
            self.truncated = true;
            self.bytes = weight::Weight(None);
        }
    }

    /// Removes huge values first, so that one of them does not displace everything else.
    fn drop_what_can_never_fit(&mut self) {
        let huge = |json: &Json| json.as_str().len() > BUDGET / 2;
        let inline = self.artifacts.iter_mut().map(|artifact| &mut artifact.data);
        let schemas = self
            .pending_inputs
            .iter_mut()
            .map(|input| &mut input.schema);
        let args = self
            .pending_commands
            .iter_mut()
            .map(|command| &mut command.args);
        let mut dropped = false;
        for json in inline.chain(schemas).chain(args) {
            if json.as_ref().is_some_and(huge) {
                *json = None;
                dropped = true;
            }
        }
        if self
            .result
            .as_ref()
            .is_some_and(|result| result.as_str().len() > BUDGET)
        {
            self.result = None;
            dropped = true;
        }
        // Counting again reads all outputs, so a stream of small deltas must not cause it.
        if dropped {
            self.bytes = weight::Weight(None);
        }
    }

    /// Cuts the outputs no more than necessary. The result then does not depend on whether the text
    /// came word by word or merged.
    fn cut_outputs(&mut self) {
        let mut excess = self.weigh().saturating_sub(BUDGET);
        let mut cut = 0;
        for output in &mut self.outputs {
            if excess == 0 {
                break;
            }
            let bytes = cut_front(output, excess);
            excess = excess.saturating_sub(bytes);
            cut += bytes;
        }
        self.shrink(cut);
    }

    fn drop_inline_data(&mut self) {
        let mut over = self.weigh().saturating_sub(BUDGET);
        let mut dropped = 0;
        for artifact in &mut self.artifacts {
            if over == 0 {
                break;
            }
            let before = weight::entry(artifact);
            artifact.data = None;
            let bytes = before.saturating_sub(weight::entry(artifact));
            over = over.saturating_sub(bytes);
            dropped += bytes;
        }
        self.shrink(dropped);
    }

    fn drop_oldest(&mut self) {
        let mut over = self.weigh().saturating_sub(BUDGET);
        if over == 0 {
            return;
        }
        over = drop_front(&mut self.artifacts, over);
        over = drop_front(&mut self.outputs, over);
        over = drop_front(&mut self.tool_calls, over);
        over = drop_front(&mut self.steps, over);
        over = drop_front(&mut self.agents, over);
        over = drop_front(&mut self.ended_inputs, over);
        over = drop_front(&mut self.pending_commands, over);
        drop_front(&mut self.pending_inputs, over);
        self.bytes = weight::Weight(None);
    }
}

/// Removes the oldest ended entries beyond [`MAX_ENDED`]. This does not set `truncated`, because
/// all open entries remain.
fn forget_ended<T: Ends>(entries: &mut Vec<T>) {
    let ended = entries.iter().filter(|entry| !entry.is_open()).count();
    let mut excess = ended.saturating_sub(MAX_ENDED);
    entries.retain(|entry| {
        let goes = excess > 0 && !entry.is_open();
        excess -= usize::from(goes);
        !goes
    });
}

fn cap<T>(entries: &mut Vec<T>) -> bool {
    let excess = entries.len().saturating_sub(MAX_ENTRIES);
    entries.drain(..excess);
    excess > 0
}

/// Removes `excess` bytes from the start of the text, or the whole text if it is shorter. Returns
/// the number of bytes removed.
fn cut_front(output: &mut OutputState, excess: usize) -> usize {
    let mut bytes = 0;
    let mut end = output.text.len();
    for (at, c) in output.text.char_indices() {
        if bytes >= excess {
            end = at;
            break;
        }
        bytes += weight::text(c.encode_utf8(&mut [0; 4]));
    }
    output.text.drain(..end);
    output.start += end as u64;
    bytes
}

/// Removes entries from the front until `over` bytes are gone. Returns how many bytes of `over`
/// remain.
fn drop_front<T: Entry>(entries: &mut Vec<T>, mut over: usize) -> usize {
    let mut count = 0;
    for entry in entries.iter() {
        if over == 0 {
            break;
        }
        over = over.saturating_sub(weight::entry(entry));
        count += 1;
    }
    entries.drain(..count);
    over
}

/// Returns whether a snapshot would keep only part of the text.
pub(crate) fn is_clipped(text: &str) -> bool {
    !clip(text).1
}

/// Returns the part of a text that fits into [`MAX_TEXT_BYTES`], and whether that is all of it.
pub(super) fn clip(text: &str) -> (&str, bool) {
    // One byte becomes at most six, so most texts need no count.
    if text.len() * 6 <= MAX_TEXT_BYTES {
        return (text, true);
    }
    let mut bytes = 0;
    for (at, c) in text.char_indices() {
        bytes += weight::text(c.encode_utf8(&mut [0; 4]));
        if bytes > MAX_TEXT_BYTES {
            return (&text[..at], false);
        }
    }
    (text, true)
}
