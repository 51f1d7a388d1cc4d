//! The invariant under many faults at once: a seeded simulation.
//!
//! The seed decides the order of the steps. They include slow readers, broken connections, resumes
//! by position and by token, and new clients. Subscriptions change, retention is tight, events are
//! conflated, and tasks are deleted. Tasks ask questions and form trees, and the server restarts.
//!
//! Every client checks every message. At the end every client must have reached the head of
//! everything that it watches. The events that it received, folded, must give the server's state,
//! outputs included. Exactly one of two answers to a question is accepted. At rest, each parent
//! has counted its children correctly.
//!
//! A few clients with several tasks test a single connection. A crowd on one task, larger than a
//! slice of the fan-out pass, tests the pass.
//!
//! A failing seed is printed. `TIDINGS_SEED=<seed>` repeats it, and `TIDINGS_SEEDS=<count>` sets
//! the number of seeds.

#![allow(
    clippy::print_stderr,
    reason = "a seed tells its story when it is asked to"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tidings_bus::{BusConfig, EventBus, Kin, LogLimits, SkipPolicy, Sums};
use tidings_connections::{
    Access, CloseReason, ConnectRequest, ConnectionGuard, ConnectionManager, ConnectionsConfig,
};
use tidings_protocol::{
    Data, EventType, ItemId, Json, NewEvent, Since, TaskError, TaskId, TaskSnapshot,
};
use tidings_testkit::{
    LINES, LineReader, LineWire, PipeSocket, WireChecker, connect, simulate_seeds,
};

/// The number of steps for each seed.
const STEPS: usize = 60;
const TASKS: [&str; 4] = ["a-1", "a-2", "b-1", "c"];
const QUESTION: &str = "sure";
const PATTERNS: [&str; 3] = ["a-*", "*", "b-*"];

/// The participants of a simulation.
#[derive(Clone, Copy)]
struct Cast {
    /// The number of seeds in CI.
    seeds: u64,
    /// The number of clients at the start.
    clients: usize,
    /// The greatest number of clients. New ones connect until it is reached.
    most: usize,
    tasks: &'static [&'static str],
}

const FEW: Cast = Cast {
    seeds: 2_500,
    clients: 3,
    most: 5,
    tasks: &TASKS,
};

const CROWD: Cast = Cast {
    seeds: 100,
    clients: 50,
    most: 100,
    tasks: &[TASKS[0]],
};

impl Cast {
    fn some_task(&self, rng: &mut Rng) -> &'static str {
        self.tasks[rng.usize(..self.tasks.len())]
    }
}

/// One life of the server.
struct Node {
    bus: EventBus,
    manager: ConnectionManager,
}

impl Node {
    /// Creates a node. If `reframes`, the bus does not frame events as lines, so that each
    /// connection frames them anew.
    fn new(limits: LogLimits, skip: SkipPolicy, reframes: bool) -> Self {
        let mut config = BusConfig::default()
            .log_limits(limits)
            .sweep_interval(Duration::from_millis(100))
            .finished_events_ttl(Duration::from_millis(300))
            .pinned_ttl(Duration::from_millis(600))
            .idle_ttl(Duration::from_secs(1));
        if !reframes {
            config = config.framing(LINES);
        }
        tidings_bus::lock::check_order();
        let bus = EventBus::new(config).unwrap();
        let config = ConnectionsConfig::default()
            .skip(skip)
            // One task per slice, so that every interleaving between two slices occurs.
            .slice(1)
            .heartbeat_interval(Duration::from_secs(1))
            .write_timeout(Duration::from_secs(1_000_000));
        let manager = ConnectionManager::new(bus.clone(), config).unwrap();
        Self { bus, manager }
    }
}

struct Client {
    cast: Cast,
    number: usize,
    pipe: PipeSocket,
    connection: Option<std::sync::Arc<tidings_connections::Connection>>,
    driver: Option<tokio::task::JoinHandle<()>>,
    reader: LineReader,
    checker: WireChecker,
    explicit: BTreeSet<String>,
    patterns: BTreeSet<String>,
    /// Tasks with an unanswered subscribe or unsubscribe, one entry for each request.
    changed: Vec<String>,
    /// The patterns that are active according to the messages read so far.
    confirmed: BTreeSet<String>,
    token: Option<String>,
    path: Option<String>,
}

