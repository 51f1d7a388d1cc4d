//! A set of tasks, as ids and patterns.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidings_protocol::{Pattern, Target, TaskId};

/// The tasks that something is allowed for: ids, and patterns.
///
/// ```
/// use tidings_connections::Scope;
/// use tidings_protocol::TaskId;
///
/// let scope: Scope = ["build-*".parse()?, "render-7".parse()?].into_iter().collect();
/// assert!(scope.allows(&TaskId::new("build-1")?));
/// assert!(!scope.allows(&TaskId::new("secret-1")?));
/// # Ok::<(), tidings_protocol::IdError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Scope(
    /// In order of their text, and none within another: what they stand for
    /// are disjoint ranges of ids, in order.
    Box<[Target]>,
);

/// The ids that a target stands for begin so, and a task's are nothing more.
fn start(target: &Target) -> &str {
    match target {
        Target::Task(task_id) => task_id.as_str(),
        Target::Pattern(pattern) => pattern.prefix(),
    }
}

impl Scope {
    /// No task at all.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Every task.
    pub fn everything() -> Self {
        Self(Box::new([Target::Pattern(Pattern::everything())]))
    }

    /// Whether it is empty.
    pub fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every task is in it.
    pub fn is_everything(&self) -> bool {
        // Whatever else there was lies within it, and so has gone.
        matches!(&*self.0, [Target::Pattern(pattern)] if pattern.prefix().is_empty())
    }

    /// Whether this task is in it.
    pub fn allows(&self, task_id: &TaskId) -> bool {
        self.0.iter().any(|target| match target {
            Target::Task(known) => known == task_id,
            Target::Pattern(pattern) => pattern.matches(task_id),
        })
    }

    /// Whether a task that this pattern matches can be in it.
    pub fn overlaps(&self, pattern: &Pattern) -> bool {
        !self.within(pattern.prefix()).is_empty()
    }

    /// The part of it whose ids begin with `prefix`, in order of the ids.
    pub fn within(&self, prefix: &str) -> Vec<Target> {
        let mut found = Vec::new();
        for target in &self.0 {
            if start(target).starts_with(prefix) {
                found.push(target.clone());
            } else if let Target::Pattern(pattern) = target
                && prefix.starts_with(pattern.prefix())
                && let Ok(narrower) = Pattern::new(format!("{prefix}*"))
            {
                found.push(narrower.into());
            }
        }
        found
    }

    /// What it is made of.
    pub fn targets(&self) -> &[Target] {
        &self.0
    }
}

impl FromIterator<Target> for Scope {
    fn from_iter<I: IntoIterator<Item = Target>>(targets: I) -> Self {
        let mut targets: Vec<_> = targets.into_iter().collect();
        // A pattern comes before what lies within it: its text is a prefix of
        // theirs, and of two equal texts it is the wider.
        targets.sort_by(|a, b| {
            let order = start(a).cmp(start(b));
            order.then_with(|| a.pattern().is_none().cmp(&b.pattern().is_none()))
        });
        targets.dedup_by(|next, kept| match kept {
            Target::Task(task_id) => start(next) == task_id.as_str(),
            Target::Pattern(pattern) => start(next).starts_with(pattern.prefix()),
        });
        Self(targets.into())
    }
}

impl From<Pattern> for Scope {
    fn from(pattern: Pattern) -> Self {
        Self(Box::new([pattern.into()]))
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(start)).finish()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_nothing() {
            return f.write_str("nothing");
        }
        for (number, target) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{target}")?;
        }
        Ok(())
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts
            .iter()
            .map(|text| text.parse::<Target>().map_err(serde::de::Error::custom))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(texts: &[&str]) -> Scope {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn texts(targets: &[Target]) -> Vec<String> {
        targets.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn keeps_only_what_adds_something() {
        let scope = scope(&["build-1", "c", "build-*", "build-x*", "a*", "c", "ab", "b"]);
        assert_eq!(texts(scope.targets()), ["a*", "b", "build-*", "c"]);
        assert_eq!(texts(self::scope(&["x", "*"]).targets()), ["*"]);
        assert_eq!(texts(self::scope(&["a", "a*"]).targets()), ["a*"]);
        assert_eq!(texts(self::scope(&["a", "ab*"]).targets()), ["a", "ab*"]);
    }

    #[test]
    fn allows_what_it_names_and_nothing_beside() {
        let scope = scope(&["build-*", "render"]);
        for (id, allowed) in [
            ("build-1", true),
            ("build-", true),
            ("build", false),
            ("render", true),
            ("render-1", false),
            ("secret-1", false),
        ] {
            let id = id.parse().unwrap();
            assert_eq!(scope.allows(&id), allowed, "{id}");
            assert!(Scope::everything().allows(&id));
            assert!(!Scope::nothing().allows(&id));
        }
    }

    #[test]
    fn a_prefix_cuts_out_its_part() {
        let scope = scope(&["a-*", "build-*", "build", "c"]);
        for (prefix, part) in [
            ("", &["a-*", "build", "build-*", "c"][..]),
            ("b", &["build", "build-*"]),
            ("build-", &["build-*"]),
            ("build-linux-", &["build-linux-*"]),
            ("c", &["c"]),
            ("ca", &[]),
            ("z", &[]),
        ] {
            assert_eq!(texts(&scope.within(prefix)), part, "{prefix:?}");
            let pattern = Pattern::new(format!("{prefix}*")).unwrap();
            assert_eq!(scope.overlaps(&pattern), !part.is_empty(), "{prefix:?}");
        }
    }

    #[test]
    fn is_a_list_of_text_in_json() {
        let scope: Scope = serde_json::from_str(r#"["build-*","x"]"#).unwrap();
        assert_eq!(serde_json::to_string(&scope).unwrap(), r#"["build-*","x"]"#);
        for wrong in [r#"["a b"]"#, r#"[""]"#, r#"["a*b"]"#, r#""*""#, "[1]"] {
            assert!(serde_json::from_str::<Scope>(wrong).is_err(), "{wrong}");
        }
    }
}
