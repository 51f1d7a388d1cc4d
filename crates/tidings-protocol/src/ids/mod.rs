//! Ids: text with a checked alphabet and length. Clones are cheap.

mod error;
mod pattern;

use std::sync::Arc;

pub use error::IdError;
pub(crate) use error::{Alphabet, Rule};
pub use pattern::Pattern;

/// Defines an id type: a private `Arc<str>` that was checked against its rule.
macro_rules! text_id {
    ($(#[$doc:meta])* $type:ident, $name:literal, $alphabet:ident, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            pub(crate) const RULE: Rule =
                Rule { id: $name, alphabet: Alphabet::$alphabet, max: $max };

            /// Creates an id from text, after checking the text against the rule above.
            ///
            /// # Errors
            /// Returns an error if the text is empty or too long, or contains a character that is
            /// not allowed.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                let text = text.as_ref();
                Self::RULE.check(text)?;
                Ok(Self(text.into()))
            }

            /// Returns the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl ::std::str::FromStr for $type {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $type {
            type Error = IdError;

            fn try_from(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<&String> for $type {
            type Error = IdError;

            fn try_from(text: &String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<&$type> for $type {
            fn from(id: &$type) -> Self {
                id.clone()
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl ::std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        $crate::text::text_serde!($type, $name, as_str);

        #[cfg(feature = "schema")]
        $crate::schema::text!($type, $name, Self::RULE.pattern());
    };
}

text_id! {
    /// Names a task: 1–128 of `A–Z a–z 0–9 . _ : - ~`.
    ///
    /// ```
    /// use tidings_protocol::TaskId;
    ///
    /// let id: TaskId = "build-7".parse()?;
    /// assert_eq!(id.as_str(), "build-7");
    /// assert!(TaskId::new("no spaces").is_err());
    /// # Ok::<(), tidings_protocol::IdError>(())
    /// ```
    TaskId, "task_id", Token, 128
}

text_id! {
    /// Names a client across its connections: 1–64 of `A–Z a–z 0–9 . _ : - ~`.
    ClientId, "client_id", Token, 64
}

text_id! {
    /// Names a request to a task: 1–64 of `A–Z a–z 0–9 . _ : - ~`.
    CommandId, "command_id", Token, 64
}

text_id! {
    /// An idempotency key of a producer: 1–128 characters, none of them a control character.
    EventId, "event_id", Printable, 128
}

text_id! {
    /// The name that the maker of an event gives itself: 1–128 characters, none of them a control
    /// character.
    Source, "source", Printable, 128
}

text_id! {
    /// Names a producer whose publishes are fenced: 1–64 characters, none of them a control
    /// character.
    ProducerId, "producer.id", Printable, 64
}

text_id! {
    /// Names a thing inside a task: a step, agent, tool call, output, artifact, question or
    /// command. 1–128 characters, none of them a control character.
    ItemId, "an item's id", Printable, 128
}

impl ClientId {
    /// Generates a new id: `client_` and a version 4 UUID in hexadecimal.
    pub fn generate() -> Self {
        Self(format!("client_{}", uuid::Uuid::new_v4().simple()).into())
    }
}

impl CommandId {
    /// Generates a new id: `command_` and a version 4 UUID in hexadecimal.
    pub fn generate() -> Self {
        Self(format!("command_{}", uuid::Uuid::new_v4().simple()).into())
    }
}

impl From<CommandId> for ItemId {
    /// Every command id is a valid item id: an item id may be longer and allows more characters.
    fn from(id: CommandId) -> Self {
        Self(id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_which_id_which_rule_and_where() {
        let cases = [
            (TaskId::new("").unwrap_err(), "task_id is empty"),
            (
                TaskId::new("a b").unwrap_err(),
                "task_id has ' ' at character 2",
            ),
            (
                TaskId::new("a".repeat(129)).unwrap_err(),
                "task_id has 129 characters, at most 128",
            ),
            (
                ClientId::new("ü").unwrap_err(),
                "client_id has 'ü' at character 1",
            ),
            (
                EventId::new("a\nb").unwrap_err(),
                "event_id has '\\n' at character 2",
            ),
            (TaskId::new(".").unwrap_err(), "task_id cannot be `.`"),
            (TaskId::new("..").unwrap_err(), "task_id cannot be `.`"),
            (ClientId::new("..").unwrap_err(), "client_id cannot be `.`"),
        ];
        for (error, expected) in cases {
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }

    #[test]
    fn lengths_count_characters_and_both_ends_are_allowed() {
        assert!(TaskId::new("~").is_ok());
        assert!(TaskId::new("...").is_ok() && TaskId::new(".a").is_ok());
        assert!(EventId::new("..").is_ok(), "is in no path");
        assert!(TaskId::new("x".repeat(128)).is_ok());
        assert!(Source::new("ü".repeat(128)).is_ok());
        assert!(Source::new("ü".repeat(129)).is_err());
        assert!(ClientId::new("x".repeat(65)).is_err());
    }

    #[test]
    fn generated_ids_are_valid_and_differ() {
        let (a, b) = (ClientId::generate(), ClientId::generate());
        assert_ne!(a, b);
        assert_eq!(ClientId::new(a.as_str()).unwrap(), a);
        let command = CommandId::generate();
        assert!(command.as_str().starts_with("command_"));
        assert_eq!(CommandId::new(&command).unwrap(), command);
        assert_eq!(ItemId::from(command.clone()).as_str(), command.as_str());
    }

    #[test]
    fn serde_validates() {
        let id: TaskId = serde_json::from_str("\"a~b\"").unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"a~b\"");
        let error = serde_json::from_str::<TaskId>("\"a/b\"")
            .unwrap_err()
            .to_string();
        assert!(error.contains("task_id has '/' at character 2"), "{error}");
        assert!(serde_json::from_str::<TaskId>("7").is_err());
    }
}
