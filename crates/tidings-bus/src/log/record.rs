//! A handle to one event in the log, without a copy.

use std::borrow::Cow;
use std::ops::{Deref, RangeInclusive};
use std::sync::Arc;

use tidings_protocol::{
    Data, Event, EventClass, EventType, Offset, Position, RecordedEvent, TaskId, Timestamp,
};

use super::{Chunk, Framing, RecordMeta, narrow};

/// One event in the log. It is cheap to clone, and decoded on demand.
#[derive(Clone)]
pub struct EventRecord {
    chunk: Held,
    index: usize,
}

/// Keeps a record's chunk.
#[derive(Clone)]
enum Held {
    Alone(Arc<Chunk>),
    /// Shared with other records that the same subscriber took at once. They have a reference
    /// count of their own. All subscribers use the chunk's count, and cores that change it slow
    /// each other down.
    Together(Arc<Counted>),
}

struct Counted(Arc<Chunk>);

/// The smallest number of records that share a count.
const TOGETHER: u64 = 3;

impl Deref for Held {
    type Target = Chunk;

    fn deref(&self) -> &Chunk {
        match self {
            Self::Alone(chunk) => chunk,
            Self::Together(counted) => &counted.0,
        }
    }
}

impl EventRecord {
    pub(crate) fn new(chunk: Arc<Chunk>, offset: u64) -> Self {
        let index = chunk.index_of(offset);
        let chunk = Held::Alone(chunk);
        Self { chunk, index }
    }

    /// Returns the task of the event. Returns `None` for a message in an inbox.
    pub fn task_id(&self) -> Option<&TaskId> {
        self.chunk.task.as_ref()
    }

    /// Returns the offset of the event.
    pub fn offset(&self) -> Offset {
        Offset::new(self.chunk.first + self.index as u64).unwrap_or(Offset::MAX)
    }

    /// Returns the first offset that the event stands for. It differs from the event's offset
    /// only if the event is merged.
    pub fn first_offset(&self) -> Offset {
        let merged = self.chunk.merged_from.map(Offset::new);
        merged.and_then(Result::ok).unwrap_or(self.offset())
    }

    /// Returns the position of the event: its offset and its epoch.
    pub fn position(&self) -> Position {
        Position {
            epoch: self.chunk.epoch.clone(),
            offset: self.offset(),
        }
    }

    /// Returns the type of the event.
    pub fn event_type(&self) -> &EventType {
        &self.chunk.records[self.index].event_type
    }

    /// Returns the class of the event. The class decides whether a lagging subscriber may miss
    /// it.
    pub fn class(&self) -> EventClass {
        self.chunk.class(self.index)
    }

    /// Returns the time at which the bus accepted the event.
    pub fn timestamp(&self) -> Timestamp {
        self.chunk.records[self.index].timestamp
    }

    /// Returns the whole event as on the wire: one line of JSON.
    pub fn json(&self) -> &str {
        // The encoder wrote UTF-8. Any test would show an empty text.
        std::str::from_utf8(self.chunk.text(self.index)).unwrap_or_default()
    }

    /// Returns the event's `data` object as JSON.
    pub fn data_json(&self) -> &str {
        let (start, end) = self.chunk.records[self.index].data;
        self.json()
            .get(start as usize..end as usize)
            .unwrap_or("{}")
    }

    /// Returns the event's `data`.
    pub fn data(&self) -> Data {
        Data::parse(self.data_json()).unwrap_or_else(|_| Data::empty())
    }

    /// Returns the transport header and the JSON, as one slice of the log.
    pub fn frame(&self) -> &[u8] {
        self.chunk.frame(self.index)
    }

    /// Encodes a merged event. This record is the last of the events that it stands for.
    pub(crate) fn merged(&self, event: &Event, framing: &Framing) -> Option<Self> {
        let json = serde_json::to_vec(event).ok()?;
        let mut bytes = Vec::with_capacity(json.len() + 16);
        (framing.write_header)(json.len(), &mut bytes);
        let header = bytes.len();
        bytes.extend_from_slice(&json);
        // `data` is the last field, so it ends one byte before the object does.
        let end = narrow(json.len() - 1);
        let meta = RecordMeta {
            end: narrow(bytes.len()),
            frame_header_len: u8::try_from(header).ok()?,
            data: (end - narrow(event.data.as_str().len()), end),
            ..self.chunk.records[self.index].clone()
        };
        let mut chunk = Chunk::new(
            self.chunk.task.clone(),
            self.chunk.epoch.clone(),
            event.offset.get(),
            bytes.into_boxed_slice(),
            Box::new([meta]),
        );
        chunk.merged_from = event.from.map(Offset::get);
        Some(Self::new(Arc::new(chunk), event.offset.get()))
    }

    /// Decodes the event into an owned value.
    ///
    /// # Errors
    /// Fails for a message in an inbox, because it is not an event of a task.
    pub fn decode(&self) -> Result<Event, serde_json::Error> {
        serde_json::from_str(self.json())
    }
}

/// Records of one chunk that follow each other, as a subscriber takes them.
pub(crate) struct Run {
    /// `None` after the last record has taken it.
    chunk: Option<Held>,
    left: RangeInclusive<usize>,
}

impl Run {
    /// Creates a run of the records from `from` to `to`. The chunk contains both.
    pub(crate) fn new(chunk: &Arc<Chunk>, from: u64, to: u64) -> Self {
        let left = chunk.index_of(from)..=chunk.index_of(to);
        let chunk = Arc::clone(chunk);
        let chunk = Some(if to - from + 1 >= TOGETHER {
            Held::Together(Arc::new(Counted(chunk)))
        } else {
            Held::Alone(chunk)
        });
        Self { chunk, left }
    }

    /// Returns the number of remaining records.
    pub(crate) fn len(&self) -> u64 {
        self.left.clone().count() as u64
    }
}

impl Iterator for Run {
    type Item = EventRecord;

    fn next(&mut self) -> Option<EventRecord> {
        let index = self.left.next()?;
        let chunk = if self.left.is_empty() {
            self.chunk.take()?
        } else {
            self.chunk.clone()?
        };
        Some(EventRecord { chunk, index })
    }
}

impl std::fmt::Debug for EventRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EventRecord").field(&self.json()).finish()
    }
}

impl RecordedEvent for EventRecord {
    fn task_id(&self) -> Option<&TaskId> {
        Self::task_id(self)
    }

    fn event(&self) -> Option<Cow<'_, Event>> {
        self.decode().ok().map(Cow::Owned)
    }
}
