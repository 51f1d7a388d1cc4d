//! Conversion of JSON to control messages.

use std::borrow::Cow;
use std::sync::Arc;

use super::{
    Ack, Commanded, ConnectionEstablished, Error, Gap, GoingAway, Heartbeat, PersonalMessage, Pong,
    Reset, Subscribed, Unsubscribed,
};
use crate::message::{ControlMessage, Joined, Target};
use crate::{Epoch, Gap as Range, Offset, Pattern, Permission, TaskId, TaskSnapshot};

/// Returns the control message `name`, made from its data and the task at its top level. Returns
/// `None` if no control message has this name.
pub(crate) fn read(
    name: &str,
    task_id: Option<TaskId>,
    data: &str,
) -> Option<Result<ControlMessage, serde_json::Error>> {
    use serde::de::Error as _;
    use serde_json::{Error as JsonError, from_str};

    let missing = |field| JsonError::missing_field(field);
    let message = match name {
        "connection_established" => from_str(data).map(|data: ConnectionEstablished<'_>| {
            ControlMessage::ConnectionEstablished {
                task: joined(
                    task_id,
                    data.epoch,
                    data.offset,
                    data.recovered,
                    data.snapshot,
                    data.permissions,
                ),
                client_id: data.client_id.into_owned(),
                protocol: Cow::Owned(data.protocol.into_owned()),
                resume_token: data.resume_token.into_owned(),
                heartbeat_interval_ms: data.heartbeat_interval_ms,
                max_message_bytes: data.max_message_bytes,
            }
        }),
        "subscribed" => from_str(data).and_then(|data: Subscribed<'_>| {
            let task_id = data.task_id.map(Cow::into_owned).or(task_id);
            let target = target(data.pattern, data.tree, task_id.as_ref());
            let target = target.ok_or_else(|| missing("task_id"))?;
            let member = task_id.clone();
            let task = joined(
                task_id,
                data.epoch,
                data.offset,
                data.recovered,
                data.snapshot,
                data.permissions,
            );
            Ok(ControlMessage::Subscribed {
                reference: data.reference.map(Cow::into_owned),
                member: member.filter(|_| target.tree().is_some() && task.is_none()),
                target,
                task,
            })
        }),
        "unsubscribed" => from_str(data).and_then(|data: Unsubscribed<'_>| {
            let task_id = data.task_id.map(Cow::into_owned).or(task_id);
            Ok(ControlMessage::Unsubscribed {
                reference: data.reference.map(Cow::into_owned),
                target: target(data.pattern, data.tree, task_id.as_ref())
                    .ok_or_else(|| missing("task_id"))?,
                reason: data.reason,
            })
        }),
        "reset" => from_str(data).and_then(|data: Reset<'_>| {
            Ok(ControlMessage::Reset {
                task_id: task_id.ok_or_else(|| missing("task_id"))?,
                reason: data.reason,
                offset: data.offset,
                snapshot: data.snapshot.into_owned(),
            })
        }),
        "gap" => from_str(data).and_then(|data: Gap<'_>| {
            if task_id.is_none() && !data.inbox {
                return Err(missing("task_id"));
            }
            Ok(ControlMessage::Gap {
                task_id: task_id.filter(|_| !data.inbox),
                gap: Range {
                    from: data.from,
                    to: data.to,
                    reason: data.reason,
                },
                snapshot: data.snapshot.map(Cow::into_owned),
            })
        }),
        "heartbeat" => from_str(data).map(|data: Heartbeat<'_>| ControlMessage::Heartbeat {
            heads: data.heads.into_owned(),
        }),
        "ack" => from_str(data).and_then(|data: Ack<'_>| {
            Ok(ControlMessage::Ack {
                reference: data.reference.map(Cow::into_owned),
                task_id: task_id.ok_or_else(|| missing("task_id"))?,
                epoch: data.epoch.into_owned(),
                offset: data.offset,
                duplicate: data.duplicate,
                run: data.run,
            })
        }),
        "commanded" => from_str(data).and_then(|data: Commanded<'_>| {
            Ok(ControlMessage::Commanded {
                reference: data.reference.map(Cow::into_owned),
                task_id: task_id.ok_or_else(|| missing("task_id"))?,
                tasks: data.tasks.into_owned(),
            })
        }),
        "error" => from_str(data).map(|data: Error<'_>| ControlMessage::Error {
            reference: data.reference.map(Cow::into_owned),
            code: data.code,
            message: data.message.into_owned(),
        }),
        "personal_message" => {
            from_str(data).map(
                |data: PersonalMessage<'_>| ControlMessage::PersonalMessage {
                    offset: data.offset,
                    event_type: data.event_type.into_owned(),
                    data: data.data.into_owned(),
                },
            )
        }
        "pong" => from_str(data).map(|data: Pong<'_>| ControlMessage::Pong {
            reference: data.reference.map(Cow::into_owned),
        }),
        "going_away" => from_str(data).map(|data: GoingAway<'_>| ControlMessage::GoingAway {
            reason: Cow::Owned(data.reason.into_owned()),
            reconnect: data.reconnect,
            reconnect_after_ms: data.reconnect_after_ms,
        }),
        _ => return None,
    };
    Some(message)
}

/// Returns the joined task if all of its fields are present, otherwise `None`.
fn joined(
    task_id: Option<TaskId>,
    epoch: Option<Cow<'_, Epoch>>,
    offset: Option<Offset>,
    recovered: Option<bool>,
    snapshot: Option<Cow<'_, Arc<TaskSnapshot>>>,
    permissions: Option<Cow<'_, [Permission]>>,
) -> Option<Joined> {
    Some(Joined {
        task_id: task_id?,
        epoch: epoch?.into_owned(),
        offset: offset?,
        recovered: recovered?,
        snapshot: snapshot?.into_owned(),
        permissions: permissions.map(Cow::into_owned),
    })
}

fn target(
    pattern: Option<Cow<'_, Pattern>>,
    tree: Option<Cow<'_, TaskId>>,
    task_id: Option<&TaskId>,
) -> Option<Target> {
    match (pattern, tree) {
        (Some(pattern), _) => Some(Target::Pattern(pattern.into_owned())),
        (None, Some(tree)) => Some(Target::Tree(tree.into_owned())),
        (None, None) => task_id.cloned().map(Target::Task),
    }
}
