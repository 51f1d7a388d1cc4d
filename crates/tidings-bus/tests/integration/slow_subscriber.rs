//! A subscriber that does not read costs no memory, and every loss is reported.

use crate::support::{
    self, check, check_to, event, gap, id, keeping, next, offset, offsets, publish_to,
};
use tidings_bus::protocol::{Gap, GapReason, NewEvent};
use tidings_bus::{BusConfig, EventBus, Filter, LogLimits};
use tidings_testkit::Checker;

fn overrun(from: u64, to: u64) -> Gap {
    Gap {
        from: offset(from),
        to: offset(to),
        reason: GapReason::Overrun,
    }
}

#[tokio::test(start_paused = true)]
async fn it_costs_no_memory_and_others_are_not_held_up() {
    let limits = LogLimits {
        max_events: 100,
        max_bytes: 64 * 1024,
    };
    let bus = EventBus::new(BusConfig::default().log_limits(limits)).unwrap();
    let task = id("t");
    let mut idle: Vec<_> = (0..50).map(|_| bus.subscribe(&task)).collect();
    let mut fast = bus.subscribe(&task);
    let mut checker = Checker::from(1);
    for n in 0..20_000_u64 {
        bus.publish(&task, NewEvent::log(format!("line {n}")))
            .await
            .unwrap();
        check(&mut checker, &next(&mut fast).await);
        assert!(bus.stats().bytes <= 64 * 1024 + 1_024);
    }
    assert_eq!((checker.delivered(), checker.gaps().len()), (20_000, 0));
    for idle in &mut idle {
        assert_eq!(idle.lag(), 20_000);
        let (missing, snapshot) = gap(idle).await;
        assert_eq!(missing, overrun(1, 19_900), "it was there all the time");
        assert_eq!(snapshot.unwrap().offset.get(), 20_000);
        assert_eq!(
            offsets(idle, 100).await,
            (19_901..=20_000).collect::<Vec<_>>()
        );
        assert_eq!(idle.lag(), 0);
    }
    assert_eq!(bus.stats().gaps.overrun, 50);
}

#[tokio::test(start_paused = true)]
async fn it_is_told_each_time_that_it_is_overrun() {
    let bus = keeping(10);
    let task = id("t");
    let mut watching = bus.subscribe(&task);
    publish_to(&bus, &task, 2).await;
    assert_eq!(offsets(&mut watching, 2).await, [1, 2]);
    publish_to(&bus, &task, 40).await;
    let (missing, snapshot) = gap(&mut watching).await;
    assert_eq!(missing, overrun(3, 30));
    assert_eq!(snapshot.unwrap(), bus.snapshot(&task).unwrap());
    assert_eq!(event(&mut watching).await.offset().get(), 31);
    // The subscriber keeps the events that it has taken. The rest of the log has moved on.
    publish_to(&bus, &task, 200).await;
    let mut checker = Checker::from(32);
    check_to(&mut checker, &mut watching, 200).await;
    assert_eq!(checker.gaps().last(), Some(&overrun(41, 190)));
}

#[tokio::test(start_paused = true)]
async fn what_had_gone_before_it_came_is_expired_and_what_goes_after_is_overrun() {
    let bus = keeping(10);
    let task = id("t");
    publish_to(&bus, &task, 30).await;
    let late = Filter::task(task.clone()).since(tidings_bus::protocol::Since::Start);
    let mut watching = bus.subscribe(late);
    let (missing, _) = gap(&mut watching).await;
    assert_eq!(
        missing,
        Gap {
            reason: GapReason::Expired,
            ..overrun(1, 20)
        }
    );
    assert_eq!(
        offsets(&mut watching, 10).await,
        (21..=30).collect::<Vec<_>>()
    );
    publish_to(&bus, &task, 60).await;
    assert_eq!(gap(&mut watching).await.0, overrun(31, 50));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_of_one_task_is_told_of_its_own_gap_only() {
    let bus = keeping(10);
    let mut watching = bus.subscribe(Filter::everything());
    publish_to(&bus, &id("chatty"), 100).await;
    publish_to(&bus, &id("quiet"), 5).await;
    let mut tasks = std::collections::BTreeMap::new();
    for _ in 0..16 {
        let delivery = next(&mut watching).await;
        let task = match &delivery {
            tidings_bus::Delivery::Event(event) => event.task_id().unwrap().clone(),
            tidings_bus::Delivery::Gap { task_id, .. } => task_id.clone(),
            other => panic!("{other:?}"),
        };
        check(
            tasks.entry(task).or_insert_with(|| Checker::from(1)),
            &delivery,
        );
    }
    assert_eq!(tasks[&id("chatty")].gaps(), [overrun(1, 90)]);
    assert_eq!(tasks[&id("quiet")].gaps(), []);
    assert_eq!(tasks[&id("quiet")].delivered(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_of_every_speed_see_every_offset_or_its_gap() {
    let seed = support::seed();
    const HEAD: u64 = 20_000;
    let bus = keeping(200);
    let task = id("t");
    let mut readers = tokio::task::JoinSet::new();
    for reader in 0..16_u64 {
        let mut watching = bus.subscribe(&task);
        let mut rng = fastrand::Rng::with_seed(seed ^ reader);
        readers.spawn(async move {
            let mut checker = Checker::from(1);
            while checker.expected().unwrap() <= HEAD {
                check(&mut checker, &next(&mut watching).await);
                for _ in 0..rng.u64(0..=reader) {
                    tokio::task::yield_now().await;
                }
            }
            checker
        });
    }
    for n in 0..HEAD {
        bus.publish(&task, NewEvent::log(format!("line {n}")))
            .await
            .unwrap();
        if n.is_multiple_of(8) {
            tokio::task::yield_now().await;
        }
    }
    while let Some(checker) = readers.join_next().await {
        let checker = checker.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let missing: u64 = checker.gaps().iter().map(Gap::count).sum();
        assert_eq!(checker.delivered() + missing, HEAD, "seed {seed}");
    }
}
