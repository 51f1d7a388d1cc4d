//! The cursors of one connection.

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;
use tidings_bus::{AttachId, Cursor, PatternId, Start, Task, Topic};
use tidings_protocol::{Pattern, Reference, TaskId};

/// From so many subscriptions on, an index by task pays for itself.
const INDEX_FROM: usize = 16;

/// What a cursor reads.
#[derive(Clone)]
pub(crate) enum Source {
    Task(Arc<Task>),
    /// The client's own messages.
    Inbox(Arc<Topic>),
}

impl Source {
    pub(crate) fn topic(&self) -> &Arc<Topic> {
        match self {
            Self::Task(task) => task.topic(),
            Self::Inbox(topic) => topic,
        }
    }

    pub(crate) fn task_id(&self) -> Option<&TaskId> {
        match self {
            Self::Task(task) => Some(task.id()),
            Self::Inbox(_) => None,
        }
    }
}

/// How a subscription is announced, once the socket has room: the join happens
/// at that moment, so the announcement is never older than what follows it.
pub(crate) struct Opening {
    pub(crate) start: Start,
    pub(crate) kind: OpeningKind,
}

pub(crate) enum OpeningKind {
    /// As part of `connection_established`.
    Established,
    /// As `subscribed`, with the request's reference or the pattern that matched.
    Subscribed {
        reference: Option<Reference>,
        pattern: Option<Pattern>,
    },
    /// As `subscribed` at offset 0: the task has appeared under a pattern.
    Appeared { pattern: Option<Pattern> },
    /// Not at all: an inbox goes on where it was.
    Silent,
}

/// One cursor.
pub(crate) struct Sub {
    pub(crate) source: Source,
    pub(crate) attached: AttachId,
    pub(crate) cursor: Cursor,
    pub(crate) opening: Option<Box<Opening>>,
    /// Asked for by name, and not only matched by a pattern.
    pub(crate) explicit: bool,
    /// Waits in the connection's ready list.
    pub(crate) ready: bool,
    /// Where the cursor was at the last heartbeat: no move means quiet.
    pub(crate) last_heartbeat: u64,
}

/// A pattern subscribed to.
pub(crate) struct PatternSub {
    pub(crate) pattern: Pattern,
    pub(crate) id: PatternId,
}

/// All cursors and patterns of one connection.
#[derive(Default)]
pub(crate) struct Subscriptions {
    subs: Slab<Sub>,
    /// Made when there are many; a connection to one task needs none.
    index: Option<HashMap<TaskId, usize>>,
    pub(crate) patterns: Option<Box<Slab<PatternSub>>>,
}

impl Subscriptions {
    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut Sub> {
        self.subs.get_mut(key)
    }

    pub(crate) fn vacant_key(&self) -> usize {
        self.subs.vacant_key()
    }

    pub(crate) fn insert(&mut self, sub: Sub) -> usize {
        if self.subs.capacity() == 0 {
            // Most connections watch one task; growth by itself starts at four.
            self.subs = Slab::with_capacity(1);
        }
        let task_id = sub.source.task_id().cloned();
        let key = self.subs.insert(sub);
        if let (Some(index), Some(task_id)) = (&mut self.index, task_id) {
            index.insert(task_id, key);
        } else if self.index.is_none() && self.subs.len() >= INDEX_FROM {
            self.index = Some(
                self.subs
                    .iter()
                    .filter_map(|(key, sub)| Some((sub.source.task_id()?.clone(), key)))
                    .collect(),
            );
        }
        key
    }

    pub(crate) fn remove(&mut self, key: usize) -> Option<Sub> {
        let sub = self.subs.try_remove(key)?;
        if let (Some(index), Some(task_id)) = (&mut self.index, sub.source.task_id()) {
            index.remove(task_id);
        }
        Some(sub)
    }

    pub(crate) fn find(&self, task_id: &TaskId) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(task_id).copied(),
            None => self
                .subs
                .iter()
                .find(|(_, sub)| sub.source.task_id() == Some(task_id))
                .map(|(key, _)| key),
        }
    }

    /// Whether this cursor reads this very task, and not an older one of its id.
    pub(crate) fn is_of(&self, key: usize, task: &Arc<Task>) -> bool {
        let sub = self.subs.get(key);
        sub.is_some_and(|sub| Arc::ptr_eq(sub.source.topic(), task.topic()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Sub)> {
        self.subs.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Sub)> {
        self.subs.iter_mut()
    }

    pub(crate) fn drain(&mut self) -> Vec<Sub> {
        self.index = None;
        std::mem::take(&mut self.subs)
            .into_iter()
            .map(|(_, sub)| sub)
            .collect()
    }

    /// Tasks and patterns asked for by name.
    pub(crate) fn explicit(&self) -> usize {
        let patterns = self.patterns.as_ref().map_or(0, |patterns| patterns.len());
        self.subs.iter().filter(|(_, sub)| sub.explicit).count() + patterns
    }

    pub(crate) fn patterns(&self) -> impl Iterator<Item = &PatternSub> {
        self.patterns
            .iter()
            .flat_map(|patterns| patterns.iter().map(|(_, pattern)| pattern))
    }

    pub(crate) fn find_pattern(&self, pattern: &Pattern) -> Option<usize> {
        self.patterns
            .as_ref()?
            .iter()
            .find(|(_, known)| known.pattern == *pattern)
            .map(|(key, _)| key)
    }

    /// A pattern that wants this task.
    pub(crate) fn matching(&self, task_id: &TaskId) -> Option<&Pattern> {
        let mut patterns = self.patterns().map(|known| &known.pattern);
        patterns.find(|pattern| pattern.matches(task_id))
    }
}
