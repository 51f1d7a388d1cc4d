//! The JSON form of control messages.

mod read;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub(crate) use read::read;

use crate::message::{ControlMessage, Joined, Reference, TaskCommanded};
use crate::{
    ClientId, Data as EventData, Epoch, ErrorCode, EventType, GapReason, Offset, Pattern,
    Permission, Reconnect, ResetReason, TaskId, TaskSnapshot, Timestamp, UnsubscribeReason,
};

/// The outer object of every control message.
#[derive(Serialize)]
pub(crate) struct Envelope<'a> {
    event_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<&'a TaskId>,
    timestamp: Timestamp,
    data: Data<'a>,
}

impl<'a> Envelope<'a> {
    pub(crate) fn of(message: &'a ControlMessage, at: Timestamp) -> Self {
        Self {
            event_type: message.name(),
            task_id: message.task_id(),
            timestamp: at,
            data: Data::of(message),
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    ConnectionEstablished(ConnectionEstablished<'a>),
    Subscribed(Subscribed<'a>),
    Unsubscribed(Unsubscribed<'a>),
    Reset(Reset<'a>),
    Gap(Gap<'a>),
    Heartbeat(Heartbeat<'a>),
    Ack(Ack<'a>),
    Commanded(Commanded<'a>),
    Error(Error<'a>),
    PersonalMessage(PersonalMessage<'a>),
    Pong(Pong<'a>),
    GoingAway(GoingAway<'a>),
}

/// Data of `connection_established`. The last five fields occur only if the path names a task.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct ConnectionEstablished<'a> {
    client_id: Cow<'a, ClientId>,
    protocol: Cow<'a, str>,
    resume_token: Cow<'a, str>,
    heartbeat_interval_ms: u64,
    /// The largest message that the server accepts, in bytes. A larger one closes the connection
    /// with 1009.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_message_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<Cow<'a, Epoch>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<Offset>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<Cow<'a, Arc<TaskSnapshot>>>,
    /// The client's permissions for the task. Absent if nothing is forbidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<Cow<'a, [Permission]>>,
}

/// Data of `subscribed`.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Subscribed<'a> {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Option<Cow<'a, Reference>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<Cow<'a, TaskId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<Cow<'a, Pattern>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tree: Option<Cow<'a, TaskId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<Cow<'a, Epoch>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<Offset>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<Cow<'a, Arc<TaskSnapshot>>>,
    /// The client's permissions for the task. Absent if nothing is forbidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<Cow<'a, [Permission]>>,
}

/// Data of `unsubscribed`.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Unsubscribed<'a> {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Option<Cow<'a, Reference>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<Cow<'a, TaskId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<Cow<'a, Pattern>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tree: Option<Cow<'a, TaskId>>,
    reason: UnsubscribeReason,
}

/// Data of `reset`: the client's position is not valid any more.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Reset<'a> {
    reason: ResetReason,
    epoch: Cow<'a, Epoch>,
    /// The following events come after this offset.
    offset: Offset,
    snapshot: Cow<'a, Arc<TaskSnapshot>>,
}

/// Data of `gap`: offsets that are not delivered. Both ends are included.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Gap<'a> {
    from: Offset,
    to: Offset,
    reason: GapReason,
    /// Whether the offsets belong to the client's inbox.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    inbox: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<Cow<'a, Arc<TaskSnapshot>>>,
}

/// Data of `heartbeat`: the newest offsets by task.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Heartbeat<'a> {
    heads: Cow<'a, BTreeMap<TaskId, Offset>>,
}

/// Data of `ack`.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Ack<'a> {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Option<Cow<'a, Reference>>,
    epoch: Cow<'a, Epoch>,
    offset: Offset,
    duplicate: bool,
    /// The run that a `task_started` event has opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<u32>,
}

/// Data of `commanded`: the answers to a command for a task and all tasks below it.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Commanded<'a> {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Option<Cow<'a, Reference>>,
    /// The answer for each task that was asked, the deepest first.
    tasks: Cow<'a, [TaskCommanded]>,
}

/// Data of `error`.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Error<'a> {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Option<Cow<'a, Reference>>,
    code: ErrorCode,
    message: Cow<'a, str>,
}

/// Data of `personal_message`. The offset belongs to the client's inbox.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct PersonalMessage<'a> {
    offset: Offset,
    event_type: Cow<'a, EventType>,
    data: Cow<'a, EventData>,
}

/// Data of `pong`.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Pong<'a> {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Option<Cow<'a, Reference>>,
}

/// Data of `going_away`, which the server sends before it closes a connection.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct GoingAway<'a> {
    reason: Cow<'a, str>,
    reconnect: Reconnect,
    #[serde(skip_serializing_if = "Option::is_none")]
    reconnect_after_ms: Option<u64>,
}

fn permissions(task: Option<&Joined>) -> Option<Cow<'_, [Permission]>> {
    let permissions = task?.permissions.as_deref()?;
    Some(Cow::Borrowed(permissions))
}

impl<'a> Data<'a> {
    fn of(message: &'a ControlMessage) -> Self {
        let mark = |reference: &'a Option<Reference>| reference.as_ref().map(Cow::Borrowed);
        match message {
            ControlMessage::ConnectionEstablished {
                client_id,
                protocol,
                resume_token,
                heartbeat_interval_ms,
                max_message_bytes,
                task,
            } => Self::ConnectionEstablished(ConnectionEstablished {
                client_id: Cow::Borrowed(client_id),
                protocol: Cow::Borrowed(protocol),
                resume_token: Cow::Borrowed(resume_token),
                heartbeat_interval_ms: *heartbeat_interval_ms,
                max_message_bytes: *max_message_bytes,
                epoch: task.as_ref().map(|task| Cow::Borrowed(&task.epoch)),
                offset: task.as_ref().map(|task| task.offset),
                recovered: task.as_ref().map(|task| task.recovered),
                snapshot: task.as_ref().map(|task| Cow::Borrowed(&task.snapshot)),
                permissions: permissions(task.as_ref()),
            }),
            ControlMessage::Subscribed {
                reference,
                target,
                task,
                ..
            } => Self::Subscribed(Subscribed {
                reference: mark(reference),
                task_id: message.task_id().map(Cow::Borrowed),
                pattern: target.pattern().map(Cow::Borrowed),
                tree: target.tree().map(Cow::Borrowed),
                epoch: task.as_ref().map(|task| Cow::Borrowed(&task.epoch)),
                offset: task.as_ref().map(|task| task.offset),
                recovered: task.as_ref().map(|task| task.recovered),
                snapshot: task.as_ref().map(|task| Cow::Borrowed(&task.snapshot)),
                permissions: permissions(task.as_ref()),
            }),
            ControlMessage::Unsubscribed {
                reference,
                target,
                reason,
            } => Self::Unsubscribed(Unsubscribed {
                reference: mark(reference),
                task_id: target.task_id().map(Cow::Borrowed),
                pattern: target.pattern().map(Cow::Borrowed),
                tree: target.tree().map(Cow::Borrowed),
                reason: *reason,
            }),
            ControlMessage::Reset {
                reason,
                offset,
                snapshot,
                ..
            } => Self::Reset(Reset {
                reason: *reason,
                epoch: Cow::Borrowed(&snapshot.epoch),
                offset: *offset,
                snapshot: Cow::Borrowed(snapshot),
            }),
            ControlMessage::Gap {
                task_id,
                gap,
                snapshot,
            } => Self::Gap(Gap {
                from: gap.from,
                to: gap.to,
                reason: gap.reason,
                inbox: task_id.is_none(),
                snapshot: snapshot.as_ref().map(Cow::Borrowed),
            }),
            ControlMessage::Heartbeat { heads } => Self::Heartbeat(Heartbeat {
                heads: Cow::Borrowed(heads),
            }),
            ControlMessage::Ack {
                reference,
                epoch,
                offset,
                duplicate,
                run,
                ..
            } => Self::Ack(Ack {
                reference: mark(reference),
                epoch: Cow::Borrowed(epoch),
                offset: *offset,
                duplicate: *duplicate,
                run: *run,
            }),
            ControlMessage::Commanded {
                reference, tasks, ..
            } => Self::Commanded(Commanded {
                reference: mark(reference),
                tasks: Cow::Borrowed(tasks),
            }),
            ControlMessage::Error {
                reference,
                code,
                message,
            } => Self::Error(Error {
                reference: mark(reference),
                code: *code,
                message: Cow::Borrowed(message),
            }),
            ControlMessage::PersonalMessage {
                offset,
                event_type,
                data,
            } => Self::PersonalMessage(PersonalMessage {
                offset: *offset,
                event_type: Cow::Borrowed(event_type),
                data: Cow::Borrowed(data),
            }),
            ControlMessage::Pong { reference } => Self::Pong(Pong {
                reference: mark(reference),
            }),
            ControlMessage::GoingAway {
                reason,
                reconnect,
                reconnect_after_ms,
            } => Self::GoingAway(GoingAway {
                reason: Cow::Borrowed(reason),
                reconnect: *reconnect,
                reconnect_after_ms: *reconnect_after_ms,
            }),
        }
    }
}
