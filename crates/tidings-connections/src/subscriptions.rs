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
    /// As part of `connection_established`, after what the transport has still to
    /// say.
    Established { preface: Vec<u8> },
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

/// One cursor. What a delivery needs comes first, and what is small lies together.
#[repr(C)]
pub(crate) struct Sub {
    pub(crate) source: Source,
    pub(crate) reader: Reader,
    /// Where the cursor was at the last heartbeat: no move means quiet.
    pub(crate) last_heartbeat: Mark,
    /// Asked for by name, and not only matched by a pattern.
    pub(crate) explicit: bool,
    /// Waits for the socket.
    pub(crate) ready: bool,
    pub(crate) opening: Option<Box<Opening>>,
    pub(crate) attached: AttachId,
}

impl Sub {
    /// The last message of an inbox that its client got. Until it is opened, the
    /// cursor says nothing.
    pub(crate) fn seen(&self) -> u64 {
        match self.opening.as_deref().map(|opening| &opening.start) {
            Some(Start::After(position)) => position.offset.get(),
            Some(_) => 0,
            None => self.reader.cursor().delivered().get(),
        }
    }

    /// Where its client comes back to, as a watcher of this task.
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

/// Where a cursor was, by its offset's lower half: enough to see it move.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark(u32);

impl From<Cursor> for Mark {
    fn from(cursor: Cursor) -> Self {
        let low = cursor.next_offset() & u64::from(u32::MAX);
        Self(u32::try_from(low).unwrap_or_default())
    }
}

/// A pattern subscribed to.
pub(crate) struct PatternSub {
    pub(crate) pattern: Pattern,
    pub(crate) id: PatternId,
}

/// What a connection had.
pub(crate) struct Drained {
    pub(crate) subs: Vec<Sub>,
    pub(crate) patterns: Vec<PatternSub>,
    pub(crate) jobs: Jobs,
}

/// All cursors and patterns of one connection.
///
/// Most connections watch one task. Its cursor lies in line, under key 0, where
/// the pass finds it without another look into memory; whatever else there is
/// lies in a box that such a connection does not have.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Subscriptions {
    first: Option<Sub>,
    more: Option<Box<More>>,
}

/// What a connection with more than one cursor has.
#[derive(Default)]
struct More {
    /// Cursors under keys from 1 on.
    subs: Slab<Sub>,
    /// Made when there are many.
    index: Option<HashMap<TaskId, usize>>,
    patterns: Slab<PatternSub>,
    /// Keys of cursors that wait for the socket: they take turns. A key may
    /// have passed to another cursor since; that one then has a turn for nothing.
    ready: VecDeque<usize>,
    /// Work that is left to do.
    jobs: Jobs,
    /// Cursors that were asked for by name.
    explicit: usize,
    /// What the cursors here are charged to; the one in line is free.
    charge: Option<Charge>,
}

impl More {
    /// Charges for so many cursors in all.
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

    /// What the second cursor or the first pattern needs.
    fn more(&mut self) -> &mut More {
        let waits = self.first.as_ref().is_some_and(|first| first.ready);
        self.more.get_or_insert_with(|| {
            let mut more = Box::new(More::default());
            more.ready.extend(waits.then_some(0));
            more
        })
    }

    /// Charges for one more cursor, unless it is the one in line.
    ///
    /// # Errors
    /// The account, or all together, hold as much as they may.
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

    /// Gives a reservation back that no cursor came to use.
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

    /// Whether cursors may be there that the client's token does not allow.
    pub(crate) fn is_narrowing(&self) -> bool {
        self.jobs().is_some_and(Jobs::narrows)
    }

    /// Keys of some cursors, from this one on, and the key to go on with.
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

    /// Lets the box go that a connection with one cursor does not need.
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

    /// Whether this cursor reads this very task, and not an older one of its id.
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

    /// Takes all cursors and patterns out, and what was left to do.
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

    /// Notes that a cursor is asked for by name, or no longer is; gives what it was.
    pub(crate) fn set_explicit(&mut self, key: usize, explicit: bool) -> Option<bool> {
        let sub = self.get_mut(key)?;
        let before = std::mem::replace(&mut sub.explicit, explicit);
        if let Some(more) = self.more.as_mut().filter(|_| key > 0) {
            more.explicit += usize::from(explicit);
            more.explicit -= usize::from(before);
        }
        Some(before)
    }

    /// Puts a cursor on the list of those that wait.
    pub(crate) fn mark_ready(&mut self, key: usize) {
        let Some(sub) = self.get_mut(key).filter(|sub| !sub.ready) else {
            return;
        };
        sub.ready = true;
        if let Some(more) = &mut self.more {
            more.ready.push_back(key);
        }
    }

    /// Whether a cursor waits.
    pub(crate) fn any_ready(&self) -> bool {
        match &self.more {
            Some(more) => !more.ready.is_empty(),
            None => self.first.as_ref().is_some_and(|first| first.ready),
        }
    }

    /// The cursor that has waited longest.
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
        // At rest a connection has no list.
        more.ready = VecDeque::new();
        None
    }

    /// Tasks and patterns asked for by name.
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

    /// A pattern that wants this task.
    pub(crate) fn matching(&self, task_id: &TaskId) -> Option<&Pattern> {
        let mut patterns = self.patterns().map(|known| &known.pattern);
        patterns.find(|pattern| pattern.matches(task_id))
    }
}
