//! Messages from the server: events and control messages.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ControlMessage;
use super::wire::control;
use crate::{Data, Event, EventId, EventTypeError, Offset, Source, TaskId, Timestamp};

/// A message from the server.
///
/// ```
/// use tidings_protocol::{ControlMessage, ServerMessage, Timestamp};
///
/// let text = ControlMessage::pong(None).encode(Timestamp::from_millis(0));
/// let ServerMessage::Control { message, .. } = ServerMessage::decode(&text)? else {
///     unreachable!()
/// };
/// assert_eq!(message, ControlMessage::pong(None));
/// # Ok::<(), tidings_protocol::InvalidServerMessage>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ServerMessage {
    /// An event of a task. It has an offset.
    Event(Event),
    /// A control message.
    Control {
        /// When the server sent the message.
        timestamp: Timestamp,
        /// The control message.
        message: ControlMessage,
    },
    /// A control message of a newer protocol. Ignore it.
    Unknown {
        /// The name of the message.
        event_type: String,
        /// The message's data.
        data: Data,
    },
}

/// Why text is not a server's message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidServerMessage {
    /// The text is not JSON, or a field is missing or has the wrong type.
    #[error("not a server's message")]
    Json(#[from] serde_json::Error),
    /// An event has a name that no event can have.
    #[error(transparent)]
    EventType(#[from] EventTypeError),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    task_id: Option<TaskId>,
    offset: Option<Offset>,
    from: Option<Offset>,
    timestamp: Option<Timestamp>,
    event_id: Option<EventId>,
    source: Option<Source>,
    at: Option<u64>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl ServerMessage {
    /// Decodes a server's message. A message with an offset is an event. A message without an
    /// offset and without a known name is [`Unknown`](Self::Unknown).
    ///
    /// # Errors
    /// Returns an error if the text is not a message, or lacks a field that its kind requires.
    pub fn decode(text: &str) -> Result<Self, InvalidServerMessage> {
        let envelope = crate::object::from_str::<Envelope<'_>>(text, "a server's message")?;
        match envelope.offset {
            Some(offset) => envelope.event(offset),
            None => envelope.control(),
        }
    }
}

impl Envelope<'_> {
    fn event(self, offset: Offset) -> Result<ServerMessage, InvalidServerMessage> {
        let data = self.data.ok_or_else(|| missing("data"))?;
        Ok(ServerMessage::Event(Event {
            event_type: self.event_type.parse()?,
            task_id: self.task_id.ok_or_else(|| missing("task_id"))?,
            offset,
            from: self.from,
            timestamp: self.timestamp.ok_or_else(|| missing("timestamp"))?,
            event_id: self.event_id,
            source: self.source,
            at: self.at,
            data: Data::from_raw(data).map_err(|error| invalid(&error))?,
        }))
    }

    fn control(self) -> Result<ServerMessage, InvalidServerMessage> {
        let data = self.data.map_or("{}", RawValue::get);
        match control::read(&self.event_type, self.task_id, data) {
            Some(message) => Ok(ServerMessage::Control {
                message: message?,
                timestamp: self.timestamp.ok_or_else(|| missing("timestamp"))?,
            }),
            None => Ok(ServerMessage::Unknown {
                event_type: self.event_type.into_owned(),
                data: Data::parse(data).map_err(|error| invalid(&error))?,
            }),
        }
    }
}

fn missing(field: &'static str) -> serde_json::Error {
    serde::de::Error::missing_field(field)
}

fn invalid(error: &crate::DataError) -> serde_json::Error {
    serde::de::Error::custom(format_args!("`data`: {error}"))
}
