//! The next delivery of one subscriber of one log.
//!
//! Streams in the process and connections use the same reader, and differ only in the
//! destination of the bytes. A reader looks at the log, but has no other effect. It wakes no
//! task, fetches nothing and sends nothing.

use tidings_protocol::{Gap, ResetReason};

use crate::deliver::cursor::{Cursor, SkipPolicy, Step};
use crate::deliver::topic::Topic;
use crate::log::View;

/// A subscriber's cursor, and the page from the store that it reads, if it reads one.
#[derive(Debug)]
pub struct Reader {
    cursor: Cursor,
    /// Boxed, because a reader rarely has a page.
    page: Option<Box<Page>>,
}

/// Events that are not in memory.
#[derive(Debug)]
enum Page {
    /// The store is reading the events.
    Fetching,
    Here(View),
}

/// The next delivery of a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing until the log grows.
    CaughtUp,
    /// Nothing any more. The task is gone, and the subscriber has received all of it.
    Over,
    /// Nothing until a page has come from the store. If `true`, the caller must fetch the page.
    Page(bool),
    /// These events, by [`Reader::view`]. Call [`advance`](Reader::advance) after their
    /// delivery.
    Events {
        /// First offset to deliver.
        from: u64,
        /// Last offset to deliver.
        to: u64,
    },
    /// One event that stands for these offsets, by [`View::merge`]. It may stand for fewer of
    /// them.
    Merged {
        /// First offset to merge.
        from: u64,
        /// Last offset to merge.
        to: u64,
    },
    /// The notice that these offsets will not come.
    Gap(Gap),
    /// The notice that the subscriber's position is void.
    Reset(ResetReason),
    /// The notice of the epoch in which the task has begun.
    Begun,
}

impl Reader {
    /// Creates a reader that starts at a cursor.
    pub fn at(cursor: Cursor) -> Self {
        Self { cursor, page: None }
    }

    /// Returns the reader's cursor.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Moves the reader to another cursor.
    pub fn set_cursor(&mut self, cursor: Cursor) {
        self.cursor = cursor;
    }

    /// Moves forward after `count` events were delivered.
    pub fn advance(&mut self, count: u64) {
        self.cursor.advance(count);
    }

    /// Moves back before the last `count` delivered events.
    pub fn retreat(&mut self, count: u64) {
        self.cursor.retreat(count);
    }

    /// Returns true if the reader reads from the log in memory, without a page.
    pub(crate) fn is_plain(&self) -> bool {
        self.page.is_none()
    }

    /// Takes the page that was fetched.
    pub fn take_page(&mut self, page: View) {
        self.page = Some(Box::new(Page::Here(page)));
    }

    /// Lends the page to the code that delivers from it. [`return_page`](Self::return_page)
    /// gives it back.
    pub fn lend_page(&mut self) -> Option<View> {
        match *self.page.take()? {
            Page::Here(page) => Some(page),
            Page::Fetching => {
                self.page = Some(Box::new(Page::Fetching));
                None
            }
        }
    }

    /// Takes back the page of [`lend_page`](Self::lend_page).
    pub fn return_page(&mut self, page: Option<View>) {
        if let Some(page) = page {
            self.take_page(page);
        }
    }

    /// Drops the page. Memory must not grow with subscribers that cannot take one.
    pub fn drop_page(&mut self) {
        self.lend_page();
    }

    /// Returns the view that contains the result of [`next`](Self::next): the page, or `view`.
    pub fn view<'a>(&'a self, view: &'a View) -> &'a View {
        match self.page.as_deref() {
            Some(Page::Here(page)) => page,
            _ => view,
        }
    }

    /// Returns the next delivery for the log as `view` sees it. A notice is returned once, and
    /// the caller must deliver it. If `follows`, the subscriber leaves with the task. It then
    /// gets only the end of the task.
    pub fn next(
        &mut self,
        topic: &Topic,
        view: &mut View,
        skip: SkipPolicy,
        follows: bool,
    ) -> Next {
        loop {
            return match self.step(topic, view, skip) {
                Step::CaughtUp if follows && topic.is_closed() => {
                    // The view may be older than the task's end, so look a last time.
                    topic.fill(view, self.cursor.next_offset());
                    let mut probe = self.cursor;
                    match probe.step(topic, view, skip) {
                        Step::CaughtUp => Next::Over,
                        _ => continue,
                    }
                }
                Step::Reset(_) if follows && topic.is_closed() => continue,
                Step::CaughtUp => Next::CaughtUp,
                Step::Cold => {
                    let page = self.page.replace(Box::new(Page::Fetching));
                    Next::Page(page.is_none())
                }
                Step::Events { from, to } => Next::Events { from, to },
                Step::Merged { from, to } => Next::Merged { from, to },
                Step::Gap(gap) => Next::Gap(gap),
                Step::Reset(reason) => Next::Reset(reason),
                Step::Begun => Next::Begun,
            };
        }
    }

