//! One task as this client follows it. Each watch has a cursor, and all watches share
//! one subscription on the server.

use std::collections::BTreeMap;

use tidings_protocol::{Epoch, Gap, Offset, Position, ResetReason, Since};

use super::topics::WatchId;
use crate::update::Start;

/// The position that a subscription asks the server for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    Live,
    History(u32),
    Since(Since),
}

/// A task.
#[derive(Debug, Default)]
pub(super) struct Topic {
    /// The epoch of the server's log, as far as the client knows it.
    pub(super) epoch: Option<Epoch>,
    pub(super) seats: BTreeMap<WatchId, Seat>,
    /// The `ref` of an unanswered subscription, and the position that it asks for.
    pub(super) asked: Option<(u64, Wish)>,
    /// True if the server knows that this connection watches the task by name.
    pub(super) named: bool,
    /// True if the server has joined this connection to the task.
    pub(super) joined: bool,
}

/// The place of a watch in a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seat {
    /// The watch has not received the task's state yet.
    Joining,
    /// The watch takes the next event from the server.
    Following(Cursor),
    /// The watch has missed an event. It continues after a new subscription.
    Behind(Cursor),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) epoch: Epoch,
    pub(super) next: Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Exactly this offset.
    Exactly(u64),
    /// Some history: any offset up to this one.
    UpTo(u64),
}

/// The relation of an event to a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// The cursor is past the event.
    Old,
    /// The event is the next one.
    Next,
    /// An event before this one is missing.
    Hole,
}

impl Cursor {
    pub(super) fn exactly(epoch: Epoch, next: u64) -> Self {
        let next = Next::Exactly(next);
        Self { epoch, next }
    }

    /// Returns the same cursor in the epoch of the server's log. The place before the
    /// first event is the same in every epoch.
    pub(super) fn in_epoch(&self, epoch: &Epoch) -> Self {
        match self.next {
            Next::Exactly(1) => Self::exactly(epoch.clone(), 1),
            _ => self.clone(),
        }
    }

    /// Compares the cursor with an event that stands for the offsets from `from` to
    /// `to`.
    pub(super) fn fit(&self, from: u64, to: u64) -> Fit {
        match self.next {
            Next::Exactly(next) if to < next => Fit::Old,
            Next::Exactly(next) | Next::UpTo(next) if from > next => Fit::Hole,
            _ => Fit::Next,
        }
    }

    /// Returns the position after the last event that the cursor has passed.
    fn position(&self) -> Option<Position> {
        match self.next {
            Next::Exactly(next) => {
                let offset = Offset::new(next.saturating_sub(1)).unwrap_or(Offset::MAX);
                Some(Position::new(self.epoch.clone(), offset))
            }
            Next::UpTo(_) => None,
        }
    }

    /// Returns true if a subscription brings everything from this cursor on. The
    /// subscription asked for `wish` and was joined at `head`. Missing events must be
    /// covered by a gap.
    fn is_covered(&self, wish: &Wish, epoch: &Epoch, head: u64) -> bool {
        let same = self.epoch == *epoch;
        let void = |asked: &Position| asked.epoch != *epoch && asked.offset > Offset::ZERO;
        match (wish, self.next) {
            (Wish::Since(Since::After(asked)), _) if void(asked) => true,
            // The server will report that the position was ahead, and will continue
            // from its head.
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

    /// Returns the part of a gap that this cursor has not passed, and moves the cursor
    /// past it. Returns `None` if the cursor is past the whole gap. Returns `Err` if an
    /// event before the gap is missing.
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

    /// Handles a void position: the server continues after `offset` of `epoch`. Returns
    /// true if the position was this cursor's. Otherwise, it belonged to another watch.
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

    /// Returns the seat after a subscription was joined at `head`. The seat follows if
    /// the subscription covers its cursor.
    pub(super) fn joined(cursor: Cursor, wish: &Wish, epoch: &Epoch, head: u64) -> Self {
        if cursor.is_covered(wish, epoch, head) {
            Self::Following(cursor)
        } else {
            Self::behind(&cursor)
        }
    }

    /// Marks a missed event. Requested history that has not begun to arrive is
    /// abandoned. A second answer could otherwise begin at a later offset than the
    /// first one promised.
    pub(super) fn behind(cursor: &Cursor) -> Self {
        let (Next::Exactly(next) | Next::UpTo(next)) = cursor.next;
        Self::Behind(Cursor::exactly(cursor.epoch.clone(), next))
    }

    /// Handles the loss of the connection. Requested history that has not begun to
    /// arrive is lost as well.
    pub(super) fn lost(&mut self) {
        if let Self::Following(cursor) = self
            && let Next::UpTo(next) = cursor.next
        {
            cursor.next = Next::Exactly(next);
        }
    }
}

impl Topic {
    /// Returns the subscription with which as many seats as possible continue. The next
    /// subscription serves the other seats.
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
                    // The history of this seat is on its way.
                    None => continue,
                },
                None => None,
            };
            match (position, start) {
                // A seat with an old epoch must first learn that its position is void.
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
        // The same reset, repeated for another watch, changes nothing.
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
