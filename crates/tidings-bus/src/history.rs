//! Reading what is retained, a page at a time.

use tidings_protocol::{Gap, Position, Since, TaskId};

use crate::bus::EventBus;
use crate::cursor::{SkipPolicy, Step};
use crate::log::{EventRecord, View};
use crate::topic::Start;

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
    pub fn history(
        &self,
        task_id: &TaskId,
        since: Option<Since>,
        limit: usize,
    ) -> Option<HistoryPage> {
        let task = self.task(task_id).filter(|task| task.is_declared())?;
        let start = match since {
            Some(since) => since.into(),
            None => Start::History(limit as u64),
        };
        let topic = task.topic();
        let joined = topic.join(&start);
        let mut cursor = joined.cursor;
        let mut gap = joined.ahead;
        let mut view = View::default();
        topic.fill(&mut view, cursor.next_offset());
        let mut events = Vec::new();
        while events.len() < limit {
            match cursor.step(topic, &mut view, SkipPolicy::NEVER) {
                Step::CaughtUp => break,
                Step::Gap(missing) => gap = Some(missing),
                Step::Events { from, to } => {
                    let room = (limit - events.len()) as u64;
                    for offset in from..=to.min(from.saturating_add(room - 1)) {
                        events.extend(view.record(offset));
                        cursor.advance(1);
                    }
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
