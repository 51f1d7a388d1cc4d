//! The cursors of one connection.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use slab::Slab;
use tidings_bus::watch::{Start, Task};
use tidings_bus::{Account, AttachId, Charge, Cursor, Kind, OverLimit, PatternId, Reader, Topic};
use tidings_protocol::{Pattern, Reference, TaskId};

use crate::defaults::CURSOR_BYTES;
use crate::jobs::Jobs;
use crate::resume::KeptSubscription;

/// The number of subscriptions from which on an index by task pays off.
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

/// How a subscription is announced once the socket has room. The cursor joins the log at that
/// moment, so the announcement is never older than the events after it.
pub(crate) struct Opening {
    pub(crate) start: Start,
    pub(crate) kind: OpeningKind,
}

pub(crate) enum OpeningKind {
    /// In `connection_established`, after the bytes that the transport still has to write.
    Established { preface: Vec<u8> },
    /// In `subscribed`, with the request's reference, or with the pattern that matched.
    Subscribed {
        reference: Option<Reference>,
        pattern: Option<Pattern>,
    },
    /// In `subscribed` at offset 0, because the task has appeared under a pattern.
    Appeared { pattern: Option<Pattern> },
    /// Not at all, because an inbox continues where it was.
    Silent,
}

/// A cursor. The fields that a delivery needs come first, and small fields are adjacent.
#[repr(C)]
pub(crate) struct Sub {
    pub(crate) source: Source,
    pub(crate) reader: Reader,
    /// Where the cursor was at the last heartbeat: no move means quiet.
    pub(crate) last_heartbeat: Mark,
    /// Whether the client subscribed by name, and not only through a pattern.
    pub(crate) explicit: bool,
    /// Waits for the socket.
    pub(crate) ready: bool,
    pub(crate) opening: Option<Box<Opening>>,
    pub(crate) attached: AttachId,
}

impl Sub {
    /// Returns the last message of an inbox that its client received. Before the cursor opens, its
    /// own position says nothing.
    pub(crate) fn seen(&self) -> u64 {
        match self.opening.as_deref().map(|opening| &opening.start) {
            Some(Start::After(position)) => position.offset.get(),
            Some(_) => 0,
            None => self.reader.cursor().delivered().get(),
        }
    }

    /// Returns the subscription with which the client would resume.
    pub(crate) fn kept(&self, task: &Task) -> KeptSubscription {
        let (start, appeared) = match self.opening.as_deref() {
            Some(opening) => (
                opening.start.clone(),
                matches!(opening.kind, OpeningKind::Appeared { .. }),
            ),
            None => (
                Start::After(task.topic().position(self.reader.cursor())),
                false,
            ),
        };
        KeptSubscription {
            task_id: task.id().clone(),
            start,
            explicit: self.explicit,
            appeared,
        }
    }
}

/// A cursor's position, as the lower half of its offset. It suffices to see that the cursor moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark(u32);

impl From<Cursor> for Mark {
    fn from(cursor: Cursor) -> Self {
        let low = cursor.next_offset() & u64::from(u32::MAX);
        Self(u32::try_from(low).unwrap_or_default())
    }
}

/// A subscription to a pattern.
pub(crate) struct PatternSub {
    pub(crate) pattern: Pattern,
    pub(crate) id: PatternId,
}

/// All cursors and patterns that were removed from a connection.
pub(crate) struct Drained {
    pub(crate) subs: Vec<Sub>,
    pub(crate) patterns: Vec<PatternSub>,
    pub(crate) jobs: Jobs,
}

/// All cursors and patterns of one connection.
///
/// Most connections watch one task. Its cursor is stored inline, under key 0, where a delivery
/// finds it without another memory access. Everything else is in a box, which such a connection
/// does not have.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Subscriptions {
    first: Option<Sub>,
    more: Option<Box<More>>,
}

/// The part that only a connection with more than one cursor has.
#[derive(Default)]
struct More {
    /// The cursors with keys from 1 on.
    subs: Slab<Sub>,
    /// An index by task, which exists only if there are many cursors.
    index: Option<HashMap<TaskId, usize>>,
    patterns: Slab<PatternSub>,
    /// The keys of cursors that wait for the socket, in the order of their turns. A key may have
    /// passed to another cursor in the meantime. That cursor then gets an unneeded turn.
    ready: VecDeque<usize>,
    /// The jobs that remain to be done.
    jobs: Jobs,
    /// The number of cursors that were subscribed by name.
    explicit: usize,
    /// The charge for these cursors. The inline cursor is free.
    charge: Option<Charge>,
}

impl More {
    /// Sets the charge to this number of cursors.
    fn charge(&mut self, count: usize, account: impl FnOnce() -> Account) -> Result<(), OverLimit> {
        let bytes = CURSOR_BYTES * count as u64;
        match &mut self.charge {
            Some(charge) => charge.try_resize(bytes),
            None => {
                self.charge = Some(account().charge(Kind::Cursor, bytes)?);
                Ok(())
            }
        }
    }

