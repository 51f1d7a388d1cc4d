//! The request of a subscriber inside the process.

use std::collections::HashSet;

use tidings_protocol::{EventType, Pattern, Since, TaskId};

use crate::deliver::cursor::SkipPolicy;
use crate::deliver::join::Start;

/// The tasks that a filter selects.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    Task(TaskId),
    Pattern(Pattern),
}

/// The tasks to subscribe to, and the position to start from.
#[derive(Debug, Clone)]
pub struct Filter {
    pub(crate) subject: Subject,
    pub(crate) start: Start,
    pub(crate) event_types: Option<HashSet<EventType>>,
    pub(crate) skip: Option<SkipPolicy>,
    pub(crate) snapshots: bool,
}

impl Filter {
    fn new(subject: Subject) -> Self {
        Self {
            subject,
            start: Start::Live,
            event_types: None,
            skip: None,
            snapshots: false,
        }
    }

    /// Selects one task, from now on.
    pub fn task(task_id: TaskId) -> Self {
        Self::new(Subject::Task(task_id))
    }

    /// Selects all tasks that match, from now on. A task that appears later starts with its
    /// first event.
    pub fn pattern(pattern: Pattern) -> Self {
        Self::new(Subject::Pattern(pattern))
    }

    /// Selects all tasks.
    pub fn everything() -> Self {
        Self::pattern(Pattern::everything())
    }

    /// Starts after a position, or with all retained events.
    #[must_use]
    pub fn since(mut self, since: Since) -> Self {
        self.start = since.into();
        self
    }

    /// Starts with up to `count` of the newest retained events.
    #[must_use]
    pub fn history(mut self, count: u64) -> Self {
        self.start = Start::History(count);
        self
    }

    /// Selects only events of these types. Offsets then have holes. Gaps are still reported.
    #[must_use]
    pub fn event_types(mut self, types: impl IntoIterator<Item = EventType>) -> Self {
        self.event_types = Some(types.into_iter().collect());
        self
    }

    /// Starts each task with its state, as a client's watch does. See
    /// [`EventBus::watch`](crate::EventBus::watch).
    #[must_use]
    pub fn snapshots(mut self) -> Self {
        self.snapshots = true;
        self
    }

    /// Sets when a lagging subscriber skips events. The default is the policy of the bus.
    #[must_use]
    pub fn skip(mut self, policy: SkipPolicy) -> Self {
        self.skip = Some(policy);
        self
    }
}

impl std::fmt::Display for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.subject {
            Subject::Task(task_id) => write!(f, "task {task_id}")?,
            Subject::Pattern(pattern) => write!(f, "pattern {pattern}")?,
        }
        if let Some(types) = &self.event_types {
            let mut types: Vec<_> = types.iter().map(ToString::to_string).collect();
            types.sort_unstable();
            write!(f, ", only {}", types.join(" "))?;
        }
        Ok(())
    }
}

impl From<&TaskId> for Filter {
    fn from(task_id: &TaskId) -> Self {
        Self::task(task_id.clone())
    }
}

impl From<TaskId> for Filter {
    fn from(task_id: TaskId) -> Self {
        Self::task(task_id)
    }
}

impl From<&Pattern> for Filter {
    fn from(pattern: &Pattern) -> Self {
        Self::pattern(pattern.clone())
    }
}

impl From<Pattern> for Filter {
    fn from(pattern: Pattern) -> Self {
        Self::pattern(pattern)
    }
}
