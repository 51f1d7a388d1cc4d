//! The requests and the deliveries of subscribers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{
    self, bus, event, gap, id, keeping, offset, offsets, publish_to, quiet, reset, step,
};
use tidings_bus::protocol::{
    Epoch, EventType, Gap, GapReason, NewEvent, Pattern, Position, ResetReason, Since, TaskStatus,
};
use tidings_bus::watch::{Start, Task};
use tidings_bus::{
    Advance, Delivery, EventBus, Filter, Hold, PatternWatcher, PublishError, SkipPolicy, Step,
    Subscription, Topic, View, Watcher,
};
use tidings_testkit::{Checker, DEADLINE};

fn range(from: u64, to: u64, reason: GapReason) -> Gap {
    Gap {
        from: offset(from),
        to: offset(to),
        reason,
    }
}

async fn names(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..count {
        let event = event(subscription).await;
        names.push(format!("{}:{}", event.task_id().unwrap(), event.offset()));
    }
    names
}

async fn log(bus: &EventBus, task: &str) {
    bus.publish(&id(task), NewEvent::log("line")).await.unwrap();
}

fn after(bus: &EventBus, task: &str, seen: u64) -> Filter {
    let epoch = bus.task(&id(task)).unwrap().epoch();
    Filter::task(id(task)).since(Since::After(Position::new(epoch, offset(seen))))
}

#[tokio::test(start_paused = true)]
async fn by_task_gives_that_task_from_now_on() {
    let bus = bus();
    publish_to(&bus, &id("a"), 3).await;
    let mut watching = bus.subscribe(id("a"));
    let standing = watching.standing().unwrap();
    assert_eq!(standing.offset.get(), 3);
    assert_eq!(
        standing.snapshot.as_ref().unwrap().status,
        TaskStatus::Running
    );
    log(&bus, "b").await;
    publish_to(&bus, &id("a"), 5).await;
    assert_eq!(names(&mut watching, 2).await, ["a:4", "a:5"]);
    quiet(&mut watching).await;
}

#[tokio::test(start_paused = true)]
async fn by_prefix_gives_known_tasks_from_now_on_and_later_ones_from_offset_1() {
    let bus = bus();
    publish_to(&bus, &id("build-1"), 2).await;
    let mut watching = bus.subscribe(Pattern::new("build-*").unwrap());
    assert!(watching.standing().is_none());
    log(&bus, "render-1").await;
    log(&bus, "build-1").await;
    assert_eq!(names(&mut watching, 1).await, ["build-1:3"]);
    log(&bus, "build-2").await;
    log(&bus, "buil").await;
    log(&bus, "build-2").await;
    assert_eq!(names(&mut watching, 2).await, ["build-2:1", "build-2:2"]);
    quiet(&mut watching).await;
}

#[tokio::test(start_paused = true)]
async fn a_prefix_that_is_a_whole_id_matches_it_too() {
    let bus = bus();
    let mut watching = bus.subscribe(Pattern::new("build-1*").unwrap());
    for task in ["build-1", "build-10", "build-2"] {
        log(&bus, task).await;
    }
    let mut seen = names(&mut watching, 2).await;
    seen.sort();
    assert_eq!(seen, ["build-10:1", "build-1:1"]);
    quiet(&mut watching).await;
}

#[tokio::test(start_paused = true)]
async fn one_who_waits_for_a_pattern_is_woken_by_the_first_event_of_a_new_task() {
    let bus = bus();
    let mut watching = bus.subscribe(Filter::everything());
    let (told, mut seen) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        // No deadline here, because the subscriber would look again when it passes.
        while let Some(Delivery::Event(event)) = watching.recv().await {
            told.send(event.task_id().unwrap().to_string()).unwrap();
        }
    });
    for task in ["a", "b", "c"] {
        support::settle().await;
        log(&bus, task).await;
        let next = tokio::time::timeout(tidings_testkit::DEADLINE, seen.recv()).await;
        assert_eq!(next.expect("it is woken").as_deref(), Some(task));
    }
}

#[tokio::test(start_paused = true)]
async fn everything_gives_every_task() {
    let bus = bus();
    log(&bus, "known").await;
    let mut watching = bus.subscribe(Filter::everything());
    for task in ["a", "known", "Z", "~"] {
        log(&bus, task).await;
    }
    let mut seen = names(&mut watching, 4).await;
    seen.sort();
    assert_eq!(seen, ["Z:1", "a:1", "known:2", "~:1"]);
    quiet(&mut watching).await;
}

