//! The JSON form of client messages.

use std::borrow::Cow;

use serde::Serialize;

use crate::message::{ClientMessage as Message, ClientRequest, Reference, Target};
use crate::{
    Data, EventId, EventType, ItemId, Json, Pattern, ProducerStamp, Since, Source, TaskId,
};

/// The `type` of a client message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ping,
    Publish,
    Subscribe,
    Unsubscribe,
    Answer,
    Command,
    Authenticate,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Ping,
        Self::Publish,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Answer,
        Self::Command,
        Self::Authenticate,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Answer => "answer",
            Self::Command => "command",
            Self::Authenticate => "authenticate",
        }
    }

    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A message from a client to the server.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ClientMessage<'a> {
    /// Asks the server for a `pong`.
    Ping {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a Reference>,
    },
    /// Publishes an event. The server answers with `ack` if the message has a `ref`.
    Publish {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a Reference>,
        /// The task. If left out on `/ws/tasks/{id}`, it is the task in the path.
        #[serde(skip_serializing_if = "Option::is_none")]
        task_id: Option<&'a TaskId>,
        event_type: &'a EventType,
        /// The event's data; `{}` if left out.
        #[serde(skip_serializing_if = "is_empty")]
        data: Cow<'a, Data>,
        /// An idempotency key, which makes retries safe.
        #[serde(skip_serializing_if = "Option::is_none")]
        event_id: Option<&'a EventId>,
        /// The name of the program or person that made the event.
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<&'a Source>,
        /// The producer's stamp, which fences off older runs of the same producer.
        #[serde(skip_serializing_if = "Option::is_none")]
        producer: Option<&'a ProducerStamp>,
        /// The run that the event belongs to. The server refuses the event if another run is
        /// current.
        #[serde(skip_serializing_if = "Option::is_none")]
        run: Option<u32>,
    },
    /// Subscribes to a task, a pattern or a tree. The server answers with `subscribed`.
    Subscribe {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a Reference>,
        /// The task. Give only one of `task_id`, `pattern` and `tree`.
        #[serde(skip_serializing_if = "Option::is_none")]
        task_id: Option<&'a TaskId>,
        /// A prefix of task ids, followed by `*`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pattern: Option<&'a Pattern>,
        /// A task, which stands for itself and all tasks below it.
        #[serde(skip_serializing_if = "Option::is_none")]
        tree: Option<&'a TaskId>,
        /// Where to continue: a position, or 0 for all retained events.
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<&'a Since>,
        /// How many earlier events to receive as well.
        #[serde(skip_serializing_if = "Option::is_none")]
        history: Option<u32>,
    },
    /// Ends a subscription. The server answers with `unsubscribed`.
    Unsubscribe {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a Reference>,
        /// The task. Give only one of `task_id`, `pattern` and `tree`.
        #[serde(skip_serializing_if = "Option::is_none")]
        task_id: Option<&'a TaskId>,
        /// A prefix of task ids, followed by `*`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pattern: Option<&'a Pattern>,
        /// A task, which stands for itself and all tasks below it.
        #[serde(skip_serializing_if = "Option::is_none")]
        tree: Option<&'a TaskId>,
    },
    /// Answer a question of a task; answered with `ack` if it has a `ref`.
    Answer {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a Reference>,
        /// The task; on `/ws/tasks/{id}` the path's if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        task_id: Option<&'a TaskId>,
        /// The question.
        input_id: &'a ItemId,
        /// The answer: any value but null, by the question's schema or choices.
        value: &'a Json,
    },
    /// Ask a task to do something; answered with `ack` if it has a `ref`.
    Command {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a Reference>,
        /// The task. If left out on `/ws/tasks/{id}`, it is the task in the path.
        #[serde(skip_serializing_if = "Option::is_none")]
        task_id: Option<&'a TaskId>,
        /// The name of the command, 1 to 64 characters.
        #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 64)))]
        command: &'a str,
        /// The command's arguments.
        #[serde(skip_serializing_if = "Option::is_none")]
        args: Option<&'a Data>,
        /// Whether all tasks below the task are asked as well, the deepest first. The server then
        /// answers with `commanded`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        tree: bool,
    },
    /// Renews the connection's permissions with a new token.
    Authenticate {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a Reference>,
        token: &'a str,
    },
}

#[expect(clippy::ptr_arg, reason = "serde calls it so")]
fn is_empty(data: &Cow<'_, Data>) -> bool {
    data.as_str() == "{}"
}

impl<'a> From<&'a Message> for ClientMessage<'a> {
    fn from(message: &'a Message) -> Self {
        let reference = message.reference.as_ref();
        match &message.kind {
            ClientRequest::Ping => Self::Ping { reference },
            ClientRequest::Publish { task_id, event } => Self::Publish {
                reference,
                task_id: task_id.as_ref(),
                event_type: &event.event_type,
                data: Cow::Borrowed(&event.data),
                event_id: event.event_id.as_ref(),
                source: event.source.as_ref(),
                producer: event.producer.as_ref(),
                run: event.run,
            },
            ClientRequest::Subscribe {
                target,
                since,
                history,
            } => Self::Subscribe {
                reference,
                task_id: target.as_ref().and_then(Target::task_id),
                pattern: target.as_ref().and_then(Target::pattern),
                tree: target.as_ref().and_then(Target::tree),
                since: since.as_ref(),
                history: *history,
            },
            ClientRequest::Unsubscribe { target } => Self::Unsubscribe {
                reference,
                task_id: target.as_ref().and_then(Target::task_id),
                pattern: target.as_ref().and_then(Target::pattern),
                tree: target.as_ref().and_then(Target::tree),
            },
            ClientRequest::Answer {
                task_id,
                input_id,
                value,
            } => Self::Answer {
                reference,
                task_id: task_id.as_ref(),
                input_id,
                value,
            },
            ClientRequest::Command {
                task_id,
                command,
                args,
                tree,
            } => Self::Command {
                reference,
                task_id: task_id.as_ref(),
                command,
                args: args.as_ref(),
                tree: *tree,
            },
            ClientRequest::Authenticate { token } => Self::Authenticate {
                reference,
                token: token.reveal(),
            },
        }
    }
}
