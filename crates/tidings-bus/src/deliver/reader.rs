//! What one subscriber of one log gets next.
//!
//! Streams inside the process and connections read by the same machine and differ only
//! in where the bytes go. Pure, but for its looks at the log: it wakes nobody, fetches
//! nothing and sends nothing.

use tidings_protocol::{Gap, ResetReason};

use crate::deliver::cursor::{Cursor, SkipPolicy, Step};
use crate::deliver::topic::Topic;
use crate::log::View;

/// A subscriber's cursor, and the page from the store that it reads in, if it does.
#[derive(Debug)]
pub struct Reader {
    cursor: Cursor,
    /// Boxed, for nearly always there is none.
    page: Option<Box<Page>>,
}

/// Events that are not in memory.
#[derive(Debug)]
enum Page {
    /// They are on their way from the store.
    Fetching,
    Here(View),
}

/// What a subscriber gets next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing, until the log grows.
    CaughtUp,
    /// Nothing any more: the task is gone, and the subscriber has had all of it.
    Over,
    /// Nothing, until a page has come from the store. `true`: have it fetched.
    Page(bool),
    /// These events, by [`Reader::view`]. They count once the reader was
    /// [advanced](Reader::advance).
    Events {
        /// First offset to deliver.
        from: u64,
        /// Last offset to deliver.
        to: u64,
    },
    /// One event that stands for these, by [`View::merge`]; it may stand for fewer.
    Merged {
        /// First offset to merge.
        from: u64,
        /// Last offset to merge.
        to: u64,
    },
    /// The notice that these offsets will not come.
    Gap(Gap),
    /// The notice that its position is void.
    Reset(ResetReason),
    /// The notice of the epoch in which the task has begun.
    Begun,
}

impl Reader {
    /// Reads from a cursor on.
    pub fn at(cursor: Cursor) -> Self {
        Self { cursor, page: None }
    }

    /// The position of the reader.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Moves to another place, or back to one.
    pub fn set_cursor(&mut self, cursor: Cursor) {
        self.cursor = cursor;
    }

    /// Moves on after `count` events were handed over.
    pub fn advance(&mut self, count: u64) {
        self.cursor.advance(count);
    }

    /// Moves back before the last `count` events that were handed over.
    pub fn retreat(&mut self, count: u64) {
        self.cursor.retreat(count);
    }

    /// Whether nothing stands between the log in memory and the subscriber.
    pub(crate) fn is_plain(&self) -> bool {
        self.page.is_none()
    }

    /// Takes the page that was fetched.
    pub fn take_page(&mut self, page: View) {
        self.page = Some(Box::new(Page::Here(page)));
    }

    /// Lends its page to whoever delivers from it, and gets it back by
    /// [`return_page`](Self::return_page).
    pub fn lend_page(&mut self) -> Option<View> {
        match *self.page.take()? {
            Page::Here(page) => Some(page),
            Page::Fetching => {
                self.page = Some(Box::new(Page::Fetching));
                None
            }
        }
    }

    /// See [`lend_page`](Self::lend_page).
    pub fn return_page(&mut self, page: Option<View>) {
        if let Some(page) = page {
            self.take_page(page);
        }
    }

    /// Lets go of its page: memory must not grow with subscribers that cannot take one.
    pub fn drop_page(&mut self) {
        self.lend_page();
    }

    /// The view that holds what [`next`](Self::next) has said: its page, or `view`.
    pub fn view<'a>(&'a self, view: &'a View) -> &'a View {
        match self.page.as_deref() {
            Some(Page::Here(page)) => page,
            _ => view,
        }
    }

    /// What comes next, as `view` sees the log. A notice is said once, and must be
    /// delivered. `follows`: the subscriber goes when its task does, and is told its end
    /// and nothing else.
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
                    // The view may be older than the task's end: one last look.
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

    /// Events that can go along with a notice that [`next`](Self::next) has just given.
    /// Another notice waits its turn.
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
            if page.covers(&self.cursor) {
                return self.cursor.step(topic, page, skip);
            }
            self.page = None;
        }
        self.cursor.step(topic, view, skip)
    }
}
