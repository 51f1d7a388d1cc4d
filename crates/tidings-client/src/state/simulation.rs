//! The invariant through clients, under everything at once: a seeded simulation.
//!
//! Clients are the state machine alone, servers the real bus and the real
//! connections, and between them a network that the seed decides: what is on
//! its way, when it arrives, when it breaks and in which direction. Programs
//! take their updates late, watch and stop watching, and publish through
//! breaks; servers restart with and without their memory.
//!
//! Programs also do tasks, and contend for them: begin, report and end, or drop them.
//!
//! Every watch is checked for every update. At the end every watch has come to
//! the head of all that it watches with the right state, every publish has had
//! one answer, and no event is in a log twice. In
//! the log of a task that was done every report is that of the worker which started
//! the run, in order and once.
//!
//! A failing seed is printed. Replay it with `TIDINGS_SEED=<seed>`, and with
//! `TIDINGS_TRACE=1` for its story; run more or fewer with `TIDINGS_SEEDS=<count>`.

#![allow(
    clippy::print_stderr,
    reason = "a seed tells its story when it is asked to"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tidings_bus::{BusConfig, EventBus, LogLimits, SkipPolicy};
use tidings_connections::{
    CloseReason, ConnectRequest, Connection, ConnectionGuard, ConnectionManager, ConnectionsConfig,
};
use tidings_protocol::{
    Data, Epoch, EventId, EventType, NewEvent, Payload, Position, ServerMessage, Since, Target,
    TaskError, TaskId, TaskSnapshot,
};
use tidings_testkit::{Checker, LINES, LineReader, LineWire, PipeSocket, simulate_seeds};
use tokio::time::Instant;

use super::{Beginning, Input, JobId, Output, RequestId, State, WatchId};
use crate::config::ClientConfig;
use crate::error::Loss;
use crate::update::{Start, Update};

/// Seeds in CI; each is `STEPS` steps.
const SEEDS: u64 = 1_000;
const STEPS: usize = 80;
const CLIENTS: usize = 3;
const TASKS: [&str; 4] = ["a-1", "a-2", "b-1", "c"];
const PATTERNS: [&str; 3] = ["a-*", "*", "b-*"];

fn trace(line: impl FnOnce() -> String) {
    if std::env::var_os("TIDINGS_TRACE").is_some() {
        eprintln!("{}", line());
    }
}

/// Every event that was seen anywhere: in one numbering of a task an
/// `event_id` has one place.
#[derive(Default)]
struct Ledger {
    places: HashMap<(TaskId, Epoch, EventId), u64>,
    events: u64,
}

impl Ledger {
    fn next_id(&mut self) -> EventId {
        self.events += 1;
        EventId::new(format!("event-{}", self.events)).unwrap()
    }

    fn seen(&mut self, task: &TaskId, epoch: &Epoch, id: &EventId, offset: u64) {
        let key = (task.clone(), epoch.clone(), id.clone());
        let place = *self.places.entry(key).or_insert(offset);
        assert_eq!(place, offset, "{id} is in the log of {task} twice");
    }
}

struct Node {
    bus: EventBus,
    manager: ConnectionManager,
    limits: LogLimits,
    skip: SkipPolicy,
}

impl Node {
    fn new(limits: LogLimits, skip: SkipPolicy) -> Self {
        let config = BusConfig::default()
            .framing(LINES)
            .log_limits(limits)
            .sweep_interval(Duration::from_millis(500))
            .finished_events_ttl(Duration::from_secs(2))
            .pinned_ttl(Duration::from_secs(8))
            .idle_ttl(Duration::from_secs(30));
        let bus = EventBus::new(config).unwrap();
        let manager = manager(&bus, skip);
        Self {
            bus,
            manager,
            limits,
            skip,
        }
    }
}

fn manager(bus: &EventBus, skip: SkipPolicy) -> ConnectionManager {
    let config = ConnectionsConfig::default()
        .skip(skip)
        .heartbeat_interval(Duration::from_secs(1))
        .write_timeout(Duration::from_secs(1_000_000));
    ConnectionManager::new(bus.clone(), config).unwrap()
}

