//! A subscriber's place in a log, and what it is to do next.
//!
//! This is the one piece of logic behind live delivery, history, late joins,
//! recovery, slow consumers and conflation; sockets, streams and handlers all
//! call [`Cursor::step`] and differ only in where the bytes go.

use tidings_protocol::{EventClass, Gap, GapReason, Offset};

use crate::deliver::topic::Topic;
use crate::log::View;

/// From how far behind a subscriber skips what its class allows it to miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkipPolicy {
    /// A cursor more than this many events behind the head skips superseded
    /// progress and droppable output among all but the newest `behind` events.
    /// `u64::MAX` never skips.
    pub behind: u64,
}

impl SkipPolicy {
    /// Never skips anything that is retained.
    pub const NEVER: SkipPolicy = SkipPolicy { behind: u64::MAX };
}

/// A place in one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The offset to deliver next.
    next: u64,
    /// The log's generation that `next` counts in.
    generation: u32,
    /// What is missing had expired before the subscriber came, rather than
    /// overrun it.
    fresh: bool,
}

/// What a cursor does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing: the cursor is past the head.
    CaughtUp,
    /// Deliver these offsets, inclusive; all of them are in the view.
    Events {
        /// First offset to deliver.
        from: u64,
        /// Last offset to deliver.
        to: u64,
    },
    /// The next event is not in memory: have it fetched by
    /// [`EventBus::fetch_page`](crate::EventBus::fetch_page), and step on in the view
    /// that this gives.
    Cold,
    /// Say that these offsets will not come. The cursor has moved past them.
    Gap(Gap),
}

impl Cursor {
    pub(crate) fn new(next: u64, generation: u32) -> Self {
        Self {
            next,
            generation,
            fresh: false,
        }
    }

    /// The same, of a subscriber that comes to a log whose oldest offset is `first`.
    pub(crate) fn joining(mut self, first: u64) -> Self {
        self.fresh = self.next < first;
        self
    }

    /// The offset that the subscriber gets next.
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// The last offset that the subscriber got or was told about.
    pub fn delivered(&self) -> Offset {
        Offset::new(self.next - 1).unwrap_or(Offset::MAX)
    }

    /// Moves on after `count` events were handed over.
    pub fn advance(&mut self, count: u64) {
        self.next += count;
    }

    /// Moves back before the last `count` events that were handed over, of which
    /// the subscriber has not got all.
    pub fn retreat(&mut self, count: u64) {
        self.next = self.next.saturating_sub(count);
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// How many events lie between the cursor and the topic's head.
    pub fn lag(&self, topic: &Topic) -> u64 {
        (topic.head() + 1).saturating_sub(self.next)
    }

    /// What to do next, as the view sees the log.
    ///
    /// A gap moves the cursor at once: the caller must deliver it. Events move
    /// it only by [`advance`](Self::advance), for a socket may take fewer.
    pub fn step(&mut self, topic: &Topic, view: &mut View, skip: SkipPolicy) -> Step {
        if self.generation == view.generation {
            if self.next > view.head {
                return Step::CaughtUp;
            }
            view.reach(topic, self.next);
        }
        // `reach` may have looked again, so everything below reads the view anew.
        if self.generation != view.generation {
            self.generation = view.generation;
            self.next = view.first;
            return Step::Gap(gap(1, view.first - 1, GapReason::EpochChanged));
        }
        if self.next < view.first {
            let from = std::mem::replace(&mut self.next, view.first);
            let reason = if std::mem::take(&mut self.fresh) {
                GapReason::Expired
            } else {
                GapReason::Overrun
            };
            return Step::Gap(gap(from, view.first - 1, reason));
        }
        if self.next > view.head {
            return Step::CaughtUp;
        }
        if self.next < view.hot {
            return Step::Cold;
        }
        let head = view.head + view.ahead;
        if head - self.next >= skip.behind {
            let end = (head - skip.behind).min(view.head);
            let kept = skippable_from(view, self.next, end);
            if kept > self.next {
                let from = std::mem::replace(&mut self.next, kept);
                return Step::Gap(gap(from, kept - 1, GapReason::Conflated));
            }
            let to = deliverable_from(view, self.next, end);
            return Step::Events {
                from: self.next,
                to,
            };
        }
        Step::Events {
            from: self.next,
            to: view.head,
        }
    }
}

fn gap(from: u64, to: u64, reason: GapReason) -> Gap {
    let offset = |value| Offset::new(value).unwrap_or(Offset::MAX);
    Gap {
        from: offset(from),
        to: offset(to),
        reason,
    }
}

/// Whether the record at `offset` may be skipped: droppable, or progress that
/// the next record supersedes.
fn is_skippable(view: &View, offset: u64) -> bool {
    match view.class(offset) {
        Some(EventClass::Droppable) => true,
        Some(EventClass::Conflatable) => view.class(offset + 1) == Some(EventClass::Conflatable),
        _ => false,
    }
}

/// The first offset at or after `from` that must be delivered, looking up to `end`.
fn skippable_from(view: &View, from: u64, end: u64) -> u64 {
    (from..=end)
        .find(|offset| !is_skippable(view, *offset))
        .unwrap_or(end + 1)
}

/// The last offset of the run to deliver that begins at `from`: up to the next
/// skippable one, or to the head.
fn deliverable_from(view: &View, from: u64, end: u64) -> u64 {
    (from..=end)
        .find(|offset| is_skippable(view, *offset))
        .map_or(view.head, |skip| skip - 1)
}
