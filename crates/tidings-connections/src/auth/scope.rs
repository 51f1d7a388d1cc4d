//! A set of tasks, described by ids and patterns.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidings_protocol::{Pattern, Target, TaskId};

/// The set of tasks that a permission covers: ids and patterns. A tree counts as its topmost task
/// alone, because the tasks below it are not known from its name.
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
    /// The targets, sorted by text. No target contains another, so they are disjoint, sorted ranges
    /// of task ids.
    Box<[Target]>,
);

/// Returns the text with which the ids of a target begin. For a task it is the whole id.
fn start(target: &Target) -> &str {
    match target {
        Target::Task(task_id) | Target::Tree(task_id) => task_id.as_str(),
        Target::Pattern(pattern) => pattern.prefix(),
    }
}

impl Scope {
    /// Returns the empty set.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Returns the set of all tasks.
    pub fn everything() -> Self {
        Self(Box::new([Target::Pattern(Pattern::everything())]))
    }

    /// Returns whether the set is empty.
    pub fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the set contains every task.
    pub fn is_everything(&self) -> bool {
        // The pattern `*` contains every other target, so no other target remains beside it.
        matches!(&*self.0, [Target::Pattern(pattern)] if pattern.prefix().is_empty())
    }

    /// Returns whether the set contains the task.
    pub fn allows(&self, task_id: &TaskId) -> bool {
        self.0.iter().any(|target| match target {
            Target::Task(known) | Target::Tree(known) => known == task_id,
            Target::Pattern(pattern) => pattern.matches(task_id),
        })
    }

    /// Returns whether the set contains at least one task that the pattern could match.
    pub fn overlaps(&self, pattern: &Pattern) -> bool {
        !self.within(pattern.prefix()).is_empty()
    }

    /// Returns the part of the set whose ids begin with `prefix`, sorted by id.
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

    /// Returns the ids and patterns of the set.
    pub fn targets(&self) -> &[Target] {
        &self.0
    }
}

impl FromIterator<Target> for Scope {
    fn from_iter<I: IntoIterator<Item = Target>>(targets: I) -> Self {
        let mut targets: Vec<_> = targets.into_iter().collect();
        // Sort a pattern before the targets that it contains. Its text is a prefix of their texts.
        // If the texts are equal, the pattern is the wider one.
        targets.sort_by(|a, b| {
            let order = start(a).cmp(start(b));
            order.then_with(|| a.pattern().is_none().cmp(&b.pattern().is_none()))
        });
        targets.dedup_by(|next, kept| match kept {
            Target::Task(task_id) | Target::Tree(task_id) => start(next) == task_id.as_str(),
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
