//! The encoding of events, and the limits of message sizes.

use std::ops::Range;

use crate::{Epoch, NewEvent, Offset, Reference, TaskId, Timestamp};

/// Limits on the size of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest message that a client may send, in bytes. Default: 65,536. The data of an event
    /// is usually a few hundred bytes. Publish a link to anything much larger.
    pub max_message_bytes: usize,
}

impl Limits {
    /// Sets the largest message that a client may send, in bytes.
    #[must_use]
    pub const fn with_max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: 64 * 1024,
        }
    }
}

/// Appends an event in its wire form: one line of JSON without a line break. Returns the range of
/// its `data` within `buf`.
///
/// `text_at` is the length of an output before this text. Pass it for an `output_delta`, and
/// `None` for other events. serde_json writes the same bytes for [`Event`](crate::Event), but
/// this function builds no `Event`. `data` is the last field, so it ends one byte before the
/// event does.
///
/// ```
/// use tidings_protocol::{Event, NewEvent, Offset, TaskId, Timestamp, encode_event};
///
/// let mut buf = Vec::new();
/// let event = NewEvent::task_started("Build");
/// let at = Timestamp::from_millis(0);
/// let data = encode_event(&mut buf, &TaskId::new("build-7")?, Offset::FIRST, at, None, &event);
/// assert_eq!(&buf[data], br#"{"name":"Build"}"#);
/// let event: Event = serde_json::from_slice(&buf)?;
/// assert_eq!(event.offset, Offset::FIRST);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn encode_event(
    buf: &mut Vec<u8>,
    task_id: &TaskId,
    offset: Offset,
    at: Timestamp,
    text_at: Option<u64>,
    event: &NewEvent,
) -> Range<usize> {
    // Event types and task ids contain no character that JSON escapes.
    buf.extend_from_slice(b"{\"event_type\":\"");
    buf.extend_from_slice(event.event_type.as_str().as_bytes());
    buf.extend_from_slice(b"\",\"task_id\":\"");
    buf.extend_from_slice(task_id.as_str().as_bytes());
    buf.extend_from_slice(b"\",\"offset\":");
    // Writing to a `Vec` cannot fail, and serde writes numbers faster than `write!`.
    let _ = serde_json::to_writer(&mut *buf, &offset);
    buf.extend_from_slice(b",\"timestamp\":\"");
    buf.extend_from_slice(&at.ascii());
    buf.push(b'"');
    if let Some(event_id) = &event.event_id {
        buf.extend_from_slice(b",\"event_id\":");
        string(buf, event_id.as_str());
    }
    if let Some(source) = &event.source {
        buf.extend_from_slice(b",\"source\":");
        string(buf, source.as_str());
    }
    if let Some(text_at) = text_at {
        buf.extend_from_slice(b",\"at\":");
        let _ = serde_json::to_writer(&mut *buf, &text_at);
    }
    buf.extend_from_slice(b",\"data\":");
    let start = buf.len();
    buf.extend_from_slice(event.data.as_str().as_bytes());
    let end = buf.len();
    buf.push(b'}');
    start..end
}

/// Appends an `ack` with the same bytes that serde would write. An `ack` is the only control
/// message that is as frequent as events. Through serde it took 2,900 of the 19,300 instructions of
/// a publish and its delivery (measured with callgrind).
#[expect(clippy::too_many_arguments, reason = "the fields of one message")]
pub(crate) fn encode_ack(
    buf: &mut Vec<u8>,
    reference: Option<&Reference>,
    task_id: &TaskId,
    epoch: &Epoch,
    offset: Offset,
    duplicate: bool,
    run: Option<u32>,
    at: Timestamp,
) {
    // Epochs contain no character that JSON escapes either.
    buf.extend_from_slice(b"{\"event_type\":\"ack\",\"task_id\":\"");
    buf.extend_from_slice(task_id.as_str().as_bytes());
    buf.extend_from_slice(b"\",\"timestamp\":\"");
    buf.extend_from_slice(&at.ascii());
    buf.extend_from_slice(b"\",\"data\":{");
    if let Some(reference) = reference {
        buf.extend_from_slice(b"\"ref\":");
        buf.extend_from_slice(reference.as_str().as_bytes());
        buf.push(b',');
    }
    buf.extend_from_slice(b"\"epoch\":\"");
    buf.extend_from_slice(epoch.as_str().as_bytes());
    buf.extend_from_slice(b"\",\"offset\":");
    let _ = serde_json::to_writer(&mut *buf, &offset);
    buf.extend_from_slice(b",\"duplicate\":");
    buf.extend_from_slice(if duplicate { b"true" } else { b"false" });
    if let Some(run) = run {
        buf.extend_from_slice(b",\"run\":");
        let _ = serde_json::to_writer(&mut *buf, &run);
    }
    buf.extend_from_slice(b"}}");
}

fn string(buf: &mut Vec<u8>, text: &str) {
    let _ = serde_json::to_writer(buf, text);
}