async fn drive(guard: ConnectionGuard) {
    let connection = guard.connection().clone();
    std::future::poll_fn(|cx| {
        // A broken pipe is noticed by its read side, as a socket's end is.
        let mut byte = [0];
        if connection.socket().poll_read_ready(cx).is_ready()
            && matches!(connection.socket().try_read(&mut byte), Ok(0))
        {
            return std::task::Poll::Ready(CloseReason::ClientGone);
        }
        connection.poll_drive(cx)
    })
    .await;
    drop(guard);
}

/// One connection, with what is on its way.
struct Net {
    pipe: PipeSocket,
    connection: Arc<Connection>,
    driver: tokio::task::JoinHandle<()>,
    reader: LineReader,
    to_server: VecDeque<String>,
    /// Nothing arrives any more, and neither side is told.
    stalled: bool,
}

#[derive(Default)]
struct Followed {
    checker: Checker,
    state: Option<TaskSnapshot>,
}

struct SimWatch {
    target: Target,
    start: Start,
    tasks: BTreeMap<TaskId, Followed>,
    connected: bool,
}

impl SimWatch {
    fn check(&mut self, update: &Update, ledger: &mut Ledger) {
        match update {
            Update::Snapshot(snapshot) => {
                let head = snapshot.offset.get();
                let followed = Followed {
                    checker: match (&self.start, &self.target) {
                        (Start::Live, Target::Task(_)) => Checker::from(head + 1),
                        (Start::Retained, Target::Task(_)) => Checker::from(1),
                        (Start::After(position), Target::Task(_)) => {
                            Checker::from(position.offset.get() + 1)
                        }
                        // Of a task that has appeared while it was away it gets all.
                        _ => Checker::with_history(head),
                    },
                    state: Some((**snapshot).clone()),
                };
                let known = self.tasks.insert(snapshot.task_id.clone(), followed);
                assert!(known.is_none(), "a second snapshot without a gap");
            }
            Update::Event(event) => {
                let followed = self
                    .tasks
                    .get_mut(&event.task_id)
                    .expect("a snapshot first");
                if let Err(violation) = followed
                    .checker
                    .merged(event.first_offset().get(), event.offset.get())
                {
                    panic!("{}: {violation}", event.task_id);
                }
                let state = followed.state.as_mut().expect("a state from the snapshot");
                if let Some(id) = &event.event_id {
                    ledger.seen(&event.task_id, &state.epoch, id, event.offset.get());
                }
                if event.offset > state.offset {
                    let payload = Payload::of(event).unwrap();
                    state.apply(&payload, event.offset, event.timestamp);
                }
            }
            Update::Reset {
                task_id,
                offset,
                snapshot,
                ..
            } => {
                let followed = self.tasks.get_mut(task_id).expect("a snapshot first");
                followed.checker.reset(offset.get());
                followed.state = Some((**snapshot).clone());
            }
            Update::Gap {
                task_id,
                gap,
                snapshot,
            } => {
                let followed = self.tasks.get_mut(task_id).expect("a snapshot first");
                if let Err(violation) = followed.checker.gap(*gap, snapshot.is_some()) {
                    panic!("{task_id}: {violation}");
                }
                if let Some(snapshot) = snapshot {
                    followed.state = Some((**snapshot).clone());
                }
            }
            Update::Removed { task_id } => {
                self.tasks.remove(task_id).expect("a snapshot first");
            }
            Update::Disconnected { .. } => self.connected = false,
            Update::Reconnected => {
                assert!(!self.connected, "reconnected, but was never told of a loss");
                self.connected = true;
            }
        }
    }
}

struct Client {
    number: usize,
    state: State,
    net: Option<Net>,
    /// It has asked to connect, and the network has not answered.
    connecting: bool,
    watches: BTreeMap<WatchId, SimWatch>,
    waiting: BTreeMap<RequestId, (TaskId, EventId)>,
    answered: BTreeSet<RequestId>,
    jobs: Vec<SimJob>,
    /// Starts and ends of jobs that were not answered yet.
    asked: BTreeSet<RequestId>,
}

/// A task that the program of a client does.
struct SimJob {
    id: JobId,
    mark: String,
    reports: u64,
}

/// The tasks that clients do, and contend for.
const JOBS: [&str; 2] = ["j-1", "j-2"];

fn own(event_type: &str, data: serde_json::Value) -> NewEvent {
    NewEvent::new(event_type.parse().unwrap(), Data::from_value(data).unwrap())
}

