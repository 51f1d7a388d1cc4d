//! The weight of a snapshot: the number of bytes of its lists and its result as JSON.

use std::io;

use serde::Serialize;

use super::{OutputState, TaskSnapshot};

/// The weight so far, or `None` if it must be counted again before it is needed next.
///
/// All weights compare as equal. The weight follows from the rest of the snapshot, so whether it
/// was already counted must not matter in a comparison.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weight(pub(super) Option<usize>);

impl PartialEq for Weight {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl TaskSnapshot {
    /// Returns the exact weight of the lists and the result.
    pub(super) fn weigh(&mut self) -> usize {
        if let Some(weight) = self.bytes.0 {
            return weight;
        }
        let weight = list(&self.agents)
            + list(&self.steps)
            + list(&self.tool_calls)
            + list(&self.pending_inputs)
            + list(&self.ended_inputs)
            + list(&self.pending_commands)
            + self.outputs.iter().map(output).sum::<usize>()
            + list(&self.artifacts)
            + self
                .result
                .as_ref()
                .map_or(0, |result| result.as_str().len());
        self.bytes = Weight(Some(weight));
        weight
    }

    /// Returns roughly how many bytes the snapshot's texts and lists take in memory. Returns `None`
    /// if they would have to be counted first.
    pub fn known_bytes(&self) -> Option<usize> {
        let lists = match self.bytes.0 {
            Some(weight) => weight,
            None if self.has_no_lists() => {
                let result = self.result.as_ref();
                result.map_or(0, |result| result.as_str().len())
            }
            None => return None,
        };
        let texts = [&self.name, &self.message, &self.stage]
            .into_iter()
            .flatten();
        Some(lists + texts.map(String::len).sum::<usize>())
    }

    /// Counts roughly how many bytes the snapshot's texts and lists take in memory.
    pub fn count_bytes(&mut self) -> usize {
        self.weigh();
        self.known_bytes().unwrap_or(0)
    }

    fn has_no_lists(&self) -> bool {
        self.agents.is_empty()
            && self.steps.is_empty()
            && self.tool_calls.is_empty()
            && self.pending_inputs.is_empty()
            && self.ended_inputs.is_empty()
            && self.pending_commands.is_empty()
            && self.outputs.is_empty()
            && self.artifacts.is_empty()
    }

    /// Adds the bytes of text that was added to an entry.
    pub(super) fn grow(&mut self, bytes: usize) {
        self.bytes = Weight(self.bytes.0.map(|weight| weight + bytes));
    }

    /// Subtracts the bytes of something that was removed.
    pub(super) fn shrink(&mut self, bytes: usize) {
        self.bytes = Weight(self.bytes.0.map(|weight| weight.saturating_sub(bytes)));
    }
}

fn list<T: Serialize>(entries: &[T]) -> usize {
    entries.iter().map(entry).sum()
}

/// The bytes of an output besides its id and its text, with the longest numbers.
const OUTPUT_FIELDS: usize = concat!(
    r#"{"output_id":"","start":18446744073709551615,"length":18446744073709551615,"#,
    r#""text":"","complete":false},"#
)
.len();

/// Returns the most bytes that an output and its comma can take. It does not depend on the length
/// of the output's numbers, so only text makes an output heavier.
fn output(output: &OutputState) -> usize {
    OUTPUT_FIELDS + text(output.output_id.as_str()) + text(&output.text)
}

/// Returns the bytes of one entry and its comma.
pub(super) fn entry(entry: &impl Serialize) -> usize {
    let mut count = Count(1);
    // Counting cannot fail, and neither can serializing plain structs.
    let _ = serde_json::to_writer(&mut count, entry);
    count.0
}

struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the bytes of text within a JSON string, escaped as serde_json does it.
pub(super) fn text(text: &str) -> usize {
    text.bytes().map(byte).sum()
}

pub(super) const fn byte(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, NewEvent, Offset, Payload, TaskId, Timestamp};

    #[test]
    fn the_running_count_is_the_exact_one() {
        let mut snapshot = TaskSnapshot::new(TaskId::new("t").unwrap(), Epoch::new("e").unwrap());
        let events = (0..3_000).map(|n| match n % 50 {
            0 => NewEvent::step_started(n.to_string(), "step"),
            1 => NewEvent::task_completed(serde_json::json!(n)),
            n => NewEvent::output_delta((n % 3).to_string(), "\u{1}\"ö\n text".repeat(n)),
        });
        for event in events {
            let payload = Payload::parse(&event.event_type, &event.data).unwrap();
            snapshot.apply(&payload, Offset::FIRST, Timestamp::MIN);
            let running = snapshot.bytes.0;
            snapshot.bytes = Weight(None);
            assert_eq!(running, Some(snapshot.weigh()));
        }
        assert!(snapshot.truncated);
    }

    #[test]
    fn text_weighs_what_serde_json_makes_of_it() {
        let all: String = (0..0x800_u32).filter_map(char::from_u32).collect();
        assert_eq!(text(&all) + 2, serde_json::to_string(&all).unwrap().len());
    }
}
