//! What does publishing cost inside the process?
//!
//! `cargo bench --bench publish` measures the time per event, from the first publish until the last
//! subscriber has the last event, on a runtime with two threads. It uses 0, 1, 8 and 64
//! subscribers, handlers, several tasks, and several publishers. The same run also measures
//! `tokio::sync::broadcast`:
//! * `broadcast` formats each event as JSON text, like a server that is written in an afternoon.
//! * `broadcast_bare` passes a pointer to a ready text, and so shows the cost of the channel alone,
//!   without events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use criterion::{Criterion, criterion_group};
use serde_json::json;
use tidings_bus::{BusConfig, Delivery, EventBus, EventHandler, HandlerError};
use tidings_protocol::{NewEvent, TaskId};
use tokio::runtime::Runtime;
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use crate::support::{report, results};

/// The number of publishes between two yields. A publisher also has other things to do.
const BURST: u64 = 64;

#[derive(Clone, Copy)]
struct Shape {
    subscribers: usize,
    handlers: usize,
    tasks: usize,
    publishers: usize,
}

const PLAIN: Shape = Shape {
    subscribers: 0,
    handlers: 0,
    tasks: 1,
    publishers: 1,
};

fn data() -> serde_json::Value {
    json!({"progress": 40, "message": "x".repeat(75)})
}

struct Nothing;

#[async_trait]
impl EventHandler for Nothing {
    async fn handle(&self, _: Delivery) -> Result<(), HandlerError> {
        Ok(())
    }
}

async fn bus(shape: Shape, events: u64) -> Duration {
    let bus = EventBus::new(BusConfig::default()).unwrap();
    let tasks: Vec<TaskId> = (0..shape.tasks)
        .map(|number| format!("bench-{number}").parse().unwrap())
        .collect();
    let share = events.div_ceil((shape.publishers * shape.tasks) as u64);
    let last = share * shape.publishers as u64;
    let mut running = JoinSet::new();
    for task in &tasks {
        for _ in 0..shape.subscribers {
            let mut subscription = bus.subscribe(task);
            running.spawn(async move {
                while let Some(delivery) = subscription.recv().await {
                    let at = match delivery {
                        Delivery::Event(event) => event.offset().get(),
                        Delivery::Gap { gap, .. } => gap.to.get(),
                        _ => 0,
                    };
                    if at >= last {
                        return;
                    }
                }
            });
        }
    }
    let _handlers: Vec<_> = (0..shape.handlers)
        .map(|_| bus.subscribe_handler(&tasks[0], Nothing))
        .collect();
    let start = Instant::now();
    for _ in 0..shape.publishers {
        let (bus, tasks) = (bus.clone(), tasks.clone());
        let data = tidings_protocol::Data::from_serialize(&data()).unwrap();
        running.spawn(async move {
            for number in 0..share * tasks.len() as u64 {
                let task = &tasks[number as usize % tasks.len()];
                let event = NewEvent::new("bench.event".parse().unwrap(), data.clone());
                bus.publish(task, event).await.unwrap();
                if number % BURST == BURST - 1 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    while running.join_next().await.is_some() {}
    let elapsed = start.elapsed();
    bus.shutdown().await;
    elapsed
}

/// A message for a channel, and how it is created.
trait Message: Clone + Send + 'static {
    fn make(offset: u64, data: &serde_json::Value, ready: &Self) -> Self;
    fn ready() -> Self;
}

impl Message for String {
    fn make(offset: u64, data: &serde_json::Value, _: &Self) -> Self {
        format!(
            "{{\"event_type\":\"bench.event\",\"task_id\":\"bench-0\",\"offset\":{offset},\
             \"timestamp\":\"2026-11-23T04:45:12.123Z\",\"data\":{data}}}"
        )
    }

    fn ready() -> Self {
        Self::new()
    }
}

impl Message for Arc<str> {
    fn make(_: u64, _: &serde_json::Value, ready: &Self) -> Self {
        Arc::clone(ready)
    }

    fn ready() -> Self {
        "x".repeat(224).into()
    }
}

async fn channel<T: Message>(shape: Shape, events: u64) -> Duration {
    let (sender, _) = broadcast::channel::<T>(1_024);
    let mut running = JoinSet::new();
    for _ in 0..shape.subscribers {
        let mut receiver = sender.subscribe();
        running.spawn(async move {
            let mut seen = 0;
            while seen < events {
                match receiver.recv().await {
                    Ok(_) => seen += 1,
                    Err(broadcast::error::RecvError::Lagged(lost)) => seen += lost,
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        });
    }
    let start = Instant::now();
    running.spawn(async move {
        let (data, ready) = (data(), T::ready());
        for number in 0..events {
            // Sending fails if there is no receiver.
            let _ = sender.send(T::make(number, &data, &ready));
            if number % BURST == BURST - 1 {
                tokio::task::yield_now().await;
            }
        }
    });
    while running.join_next().await.is_some() {}
    start.elapsed()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn publish(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("publish");
    for subscribers in [0, 1, 8, 64] {
        let shape = Shape {
            subscribers,
            ..PLAIN
        };
        group.bench_function(format!("bus/{subscribers} subscribers"), |bencher| {
            bencher.iter_custom(|events| runtime.block_on(bus(shape, events)));
        });
        group.bench_function(format!("broadcast/{subscribers} subscribers"), |bencher| {
            bencher.iter_custom(|events| runtime.block_on(channel::<String>(shape, events)));
        });
    }
    for handlers in [1, 8] {
        let shape = Shape { handlers, ..PLAIN };
        group.bench_function(format!("bus/{handlers} handlers"), |bencher| {
            bencher.iter_custom(|events| runtime.block_on(bus(shape, events)));
        });
    }
    for (tasks, publishers) in [(1, 2), (1, 4), (16, 1), (16, 2), (16, 4)] {
        let shape = Shape {
            subscribers: 1,
            tasks,
            publishers,
            ..PLAIN
        };
        let name = format!("bus/{tasks} tasks, {publishers} publishers");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|events| runtime.block_on(bus(shape, events)));
        });
    }
    group.finish();
}

/// Prints the ratios, from interleaved rounds.
fn ratios() {
    const ROUNDS: usize = 9;
    const EVENTS: u64 = 100_000;
    let runtime = runtime();
    let shape = Shape {
        subscribers: 8,
        ..PLAIN
    };
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / EVENTS as f64;
    let rounds: Vec<[f64; 3]> = (0..ROUNDS)
        .map(|_| {
            [
                micros(runtime.block_on(bus(shape, EVENTS))),
                micros(runtime.block_on(channel::<String>(shape, EVENTS))),
                micros(runtime.block_on(channel::<Arc<str>>(shape, EVENTS))),
            ]
        })
        .collect();
    let of = |at: usize| report::median(rounds.iter().map(|round| round[at]));
    let to = |at: usize| report::median(rounds.iter().map(|round| round[at] / round[0]));
    println!(
        "8 subscribers, \u{b5}s an event: bus {:.2}, broadcast of events as text {:.2} (ratio \
         {:.2}), broadcast of a pointer {:.2} (ratio {:.2})",
        of(0),
        of(1),
        to(1),
        of(2),
        to(2)
    );
    results::record("publish_8_to_broadcast", to(1));
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .sample_size(10)
        .configure_from_args();
    targets = publish
}

pub(crate) fn main() {
    benches();
    let words = ["--list", "--test"];
    if !std::env::args().any(|arg| words.contains(&arg.as_str())) {
        ratios();
    }
    Criterion::default().configure_from_args().final_summary();
}
