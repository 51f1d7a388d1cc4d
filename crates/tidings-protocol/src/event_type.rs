//! The types of events.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Whether a subscriber that lags may miss an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventClass {
    /// Adjacent events may be merged into one, without loss of state.
    Mergeable,
    /// The event may be left out. A gap then reports the range.
    Droppable,
    /// The event is never left out while it is retained.
    Essential,
}

macro_rules! event_types {
    ($($(#[$doc:meta])* $variant:ident => $name:literal, $class:ident;)+) => {
        /// The type of an event: a standard type, or one that the application defines.
        ///
        /// ```
        /// use tidings_protocol::{EventClass, EventType};
        ///
        /// assert_eq!("progress_update".parse(), Ok(EventType::ProgressUpdate));
        /// let own: EventType = "render.frame".parse()?;
        /// assert_eq!(own.as_str(), "render.frame");
        /// assert_eq!(own.class(), EventClass::Essential);
        /// # Ok::<(), tidings_protocol::EventTypeError>(())
        /// ```
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum EventType {
            $($(#[$doc])* $variant,)+
            /// A type that the application defines.
            Custom(CustomEventType),
        }

        impl EventType {
            /// The standard types, in the order of the specification.
            pub const STANDARD: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the name on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)+
                    Self::Custom(custom) => custom.as_str(),
                }
            }

            /// Returns whether a subscriber that lags may miss events of this type.
            pub const fn class(&self) -> EventClass {
                match self {
                    $(Self::$variant => EventClass::$class,)+
                    Self::Custom(_) => EventClass::Essential,
                }
            }
        }

        impl FromStr for EventType {
            type Err = EventTypeError;

            fn from_str(text: &str) -> Result<Self, EventTypeError> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => CustomEventType::checked(text).map(Self::Custom),
                }
            }
        }
    };
}

event_types! {
    /// The task starts. After its end, the same event starts a new run.
    TaskStarted => "task_started", Essential;
    /// The task reports its progress.
    ProgressUpdate => "progress_update", Mergeable;
    /// A step began.
    StepStarted => "step_started", Essential;
    /// A step completed.
    StepCompleted => "step_completed", Essential;
    /// A step failed.
    StepFailed => "step_failed", Essential;
    /// The task completed.
    TaskCompleted => "task_completed", Essential;
    /// The task failed.
    TaskFailed => "task_failed", Essential;
    /// The task was cancelled.
    TaskCancelled => "task_cancelled", Essential;
    /// An agent of the task changed its status.
    AgentStatusChange => "agent_status_change", Essential;
    /// The task called a tool.
    ToolCallStarted => "tool_call_started", Essential;
    /// A tool call completed.
    ToolCallCompleted => "tool_call_completed", Essential;
    /// A tool call failed.
    ToolCallFailed => "tool_call_failed", Essential;
    /// More text of an output.
    OutputDelta => "output_delta", Mergeable;
    /// An output is complete.
    OutputCompleted => "output_completed", Essential;
    /// The task made an artifact.
    Artifact => "artifact", Essential;
    /// The task asks a question and waits for the answer.
    InputRequired => "input_required", Essential;
    /// A question was answered.
    InputProvided => "input_provided", Essential;
    /// Made by the bus: nobody has answered in time.
    InputExpired => "input_expired", Essential;
    /// Made by the bus: nothing was heard within the task's lease.
    TaskStalled => "task_stalled", Essential;
    /// Made by the bus: the counts of the task's children have changed.
    ChildrenUpdate => "children_update", Mergeable;
    /// A log line.
    Log => "log", Droppable;
    /// Somebody asks the task to do something.
    CommandRequested => "command_requested", Essential;
    /// The task will do what the command asks.
    CommandAccepted => "command_accepted", Essential;
    /// The task will not do what the command asks.
    CommandRejected => "command_rejected", Essential;
    /// The task has done what the command asked.
    CommandCompleted => "command_completed", Essential;
}

impl EventType {
    /// Creates an event type from its name. A standard name gives the standard type.
    ///
    /// # Errors
    /// Returns an error if the name does not match `[a-z][a-z0-9_.]{0,63}`, or if a control message
    /// has the same name.
    pub fn new(name: impl AsRef<str>) -> Result<Self, EventTypeError> {
        name.as_ref().parse()
    }

