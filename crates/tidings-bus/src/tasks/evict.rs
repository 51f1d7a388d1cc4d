//! Makes room when tasks hold more than they may.
//!
//! [`eviction`](super::eviction) decides the order. This module holds the locks, drops events
//! and removes tasks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use crate::ledger::Group;
use crate::shared::Shared;
use crate::tasks::eviction::{Lane, Place, Step, plan};
#[cfg(test)]
use crate::tasks::room::Point;
use crate::tasks::room::{Exhausted, PART};
use crate::tasks::task::Task;
use crate::tasks::{leave, life};

/// The result of a walk through the lanes.
enum Taken {
    /// Tasks are within their limit.
    Enough,
    /// Every lane is empty, but some had tasks before.
    Some,
    /// Every lane was empty.
    Nothing,
}

/// Makes room if tasks exceed their limit.
///
/// Runs inside the publish that exceeded the limit, so the limit holds under any load.
pub(crate) fn keep_to_limit(shared: &Arc<Shared>) {
    if shared.ledger.is_over(Group::Tasks) {
        make_room(shared);
    }
}

#[cold]
fn make_room(shared: &Arc<Shared>) {
    let limit = shared.ledger.limits().tasks;
    let mut exhausted = match shared.room.exhausted.try_lock() {
        Some(exhausted) => exhausted,
        // Another publisher makes room. Continue up to this amount, and wait beyond it.
        // Otherwise there would be no limit.
        None if shared.ledger.held(Group::Tasks) <= limit + limit / 16 => return,
        None => shared.room.exhausted.lock(),
    };
    if !shared.ledger.is_over(Group::Tasks) {
        return;
    }
    let now = Instant::now();
    let held = shared.ledger.held(Group::Tasks);
    let ask_all = exhausted.is_none_or(|since| since.is_over(now, held, limit));
    let target = limit - limit / PART;
    loop {
        let over_share = match ask_all {
            true => shared.ledger.over_share(Group::Tasks),
            false => Vec::new(),
        };
        let harmless = shared.room.lock().harmless();
        match take_in_order(shared, plan(&harmless, &over_share), target) {
            Taken::Enough => *exhausted = None,
            // In the meantime, others publish into lanes that were empty before.
            Taken::Some => continue,
            Taken::Nothing if ask_all => {
                let held = shared.ledger.held(Group::Tasks);
                *exhausted = Some(Exhausted { at: now, held });
            }
            Taken::Nothing => {}
        }
        break;
    }
}

/// Evicts in the given order, until the tasks hold at most `target` bytes.
fn take_in_order(shared: &Arc<Shared>, steps: Vec<Step>, target: u64) -> Taken {
    let mut taken = Taken::Nothing;
    for (account, lanes) in steps {
        loop {
            if shared.ledger.held(Group::Tasks) <= target {
                #[cfg(test)]
                shared.room.pass(Point::Enough);
                return Taken::Enough;
            }
            let popped = shared.room.lock().pop(&account, lanes);
            let Some((place, task)) = popped else { break };
            taken = Taken::Some;
            if let Some(task) = task.upgrade() {
                take_back(shared, &task, &place);
            }
        }
    }
    taken
}

/// Evicts the next part of a task, unless the task has had an event in the meantime.
fn take_back(shared: &Arc<Shared>, task: &Arc<Task>, place: &Place) {
    #[cfg(test)]
    shared.room.looked.fetch_add(1, Ordering::Relaxed);
    let mut rules = task.lock_rules();
    if rules.place.as_ref() != Some(place) {
        return;
    }
    rules.place = None;
    let ended = rules.finished.is_some();
    let by_events = matches!(place.lane, Lane::EndedEvents | Lane::RunningEvents);
    let lane = Lane::of(ended, by_events);
    if rules.touched > place.touched() || lane != place.lane {
        shared.room.place(task, &mut rules, lane);
        return;
    }
    if by_events {
        drop_events(shared, task);
        forget_outputs(task);
        if task.topic().lock().retained_events() == 0 {
            shared.room.place(task, &mut rules, Lane::of(ended, false));
        }
        return;
    }
    drop(rules);
    #[cfg(test)]
    shared.room.pass(Point::TakeWhole);
    take_whole(shared, task);
}

