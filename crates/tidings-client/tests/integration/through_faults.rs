//! Tests the invariant from end to end, with real clients and a real server. The
//! network between them cuts, stalls, delays and half-closes connections at seeded
//! moments, while the server restarts.
//!
//! A failing seed is printed. Replay it with `TIDINGS_SEED=<seed>`.

#![allow(clippy::print_stderr, reason = "a failing seed is printed")]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidings_bus::{BusConfig, LogLimits};
use tidings_client::protocol::{
    Data, Epoch, ErrorCode, Event, EventId, EventType, NewEvent, Pattern, TaskId, TaskSnapshot,
};
use tidings_client::{Acknowledged, Client, ClientConfig, ReceiptError, Start, Update, Watch};
use tidings_testkit::{Checker, DEADLINE, FaultProxy, TestConfig, TestServer, eventually};

const SEEDS: u64 = 4;
const PUBLISHES: usize = 250;
const TASKS: [&str; 3] = ["job-1", "job-2", "other"];

fn task(id: &str) -> TaskId {
    id.parse().unwrap()
}

/// Returns settings with short times, so that a test sees many connections.
fn config(seed: u64) -> ClientConfig {
    ClientConfig::default()
        .seed(seed)
        .backoff(Duration::from_millis(20), Duration::from_millis(200))
        .connect_timeout(Duration::from_millis(500))
        .silence_timeout(Duration::from_millis(500))
}

fn client(addr: std::net::SocketAddr, seed: u64) -> Client {
    let url = format!("http://{addr}");
    Client::builder(url).config(config(seed)).build().unwrap()
}

async fn server() -> TestServer {
    let limits = LogLimits {
        max_events: 100_000,
        max_bytes: 64 << 20,
    };
    let config = TestConfig {
        bus: BusConfig::default().log_limits(limits),
        ..TestConfig::default()
    };
    TestServer::start(config).await
}

/// Runs seeds one after another, each within its deadline.
async fn seeds(mut run: impl AsyncFnMut(u64)) {
    let only = std::env::var("TIDINGS_SEED").ok();
    let only = only.map(|seed| seed.parse().expect("a number"));
    let all = only.map_or(0..SEEDS, |seed: u64| seed..seed + 1);
    for seed in all {
        let printed = Printed(seed);
        let ran = tokio::time::timeout(DEADLINE, run(seed)).await;
        assert!(ran.is_ok(), "it did not come to its end in time");
        std::mem::forget(printed);
    }
}

/// Prints the seed if a run panics.
struct Printed(u64);

impl Drop for Printed {
    fn drop(&mut self) {
        eprintln!("failing seed: replay with TIDINGS_SEED={}", self.0);
    }
}

/// Publishes events, some of them many at a time. Returns the server's answers.
async fn publish(client: Client, seed: u64, count: usize) -> Vec<(EventId, Acknowledged)> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut receipts = Vec::new();
    for number in 0..count {
        let id = EventId::new(format!("{seed}-{number}")).unwrap();
        let text = format!(
            r#"{{"number":{number},"pad":"{}"}}"#,
            "x".repeat(rng.usize(..200))
        );
        let event_type: EventType = "count".parse().unwrap();
        let event = NewEvent::new(event_type, Data::parse(&text).unwrap());
        let event = event.with_event_id(id.clone());
        let to = task(TASKS[rng.usize(..TASKS.len())]);
        let receipt = client.queue(&to, event.clone()).await.unwrap();
        receipts.push((id, to, event, receipt));
        if rng.u8(..8) == 0 {
            tokio::time::sleep(Duration::from_millis(rng.u64(..12))).await;
        }
    }
    let mut published = Vec::new();
    for (id, to, event, receipt) in receipts {
        let mut answer = receipt.await;
        // A server that is stopping refuses with an error, possibly several times while
        // its last connections drain. The event may be published again under its id.
        while let Err(ReceiptError::Refused {
            code: ErrorCode::Unavailable,
            ..
        }) = answer
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
            answer = client.publish(&to, event.clone()).await;
        }
        published.push((id, answer.unwrap()));
    }
    published
}

/// The updates that one watch has seen, all checked.
#[derive(Default)]
struct Seen {
    tasks: BTreeMap<TaskId, (Checker, Epoch)>,
    places: HashMap<(TaskId, Epoch, EventId), u64>,
    /// True if the watch has asked for all retained events and the server retains all.
    all: bool,
}