#[tokio::test(start_paused = true)]
async fn everything_with_since_0_brings_what_is_retained_of_every_task() {
    let bus = bus();
    publish_to(&bus, &id("a"), 2).await;
    publish_to(&bus, &id("b"), 1).await;
    let mut watching = bus.subscribe(Filter::everything().since(Since::Start));
    let mut seen = names(&mut watching, 3).await;
    seen.sort();
    assert_eq!(seen, ["a:1", "a:2", "b:1"]);
    quiet(&mut watching).await;
}

#[tokio::test(start_paused = true)]
async fn by_event_type_gives_only_those_and_gaps_all_the_same() {
    let bus = keeping(4);
    let task = id("t");
    let types = [
        EventType::TaskCompleted,
        EventType::new("render.frame").unwrap(),
    ];
    let frame = || NewEvent::new(EventType::new("render.frame").unwrap(), step(0).data);
    publish_to(&bus, &task, 6).await;
    let mut watching = bus.subscribe(
        Filter::task(task.clone())
            .event_types(types)
            .since(Since::Start),
    );
    bus.publish(&task, frame()).await.unwrap();
    log(&bus, "t").await;
    bus.publish(&task, NewEvent::task_completed(None))
        .await
        .unwrap();
    let (missing, snapshot) = gap(&mut watching).await;
    assert_eq!(missing, range(1, 5, GapReason::Expired));
    assert!(snapshot.is_some());
    assert_eq!(offsets(&mut watching, 2).await, [7, 9]);
    quiet(&mut watching).await;
}

#[tokio::test(start_paused = true)]
async fn history_gives_the_newest_so_many_and_then_goes_live() {
    let bus = keeping(10);
    let task = id("t");
    publish_to(&bus, &task, 15).await;
    for (asked, first) in [(0, 16), (3, 13), (10, 6), (100, 6)] {
        let mut watching = bus.subscribe(Filter::task(task.clone()).history(asked));
        assert_eq!(watching.standing().unwrap().offset.get(), 15);
        let due: Vec<u64> = (first..=15).collect();
        assert_eq!(
            offsets(&mut watching, due.len()).await,
            due,
            "history({asked})"
        );
        quiet(&mut watching).await;
    }
    let mut watching = bus.subscribe(Filter::task(task.clone()).history(2));
    publish_to(&bus, &task, 17).await;
    assert_eq!(offsets(&mut watching, 4).await, [14, 15, 16, 17]);
}

#[tokio::test(start_paused = true)]
async fn since_a_position_that_is_retained_gives_all_after_it_and_no_gap() {
    let bus = keeping(10);
    let task = id("t");
    publish_to(&bus, &task, 15).await;
    // 5 is gone, but a subscriber that has seen 5 misses nothing.
    for seen in [5, 9, 14, 15] {
        let mut watching = bus.subscribe(after(&bus, "t", seen));
        let due: Vec<u64> = (seen + 1..=15).collect();
        assert_eq!(offsets(&mut watching, due.len()).await, due, "since {seen}");
        quiet(&mut watching).await;
    }
    let mut watching = bus.subscribe(after(&bus, "t", 15));
    publish_to(&bus, &task, 16).await;
    assert_eq!(offsets(&mut watching, 1).await, [16]);
}