impl Client {
    fn new(number: usize, rng: &mut Rng) -> Self {
        let config = ClientConfig::default()
            .seed(rng.u64(..))
            .watch_updates([1, 4, 50, 1_000][rng.usize(..4)]);
        let mut state = State::new(config, None, false);
        state.start(Instant::now());
        Self {
            number,
            state,
            net: None,
            connecting: false,
            watches: BTreeMap::new(),
            waiting: BTreeMap::new(),
            answered: BTreeSet::new(),
            jobs: Vec::new(),
            asked: BTreeSet::new(),
        }
    }

    /// The program begins a task, reports on one, or ends one.
    fn work(&mut self, rng: &mut Rng, ledger: &mut Ledger) {
        let now = Instant::now();
        if self.jobs.is_empty() || rng.u8(..6) == 0 && self.jobs.len() < 3 {
            ledger.events += 1;
            let mark = format!("job-{}", ledger.events);
            let beginning = Beginning {
                task_id: TaskId::new(JOBS[rng.usize(..JOBS.len())]).unwrap(),
                event: NewEvent::task_started(&mark),
                source: None,
                lease: [None, Some(Duration::from_secs(2))][rng.usize(..2)],
                mark: mark.clone(),
            };
            trace(|| {
                format!(
                    "client {} begins {} as {mark}",
                    self.number, beginning.task_id
                )
            });
            let (id, start) = self.state.begin(beginning, None, now);
            self.asked.insert(start);
            let reports = 0;
            self.jobs.push(SimJob { id, mark, reports });
            return self.outputs(ledger);
        }
        let at = rng.usize(..self.jobs.len());
        if rng.u8(..5) == 0 {
            self.end_job(at, rng.bool(), now);
            return self.outputs(ledger);
        }
        for _ in 0..rng.usize(1..8) {
            let job = &mut self.jobs[at];
            job.reports += 1;
            let data = serde_json::json!({ "mark": job.mark, "n": job.reports });
            self.state.report(job.id, own("count", data), now);
        }
        self.outputs(ledger);
    }

    fn end_job(&mut self, at: usize, completes: bool, now: Instant) {
        let job = self.jobs.swap_remove(at);
        trace(|| format!("client {} ends {}", self.number, job.mark));
        if completes {
            let result = serde_json::json!(job.mark);
            if let Ok(end) = self
                .state
                .end(job.id, NewEvent::task_completed(result), now)
            {
                self.asked.insert(end);
            }
        }
        let error = TaskError::new(job.mark);
        self.state.leave(job.id, NewEvent::task_failed(error), now);
    }

    fn handle(&mut self, input: Input, ledger: &mut Ledger) {
        trace(|| format!("client {} {:.400}", self.number, format!("{input:?}")));
        self.state.handle(input, Instant::now());
        self.outputs(ledger);
    }

    fn outputs(&mut self, ledger: &mut Ledger) {
        while let Some(output) = self.state.poll_output() {
            match output {
                Output::Connect(_) => self.connecting = true,
                Output::Send(text) => {
                    trace(|| format!("client {} sends {text:.200}", self.number));
                    if let Some(net) = &mut self.net {
                        net.to_server.push_back(text);
                    }
                }
                Output::Disconnect => {
                    self.connecting = false;
                    if let Some(net) = self.net.take() {
                        net.pipe.break_off();
                    }
                }
                Output::Acknowledged(id, answer) => {
                    assert!(self.answered.insert(id), "answered twice");
                    self.asked.remove(&id);
                    // Else a start, or an end: told by the program, or by a drop.
                    let Some((task, event_id)) = self.waiting.remove(&id) else {
                        continue;
                    };
                    if let Ok(published) = answer {
                        let offset = published.offset.get();
                        ledger.seen(&task, &published.epoch, &event_id, offset);
                    }
                }
                Output::RefreshToken | Output::Commanded(..) => unreachable!("not asked for"),
                Output::Wake(_) | Output::Room | Output::Reported | Output::Status => {}
            }
        }
        assert!(self.state.stopped().is_none(), "nothing here ends a client");
    }

    fn tick(&mut self, ledger: &mut Ledger) {
        if self
            .state
            .poll_timeout()
            .is_some_and(|due| Instant::now() >= due)
        {
            self.handle(Input::Tick, ledger);
        }
    }