    /// Returns whether only the bus makes this type. A client that publishes it is refused.
    pub const fn is_made_by_bus(&self) -> bool {
        matches!(
            self,
            Self::TaskStalled | Self::InputExpired | Self::ChildrenUpdate
        )
    }

    /// Returns whether an event of this type shows that the task's producer is alive. Events of the
    /// bus do not, nor do commands and answers, which other people send.
    pub const fn is_sign_of_life(&self) -> bool {
        !self.is_made_by_bus() && !matches!(self, Self::CommandRequested | Self::InputProvided)
    }

    /// Returns whether an event of this type ends the task.
    pub const fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::TaskCompleted | Self::TaskFailed | Self::TaskCancelled
        )
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

crate::text::text_serde!(EventType, "an event type", as_str);

#[cfg(feature = "schema")]
crate::schema::text!(
    EventType,
    "event_type",
    "^[a-z][a-z0-9_.]{0,63}$".to_owned()
);

/// The longest name of an event type, in characters.
const MAX_NAME: usize = 64;

/// The names of control messages. An event with such a name would look like one.
pub(crate) const RESERVED: [&str; 11] = [
    "connection_established",
    "subscribed",
    "unsubscribed",
    "gap",
    "reset",
    "heartbeat",
    "ack",
    "error",
    "personal_message",
    "pong",
    "going_away",
];

/// The name of an event type that is not standard: `[a-z][a-z0-9_.]{0,63}`.
///
/// Only [`EventType::new`] creates it, so it is never the name of a standard type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CustomEventType(Arc<str>);

impl CustomEventType {
    fn checked(name: &str) -> Result<Self, EventTypeError> {
        match name.as_bytes().first() {
            None => return Err(EventTypeError::Empty),
            Some(first) if !first.is_ascii_lowercase() => return Err(EventTypeError::Start),
            Some(_) => {}
        }
        let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '.');
        if let Some((at, found)) = name.chars().enumerate().find(|(_, c)| !allowed(*c)) {
            return Err(EventTypeError::Character { found, at: at + 1 });
        }
        if name.len() > MAX_NAME {
            return Err(EventTypeError::TooLong { length: name.len() });
        }
        match RESERVED.iter().find(|reserved| **reserved == name) {
            Some(name) => Err(EventTypeError::Reserved { name }),
            None => Ok(Self(name.into())),
        }
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a name cannot be an event type. Choose another name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventTypeError {
    /// The name is empty.
    #[error("event_type is empty")]
    Empty,
    /// The name does not begin with a letter a–z.
    #[error("event_type must begin with a lower-case letter a–z")]
    Start,
    /// The name contains a character that is not allowed.
    #[error("event_type has {found:?} at character {at}, allowed are a–z 0–9 _ .")]
    Character {
        /// The character.
        found: char,
        /// The character's place, counted from 1.
        at: usize,
    },
    /// The name is too long.
    #[error("event_type has {length} characters, at most 64 are allowed")]
    TooLong {
        /// The length of the name in characters.
        length: usize,
    },
    /// A control message has this name.
    #[error("event_type `{name}` is reserved for the server's own messages")]
    Reserved {
        /// The name.
        name: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_names_are_read_back() {
        for event_type in EventType::STANDARD {
            assert_eq!(event_type.as_str().parse().as_ref(), Ok(event_type));
        }
        assert_eq!(EventType::STANDARD.len(), 25);
    }

    #[test]
    fn own_names_have_a_rule_and_reserved_ones_are_refused() {
        for name in ["a", "render.frame", "x_1", &"a".repeat(64)] {
            assert!(
                matches!(EventType::new(name), Ok(EventType::Custom(_))),
                "{name}"
            );
        }
        for name in ["", "A", "1a", "_a", "a-b", "a b", "ä", &"a".repeat(65)] {
            assert!(EventType::new(name).is_err(), "{name}");
        }
        for name in RESERVED {
            assert_eq!(EventType::new(name), Err(EventTypeError::Reserved { name }));
        }
    }

    #[test]
    fn only_logs_may_be_missed() {
        for event_type in EventType::STANDARD {
            let expected = match event_type {
                EventType::ProgressUpdate | EventType::OutputDelta | EventType::ChildrenUpdate => {
                    EventClass::Mergeable
                }
                EventType::Log => EventClass::Droppable,
                _ => EventClass::Essential,
            };
            assert_eq!(event_type.class(), expected, "{event_type}");
        }
    }
}
