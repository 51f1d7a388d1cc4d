//! What does durability cost, and how long does a start take?
//!
//! `cargo bench --bench store` measures in one process, in interleaved rounds, and prints each
//! number with its comparison:
//! * the duration of a bare sync on this disk;
//! * publishes per second with each sync mode, compared with memory alone;
//! * fan-out to 1,000 subscribers of one task with each sync mode, compared with memory alone;
//! * acknowledged publishes per second in `every-commit` with 1, 16 and 256 publishers, to a task
//!   each and to one task. This shows how well publishers share a sync;
//! * a start with 1,000,000 events in 10,000 tasks, compared with the time in which the engine
//!   alone opens the same directory;
//! * reading a history that is not in memory, in MB/s.
//!
//! `cargo bench --bench store -- --only=group` runs one part alone. The others are `publish`,
//! `fanout`, `start` and `history`.

#![allow(missing_docs, reason = "a program that prints")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidings_bus::{
    Append, BusConfig, Clock, Delivery, EventBus, Filter, Store, StoredEvent, SystemClock,
};
use tidings_protocol::{
    Epoch, Event, NewEvent, Offset, Payload, Since, TaskId, TaskSnapshot, encode_event,
};
use tidings_store::{DiskStore, StoreConfig, Sync};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::support::report::median;
use crate::support::results;

const ROUNDS: usize = 3;
/// More rounds, because these numbers depend on the speed of the disk at the moment.
const GROUP_ROUNDS: usize = 5;
const SUBSCRIBERS: usize = 1_000;
const FANOUT_EVENTS: u64 = 5_000;
/// The number of publishes that some subscribers may not have received yet.
const IN_FLIGHT: u64 = 64;
const GROUP: Duration = Duration::from_millis(1_000);
const PUBLISH: Duration = Duration::from_millis(700);
const PUBLISHERS: usize = 16;
const SYNCS: u32 = 500;
const TASKS: u64 = 10_000;
const EVENTS_A_TASK: u64 = 100;
const HISTORY: u64 = 200_000;

fn id(text: &str) -> TaskId {
    text.parse().unwrap()
}

fn event(n: u64) -> NewEvent {
    NewEvent::progress((n % 100) as f64, "x".repeat(75).as_str())
}

async fn open(path: &Path, sync: Sync) -> EventBus {
    let (store, _) = DiskStore::open(path, StoreConfig::default().sync(sync))
        .await
        .unwrap();
    EventBus::open(BusConfig::default(), Arc::new(store))
        .await
        .unwrap()
}

