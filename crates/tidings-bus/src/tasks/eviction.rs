//! The order in which tasks are evicted when memory is short.
//!
//! A pure machine. Tasks wait in lanes, in the order of their last event. An event of a task
//! puts the task into a lane, so the bus never has to search all tasks. Later events do not
//! change the order. When a task comes up and has had an event since, it goes back with its new
//! time. Each such step belongs to an event, so the cost of a publish does not depend on the
//! number of tasks.

use std::collections::{BTreeMap, HashMap, HashSet};

use tokio::time::Instant;

use crate::ledger::{AccountId, Holding};

/// The memory that a task could release next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Events of an ended task.
    EndedEvents,
    /// Events of a running task.
    RunningEvents,
    /// A whole ended task, without events in memory.
    Ended,
    /// A whole running task, without events in memory.
    Running,
}

const LANES: usize = 4;

impl Lane {
    /// Chooses the lane of a task.
    pub(crate) fn of(ended: bool, has_events: bool) -> Self {
        match (ended, has_events) {
            (true, true) => Self::EndedEvents,
            (false, true) => Self::RunningEvents,
            (true, false) => Self::Ended,
            (false, false) => Self::Running,
        }
    }
}

/// The last event of a task, and a number that makes it unique.
type Key = (Instant, u64);

/// The place of a task in a lane. Its owner keeps it, to change it later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    account: AccountId,
    pub(crate) lane: Lane,
    key: Key,
}

impl Place {
    /// Returns the time by which the task is ordered.
    pub(crate) fn touched(&self) -> Instant {
        self.key.0
    }
}

/// The tasks in the order of their eviction.
#[derive(Debug)]
pub(crate) struct Order<T> {
    accounts: HashMap<AccountId, [BTreeMap<Key, T>; LANES]>,
    /// The accounts with tasks in another lane than [`Lane::Running`].
    harmless: HashSet<AccountId>,
    serial: u64,
}

impl<T> Default for Order<T> {
    fn default() -> Self {
        Self {
            accounts: HashMap::new(),
            harmless: HashSet::new(),
            serial: 0,
        }
    }
}

impl<T> Order<T> {
    /// Puts a task into a lane.
    pub(crate) fn put(
        &mut self,
        account: &AccountId,
        lane: Lane,
        touched: Instant,
        task: T,
    ) -> Place {
        self.serial += 1;
        let key = (touched, self.serial);
        let lanes = self.accounts.entry(account.clone()).or_default();
        lanes[lane as usize].insert(key, task);
        if lane != Lane::Running && !self.harmless.contains(account) {
            self.harmless.insert(account.clone());
        }
        Place {
            account: account.clone(),
            lane,
            key,
        }
    }

    /// Removes a task from its lane.
    pub(crate) fn forget(&mut self, place: &Place) {
        self.take(&place.account, place.lane, place.key);
    }

    /// Removes and returns the task of an account's lanes that has been quiet longest.
    pub(crate) fn pop(&mut self, account: &AccountId, from: &[Lane]) -> Option<(Place, T)> {
        let lanes = self.accounts.get(account)?;
        let firsts = from.iter().filter_map(|lane| {
            let (key, _) = lanes[*lane as usize].first_key_value()?;
            Some((*key, *lane))
        });
        let (key, lane) = firsts.min_by_key(|(key, _)| *key)?;
        let task = self.take(account, lane, key)?;
        let account = account.clone();
        Some((Place { account, lane, key }, task))
    }

    fn take(&mut self, account: &AccountId, lane: Lane, key: Key) -> Option<T> {
        let lanes = self.accounts.get_mut(account)?;
        let task = lanes[lane as usize].remove(&key);
        if lanes[..Lane::Running as usize]
            .iter()
            .all(BTreeMap::is_empty)
        {
            self.harmless.remove(account);
            if lanes[Lane::Running as usize].is_empty() {
                self.accounts.remove(account);
            }
        }
        task
    }

    /// Returns the accounts that can release memory without losing a running task.
    pub(crate) fn harmless(&self) -> Vec<AccountId> {
        self.harmless.iter().cloned().collect()
    }

    /// Returns the number of waiting tasks.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let lanes = self.accounts.values().flatten();
        lanes.map(BTreeMap::len).sum()
    }
}

