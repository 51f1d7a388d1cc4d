//! One task as this client follows it: a cursor for each watch, one
//! subscription on the server for all of them.

use std::collections::BTreeMap;

use tidings_protocol::{Epoch, Gap, Offset, Position, ResetReason, Since};

use super::topics::WatchId;
use crate::update::Start;

/// What a subscription asks the server for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    Live,
    History(u32),
    Since(Since),
}

/// A task.
#[derive(Debug, Default)]
pub(super) struct Topic {
    /// The numbering that the server counts in, as far as is known.
    pub(super) epoch: Option<Epoch>,
    pub(super) seats: BTreeMap<WatchId, Seat>,
    /// The `ref` of a subscription that was not answered yet, and what it asks for.
    pub(super) asked: Option<(u64, Wish)>,
    /// The server knows this connection to watch the task by its name.
    pub(super) named: bool,
    /// The server has joined this connection to the task.
    pub(super) joined: bool,
}

/// A watch's place in a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seat {
    /// It has not been told the task's state yet.
    Joining,
    /// What comes next is its next.
    Following(Cursor),
    /// Something was missed: it goes on when the server has been asked again.
    Behind(Cursor),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) epoch: Epoch,
    pub(super) next: Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// This offset.
    Exactly(u64),
    /// Some history: anything up to this one.
    UpTo(u64),
}

/// What an event is to a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// Seen before.
    Old,
    /// The next one.
    Next,
    /// Something before it is missing.
    Hole,
}

impl Cursor {
    pub(super) fn exactly(epoch: Epoch, next: u64) -> Self {
        let next = Next::Exactly(next);
        Self { epoch, next }
    }

    /// The same cursor in the epoch that the server counts in. Before the first event
    /// there is one place, whatever its epoch was called.
    pub(super) fn in_epoch(&self, epoch: &Epoch) -> Self {
        match self.next {
            Next::Exactly(1) => Self::exactly(epoch.clone(), 1),
            _ => self.clone(),
        }
    }

    /// What an event is to the cursor that stands for the offsets from `from` to `to`.
    pub(super) fn fit(&self, from: u64, to: u64) -> Fit {
        match self.next {
            Next::Exactly(next) if to < next => Fit::Old,
            Next::Exactly(next) | Next::UpTo(next) if from > next => Fit::Hole,
            _ => Fit::Next,
        }
    }

    /// Its position: after the last event that it has passed.
    fn position(&self) -> Option<Position> {
        match self.next {
            Next::Exactly(next) => {
                let offset = Offset::new(next.saturating_sub(1)).unwrap_or(Offset::MAX);
                Some(Position::new(self.epoch.clone(), offset))
            }
            Next::UpTo(_) => None,
        }
    }

    /// Whether a subscription that asked for `wish` and was joined at `head`
    /// brings everything from this cursor on, or a gap that says what not.
    fn is_covered(&self, wish: &Wish, epoch: &Epoch, head: u64) -> bool {
        let same = self.epoch == *epoch;
        let void = |asked: &Position| asked.epoch != *epoch && asked.offset > Offset::ZERO;
        match (wish, self.next) {
            (Wish::Since(Since::After(asked)), _) if void(asked) => true,
            // The server will say that it was ahead, and go on from its head.
            (Wish::Since(Since::After(asked)), next) if asked.offset.get() > head => {
                same && !matches!(next, Next::Exactly(next) if next <= head)
            }
            (Wish::Since(Since::After(asked)), Next::Exactly(next)) => {
                same && next > asked.offset.get()
            }
            (Wish::Since(_), _) => same,
            (Wish::Live | Wish::History(_), Next::Exactly(next)) => same && next == head + 1,
            (Wish::History(_), Next::UpTo(_)) => same,
            (Wish::Live, Next::UpTo(_)) => false,
        }
    }

    /// The part of a gap that concerns this cursor, which then is past it.
    /// None: nothing does; `Err`: something before it is missing.
    pub(super) fn pass(&mut self, gap: Gap, epoch: &Epoch) -> Result<Option<Gap>, ()> {
        let (from, to) = (gap.from.get(), gap.to.get());
        let Next::Exactly(next) = self.next else {
            self.epoch = epoch.clone();
            self.next = Next::Exactly(to + 1);
            return Ok(Some(gap));
        };
        if self.epoch != *epoch || from > next {
            return Err(());
        }
        let clipped = (to >= next).then(|| clip(gap, next));
        if clipped.is_some() {
            *self = Self::exactly(epoch.clone(), to + 1);
        }
        Ok(clipped)
    }

    /// The server has voided a position, and goes on after `offset` of `epoch`. True if
    /// it was this cursor's; else it was told for the sake of another watch.
    pub(super) fn reset(&mut self, reason: ResetReason, epoch: &Epoch, offset: u64) -> bool {
        let same = self.epoch == *epoch;
        let concerned = match (reason, self.next) {
            (ResetReason::Ahead, Next::Exactly(next)) => same && next > offset + 1,
            (ResetReason::Ahead, Next::UpTo(_)) => false,
            _ => !same,
        };
        if concerned {
            *self = Self::exactly(epoch.clone(), offset + 1);
        }
        concerned
    }
}

fn clip(gap: Gap, next: u64) -> Gap {
    let from = gap.from.max(Offset::new(next).unwrap_or(Offset::MAX));
    Gap { from, ..gap }
}

