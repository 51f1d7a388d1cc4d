//! Messages from clients.

use std::fmt;
use std::str::FromStr;

use crate::{Data, IdError, ItemId, Json, NewEvent, Pattern, Secret, Since, TaskId};

use super::Reference;
use super::wire::client::{self as wire, Kind};

/// A message from a client: a request, and an optional reference to match the answer.
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
    /// The client's own reference. The server sends it back with the answer.
    pub reference: Option<Reference>,
    /// The request.
    pub kind: ClientRequest,
}

/// A request of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientRequest {
    /// Asks the server for a `pong`.
    Ping,
    /// Publishes an event.
    Publish {
        /// The task. `None` means the task in the connection's path.
        task_id: Option<TaskId>,
        /// The event.
        event: NewEvent,
    },
    /// Subscribes to a task, or to all tasks that match a pattern.
    Subscribe {
        /// The task or pattern. `None` means the task in the connection's path.
        target: Option<Target>,
        /// Where to continue. `None` starts with the next new event.
        since: Option<Since>,
        /// How many earlier events to receive as well.
        history: Option<u32>,
    },
    /// Ends a subscription.
    Unsubscribe {
        /// The task or pattern. `None` means the task in the connection's path.
        target: Option<Target>,
    },
    /// Answers a question of a task.
    Answer {
        /// The task. `None` means the task in the connection's path.
        task_id: Option<TaskId>,
        /// The question.
        input_id: ItemId,
        /// The answer.
        value: Json,
    },
    /// Asks a task to do something.
    Command {
        /// The task. `None` means the task in the connection's path.
        task_id: Option<TaskId>,
        /// The name of the command, 1–64 characters.
        command: String,
        /// The command's arguments.
        args: Option<Data>,
        /// Whether all tasks below the task are asked as well, the deepest first.
        tree: bool,
    },
    /// Renews the connection's permissions with a new token.
    Authenticate {
        /// The token, in any form that the server's authenticator accepts.
        token: Secret,
    },
}

/// The object of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// One task.
    Task(TaskId),
    /// Every task that matches, including tasks that start later.
    Pattern(Pattern),
    /// A task and all tasks below it, including tasks that start later.
    Tree(TaskId),
}

impl Target {
    /// Returns the task if the target is one task.
    pub fn task_id(&self) -> Option<&TaskId> {
        match self {
            Self::Task(task_id) => Some(task_id),
            Self::Pattern(_) | Self::Tree(_) => None,
        }
    }

    /// Returns the pattern if the target is one.
    pub fn pattern(&self) -> Option<&Pattern> {
        match self {
            Self::Pattern(pattern) => Some(pattern),
            Self::Task(_) | Self::Tree(_) => None,
        }
    }

    /// Returns the topmost task if the target is a tree.
    pub fn tree(&self) -> Option<&TaskId> {
        match self {
            Self::Tree(task_id) => Some(task_id),
            Self::Task(_) | Self::Pattern(_) => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(task_id) | Self::Tree(task_id) => task_id.fmt(f),
            Self::Pattern(pattern) => pattern.fmt(f),
        }
    }
}

impl FromStr for Target {
    type Err = IdError;

    /// Reads a pattern if the text ends with `*`, which no task id contains. Otherwise reads a task
    /// id.
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

impl From<&TaskId> for Target {
    fn from(task_id: &TaskId) -> Self {
        Self::Task(task_id.clone())
    }
}

impl From<&Pattern> for Target {
    fn from(pattern: &Pattern) -> Self {
        Self::Pattern(pattern.clone())
    }
}

impl From<&Target> for Target {
    fn from(target: &Target) -> Self {
        target.clone()
    }
}

impl ClientMessage {
    /// Creates a request without a reference.
    pub const fn new(kind: ClientRequest) -> Self {
        Self {
            reference: None,
            kind,
        }
    }

    /// Sets a reference, which the server sends back with the answer.
    #[must_use]
    pub fn with_reference(mut self, reference: Reference) -> Self {
        self.reference = Some(reference);
        self
    }

    /// Returns the message's wire form: one line of JSON.
    pub fn encode(&self) -> String {
        // The message contains only text, numbers and JSON that was checked before, so this cannot
        // fail.
        serde_json::to_string(&wire::ClientMessage::from(self)).unwrap_or_default()
    }
}

impl ClientRequest {
    /// Returns the message's `type`.
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