    fn connect(&mut self, node: &Node, rng: &mut Rng, ledger: &mut Ledger) {
        if !std::mem::take(&mut self.connecting) {
            return;
        }
        if rng.u8(..4) == 0 {
            return self.handle(Input::Lost(Loss::Refused { status: 503 }), ledger);
        }
        let pipe = PipeSocket::new([100, 1_000, 20_000][rng.usize(..3)]);
        let socket = Box::new(pipe.clone());
        let guard = node
            .manager
            .connect(ConnectRequest::new(), socket, &LineWire)
            .unwrap();
        self.net = Some(Net {
            pipe,
            connection: guard.connection().clone(),
            driver: tokio::spawn(drive(guard)),
            reader: LineReader::default(),
            to_server: VecDeque::new(),
            stalled: false,
        });
        self.handle(Input::Opened, ledger);
    }

    /// The connection breaks. What had arrived at the server has arrived.
    async fn cut(&mut self, told: bool, ledger: &mut Ledger) {
        let Some(net) = &mut self.net else { return };
        trace(|| format!("client {} is cut, told: {told}", self.number));
        net.pipe.break_off();
        if !told {
            net.stalled = true;
            return;
        }
        if let Some(net) = self.net.take() {
            net.driver.await.unwrap();
        }
        let loss = Loss::Closed {
            code: None,
            reason: String::new(),
        };
        self.handle(Input::Lost(loss), ledger);
    }

    async fn deliver(&mut self, count: usize) {
        let Some(net) = self.net.as_mut().filter(|net| !net.stalled) else {
            return;
        };
        for _ in 0..count {
            let Some(text) = net.to_server.pop_front() else {
                return;
            };
            net.connection.receive(&text).await;
        }
    }

    fn receive(&mut self, count: usize, ledger: &mut Ledger) -> bool {
        let Some(net) = self.net.as_mut().filter(|net| !net.stalled) else {
            return false;
        };
        let bytes = net.pipe.take(count);
        for line in net.reader.take(&bytes) {
            let message = ServerMessage::decode(&line).expect("a message of the server");
            self.handle(Input::Message(Box::new(message)), ledger);
        }
        !bytes.is_empty()
    }

    fn publish(&mut self, rng: &mut Rng, ledger: &mut Ledger) {
        for _ in 0..rng.usize(1..12) {
            let task = TaskId::new(TASKS[rng.usize(..TASKS.len())]).unwrap();
            let id = ledger.next_id();
            let event = random_event(rng).with_event_id(id.clone());
            let request = self.state.publish(task.clone(), event, false).unwrap();
            self.waiting.insert(request, (task, id));
        }
        self.outputs(ledger);
    }

    fn watch(&mut self, rng: &mut Rng, ledger: &mut Ledger) {
        if self.watches.len() >= 4 {
            let id = *self.watches.keys().nth(rng.usize(..4)).unwrap();
            self.watches.remove(&id);
            self.state.unwatch(id);
            return self.outputs(ledger);
        }
        let task = TaskId::new(TASKS[rng.usize(..TASKS.len())]).unwrap();
        let target = match rng.bool() {
            true => Target::Task(task.clone()),
            false => Target::Pattern(PATTERNS[rng.usize(..PATTERNS.len())].parse().unwrap()),
        };
        let known = self.watches.values().find_map(|watch| {
            let followed = watch.tasks.get(&task)?;
            let epoch = followed.state.as_ref()?.epoch.clone();
            let offset = followed.checker.expected()? - 1;
            Some(Position::new(epoch, offset.to_string().parse().ok()?))
        });
        let start = match (rng.u8(..5), known) {
            (0, _) => Start::Retained,
            (1, _) => Start::History(rng.u32(..20)),
            (2, Some(position)) if matches!(target, Target::Task(_)) => Start::After(position),
            _ => Start::Live,
        };
        trace(|| format!("client {} watches {target} {start:?}", self.number));
        let id = self.state.watch(&target, start.clone(), Instant::now());
        let watch = SimWatch {
            target,
            start,
            tasks: BTreeMap::new(),
            connected: true,
        };
        self.watches.insert(id, watch);
        self.outputs(ledger);
    }

