//! The updates that wait in one watch.

use std::collections::{BTreeSet, VecDeque};

use tidings_protocol::{Target, TaskId};

use crate::defaults::WATCH_BYTES;
use crate::error::WatchError;
use crate::update::{Start, Update, weight};

/// One watch: its target and its queue of updates.
///
/// The queue is bounded. If an update finds no room, the watch keeps its cursor in that
/// task. When there is room again, the client subscribes again at this cursor. The
/// server's log serves as the long queue, so no update is lost.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) target: Target,
    pub(super) start: Start,
    /// For a pattern or a tree: true if the server had announced all its tasks before
    /// the connection broke. An unknown task is then new.
    pub(super) settled: bool,
    /// True if the watch has reported a loss and not yet the reconnect.
    pub(super) told_of_loss: bool,
    /// Tasks that had updates when the queue had no room.
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

    pub(super) fn is_named(&self) -> bool {
        matches!(self.target, Target::Task(_))
    }

    /// Returns true if there is room for one more update.
    pub(super) fn has_room(&self) -> bool {
        !self.ended && self.updates.len() < self.max_updates && self.bytes < WATCH_BYTES
    }

    /// Returns true if there is enough room for a new request to the server.
    pub(super) fn is_roomy(&self) -> bool {
        !self.ended && self.updates.len() <= self.max_updates / 2 && self.bytes <= WATCH_BYTES / 2
    }

    pub(super) fn push(&mut self, update: Update) {
        self.bytes += weight(&update);
        self.updates.push_back(update);
    }

    /// Queues a loss or a reconnect. These updates need no room, because the queue
    /// keeps at most one unread pair of them.
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

    /// Queues the removal of a task. These updates need no room, because there is at
    /// most one for each known task.
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

    /// Takes the next update. The error that ended the watch comes after the last
    /// update.
    pub(super) fn take(&mut self) -> Option<Result<Update, WatchError>> {
        if let Some(update) = self.updates.pop_front() {
            self.bytes -= weight(&update);
            return Some(Ok(update));
        }
        self.end.take().map(Err)
    }

    /// Returns true if no update will follow.
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
