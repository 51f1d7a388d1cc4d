//! The deliveries of a subscriber inside the process.

use tidings_protocol::Update;

use crate::log::EventRecord;

/// A delivery to a subscriber in this process: an [`Update`], as a client's watch yields it,
/// with the event as a record of the log. Deliveries come in order. The subscriber is never
/// disconnected.
pub type Delivery = Update<EventRecord>;
