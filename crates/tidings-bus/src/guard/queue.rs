//! What a task has to say and the log does not have yet. Pure: no task, no clock.

use std::collections::VecDeque;

use tidings_protocol::{EventClass, EventType, NewEvent};
use tokio::sync::oneshot;

use crate::publish::append::{PublishError, Published};

/// Reports of one task that may wait for the store.
const MAX_REPORTS: usize = 1_024;

/// Refused reports that are kept to be told; the rest is counted.
const MAX_REFUSALS: usize = 16;

/// A report that was refused for good.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Refusal {
    /// The type of the event that was refused.
    pub event_type: EventType,
    /// The reason.
    pub error: PublishError,
}

/// Reports of a task that are not in its log.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Losses {
    /// The first reports that were refused for good, at most 16.
    pub refused: Vec<Refusal>,
    /// All reports that were refused for good.
    pub refused_count: u64,
    /// Reports that gave way to newer ones while the store was unavailable.
    pub dropped: u64,
}

impl Losses {
    /// Whether every report is in the log.
    pub fn is_empty(&self) -> bool {
        self.refused_count == 0 && self.dropped == 0
    }
}

pub(super) type Asked = oneshot::Sender<Result<Published, PublishError>>;

/// A report on its way.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) event: NewEvent,
    /// Somebody waits for the answer, and room is kept for it.
    pub(super) asked: Option<Asked>,
}

/// The reports of one task, in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    reports: VecDeque<Report>,
    /// The end is among the reports, or was.
    pub(super) ended: bool,
    pub(super) losses: Losses,
}

impl Queue {
    /// Takes a report. Without room the oldest that may be dropped gives way, or the
    /// report itself.
    pub(super) fn push(&mut self, report: Report) {
        if self.reports.len() >= MAX_REPORTS && report.asked.is_none() {
            let droppable = |report: &Report| {
                report.asked.is_none() && report.event.event_type.class() != EventClass::Essential
            };
            self.losses.dropped += 1;
            match self.reports.iter().position(droppable) {
                Some(at) => drop(self.reports.remove(at)),
                None => return,
            }
        }
        self.reports.push_back(report);
    }

    /// The next report, which is kept until it is [settled](Self::settle).
    pub(super) fn next(&self) -> Option<&NewEvent> {
        self.reports.front().map(|report| &report.event)
    }

    /// The next report was answered. One that the store could not take stays.
    pub(super) fn settle(&mut self, answer: Result<Published, PublishError>) {
        if matches!(answer, Err(PublishError::Unavailable(_))) {
            return;
        }
        if let Some(report) = self.reports.pop_front() {
            self.told(report, answer);
        }
    }

    /// Tells whoever waits, and counts what was refused.
    pub(super) fn told(&mut self, report: Report, answer: Result<Published, PublishError>) {
        if let Err(error) = &answer {
            let event_type = report.event.event_type.clone();
            if event_type.ends_as().is_none() {
                tracing::warn!(%event_type, %error, "a report was refused");
                self.losses.refused_count += 1;
                if self.losses.refused.len() < MAX_REFUSALS {
                    let error = error.clone();
                    self.losses.refused.push(Refusal { event_type, error });
                }
            }
        }
        if let Some(asked) = report.asked {
            // Dropped if nobody wants to know any more.
            let _ = asked.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(event: NewEvent) -> Report {
        Report { event, asked: None }
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
        let event = NewEvent::task_completed(None);
        queue.push(Report {
            event,
            asked: Some(asked),
        });
        assert_eq!(queue.reports.len(), MAX_REPORTS + 1);
        assert_eq!(queue.losses.dropped, 10);
        assert_eq!(queue.next(), Some(&step));
    }

    #[test]
    fn what_the_store_cannot_take_stays_the_next() {
        let mut queue = Queue::default();
        queue.push(report(NewEvent::log("line")));
        let error = crate::StoreError::Unavailable("disk full".into());
        queue.settle(Err(PublishError::Unavailable(std::sync::Arc::new(error))));
        assert!(queue.next().is_some());
        queue.settle(Err(PublishError::Closed));
        assert!(queue.next().is_none());
        assert_eq!(queue.losses.refused_count, 1);
    }
}
