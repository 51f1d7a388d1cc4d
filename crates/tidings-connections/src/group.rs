//! Many tasks that are subscribed to together.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidings_protocol::{IdError, Pattern, Target, TaskId};

/// A set of tasks with one subscription: a pattern or a tree. It includes tasks that do not exist
/// yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Group {
    /// All tasks whose ids match the pattern.
    Pattern(Pattern),
    /// A task and all tasks below it.
    Tree(TaskId),
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(pattern) => pattern.fmt(f),
            Self::Tree(root) => root.fmt(f),
        }
    }
}

impl From<Group> for Target {
    fn from(group: Group) -> Self {
        match group {
            Group::Pattern(pattern) => Self::Pattern(pattern),
            Group::Tree(root) => Self::Tree(root),
        }
    }
}

/// The stored form is text. Only a pattern ends with `*`.
impl Serialize for Group {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Group {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let read = || -> Result<Self, IdError> {
            if text.ends_with('*') {
                Ok(Self::Pattern(text.parse()?))
            } else {
                Ok(Self::Tree(text.parse()?))
            }
        };
        read().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_read_back() {
        let groups = [
            Group::Pattern("build-*".parse().unwrap()),
            Group::Pattern(Pattern::everything()),
            Group::Tree("build-1".parse().unwrap()),
        ];
        let json = serde_json::to_string(&groups).unwrap();
        assert_eq!(json, r#"["build-*","*","build-1"]"#);
        let read: Vec<Group> = serde_json::from_str(&json).unwrap();
        assert_eq!(read, groups);
        assert!(serde_json::from_str::<Group>("\"a b\"").is_err());
    }
}