/// Evicts a whole task: from memory if a store keeps it, and otherwise for good. A task that
/// must stay is in no lane until its next event, or until
/// [`place_again`](place_again).
fn take_whole(shared: &Arc<Shared>, task: &Arc<Task>) {
    if shared.interest.is_some() {
        leave::release(shared, task);
    } else if shared.store.is_some() {
        leave::shelve(shared, task);
    } else if task.topic().keeper_count() == 0 {
        // An event in the meantime has put the task back into the order.
        life::discard_if(shared, task, |rules| rules.place.is_none());
        life::forget_empty(shared, task);
    }
}

/// Drops the events of a task that may leave memory.
pub(crate) fn drop_events(shared: &Shared, task: &Task) {
    let mut log = task.topic().lock();
    let dropped = log.drop_saved();
    shared
        .counters
        .dropped
        .fetch_add(dropped, Ordering::Relaxed);
    log.recount();
}

/// Forgets the text of a task's outputs, except the text in its snapshot.
fn forget_outputs(task: &Task) {
    let mut log = task.topic().lock();
    log.outputs.forget_text();
    log.recount();
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
        // This is enough memory for the tasks, but only for a few of their events.
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

    /// Creates a bus with so little memory that a few tasks fill it.
    fn small_bus() -> EventBus {
        let config = BusConfig::default().total_bytes(256 * 1024);
        EventBus::new(config.clients_bytes(Some(0))).unwrap()
    }

    fn numbered(n: u64) -> TaskId {
        TaskId::new(format!("task-{n}")).unwrap()
    }

    /// Publishes without a runtime, as another thread would.
    fn publish_from_outside(bus: &EventBus, task: &TaskId, message: &str) {
        let event = NewEvent::progress(1.0, message);
        futures_util::FutureExt::now_or_never(bus.publish(task, event))
            .expect("a bus in memory has nothing to wait for")
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_comes_just_after_room_was_made_does_not_end_the_bound() {
        let bus = small_bus();
        let message = "x".repeat(2_000);
        let other = bus.clone();
        let more = message.clone();
        let act = move || publish_from_outside(&other, &numbered(1_000_000), &more);
        *bus.shared.room.between.lock().unwrap() = Some((Point::Enough, Box::new(act)));
        for n in 0..500 {
            bus.progress(&numbered(n), 1.0, &message).await.unwrap();
            let held = bus.shared.ledger.held(Group::Tasks);
            // The one event of the other publisher comes on top of the limit.
            assert!(held <= 272 * 1024, "{held} bytes after publish {n}");
        }
        assert!(bus.shared.room.between.lock().unwrap().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_with_an_event_that_comes_while_it_is_taken_stays() {
        let bus = small_bus();
        let running = numbered(1_000_000);
        bus.task_started(&running, "work").await.unwrap();
        let mut n = 0;
        // The events of the oldest task go first, then the whole task.
        while bus.task(&running).unwrap().topic().lock().retained_events() > 0 {
            bus.task_started(&numbered(n), "work").await.unwrap();
            n += 1;
        }
        let (other, id) = (bus.clone(), running.clone());
        let act = move || publish_from_outside(&other, &id, "still at it");
        *bus.shared.room.between.lock().unwrap() = Some((Point::TakeWhole, Box::new(act)));
        while bus.shared.room.between.lock().unwrap().is_some() {
            bus.task_started(&numbered(n), "work").await.unwrap();
            n += 1;
        }
        assert_eq!(bus.snapshot(&running).unwrap().offset.get(), 2);
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
