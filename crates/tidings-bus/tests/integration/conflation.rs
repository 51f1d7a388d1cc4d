//! What a lagging subscriber may miss is skipped and named; nothing else is.
#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

use crate::support::{self, check_to, id, limited, next, step};
use tidings_bus::protocol::{EventClass, Gap, GapReason, NewEvent};
use tidings_bus::{BusConfig, Delivery, EventBus, Filter, SkipPolicy, Subscription};
use tidings_testkit::Checker;

/// An event for each letter: progress, log, output, and something essential.
fn of(letter: char) -> NewEvent {
    match letter {
        'p' => NewEvent::progress(50.0, None),
        'l' => NewEvent::log("line"),
        'o' => NewEvent::output_delta("out", "text"),
        'E' => step(0),
        other => panic!("no event for {other:?}"),
    }
}

async fn publish(bus: &EventBus, letters: &str) {
    for letter in letters.chars() {
        bus.publish(&id("t"), of(letter)).await.unwrap();
    }
}

fn behind(bus: &EventBus, behind: u64) -> Subscription {
    bus.subscribe(Filter::task(id("t")).skip(SkipPolicy { behind }))
}

/// Offsets and `from..to` of gaps, up to the head, all checked.
async fn read(subscription: &mut Subscription, head: u64) -> Vec<String> {
    let mut checker = Checker::from(1);
    let mut seen = Vec::new();
    while checker.expected().unwrap() <= head {
        let delivery = next(subscription).await;
        support::check(&mut checker, &delivery);
        seen.push(match delivery {
            Delivery::Event(event) => event.offset().to_string(),
            Delivery::Gap { gap, snapshot, .. } => {
                assert_eq!(gap.reason, GapReason::Conflated);
                assert!(
                    snapshot.is_none(),
                    "nothing that the next events do not say"
                );
                format!("{}..{}", gap.from, gap.to)
            }
        });
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn what_may_be_skipped_is_and_each_gap_says_exactly_what() {
    let table: [(&str, u64, &[&str]); 9] = [
        // Adjacent progress: the last of the run.
        ("pppE", 1, &["1..2", "3", "4"]),
        ("pEpE", 1, &["1", "2", "3", "4"]),
        // Logs and output go altogether.
        ("lloE", 1, &["1..3", "4"]),
        ("ElEoE", 1, &["1", "2..2", "3", "4..4", "5"]),
        // Progress that something else follows is not superseded by what comes after that.
        ("pplpE", 1, &["1..1", "2", "3..3", "4", "5"]),
        // Nothing is skipped within the newest two, three, five.
        ("pppp", 2, &["1..2", "3", "4"]),
        ("llll", 3, &["1..1", "2", "3", "4"]),
        ("llppp", 5, &["1", "2", "3", "4", "5"]),
        // One more than that behind is behind.
        ("lllppp", 5, &["1..1", "2", "3", "4", "5", "6"]),
    ];
    for (letters, newest, due) in table {
        let bus = support::bus();
        let mut watching = behind(&bus, newest);
        publish(&bus, letters).await;
        assert_eq!(
            read(&mut watching, letters.len() as u64).await,
            due,
            "{letters} {newest}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn one_who_keeps_up_gets_everything() {
    let bus = support::bus();
    let mut watching = behind(&bus, 1);
    for letter in "pplloopE".chars().cycle().take(200) {
        bus.publish(&id("t"), of(letter)).await.unwrap();
        assert!(matches!(next(&mut watching).await, Delivery::Event(_)));
    }
    assert_eq!(bus.stats().gaps.conflated, 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_nothing_is_skipped_and_the_buss_own_is_the_default() {
    let letters = "pl".repeat(500);
    let bus = EventBus::new(limited(10_000)).unwrap();
    let mut watching = bus.subscribe(id("t"));
    publish(&bus, &letters).await;
    let due: Vec<u64> = (1..=1_000).collect();
    assert_eq!(support::offsets(&mut watching, 1_000).await, due);

    let config = BusConfig::default().skip(SkipPolicy { behind: 2 });
    let bus = EventBus::new(config).unwrap();
    let mut watching = bus.subscribe(id("t"));
    publish(&bus, "llll").await;
    assert_eq!(read(&mut watching, 4).await, ["1..2", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn a_random_log_is_skipped_as_the_rule_says() {
    let seed = support::seed();
    let mut rng = fastrand::Rng::with_seed(seed);
    for round in 0..60 {
        let bus = EventBus::new(limited(100_000)).unwrap();
        let newest = rng.u64(1..50);
        let mut watching = behind(&bus, newest);
        let head = rng.u64(1..600);
        // Long runs and short ones.
        let mut letters = Vec::new();
        while letters.len() < head as usize {
            let letter = rng.choice(['p', 'p', 'l', 'o', 'E']).unwrap();
            letters.extend(std::iter::repeat_n(letter, rng.usize(1..12)));
        }
        letters.truncate(head as usize);
        let mut classes = Vec::new();
        for letter in &letters {
            let event = of(*letter);
            classes.push(event.event_type.class());
            bus.publish(&id("t"), event).await.unwrap();
        }

        let skipped = |offset: u64| {
            let class = |offset: u64| classes.get(offset as usize - 1).copied();
            let superseded = class(offset + 1) == Some(EventClass::Conflatable);
            offset + newest <= head
                && match class(offset).unwrap() {
                    EventClass::Droppable => true,
                    EventClass::Conflatable => superseded,
                    EventClass::Essential => false,
                }
        };
        let mut checker = Checker::from(1);
        let seen: Vec<u64> = check_to(&mut checker, &mut watching, head)
            .await
            .iter()
            .map(|event| event.offset().get())
            .collect();
        let due: Vec<u64> = (1..=head).filter(|offset| !skipped(*offset)).collect();
        assert_eq!(seen, due, "seed {seed}, round {round}");
        for gap in checker.gaps() {
            assert_eq!(
                gap.reason,
                GapReason::Conflated,
                "seed {seed}, round {round}"
            );
        }
        assert_eq!(bus.stats().gaps.conflated, checker.gaps().len() as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_retained_is_an_overrun_and_what_is_left_is_conflated() {
    let bus = EventBus::new(limited(20)).unwrap();
    let mut watching = behind(&bus, 5);
    publish(&bus, &"l".repeat(100)).await;
    let mut checker = Checker::from(1);
    let events = check_to(&mut checker, &mut watching, 100).await;
    let gap = |from, to, reason| Gap {
        from: support::offset(from),
        to: support::offset(to),
        reason,
    };
    assert_eq!(
        checker.gaps(),
        [
            gap(1, 80, GapReason::Overrun),
            gap(81, 95, GapReason::Conflated)
        ]
    );
    assert_eq!(events.len(), 5);
}
