//! A report that waits for the server's answer. While it waits, it may be merged, split
//! or dropped.

use serde_json::Value;
use tidings_protocol::{Data, EventClass, EventType, NewEvent};

use super::super::RequestId;

/// The largest data, in bytes, that adjacent reports are merged into.
const MAX_GATHERED: usize = 16 * 1024;

/// The bytes of a message in addition to the event's data: names, ids and the producer
/// stamp.
pub(super) const ENVELOPE: usize = 1_024;

/// The progress of a report on its way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The report waits to be sent.
    Waits,
    /// The report was sent on this connection under this `ref`.
    Sent(u64),
    /// The server has accepted this report, but has not answered an earlier one yet.
    Accepted,
    /// The report must be sent again, after the reports before it.
    Back,
}

/// A report, until the server has answered.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) event: NewEvent,
    /// The bytes that the report takes from the room for reports. None if its room was
    /// reserved.
    pub(super) bytes: Option<usize>,
    /// The request whose answer the program waits for.
    pub(super) answer: Option<RequestId>,
    pub(super) way: Way,
    /// True if this report is the task's end.
    pub(super) is_end: bool,
}

impl Report {
    pub(super) fn new(event: NewEvent, bytes: Option<usize>, answer: Option<RequestId>) -> Self {
        Self {
            event,
            bytes,
            answer,
            way: Way::Waits,
            is_end: false,
        }
    }

    /// Returns true if this report may be dropped for a newer one.
    pub(super) fn may_be_dropped(&self) -> bool {
        self.way == Way::Waits && self.is_droppable()
    }

    /// Returns true if this report may be dropped while it waits.
    pub(super) fn is_droppable(&self) -> bool {
        self.bytes.is_some() && self.event.event_type.class() != EventClass::Essential
    }

    /// Merges a newer event into this report, as a server does for a subscriber that
    /// lags. Adjacent progress keeps the latest value of each field, and adjacent
    /// deltas keep all text. Returns the number of bytes that the report grew by.
    /// Returns none if the two cannot be merged.
    pub(super) fn absorb(&mut self, newer: &NewEvent, max_message: usize) -> Option<usize> {
        let (old, new) = (&self.event, newer);
        let plain = |event: &NewEvent| event.event_id.is_none() && event.producer.is_none();
        if self.way != Way::Waits
            || self.bytes.is_none()
            || self.answer.is_some()
            || old.event_type != new.event_type
            || old.source != new.source
            || !plain(old)
            || !plain(new)
        {
            return None;
        }
        let merged = match new.event_type {
            EventType::ProgressUpdate => {
                let mut fields = old.data.get();
                fields.extend(new.data.get());
                fields
            }
            EventType::OutputDelta => {
                let (mut fields, more) = (old.data.get(), new.data.get());
                if fields.get("output_id") != more.get("output_id") || fields.len() != more.len() {
                    return None;
                }
                let (Some(Value::String(text)), Some(Value::String(added))) =
                    (fields.get_mut("text"), more.get("text"))
                else {
                    return None;
                };
                text.push_str(added);
                fields
            }
            _ => return None,
        };
        let data = Data::from_value(Value::Object(merged)).ok()?;
        let bytes = data.as_str().len();
        if bytes > MAX_GATHERED.min(max_message.saturating_sub(ENVELOPE)) {
            return None;
        }
        let before = self.bytes?;
        self.bytes = Some(bytes.max(before));
        self.event.data = data;
        Some(bytes.saturating_sub(before))
    }
}

/// Makes an event fit into a message. The text of a log is cut, and a delta is split.
/// Returns the event unchanged if it cannot be made to fit.
pub(super) fn fit(event: NewEvent, max: usize) -> Vec<NewEvent> {
    let room = max.saturating_sub(ENVELOPE);
    if event.data.as_str().len() <= room {
        return vec![event];
    }
    let field = match event.event_type {
        EventType::Log => "message",
        EventType::OutputDelta => "text",
        _ => return vec![event],
    };
    let mut fields = event.data.get();
    let Some(Value::String(text)) = fields.remove(field) else {
        return vec![event];
    };
    let rest = serde_json::to_string(&fields).map_or(0, |text| text.len());
    let Some(room) = room.checked_sub(rest + 64).filter(|room| *room > 64) else {
        return vec![event];
    };
    let with = |text: String| {
        let mut fields = fields.clone();
        fields.insert(field.to_owned(), Value::String(text));
        let mut part = event.clone();
        part.data = Data::from_value(Value::Object(fields)).unwrap_or_default();
        part
    };
    let mut parts = parts(&text, room);
    if event.event_type == EventType::OutputDelta {
        return parts
            .into_iter()
            .map(|part| with(part.to_owned()))
            .collect();
    }
    let first = parts.swap_remove(0);
    let cut = text.len() - first.len();
    vec![with(format!("{first}… [{cut} bytes cut]"))]
}

/// Splits a text into parts of at most `room` bytes each, measured as JSON.
fn parts(text: &str, room: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, c) in text.char_indices() {
        let width = match c {
            '"' | '\\' | '\n' | '\r' | '\t' => 2,
            c if c.is_control() => 6,
            c => c.len_utf8(),
        };
        if bytes + width > room {
            parts.push(&text[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += width;
    }
    parts.push(&text[from..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(event: NewEvent) -> Report {
        Report::new(event, Some(0), None)
    }

    #[test]
    fn adjacent_progress_keeps_the_latest_of_each_field() {
        let mut report = waits(NewEvent::progress(10.0, "fetching"));
        assert!(
            report
                .absorb(&NewEvent::progress(20.0, None), 65_536)
                .is_some()
        );
        let data = report.event.data.get();
        assert_eq!(
            (&data["progress"], &data["message"]),
            (&20.into(), &"fetching".into())
        );
        assert!(report.absorb(&NewEvent::log("between"), 65_536).is_none());
    }

    #[test]
    fn adjacent_deltas_of_one_output_are_one_text() {
        let mut report = waits(NewEvent::output_delta("o", "one "));
        assert!(
            report
                .absorb(&NewEvent::output_delta("o", "two"), 65_536)
                .is_some()
        );
        assert_eq!(report.event.data.get()["text"], "one two");
        assert!(
            report
                .absorb(&NewEvent::output_delta("p", "two"), 65_536)
                .is_none()
        );
        report.way = Way::Sent(1);
        assert!(
            report
                .absorb(&NewEvent::output_delta("o", "three"), 65_536)
                .is_none()
        );
    }

    #[test]
    fn a_log_that_is_too_large_is_cut_and_a_delta_is_split() {
        let text = "ä\n\"x".repeat(2_000);
        let cut = fit(NewEvent::log(&text), 4_096);
        assert_eq!(cut.len(), 1);
        assert!(cut[0].data.as_str().len() <= 4_096 - ENVELOPE);
        let message = cut[0].data.get()["message"].as_str().unwrap().to_owned();
        assert!(message.ends_with(" bytes cut]"), "{message}");

        let parts = fit(NewEvent::output_delta("o", &text), 4_096);
        assert!(parts.len() > 1);
        assert!(
            parts
                .iter()
                .all(|part| part.data.as_str().len() <= 4_096 - ENVELOPE)
        );
        let whole: String = parts
            .iter()
            .map(|part| part.data.get()["text"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(whole, text);
    }

    #[test]
    fn another_event_that_is_too_large_stays_as_it_is() {
        let large = NewEvent::task_completed(Value::String("x".repeat(9_000)));
        assert_eq!(fit(large.clone(), 4_096), [large]);
    }
}