impl Seen {
    fn snapshot(&mut self, state: &TaskSnapshot) {
        let checker = match self.all {
            true => Checker::from(1),
            // If the task appeared while the connection was lost, the watch gets all
            // its events.
            false => Checker::with_history(state.offset.get()),
        };
        let known = self
            .tasks
            .insert(state.task_id.clone(), (checker, state.epoch.clone()));
        // Before the first event, the watch is told the epoch in which the task began.
        let delivered = known.map_or(0, |(checker, _)| checker.delivered());
        assert_eq!(delivered, 0, "a second snapshot of {}", state.task_id);
    }

    fn event(&mut self, event: &Event) {
        let (checker, epoch) = self
            .tasks
            .get_mut(&event.task_id)
            .expect("a snapshot first");
        if let Err(violation) = checker.merged(event.first_offset().get(), event.offset.get()) {
            panic!("{}: {violation}", event.task_id);
        }
        if let Some(id) = &event.event_id {
            let key = (event.task_id.clone(), epoch.clone(), id.clone());
            let place = self.places.insert(key, event.offset.get());
            assert_eq!(place, None, "{id} came twice");
        }
    }

    fn update(&mut self, update: &Update) {
        match update {
            Update::Snapshot(state) => self.snapshot(state),
            Update::Event(event) => self.event(event),
            Update::Reset {
                task_id,
                offset,
                snapshot,
                ..
            } => {
                let (checker, epoch) = self.tasks.get_mut(task_id).expect("a snapshot first");
                checker.reset(offset.get());
                *epoch = snapshot.epoch.clone();
            }
            Update::Gap {
                task_id,
                gap,
                snapshot,
            } => {
                let (checker, epoch) = self.tasks.get_mut(task_id).expect("a snapshot first");
                if let Err(violation) = checker.gap(*gap, snapshot.is_some()) {
                    panic!("{task_id}: {violation}");
                }
                if let Some(state) = snapshot {
                    *epoch = state.epoch.clone();
                }
            }
            Update::Removed { task_id } => {
                self.tasks.remove(task_id).expect("a snapshot first");
            }
            _ => {}
        }
    }

    /// Takes updates until the watch has reached these heads.
    async fn until(&mut self, watch: &mut Watch, heads: &BTreeMap<TaskId, u64>) {
        while !self.is_at(heads) {
            let update = watch.recv().await.expect("no watch ends here");
            self.update(&update.expect("nor without an error"));
        }
    }

    fn is_at(&self, heads: &BTreeMap<TaskId, u64>) -> bool {
        heads.iter().all(|(task, head)| {
            let seen = self.tasks.get(task);
            seen.and_then(|(checker, _)| checker.expected()) == Some(head + 1)
        })
    }
}

fn heads(server: &TestServer, of: &[&str]) -> BTreeMap<TaskId, u64> {
    of.iter()
        .map(|id| task(id))
        .filter_map(|id| Some((id.clone(), server.bus().snapshot(&id)?.offset.get())))
        .collect()
}

/// Restarts the whole server, or keeps its memory and restarts the rest.
async fn restart(server: TestServer, forgets: bool) -> TestServer {
    let addr = server.addr();
    if forgets {
        server.crash().await;
        let limits = LogLimits {
            max_events: 100_000,
            max_bytes: 64 << 20,
        };
        let config = TestConfig {
            bus: BusConfig::default().log_limits(limits),
            ..TestConfig::default()
        };
        TestServer::start_at(config, addr).await
    } else {
        server.crash_and_return().await
    }
}

