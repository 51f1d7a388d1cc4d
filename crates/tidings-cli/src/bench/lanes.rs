//! Tracks events in flight: published, but not yet received by every watcher.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use tidings_client::protocol::TaskId;
use tokio::sync::Notify;

/// The tasks, each with its events in flight.
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    /// The number of events in flight, over all tasks.
    in_flight: Cell<usize>,
    /// Notifies the publisher that an event has reached its last watcher.
    pub(crate) room: Notify,
}

struct Lane {
    id: TaskId,
    watchers: u64,
    on_their_way: RefCell<OnTheirWay>,
}

#[derive(Default)]
struct OnTheirWay {
    /// The last offset that every watcher has received.
    complete: u64,
    /// For each later offset, the number of watchers that have received it.
    have: VecDeque<u64>,
}

impl Lanes {
    /// Returns lanes for the new tasks of a run, each with its number of watchers.
    pub(crate) fn new(tasks: &[TaskId], connections: usize) -> Self {
        let lanes = tasks.iter().enumerate().map(|(number, id)| Lane {
            id: id.clone(),
            watchers: ((connections + tasks.len() - 1 - number) / tasks.len()) as u64,
            on_their_way: RefCell::default(),
        });
        Self {
            lanes: lanes.collect(),
            in_flight: Cell::new(0),
            room: Notify::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lanes.len()
    }

    pub(crate) fn id(&self, lane: usize) -> &TaskId {
        &self.lanes[lane].id
    }

    pub(crate) fn watchers(&self, lane: usize) -> u64 {
        self.lanes[lane].watchers
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Counts an event that was sent to the server.
    pub(crate) fn sent(&self, lane: usize) {
        if self.lanes[lane].watchers > 0 {
            self.in_flight.set(self.in_flight.get() + 1);
        }
    }

    /// Counts an event that the server has refused.
    pub(crate) fn refused(&self, lane: usize) {
        if self.lanes[lane].watchers > 0 {
            self.finished();
        }
    }

    /// Counts an event that a watcher has received, or that a gap stands for.
    pub(crate) fn arrived(&self, lane: usize, offset: u64) {
        let lane = &self.lanes[lane];
        let mut on_their_way = lane.on_their_way.borrow_mut();
        let Some(at) = offset.checked_sub(on_their_way.complete + 1) else {
            return;
        };
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if on_their_way.have.len() <= at {
            on_their_way.have.resize(at + 1, 0);
        }
        on_their_way.have[at] += 1;
        while on_their_way
            .have
            .front()
            .is_some_and(|have| *have >= lane.watchers)
        {
            on_their_way.have.pop_front();
            on_their_way.complete += 1;
            self.finished();
        }
    }

    fn finished(&self) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        self.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_on_its_way_until_the_last_watcher_has_it() {
        let tasks = ["a", "b"].map(|id| id.parse().unwrap());
        let lanes = Lanes::new(&tasks, 3);
        assert_eq!((lanes.watchers(0), lanes.watchers(1)), (2, 1));
        lanes.sent(0);
        lanes.sent(0);
        lanes.sent(1);
        assert_eq!(lanes.in_flight(), 3);
        // One watcher is ahead of the other.
        lanes.arrived(0, 1);
        lanes.arrived(0, 2);
        assert_eq!(lanes.in_flight(), 3);
        lanes.arrived(0, 1);
        assert_eq!(lanes.in_flight(), 2);
        lanes.arrived(1, 1);
        lanes.arrived(0, 2);
        assert_eq!(lanes.in_flight(), 0);
    }

    #[test]
    fn an_event_that_was_refused_is_not_waited_for() {
        let lanes = Lanes::new(&["a".parse().unwrap()], 1);
        lanes.sent(0);
        lanes.refused(0);
        assert_eq!(lanes.in_flight(), 0);
    }
}
