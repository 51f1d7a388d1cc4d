//! A task's outputs, whole: what a snapshot has no room for.

use std::collections::VecDeque;
use std::ops::Range;

use tidings_protocol::{ItemId, OutputDelta, Payload, TaskSnapshot};

/// Outputs of one task whose text is kept whole. Of more, those that began first are
/// forgotten: a snapshot lists 64.
const MAX_OUTPUTS: usize = 256;

/// Bytes that an output loses beyond what it must.
const CUT_AHEAD: usize = 16 * 1024;

/// What an output costs beside its text.
const OUTPUT_OVERHEAD: usize = 128;

/// How much of a task's outputs is kept outside the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLimits {
    /// Bytes of one output. A longer one loses its beginning.
    pub each: usize,
    /// Bytes of all outputs of a task. Past it the longest lose their beginning first.
    pub task: usize,
}

/// Part of an output's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputText {
    /// Where the text that is kept begins in the whole output, in bytes.
    pub start: u64,
    /// The length of the whole output so far, in bytes.
    pub length: u64,
    /// No more will come.
    pub complete: bool,
    /// Where `bytes` lie in the whole output.
    pub range: Range<u64>,
    /// The bytes asked for, as far as they are kept.
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
struct Whole {
    id: ItemId,
    start: u64,
    text: VecDeque<u8>,
    complete: bool,
}

impl Whole {
    fn length(&self) -> u64 {
        self.start + self.text.len() as u64
    }

    /// Forgets at least `count` bytes from the front, up to the next character.
    fn cut(&mut self, count: usize) -> usize {
        let mut count = count.min(self.text.len());
        while self.text.get(count).is_some_and(|byte| byte & 0xc0 == 0x80) {
            count += 1;
        }
        self.text.drain(..count);
        self.start += count as u64;
        if self.text.is_empty() {
            self.text = VecDeque::new();
        }
        count
    }
}

/// The outputs of a task, in the order in which they began.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    list: VecDeque<Whole>,
    bytes: usize,
}

