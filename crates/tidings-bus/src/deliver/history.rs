//! Reads retained events, a page at a time.

use tidings_protocol::{Gap, Position, Since, TaskId};

use crate::bus::EventBus;
use crate::deliver::cursor::SkipPolicy;
use crate::deliver::join::Start;
use crate::deliver::reader::{Next, Reader};
use crate::log::{EventRecord, View};
use crate::tasks::shelf;

/// A page of a task's history.
#[derive(Debug, Clone)]
pub struct HistoryPage {
    /// The events, in order.
    pub events: Vec<EventRecord>,
    /// The missing events between the requested position and the first event.
    pub gap: Option<Gap>,
    /// The position for the next page: the last event of this page, or the head if the page is
    /// empty.
    pub next: Position,
}

/// A page during its construction. It is pure: the caller passes the findings of the cursor.
///
/// A page has one epoch, and one gap before its events. An item that does not fit ends the
/// page, and starts the next one.
#[derive(Debug, Default)]
struct Page {
    events: Vec<EventRecord>,
    gap: Option<Gap>,
    /// The most events of the page, and their most bytes.
    limit: usize,
    room: usize,
}

impl Page {
    fn new(limit: usize, max_bytes: usize) -> Self {
        Self {
            limit,
            room: max_bytes,
            ..Self::default()
        }
    }

    fn is_full(&self) -> bool {
        self.events.len() >= self.limit || self.room == 0
    }

    fn take(&mut self, record: EventRecord) {
        self.room = self.room.saturating_sub(record.json().len());
        self.events.push(record);
    }

    /// Adds a gap. Returns false if the page ends before it.
    fn take_gap(&mut self, missing: Gap) -> bool {
        if !self.events.is_empty() {
            return false;
        }
        self.gap = Some(match self.gap.take() {
            // The two gaps are one range, because the second begins where the first ends.
            Some(first) => Gap {
                to: missing.to,
                ..first
            },
            None => missing,
        });
        true
    }

    /// Starts the page again in another epoch. Returns false if the page ends before it.
    fn reset(&mut self) -> bool {
        if self.events.is_empty() {
            self.gap = None;
        }
        self.events.is_empty()
    }
}

impl EventBus {
    /// Returns up to `limit` retained events after `since`, or the newest `limit` events without
    /// `since`. Events are merged as the [`skip`](crate::BusConfig::skip) of the bus says.
    ///
    /// Returns `None` for a task without events.
    ///
    /// If events are not in memory, the call waits for the store, also while the store is
    /// unavailable. After a shutdown the page contains only events in memory.
    ///
    /// # Cancel safety
    /// A dropped future changes no task.
    pub async fn history(
        &self,
        task_id: &TaskId,
        since: Option<Since>,
        limit: usize,
    ) -> Option<HistoryPage> {
        let skip = self.shared.config.skip;
        self.history_within(task_id, since, (limit, usize::MAX), skip)
            .await
    }

    /// Returns a page as [`history`](Self::history) does. The page ends with the first event
    /// that brings it to `max_bytes`. Events are merged as `skip` says. The size limit leaves no
    /// event out.
    ///
    /// # Cancel safety
    /// As [`history`](Self::history).
    pub async fn history_within(
        &self,
        task_id: &TaskId,
        since: Option<Since>,
        (limit, max_bytes): (usize, usize),
        skip: SkipPolicy,
    ) -> Option<HistoryPage> {
        // A task that cannot be read now is reported as missing. A retry finds it.
        let task = shelf::fetch_own(&self.shared, task_id).await.ok().flatten();
        let task = task.filter(|task| task.is_declared())?;
        let start = match since {
            Some(since) => since.into(),
            None => Start::History(limit as u64),
        };
        let topic = task.topic();
        let mut reader = Reader::at(topic.join(&start).cursor);
        let skip = skip.without_logs();
        let mut page = Page::new(limit, max_bytes);
        let mut next = topic.position(reader.cursor());
        let mut view = View::default();
        topic.fill(&mut view, reader.cursor().next_offset());
        while !page.is_full() {
            match reader.next(topic, &mut view, skip, false) {
                Next::CaughtUp | Next::Over => break,
                Next::Page(_) => {
                    reader.take_page(self.fetch_page(&task, reader.cursor()).await);
                    if self.shared.stop.is_cancelled() {
                        break;
                    }
                    topic.fill(&mut view, reader.cursor().next_offset());
                }
                Next::Gap(missing) => {
                    if !page.take_gap(missing) {
                        break;
                    }
                    next = topic.position(reader.cursor());
                }
                // `next` contains the epoch.
                Next::Begun => {}
                Next::Reset(_) => {
                    if !page.reset() {
                        break;
                    }
                    next = topic.position(reader.cursor());
                }
                Next::Merged { from, to } => {
                    let framing = self.shared.framing();
                    let Some(merged) = reader.view(&view).merge(from, to, framing) else {
                        break;
                    };
                    reader.advance(merged.offset().get() + 1 - from);
                    page.take(merged);
                }
                Next::Events { from, to } => {
                    for offset in from..=to {
                        if page.is_full() {
                            break;
                        }
                        if let Some(record) = reader.view(&view).record(offset) {
                            page.take(record);
                        }
                        reader.advance(1);
                    }
                }
            }
        }
        if let Some(last) = page.events.last() {
            next = last.position();
        }
        Some(HistoryPage {
            events: page.events,
            gap: page.gap,
            next,
        })
    }
}

#[cfg(test)]
mod tests {
    use tidings_protocol::{GapReason, Offset};

    use super::*;

    fn gap(from: u64, to: u64, reason: GapReason) -> Gap {
        let offset = |value| Offset::new(value).unwrap();
        Gap {
            from: offset(from),
            to: offset(to),
            reason,
        }
    }

    #[test]
    fn a_second_gap_widens_the_first_and_does_not_replace_it() {
        let mut page = Page::default();
        assert!(page.take_gap(gap(3, 9, GapReason::Expired)));
        assert!(page.take_gap(gap(10, 12, GapReason::Overrun)));
        assert_eq!(page.gap, Some(gap(3, 12, GapReason::Expired)));
    }

    #[test]
    fn what_was_missing_of_an_old_epoch_is_not_missing_of_the_new_one() {
        let mut page = Page::default();
        assert!(page.take_gap(gap(3, 9, GapReason::Expired)));
        assert!(page.reset());
        assert_eq!(page.gap, None);
    }
}
