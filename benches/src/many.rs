//! Does a bus slow down if there are many more tasks than memory holds?
//!
//! `cargo bench --bench many` fills one store with 1,000 tasks and another with 1,000,000, each
//! with the default 256 MiB of memory. It then publishes to 1,000 of the tasks for a while,
//! alternating between the two stores. The last line is the rate if every publish goes to a task
//! that has left memory. `-- --tasks=N` uses another number than a million.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_bus::{BusConfig, EventBus};
use tidings_protocol::{NewEvent, TaskId};
use tidings_store::{DiskStore, StoreConfig, Sync};
use tokio::runtime::Runtime;

use crate::support::report::median;
use crate::support::results;

const ROUNDS: usize = 5;
const ACTIVE: u64 = 1_000;
const ROUND: Duration = Duration::from_secs(2);
const PUBLISHERS: u64 = 16;

fn task(n: u64) -> TaskId {
    format!("task-{n:07}").parse().unwrap()
}

fn event(n: u64) -> NewEvent {
    NewEvent::progress((n % 100) as f64, "x".repeat(75).as_str())
}

async fn open(path: &Path) -> EventBus {
    let config = StoreConfig::default().sync(Sync::default());
    let (store, _) = DiskStore::open(path, config).await.unwrap();
    EventBus::open(BusConfig::default(), Arc::new(store))
        .await
        .unwrap()
}

/// Starts this number of tasks.
async fn fill(bus: &EventBus, tasks: u64) {
    let mut filling = tokio::task::JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let bus = bus.clone();
        filling.spawn(async move {
            for n in (publisher..tasks).step_by(PUBLISHERS as usize) {
                bus.task_started(&task(n), "work").await.unwrap();
            }
        });
    }
    filling.join_all().await;
}

/// Returns the publishes per second to `count` tasks, starting with `first`, in turn.
async fn rate(bus: &EventBus, first: u64, count: u64) -> f64 {
    let began = Instant::now();
    let mut publishing = tokio::task::JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let bus = bus.clone();
        publishing.spawn(async move {
            let mut published = 0;
            while began.elapsed() < ROUND {
                for _ in 0..100 {
                    let n = (publisher + published * PUBLISHERS) % count;
                    bus.publish(&task(first + n), event(n)).await.unwrap();
                    published += 1;
                }
            }
            published
        });
    }
    let published: u64 = publishing.join_all().await.into_iter().sum();
    published as f64 / began.elapsed().as_secs_f64()
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

pub(crate) fn main() {
    let many = std::env::args()
        .find_map(|arg| arg.strip_prefix("--tasks=")?.parse().ok())
        .unwrap_or(1_000_000);
    let directory = results::directory().join("many-bench");
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let few_bus = open(&directory.join("few")).await;
        fill(&few_bus, ACTIVE).await;
        println!("{ACTIVE} tasks: {} MiB resident", resident_mib());
        let many_bus = open(&directory.join("many")).await;
        let began = Instant::now();
        fill(&many_bus, many).await;
        let took = began.elapsed().as_secs_f64();
        let stats = many_bus.stats();
        println!(
            "{many} tasks: made in {took:.1} s ({:.0} a second); {} are in memory, which holds \
             {} MiB; {} MiB resident",
            many as f64 / took,
            stats.tasks,
            stats.bytes >> 20,
            resident_mib()
        );
        let (mut few, mut more) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            few.push(rate(&few_bus, 0, ACTIVE).await);
            more.push(rate(&many_bus, 0, ACTIVE).await);
        }
        let (few, more) = (median(few.into_iter()), median(more.into_iter()));
        println!("publishes a second to {ACTIVE} tasks, with {ACTIVE} tasks in all: {few:.0}");
        println!(
            "the same with {many} tasks in all: {more:.0} ({:.2} x)",
            more / few
        );
        let cold = rate(&many_bus, ACTIVE, many - ACTIVE).await;
        println!(
            "to tasks of which most have left memory: {cold:.0} ({:.2} x)",
            cold / few
        );
        println!("{} MiB resident at the end", resident_mib());
        many_bus.shutdown().await;
        few_bus.shutdown().await;
    });
    let _ = std::fs::remove_dir_all(&directory);
}