/// Runs one seed. Returns the number of faults.
async fn invariant(seed: u64, forgets: bool) -> usize {
    let mut server = server().await;
    let proxy = FaultProxy::start(server.addr(), seed).await;
    let watcher = client(proxy.addr(), seed);
    let mut watches = [
        watcher.watch(task("job-1")),
        watcher.watch("job-*".parse::<Pattern>().unwrap()),
        client(proxy.addr(), seed + 1).watch("*".parse::<Pattern>().unwrap()),
    ];
    let publishers: Vec<_> = (0..2)
        .map(|number| {
            let client = client(proxy.addr(), seed + 2 + number);
            tokio::spawn(publish(client, seed * 10 + number, PUBLISHES))
        })
        .collect();
    let half = 2 * PUBLISHES as u64 / 2;
    let published = |server: &TestServer| heads(server, &TASKS).values().sum::<u64>();
    eventually("half of it is published", || published(&server) >= half).await;
    server = restart(server, forgets).await;

    let mut acknowledged = Vec::new();
    for publisher in publishers {
        acknowledged.extend(publisher.await.unwrap());
    }
    proxy.heal();
    let all = heads(&server, &TASKS);
    let jobs = heads(&server, &TASKS[..2]);
    let first = heads(&server, &TASKS[..1]);
    for (watch, heads) in watches.iter_mut().zip([&first, &jobs, &all]) {
        let mut seen = Seen::default();
        seen.until(watch, heads).await;
        for (id, published) in &acknowledged {
            let key = (
                published.task_id.clone(),
                published.epoch.clone(),
                id.clone(),
            );
            if let Some(place) = seen.places.get(&key) {
                assert_eq!(
                    *place,
                    published.offset.get(),
                    "{id} is elsewhere than acknowledged"
                );
            }
        }
    }

    // Read the log itself. It must contain each publish acknowledged in this memory
    // once.
    let direct = client(server.addr(), seed);
    let mut log = Seen {
        all: true,
        ..Seen::default()
    };
    let mut reading = direct.watch_from("*".parse::<Pattern>().unwrap(), Start::Retained);
    log.until(&mut reading, &all).await;
    let epochs: HashSet<_> = log.tasks.values().map(|(_, epoch)| epoch.clone()).collect();
    let mut here = 0;
    for (id, published) in &acknowledged {
        if epochs.contains(&published.epoch) {
            let key = (
                published.task_id.clone(),
                published.epoch.clone(),
                id.clone(),
            );
            assert_eq!(log.places.get(&key), Some(&published.offset.get()), "{id}");
            here += 1;
        }
    }
    assert_eq!(
        acknowledged.len(),
        2 * PUBLISHES,
        "every publish has one answer"
    );
    if forgets {
        assert!(
            here < acknowledged.len(),
            "the memory was lost in the middle"
        );
    } else {
        assert_eq!(
            log.places.len(),
            2 * PUBLISHES,
            "every publish is in the log once"
        );
    }
    let faults = proxy.faults();
    server.stop().await;
    faults
}

/// Checks every seed, and checks that at least one fault occurred. In a short run, a
/// connection may end before its fault.
async fn invariants(from: u64, forgets: bool) {
    let faults = AtomicUsize::new(0);
    seeds(async |seed| {
        faults.fetch_add(invariant(from + seed, forgets).await, Ordering::Relaxed);
    })
    .await;
    assert!(faults.into_inner() > 0, "nothing has failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_published_once_and_seen_in_order_through_a_restart() {
    invariants(0, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_forgotten_everything_is_told_of_and_nothing_doubles() {
    invariants(1_000, true).await;
}

/// Sends twenty commands to an agent whose connection breaks all the time.
async fn commands(seed: u64) {
    const COMMANDS: usize = 20;
    let server = server().await;
    let proxy = FaultProxy::start(server.addr(), seed).await;
    let asking = client(server.addr(), seed);
    let id = task("agent");
    asking
        .publish(&id, NewEvent::task_started("Agent"))
        .await
        .unwrap();

    let agent = client(proxy.addr(), seed + 1);
    let mut given = agent.commands(&id);
    let obeying = tokio::spawn(async move {
        let mut ids = BTreeSet::new();
        for number in 0..COMMANDS {
            let mut command = given.recv().await.unwrap().unwrap();
            assert!(ids.insert(command.id().to_string()), "given twice");
            drop(command.accept());
            let answer = match number % 2 {
                0 => command.complete(None),
                _ => command.reject("not now"),
            };
            // Wait for some commands, so that others overlap.
            if number % 3 == 0 {
                answer.await.unwrap();
            }
        }
        agent.flush(DEADLINE).await
    });
    for number in 0..COMMANDS {
        asking
            .command(&id, format!("do-{number}"), None)
            .await
            .unwrap();
        if number == COMMANDS / 2 {
            // Wait until some connections have failed.
            eventually("a fault", || proxy.faults() > 0 || obeying.is_finished()).await;
        }
    }
    assert_eq!(obeying.await.unwrap(), 0);
    let state = server.bus().snapshot(&id).unwrap();
    assert!(
        state.pending_commands.is_empty(),
        "{:?}",
        state.pending_commands
    );

    let mut reading = asking.watch_from(id.clone(), Start::Retained);
    let mut answers: BTreeMap<String, Vec<EventType>> = BTreeMap::new();
    loop {
        let Some(Update::Event(event)) = reading.recv().await.unwrap() else {
            continue;
        };
        if let Some(command) = event.data.get().get("command_id") {
            let command = command.as_str().unwrap().to_owned();
            answers
                .entry(command)
                .or_default()
                .push(event.event_type.clone());
        }
        if event.offset == state.offset {
            break;
        }
    }
    assert_eq!(answers.len(), COMMANDS);
    for (command, events) in answers {
        assert_eq!(events.len(), 3, "{command}: {events:?}");
        assert_eq!(
            events[..2],
            [EventType::CommandRequested, EventType::CommandAccepted]
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_is_answered_once_through_breaks() {
    seeds(commands).await;
}
