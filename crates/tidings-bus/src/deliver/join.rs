//! The place at which a subscriber joins a log.

use tidings_protocol::{Epoch, Offset, Position, Since};

use crate::deliver::cursor::Cursor;
use crate::deliver::topic::{Topic, standing};
use crate::log::{Log, Standing};

/// Where a new cursor starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At the head. The next event is the first one.
    Live,
    /// With up to this many of the newest retained events.
    History(u64),
    /// With all retained events.
    Retained,
    /// With all retained events of a task that appeared while the subscriber was there. Missing
    /// events have overrun the subscriber. They did not expire before it came.
    Appeared,
    /// After the last event that the subscriber has seen.
    After(Position),
}

impl From<Since> for Start {
    fn from(since: Since) -> Self {
        match since {
            Since::Start => Start::Retained,
            Since::After(position) => Start::After(position),
        }
    }
}

/// The result of joining: a cursor, and how its start relates to the request.
///
/// The cursor's first step reports any events that are missing between the two.
#[derive(Debug, Clone)]
pub struct Joined {
    /// Where delivery begins.
    pub cursor: Cursor,
    /// True if every requested event is there.
    pub recovered: bool,
    /// True if the requested position lies after the head. A reset must report this before the
    /// first event.
    pub ahead: bool,
    /// The state of the log at that moment.
    pub standing: Standing,
}

impl Topic {
    /// Returns the start of a cursor, with the log and the task's state at the same moment. This
    /// is one critical section, so nothing is lost between replay and live events.
    pub fn join(&self, start: &Start) -> Joined {
        join(&self.lock(), start)
    }

    /// Returns the position of a cursor, to continue from later.
    pub fn position(&self, cursor: &Cursor) -> Position {
        let log = self.lock();
        if cursor.generation() == log.generation() {
            return Position {
                epoch: log.epoch().clone(),
                offset: cursor.delivered(),
            };
        }
        // The cursor's numbers belong to another log, and no epoch of this bus has this text. An
        // offset of 0 would be valid in any epoch, and the subscriber would get no reset.
        Position {
            epoch: Epoch::new("gone").expect("a literal of the epoch's alphabet"),
            offset: Offset::FIRST,
        }
    }
}

fn join(log: &Log, start: &Start) -> Joined {
    let (first, head) = (log.oldest(), log.head());
    let (generation, naming) = (log.generation(), log.naming());
    let at = |next| Cursor::new(next, (generation, naming)).joining(first);
    let mut ahead = false;
    let (cursor, recovered) = match start {
        Start::Live => (at(head + 1), true),
        Start::History(count) => (at(first.max((head + 1).saturating_sub(*count))), true),
        Start::Retained => (at(1), first == 1),
        Start::Appeared => (Cursor::new(1, (generation, naming)), first == 1),
        // There is one place before the first event, in any epoch. Another node may have begun
        // the task since.
        Start::After(position) if position.offset == Offset::ZERO => (at(1), first == 1),
        // A cursor of another generation gets a reset at its first step.
        Start::After(position) if position.epoch != *log.epoch() => {
            (Cursor::new(1, (generation.wrapping_sub(1), naming)), false)
        }
        Start::After(position) => {
            let wanted = position.offset.get() + 1;
            if wanted > head + 1 {
                ahead = true;
                (at(head + 1), false)
            } else {
                (at(wanted), wanted >= first)
            }
        }
    };
    Joined {
        cursor,
        recovered,
        ahead,
        standing: standing(log),
    }
}
