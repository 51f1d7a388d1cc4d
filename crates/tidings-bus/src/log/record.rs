//! A handle to one event in the log, without a copy.

use std::borrow::Cow;
use std::ops::{Deref, RangeInclusive};
use std::sync::Arc;

use tidings_protocol::{
    Data, Event, EventClass, EventType, Offset, Position, RecordedEvent, TaskId, Timestamp,
};

use super::{Chunk, Framing, RecordMeta, narrow};

/// One event as it lies in the log: cheap to clone, decoded on demand.
#[derive(Clone)]
pub struct EventRecord {
    chunk: Held,
    index: usize,
}

/// Keeps a record's chunk.
#[derive(Clone)]
enum Held {
    Alone(Arc<Chunk>),
    /// With others that the same subscriber took at once: they share a count of
    /// their own, for the chunk's is every subscriber's, and cores that count
    /// there take its memory from each other.
    Together(Arc<Counted>),
}

struct Counted(Arc<Chunk>);

/// From so many records on they are held together.
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

    /// The task the event belongs to; none for a message in an inbox.
    pub fn task_id(&self) -> Option<&TaskId> {
        self.chunk.task.as_ref()
    }

    /// The event's place in its log.
    pub fn offset(&self) -> Offset {
        Offset::new(self.chunk.first + self.index as u64).unwrap_or(Offset::MAX)
    }

    /// The first offset that the event stands for: its own, unless it is merged.
    pub fn first_offset(&self) -> Offset {
        let merged = self.chunk.merged_from.map(Offset::new);
        merged.and_then(Result::ok).unwrap_or(self.offset())
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

    /// Lays out an event that stands for several, of which this is the last.
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

    /// The event as an owned value.
    ///
    /// # Errors
    /// For a message in an inbox, which is not a task's event.
    pub fn decode(&self) -> Result<Event, serde_json::Error> {
        serde_json::from_str(self.json())
    }
}

/// Records of one chunk that follow one another, as a subscriber takes them.
pub(crate) struct Run {
    /// None once the last record has it.
    chunk: Option<Held>,
    left: RangeInclusive<usize>,
}

impl Run {
    /// Those from `from` to `to`, both in the chunk.
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

    /// How many are left.
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