    fn release(&mut self) {
        if let Some(charge) = &mut self.charge {
            charge.resize(CURSOR_BYTES * self.subs.len() as u64);
        }
    }
}

impl Subscriptions {
    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut Sub> {
        match key.checked_sub(1) {
            None => self.first.as_mut(),
            Some(key) => self.more.as_mut()?.subs.get_mut(key),
        }
    }

    fn get(&self, key: usize) -> Option<&Sub> {
        match key.checked_sub(1) {
            None => self.first.as_ref(),
            Some(key) => self.more.as_ref()?.subs.get(key),
        }
    }

    /// Returns the box, which the second cursor or the first pattern creates.
    fn more(&mut self) -> &mut More {
        let waits = self.first.as_ref().is_some_and(|first| first.ready);
        self.more.get_or_insert_with(|| {
            let mut more = Box::new(More::default());
            more.ready.extend(waits.then_some(0));
            more
        })
    }

    /// Charges for one more cursor, unless it is the inline one.
    ///
    /// # Errors
    /// Returns an error if the account, or all accounts together, hold as much as they may.
    pub(crate) fn reserve(&mut self, account: impl FnOnce() -> Account) -> Result<(), OverLimit> {
        if self.first.is_none() {
            return Ok(());
        }
        let more = self.more();
        let reserved = more.charge(more.subs.len() + 1, account);
        if reserved.is_err() {
            self.shrink();
        }
        reserved
    }

    /// Returns a reservation that no cursor used.
    pub(crate) fn unreserve(&mut self) {
        if let Some(more) = &mut self.more {
            more.release();
        }
        self.shrink();
    }

    pub(crate) fn jobs_mut(&mut self) -> &mut Jobs {
        &mut self.more().jobs
    }

    /// Lets the turn of a slice go.
    pub(crate) fn pass_turn(&mut self) {
        if let Some(more) = &mut self.more {
            more.jobs.pass();
        }
    }

    pub(crate) fn has_no_jobs(&self) -> bool {
        self.more.as_ref().is_none_or(|more| more.jobs.is_empty())
    }

    pub(crate) fn jobs(&self) -> Option<&Jobs> {
        Some(&self.more.as_ref()?.jobs)
    }

    /// Returns whether there may still be cursors that the client's token does not allow.
    pub(crate) fn is_narrowing(&self) -> bool {
        self.jobs().is_some_and(Jobs::narrows)
    }

    /// Returns some keys of cursors, starting with `from`, and the key to continue with.
    pub(crate) fn keys_from(&self, from: usize, most: usize) -> (Vec<usize>, Option<usize>) {
        let more = self.more.as_ref();
        let end = more.map_or(1, |more| more.subs.capacity() + 1);
        let next = from.saturating_add(most).min(end);
        let keys = (from..next).filter(|key| self.get(*key).is_some());
        (keys.collect(), (next < end).then_some(next))
    }

    pub(crate) fn vacant_key(&self) -> usize {
        match (&self.first, &self.more) {
            (None, _) => 0,
            (Some(_), None) => 1,
            (Some(_), Some(more)) => more.subs.vacant_key() + 1,
        }
    }

    pub(crate) fn insert(&mut self, sub: Sub) -> usize {
        let task_id = sub.source.task_id().cloned();
        let key = self.vacant_key();
        if key == 0 {
            self.first = Some(sub);
        } else {
            self.more().subs.insert(sub);
        }
        let explicit = self.get(key).is_some_and(|sub| sub.explicit);
        let Some(more) = &mut self.more else {
            return key;
        };
        more.explicit += usize::from(explicit && key > 0);
        if let (Some(index), Some(task_id)) = (&mut more.index, task_id) {
            index.insert(task_id, key);
        } else if more.index.is_none() && more.subs.len() >= INDEX_FROM {
            let index = self
                .iter()
                .filter_map(|(key, sub)| Some((sub.source.task_id()?.clone(), key)))
                .collect();
            self.more().index = Some(index);
        }
        key
    }

    pub(crate) fn remove(&mut self, key: usize) -> Option<Sub> {
        let sub = match key.checked_sub(1) {
            None => self.first.take()?,
            Some(key) => self.more.as_mut()?.subs.try_remove(key)?,
        };
        if let Some(more) = &mut self.more
            && let (Some(index), Some(task_id)) = (&mut more.index, sub.source.task_id())
        {
            index.remove(task_id);
        }
        if let Some(more) = &mut self.more {
            more.explicit -= usize::from(sub.explicit && key > 0);
            more.release();
        }
        self.shrink();
        Some(sub)
    }

    /// Drops the box if the connection has only the inline cursor.
    pub(crate) fn shrink(&mut self) {
        let needed = |more: &More| {
            !more.subs.is_empty() || !more.patterns.is_empty() || !more.jobs.is_empty()
        };
        if !self.more.as_deref().is_some_and(needed) {
            self.more = None;
        }
    }

