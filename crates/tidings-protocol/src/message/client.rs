//! What clients say.

use std::fmt;
use std::str::FromStr;

use crate::{Data, IdError, ItemId, Json, NewEvent, Pattern, Secret, Since, TaskId};

use super::Reference;
use super::wire::client::{self as wire, Kind};

/// A message from a client: a request, and its mark on it.
///
/// ```
/// use tidings_protocol::{ClientMessage, ClientRequest, Limits};
///
/// let text = r#"{"type":"ping","ref":7}"#;
/// let message = ClientMessage::decode(text, &Limits::default())?;
/// assert!(matches!(message.kind, ClientRequest::Ping));
/// assert_eq!(message.encode(), text);
///
/// let error = ClientMessage::decode(r#"{"type":"dance","ref":8}"#, &Limits::default()).unwrap_err();
/// assert_eq!(error.code.as_str(), "unknown_type");
/// assert_eq!(error.reference, Some(8.into()));
/// # Ok::<(), tidings_protocol::DecodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientMessage {
    /// Comes back with the answer.
    pub reference: Option<Reference>,
    /// What is asked.
    pub kind: ClientRequest,
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientRequest {
    /// To be answered with a `pong`.
    Ping,
    /// Publish an event.
    Publish {
        /// To this task; none: the path's.
        task_id: Option<TaskId>,
        /// The event.
        event: NewEvent,
    },
    /// Watch a task, or all that match a pattern.
    Subscribe {
        /// What; none: the path's task.
        target: Option<Target>,
        /// Where to go on; none: with what comes next.
        since: Option<Since>,
        /// So many events from before as well.
        history: Option<u32>,
    },
    /// Watch no more.
    Unsubscribe {
        /// What; none: the path's task.
        target: Option<Target>,
    },
    /// Answer a question that a task has asked.
    Answer {
        /// Of this task; none: the path's.
        task_id: Option<TaskId>,
        /// The question.
        input_id: ItemId,
        /// The answer.
        value: Json,
    },
    /// Ask a task to do something.
    Command {
        /// This task; none: the path's.
        task_id: Option<TaskId>,
        /// What to do: 1–64 characters.
        command: String,
        /// With what.
        args: Option<Data>,
    },
    /// Renew the permission to be connected.
    Authenticate {
        /// Whatever the server's authenticator understands.
        token: Secret,
    },
}

/// What a subscription is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// One task.
    Task(TaskId),
    /// Every task that matches, those to come included.
    Pattern(Pattern),
}

impl Target {
    /// The task, if it is one.
    pub fn task_id(&self) -> Option<&TaskId> {
        match self {
            Self::Task(task_id) => Some(task_id),
            Self::Pattern(_) => None,
        }
    }

    /// The pattern, if it is one.
    pub fn pattern(&self) -> Option<&Pattern> {
        match self {
            Self::Task(_) => None,
            Self::Pattern(pattern) => Some(pattern),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(task_id) => task_id.fmt(f),
            Self::Pattern(pattern) => pattern.fmt(f),
        }
    }
}

impl FromStr for Target {
    type Err = IdError;

    /// A pattern if it ends in `*`, which no task id has; else a task.
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.ends_with('*') {
            text.parse().map(Self::Pattern)
        } else {
            text.parse().map(Self::Task)
        }
    }
}

impl From<TaskId> for Target {
    fn from(task_id: TaskId) -> Self {
        Self::Task(task_id)
    }
}

impl From<Pattern> for Target {
    fn from(pattern: Pattern) -> Self {
        Self::Pattern(pattern)
    }
}

impl ClientMessage {
    /// A request without a mark.
    pub const fn new(kind: ClientRequest) -> Self {
        Self {
            reference: None,
            kind,
        }
    }

    /// With a mark that comes back with the answer.
    #[must_use]
    pub fn with_reference(mut self, reference: Reference) -> Self {
        self.reference = Some(reference);
        self
    }

    /// The text that goes over the wire: one line of JSON.
    pub fn encode(&self) -> String {
        // Only text, numbers and JSON that was checked before: nothing can fail.
        serde_json::to_string(&wire::ClientMessage::from(self)).unwrap_or_default()
    }
}

impl ClientRequest {
    /// The message's `type`.
    pub const fn type_name(&self) -> &'static str {
        self.wire_kind().as_str()
    }

    pub(crate) const fn wire_kind(&self) -> Kind {
        match self {
            Self::Ping => Kind::Ping,
            Self::Publish { .. } => Kind::Publish,
            Self::Subscribe { .. } => Kind::Subscribe,
            Self::Unsubscribe { .. } => Kind::Unsubscribe,
            Self::Answer { .. } => Kind::Answer,
            Self::Command { .. } => Kind::Command,
            Self::Authenticate { .. } => Kind::Authenticate,
        }
    }
}

impl From<ClientRequest> for ClientMessage {
    fn from(kind: ClientRequest) -> Self {
        Self::new(kind)
    }
}
