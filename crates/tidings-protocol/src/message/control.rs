//! Control messages: all messages of the server that are not events.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::wire::control as wire;
use super::{Joined, Reference, Target, TaskCommanded};
use crate::codec::encode_ack;
use crate::{
    ClientId, Data, Epoch, ErrorCode, EventType, Gap, Offset, PROTOCOL, Reconnect, ResetReason,
    TaskId, TaskSnapshot, Timestamp, UnsubscribeReason,
};

/// A control message. It belongs to one connection and has no offset in a task's log.
///
/// ```
/// use tidings_protocol::{ControlMessage, ErrorCode, Timestamp};
///
/// let message = ControlMessage::error(Some(7.into()), ErrorCode::RateLimited, "slow down");
/// assert_eq!(
///     message.encode(Timestamp::from_millis(0)),
///     r#"{"event_type":"error","timestamp":"1970-01-01T00:00:00.000Z","data":{"ref":7,"code":"rate_limited","message":"slow down"}}"#,
/// );
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ControlMessage {
    /// The first message on every connection.
    ConnectionEstablished {
        /// The id that the client gave itself, or that the server gave it.
        client_id: ClientId,
        /// The version of the protocol: `tidings.v1`.
        protocol: Cow<'static, str>,
        /// A token for the next connection, which continues the client's subscriptions.
        resume_token: String,
        /// If the server is silent for longer than this, it is gone.
        heartbeat_interval_ms: u64,
        /// The largest message that the server accepts, in bytes. A larger one closes the
        /// connection. `None` if the server does not say.
        max_message_bytes: Option<u64>,
        /// The task in the connection's path.
        task: Option<Joined>,
    },
    /// A subscription has begun.
    Subscribed {
        /// The client's reference from its request.
        reference: Option<Reference>,
        /// The task, pattern or tree that the client asked for.
        target: Target,
        /// The task that this message is about, with its state. `None` if the message confirms a
        /// pattern or a tree.
        task: Option<Joined>,
        /// A task of the tree that the connection watches already. Its events continue as they
        /// are.
        member: Option<TaskId>,
    },
    /// A subscription has ended.
    Unsubscribed {
        /// The client's reference from its request.
        reference: Option<Reference>,
        /// The task, pattern or tree of the subscription.
        target: Target,
        /// Why the subscription ended.
        reason: UnsubscribeReason,
    },
    /// The client's position is not valid any more. The task continues after another one.
    Reset {
        /// The task.
        task_id: TaskId,
        /// Why the position is not valid.
        reason: ResetReason,
        /// The following events come after this offset, in the snapshot's epoch.
        offset: Offset,
        /// The task's state.
        snapshot: Arc<TaskSnapshot>,
    },
    /// Offsets that are not delivered. This message comes before the event after them.
    Gap {
        /// The task. `None` means the client's own inbox.
        task_id: Option<TaskId>,
        /// The missing offsets, and why they are missing.
        gap: Gap,
        /// The task's state, which makes up for the missing events.
        snapshot: Option<Arc<TaskSnapshot>>,
    },
    /// The server is alive.
    Heartbeat {
        /// The newest offsets of tasks for which nothing was sent since the last heartbeat.
        heads: BTreeMap<TaskId, Offset>,
    },
    /// The server has accepted an event or a command.
    Ack {
        /// The client's reference from its request.
        reference: Option<Reference>,
        /// The task.
        task_id: TaskId,
        /// The epoch of `offset`.
        epoch: Epoch,
        /// The offset of the event.
        offset: Offset,
        /// Whether the event was accepted before, under its `event_id` or its producer's `seq`.
        duplicate: bool,
        /// The run that a `task_started` event has opened.
        run: Option<u32>,
    },
    /// The server has asked a task, and all tasks below it, to do something.
    Commanded {
        /// The client's reference from its request.
        reference: Option<Reference>,
        /// The topmost task.
        task_id: TaskId,
        /// The answer for each task, in the order in which they were asked: the deepest first.
        tasks: Vec<TaskCommanded>,
    },
    /// The server refused a request.
    Error {
        /// The client's reference from its request.
        reference: Option<Reference>,
        /// The kind of error, for programs.
        code: ErrorCode,
        /// A description for people.
        message: String,
    },
    /// A message for one client only.
    PersonalMessage {
        /// The message's offset in the client's inbox.
        offset: Offset,
        /// The type of the message.
        event_type: EventType,
        /// The message's data.
        data: Data,
    },
    /// The answer to `ping`.
    Pong {
        /// The client's reference from its request.
        reference: Option<Reference>,
    },
    /// The server will close the connection next.
    GoingAway {
        /// The reason, for people.
        reason: Cow<'static, str>,
        /// The client's next step after the close.
        reconnect: Reconnect,
        /// The time to wait before reconnecting, in milliseconds.
        reconnect_after_ms: Option<u64>,
    },
}