#[tokio::test(start_paused = true)]
async fn since_0_gives_all_that_is_retained() {
    let bus = keeping(10);
    publish_to(&bus, &id("t"), 8).await;
    let start = || Filter::task(id("t")).since(Since::Start);
    let mut watching = bus.subscribe(start());
    assert_eq!(offsets(&mut watching, 8).await, (1..=8).collect::<Vec<_>>());

    publish_to(&bus, &id("t"), 12).await;
    let mut watching = bus.subscribe(start());
    assert_eq!(gap(&mut watching).await.0, range(1, 2, GapReason::Expired));
    assert_eq!(
        offsets(&mut watching, 10).await,
        (3..=12).collect::<Vec<_>>()
    );

    // For an unknown task, this selects everything that will come.
    let mut watching = bus.subscribe(Filter::task(id("new")).since(Since::Start));
    quiet(&mut watching).await;
    log(&bus, "new").await;
    assert_eq!(offsets(&mut watching, 1).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn since_an_expired_position_gives_a_gap_with_the_state_and_then_the_rest() {
    let bus = keeping(5);
    publish_to(&bus, &id("t"), 20).await;
    let mut watching = bus.subscribe(after(&bus, "t", 7));
    let (missing, snapshot) = gap(&mut watching).await;
    assert_eq!(missing, range(8, 15, GapReason::Expired));
    assert_eq!(snapshot.unwrap(), bus.snapshot(&id("t")).unwrap());
    assert_eq!(offsets(&mut watching, 5).await, [16, 17, 18, 19, 20]);
    quiet(&mut watching).await;
    assert_eq!(bus.stats().gaps.expired, 1);
}

#[tokio::test(start_paused = true)]
async fn since_a_position_ahead_of_the_head_gives_a_reset_and_then_what_comes() {
    let bus = bus();
    publish_to(&bus, &id("t"), 4).await;
    let mut watching = bus.subscribe(after(&bus, "t", 9));
    let (reason, goes_on, snapshot) = reset(&mut watching).await;
    assert_eq!((reason, goes_on), (ResetReason::Ahead, 4));
    assert_eq!(snapshot.offset.get(), 4);
    quiet(&mut watching).await;
    publish_to(&bus, &id("t"), 6).await;
    assert_eq!(
        offsets(&mut watching, 2).await,
        [5, 6],
        "the claim was wrong: these are new"
    );
    assert_eq!(bus.stats().resets.ahead, 1);
}

#[tokio::test(start_paused = true)]
async fn since_another_epoch_gives_a_reset_and_a_gap_if_something_has_expired() {
    let bus = keeping(5);
    let other = |seen| Since::After(Position::new(Epoch::new("other").unwrap(), offset(seen)));
    publish_to(&bus, &id("whole"), 3).await;
    let mut watching = bus.subscribe(Filter::task(id("whole")).since(other(2)));
    let (reason, goes_on, snapshot) = reset(&mut watching).await;
    let changed = (ResetReason::EpochChanged, 0);
    assert_eq!((reason, goes_on), changed, "all of it follows");
    assert_eq!(snapshot.offset.get(), 3);
    assert_eq!(offsets(&mut watching, 3).await, [1, 2, 3]);

    publish_to(&bus, &id("part"), 12).await;
    let mut watching = bus.subscribe(Filter::task(id("part")).since(other(40)));
    let (reason, goes_on, snapshot) = reset(&mut watching).await;
    assert_eq!((reason, goes_on), changed);
    assert_eq!(snapshot.offset.get(), 12);
    let (missing, snapshot) = gap(&mut watching).await;
    assert_eq!(missing, range(1, 7, GapReason::Expired));
    assert_eq!(snapshot.unwrap().offset.get(), 12);
    assert_eq!(offsets(&mut watching, 5).await, [8, 9, 10, 11, 12]);

    // This bus does not know the task. The subscriber is told so.
    let mut watching = bus.subscribe(Filter::task(id("unknown")).since(other(40)));
    let (reason, goes_on, snapshot) = reset(&mut watching).await;
    assert_eq!((reason, goes_on), changed);
    assert_eq!(snapshot.status, TaskStatus::Pending);
    log(&bus, "unknown").await;
    assert_eq!(offsets(&mut watching, 1).await, [1]);
    assert_eq!(bus.stats().resets.epoch_changed, 3);
}

#[tokio::test(start_paused = true)]
async fn watching_a_task_does_not_declare_it_and_leaving_leaves_nothing_behind() {
    let bus = bus();
    let watching = bus.subscribe(id("undeclared"));
    let also = bus.subscribe(Filter::task(id("undeclared")).since(Since::Start));
    assert_eq!(bus.stats().tasks, 1);
    assert!(bus.snapshot(&id("undeclared")).is_none());
    assert!(bus.list("", None, None, 10).is_empty());
    drop(watching);
    assert_eq!(bus.stats().tasks, 1, "someone still watches");
    drop(also);
    assert_eq!((bus.stats().tasks, bus.stats().bytes), (0, 0));

    let everything = bus.subscribe(Filter::everything());
    drop(bus.subscribe(id("passing")));
    drop(everything);
    assert_eq!((bus.stats().tasks, bus.stats().bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refused_first_event_leaves_no_task_behind() {
    let bus = bus();
    let progress = NewEvent::progress(101.0, None);
    assert!(matches!(
        bus.publish(&id("t"), progress).await,
        Err(PublishError::Invalid(_))
    ));
    assert_eq!((bus.stats().tasks, bus.stats().bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn dropping_a_subscription_detaches_it_from_every_task() {
    let bus = bus();
    for task in ["a", "b"] {
        log(&bus, task).await;
    }
    let watching = bus.subscribe(Filter::everything());
    let count = |task: &str| bus.task(&id(task)).unwrap().topic().watcher_count();
    assert_eq!((count("a"), count("b")), (1, 1));
    drop(watching);
    assert_eq!((count("a"), count("b")), (0, 0));
    log(&bus, "c").await;
    assert_eq!(count("c"), 0, "and none that appears later is watched");
}

#[tokio::test(start_paused = true)]
async fn the_stream_ends_at_shutdown_after_what_was_published_before() {
    let bus = bus();
    let mut watching = bus.subscribe(id("t"));
    let mut everything = bus.subscribe(Filter::everything());
    let waiting = tokio::spawn({
        let mut watching = bus.subscribe(id("quiet"));
        async move { watching.recv().await.is_none() }
    });
    publish_to(&bus, &id("t"), 3).await;
    support::settle().await;
    bus.shutdown().await;
    assert_eq!(offsets(&mut watching, 3).await, [1, 2, 3]);
    assert!(watching.recv().await.is_none());
    assert_eq!(offsets(&mut everything, 3).await, [1, 2, 3]);
    assert!(everything.recv().await.is_none());
    assert!(everything.recv().await.is_none(), "and stays ended");
    let ended = tokio::time::timeout(tidings_testkit::DEADLINE, waiting).await;
    assert!(
        ended.expect("the end in time").unwrap(),
        "one who waits learns of it"
    );
    assert!(matches!(
        bus.publish(&id("t"), NewEvent::log("late")).await,
        Err(PublishError::Closed)
    ));
}

#[tokio::test(start_paused = true)]
async fn what_is_published_right_before_a_shutdown_comes_before_the_end() {
    let bus = bus();
    let mut watching = bus.subscribe(id("t"));
    publish_to(&bus, &id("t"), 2).await;
    // The pass has offered those two events, and does not return for the rest.
    support::settle().await;
    publish_to(&bus, &id("t"), 200).await;
    bus.shutdown().await;
    let all: Vec<_> = (1..=200).collect();
    assert_eq!(offsets(&mut watching, 200).await, all);
    assert!(watching.recv().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn subscribers_on_all_threads_get_everything_in_order() {
    const EVENTS: u64 = 40_000;
    const PUBLISHERS: u64 = 2;
    let bus = support::keeping(EVENTS);
    let mut running = tokio::task::JoinSet::new();
    for subscriber in 1..=8 {
        let mut watching = bus.subscribe(id("t"));
        running.spawn(async move {
            let mut checker = Checker::from(1);
            while checker.delivered() < EVENTS {
                let delivery = tokio::time::timeout(DEADLINE, watching.recv()).await;
                support::check(&mut checker, &delivery.expect("an event in time").unwrap());
                // Some subscribers are quick, and some fall behind for a moment.
                if checker.delivered().is_multiple_of(subscriber * 97) {
                    tokio::task::yield_now().await;
                }
            }
            assert!(checker.gaps().is_empty());
        });
    }
    for publisher in 1..=PUBLISHERS {
        let bus = bus.clone();
        running.spawn(async move {
            for number in 0..EVENTS / PUBLISHERS {
                log(&bus, "t").await;
                // Bursts of all lengths, so that a pass can come between any two events.
                if number.is_multiple_of(number % 61 + publisher) {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn lag_is_how_far_behind_a_subscription_is() {
    let bus = bus();
    let mut watching = bus.subscribe(Filter::everything());
    publish_to(&bus, &id("a"), 3).await;
    publish_to(&bus, &id("b"), 2).await;
    // The pass announces new tasks to the subscriber.
    support::settle().await;
    assert_eq!(watching.lag(), 5);
    for _ in 0..5 {
        event(&mut watching).await;
    }
    assert_eq!(watching.lag(), 0);
}

/// Panics when a task is announced, and at every event.
struct Panics;

impl Watcher for Panics {
    fn advance(&self, _: usize, _: &Arc<Topic>, _: &mut View) -> Advance {
        panic!("as it was told to")
    }
}

impl PatternWatcher for Panics {
    fn discovered(&self, _: usize, task: &Arc<Task>) {
        task.topic().attach(Arc::new(Panics), 0, Hold::Follows);
        panic!("as it was told to")
    }
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_panics_takes_nobody_along() {
    let bus = bus();
    let (_, there) = bus.watch_pattern(&Pattern::everything(), Arc::new(Panics), 0);
    assert!(there.is_empty());
    let mut watching = bus.subscribe(Filter::everything());
    for n in 1..=3 {
        bus.publish(&id("t"), step(n)).await.unwrap();
        assert_eq!(event(&mut watching).await.offset().get(), n);
    }
    bus.publish(&id("another"), step(1)).await.unwrap();
    assert_eq!(event(&mut watching).await.task_id(), Some(&id("another")));
}

#[tokio::test(start_paused = true)]
async fn the_id_of_a_pattern_that_is_gone_detaches_no_other() {
    let bus = bus();
    let watch = || {
        bus.watch_pattern(&Pattern::everything(), Arc::new(Panics), 0)
            .0
    };
    let first = watch();
    bus.unwatch_pattern(first);
    // In the same slot.
    let mut watching = bus.subscribe(Filter::everything());
    bus.unwatch_pattern(first);
    bus.publish(&id("t"), step(1)).await.unwrap();
    assert_eq!(event(&mut watching).await.offset().get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_steps_on_an_empty_page() {
    let bus = bus();
    publish_to(&bus, &id("t"), 3).await;
    let task = bus.task(&id("t")).unwrap();
    let joined = task.topic().join(&Start::Retained);
    let mut cursor = joined.cursor;
    let mut empty = View::default();
    let step = cursor.step(task.topic(), &mut empty, SkipPolicy::NEVER);
    assert_eq!(step, Step::Events { from: 1, to: 3 });
    bus.remove(&id("t")).await.unwrap();
    publish_to(&bus, &id("t"), 1).await;
    let task = bus.task(&id("t")).unwrap();
    let mut empty = View::default();
    let step = cursor.step(task.topic(), &mut empty, SkipPolicy::NEVER);
    assert!(!matches!(step, Step::CaughtUp | Step::Cold), "{step:?}");
}

#[tokio::test]
async fn a_loop_of_publishes_and_one_of_deliveries_let_others_run() {
    let bus = bus();
    let others = Arc::new(AtomicUsize::new(0));
    let ran = Arc::clone(&others);
    tokio::spawn(async move {
        loop {
            ran.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let mut watching = bus.subscribe(id("t"));
    for n in 0..900 {
        bus.publish(&id("t"), step(n)).await.unwrap();
    }
    let meanwhile = others.load(Ordering::Relaxed);
    assert!(meanwhile > 0, "while it was published");
    for _ in 0..900 {
        watching.recv().await.unwrap();
    }
    let read = others.load(Ordering::Relaxed);
    assert!(read > meanwhile, "while it was read");
    for n in 0..900 {
        let task = bus.begin(format!("begun-{n}")).start().await.unwrap();
        drop(task);
    }
    assert!(others.load(Ordering::Relaxed) > read, "while tasks began");
}

#[tokio::test]
async fn a_watch_begins_with_the_state_of_each_task_and_keeps_it() {
    let bus = bus();
    let (old, new) = (id("w-old"), id("w-new"));
    let started = NewEvent::task_started("t");
    bus.publish(&old, started.clone()).await.unwrap();
    let mut one = bus.watch(&old);
    let mut all = bus.watch("w-*".parse::<Pattern>().unwrap());
    bus.publish(&old, NewEvent::progress(40.0, None))
        .await
        .unwrap();
    bus.publish(&new, started).await.unwrap();
    for watch in [&mut one, &mut all] {
        let first = watch.recv().await.unwrap();
        assert!(matches!(&first, Delivery::Snapshot(state) if state.offset.get() == 1));
        assert_eq!(watch.state(&old).unwrap().progress, None);
    }
    let update = one.recv().await.unwrap();
    assert!(matches!(&update, Delivery::Event(event) if event.offset().get() == 2));
    assert_eq!(one.state(&old).unwrap().progress, Some(40.0));
    // A task that appears also begins with its state.
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let update = all.recv().await.unwrap();
        let is_state = update.snapshot().is_some();
        seen.push((update.task_id().cloned().unwrap(), is_state));
    }
    let of_new: Vec<_> = seen.iter().filter(|(task, _)| *task == new).collect();
    assert_eq!(of_new, [&(new.clone(), true), &(new.clone(), false)]);
    assert_eq!(all.state(&new).unwrap().run, 1);
    bus.remove(&new).await.unwrap();
    let gone = all.recv().await.unwrap();
    assert!(matches!(gone, Delivery::Removed { task_id } if task_id == new));
    assert!(all.state(&new).is_none());
}
