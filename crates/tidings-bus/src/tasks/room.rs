//! The tasks in the order in which they leave memory when it is short.

#[cfg(test)]
use std::sync::Mutex;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::lock::{Guard, Lock, place};
use crate::tasks::eviction::{Lane, Order};
use crate::tasks::task::{Rules, Task};

/// The part of the limit that is freed in addition. Making room is then rare, and no publish
/// waits long for it.
pub(crate) const PART: u64 = 64;

/// The pause between two searches of all accounts, after a search found nothing to free.
const PAUSE: Duration = Duration::from_secs(1);

/// Remembers that no account could release memory. Pure.
///
/// The remaining tasks are watched by name, leased, or not saved yet. Another search of every
/// account would find the same tasks, so the bus pauses the search. The pause ends early if the
/// tasks hold clearly more memory. The bus finds tasks that can release memory again without
/// this search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exhausted {
    pub(crate) at: Instant,
    pub(crate) held: u64,
}

impl Exhausted {
    /// Decides whether the bus searches every account again.
    pub(crate) fn is_over(self, now: Instant, held: u64, limit: u64) -> bool {
        now >= self.at + PAUSE || held >= self.held + limit / PART
    }
}

/// The tasks in the order of their eviction.
#[derive(Default)]
pub(crate) struct Room {
    order: Lock<Order<Weak<Task>>, place::Leaf>,
    /// One publisher at a time makes room, and holds this lock.
    pub(crate) exhausted: Lock<Option<Exhausted>, place::Room>,
    /// The number of tasks that were examined to make room.
    #[cfg(test)]
    pub(crate) looked: std::sync::atomic::AtomicU64,
    /// Acts as another publisher, once, at a point between two steps.
    #[cfg(test)]
    pub(crate) between: Mutex<Option<Between>>,
}

impl Room {
    /// Puts a task into the order, or moves it. The caller holds the task's rules.
    #[inline]
    pub(crate) fn place(&self, task: &Arc<Task>, rules: &mut Rules, lane: Lane) {
        if rules.place.as_ref().is_none_or(|place| place.lane != lane) {
            self.place_anew(task, rules, lane);
        }
    }

    fn place_anew(&self, task: &Arc<Task>, rules: &mut Rules, lane: Lane) {
        let mut order = self.lock();
        if let Some(place) = rules.place.take() {
            order.forget(&place);
        }
        let account = rules.account().id();
        rules.place = Some(order.put(account, lane, rules.touched, Arc::downgrade(task)));
    }

    /// Removes a task from the order. The caller holds the task's rules.
    pub(crate) fn displace(&self, rules: &mut Rules) {
        if let Some(place) = rules.place.take() {
            self.lock().forget(&place);
        }
    }

    /// Returns a declared task to the order after it was removed.
    pub(crate) fn place_again(&self, task: &Arc<Task>) {
        let mut rules = task.lock_rules();
        if rules.place.is_none() && task.is_declared() {
            let has_events = task.topic().lock().retained_events() > 0;
            let lane = Lane::of(rules.finished.is_some(), has_events);
            self.place(task, &mut rules, lane);
        }
    }

    pub(crate) fn lock(&self) -> Guard<'_, Order<Weak<Task>>, place::Leaf> {
        self.order.lock()
    }

    #[cfg(test)]
    pub(crate) fn pass(&self, point: Point) {
        let between = self.between.lock().unwrap().take_if(|(at, _)| *at == point);
        if let Some((_, act)) = between {
            act();
        }
    }
}

/// The act of another publisher, and its point.
#[cfg(test)]
pub(crate) type Between = (Point, Box<dyn FnOnce() + Send>);

/// Points at which another publisher can act.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// There is room again.
    Enough,
    /// A whole task is about to be taken.
    TakeWhole,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_account_is_asked_again_after_a_while_or_when_more_is_held() {
        let now = Instant::now();
        let exhausted = Exhausted {
            at: now,
            held: 6_500,
        };
        assert!(!exhausted.is_over(now, 6_599, 6_400));
        assert!(exhausted.is_over(now, 6_600, 6_400));
        assert!(exhausted.is_over(now + PAUSE, 6_500, 6_400));
    }
}