    pub(crate) fn find(&self, task_id: &TaskId) -> Option<usize> {
        let index = self.more.as_ref().and_then(|more| more.index.as_ref());
        match index {
            Some(index) => index.get(task_id).copied(),
            None => self
                .iter()
                .find(|(_, sub)| sub.source.task_id() == Some(task_id))
                .map(|(key, _)| key),
        }
    }

    /// Returns whether this cursor reads this very task, and not an older one with the same id.
    pub(crate) fn is_of(&self, key: usize, task: &Arc<Task>) -> bool {
        let sub = self.get(key);
        sub.is_some_and(|sub| Arc::ptr_eq(sub.source.topic(), task.topic()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Sub)> {
        let first = self.first.iter().map(|sub| (0, sub));
        let more = self.more.iter().flat_map(|more| more.subs.iter());
        first.chain(more.map(|(key, sub)| (key + 1, sub)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Sub)> {
        let first = self.first.iter_mut().map(|sub| (0, sub));
        let more = self.more.iter_mut().flat_map(|more| more.subs.iter_mut());
        first.chain(more.map(|(key, sub)| (key + 1, sub)))
    }

    /// Removes all cursors, patterns and jobs, and returns them.
    pub(crate) fn drain(&mut self) -> Drained {
        let mut drained = Drained {
            subs: Vec::from_iter(self.first.take()),
            patterns: Vec::new(),
            jobs: Jobs::default(),
        };
        if let Some(more) = self.more.take() {
            let More {
                subs,
                patterns,
                jobs,
                ..
            } = *more;
            drained.subs.extend(subs.into_iter().map(|(_, sub)| sub));
            drained
                .patterns
                .extend(patterns.into_iter().map(|(_, known)| known));
            drained.jobs = jobs;
        }
        drained
    }

    /// Sets whether a cursor was subscribed by name. Returns the old value.
    pub(crate) fn set_explicit(&mut self, key: usize, explicit: bool) -> Option<bool> {
        let sub = self.get_mut(key)?;
        let before = std::mem::replace(&mut sub.explicit, explicit);
        if let Some(more) = self.more.as_mut().filter(|_| key > 0) {
            more.explicit += usize::from(explicit);
            more.explicit -= usize::from(before);
        }
        Some(before)
    }

    /// Adds a cursor to the list of waiting cursors.
    pub(crate) fn mark_ready(&mut self, key: usize) {
        let Some(sub) = self.get_mut(key).filter(|sub| !sub.ready) else {
            return;
        };
        sub.ready = true;
        if let Some(more) = &mut self.more {
            more.ready.push_back(key);
        }
    }

    /// Returns whether a cursor waits.
    pub(crate) fn any_ready(&self) -> bool {
        match &self.more {
            Some(more) => !more.ready.is_empty(),
            None => self.first.as_ref().is_some_and(|first| first.ready),
        }
    }

    /// Returns the cursor that has waited longest.
    pub(crate) fn next_ready(&mut self) -> Option<usize> {
        let Some(more) = &mut self.more else {
            let first = self.first.as_mut()?;
            return std::mem::take(&mut first.ready).then_some(0);
        };
        while let Some(key) = more.ready.pop_front() {
            let sub = match key.checked_sub(1) {
                None => self.first.as_mut(),
                Some(key) => more.subs.get_mut(key),
            };
            if sub.is_some_and(|sub| std::mem::take(&mut sub.ready)) {
                return Some(key);
            }
        }
        // An idle connection keeps no list.
        more.ready = VecDeque::new();
        None
    }

    /// Returns the number of tasks and patterns subscribed by name.
    pub(crate) fn explicit(&self) -> usize {
        let more = self.more.as_ref().map_or(0, |more| {
            more.explicit + more.patterns.len() + more.jobs.asked()
        });
        more + usize::from(self.first.as_ref().is_some_and(|sub| sub.explicit))
    }

    pub(crate) fn add_pattern(&mut self, pattern: PatternSub) {
        self.more().patterns.insert(pattern);
    }

    pub(crate) fn remove_pattern(&mut self, pattern: &Pattern) -> Option<PatternSub> {
        let more = self.more.as_mut()?;
        let mut known = more.patterns.iter();
        let (key, _) = known.find(|(_, known)| known.pattern == *pattern)?;
        let removed = more.patterns.remove(key);
        self.shrink();
        Some(removed)
    }

    pub(crate) fn patterns(&self) -> impl Iterator<Item = &PatternSub> {
        self.more
            .iter()
            .flat_map(|more| more.patterns.iter().map(|(_, pattern)| pattern))
    }

    /// Returns a pattern that matches this task.
    pub(crate) fn matching(&self, task_id: &TaskId) -> Option<&Pattern> {
        let mut patterns = self.patterns().map(|known| &known.pattern);
        patterns.find(|pattern| pattern.matches(task_id))
    }
}
