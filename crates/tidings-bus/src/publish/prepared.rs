//! An event that is checked as far as this needs no task.

use std::borrow::Cow;
use std::sync::Arc;

use tidings_protocol::{NewEvent, OutputDelta, Payload, PendingInput, TaskSnapshot};

use crate::ledger::Account;
use crate::log::Extents;
use crate::publish::error::PublishError;
use crate::tasks::lease::Expiry;

/// An event that has passed every check that does not involve a task.
pub(crate) struct Prepared {
    pub(crate) event: NewEvent,
    pub(crate) payload: Payload,
    /// The account that is charged for the task if this is its first event. `None` charges the bus.
    pub(crate) account: Option<Account>,
    /// The expiry that this event ends, if the bus publishes the event for that reason.
    pub(crate) expiry: Option<Expiry>,
    /// The question that the event ends. Boxed, because few events end one.
    pub(crate) question: Option<Box<PendingInput>>,
}

impl Prepared {
    pub(crate) fn new(event: NewEvent, max: usize) -> Result<Self, PublishError> {
        let payload = payload_of(&event, max)?;
        Ok(Self::of(None, event, payload))
    }

    pub(crate) fn of(account: Option<&Account>, event: NewEvent, payload: Payload) -> Self {
        Self {
            event,
            payload,
            account: account.cloned(),
            expiry: None,
            question: None,
        }
    }
}

/// Reads an event's data, if it has at most `max` bytes.
pub(crate) fn payload_of(event: &NewEvent, max: usize) -> Result<Payload, PublishError> {
    let size = event.data.as_str().len();
    if size > max {
        return Err(PublishError::TooLarge { size, max });
    }
    Ok(Payload::parse(&event.event_type, &event.data)?)
}

/// Returns the length of an `output_delta`'s output before its text. Returns `None` for other
/// events. A snapshot has no room for all kept outputs.
pub(crate) fn text_at(
    kept: Option<&Extents>,
    snapshot: Option<&TaskSnapshot>,
    payload: &Payload,
) -> Option<u64> {
    let Payload::OutputDelta(delta) = payload else {
        return None;
    };
    let known = kept.and_then(|kept| kept.find(&delta.output_id));
    let known = known.map(|output| output.length);
    Some(known.or_else(|| length_in(snapshot?, delta)).unwrap_or(0))
}

/// Returns the length of a delta's output according to the task's state.
fn length_in(snapshot: &TaskSnapshot, delta: &OutputDelta) -> Option<u64> {
    let mut outputs = snapshot.outputs.iter().rev();
    let known = outputs.find(|output| output.output_id == delta.output_id);
    known.map(|output| output.length)
}

/// Returns whether a `task_started` opens a new run in this state. The new run starts without
/// the outputs of the last run.
pub(crate) fn opens_new_run(before: &Arc<TaskSnapshot>) -> bool {
    before.status.is_terminal()
}

/// Returns the payload with the place of its text in the output.
pub(crate) fn placed(payload: &Payload, text_at: Option<u64>) -> Cow<'_, Payload> {
    match payload {
        Payload::OutputDelta(delta) if delta.at != text_at => {
            let mut delta = delta.clone();
            delta.at = text_at;
            Cow::Owned(Payload::OutputDelta(delta))
        }
        _ => Cow::Borrowed(payload),
    }
}

/// Returns the run that an accepted event has opened: `run` for `task_started`.
pub(crate) fn opened(prepared: &Prepared, run: Option<u32>) -> Option<u32> {
    run.filter(|_| matches!(prepared.payload, Payload::TaskStarted(_)))
}
