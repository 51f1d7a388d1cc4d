//! Reading what is retained, a page at a time.

use tidings_protocol::{Gap, Position, Since, TaskId};

use crate::bus::EventBus;
use crate::deliver::cursor::{Cursor, SkipPolicy, Step};
use crate::deliver::topic::{Start, Topic};
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
}

impl Page {
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
        self.history_within(task_id, since, limit, usize::MAX).await
    }

    /// As [`history`](Self::history), but the page ends with the first event that
    /// brings it to `max_bytes`.
    pub async fn history_within(
        &self,
        task_id: &TaskId,
        since: Option<Since>,
        limit: usize,
        max_bytes: usize,
    ) -> Option<HistoryPage> {
        // A task that cannot be read is none for this moment; a retry finds it.
        let task = self.shared.fetch_own(task_id).await.ok().flatten();
        let task = task.filter(|task| task.is_declared())?;
        let start = match since {
            Some(since) => since.into(),
            None => Start::History(limit as u64),
        };
        let topic = task.topic();
        let joined = topic.join(&start);
        let mut cursor = joined.cursor;
        let mut page = Page::default();
        let mut next = topic.position(&cursor);
        let mut view = View::default();
        topic.fill(&mut view, cursor.next_offset());
        let mut room = max_bytes;
        while page.events.len() < limit && room > 0 {
            match cursor.step(topic, &mut view, SkipPolicy::NEVER) {
                Step::CaughtUp => break,
                Step::Cold => {
                    let mut cold = self.fetch_page(&task, &cursor).await;
                    if cold.covers(&cursor) {
                        take(
                            &mut cursor,
                            topic,
                            &mut cold,
                            &mut page.events,
                            limit,
                            &mut room,
                        );
                    } else if self.shared.stop.is_cancelled() {
                        break;
                    }
                    topic.fill(&mut view, cursor.next_offset());
                }
                Step::Gap(missing) => {
                    if !page.take_gap(missing) {
                        break;
                    }
                    next = topic.position(&cursor);
                }
                // Merging is for those who lag, and `next` tells the epoch.
                Step::Merged { .. } => break,
                Step::Reset(_) => {
                    if !page.reset() {
                        break;
                    }
                    next = topic.position(&cursor);
                }
                Step::Events { .. } => {
                    take(
                        &mut cursor,
                        topic,
                        &mut view,
                        &mut page.events,
                        limit,
                        &mut room,
                    );
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

/// Takes the events that a view has past a cursor, up to `limit` in all and until
/// there is no room for more bytes.
fn take(
    cursor: &mut Cursor,
    topic: &Topic,
    view: &mut View,
    events: &mut Vec<EventRecord>,
    limit: usize,
    room: &mut usize,
) {
    if let Step::Events { from, to } = cursor.step(topic, view, SkipPolicy::NEVER) {
        let most = (limit - events.len()) as u64;
        for offset in from..=to.min(from.saturating_add(most - 1)) {
            if *room == 0 {
                break;
            }
            let record = view.record(offset);
            let bytes = record.as_ref().map_or(0, |record| record.json().len());
            *room = room.saturating_sub(bytes);
            events.extend(record);
            cursor.advance(1);
        }
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
