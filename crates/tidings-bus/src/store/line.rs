//! An event as a store has it, and as a log takes it.

use std::sync::Arc;

use tidings_protocol::{Event, EventType, ItemId, Offset, Payload, Timestamp};

use super::StoredEvent;
use super::error::StoreError;
use crate::log::{Appended, Framing, Log};

/// One encoded event that will be written into a log.
pub(crate) struct Line {
    pub(crate) offset: Offset,
    pub(crate) json: Arc<[u8]>,
    /// The place of `data` in the encoded event.
    pub(crate) data: (usize, usize),
    pub(crate) event_type: EventType,
    /// The output of an `output_delta`. `None` for other events.
    pub(crate) output: Option<ItemId>,
    pub(crate) at: Timestamp,
}

impl Line {
    /// Appends the event to a log.
    pub(crate) fn lay_down(self, log: &mut Log, framing: &Framing) {
        log.append(
            framing,
            |_, text| {
                text.extend_from_slice(&self.json);
                Appended {
                    event_type: self.event_type,
                    timestamp: self.at,
                    data: self.data,
                    output: self.output,
                }
            },
            &mut Vec::new(),
        );
    }
}

pub(crate) fn decode(stored: &StoredEvent) -> Result<(Event, Payload), StoreError> {
    let event: Event = serde_json::from_slice(&stored.json)
        .map_err(|error| StoreError::Unavailable(error.into()))?;
    let payload = Payload::of(&event).map_err(|error| StoreError::Unavailable(error.into()))?;
    Ok((event, payload))
}

pub(crate) fn line_of(event: Event, payload: &Payload, json: Arc<[u8]>) -> Line {
    // `data` is the last field, so it ends one byte before the end of the object.
    let end = json.len() - 1;
    let start = end - event.data.as_str().len();
    Line {
        offset: event.offset,
        json,
        data: (start, end),
        output: output_of(payload),
        event_type: event.event_type,
        at: event.timestamp,
    }
}

/// Returns the output that an event adds text to.
pub(crate) fn output_of(payload: &Payload) -> Option<ItemId> {
    match payload {
        Payload::OutputDelta(delta) => Some(delta.output_id.clone()),
        _ => None,
    }
}
