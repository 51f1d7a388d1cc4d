//! What a subscriber inside the process gets.

use tidings_protocol::Update;

use crate::log::EventRecord;

/// What a subscriber in this process gets, in order: an [`Update`], as a client's watch
/// yields it, with the event as a record of the log. It is never disconnected.
pub type Delivery = Update<EventRecord>;