    /// Returns the events that can be delivered together with the notice of
    /// [`next`](Self::next). Another notice must wait.
    pub fn events_along(
        &mut self,
        topic: &Topic,
        view: &mut View,
        skip: SkipPolicy,
    ) -> Option<(u64, u64)> {
        let before = self.cursor;
        let step = self.step(topic, view, skip);
        let moved = std::mem::replace(&mut self.cursor, before) != before;
        match step {
            Step::Events { from, to } if !moved => Some((from, to)),
            _ => None,
        }
    }

    fn step(&mut self, topic: &Topic, view: &mut View, skip: SkipPolicy) -> Step {
        if let Some(Page::Here(page)) = self.page.as_deref_mut() {
            if self.cursor.is_in(page) {
                return self.cursor.step(topic, page, skip);
            }
            self.page = None;
        }
        self.cursor.step(topic, view, skip)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidings_protocol::{Epoch, EventType, GapReason, Offset, Timestamp};

    use super::*;
    use crate::deliver::pass::Fanout;
    use crate::log::{Appended, Framing, Log, LogLimits};

    fn log() -> Log {
        Log::new(None, Epoch::new("e").unwrap())
    }

    fn append(log: &mut Log, count: usize) {
        for _ in 0..count {
            let write = |_, text: &mut Vec<u8>| {
                text.extend_from_slice(b"{}");
                Appended {
                    event_type: EventType::Log,
                    timestamp: Timestamp::default(),
                    data: (0, 2),
                    output: None,
                }
            };
            log.append(&Framing::NONE, write, &mut Vec::new());
        }
    }

    fn keep(log: &mut Log, max_events: u64) {
        log.trim(&LogLimits {
            max_events,
            max_bytes: usize::MAX,
        });
    }

    /// A topic, the view of one subscriber, and the subscriber's reader.
    struct Rig {
        topic: Arc<Topic>,
        view: View,
        reader: Reader,
        skip: SkipPolicy,
        follows: bool,
    }

    impl Rig {
        /// Creates a reader before the first event of a log with `count` events.
        fn of(count: usize) -> Self {
            let mut log = log();
            append(&mut log, count);
            let cursor = Cursor::new(1, (log.generation(), log.naming()));
            let mut rig = Self {
                topic: Topic::new(log, Arc::<Fanout>::default()),
                view: View::default(),
                reader: Reader::at(cursor),
                skip: SkipPolicy::NEVER,
                follows: false,
            };
            rig.look();
            rig
        }

        fn change(&self, act: impl FnOnce(&mut Log)) {
            let mut log = self.topic.lock();
            act(&mut log);
            self.topic.mirror(&mut log);
        }

        fn look(&mut self) {
            let next = self.reader.cursor().next_offset();
            self.topic.fill(&mut self.view, next);
        }

        fn next(&mut self) -> Next {
            let (topic, view) = (&self.topic, &mut self.view);
            self.reader.next(topic, view, self.skip, self.follows)
        }

        fn along(&mut self) -> Option<(u64, u64)> {
            let (topic, view) = (&self.topic, &mut self.view);
            self.reader.events_along(topic, view, self.skip)
        }
    }

    fn events(from: u64, to: u64) -> Next {
        Next::Events { from, to }
    }

    fn gap(from: u64, to: u64, reason: GapReason) -> Next {
        let offset = |value| Offset::new(value).unwrap();
        Next::Gap(Gap {
            from: offset(from),
            to: offset(to),
            reason,
        })
    }

    /// Returns a page of events, as a store gives it.
    fn page(from: u64, count: usize) -> View {
        let whole = log();
        let mut part = Log::part(&whole, from);
        append(&mut part, count);
        let mut view = View::default();
        Topic::new(part, Arc::<Fanout>::default()).fill(&mut view, from);
        view
    }

    /// Creates a reader of a log with ten events. Only the store has the first five.
    fn cold() -> Rig {
        let mut rig = Rig::of(10);
        rig.change(|log| {
            log.set_stored_first(1);
            keep(log, 5);
        });
        rig.look();
        rig
    }

    #[test]
    fn events_count_once_the_reader_is_advanced() {
        let mut rig = Rig::of(3);
        assert_eq!([rig.next(), rig.next()], [events(1, 3); 2]);
        rig.reader.advance(2);
        assert_eq!(rig.next(), events(3, 3));
        rig.reader.retreat(1);
        assert_eq!(rig.next(), events(2, 3));
        rig.reader.advance(2);
        assert_eq!(rig.next(), Next::CaughtUp);
    }

    #[test]
    fn a_gap_is_told_once_and_events_go_along() {
        let mut rig = Rig::of(5);
        rig.change(|log| keep(log, 3));
        rig.look();
        assert_eq!(rig.next(), gap(1, 2, GapReason::Overrun));
        assert_eq!([rig.along(), rig.along()], [Some((3, 5)); 2]);
        assert_eq!(rig.next(), events(3, 5));
    }

    #[test]
    fn a_second_notice_does_not_go_along_and_is_not_lost() {
        let mut rig = Rig::of(2);
        rig.change(|log| {
            log.reset(Epoch::new("f").unwrap(), ResetReason::Removed);
            append(log, 4);
            keep(log, 1);
        });
        rig.look();
        assert_eq!(rig.next(), Next::Reset(ResetReason::Removed));
        assert_eq!(rig.along(), None);
        assert_eq!(rig.next(), gap(1, 3, GapReason::Expired));
        assert_eq!(rig.along(), Some((4, 4)));
    }

    #[test]
    fn a_reader_that_lags_misses_logs_and_gets_the_newest_events() {
        let mut rig = Rig::of(6);
        rig.skip = SkipPolicy::behind(2);
        assert_eq!(rig.next(), gap(1, 4, GapReason::Conflated));
        assert_eq!(rig.next(), events(5, 6));
    }

    #[test]
    fn a_page_is_asked_for_once_and_read_before_the_memory() {
        let mut rig = cold();
        assert!(rig.reader.is_plain());
        assert_eq!(rig.next(), Next::Page(true));
        assert_eq!(rig.next(), Next::Page(false));
        assert!(!rig.reader.is_plain());
        rig.reader.take_page(page(1, 5));
        assert_eq!(rig.next(), events(1, 5));
        assert_eq!(rig.reader.view(&rig.view).head(), 5);
        rig.reader.advance(5);
        assert_eq!(rig.next(), events(6, 10));
        assert_eq!(rig.reader.view(&rig.view).head(), 10);
        assert!(rig.reader.is_plain(), "the page has been read");
    }

    #[test]
    fn a_page_that_is_lent_comes_back() {
        let mut rig = cold();
        rig.next();
        assert!(rig.reader.lend_page().is_none(), "it has not come yet");
        assert_eq!(rig.next(), Next::Page(false), "and is not asked for again");
        rig.reader.take_page(page(1, 5));
        let lent = rig.reader.lend_page();
        assert_eq!(lent.as_ref().map(View::head), Some(5));
        rig.reader.return_page(lent);
        assert_eq!(rig.next(), events(1, 5));
    }

    #[test]
    fn a_page_that_is_dropped_is_fetched_again() {
        let mut rig = cold();
        rig.next();
        rig.reader.take_page(page(1, 5));
        rig.reader.drop_page();
        assert_eq!(rig.next(), Next::Page(true));
    }

    #[test]
    fn a_page_of_other_events_is_not_read() {
        for other in [View::default(), page(3, 2)] {
            let mut rig = cold();
            rig.next();
            rig.reader.take_page(other);
            assert_eq!(rig.next(), Next::Page(true));
        }
    }

    #[test]
    fn a_follower_gets_what_was_appended_before_the_end_and_then_leaves() {
        let mut rig = Rig::of(2);
        rig.follows = true;
        rig.reader.advance(2);
        // The view is older than these events.
        rig.change(|log| {
            append(log, 1);
            log.closed = true;
        });
        assert_eq!(rig.next(), events(3, 3));
        rig.reader.advance(1);
        assert_eq!(rig.next(), Next::Over);
        rig.follows = false;
        assert_eq!(rig.next(), Next::CaughtUp);
    }

    #[test]
    fn a_follower_is_not_told_of_the_reset_that_ends_its_task() {
        for follows in [true, false] {
            let mut rig = Rig::of(2);
            rig.follows = follows;
            rig.change(|log| {
                log.reset(Epoch::new("f").unwrap(), ResetReason::Removed);
                log.closed = true;
            });
            rig.look();
            let told = match follows {
                true => Next::Over,
                false => Next::Reset(ResetReason::Removed),
            };
            assert_eq!(rig.next(), told);
        }
    }

    #[test]
    fn the_epoch_in_which_a_task_begins_is_told_without_a_reset() {
        let mut rig = Rig::of(0);
        rig.change(|log| {
            log.adopt(Epoch::new("f").unwrap());
            append(log, 1);
        });
        rig.look();
        assert_eq!(rig.next(), Next::Begun);
        assert_eq!(rig.along(), Some((1, 1)));
        assert_eq!(rig.next(), events(1, 1));
    }
}
