//! Reports of a task that its log does not have yet. Pure: no tokio task, no clock.

use std::collections::VecDeque;
use std::sync::Arc;

use tidings_protocol::{EventClass, NewEvent};
use tidings_scope::Losses;
use tokio::sync::oneshot;

use crate::publish::error::{PublishError, Published};
use crate::store::StoreError;

/// The most reports of one task that wait for the store.
const MAX_REPORTS: usize = 1_024;

pub(super) type Asked = oneshot::Sender<Result<Published, PublishError>>;

/// A report that waits to be published.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) event: NewEvent,
    /// Set if a caller waits for the answer.
    asked: Option<Asked>,
    /// True if room is reserved for the report.
    kept: bool,
}

impl Report {
    pub(super) fn plain(event: NewEvent) -> Self {
        Self {
            event,
            asked: None,
            kept: false,
        }
    }

    pub(super) fn asked(event: NewEvent, asked: Asked, kept: bool) -> Self {
        Self {
            event,
            asked: Some(asked),
            kept,
        }
    }
}

/// The reports of one task, in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    reports: VecDeque<Report>,
    /// True once the queue has received the end of the task.
    pub(super) ended: bool,
    pub(super) losses: Losses<PublishError>,
}

impl Queue {
    /// Adds a report. If there is no room, the oldest report that may be dropped is dropped, or
    /// this report itself.
    pub(super) fn push(&mut self, report: Report) {
        if self.reports.len() >= MAX_REPORTS && !report.kept {
            let droppable = |report: &Report| {
                report.asked.is_none() && report.event.event_type.class() != EventClass::Essential
            };
            match self.reports.iter().position(droppable) {
                Some(at) => {
                    self.losses.dropped += 1;
                    self.reports.remove(at);
                }
                None => return self.refuse(report),
            }
        }
        self.reports.push_back(report);
    }

    /// Returns the next report. The queue keeps it until [`settle`](Self::settle).
    pub(super) fn next(&self) -> Option<&NewEvent> {
        self.reports.front().map(|report| &report.event)
    }

    /// Records the answer to the next report. The report stays if the store could not take it.
    pub(super) fn settle(&mut self, answer: Result<Published, PublishError>) {
        if matches!(answer, Err(PublishError::Unavailable(_))) {
            return;
        }
        if let Some(report) = self.reports.pop_front() {
            self.told(report, answer);
        }
    }

    /// Refuses a report, because there is no room.
    fn refuse(&mut self, report: Report) {
        self.losses.dropped += 1;
        if let Some(asked) = report.asked {
            let cause = "too many reports of the task wait for the store";
            let error = StoreError::Unavailable(cause.into());
            let _ = asked.send(Err(PublishError::Unavailable(Arc::new(error))));
        }
    }

    /// Sends the answer to a waiting caller, and counts a refused report.
    pub(super) fn told(&mut self, report: Report, answer: Result<Published, PublishError>) {
        if let Err(error) = &answer {
            let event_type = report.event.event_type.clone();
            if event_type.ends_as().is_none() {
                self.losses.refuse(event_type, error.clone());
            }
        }
        if let Some(asked) = report.asked {
            // The answer is dropped if the caller does not wait for it.
            let _ = asked.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(event: NewEvent) -> Report {
        Report::plain(event)
    }

    #[test]
    fn the_oldest_that_may_be_dropped_gives_way_and_the_end_has_room() {
        let mut queue = Queue::default();
        let step = NewEvent::step_started("s", None);
        queue.push(report(step.clone()));
        for line in 0..MAX_REPORTS + 9 {
            queue.push(report(NewEvent::log(line.to_string())));
        }
        let (asked, _answer) = oneshot::channel();
        let end = NewEvent::task_completed(None);
        queue.push(Report::asked(end, asked, true));
        assert_eq!(queue.reports.len(), MAX_REPORTS + 1);
        assert_eq!(queue.losses.dropped, 10);
        assert_eq!(queue.next(), Some(&step));
    }

    #[test]
    fn what_the_store_cannot_take_stays_the_next() {
        let mut queue = Queue::default();
        queue.push(report(NewEvent::log("line")));
        let error = StoreError::Unavailable("disk full".into());
        queue.settle(Err(PublishError::Unavailable(Arc::new(error))));
        assert!(queue.next().is_some());
        queue.settle(Err(PublishError::Closed));
        assert!(queue.next().is_none());
        assert_eq!(queue.losses.refused_count, 1);
    }
}
