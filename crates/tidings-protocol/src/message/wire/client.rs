//! Client messages as JSON.

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
    /// To be answered with `pong`.
    Ping {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a Reference>,
    },
    /// Publish an event; answered with `ack` if it has a `ref`.
    Publish {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a Reference>,
        /// The task; on `/ws/tasks/{id}` the path's if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        task_id: Option<&'a TaskId>,
        event_type: &'a EventType,
        /// What the event says; `{}` if left out.
        #[serde(skip_serializing_if = "is_empty")]
        data: Cow<'a, Data>,
        /// Makes a retry harmless.
        #[serde(skip_serializing_if = "Option::is_none")]
        event_id: Option<&'a EventId>,
        /// Who made the event.
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<&'a Source>,
        /// Fences off older runs of the same producer.
        #[serde(skip_serializing_if = "Option::is_none")]
        producer: Option<&'a ProducerStamp>,
        /// The run that the event belongs to: refused if it is not the current one.
        #[serde(skip_serializing_if = "Option::is_none")]
        run: Option<u32>,
    },
    /// Watch a task or a pattern; answered with `subscribed`.
    Subscribe {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a Reference>,
        /// The task; or give a pattern.
        #[serde(skip_serializing_if = "Option::is_none")]
        task_id: Option<&'a TaskId>,
        /// A prefix of task ids and `*`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pattern: Option<&'a Pattern>,
        /// Where to go on: a position, or 0 for all that is retained.
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<&'a Since>,
        /// So many events from before as well.
        #[serde(skip_serializing_if = "Option::is_none")]
        history: Option<u32>,
    },
    /// Watch no more; answered with `unsubscribed`.
    Unsubscribe {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a Reference>,
        /// The task; or give a pattern.
        #[serde(skip_serializing_if = "Option::is_none")]
        task_id: Option<&'a TaskId>,
        /// A prefix of task ids and `*`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pattern: Option<&'a Pattern>,
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
        /// The task; on `/ws/tasks/{id}` the path's if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        task_id: Option<&'a TaskId>,
        /// What to do: 1 to 64 characters.
        #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 64)))]
        command: &'a str,
        /// With what.
        #[serde(skip_serializing_if = "Option::is_none")]
        args: Option<&'a Data>,
    },
    /// Renew the permission to be connected.
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
                since: since.as_ref(),
                history: *history,
            },
            ClientRequest::Unsubscribe { target } => Self::Unsubscribe {
                reference,
                task_id: target.as_ref().and_then(Target::task_id),
                pattern: target.as_ref().and_then(Target::pattern),
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
            } => Self::Command {
                reference,
                task_id: task_id.as_ref(),
                command,
                args: args.as_ref(),
            },
            ClientRequest::Authenticate { token } => Self::Authenticate {
                reference,
                token: token.reveal(),
            },
        }
    }
}
