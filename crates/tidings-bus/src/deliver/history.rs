//! Reading what is retained, a page at a time.

use tidings_protocol::{Gap, Position, Since, TaskId};

use crate::bus::EventBus;
use crate::deliver::cursor::SkipPolicy;
use crate::deliver::reader::{Next, Reader};
use crate::deliver::topic::Start;
use crate::log::{EventRecord, View};

/// A page of a task's history.
#[derive(Debug, Clone)]
pub struct HistoryPage {
    /// The events, in order.
    pub events: Vec<EventRecord>,
    /// The events that are missing between the position asked for and the first event.
    pub gap: Option<Gap>,
    /// Where to go on: the last event given, or the head when there was none.
    pub next: Position,
}

/// A page while it is made. Pure: it is told what the cursor found.
///
/// A page is of one epoch, and has one gap, before its events. Whatever does not
/// fit ends the page, and is said by the next one.
#[derive(Debug, Default)]
struct Page {
    events: Vec<EventRecord>,
    gap: Option<Gap>,
    /// Events, and bytes of them, that there is room for.
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

    /// Takes a gap in. False if the page ends before it.
    fn take_gap(&mut self, missing: Gap) -> bool {
        if !self.events.is_empty() {
            return false;
        }
        self.gap = Some(match self.gap.take() {
            // One range: the second begins where the first ends.
            Some(first) => Gap {
                to: missing.to,
                ..first
            },
            None => missing,
        });
        true
    }

    /// Begins anew in another epoch. False if the page ends before it.
    fn reset(&mut self) -> bool {
        if self.events.is_empty() {
            self.gap = None;
        }
        self.events.is_empty()
    }
}

impl EventBus {
    /// Up to `limit` retained events after `since`, or the newest `limit` without it.
    /// Events are merged as the bus's [`skip`](crate::BusConfig::skip) says.
    ///
    /// None for a task to which nothing was published.
    ///
    /// Waits for the store where events are not in memory, and for as long as
    /// it cannot be read. After a shutdown the page ends where memory does.
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

    /// As [`history`](Self::history), but the page ends with the first event that
    /// brings it to `max_bytes`, and events are merged as `skip` says. Nothing is left
    /// out for that.
    pub async fn history_within(
        &self,
        task_id: &TaskId,
        since: Option<Since>,
        (limit, max_bytes): (usize, usize),
        skip: SkipPolicy,
    ) -> Option<HistoryPage> {
        // A task that cannot be read is none for this moment; a retry finds it.
        let task = self.shared.fetch_own(task_id).await.ok().flatten();
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
                // `next` tells the epoch.
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
