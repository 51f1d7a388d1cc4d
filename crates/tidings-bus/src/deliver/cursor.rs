//! A subscriber's place in a log, and its next step.
//!
//! Live delivery, history, late joins, recovery, slow consumers and conflation all use this
//! logic. Sockets, streams and handlers call [`Cursor::step`] and differ only in the
//! destination of the bytes.

use std::sync::Arc;

use tidings_protocol::{Gap, GapReason, Offset, ResetReason};

use crate::deliver::topic::Topic;
use crate::log::{Chunk, View};

/// The lag at which a subscriber gets merged events and misses `log`s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkipPolicy {
    /// A cursor lags if it is more than `behind` events behind the head. It then gets merged
    /// events and skips `log`s, except among the newest `behind` events. Adjacent progress
    /// updates are merged, and adjacent deltas of one output. `u64::MAX` never skips.
    pub behind: u64,
    /// Whether `log`s are skipped. If false, events are merged and nothing is left out.
    pub logs: bool,
}

impl SkipPolicy {
    /// Skips no retained event.
    pub const NEVER: SkipPolicy = SkipPolicy::behind(u64::MAX);

    /// Skips for a cursor that is more than `behind` events behind the head.
    pub const fn behind(behind: u64) -> Self {
        Self { behind, logs: true }
    }

    /// Merges events and leaves nothing out. Use it for pages of history.
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
    /// The log's generation that `next` belongs to.
    generation: u32,
    /// The log's naming that the subscriber knows.
    naming: u16,
    /// True if the missing events had expired before the subscriber came. False if they overran
    /// it.
    fresh: bool,
}

/// The next step of a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Do nothing. The cursor is past the head.
    CaughtUp,
    /// Deliver these offsets, inclusive. The view contains all of them.
    Events {
        /// First offset to deliver.
        from: u64,
        /// Last offset to deliver.
        to: u64,
    },
    /// Deliver one event that stands for these offsets, by [`View::merge`]. It may stand for
    /// fewer of them.
    Merged {
        /// First offset to merge.
        from: u64,
        /// Last offset to merge.
        to: u64,
    },
    /// The next event is not in memory. Fetch it with
    /// [`EventBus::fetch_page`](crate::EventBus::fetch_page), and continue with the view that
    /// this returns.
    Cold,
    /// Report that these offsets will not come. The cursor has moved past them.
    Gap(Gap),
    /// Report that the subscriber's position is void. The log continues after the cursor's
    /// [`delivered`](Cursor::delivered) offset.
    Reset(ResetReason),
    /// Report the epoch in which the task has begun. Another node has published the task's first
    /// event. The subscriber had no event yet, so no position becomes void.
    Begun,
}

impl Cursor {
    /// Creates a cursor before offset `next` of a log in this generation and naming.
    pub(crate) fn new(next: u64, (generation, naming): (u32, u16)) -> Self {
        Self {
            next,
            generation,
            naming,
            fresh: false,
        }
    }

    /// Marks a subscriber that joins a log whose oldest offset is `first`.
    pub(crate) fn joining(mut self, first: u64) -> Self {
        self.fresh = self.next < first;
        self
    }

    /// Returns the next offset of the subscriber.
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// Returns the last offset that the subscriber received, or that a gap has reported.
    pub fn delivered(&self) -> Offset {
        Offset::new(self.next - 1).unwrap_or(Offset::MAX)
    }

    /// Moves forward after `count` events were delivered.
    pub fn advance(&mut self, count: u64) {
        self.next += count;
    }

    /// Moves back before the last `count` delivered events, because the subscriber has not
    /// received all of them.
    pub fn retreat(&mut self, count: u64) {
        self.next = self.next.saturating_sub(count);
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Returns whether a view contains the cursor's next event.
    pub(crate) fn is_in(&self, view: &View) -> bool {
        self.generation == view.generation
            && (view.first..=view.head).contains(&self.next)
            && !view.chunks.is_empty()
    }

    /// Returns the chunk of a view that contains all events after the cursor, if one chunk does.
    pub(crate) fn rest_in(&self, view: &View) -> Option<Arc<Chunk>> {
        let newest = view.chunks.last()?;
        let all = newest.first..=newest.last();
        (self.generation == view.generation
            && self.naming == view.naming
            && newest.last() == view.head
            && all.contains(&self.next))
        .then(|| Arc::clone(newest))
    }

    /// Returns the number of events between the cursor and the topic's head.
    pub fn lag(&self, topic: &Topic) -> u64 {
        (topic.head() + 1).saturating_sub(self.next)
    }

    /// Returns the next step for the log as the view sees it.
    ///
    /// A gap moves the cursor at once, and the caller must deliver it. Events move the cursor
    /// only with [`advance`](Self::advance), because a socket may take fewer.
    pub fn step(&mut self, topic: &Topic, view: &mut View, skip: SkipPolicy) -> Step {
        if view.first == 0 {
            // The page is empty. The log knows the fate of its events.
            topic.fill(view, self.next);
        }
        if self.generation == view.generation && self.naming == view.naming {
            if self.next > view.head {
                return Step::CaughtUp;
            }
            reach(view, topic, self.next);
        }
        // `reach` may have refreshed the view. Everything below reads the refreshed view.
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

/// Loads the chunks from `from` on, unless the log has removed them.
fn reach(view: &mut View, topic: &Topic, from: u64) {
    let here = view.chunks.first().map_or(u64::MAX, |chunk| chunk.first);
    if from.max(view.hot) < here && from <= view.head {
        topic.fill(view, from);
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

/// Events that one step examines for a subscriber that lags. Each step examines anew, and
/// usually takes fewer events.
const LOOK_AHEAD: u64 = 4_096;

/// Returns the next step of a subscriber that lags, for the events from `from` to `end`. A gap
/// names the events that it may miss. Adjacent events are merged. All other events stay as they
/// are.
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