impl ControlMessage {
    /// Creates a `connection_established` message.
    pub fn connection_established(
        client_id: ClientId,
        resume_token: impl Into<String>,
        heartbeat_interval_ms: u64,
        task: Option<Joined>,
    ) -> Self {
        Self::ConnectionEstablished {
            client_id,
            protocol: Cow::Borrowed(PROTOCOL),
            resume_token: resume_token.into(),
            heartbeat_interval_ms,
            max_message_bytes: None,
            task,
        }
    }

    /// Sets the largest message that the server accepts, in bytes, in `connection_established`.
    #[must_use]
    pub fn with_max_message_bytes(mut self, bytes: usize) -> Self {
        if let Self::ConnectionEstablished {
            max_message_bytes, ..
        } = &mut self
        {
            *max_message_bytes = Some(bytes as u64);
        }
        self
    }

    /// Creates a `subscribed` message for a task. `through` is the pattern or the tree that brought
    /// the task, and `None` if the client asked for the task itself.
    pub fn subscribed(reference: Option<Reference>, through: Option<Target>, task: Joined) -> Self {
        let target = through.unwrap_or_else(|| Target::Task(task.task_id.clone()));
        Self::Subscribed {
            reference,
            target,
            task: Some(task),
            member: None,
        }
    }

    /// Creates a `subscribed` message that confirms a pattern or a tree. Each of its tasks follows
    /// in its own message.
    pub const fn subscribed_to(reference: Option<Reference>, target: Target) -> Self {
        Self::Subscribed {
            reference,
            target,
            task: None,
            member: None,
        }
    }

    /// Creates a `subscribed` message that says that a task belongs to a tree, for a connection that
    /// watches the task already.
    pub const fn subscribed_member(tree: TaskId, task_id: TaskId) -> Self {
        Self::Subscribed {
            reference: None,
            target: Target::Tree(tree),
            task: None,
            member: Some(task_id),
        }
    }

    /// Creates an `unsubscribed` message.
    pub fn unsubscribed(
        reference: Option<Reference>,
        target: impl Into<Target>,
        reason: UnsubscribeReason,
    ) -> Self {
        Self::Unsubscribed {
            reference,
            target: target.into(),
            reason,
        }
    }

    /// Creates a `reset` message: the task continues after `offset` in the snapshot's epoch.
    pub const fn reset(
        task_id: TaskId,
        reason: ResetReason,
        offset: Offset,
        snapshot: Arc<TaskSnapshot>,
    ) -> Self {
        Self::Reset {
            task_id,
            reason,
            offset,
            snapshot,
        }
    }

    /// Creates a `gap` message. Without a task, the gap is in the client's inbox.
    pub const fn gap(
        task_id: Option<TaskId>,
        gap: Gap,
        snapshot: Option<Arc<TaskSnapshot>>,
    ) -> Self {
        Self::Gap {
            task_id,
            gap,
            snapshot,
        }
    }

    /// Creates a `heartbeat` message.
    pub fn heartbeat(heads: impl IntoIterator<Item = (TaskId, Offset)>) -> Self {
        Self::Heartbeat {
            heads: heads.into_iter().collect(),
        }
    }

    /// Creates an `ack` message.
    pub const fn ack(
        reference: Option<Reference>,
        task_id: TaskId,
        epoch: Epoch,
        offset: Offset,
        duplicate: bool,
        run: Option<u32>,
    ) -> Self {
        Self::Ack {
            reference,
            task_id,
            epoch,
            offset,
            duplicate,
            run,
        }
    }

