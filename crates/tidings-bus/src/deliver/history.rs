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
    /// What is missing between the position asked for and the first event.
    pub gap: Option<Gap>,
    /// Where to go on: the last event given, or the head when there was none.
    pub next: Position,
}

impl EventBus {
    /// Up to `limit` retained events after `since`, or the newest `limit` without it.
    ///
    /// None for a task to which nothing was published.
    ///
    /// Waits for the store where events are not in memory, and for as long as
    /// it cannot be read.
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
        let task = self.task(task_id).filter(|task| task.is_declared())?;
        let start = match since {
            Some(since) => since.into(),
            None => Start::History(limit as u64),
        };
        let topic = task.topic();
        let joined = topic.join(&start);
        let mut cursor = joined.cursor;
        let mut gap = None;
        let mut view = View::default();
        topic.fill(&mut view, cursor.next_offset());
        let mut events = Vec::new();
        let mut room = max_bytes;
        while events.len() < limit && room > 0 {
            match cursor.step(topic, &mut view, SkipPolicy::NEVER) {
                Step::CaughtUp => break,
                Step::Cold => {
                    let mut page = self.fetch_page(&task, &cursor).await;
                    if page.covers(&cursor) {
                        take(&mut cursor, topic, &mut page, &mut events, limit, &mut room);
                    }
                    topic.fill(&mut view, cursor.next_offset());
                }
                Step::Gap(missing) => gap = Some(missing),
                // Merging is for those who lag, and `next` tells the epoch.
                Step::Merged { .. } => break,
                Step::Reset(_) => {}
                Step::Events { .. } => {
                    take(&mut cursor, topic, &mut view, &mut events, limit, &mut room);
                }
            }
        }
        let offset = events
            .last()
            .map_or(cursor.delivered(), EventRecord::offset);
        let next = Position {
            epoch: joined.standing.epoch,
            offset,
        };
        Some(HistoryPage { events, gap, next })
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
