//! What does it cost to publish to a task that has a parent?
//!
//! `cargo bench --bench children` publishes progress to 10,000 tasks without a parent, to 10
//! children of one parent, and to 10,000 children of one parent, in turn. It prints the median time
//! of a publish of each kind, and its ratio to a publish without a parent.

use std::time::{Duration, Instant};

use tidings_bus::{BusConfig, EventBus};
use tidings_protocol::{NewEvent, TaskId};

use crate::support::report::median;

const TASKS: usize = 10_000;
const FEW: usize = 10;
const ROUNDS: usize = 7;

fn id(text: impl AsRef<str>) -> TaskId {
    TaskId::new(text).unwrap()
}

/// Starts tasks, as children of the parent if there is one.
async fn started(bus: &EventBus, name: &str, count: usize, parent: Option<&TaskId>) -> Vec<TaskId> {
    if let Some(parent) = parent {
        bus.task_started(parent, "whole").await.unwrap();
    }
    let tasks: Vec<_> = (0..count).map(|n| id(format!("{name}-{n}"))).collect();
    for task in &tasks {
        let start = match parent {
            Some(parent) => NewEvent::subtask_started("part", parent),
            None => NewEvent::task_started("part"),
        };
        bus.publish(task, start).await.unwrap();
    }
    tasks
}

/// Returns the time of one publish.
async fn publish(bus: &EventBus, tasks: &[TaskId], round: usize) -> Duration {
    let began = Instant::now();
    for n in 0..TASKS {
        let progress = ((n + round) % 100) as f64;
        bus.progress(&tasks[n % tasks.len()], progress, "")
            .await
            .unwrap();
    }
    began.elapsed() / TASKS as u32
}

#[tokio::main]
pub(crate) async fn main() {
    let bus = EventBus::new(BusConfig::default().total_bytes(1 << 30)).unwrap();
    let kinds = [
        ("without a parent", started(&bus, "none", TASKS, None).await),
        (
            "10 siblings",
            started(&bus, "few", FEW, Some(&id("few"))).await,
        ),
        (
            "10,000 siblings",
            started(&bus, "many", TASKS, Some(&id("many"))).await,
        ),
    ];
    let mut times = [const { Vec::new() }; 3];
    for round in 0..ROUNDS {
        for ((_, tasks), times) in kinds.iter().zip(&mut times) {
            times.push(publish(&bus, tasks, round).await.as_secs_f64());
        }
    }
    let medians = times.map(|times: Vec<f64>| median(times.into_iter()));
    for ((kind, _), time) in kinds.iter().zip(medians) {
        let (micros, ratio) = (time * 1e6, time / medians[0]);
        println!("{kind:<18} {micros:>7.2} µs  {ratio:.2} x");
    }
}
