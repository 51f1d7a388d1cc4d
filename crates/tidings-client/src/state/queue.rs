//! What waits in one watch for the program to take it.

use std::collections::{BTreeSet, VecDeque};

use tidings_protocol::{Target, TaskId};

use crate::defaults::WATCH_BYTES;
use crate::error::WatchError;
use crate::update::{Start, Update, weight};

/// One watch: what it is about, and its queue.
///
/// The queue is bounded. What finds no room is not lost: the watch's cursor in
/// that task stays where it is, and when there is room again the task is
/// subscribed to anew from there. The server's log is the long queue.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) target: Target,
    pub(super) start: Start,
    /// For a pattern: what it matches was all announced before some break, so
    /// a task that is not known has appeared since.
    pub(super) settled: bool,
    /// It was told of a loss, and not yet that the connection is back.
    pub(super) told_of_loss: bool,
    /// Tasks that had news when there was no room.
    pub(super) starved: BTreeSet<TaskId>,
    updates: VecDeque<Update>,
    bytes: usize,
    max_updates: usize,
    end: Option<WatchError>,
    ended: bool,
}

impl Queue {
    pub(super) fn new(target: Target, start: Start, max_updates: usize) -> Self {
        Self {
            target,
            start,
            settled: false,
            told_of_loss: false,
            starved: BTreeSet::new(),
            updates: VecDeque::new(),
            bytes: 0,
            max_updates,
            end: None,
            ended: false,
        }
    }

    pub(super) fn wants(&self, task_id: &TaskId) -> bool {
        match &self.target {
            Target::Task(own) => own == task_id,
            Target::Pattern(pattern) => pattern.matches(task_id),
        }
    }

    pub(super) fn is_named(&self) -> bool {
        matches!(self.target, Target::Task(_))
    }

    /// Room for one more.
    pub(super) fn has_room(&self) -> bool {
        !self.ended && self.updates.len() < self.max_updates && self.bytes < WATCH_BYTES
    }

    /// Room for enough that asking the server again is worth it.
    pub(super) fn is_roomy(&self) -> bool {
        !self.ended && self.updates.len() <= self.max_updates / 2 && self.bytes <= WATCH_BYTES / 2
    }

    pub(super) fn push(&mut self, update: Update) {
        self.bytes += weight(&update);
        self.updates.push_back(update);
    }

    /// The connection came or went. Whoever does not look meanwhile finds one
    /// pair at most, so that these need no room.
    pub(super) fn push_link(&mut self, update: Update) {
        match (self.updates.back(), &update) {
            (Some(Update::Disconnected { .. }), Update::Disconnected { .. }) => {
                self.updates.pop_back();
                self.updates.push_back(update);
            }
            (Some(Update::Reconnected), Update::Disconnected { .. }) => {
                let mut last = self.updates.iter().rev().skip(1);
                if matches!(last.next(), Some(Update::Disconnected { .. })) {
                    self.bytes -= weight(&Update::Reconnected);
                    self.updates.pop_back();
                } else {
                    self.push(update);
                }
            }
            _ => self.push(update),
        }
    }

    /// A task is gone. There is one of these for each task that the watch was told
    /// of, so they need no room.
    pub(super) fn push_removed(&mut self, task_id: &TaskId) {
        self.starved.remove(task_id);
        self.push(Update::Removed {
            task_id: task_id.clone(),
        });
    }

    pub(super) fn end(&mut self, error: WatchError) {
        if !self.ended {
            self.ended = true;
            self.end = Some(error);
        }
    }

    /// The next update; the error that ended it comes after the last.
    pub(super) fn take(&mut self) -> Option<Result<Update, WatchError>> {
        if let Some(update) = self.updates.pop_front() {
            self.bytes -= weight(&update);
            return Some(Ok(update));
        }
        self.end.take().map(Err)
    }

    /// Nothing will come any more.
    pub(super) fn is_over(&self) -> bool {
        self.ended && self.updates.is_empty() && self.end.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Loss;

    #[test]
    fn a_connection_that_flaps_does_not_fill_the_queue() {
        let pattern = Target::Pattern("*".parse().unwrap());
        let mut queue = Queue::new(pattern, Start::Live, 10);
        for _ in 0..1_000 {
            for _ in 0..3 {
                queue.push_link(Update::Disconnected {
                    loss: Loss::Silent,
                    retry_in: None,
                });
            }
            queue.push_link(Update::Reconnected);
        }
        let mut taken = Vec::new();
        while let Some(Ok(update)) = queue.take() {
            taken.push(update);
        }
        assert_eq!(taken.len(), 2, "{taken:?}");
        assert_eq!(taken[1], Update::Reconnected);
        assert_eq!(queue.bytes, 0);
    }
}
