//! A handle to one event in the log, without a copy.

use std::sync::Arc;

use tidings_protocol::{Data, Event, EventClass, EventType, Offset, Position, TaskId, Timestamp};

use super::Chunk;

/// One event as it lies in the log: cheap to clone, decoded on demand.
#[derive(Clone)]
pub struct EventRecord {
    chunk: Arc<Chunk>,
    index: usize,
}

impl EventRecord {
    pub(crate) fn new(chunk: Arc<Chunk>, offset: u64) -> Self {
        let index = chunk.index_of(offset);
        Self { chunk, index }
    }

    /// The task the event belongs to; none for a message in an inbox.
    pub fn task_id(&self) -> Option<&TaskId> {
        self.chunk.task.as_ref()
    }

    /// The event's place in its log.
    pub fn offset(&self) -> Offset {
        Offset::new(self.chunk.first + self.index as u64).unwrap_or(Offset::MAX)
    }

    /// The event's place in its log, with the epoch it counts in.
    pub fn position(&self) -> Position {
        Position {
            epoch: self.chunk.epoch.clone(),
            offset: self.offset(),
        }
    }

    /// What kind of event it is.
    pub fn event_type(&self) -> &EventType {
        &self.chunk.records[self.index].event_type
    }

    /// What a lagging subscriber may miss of it.
    pub fn class(&self) -> EventClass {
        self.chunk.class(self.index)
    }

    /// When the bus took it.
    pub fn timestamp(&self) -> Timestamp {
        self.chunk.records[self.index].timestamp
    }

    /// The whole event as it goes over the wire: one line of JSON.
    pub fn json(&self) -> &str {
        // The encoder wrote UTF-8; an empty text would show up in any test.
        std::str::from_utf8(self.chunk.text(self.index)).unwrap_or_default()
    }

    /// The event's `data` object as JSON.
    pub fn data_json(&self) -> &str {
        let (start, end) = self.chunk.records[self.index].data;
        self.json()
            .get(start as usize..end as usize)
            .unwrap_or("{}")
    }

    /// The event's `data`.
    pub fn data(&self) -> Data {
        Data::parse(self.data_json()).unwrap_or_else(|_| Data::empty())
    }

    /// Transport header and JSON, contiguous, as they were laid down.
    pub fn frame(&self) -> &[u8] {
        self.chunk.frame(self.index)
    }

    /// The event as an owned value.
    ///
    /// # Errors
    /// For a message in an inbox, which is not a task's event.
    pub fn decode(&self) -> Result<Event, serde_json::Error> {
        serde_json::from_str(self.json())
    }
}

impl std::fmt::Debug for EventRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EventRecord").field(&self.json()).finish()
    }
}
