//! What kinds of events there are.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What a lagging subscriber may miss of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventClass {
    /// Adjacent ones are merged into one, without loss of state.
    Mergeable,
    /// May be left out as a range.
    Droppable,
    /// Never left out while it is retained.
    Essential,
}

macro_rules! event_types {
    ($($(#[$doc:meta])* $variant:ident => $name:literal, $class:ident;)+) => {
        /// What kind of event it is: one of the standard ones, or the application's own.
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
            /// Any other: the application's own.
            Custom(CustomEventType),
        }

        impl EventType {
            /// The standard types, in the order of the specification.
            pub const STANDARD: &'static [Self] = &[$(Self::$variant),+];

            /// The name on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)+
                    Self::Custom(custom) => custom.as_str(),
                }
            }

            /// What a lagging subscriber may miss of it.
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
    /// The task runs; after its end, it runs anew.
    TaskStarted => "task_started", Essential;
    /// How far it is.
    ProgressUpdate => "progress_update", Mergeable;
    /// A step began.
    StepStarted => "step_started", Essential;
    /// A step is done.
    StepCompleted => "step_completed", Essential;
    /// A step failed.
    StepFailed => "step_failed", Essential;
    /// The task is done.
    TaskCompleted => "task_completed", Essential;
    /// The task failed.
    TaskFailed => "task_failed", Essential;
    /// The task was cancelled.
    TaskCancelled => "task_cancelled", Essential;
    /// What one of the task's agents is doing.
    AgentStatusChange => "agent_status_change", Essential;
    /// A tool was called.
    ToolCallStarted => "tool_call_started", Essential;
    /// A tool has answered.
    ToolCallCompleted => "tool_call_completed", Essential;
    /// A tool failed.
    ToolCallFailed => "tool_call_failed", Essential;
    /// More of a text, as it comes.
    OutputDelta => "output_delta", Mergeable;
    /// The text is complete.
    OutputCompleted => "output_completed", Essential;
    /// Something was made.
    Artifact => "artifact", Essential;
    /// The task waits for an answer.
    InputRequired => "input_required", Essential;
    /// The answer was given.
    InputProvided => "input_provided", Essential;
    /// Made by the bus: nobody has answered in time.
    InputExpired => "input_expired", Essential;
    /// Made by the bus: nothing was heard within the task's lease.
    TaskStalled => "task_stalled", Essential;
    /// A line of a log.
    Log => "log", Droppable;
    /// The task is asked to do something.
    CommandRequested => "command_requested", Essential;
    /// It will.
    CommandAccepted => "command_accepted", Essential;
    /// It will not.
    CommandRejected => "command_rejected", Essential;
    /// It has.
    CommandCompleted => "command_completed", Essential;
}

impl EventType {
    /// An event type of the application's own; a standard name gives the standard type.
    ///
    /// # Errors
    /// The name does not match `[a-z][a-z0-9_.]{0,63}`, or a control message has it.
    pub fn new(name: impl AsRef<str>) -> Result<Self, EventTypeError> {
        name.as_ref().parse()
    }

    /// Whether only the bus makes it: a client that publishes one is refused.
    pub fn is_made_by_bus(&self) -> bool {
        matches!(
            self.as_str(),
            "task_stalled" | "input_expired" | "children_update"
        )
    }

    /// Whether the task has ended with it.
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

/// The longest name of an event type.
const MAX_NAME: usize = 64;

/// Names of control messages: an event must not pass for one.
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
/// Made by [`EventType::new`], which knows the standard ones.
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

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a name is no event type. Choose another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventTypeError {
    /// There is no name.
    #[error("event_type is empty")]
    Empty,
    /// It does not begin with a letter.
    #[error("event_type begins with a lower-case letter a–z")]
    Start,
    /// A character is not allowed.
    #[error("event_type has {found:?} at character {at}, allowed is a–z 0–9 _ .")]
    Character {
        /// The character.
        found: char,
        /// Its place, counted from 1.
        at: usize,
    },
    /// It is too long.
    #[error("event_type has {length} characters, at most 64 are allowed")]
    TooLong {
        /// Its length.
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
        assert_eq!(EventType::STANDARD.len(), 24);
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
                EventType::ProgressUpdate | EventType::OutputDelta => EventClass::Mergeable,
                EventType::Log => EventClass::Droppable,
                _ => EventClass::Essential,
            };
            assert_eq!(event_type.class(), expected, "{event_type}");
        }
    }
}