async fn drive(guard: ConnectionGuard) {
    let connection = guard.connection().clone();
    std::future::poll_fn(|cx| {
        // A broken pipe is noticed when it is read, like the end of a real socket.
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

impl Client {
    fn new(cast: Cast, number: usize) -> Self {
        Self {
            cast,
            number,
            pipe: PipeSocket::new(1),
            connection: None,
            driver: None,
            reader: LineReader::default(),
            checker: WireChecker::default(),
            explicit: BTreeSet::new(),
            patterns: BTreeSet::new(),
            changed: Vec::new(),
            confirmed: BTreeSet::new(),
            token: None,
            path: None,
        }
    }

    fn watches(&self, task: &str) -> bool {
        self.explicit.contains(task) || self.patterns.iter().any(|pattern| matches(pattern, task))
    }

    fn connect(&mut self, node: &Node, rng: &mut Rng, request: ConnectRequest) {
        trace(|| format!("client {} connects {request:?}", self.number));
        // From smaller than one message to larger than a whole log.
        self.pipe = PipeSocket::new([1, 100, 1_000, 20_000][rng.usize(..4)]);
        self.reader = LineReader::default();
        let socket = Box::new(self.pipe.clone());
        let guard = connect(&node.manager, request, socket, &LineWire).unwrap();
        self.connection = Some(guard.connection().clone());
        self.driver = Some(tokio::spawn(drive(guard)));
    }

    /// Connects without memory of the old connection, perhaps with a position.
    fn connect_fresh(&mut self, node: &Node, rng: &mut Rng) {
        let task = self.cast.some_task(rng);
        let known = self
            .checker
            .task(task)
            .and_then(tidings_testkit::TaskChecker::position);
        self.checker = WireChecker::default();
        self.explicit.clear();
        self.patterns.clear();
        self.changed.clear();
        self.confirmed.clear();
        self.token = None;
        let mut request = ConnectRequest::new(Access::unrestricted());
        self.path = rng.u8(..4).gt(&0).then(|| task.to_owned());
        if let Some(path) = &self.path {
            request = ConnectRequest::to_task(TaskId::new(path).unwrap(), Access::unrestricted());
            self.explicit.insert(path.clone());
            match (rng.u8(..4), known) {
                (0, Some(position)) => {
                    self.checker.ask_since(path, position.clone());
                    request.since = Some(Since::After(position));
                }
                (1, _) => {
                    self.checker.ask_retained(path);
                    request.since = Some(Since::Start);
                }
                (2, _) => {
                    self.checker.ask_history(path);
                    request.history = Some(rng.u32(..20));
                }
                _ => {}
            }
        }
        self.connect(node, rng, request);
    }

    /// Connects as the same client again. Its cursors continue on the server.
    fn resume(&mut self, node: &Node, rng: &mut Rng) {
        let (Some(token), Some(connection)) = (self.token.clone(), &self.connection) else {
            return self.connect_fresh(node, rng);
        };
        // Only the server knows whether an unanswered change took effect, so a careful client
        // starts from scratch.
        if !self.changed.is_empty() {
            return self.connect_fresh(node, rng);
        }
        let client_id = connection.client_id().clone();
        self.checker = self.checker.resumed(|task| self.watches(task));
        let mut request = ConnectRequest::new(Access::unrestricted());
        if let Some(path) = &self.path {
            request = ConnectRequest::to_task(TaskId::new(path).unwrap(), Access::unrestricted());
            // The task in the path is subscribed again, even if the client had unsubscribed from
            // it.
            self.explicit.insert(path.clone());
        }
        request.client_id = Some(client_id);
        request.resume_token = Some(token.into());
        self.connect(node, rng, request);
    }

    /// Breaks the connection. Unread messages are lost, or are read first, as when TCP closes in
    /// order.
    async fn cut(&mut self, in_order: bool) {
        if in_order {
            self.read(usize::MAX);
        }
        self.pipe.break_off();
        if let Some(driver) = self.driver.take() {
            driver.await.unwrap();
        }
    }

    fn read(&mut self, count: usize) -> bool {
        let bytes = self.pipe.take(count);
        for line in self.reader.take(&bytes) {
            trace(|| format!("client {} reads {line:.300}", self.number));
            let message = match self.checker.message(&line) {
                Ok(message) => message,
                Err(violation) => panic!("client {}: {violation}\n{line}", self.number),
            };
            match message["event_type"].as_str().unwrap() {
                "connection_established" => {
                    self.token = message["data"]["resume_token"].as_str().map(str::to_owned);
                }
                "subscribed" if message["data"]["ref"].is_number() => {
                    self.answered(message["task_id"].as_str().unwrap());
                }
                "error" => panic!("client {}: {line}", self.number),
                "subscribed" if message.get("task_id").is_none() => {
                    let pattern = message["data"]["pattern"].as_str().unwrap();
                    self.confirmed.insert(pattern.to_owned());
                    for task in TASKS.into_iter().filter(|task| matches(pattern, task)) {
                        self.answered(task);
                    }
                }
                "unsubscribed" if message["data"]["task_id"].is_string() => {
                    self.answered(message["data"]["task_id"].as_str().unwrap());
                }
                "unsubscribed" if message["data"]["pattern"].is_string() => {
                    let pattern = message["data"]["pattern"].as_str().unwrap();
                    self.confirmed.remove(pattern);
                    for task in TASKS.into_iter().filter(|task| matches(pattern, task)) {
                        self.answered(task);
                        let patterns = &self.confirmed;
                        let wanted = patterns.iter().any(|pattern| matches(pattern, task))
                            // The client has also asked about the task itself, and has no answer.
                            || self.changed.iter().any(|changed| changed == task);
                        if !wanted && !self.explicit.contains(task) {
                            self.checker.forget(task);
                        }
                    }
                }
                _ => {}
            }
        }
        !bytes.is_empty()
    }

    async fn send(&self, message: Value) {
        trace(|| format!("client {} sends {message}", self.number));
        if let Some(connection) = &self.connection {
            connection.receive(&message.to_string()).await;
        }
    }

    /// Records that one change of the subscription to a task took effect.
    fn answered(&mut self, task: &str) {
        if let Some(at) = self.changed.iter().position(|changed| changed == task) {
            self.changed.swap_remove(at);
        }
    }

    fn change_pattern(&mut self, pattern: &str) {
        let tasks = TASKS.iter().filter(|task| matches(pattern, task));
        self.changed.extend(tasks.map(|task| (*task).to_owned()));
    }

    async fn change_subscriptions(&mut self, rng: &mut Rng) {
        // The answer to an earlier request could be mistaken for the answer to this one.
        if self.checker.is_asking() {
            return;
        }
        let task = self.cast.some_task(rng).to_owned();
        let pattern = PATTERNS[rng.usize(..PATTERNS.len())].to_owned();
        match rng.u8(..4) {
            0 if !self.watches(&task) => {
                let position = self
                    .checker
                    .task(&task)
                    .and_then(tidings_testkit::TaskChecker::position);
                let mut message = json!({ "type": "subscribe", "task_id": task, "ref": 7 });
                if let (Some(position), true) = (position, rng.bool()) {
                    message["since"] = json!(position.to_string());
                    self.checker.ask_since(&task, position);
                }
                self.changed.push(task.clone());
                self.explicit.insert(task);
                self.send(message).await;
            }
            1 if self.explicit.contains(&task) => {
                self.explicit.remove(&task);
                if self.watches(&task) {
                    // A pattern still matches the task, so nothing changes for the client.
                    self.explicit.insert(task);
                    return;
                }
                self.changed.push(task.clone());
                self.send(json!({ "type": "unsubscribe", "task_id": task }))
                    .await;
            }
            2 if self.patterns.is_empty() => {
                self.change_pattern(&pattern);
                self.patterns.insert(pattern.clone());
                self.send(json!({ "type": "subscribe", "pattern": pattern }))
                    .await;
            }
            3 => {
                if let Some(pattern) = self.patterns.pop_first() {
                    self.change_pattern(&pattern);
                    self.send(json!({ "type": "unsubscribe", "pattern": pattern }))
                        .await;
                }
            }
            _ => {}
        }
    }
}

/// Prints what happens when a seed is repeated with `TIDINGS_TRACE` set.
fn trace(line: impl FnOnce() -> String) {
    if std::env::var_os("TIDINGS_TRACE").is_some() {
        eprintln!("{}", line());
    }
}

fn matches(pattern: &str, task: &str) -> bool {
    task.starts_with(pattern.trim_end_matches('*'))
}

fn random_event(rng: &mut Rng) -> NewEvent {
    match rng.u8(..22) {
        0 => match rng.usize(..=TASKS.len()) {
            // A circle, or a task that is its own parent, is refused.
            at if at < TASKS.len() => {
                NewEvent::subtask_started("t", &TaskId::new(TASKS[at]).unwrap())
            }
            _ => NewEvent::task_started("t"),
        },
        1 => NewEvent::task_completed(None),
        2 => NewEvent::task_failed(TaskError::new("broken")),
        3..=8 => NewEvent::progress(f64::from(rng.u8(..101)), "working"),
        9 => NewEvent::input_required(QUESTION, "Sure?", None),
        10..=11 => NewEvent::log("x".repeat(rng.usize(..300))),
        // With these shares and seeds, about a million deltas in all.
        12..=18 => NewEvent::output_delta(["o", "p"][rng.usize(..2)], "wörd "),
        _ => NewEvent::new("custom".parse::<EventType>().unwrap(), Data::empty()),
    }
}

/// Answers a question twice at the same time. Exactly one answer wins, if it is open.
async fn answer_twice(bus: &EventBus, task: &TaskId) {
    let id = ItemId::new(QUESTION).unwrap();
    let state = bus.snapshot(task);
    let asks = |state: &TaskSnapshot| {
        state
            .pending_inputs
            .iter()
            .any(|input| input.input_id == id)
    };
    let open = state.is_some_and(|state| asks(&state));
    let value = Json::parse("true").unwrap();
    let (one, other) = tokio::join!(
        bus.answer(task, &id, &value, "ann"),
        bus.answer(task, &id, &value, "bob"),
    );
    let won = usize::from(one.is_ok()) + usize::from(other.is_ok());
    assert_eq!(won, usize::from(open), "{task}: {one:?}, {other:?}");
}

/// Lets the bus come to rest. Checks that every parent says what its children are.
async fn rest(bus: &EventBus) {
    for _ in 0..40 {
        settle().await;
        let all = bus.list("", None, None, usize::MAX);
        let differs = all.iter().find_map(|parent| {
            let mut sums = Sums::default();
            let kin = all.iter().filter_map(|child| Kin::of(child));
            kin.filter(|kin| kin.parent == parent.task_id)
                .for_each(|kin| sums.add(&kin));
            let said = parent.children.as_ref().map(|said| {
                let ended = [said.completed, said.failed, said.cancelled];
                let [completed, failed, cancelled] = ended;
                let counts = [said.pending, said.running, completed, failed, cancelled];
                (counts, said.progress)
            });
            let are = (sums.total() > 0).then(|| (sums.counts, sums.progress()));
            (said != are).then(|| format!("{} says {said:?}, not {are:?}", parent.task_id))
        });
        match differs {
            None => return,
            Some(differs) => trace(|| differs),
        }
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    panic!("a parent does not come to say what its children are");
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn simulate(cast: Cast, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let limits = LogLimits {
        max_events: rng.u64(1..40),
        max_bytes: 1 << rng.u32(10..18),
    };
    let skip = SkipPolicy::behind([1, 8, u64::MAX][rng.usize(..3)]);
    let reframes = rng.bool();
    let mut node = Node::new(limits, skip, reframes);
    let mut clients = Vec::new();
    come(cast.clients, cast, &mut clients, &node, &mut rng);
    for _ in 0..STEPS {
        let at = rng.usize(..clients.len());
        match rng.u8(..36) {
            0..=11 => {
                let task = TaskId::new(cast.some_task(&mut rng)).unwrap();
                for _ in 0..rng.usize(1..30) {
                    // An event that is not allowed now is refused and changes nothing.
                    let _ = node.bus.publish(&task, random_event(&mut rng)).await;
                    if rng.u8(..4) == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            }
            12..=17 => {
                let count = [1, 50, 500, usize::MAX][rng.usize(..4)];
                clients[at].read(count);
            }
            18..=21 => settle().await,
            22..=24 => clients[at].change_subscriptions(&mut rng).await,
            25..=26 => {
                clients[at].cut(false).await;
                clients[at].connect_fresh(&node, &mut rng);
            }
            27..=28 => {
                clients[at].cut(true).await;
                clients[at].resume(&node, &mut rng);
            }
            29 => {
                let task = TaskId::new(cast.some_task(&mut rng)).unwrap();
                trace(|| format!("{task} is removed"));
                node.bus.remove(&task).await.unwrap();
            }
            34..=35 => {
                let task = TaskId::new(cast.some_task(&mut rng)).unwrap();
                answer_twice(&node.bus, &task).await;
            }
            30 => tokio::time::advance(Duration::from_millis(rng.u64(..2_000))).await,
            31..=32 => {
                // An event may still be on its way to the earlier clients.
                let task = TaskId::new(cast.some_task(&mut rng)).unwrap();
                let _ = node.bus.publish(&task, random_event(&mut rng)).await;
                for _ in 0..rng.usize(..4) {
                    tokio::task::yield_now().await;
                }
                let room = cast.most - clients.len();
                let count = rng.usize(..=room.min(cast.most / 4));
                come(count, cast, &mut clients, &node, &mut rng);
            }
            _ => {
                for client in &mut clients {
                    client.cut(rng.bool()).await;
                }
                node.bus.shutdown().await;
                node = Node::new(limits, skip, reframes);
                for client in &mut clients {
                    client.connect_fresh(&node, &mut rng);
                }
            }
        }
    }
    finish(&node, &mut clients).await;
    node.bus.shutdown().await;
}

/// Connects several new clients, one directly after the other.
fn come(count: usize, cast: Cast, clients: &mut Vec<Client>, node: &Node, rng: &mut Rng) {
    for _ in 0..count {
        let mut client = Client::new(cast, clients.len());
        client.connect_fresh(node, rng);
        clients.push(client);
    }
}

/// Lets every client read to the end. Checks that each has the newest event and the right state.
async fn finish(node: &Node, clients: &mut [Client]) {
    rest(&node.bus).await;
    let mut quiet = 0;
    while quiet < 3 {
        settle().await;
        let moved = clients
            .iter_mut()
            .fold(false, |moved, client| client.read(usize::MAX) | moved);
        quiet = if moved { 0 } else { quiet + 1 };
    }
    for client in clients.iter() {
        for task in TASKS.iter().filter(|task| client.watches(task)) {
            let Some(truth) = node.bus.snapshot(&TaskId::new(task).unwrap()) else {
                continue;
            };
            let number = client.number;
            let seen = client.checker.task(task).unwrap_or_else(|| {
                panic!("client {number} watches {task} and was told nothing of it")
            });
            let due = Some(truth.offset.get() + 1);
            assert_eq!(
                seen.checker.expected(),
                due,
                "client {number} stands still in {task}"
            );
            if let Err(violation) = seen.state.compare(&truth) {
                panic!("client {number}'s state of {task}: {violation}");
            }
        }
    }
}

#[test]
fn invariant_holds_first_half() {
    simulate_seeds(0, 2, FEW.seeds, |seed| simulate(FEW, seed));
}

#[test]
fn invariant_holds_second_half() {
    simulate_seeds(1, 2, FEW.seeds, |seed| simulate(FEW, seed));
}

#[test]
fn invariant_holds_in_a_crowd() {
    simulate_seeds(0, 1, CROWD.seeds, |seed| simulate(CROWD, seed));
}
