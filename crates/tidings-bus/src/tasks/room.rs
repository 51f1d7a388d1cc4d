//! Makes room when tasks hold more than they may.
//!
//! What goes next is decided in [`eviction`](super::eviction). This is the shell
//! around it: it holds the locks, drops events and removes tasks.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::ledger::{Account, AccountId, Group};
use crate::shared::Shared;
use crate::tasks::eviction::{Lane, Order, Place, plan};
use crate::tasks::task::{Rules, Task};

/// Room is made down to the limit less this part of it, so that it is made
/// rarely, and no publish waits long for it.
const PART: u64 = 64;

/// The time until room is made again after there was nothing left to take back.
const PAUSE: Duration = Duration::from_secs(1);

/// The tasks in the order in which they give memory back.
#[derive(Default)]
pub(crate) struct Room {
    order: Mutex<Order<Weak<Task>>>,
    /// One publisher at a time makes room. Holds when to try again, if nothing
    /// was left to take back.
    again_at: Mutex<Option<Instant>>,
    /// Tasks that were looked at to make room.
    #[cfg(test)]
    looked: std::sync::atomic::AtomicU64,
}

impl Room {
    /// Has room made again at once: somebody can give something back by now.
    fn retry(&self) {
        // If the lock is held, its holder is making room already.
        if let Ok(mut again_at) = self.again_at.try_lock() {
            *again_at = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Order<Weak<Task>>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Puts a task into the order, or moves it; called with its rules.
    pub(crate) fn place(&self, task: &Arc<Task>, rules: &mut Rules, lane: Lane) {
        if rules.place.as_ref().is_some_and(|place| place.lane == lane) {
            return;
        }
        let mut order = self.room.lock();
        if let Some(place) = rules.place.take() {
            order.forget(&place);
        }
        let account = rules.account().id();
        rules.place = Some(order.put(account, lane, rules.touched, Arc::downgrade(task)));
    }

    /// Takes a task out of the order; called with its rules.
    pub(crate) fn displace(&self, rules: &mut Rules) {
        if let Some(place) = rules.place.take() {
            self.room.lock().forget(&place);
        }
    }

    /// Puts a declared task that had been set aside back into the order.
    pub(crate) fn place_again(&self, task: &Arc<Task>) {
        let mut rules = task.lock_rules();
        if rules.place.is_none() && task.is_declared() {
            let has_events = task.topic().lock().retained_events() > 0;
            let lane = Lane::of(rules.finished.is_some(), has_events);
            self.place(task, &mut rules, lane);
            self.room.retry();
        }
    }

    /// Makes room if tasks hold more than they may.
    ///
    /// Runs inside the publish that went over, so the bound holds whatever the
    /// load is.
    pub(crate) fn keep_to_limit(self: &Arc<Self>) {
        if self.ledger.is_over(Group::Tasks) {
            self.make_room();
        }
    }

    fn make_room(self: &Arc<Self>) {
        let limit = self.ledger.limits().tasks;
        let mut again_at = match self.room.again_at.try_lock() {
            Ok(again_at) => again_at,
            // Another publisher makes room. Go ahead up to here, and wait for it
            // beyond, or the bound would be none.
            Err(_) if self.ledger.held(Group::Tasks) <= limit + limit / 16 => return,
            Err(_) => self
                .room
                .again_at
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        };
        let now = Instant::now();
        if !self.ledger.is_over(Group::Tasks) || again_at.is_some_and(|at| now < at) {
            return;
        }
        *again_at = None;
        let target = limit - limit / PART;
        let accounts: Vec<AccountId> = self.room.lock().accounts().cloned().collect();
        for (account, lanes) in plan(&accounts, &self.ledger.over_share(Group::Tasks)) {
            while self.ledger.held(Group::Tasks) > target {
                let popped = self.room.lock().pop(&account, lanes);
                let Some((place, task)) = popped else { break };
                if let Some(task) = task.upgrade() {
                    self.take_back(&task, &place);
                }
            }
        }
        if self.ledger.held(Group::Tasks) > target {
            // The tasks left are watched by name, leased, or not saved yet. Looking
            // again at every publish would find the same ones.
            *again_at = Some(now + PAUSE);
        }
    }

    /// Takes back what a task can give, unless it has had an event meanwhile.
    fn take_back(self: &Arc<Self>, task: &Arc<Task>, place: &Place) {
        #[cfg(test)]
        self.room.looked.fetch_add(1, Ordering::Relaxed);
        let mut rules = task.lock_rules();
        if rules.place.as_ref() != Some(place) {
            return;
        }
        rules.place = None;
        let ended = rules.finished.is_some();
        let by_events = matches!(place.lane, Lane::EndedEvents | Lane::RunningEvents);
        let lane = Lane::of(ended, by_events);
        if rules.touched > place.touched() || lane != place.lane {
            self.place(task, &mut rules, lane);
            return;
        }
        if by_events {
            self.drop_events(task);
            self.forget_outputs(task);
            if task.topic().lock().retained_events() == 0 {
                self.place(task, &mut rules, Lane::of(ended, false));
            }
            return;
        }
        drop(rules);
        self.take_whole(task);
    }

    /// Takes a whole task back: from memory where a store keeps it, else for good.
    /// A task that has to stay is in no lane until its next event, or until
    /// [`place_again`](Self::place_again).
    fn take_whole(self: &Arc<Self>, task: &Arc<Task>) {
        if self.interest.is_some() {
            self.release(task);
        } else if self.store.is_some() {
            self.shelve(task);
        } else if task.topic().keeper_count() == 0 {
            self.discard(task);
        }
    }

    /// Drops the events of a task that need not stay in memory.
    pub(crate) fn drop_events(&self, task: &Task) {
        let mut log = task.topic().lock();
        let dropped = log.drop_saved();
        self.counters.dropped.fetch_add(dropped, Ordering::Relaxed);
        log.recount();
    }

    /// Forgets the text of a task's outputs, beyond what its snapshot has.
    fn forget_outputs(&self, task: &Task) {
        let mut log = task.topic().lock();
        log.outputs.forget_text();
        log.recount();
    }

    /// Returns whom a publisher's task is charged to.
    pub(crate) fn payer<'a>(&'a self, account: Option<&'a Account>) -> &'a Account {
        account.unwrap_or(self.ledger.own())
    }
}

#[cfg(test)]
mod tests {
    use tidings_protocol::{NewEvent, TaskId};

    use super::*;
    use crate::{BusConfig, EventBus, LogLimits};

    #[tokio::test]
    async fn a_publish_looks_at_few_tasks_however_full_the_bus_is() {
        const TASKS: u64 = 4_000;
        const PUBLISHES: u64 = 2_000;
        let limits = LogLimits {
            max_events: 1_000,
            max_bytes: 16 * 1024,
        };
        // So small that there is room for the tasks, and for few of their events.
        let config = BusConfig::default()
            .total_bytes(8 * 1024 * 1024)
            .clients_bytes(Some(0))
            .log_limits(limits);
        let bus = EventBus::new(config).unwrap();
        let task = |n: u64| TaskId::new(format!("task-{n}")).unwrap();
        let message = "x".repeat(1_000);
        for n in 0..TASKS {
            bus.task_started(&task(n), "work").await.unwrap();
            bus.progress(&task(n), 1.0, &message).await.unwrap();
        }
        let looked = || bus.shared.room.looked.load(Ordering::Relaxed);
        let before = looked();
        for n in 0..PUBLISHES {
            bus.progress(&task(n * 7 % TASKS), 2.0, &message)
                .await
                .unwrap();
            assert!(!bus.shared.ledger.is_over(Group::Tasks), "publish {n}");
        }
        let looked = looked() - before;
        assert!(looked > 0, "room had to be made");
        assert!(
            looked <= 4 * PUBLISHES,
            "{looked} for {PUBLISHES} publishes"
        );
        assert!(bus.shared.room.lock().len() as u64 <= TASKS);
    }

    #[tokio::test]
    async fn a_task_that_comes_and_goes_leaves_nothing_in_the_order() {
        let bus = EventBus::new(BusConfig::default()).unwrap();
        let task = TaskId::new("t").unwrap();
        for _ in 0..1_000 {
            bus.task_started(&task, "work").await.unwrap();
            bus.task_completed(&task, None).await.unwrap();
        }
        assert_eq!(bus.shared.room.lock().len(), 1);
        bus.remove(&task).await.unwrap();
        bus.publish(&task, NewEvent::task_stalled()).await.ok();
        bus.remove(&task).await.unwrap();
        assert_eq!(bus.shared.room.lock().len(), 0);
    }
}