/// The directory of the data: next to the build, on an ordinary disk.
fn scratch() -> PathBuf {
    let path = results::directory().join("store-bench");
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Returns the deliveries per second, from the first publish until all subscribers have the last
/// event. No subscriber may lag too far, because memory would drop events that a disk still has.
async fn fanout(bus: &EventBus) -> f64 {
    let task = id("fanout");
    let delivered = Arc::new(AtomicU64::new(0));
    let mut subscribers = JoinSet::new();
    for _ in 0..SUBSCRIBERS {
        let mut watching = bus.subscribe(&task);
        let delivered = Arc::clone(&delivered);
        subscribers.spawn(async move {
            for expected in 1..=FANOUT_EVENTS {
                match watching.recv().await {
                    Some(Delivery::Event(event)) => assert_eq!(event.offset().get(), expected),
                    other => panic!("{other:?}"),
                }
                delivered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let started = Instant::now();
    for n in 0..FANOUT_EVENTS {
        let all_have = n.saturating_sub(IN_FLIGHT) * SUBSCRIBERS as u64;
        while delivered.load(Ordering::Relaxed) < all_have {
            tokio::task::yield_now().await;
        }
        bus.publish(&task, event(n)).await.unwrap();
    }
    subscribers.join_all().await;
    (FANOUT_EVENTS * SUBSCRIBERS as u64) as f64 / started.elapsed().as_secs_f64()
}

fn measure_fanout(runtime: &Runtime, root: &Path) {
    let modes = [
        ("memory", None),
        ("os", Some(Sync::Os)),
        ("interval:50", Some(Sync::default())),
    ];
    let mut seen = vec![Vec::new(); modes.len()];
    for round in 0..2 * ROUNDS {
        for (at, (name, sync)) in modes.iter().enumerate() {
            let path = root.join(format!("fanout-{round}-{at}"));
            let rate = runtime.block_on(async {
                let bus = match sync {
                    None => EventBus::new(BusConfig::default()).unwrap(),
                    Some(sync) => open(&path, *sync).await,
                };
                let rate = fanout(&bus).await;
                assert!(bus.shutdown().await, "{name}: all of it is stored");
                rate
            });
            seen[at].push(rate);
        }
    }
    println!("\nfan-out to {SUBSCRIBERS} subscribers, deliveries/s and to memory");
    for (at, (name, _)) in modes.iter().enumerate() {
        let pairs = seen[at].iter().zip(&seen[0]);
        let ratio = median(pairs.map(|(own, memory)| own / memory));
        let rate = median(seen[at].iter().copied());
        println!("{name:<14}{rate:>14.0}{ratio:>8.2}");
        if *name == "interval:50" {
            results::record("store_interval_fanout_to_memory", ratio);
        }
    }
}

/// Returns how long a sync of an event's bytes takes on this disk, in microseconds.
fn measure_sync(root: &Path) -> f64 {
    let mut file = std::fs::File::create(root.join("syncs")).unwrap();
    let mut took = Vec::new();
    for _ in 0..SYNCS {
        file.write_all(&[b'x'; 512]).unwrap();
        let started = Instant::now();
        file.sync_data().unwrap();
        took.push(started.elapsed().as_secs_f64() * 1e6);
    }
    median(took.into_iter())
}

/// The tasks to which publishers publish.
#[derive(Clone, Copy, PartialEq)]
enum To {
    One,
    Each,
}

/// Returns the acknowledged publishes per second.
async fn group(bus: &EventBus, publishers: usize, to: To, time: Duration) -> f64 {
    let started = Instant::now();
    let mut running = JoinSet::new();
    for publisher in 0..publishers {
        let bus = bus.clone();
        running.spawn(async move {
            let task = match to {
                To::One => id(&format!("one-{publishers}")),
                To::Each => id(&format!("each-{publishers}-{publisher}")),
            };
            let mut count = 0;
            while started.elapsed() < time {
                bus.publish(&task, event(count)).await.unwrap();
                count += 1;
            }
            count
        });
    }
    let total: u64 = running.join_all().await.iter().sum();
    total as f64 / started.elapsed().as_secs_f64()
}

fn measure_group(runtime: &Runtime, root: &Path) {
    let loads = [
        (1, To::Each),
        (16, To::Each),
        (256, To::Each),
        (16, To::One),
        (256, To::One),
    ];
    let mut seen = vec![Vec::new(); loads.len()];
    let mut syncs = Vec::new();
    runtime.block_on(async {
        for round in 0..GROUP_ROUNDS {
            // Alternate with the rest, because the speed of a disk changes.
            syncs.push(measure_sync(root));
            let bus = open(&root.join(format!("group-{round}")), Sync::EveryCommit).await;
            for (at, (publishers, to)) in loads.into_iter().enumerate() {
                seen[at].push(group(&bus, publishers, to, GROUP).await);
            }
            assert!(bus.shutdown().await);
        }
    });
    let sync = median(syncs.into_iter());
    println!("\na sync of 512 bytes takes {sync:.0} \u{b5}s here");
    println!("every-commit, acknowledged publishes/s, to one publisher, and \u{b5}s each");
    for (at, (publishers, to)) in loads.into_iter().enumerate() {
        let pairs = seen[at].iter().zip(&seen[0]);
        let ratio = median(pairs.map(|(own, one)| own / one));
        let rate = median(seen[at].iter().copied());
        let where_to = match to {
            To::One => "one task",
            To::Each => "a task each",
        };
        println!(
            "{publishers:>4} publishers, {where_to:<12}{rate:>10.0}{ratio:>8.2}{:>8.1}",
            1e6 / rate
        );
        match (publishers, to) {
            (256, To::Each) => results::record("store_group_256_to_1", ratio),
            (256, To::One) => results::record("store_group_256_in_one_to_1", ratio),
            _ => {}
        }
    }
}

fn measure_publish(runtime: &Runtime, root: &Path) {
    let modes = [
        ("memory", None),
        ("os", Some(Sync::Os)),
        ("interval:50", Some(Sync::default())),
        ("every-commit", Some(Sync::EveryCommit)),
    ];
    let mut seen = vec![Vec::new(); modes.len()];
    for round in 0..ROUNDS {
        for (at, (name, sync)) in modes.iter().enumerate() {
            let path = root.join(format!("publish-{round}-{at}"));
            seen[at].push(runtime.block_on(async {
                let bus = match sync {
                    None => EventBus::new(BusConfig::default()).unwrap(),
                    Some(sync) => open(&path, *sync).await,
                };
                let rate = group(&bus, PUBLISHERS, To::Each, PUBLISH).await;
                assert!(bus.shutdown().await, "{name}: all of it is stored");
                rate
            }));
        }
    }
    println!("\n{PUBLISHERS} publishers, a task each: publishes/s and to memory");
    for (at, (name, _)) in modes.iter().enumerate() {
        let pairs = seen[at].iter().zip(&seen[0]);
        let ratio = median(pairs.map(|(own, memory)| own / memory));
        let rate = median(seen[at].iter().copied());
        println!("{name:<14}{rate:>14.0}{ratio:>9.3}");
    }
}

/// Returns a batch of events in the form in which the bus passes them to the store.
fn batch(task_id: &TaskId, first: u64, count: u64, snapshot: &mut TaskSnapshot) -> Append {
    // Use the current time, or the bus would remove the tasks as soon as it has them.
    let at = SystemClock.now();
    let mut events = Vec::new();
    for n in first..first + count {
        let offset = Offset::new(n).unwrap();
        let mut json = Vec::new();
        encode_event(&mut json, task_id, offset, at, None, &event(n));
        let decoded: Event = serde_json::from_slice(&json).unwrap();
        let payload = Payload::parse(&decoded.event_type, &decoded.data).unwrap();
        snapshot.apply(&payload, offset, at);
        events.push(StoredEvent {
            offset,
            json: json.into(),
        });
    }
    Append {
        task_id: task_id.clone(),
        epoch: snapshot.epoch.clone(),
        events,
        snapshot: Arc::new(snapshot.clone()),
        rules: None,
        outputs: None,
    }
}

async fn fill(path: &Path, tasks: u64, events: u64, step: u64) {
    let (store, _) = DiskStore::open(path, StoreConfig::default().sync(Sync::Os))
        .await
        .unwrap();
    let epoch: Epoch = "bench".parse().unwrap();
    let mut states: Vec<_> = (0..tasks)
        .map(|task| TaskSnapshot::new(id(&format!("t{task:05}")), epoch.clone()))
        .collect();
    let mut first = 1;
    while first <= events {
        let count = step.min(events - first + 1);
        // Append many at a time, so that they share commits like those of publishers.
        for some in states.chunks_mut(256) {
            let appends = some.iter_mut().map(|state| {
                let task_id = state.task_id.clone();
                store.append(batch(&task_id, first, count, state))
            });
            for stored in futures_util::future::join_all(appends).await {
                stored.unwrap();
            }
        }
        first += count;
    }
    store.close().await.unwrap();
}

fn measure_start(runtime: &Runtime, root: &Path) {
    let path = root.join("start");
    runtime.block_on(fill(&path, TASKS, EVENTS_A_TASK, 10));
    let (mut engine, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let db = fjall::Database::builder(path.join("engine"))
            .worker_threads(1)
            .open()
            .unwrap();
        engine.push(started.elapsed().as_secs_f64());
        drop(db);
        whole.push(runtime.block_on(async {
            let started = Instant::now();
            let bus = open(&path, Sync::default()).await;
            let took = started.elapsed().as_secs_f64();
            assert_eq!(bus.stats().tasks, TASKS);
            assert!(bus.shutdown().await);
            took
        }));
    }
    let ratio = median(
        whole
            .iter()
            .zip(&engine)
            .map(|(whole, engine)| whole / engine),
    );
    println!(
        "\na start with {} events in {TASKS} tasks",
        TASKS * EVENTS_A_TASK
    );
    println!(
        "the engine alone {:>8.0} ms",
        1e3 * median(engine.into_iter())
    );
    println!(
        "store and bus    {:>8.0} ms{ratio:>8.2}",
        1e3 * median(whole.into_iter())
    );
    results::record("store_start_to_engine", ratio);
}

fn measure_history(runtime: &Runtime, root: &Path) {
    let path = root.join("history");
    runtime.block_on(fill(&path, 1, HISTORY, 500));
    let rate = runtime.block_on(async {
        let bus = open(&path, Sync::default()).await;
        let filter = Filter::task(id("t00000")).since(Since::Start);
        let mut watching = bus.subscribe(filter);
        let (mut bytes, mut events) = (0, 0);
        let started = Instant::now();
        while events < HISTORY {
            match watching.recv().await {
                Some(Delivery::Event(event)) => {
                    events += 1;
                    bytes += event.json().len();
                }
                other => panic!("{other:?}"),
            }
        }
        let rate = bytes as f64 / 1e6 / started.elapsed().as_secs_f64();
        assert!(bus.shutdown().await);
        rate
    });
    println!("\nreading {HISTORY} events that memory has not: {rate:.0} MB/s");
}

type Question = fn(&Runtime, &Path);

pub(crate) fn main() {
    let args = crate::support::Args::read();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let root = scratch();
    let started = Instant::now();
    let questions: [(&str, Question); 5] = [
        ("publish", measure_publish),
        ("fanout", measure_fanout),
        ("group", measure_group),
        ("start", measure_start),
        ("history", measure_history),
    ];
    for (name, measure) in questions {
        if args.wants(name) {
            measure(&runtime, &root);
        }
    }
    println!("in {:.0} s", started.elapsed().as_secs_f64());
    let _ = std::fs::remove_dir_all(&root);
}
