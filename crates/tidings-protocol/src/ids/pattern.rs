//! Patterns: subscriptions to all tasks with a common prefix.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{Alphabet, IdError, Rule, TaskId};

const RULE: Rule = Rule {
    id: "pattern",
    alphabet: Alphabet::Token,
    max: 128,
};

/// A pattern for all tasks whose id begins with a prefix: `build-*`, or `*` for every task.
///
/// ```
/// use tidings_protocol::{Pattern, TaskId};
///
/// let builds: Pattern = "build-*".parse()?;
/// assert!(builds.matches(&TaskId::new("build-7")?));
/// assert!(!builds.matches(&TaskId::new("render-7")?));
/// # Ok::<(), tidings_protocol::IdError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    prefix: Arc<str>,
}

impl Pattern {
    /// Creates a pattern from a prefix and its `*`. The prefix has 0–128 characters of a task id's
    /// alphabet.
    ///
    /// # Errors
    /// Returns an error if the text does not end with `*`, is too long, or contains a character
    /// that no task id contains.
    pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
        let prefix = text.as_ref().strip_suffix('*').ok_or(IdError::NoStar)?;
        RULE.check_characters(prefix)?;
        Ok(Self {
            prefix: prefix.into(),
        })
    }

    /// Returns `*`, which matches every task.
    pub fn everything() -> Self {
        Self { prefix: "".into() }
    }

    /// Returns the text before the `*`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns whether the task's id begins with the prefix.
    pub fn matches(&self, task_id: &TaskId) -> bool {
        task_id.as_str().starts_with(&*self.prefix)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}*", self.prefix)
    }
}

impl FromStr for Pattern {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

crate::text::text_serde!(Pattern, "a prefix of a task_id and `*`");

#[cfg(feature = "schema")]
crate::schema::text!(
    Pattern,
    "pattern",
    r"^[A-Za-z0-9._:~-]{0,128}\*$".to_owned()
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_prefix_and_a_star() {
        assert_eq!(Pattern::new("build-*").unwrap().to_string(), "build-*");
        assert_eq!(Pattern::everything(), Pattern::new("*").unwrap());
        assert_eq!(Pattern::new("build-").unwrap_err(), IdError::NoStar);
        assert_eq!(Pattern::new("").unwrap_err(), IdError::NoStar);
        let error = Pattern::new("a*b*").unwrap_err().to_string();
        assert!(error.contains("'*' at character 2"), "{error}");
        assert!(Pattern::new(format!("{}*", "x".repeat(128))).is_ok());
        assert!(Pattern::new(format!("{}*", "x".repeat(129))).is_err());
    }

    #[test]
    fn everything_matches_everything() {
        let id = TaskId::new("x").unwrap();
        assert!(Pattern::everything().matches(&id));
        assert!(Pattern::new("x*").unwrap().matches(&id));
        assert!(!Pattern::new("xy*").unwrap().matches(&id));
    }
}
