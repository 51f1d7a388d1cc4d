//! CloudEvents 1.0, for clients that use a CloudEvents SDK.
//!
//! | CloudEvents | Tidings |
//! |---|---|
//! | `type` | `event_type`, unchanged |
//! | `subject` | `task_id` |
//! | `id` | outgoing: the position, `epoch:offset`; incoming: `event_id`, with `source` before it |
//! | `source` | outgoing: the address of the task on this server; incoming: `source` |
//! | `time` | `timestamp` |
//! | `data` | `data` |
//! | `tidingssource`, `tidingsid` | outgoing: `source` and `event_id` as the producer set them |
//!
//! CloudEvents leave the server over WebSocket with the subprotocol `cloudevents.json`. They arrive
//! over HTTP in structured, batched and binary mode, and over WebSocket.

mod inbound;
mod message;
mod wire;

pub(crate) use inbound::{Kind, Read, binary, kind, one};
pub(crate) use message::CloudEventMessage;