impl Outputs {
    /// Bytes that they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The length of an output so far; none if it is not known.
    pub(crate) fn length(&self, id: &ItemId) -> Option<u64> {
        let mut known = self.list.iter().rev();
        known.find(|whole| whole.id == *id).map(Whole::length)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets all text, but not how long the outputs are.
    pub(crate) fn forget_text(&mut self) {
        for whole in &mut self.list {
            self.bytes -= whole.cut(usize::MAX);
        }
    }

    /// Begins with what a snapshot has.
    pub(crate) fn seed(&mut self, snapshot: &TaskSnapshot) {
        self.clear();
        for output in &snapshot.outputs {
            let whole = self.whole(&output.output_id);
            whole.start = output.start;
            whole.text = output.text.as_bytes().iter().copied().collect();
            whole.complete = output.complete;
            self.bytes += output.text.len();
        }
    }

    /// Adds what a snapshot knows beyond the events that were taken in: outputs whose
    /// deltas are not retained, and the text before those that are.
    pub(crate) fn complete(&mut self, snapshot: &TaskSnapshot) {
        for output in &snapshot.outputs {
            let known = self
                .list
                .iter_mut()
                .find(|whole| whole.id == output.output_id);
            let (start, length) = known.map_or((u64::MAX, 0), |whole| {
                whole.complete = output.complete;
                (whole.start, whole.length())
            });
            if start <= output.start && length == output.length {
                continue;
            }
            let whole = self.whole(&output.output_id);
            let before = whole.text.len();
            whole.start = output.start;
            whole.text = output.text.as_bytes().iter().copied().collect();
            whole.complete = output.complete;
            self.bytes = self.bytes + output.text.len() - before;
        }
    }

    /// Takes in an event that has made the task's state `after`.
    pub(crate) fn take(&mut self, payload: &Payload, after: &TaskSnapshot, limits: OutputLimits) {
        match payload {
            Payload::OutputDelta(delta) => self.add(delta, limits),
            Payload::OutputCompleted(completed) => {
                let text = completed.text.as_deref();
                let whole = self.whole(&completed.output_id);
                whole.complete = true;
                if let Some(text) = text {
                    let before = whole.text.len();
                    whole.start = 0;
                    whole.text = text.as_bytes().iter().copied().collect();
                    self.bytes = self.bytes + text.len() - before;
                    self.bound(&completed.output_id, limits);
                }
            }
            // A new run begins without the outputs of the last.
            Payload::TaskStarted(_) if after.outputs.is_empty() => self.clear(),
            _ => {}
        }
    }

    fn add(&mut self, delta: &OutputDelta, limits: OutputLimits) {
        let whole = self.whole(&delta.output_id);
        whole.complete = false;
        let (length, at) = (whole.length(), delta.at.unwrap_or(whole.length()));
        let mut freed = 0;
        if at > length {
            freed = whole.cut(usize::MAX);
            whole.start = at;
        }
        let known = usize::try_from(length.saturating_sub(at)).unwrap_or(usize::MAX);
        let new = delta.text.get(known..).unwrap_or_default();
        whole.text.extend(new.as_bytes());
        self.bytes = self.bytes + new.len() - freed;
        self.bound(&delta.output_id, limits);
    }

    /// Keeps to the limits after an output has grown.
    fn bound(&mut self, id: &ItemId, limits: OutputLimits) {
        let mut cut = 0;
        if let Some(whole) = self.list.iter_mut().rev().find(|whole| whole.id == *id) {
            let excess = whole.text.len().saturating_sub(limits.each);
            if excess > 0 {
                cut = whole.cut(excess);
            }
        }
        self.bytes -= cut;
        let overhead = self.list.len() * OUTPUT_OVERHEAD;
        while self.bytes - overhead > limits.task {
            let excess = self.bytes - overhead - limits.task;
            let Some(at) = self.richest(id) else { break };
            let whole = &mut self.list[at];
            // More than it must be, so that it is not cut anew with each word.
            let cut = excess + CUT_AHEAD.min(whole.text.len() / 2);
            self.bytes -= whole.cut(cut);
        }
    }

    /// The output that can best lose text: the longest one beside the one that has
    /// grown, unless that is much longer.
    fn richest(&self, grown: &ItemId) -> Option<usize> {
        let length = |at: &usize| self.list[*at].text.len();
        let own = self.list.iter().rposition(|whole| whole.id == *grown);
        let others = (0..self.list.len()).filter(|at| Some(*at) != own);
        let longest = others.max_by_key(length);
        match (longest, own) {
            (Some(other), Some(own)) if length(&other) < length(&own) / 4 => Some(own),
            (Some(other), _) => Some(other),
            (None, own) => own,
        }
    }

    fn whole(&mut self, id: &ItemId) -> &mut Whole {
        let known = self.list.iter().rposition(|whole| whole.id == *id);
        let at = known.unwrap_or_else(|| {
            if self.list.len() >= MAX_OUTPUTS
                && let Some(oldest) = self.list.pop_front()
            {
                self.bytes -= oldest.text.len() + OUTPUT_OVERHEAD;
            }
            self.bytes += OUTPUT_OVERHEAD;
            self.list.push_back(Whole {
                id: id.clone(),
                start: 0,
                text: VecDeque::new(),
                complete: false,
            });
            self.list.len() - 1
        });
        &mut self.list[at]
    }

    /// Reads part of an output, or what is kept of that part.
    pub(crate) fn read(&self, id: &ItemId, wanted: Range<u64>) -> Option<OutputText> {
        let whole = self.list.iter().rev().find(|whole| whole.id == *id)?;
        let length = whole.length();
        let from = wanted.start.max(whole.start).min(length);
        let to = wanted.end.min(length).max(from);
        let within = |offset: u64| usize::try_from(offset - whole.start).unwrap_or(usize::MAX);
        let bytes = whole.text.range(within(from)..within(to)).copied();
        Some(OutputText {
            start: whole.start,
            length,
            complete: whole.complete,
            range: from..to,
            bytes: bytes.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use tidings_protocol::{Epoch, NewEvent, TaskId};

    use super::*;

    const LIMITS: OutputLimits = OutputLimits {
        each: 1_000,
        task: 3_000,
    };

    fn put(outputs: &mut Outputs, event: &NewEvent) {
        let payload = Payload::parse(&event.event_type, &event.data).unwrap();
        let state = TaskSnapshot::new(TaskId::new("t").unwrap(), Epoch::new("e").unwrap());
        outputs.take(&payload, &state, LIMITS);
        let texts: usize = outputs.list.iter().map(|whole| whole.text.len()).sum();
        assert!(texts <= LIMITS.task);
        assert_eq!(
            outputs.bytes,
            texts + outputs.list.len() * OUTPUT_OVERHEAD,
            "counted along"
        );
    }

    #[test]
    fn an_output_that_outgrows_its_limit_loses_its_beginning() {
        let id = ItemId::new("o").unwrap();
        let mut outputs = Outputs::default();
        let mut whole = String::new();
        for n in 0..2_000 {
            let text = format!("wört{n} ");
            whole.push_str(&text);
            put(&mut outputs, &NewEvent::output_delta("o", text));
        }
        let read = outputs.read(&id, 0..u64::MAX).unwrap();
        assert_eq!(read.length, whole.len() as u64);
        let start = usize::try_from(read.start).unwrap();
        assert!(whole.len() - start <= LIMITS.each && whole.len() - start > LIMITS.each - 8);
        assert_eq!(read.bytes, whole.as_bytes()[start..]);
        let part = outputs.read(&id, read.start + 10..read.start + 30).unwrap();
        assert_eq!(part.bytes, whole.as_bytes()[start + 10..start + 30]);
        assert_eq!(outputs.read(&id, 0..5).unwrap().bytes, b"");
    }

    #[test]
    fn all_of_them_keep_to_the_limit_of_the_task() {
        let mut outputs = Outputs::default();
        for n in 0..600 {
            for _ in 0..3 {
                put(
                    &mut outputs,
                    &NewEvent::output_delta(n.to_string(), "x".repeat(400)),
                );
            }
        }
        assert_eq!(outputs.list.len(), MAX_OUTPUTS);
        let newest = ItemId::new("599").unwrap();
        assert_eq!(outputs.length(&newest), Some(1_200));
        assert!(!outputs.read(&newest, 0..9_999).unwrap().bytes.is_empty());
        put(&mut outputs, &NewEvent::output_completed("599", "done"));
        let read = outputs.read(&newest, 0..9_999).unwrap();
        assert_eq!(
            (read.start, &*read.bytes, read.complete),
            (0, &b"done"[..], true)
        );
        outputs.forget_text();
        assert_eq!(outputs.length(&newest), Some(4));
    }
}
