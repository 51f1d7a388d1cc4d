//! Events, as producers publish them and as subscribers receive them.

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Data, EventId, EventType, Offset, ProducerStamp, Source, TaskId, Timestamp};

/// An event as a producer publishes it, before it has an offset in a log.
///
/// The JSON form is the body of `POST /api/tasks/{id}/events`. Most standard types have a
/// constructor.
///
/// ```
/// use tidings_protocol::{EventId, NewEvent};
///
/// let event = NewEvent::progress(40.0, "linking").with_event_id(EventId::new("build-7/40")?);
/// assert_eq!(event.data.as_str(), r#"{"progress":40,"message":"linking"}"#);
/// # Ok::<(), tidings_protocol::IdError>(())
/// ```
#[must_use = "an event has no effect until it is published"]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct NewEvent {
    /// The type of the event.
    pub event_type: EventType,
    /// The event's data; `{}` if left out.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub data: Data,
    /// An idempotency key, which makes retries safe: the server accepts each id only once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
    /// The name of the program or person that made the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The producer's stamp, which stops an older run of the producer from interfering.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producer: Option<ProducerStamp>,
    /// The run of the task that the event belongs to. The server refuses the event if another run
    /// is the current one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<u32>,
}

impl NewEvent {
    /// Creates an event of any type.
    pub const fn new(event_type: EventType, data: Data) -> Self {
        Self {
            event_type,
            data,
            event_id: None,
            source: None,
            producer: None,
            run: None,
        }
    }

    /// Sets the idempotency key.
    pub fn with_event_id(mut self, event_id: EventId) -> Self {
        self.event_id = Some(event_id);
        self
    }

    /// Sets the name of the program or person that made the event.
    pub fn with_source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// Sets the producer's stamp, so that older runs of the producer are fenced off.
    pub fn with_producer(mut self, producer: ProducerStamp) -> Self {
        self.producer = Some(producer);
        self
    }

    /// Sets the run that the event belongs to. The answer to `task_started` contains the run's
    /// number.
    pub fn with_run(mut self, run: u32) -> Self {
        self.run = Some(run);
        self
    }
}

impl<'de> Deserialize<'de> for NewEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            event_type: EventType,
            #[serde(default)]
            data: Data,
            event_id: Option<EventId>,
            source: Option<Source>,
            producer: Option<ProducerStamp>,
            run: Option<u32>,
        }

        let Wire {
            event_type,
            data,
            event_id,
            source,
            producer,
            run,
        } = crate::object::deserialize(deserializer, "an event")?;
        Ok(Self {
            event_type,
            data,
            event_id,
            source,
            producer,
            run,
        })
    }
}

/// An event in its task's log, as subscribers receive it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Event {
    /// The type of the event.
    pub event_type: EventType,
    /// The task that the event belongs to.
    pub task_id: TaskId,
    /// The event's place in the task's log.
    pub offset: Offset,
    /// The first offset that a merged event stands for. `offset` is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Offset>,
    /// When the server accepted the event.
    pub timestamp: Timestamp,
    /// The producer's idempotency key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
    /// The name of the program or person that made the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// For an `output_delta`: the length of the output before this text, in UTF-8 bytes. It shows
    /// whether text is missing or repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// The event's data.
    pub data: Data,
}

impl Event {
    /// Returns the event's place in its task's log. Some methods have the names of fields. They
    /// allow the same code to run in the process of a bus, where an event is a record of the log.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// Returns the type of the event.
    pub fn event_type(&self) -> &EventType {
        &self.event_type
    }

    /// Returns the event's data.
    pub fn data(&self) -> Data {
        self.data.clone()
    }

    /// Returns when the server accepted the event.
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// Returns the task that the event belongs to.
    pub fn task_id(&self) -> Option<&TaskId> {
        Some(&self.task_id)
    }

    /// Returns the first offset that the event stands for. It differs from `offset` only for merged
    /// events.
    pub fn first_offset(&self) -> Offset {
        self.from.unwrap_or(self.offset)
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            event_type: EventType,
            task_id: TaskId,
            offset: Offset,
            from: Option<Offset>,
            timestamp: Timestamp,
            event_id: Option<EventId>,
            source: Option<Source>,
            at: Option<u64>,
            data: Data,
        }

        let Wire {
            event_type,
            task_id,
            offset,
            from,
            timestamp,
            event_id,
            source,
            at,
            data,
        } = crate::object::deserialize(deserializer, "an event")?;
        Ok(Self {
            event_type,
            task_id,
            offset,
            from,
            timestamp,
            event_id,
            source,
            at,
            data,
        })
    }
}
