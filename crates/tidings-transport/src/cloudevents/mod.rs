//! CloudEvents 1.0, for those who have an SDK of it.
//!
//! | CloudEvents | Tidings |
//! |---|---|
//! | `type` | `event_type`, as it is |
//! | `subject` | `task_id` |
//! | `id` | out: the position, `epoch:offset`; in: `event_id`, with `source` before it |
//! | `source` | out: the task's address here; in: `source` |
//! | `time` | `timestamp` |
//! | `data` | `data` |
//! | `tidingssource`, `tidingsid` | out: `source` and `event_id` as the producer gave them |
//!
//! Out: WebSocket with the subprotocol `cloudevents.json`. In: HTTP in
//! structured, batched and binary mode, and WebSocket.

mod inbound;
mod message;
mod wire;

pub(crate) use inbound::{Kind, Read, binary, kind, one};
pub(crate) use message::CloudEventMessage;