/// Lanes of one account. The task that has been quiet longest goes first.
pub(crate) type Step = (AccountId, &'static [Lane]);

/// Decides the order in which lanes are emptied. Accounts over their share come first, without
/// their running tasks. The other accounts come second, without their running tasks. Running
/// tasks of accounts over their share come last. A running task of an account within its share
/// never goes. `harmless` lists the accounts with tasks in other lanes than that of running
/// tasks.
pub(crate) fn plan(harmless: &[AccountId], over_share: &[Holding]) -> Vec<Step> {
    // Both lanes together. Otherwise events of running tasks would make room for states of tasks
    // that ended long ago.
    const HARMLESS: [&[Lane]; 2] = [&[Lane::EndedEvents], &[Lane::RunningEvents, Lane::Ended]];
    const LAST: &[Lane] = &[Lane::Running];
    let over = || over_share.iter().map(|holding| &holding.account);
    let within = || harmless.iter().filter(|id| over().all(|over| over != *id));
    let first = over()
        .chain(within())
        .flat_map(|account| HARMLESS.map(|lanes| (account.clone(), lanes)));
    first
        .chain(over().map(|account| (account.clone(), LAST)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn the_longest_idle_task_comes_first_and_each_task_once() {
        let start = Instant::now();
        let a = AccountId::subject("a");
        let mut order = Order::default();
        let lane = Lane::RunningEvents;
        order.put(&a, lane, at(start, 3), 3);
        order.put(&a, lane, at(start, 1), 1);
        let gone = order.put(&a, lane, at(start, 2), 2);
        order.put(&a, lane, at(start, 1), 11);
        order.forget(&gone);
        order.forget(&gone);
        let popped: Vec<_> = std::iter::from_fn(|| order.pop(&a, &[lane]))
            .map(|(_, task)| task)
            .collect();
        assert_eq!(popped, [1, 11, 3]);
        assert!(order.accounts.is_empty() && order.harmless.is_empty());
    }

    #[test]
    fn a_place_names_one_task_even_after_it_was_popped() {
        let start = Instant::now();
        let a = AccountId::subject("a");
        let mut order = Order::default();
        let placed = order.put(&a, Lane::Ended, start, "first");
        order.put(&a, Lane::Ended, start, "second");
        let (place, task) = order.pop(&a, &[Lane::Ended]).unwrap();
        assert_eq!((place.clone(), task), (placed, "first"));
        order.forget(&place);
        assert_eq!(order.len(), 1);
    }

    #[test]
    fn an_account_with_nothing_but_running_tasks_is_not_harmless() {
        let start = Instant::now();
        let a = AccountId::subject("a");
        let mut order = Order::default();
        order.put(&a, Lane::Running, start, "runs");
        assert!(order.harmless().is_empty());
        let ended = order.put(&a, Lane::Ended, start, "ended");
        let events = order.put(&a, Lane::RunningEvents, start, "events");
        order.forget(&ended);
        assert_eq!(order.harmless(), [a]);
        order.forget(&events);
        assert!(order.harmless().is_empty());
        assert_eq!(order.len(), 1);
    }

    #[test]
    fn of_several_lanes_the_longest_quiet_comes_first() {
        let start = Instant::now();
        let a = AccountId::subject("a");
        let mut order = Order::default();
        order.put(&a, Lane::RunningEvents, at(start, 2), "runs");
        order.put(&a, Lane::Ended, at(start, 1), "ended long ago");
        order.put(&a, Lane::Ended, at(start, 3), "ended just now");
        let lanes = [Lane::RunningEvents, Lane::Ended];
        let popped: Vec<_> = std::iter::from_fn(|| order.pop(&a, &lanes))
            .map(|(_, task)| task)
            .collect();
        assert_eq!(popped, ["ended long ago", "runs", "ended just now"]);
    }

    #[test]
    fn who_holds_most_gives_first_and_running_tasks_go_last() {
        let [big, middle, small] = ["big", "middle", "small"].map(AccountId::subject);
        let over: Vec<_> = [(&big, 9), (&middle, 5)]
            .map(|(account, bytes)| Holding {
                account: account.clone(),
                bytes,
            })
            .into();
        let all = [small.clone(), big.clone(), middle.clone()];
        let plan = plan(&all, &over);
        let of = |id: &AccountId, lane| {
            let mut steps = plan.iter();
            steps.position(|(account, lanes)| account == id && lanes.contains(&lane))
        };
        assert_eq!(of(&big, Lane::EndedEvents), Some(0));
        assert!(of(&big, Lane::Ended) < of(&middle, Lane::EndedEvents));
        assert!(of(&middle, Lane::Ended) < of(&small, Lane::EndedEvents));
        assert!(of(&small, Lane::Ended) < of(&big, Lane::Running));
        assert_eq!(of(&small, Lane::Running), None, "it is within its share");
        assert_eq!(plan.len(), 8);
    }
}
