//! The encoding of events, and the limits of message sizes.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Arc, Weak};

use crate::message::Joined;
use crate::{ClientId, Epoch, NewEvent, Offset, Reference, TaskId, TaskSnapshot, Timestamp};

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

/// The fields of a `connection_established`.
pub(crate) struct Established<'a> {
    pub(crate) client_id: &'a ClientId,
    pub(crate) protocol: &'a str,
    pub(crate) resume_token: &'a str,
    pub(crate) heartbeat_interval_ms: u64,
    pub(crate) max_message_bytes: Option<u64>,
    pub(crate) task: Option<&'a Joined>,
}

/// Appends a `connection_established` with the same bytes that serde would write. Through serde,
/// this message took 11,800 of the 80,000 instructions of a handshake (measured with callgrind).
pub(crate) fn encode_established(buf: &mut Vec<u8>, message: &Established<'_>, at: Timestamp) {
    // Task ids, client ids and epochs contain no character that JSON escapes.
    buf.extend_from_slice(b"{\"event_type\":\"connection_established\",");
    if let Some(task) = message.task {
        buf.extend_from_slice(b"\"task_id\":\"");
        buf.extend_from_slice(task.task_id.as_str().as_bytes());
        buf.extend_from_slice(b"\",");
    }
    buf.extend_from_slice(b"\"timestamp\":\"");
    buf.extend_from_slice(&at.ascii());
    buf.extend_from_slice(b"\",\"data\":{\"client_id\":\"");
    buf.extend_from_slice(message.client_id.as_str().as_bytes());
    buf.extend_from_slice(b"\",\"protocol\":");
    string(buf, message.protocol);
    buf.extend_from_slice(b",\"resume_token\":");
    string(buf, message.resume_token);
    buf.extend_from_slice(b",\"heartbeat_interval_ms\":");
    let _ = serde_json::to_writer(&mut *buf, &message.heartbeat_interval_ms);
    if let Some(bytes) = &message.max_message_bytes {
        buf.extend_from_slice(b",\"max_message_bytes\":");
        let _ = serde_json::to_writer(&mut *buf, bytes);
    }
    if let Some(task) = message.task {
        buf.extend_from_slice(b",\"epoch\":\"");
        buf.extend_from_slice(task.epoch.as_str().as_bytes());
        buf.extend_from_slice(b"\",\"offset\":");
        let _ = serde_json::to_writer(&mut *buf, &task.offset);
        buf.extend_from_slice(b",\"recovered\":");
        buf.extend_from_slice(if task.recovered { b"true" } else { b"false" });
        buf.extend_from_slice(b",\"snapshot\":");
        encode_snapshot(buf, &task.snapshot);
        if let Some(permissions) = &task.permissions {
            buf.extend_from_slice(b",\"permissions\":");
            let _ = serde_json::to_writer(&mut *buf, permissions);
        }
    }
    buf.extend_from_slice(b"}}");
}

thread_local! {
    /// The snapshot that was encoded last, and its JSON.
    ///
    /// A snapshot never changes while somebody shares it. The weak reference keeps its address from
    /// being used again, so the same address means the same snapshot.
    static LAST_SNAPSHOT: RefCell<(Weak<TaskSnapshot>, Vec<u8>)> =
        const { RefCell::new((Weak::new(), Vec::new())) };
}

/// Appends a snapshot. When many clients reconnect to one task, the snapshot is encoded once.
fn encode_snapshot(buf: &mut Vec<u8>, snapshot: &Arc<TaskSnapshot>) {
    LAST_SNAPSHOT.with_borrow_mut(|(known, json)| {
        if known.as_ptr() != Arc::as_ptr(snapshot) {
            json.clear();
            let _ = serde_json::to_writer(&mut *json, snapshot);
            *known = Arc::downgrade(snapshot);
        }
        buf.extend_from_slice(json);
    });
}

fn string(buf: &mut Vec<u8>, text: &str) {
    let _ = serde_json::to_writer(buf, text);
}
