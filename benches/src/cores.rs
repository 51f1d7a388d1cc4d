//! Do two workers serve the watchers of one task twice as fast as one?
//!
//! `cargo bench --bench cores` publishes to a task with 1,000 watchers inside the process. Each
//! visit costs 5 µs of processor time: a fixed number of steps, calibrated at the start. The bench
//! measures the time from a publish until all watchers were visited, with one fan-out worker and
//! with two, in interleaved rounds. It needs two idle cores.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidings_bus::{Advance, BusConfig, EventBus, Hold, Topic, View, Watcher};
use tidings_protocol::{Data, NewEvent, TaskId};
use tokio::sync::Notify;

use crate::support::{Args, report, results};

const WATCHERS: u64 = 1_000;
/// The processor time of a visit.
const VISIT: Duration = Duration::from_micros(5);

/// Counts the visits of all watchers.
#[derive(Default)]
struct Visits {
    count: AtomicU64,
    all: Notify,
}

struct Busy {
    visits: Arc<Visits>,
    steps: u64,
    seen: AtomicU64,
}

/// Does work that takes the same number of instructions each time.
fn work(steps: u64) -> u64 {
    (0..steps).fold(1, |number: u64, step| {
        black_box(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ step)
    })
}

/// Returns the number of steps that take [`VISIT`].
fn calibrate() -> u64 {
    const STEPS: u64 = 200_000;
    let times = (0..15).map(|_| {
        let start = Instant::now();
        black_box(work(STEPS));
        start.elapsed().as_secs_f64()
    });
    let step = report::median(times) / STEPS as f64;
    (VISIT.as_secs_f64() / step) as u64
}

impl Watcher for Busy {
    fn advance(&self, _: usize, _: &Arc<Topic>, view: &mut View) -> Advance {
        let head = view.head();
        // A publish may be announced while the pass is under way. Count each event once.
        if self.seen.swap(head, Ordering::Relaxed) == head {
            return Advance::Done;
        }
        black_box(work(self.steps));
        if self.visits.count.fetch_add(1, Ordering::AcqRel) + 1 == WATCHERS {
            self.visits.all.notify_one();
        }
        Advance::Done
    }
}

/// Returns the average time of a publish with a number of workers.
fn round(workers: usize, steps: u64, publishes: u32) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let bus = EventBus::new(BusConfig::default().fanout_workers(workers)).unwrap();
        let task_id: TaskId = "bench".parse().unwrap();
        let event = || NewEvent::new("bench.event".parse().unwrap(), Data::empty());
        bus.publish(&task_id, event()).await.unwrap();
        let account = bus.ledger().own();
        let task = bus.task_for(account, &task_id).unwrap();
        let visits = Arc::new(Visits::default());
        for key in 0..WATCHERS {
            let watcher = Arc::new(Busy {
                visits: Arc::clone(&visits),
                steps,
                seen: AtomicU64::new(0),
            });
            let key = usize::try_from(key).unwrap();
            task.topic().attach(watcher, key, Hold::Keeps).unwrap();
        }
        let mut took = Duration::ZERO;
        // The first publish wakes the threads and fills the caches.
        for number in 0..=publishes {
            visits.count.store(0, Ordering::Release);
            let start = Instant::now();
            bus.publish(&task_id, event()).await.unwrap();
            visits.all.notified().await;
            if number > 0 {
                took += start.elapsed();
            }
        }
        bus.shutdown().await;
        took.as_secs_f64() / f64::from(publishes)
    })
}

pub(crate) fn main() {
    let args = Args::read();
    let (rounds, publishes) = if args.quick { (1, 20) } else { (9, 100) };
    let steps = calibrate();
    let rounds: Vec<[f64; 2]> = (0..rounds)
        .map(|_| [round(1, steps, publishes), round(2, steps, publishes)])
        .collect();
    let millis = |at: usize| 1e3 * report::median(rounds.iter().map(|round| round[at]));
    println!(
        "{WATCHERS} watchers of 5 \u{b5}s each: {:.2} ms a publish with one worker, {:.2} ms with two",
        millis(0),
        millis(1)
    );
    let ratio = report::median(rounds.iter().map(|[one, two]| one / two));
    results::record("cores_two_to_one", ratio);
}