    /// The program takes some of what has come for it.
    fn take(&mut self, count: usize, ledger: &mut Ledger) -> bool {
        let mut moved = false;
        for (id, watch) in &mut self.watches {
            for _ in 0..count {
                let Some(taken) = self.state.take(*id, Instant::now()) else {
                    break;
                };
                let update = taken
                    .expect("no watch ends here")
                    .expect("nor with an error");
                trace(|| {
                    format!(
                        "watch {id:?} of {} {:.300}",
                        watch.target,
                        format!("{update:?}")
                    )
                });
                watch.check(&update, ledger);
                moved = true;
            }
        }
        self.outputs(ledger);
        moved
    }
}

fn random_event(rng: &mut Rng) -> NewEvent {
    match rng.u8(..16) {
        0 => NewEvent::task_started("t"),
        1 => NewEvent::task_completed(None),
        2 => NewEvent::task_failed(TaskError::new("broken")),
        3..=8 => NewEvent::progress(f64::from(rng.u8(..101)), "working"),
        9..=11 => NewEvent::log("x".repeat(rng.usize(..300))),
        12 => NewEvent::output_delta("o", "word "),
        _ => NewEvent::new("custom".parse::<EventType>().unwrap(), Data::empty()),
    }
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn simulate(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let limits = LogLimits {
        max_events: [rng.u64(1..40), 10_000][rng.usize(..2)],
        max_bytes: 1 << rng.u32(12..22),
    };
    let skip = SkipPolicy {
        behind: [1, 8, u64::MAX][rng.usize(..3)],
    };
    let mut ledger = Ledger::default();
    let mut node = Node::new(limits, skip);
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|number| Client::new(number, &mut rng))
        .collect();
    for client in &mut clients {
        client.outputs(&mut ledger);
        client.watch(&mut rng, &mut ledger);
    }
    for _ in 0..STEPS {
        let client = &mut clients[rng.usize(..CLIENTS)];
        client.tick(&mut ledger);
        match rng.u8(..40) {
            0..=3 => client.publish(&mut rng, &mut ledger),
            4..=6 => client.work(&mut rng, &mut ledger),
            7..=13 => client.deliver([1, 3, usize::MAX][rng.usize(..3)]).await,
            14..=19 => {
                let count = [1, 50, 500, usize::MAX][rng.usize(..4)];
                client.receive(count, &mut ledger);
            }
            20..=22 => settle().await,
            23..=25 => client.connect(&node, &mut rng, &mut ledger),
            26..=28 => {
                client.take([1, 5, usize::MAX][rng.usize(..3)], &mut ledger);
            }
            29..=30 => client.watch(&mut rng, &mut ledger),
            31..=32 => client.cut(rng.u8(..3) > 0, &mut ledger).await,
            33..=36 => {
                let pause = [10, 300, 3_000, 20_000][rng.usize(..4)];
                tokio::time::advance(Duration::from_millis(rng.u64(..pause))).await;
            }
            37 => {
                let task = TaskId::new([TASKS.as_slice(), &JOBS].concat()[rng.usize(..6)]).unwrap();
                trace(|| format!("{task} is removed"));
                node.bus.remove(&task).await.unwrap();
            }
            38 => {
                trace(|| "the server restarts, its memory lives".to_owned());
                for client in &mut clients {
                    client.cut(rng.bool(), &mut ledger).await;
                }
                node.manager = manager(&node.bus, node.skip);
            }
            _ if rng.bool() => {
                trace(|| "the server restarts without its memory".to_owned());
                for client in &mut clients {
                    client.cut(rng.bool(), &mut ledger).await;
                }
                node.bus.shutdown().await;
                node = Node::new(node.limits, node.skip);
            }
            _ => {}
        }
    }
    finish(&node, &mut clients, &mut rng, &mut ledger).await;
    node.bus.shutdown().await;
}