impl Seat {
    pub(super) fn cursor(&self) -> Option<&Cursor> {
        match self {
            Self::Joining => None,
            Self::Following(cursor) | Self::Behind(cursor) => Some(cursor),
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        matches!(self, Self::Following(_))
    }

    /// A subscription was joined at `head`: whether this seat follows from there.
    pub(super) fn joined(cursor: Cursor, wish: &Wish, epoch: &Epoch, head: u64) -> Self {
        if cursor.is_covered(wish, epoch, head) {
            Self::Following(cursor)
        } else {
            Self::behind(&cursor)
        }
    }

    /// Something was missed. History that had not begun to come is given up: a
    /// second answer could begin after what was promised to follow the first.
    pub(super) fn behind(cursor: &Cursor) -> Self {
        let (Next::Exactly(next) | Next::UpTo(next)) = cursor.next;
        Self::Behind(Cursor::exactly(cursor.epoch.clone(), next))
    }

    /// The connection is gone, and with it history that had not begun to come.
    pub(super) fn lost(&mut self) {
        if let Self::Following(cursor) = self
            && let Next::UpTo(next) = cursor.next
        {
            cursor.next = Next::Exactly(next);
        }
    }
}

impl Topic {
    /// What to ask the server for, so that as many seats as possible go on.
    /// What that does not cover is asked for next.
    pub(super) fn wish(&self, start: impl Fn(WatchId) -> Option<Start>) -> Wish {
        let mut lowest: Option<Position> = None;
        let mut history = None;
        let lower = |lowest: &mut Option<Position>, position: Position| {
            let better = lowest.as_ref().is_none_or(|known| {
                known.epoch == position.epoch && position.offset < known.offset
            });
            if better {
                *lowest = Some(position);
            }
        };
        for (watch, seat) in &self.seats {
            let Some(start) = start(*watch) else {
                continue;
            };
            let position = match seat.cursor() {
                Some(cursor) => match cursor.position() {
                    Some(position) => Some(position),
                    // Its history is on its way.
                    None => continue,
                },
                None => None,
            };
            match (position, start) {
                // Whoever counts in an old numbering must be told so first.
                (Some(position), _)
                    if self
                        .epoch
                        .as_ref()
                        .is_some_and(|epoch| *epoch != position.epoch) =>
                {
                    return Wish::Since(position.into());
                }
                (Some(position), _) => lower(&mut lowest, position),
                (None, Start::After(position)) => {
                    if self
                        .epoch
                        .as_ref()
                        .is_some_and(|epoch| *epoch != position.epoch)
                    {
                        return Wish::Since(position.into());
                    }
                    lower(&mut lowest, position);
                }
                (None, Start::Retained) => return Wish::Since(Since::Start),
                (None, Start::History(count)) => history = history.max(Some(count)),
                (None, Start::Live) => {}
            }
        }
        match (history, lowest) {
            (Some(count), _) => Wish::History(count),
            (None, Some(position)) => Wish::Since(position.into()),
            (None, None) => Wish::Live,
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_protocol::GapReason;

    use super::*;

    fn epoch(text: &str) -> Epoch {
        text.parse().unwrap()
    }

    fn gap(from: u64, to: u64, reason: GapReason) -> Gap {
        Gap {
            from: Offset::new(from).unwrap(),
            to: Offset::new(to).unwrap(),
            reason,
        }
    }

    #[test]
    fn a_gap_is_clipped_to_what_the_cursor_has_not_passed() {
        let e = epoch("e");
        let mut cursor = Cursor::exactly(e.clone(), 7);
        assert_eq!(cursor.pass(gap(1, 6, GapReason::Expired), &e), Ok(None));
        assert_eq!(
            cursor.pass(gap(3, 9, GapReason::Overrun), &e),
            Ok(Some(gap(7, 9, GapReason::Overrun)))
        );
        assert_eq!(cursor.next, Next::Exactly(10));
        assert_eq!(cursor.pass(gap(12, 13, GapReason::Overrun), &e), Err(()));
    }

    #[test]
    fn another_numbering_starts_over() {
        let mut cursor = Cursor::exactly(epoch("old"), 7);
        let changed = ResetReason::EpochChanged;
        assert!(cursor.reset(changed, &epoch("new"), 0));
        assert_eq!(cursor, Cursor::exactly(epoch("new"), 1));
        let told = gap(1, 3, GapReason::Expired);
        assert_eq!(cursor.pass(told, &epoch("new")), Ok(Some(told)));
        assert_eq!(cursor, Cursor::exactly(epoch("new"), 4));
        // Told again for another watch, it is nothing new.
        assert!(!cursor.reset(changed, &epoch("new"), 0));
        assert_eq!(cursor.pass(told, &epoch("new")), Ok(None));
        assert!(!cursor.reset(ResetReason::Ahead, &epoch("new"), 7));
        assert!(cursor.reset(ResetReason::Ahead, &epoch("new"), 2));
        assert_eq!(cursor, Cursor::exactly(epoch("new"), 3));
    }

    #[test]
    fn a_wish_serves_the_cursor_that_is_furthest_behind() {
        let mut topic = Topic {
            epoch: Some(epoch("e")),
            ..Topic::default()
        };
        let live = |_| Some(Start::Live);
        assert_eq!(topic.wish(live), Wish::Live);
        for (watch, next) in [(1, 9), (2, 4), (3, 12)] {
            let cursor = Cursor::exactly(epoch("e"), next);
            topic.seats.insert(WatchId(watch), Seat::Following(cursor));
        }
        topic.seats.insert(WatchId(4), Seat::Joining);
        assert_eq!(topic.wish(live), Wish::Since("e:3".parse().unwrap()));
        let old = Cursor::exactly(epoch("old"), 50);
        topic.seats.insert(WatchId(5), Seat::Following(old));
        assert_eq!(topic.wish(live), Wish::Since("old:49".parse().unwrap()));
    }
}
