//! What clients read: events and control messages.

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
    /// An event of a task: it has an offset.
    Event(Event),
    /// A control message.
    Control {
        /// When it was sent.
        timestamp: Timestamp,
        /// What it says.
        message: ControlMessage,
    },
    /// A control message of a newer protocol: to be left alone.
    Unknown {
        /// Its name.
        event_type: String,
        /// What it says.
        data: Data,
    },
}

/// Why text is no message from a server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidServerMessage {
    /// Not JSON, or a field is missing or of the wrong kind.
    #[error("not a server's message")]
    Json(#[from] serde_json::Error),
    /// An event with a name that no event can have.
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
    /// Reads a server's message. What has an offset is an event; what has none
    /// and no known name is [`Unknown`](Self::Unknown).
    ///
    /// # Errors
    /// Not a message, or one that lacks what its kind must have.
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
