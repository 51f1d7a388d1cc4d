//! The `tidings.v1` wire protocol as Rust types, with the rules that need no I/O.
//!
//! Each task has a log of events, and each event has an [`Offset`] in it. A subscriber receives
//! every offset in order, or a [`Gap`] that says which offsets are missing and why. This crate
//! contains everything that client and server must agree on:
//!
//! - ids and positions: [`TaskId`], [`ClientId`], [`Pattern`], [`Position`], [`Since`]
//! - events: [`NewEvent`] as published, [`Event`] as delivered, [`Payload`] for the typed data of
//!   the standard types
//! - messages: [`ClientMessage`], [`ControlMessage`], [`ServerMessage`], [`ErrorCode`],
//!   [`CloseCode`]
//! - rules: [`TaskSnapshot`] computes a task's state from its events, [`TaskStatus`] says which
//!   events are allowed, [`ProducerLedger`] fences producers, [`Lease`] notices silence
//! - encoding: [`encode_event`], [`ClientMessage::decode`], [`Limits`]
//!
//! This crate is neither a client nor a server. It opens no socket, reads no clock and spawns no
//! task. The caller passes the time as an argument.
//!
//! ```
//! use tidings_protocol::{
//!     ClientMessage, ClientRequest, Epoch, Limits, Offset, Payload, TaskId, TaskSnapshot,
//!     Timestamp, encode_event,
//! };
//!
//! // What a client sent …
//! let text = r#"{"type":"publish","event_type":"progress_update","data":{"progress":40}}"#;
//! let message = ClientMessage::decode(text, &Limits::default())?;
//! let ClientRequest::Publish { event, .. } = message.kind else { unreachable!() };
//!
//! // … is checked, counted into the task's state …
//! let task_id = TaskId::new("build-7")?;
//! let mut snapshot = TaskSnapshot::new(task_id.clone(), Epoch::new("e1")?);
//! let payload = Payload::parse(&event.event_type, &event.data)?;
//! snapshot.check(&event.event_type)?;
//! let (offset, at) = (Offset::FIRST, Timestamp::from_millis(1_763_873_112_123));
//! snapshot.apply(&payload, offset, at);
//! assert_eq!(snapshot.progress, Some(40.0));
//!
//! // … and goes to all who watch.
//! let mut line = Vec::new();
//! encode_event(&mut line, &task_id, offset, at, None, &event);
//! assert!(line.starts_with(br#"{"event_type":"progress_update","task_id":"build-7","offset":1,"#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate `tidings-bus` builds on this one: it keeps the logs and wakes the subscribers.
//!
//! The feature `schema` adds JSON Schemas of all messages.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod close;
mod codec;
mod constructors;
mod error_code;
mod event;
mod event_type;
mod fold;
mod gap;
mod ids;
mod json;
mod lease;
mod lifecycle;
mod loss;
mod merge;
mod message;
mod object;
mod outcome;
mod payload;
mod permission;
mod position;
mod producer;
#[cfg(feature = "schema")]
pub mod schema;
mod secret;
mod snapshot;
mod text;
mod timestamp;
mod update;

/// The name of the WebSocket subprotocol, and of this version of the protocol.
pub const PROTOCOL: &str = "tidings.v1";

pub use close::{CloseCode, Reconnect, UnknownReconnect};
pub use codec::{Limits, encode_event};
pub use error_code::{ErrorCode, UnknownErrorCode};
pub use event::{Event, NewEvent};
pub use event_type::{CustomEventType, EventClass, EventType, EventTypeError};
pub use fold::Fold;
pub use gap::{
    Gap, GapReason, ResetReason, UnknownGapReason, UnknownResetReason, UnknownUnsubscribeReason,
    UnsubscribeReason,
};
pub use ids::{ClientId, CommandId, EventId, IdError, ItemId, Pattern, ProducerId, Source, TaskId};
pub use json::{Data, DataError, Json, JsonError, MAX_DEPTH};
pub use lease::{Lease, LeaseExpiry};
pub use lifecycle::{InvalidTransition, TaskStatus, UnknownTaskStatus};
pub use loss::Loss;
pub use merge::{MAX_MERGED_BYTES, Merger};
pub use message::{
    ClientMessage, ClientRequest, ControlMessage, DecodeError, InvalidServerMessage, Joined,
    MAX_REFERENCE_BYTES, Reference, ReferenceError, ServerMessage, Target, TaskCommanded,
};
pub use outcome::{Cancelled, InputOutcome, Outcome};
pub use payload::{
    AgentStatus, AgentStatusChange, Artifact, ChildrenUpdate, CommandAccepted, CommandCompleted,
    CommandRejected, CommandRequested, InputExpired, InputProvided, InputRequired, InvalidEvent,
    Log, LogStream, MAX_CHOICES, MAX_COMMAND_CHARS, MAX_EXPIRES_IN_MS, MAX_LEASE_MS,
    MAX_SCHEMA_BYTES, MAX_WEIGHT, MIN_LEASE_MS, MIN_WEIGHT, OutputCompleted, OutputDelta, Payload,
    ProgressUpdate, StepCompleted, StepFailed, StepStarted, TaskCancelled, TaskCompleted,
    TaskError, TaskFailed, TaskStarted, ToolCallCompleted, ToolCallFailed, ToolCallStarted,
    UnknownAgentStatus, UnknownLogStream,
};
pub use permission::{Permission, UnknownPermission};
pub use position::{Epoch, Offset, OffsetError, Position, PositionError, Since};
pub use producer::{
    Admission, FenceError, MAX_PRODUCERS, MAX_REPEATS, ProducerLedger, ProducerStamp,
};
pub use secret::Secret;
pub use snapshot::{
    AgentState, ArtifactState, ChildrenState, EndedInput, ItemState, MAX_ENDED, MAX_ENDED_INPUTS,
    MAX_ENTRIES, MAX_SNAPSHOT_BYTES, MAX_TEXT_BYTES, OutputState, PendingCommand, PendingInput,
    StepState, TaskSnapshot, ToolCallState, UnknownItemState,
};
pub use timestamp::{Timestamp, TimestampError};
pub use update::{RecordedEvent, States, Update};
