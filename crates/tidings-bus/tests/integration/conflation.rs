//! A lagging subscriber gets adjacent updates merged, and logs named in a gap. Its
//! state is the task's own all the same.
#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

use std::collections::HashMap;
use std::sync::Arc;

use crate::support::{self, check_to, id, limited, next, step};
use tidings_bus::protocol::{Data, EventType, Gap, GapReason, NewEvent, Since, TaskSnapshot};
use tidings_bus::{BusConfig, Delivery, EventBus, Filter, MemoryStore, SkipPolicy, Subscription};
use tidings_testkit::{Checker, StateChecker};

/// An event for each letter: progress, log, output, and something essential.
fn of(letter: char) -> NewEvent {
    match letter {
        'p' => NewEvent::progress(50.0, None),
        'l' => NewEvent::log("line"),
        'o' => NewEvent::output_delta("out", "text"),
        'q' => NewEvent::output_delta("another", "text"),
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
    bus.subscribe(Filter::task(id("t")).skip(SkipPolicy::behind(behind)))
}

/// Returns offsets, `from-to` for merged events and `from..to` for gaps, up to the head. All
/// are checked.
async fn read(subscription: &mut Subscription, head: u64) -> Vec<String> {
    let mut checker = Checker::from(1);
    let mut seen = Vec::new();
    while checker.expected().unwrap() <= head {
        let delivery = next(subscription).await;
        support::check(&mut checker, &delivery);
        seen.push(match delivery {
            Delivery::Event(event) if event.first_offset() < event.offset() => {
                format!("{}-{}", event.first_offset(), event.offset())
            }
            Delivery::Event(event) => event.offset().to_string(),
            Delivery::Gap { gap, snapshot, .. } => {
                assert_eq!(gap.reason, GapReason::Conflated);
                assert!(
                    snapshot.is_none(),
                    "nothing that the next events do not say"
                );
                format!("{}..{}", gap.from, gap.to)
            }
            other => panic!("{other:?}"),
        });
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn what_may_be_skipped_is_and_each_gap_says_exactly_what() {
    let table: [(&str, u64, &[&str]); 12] = [
        // Adjacent progress becomes one event, and adjacent output becomes one event.
        ("pppE", 1, &["1-3", "4"]),
        ("oooE", 1, &["1-3", "4"]),
        ("ppooE", 1, &["1-2", "3-4", "5"]),
        ("oqoqE", 1, &["1", "2", "3", "4", "5"]),
        ("pEpE", 1, &["1", "2", "3", "4"]),
        // All logs are skipped.
        ("lloE", 1, &["1..2", "3", "4"]),
        ("ElEoE", 1, &["1", "2..2", "3", "4", "5"]),
        // An event between two updates keeps them apart.
        ("pplpE", 1, &["1-2", "3..3", "4", "5"]),
        // Nothing is merged or skipped within the newest two, three, five.
        ("pppp", 2, &["1-2", "3", "4"]),
        ("llll", 3, &["1..1", "2", "3", "4"]),
        ("llppp", 5, &["1", "2", "3", "4", "5"]),
        // A cursor lags only beyond that number of events.
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

    let config = BusConfig::default().skip(SkipPolicy::behind(2));
    let bus = EventBus::new(config).unwrap();
    let mut watching = bus.subscribe(id("t"));
    publish(&bus, "llll").await;
    assert_eq!(read(&mut watching, 4).await, ["1..2", "3", "4"]);
}

/// Any event that changes the state.
fn random(rng: &mut fastrand::Rng, letter: char) -> NewEvent {
    match letter {
        'p' => match rng.u8(0..4) {
            0 => NewEvent::progress(rng.f64() * 100.0, None),
            1 => NewEvent::progress(rng.f64() * 100.0, &*rng.u16(..).to_string()),
            2 => NewEvent::progress_of(rng.f64() * 9.0, 9.0, None),
            _ => {
                let data = format!("{{\"current\":{}}}", rng.u8(0..9));
                let data = Data::parse(&data).unwrap();
                NewEvent::new(EventType::ProgressUpdate, data)
            }
        },
        'o' => NewEvent::output_delta("out", "wört ".repeat(rng.usize(1..400))),
        'q' => NewEvent::output_delta("another", rng.u16(..).to_string()),
        'S' => NewEvent::task_stalled(),
        other => of(other),
    }
}

/// After each event, the folded state of a subscriber is the server's state at that offset.
/// This holds for any events and any lag.
#[tokio::test(start_paused = true)]
async fn the_state_of_a_random_log_is_the_tasks_own() {
    let seed = support::seed();
    let mut rng = fastrand::Rng::with_seed(seed);
    for round in 0..40 {
        let retained = *rng.choice(&[20, 100, 100_000]).unwrap();
        let bus = EventBus::new(limited(retained)).unwrap();
        let mut watching = behind(&bus, rng.u64(1..50));
        let mut folded = StateChecker::default();
        folded.snapshot(&bus.task(&id("t")).unwrap().snapshot());
        let mut checker = Checker::from(1);
        let mut states: HashMap<u64, Arc<TaskSnapshot>> = HashMap::new();
        let head = rng.u64(1..600);
        let mut at = 0;
        while at < head {
            let letters = ['p', 'p', 'l', 'o', 'o', 'q', 'E', 'S'];
            let letter = rng.choice(letters).unwrap();
            for _ in 0..rng.usize(1..12) {
                let event = random(&mut rng, letter);
                at = bus.publish(&id("t"), event).await.unwrap().offset.get();
                states.insert(at, bus.snapshot(&id("t")).unwrap());
            }
            // The subscriber reads sometimes, and never everything.
            while rng.u8(0..3) == 0 && checker.expected().unwrap() <= at {
                let delivery = next(&mut watching).await;
                support::check(&mut checker, &delivery);
                fold(&mut folded, &delivery, &states, (seed, round));
            }
        }
        while checker.expected().unwrap() <= at {
            let delivery = next(&mut watching).await;
            support::check(&mut checker, &delivery);
            fold(&mut folded, &delivery, &states, (seed, round));
        }
        folded.compare(&bus.snapshot(&id("t")).unwrap()).unwrap();
    }
}

fn fold(
    folded: &mut StateChecker,
    delivery: &Delivery,
    states: &HashMap<u64, Arc<TaskSnapshot>>,
    run: (u64, u32),
) {
    match delivery {
        Delivery::Event(record) => {
            let event = record.decode().unwrap();
            let checked = folded.event(&event);
            assert_eq!(checked, Ok(()), "{run:?}: {record:?}");
        }
        Delivery::Gap { snapshot, .. } => {
            if let Some(snapshot) = snapshot {
                folded.snapshot(snapshot);
            }
            return;
        }
        other => panic!("{other:?}"),
    }
    let offset = folded.state().unwrap().offset.get();
    let checked = folded.compare(&states[&offset]);
    assert_eq!(checked, Ok(()), "{run:?} at {offset}");
}

#[tokio::test(start_paused = true)]
async fn a_run_of_deltas_counts_as_one_event_for_retention() {
    let bus = EventBus::new(limited(10)).unwrap();
    publish(&bus, &"o".repeat(500)).await;
    assert_eq!(support::retained(&bus, &id("t")).await.len(), 500);
    publish(&bus, "EEEEEEEEE").await;
    assert_eq!(support::retained(&bus, &id("t")).await.len(), 509);
    publish(&bus, "E").await;
    let left: Vec<u64> = (501..=510).collect();
    assert_eq!(support::retained(&bus, &id("t")).await, left);
    publish(&bus, &"oq".repeat(20)).await;
    assert_eq!(support::retained(&bus, &id("t")).await.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn an_output_is_kept_whole_beside_the_snapshot() {
    let bus = support::bus();
    let mut whole = String::new();
    for n in 0..3_000 {
        let text = format!("word {n} and some more of it ");
        whole.push_str(&text);
        let event = NewEvent::output_delta("answer", text);
        bus.publish(&id("t"), event).await.unwrap();
    }
    let snapshot = bus.snapshot(&id("t")).unwrap();
    let output = &snapshot.outputs[0];
    assert!(output.start > 0 && snapshot.truncated);
    assert_eq!(output.length, whole.len() as u64);
    let answer = "answer".parse().unwrap();
    let read = bus.output(&id("t"), &answer, 0..u64::MAX).await;
    let read = read.unwrap().unwrap();
    assert_eq!((read.start, read.length), (0, whole.len() as u64));
    assert_eq!(read.bytes, whole.as_bytes());
    // A new run starts without it.
    for event in [
        NewEvent::task_completed(None),
        NewEvent::task_started("again"),
    ] {
        bus.publish(&id("t"), event).await.unwrap();
    }
    let read = bus.output(&id("t"), &answer, 0..9).await;
    assert_eq!(read.unwrap(), None);
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

/// Pages of history are merged like the events of a lagging subscriber, but contain every log.
/// Their fold is the task's state.
#[tokio::test(start_paused = true)]
async fn pages_of_history_are_merged_and_nothing_is_left_out() {
    for cold in [false, true] {
        let mut rng = fastrand::Rng::with_seed(19);
        let config = limited(if cold { 20 } else { 10_000 }).skip(SkipPolicy::behind(40));
        let bus = match cold {
            true => EventBus::open(config, Arc::new(MemoryStore::new())).await,
            false => Ok(EventBus::new(config).unwrap()),
        };
        let bus = bus.unwrap();
        let letters: String = (0..60)
            .map(|n| ["p", "o", "q", "l", "E"][n % 5].repeat(rng.usize(1..20)))
            .collect();
        let (mut checker, mut state) = (Checker::from(1), StateChecker::default());
        let task = bus.task_or_new(&id("t"));
        state.snapshot(&TaskSnapshot::new(id("t"), task.epoch()).into());
        publish(&bus, &letters).await;
        let (mut logs, mut merged) = (0, 0);
        let mut since = Since::Start;
        loop {
            let page = bus.history(&id("t"), Some(since), 7).await.unwrap();
            assert_eq!(page.gap, None);
            for event in &page.events {
                let from = event.first_offset().get();
                checker.merged(from, event.offset().get()).unwrap();
                state.event(&event.decode().unwrap()).unwrap();
                logs += usize::from(*event.event_type() == EventType::Log);
                merged += u64::from(from < event.offset().get());
            }
            if page.events.is_empty() {
                break;
            }
            assert_eq!(page.next.offset, page.events.last().unwrap().offset());
            since = page.next.into();
        }
        state.compare(&bus.snapshot(&id("t")).unwrap()).unwrap();
        assert_eq!(logs, letters.matches('l').count());
        assert!(merged > 20, "{merged}");
        assert!(checker.delivered() < letters.len() as u64 / 2);
    }
}

/// Subscribers keep up, lag, or stall until they lose events, over a million deltas. At the
/// head, the folded state is always the server's state.
#[tokio::test(start_paused = true)]
async fn a_million_deltas_amount_to_the_tasks_own_state() {
    let mut rng = fastrand::Rng::with_seed(support::seed());
    let bus = EventBus::new(limited(1_000)).unwrap();
    let start = bus.task_or_new(&id("t")).snapshot();
    let mut readers = [1, 64, u64::MAX].map(|newest| {
        let mut state = StateChecker::default();
        state.snapshot(&start);
        (behind(&bus, newest), Checker::from(1), state)
    });
    let (mut head, mut lost) = (0, 0);
    while head < 1_000_000 {
        for _ in 0..rng.usize(1..800) {
            let output = rng.choice(["a", "b", "c"]).unwrap();
            for _ in 0..rng.usize(1..40) {
                let delta = NewEvent::output_delta(output, "wört ");
                head = bus.publish(&id("t"), delta).await.unwrap().offset.get();
            }
        }
        let (watching, checker, state) = rng.choice(&mut readers).unwrap();
        while checker.expected().unwrap() <= head {
            let delivery = next(watching).await;
            support::check(checker, &delivery);
            match delivery {
                Delivery::Event(record) => state.event(&record.decode().unwrap()).unwrap(),
                Delivery::Gap { snapshot, .. } => {
                    state.snapshot(&snapshot.unwrap());
                    lost += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        state.compare(&bus.snapshot(&id("t")).unwrap()).unwrap();
    }
    assert!(lost > 0, "nobody has stalled for long enough");
}