/// In the log of a task that clients do, every report is of the worker that has
/// started the run, in order and once, and one end ends it.
async fn check_jobs(node: &Node) {
    for task in JOBS {
        let task = TaskId::new(task).unwrap();
        let Some(page) = node
            .bus
            .history(&task, Some(Since::Start), usize::MAX)
            .await
        else {
            continue;
        };
        // What is no longer retained is not known; then neither is the worker.
        let mut run: Option<(String, Option<u64>)> = None;
        let mut over = false;
        for event in page.events {
            let data: serde_json::Value = serde_json::from_str(event.data_json()).unwrap();
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let place = format!("{task} {}", event.offset());
            let known = |mark: String| match &run {
                Some((running, _)) => assert_eq!(*running, mark, "{place}: another worker's run"),
                None => assert!(event.offset().get() > 1, "{place}: nothing has started it"),
            };
            match event.event_type() {
                EventType::TaskStarted => {
                    assert!(run.is_none() || over, "{place}: started while it runs");
                    run = Some((text(&data["name"]), None));
                    over = false;
                    continue;
                }
                EventType::TaskCompleted => known(text(&data["result"])),
                EventType::TaskFailed if data["error"]["code"] == "lost" => {}
                EventType::TaskFailed => known(text(&data["error"]["message"])),
                other if other.as_str() == "count" => {
                    known(text(&data["mark"]));
                    let n = data["n"].as_u64().unwrap();
                    if let Some((_, last)) = &mut run {
                        let last = last.replace(n);
                        assert!(
                            last.is_none_or(|last| n == last + 1),
                            "{place}: {n} after {last:?}"
                        );
                    }
                }
                _ => continue,
            }
            assert!(!over, "{place}: after the end");
            over = event.event_type().as_str() != "count";
        }
    }
}

/// The network heals and programs take what there is, until nothing moves any
/// more. Then everyone must be at the head of everything.
async fn finish(node: &Node, clients: &mut [Client], rng: &mut Rng, ledger: &mut Ledger) {
    for client in clients.iter_mut() {
        while !client.jobs.is_empty() {
            client.end_job(0, rng.bool(), Instant::now());
        }
        client.outputs(ledger);
    }
    let mut quiet = 0;
    let mut rounds = 0;
    while quiet < 5 {
        rounds += 1;
        if rounds > 10_000 {
            for client in clients.iter() {
                trace(|| format!("client {} waits: {:#?}", client.number, client.state));
            }
            panic!("it never comes to rest");
        }
        let mut moved = false;
        for client in clients.iter_mut() {
            client.tick(ledger);
            client.connect(node, rng, ledger);
            client.deliver(usize::MAX).await;
            settle().await;
            // A pipe may hold a part of one message at a time.
            while client.receive(usize::MAX, ledger) {
                settle().await;
            }
            moved |= client.take(usize::MAX, ledger);
            moved |= !client.state.is_connected() || !client.waiting.is_empty();
            moved |= client.state.pending() > 0 || !client.asked.is_empty();
            moved |= client.net.as_ref().is_some_and(|net| net.stalled);
        }
        check_jobs(node).await;
        // Pings and heartbeats go on for ever; what they bring about must not.
        quiet = if moved { 0 } else { quiet + 1 };
        tokio::time::advance(Duration::from_millis(600)).await;
    }
    for client in clients.iter() {
        let number = client.number;
        assert!(
            client.waiting.is_empty(),
            "client {number}: {:?}",
            client.waiting
        );
        for watch in client.watches.values() {
            for task in TASKS {
                let task = TaskId::new(task).unwrap();
                let wanted = match &watch.target {
                    Target::Task(own) => *own == task,
                    Target::Pattern(pattern) => pattern.matches(&task),
                };
                let Some(truth) = node.bus.snapshot(&task).filter(|_| wanted) else {
                    continue;
                };
                let target = &watch.target;
                let Some(followed) = watch.tasks.get(&task) else {
                    panic!("client {number}: {target} was told nothing of {task}");
                };
                assert_eq!(
                    followed.checker.expected(),
                    Some(truth.offset.get() + 1),
                    "client {number}: {target} stands still in {task}"
                );
                let state = followed.state.as_ref().expect("a state from the snapshot");
                let what = |state: &TaskSnapshot| (state.status, state.run, state.progress);
                assert_eq!(
                    what(state),
                    what(&truth),
                    "client {number}: {target} of {task}"
                );
            }
        }
    }
}

#[test]
fn invariant_holds_through_clients_first_half() {
    simulate_seeds(0, 2, SEEDS, simulate);
}

#[test]
fn invariant_holds_through_clients_second_half() {
    simulate_seeds(1, 2, SEEDS, simulate);
}