    /// Creates a `commanded` message.
    pub const fn commanded(
        reference: Option<Reference>,
        task_id: TaskId,
        tasks: Vec<TaskCommanded>,
    ) -> Self {
        Self::Commanded {
            reference,
            task_id,
            tasks,
        }
    }

    /// Creates an `error` message.
    pub fn error(
        reference: Option<Reference>,
        code: ErrorCode,
        message: impl Into<String>,
    ) -> Self {
        Self::Error {
            reference,
            code,
            message: message.into(),
        }
    }

    /// Creates a `personal_message`.
    pub const fn personal_message(offset: Offset, event_type: EventType, data: Data) -> Self {
        Self::PersonalMessage {
            offset,
            event_type,
            data,
        }
    }

    /// Creates a `pong` message.
    pub const fn pong(reference: Option<Reference>) -> Self {
        Self::Pong { reference }
    }

    /// Creates a `going_away` message.
    pub fn going_away(
        reason: impl Into<Cow<'static, str>>,
        reconnect: Reconnect,
        after: Option<Duration>,
    ) -> Self {
        Self::GoingAway {
            reason: reason.into(),
            reconnect,
            reconnect_after_ms: after
                .map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// Returns the message's `event_type` on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ConnectionEstablished { .. } => "connection_established",
            Self::Subscribed { .. } => "subscribed",
            Self::Unsubscribed { .. } => "unsubscribed",
            Self::Reset { .. } => "reset",
            Self::Gap { .. } => "gap",
            Self::Heartbeat { .. } => "heartbeat",
            Self::Ack { .. } => "ack",
            Self::Commanded { .. } => "commanded",
            Self::Error { .. } => "error",
            Self::PersonalMessage { .. } => "personal_message",
            Self::Pong { .. } => "pong",
            Self::GoingAway { .. } => "going_away",
        }
    }

    /// Returns the task that the message names at its top level.
    pub fn task_id(&self) -> Option<&TaskId> {
        match self {
            Self::ConnectionEstablished { task, .. } => task.as_ref().map(|task| &task.task_id),
            Self::Subscribed {
                target,
                task,
                member,
                ..
            } => {
                let task = task.as_ref().map(|task| &task.task_id);
                task.or(member.as_ref()).or(target.task_id())
            }
            Self::Unsubscribed { target, .. } => target.task_id(),
            Self::Gap { task_id, .. } => task_id.as_ref(),
            Self::Ack { task_id, .. }
            | Self::Reset { task_id, .. }
            | Self::Commanded { task_id, .. } => Some(task_id),
            _ => None,
        }
    }

    /// Returns the message's wire form: one line of JSON.
    pub fn encode(&self, at: Timestamp) -> String {
        // Allocate as much as most messages of the kind need, because growing copies the text.
        let mut text = Vec::with_capacity(match self {
            Self::ConnectionEstablished { .. }
            | Self::Subscribed { .. }
            | Self::Reset { .. }
            | Self::Gap { .. } => 1_024,
            _ => 256,
        });
        if let Self::Ack {
            reference,
            task_id,
            epoch,
            offset,
            duplicate,
            run,
        } = self
        {
            let reference = reference.as_ref();
            encode_ack(
                &mut text, reference, task_id, epoch, *offset, *duplicate, *run, at,
            );
        } else {
            // The message contains only text, numbers and JSON that was checked before, so this
            // cannot fail.
            let _ = serde_json::to_writer(&mut text, &wire::Envelope::of(self, at));
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_has_the_same_bytes_as_through_serde() {
        let at = Timestamp::from_millis(1_763_873_112_123);
        let references = [
            None,
            Some(Reference::from(7)),
            Reference::parse("{\"a\":\"\\n\"}").ok(),
        ];
        let rest = [(false, None), (true, Some(7)), (false, Some(0))];
        for (reference, (duplicate, run)) in references.into_iter().zip(rest) {
            let task_id = TaskId::new("a~b.c:d-e_f").unwrap();
            let epoch = Epoch::new("0a1b2c3d.4").unwrap();
            let ack = ControlMessage::ack(reference, task_id, epoch, Offset::MAX, duplicate, run);
            let through_serde = serde_json::to_string(&wire::Envelope::of(&ack, at)).unwrap();
            assert_eq!(ack.encode(at), through_serde);
        }
    }
}
