//! A subscriber's place in a log, and what it is to do next.
//!
//! This is the one piece of logic behind live delivery, history, late joins,
//! recovery, slow consumers and conflation; sockets, streams and handlers all
//! call [`Cursor::step`] and differ only in where the bytes go.

use tidings_protocol::{Gap, GapReason, Offset, ResetReason};

use crate::deliver::topic::Topic;
use crate::log::View;

/// From how far behind a subscriber gets merged events and misses `log`s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkipPolicy {
    /// For a cursor more than this many events behind the head, adjacent progress
    /// updates and adjacent deltas of one output are merged, and `log`s skipped, among
    /// all but the newest `behind` events. `u64::MAX` never skips.
    pub behind: u64,
    /// Whether `log`s are skipped. Without, events are merged and nothing is left out.
    pub logs: bool,
}

impl SkipPolicy {
    /// Never skips anything that is retained.
    pub const NEVER: SkipPolicy = SkipPolicy::behind(u64::MAX);

    /// Skips for a cursor that is more than `behind` events behind the head.
    pub const fn behind(behind: u64) -> Self {
        Self { behind, logs: true }
    }

    /// Merges, and leaves nothing out: for pages of history.
    #[must_use]
    pub const fn without_logs(self) -> Self {
        Self {
            logs: false,
            ..self
        }
    }
}

/// A place in one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The offset to deliver next.
    next: u64,
    /// The log's generation that `next` counts in.
    generation: u32,
    /// The log's naming that the subscriber was told.
    naming: u16,
    /// What is missing had expired before the subscriber came, rather than
    /// overrun it.
    fresh: bool,
}

/// What a cursor does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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
    /// Deliver one event that stands for these, by [`View::merge`]; it may stand for
    /// fewer of them.
    Merged {
        /// First offset to merge.
        from: u64,
        /// Last offset to merge.
        to: u64,
    },
    /// The next event is not in memory: have it fetched by
    /// [`EventBus::fetch_page`](crate::EventBus::fetch_page), and step on in the view
    /// that this gives.
    Cold,
    /// Say that these offsets will not come. The cursor has moved past them.
    Gap(Gap),
    /// Say that the subscriber's position is void. The cursor is where the log goes on:
    /// [`delivered`](Cursor::delivered).
    Reset(ResetReason),
    /// Say the epoch in which the task has begun: another node has published its
    /// first event. The subscriber had nothing yet, so nothing of it is void.
    Begun,
}

impl Cursor {
    /// A cursor before offset `next` of a log in this generation and naming.
    pub(crate) fn new(next: u64, (generation, naming): (u32, u16)) -> Self {
        Self {
            next,
            generation,
            naming,
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

    pub(crate) fn naming(&self) -> u16 {
        self.naming
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
        if view.first == 0 {
            // An empty page: what became of its events is what the log says now.
            topic.fill(view, self.next);
        }
        if self.generation == view.generation && self.naming == view.naming {
            if self.next > view.head {
                return Step::CaughtUp;
            }
            view.reach(topic, self.next);
        }
        // `reach` may have looked again, so everything below reads the view anew.
        if self.generation != view.generation {
            self.generation = view.generation;
            self.naming = view.naming;
            self.next = 1;
            // These events have expired. The subscriber was not too slow for them.
            self.fresh = true;
            return Step::Reset(view.reset);
        }
        if self.naming != view.naming {
            self.naming = view.naming;
            return Step::Begun;
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
            let step = lagging(view, self.next, end, skip.logs);
            if let Step::Gap(gap) = &step {
                self.next = gap.to.get() + 1;
            }
            return step;
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

/// Events looked at to find out what a subscriber that lags gets next: each step looks
/// anew, and takes less than so many as a rule.
const LOOK_AHEAD: u64 = 4_096;

/// What a subscriber that lags gets of the events from `from` to `end`: those that it
/// may miss are named in a gap, adjacent ones are merged, the others come as they are.
fn lagging(view: &View, from: u64, end: u64, skip_logs: bool) -> Step {
    let all = end <= from + LOOK_AHEAD;
    let end = end.min(from + LOOK_AHEAD);
    let drops = |offset: u64| skip_logs && view.may_drop(offset);
    let dropped = (from..=end).take_while(|offset| drops(*offset));
    if let Some(last) = dropped.last() {
        return Step::Gap(gap(from, last, GapReason::Conflated));
    }
    let merges = |offset: u64| offset < end && view.may_merge(offset);
    if merges(from) {
        let to = (from + 1..=end).find(|offset| !merges(*offset));
        return Step::Merged {
            from,
            to: to.unwrap_or(end),
        };
    }
    let special = (from + 1..=end).find(|offset| drops(*offset) || merges(*offset));
    Step::Events {
        from,
        to: match special {
            Some(special) => special - 1,
            None if all => view.head,
            None => end,
        },
    }
}
