//! Clients of trees under many faults at once: a seeded simulation.
//!
//! Tasks name parents, end, are removed and come back below another parent. A client subscribes to
//! trees and a pattern and unsubscribes, reads slowly, and comes back after a lost connection. At
//! the end, the client must know the tasks of its trees, and the state of each. It must receive
//! nothing about any other task.
//!
//! `TIDINGS_SEED=<seed>` repeats a seed, and `TIDINGS_SEEDS=<count>` sets their number.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use serde_json::{Value, json};
use tidings_bus::{BusConfig, EventBus};
use tidings_connections::ConnectionsConfig;
use tidings_protocol::{NewEvent, Secret, TaskId};
use tidings_testkit::{LINES, PipeSocket, WireChecker, simulate_seeds};

use crate::trees::{Client, World, id, unpaced};

const SEEDS: u64 = 400;
const STEPS: usize = 80;
const TASKS: [&str; 7] = ["a", "a-1", "a-2", "b", "b-1", "b-2", "c"];
const TREES: [&str; 3] = ["a", "a-1", "b"];
const PATTERN: &str = "a-*";

/// The tasks that a client with the token `holes` may not watch.
const HOLES: [&str; 2] = ["a-1", "b-1"];

fn some<'a>(random: &mut Rng, names: &[&'a str]) -> &'a str {
    names[random.usize(..names.len())]
}

/// A client, and what the messages of its connection have told it.
struct Watcher {
    client: Option<Client>,
    checker: WireChecker,
    /// The name of the client's token.
    access: &'static str,
    resume_token: Secret,
    /// The tasks of each tree that the client is subscribed to.
    trees: BTreeMap<String, BTreeSet<String>>,
    pattern: bool,
    /// The tasks that the client has known before, and that this connection has not told yet.
    awaited: BTreeSet<&'static str>,
    /// The number of requests without an answer.
    asked: usize,
}

impl Watcher {
    async fn connect(world: &World, random: &mut Rng) -> Self {
        let pipe = PipeSocket::new([60, 1_000, 20_000][random.usize(..3)]);
        let access = ["all", "holes"][random.usize(..2)];
        let mut client = world
            .through(pipe, access, "c", None, WireChecker::default())
            .await;
        let lines = client.read_unchecked().await;
        let greeting: Value = serde_json::from_str(&lines[0]).unwrap();
        let token = greeting["data"]["resume_token"].as_str().unwrap();
        Self {
            client: Some(client),
            checker: WireChecker::default(),
            access,
            resume_token: Secret::from(token.to_owned()),
            trees: BTreeMap::new(),
            pattern: false,
            awaited: BTreeSet::new(),
            asked: 0,
        }
    }

    fn client(&mut self) -> &mut Client {
        self.client.as_mut().expect("a connection")
    }

    fn may_watch(&self, task: &str) -> bool {
        self.access == "all" || !HOLES.contains(&task)
    }

    /// Changes a subscription. Only the server knows whether a change without an answer has taken
    /// effect, so the client asks for one change at a time.
    async fn change(&mut self, random: &mut Rng) {
        let tree = some(random, &TREES);
        let of_pattern = random.u8(..4) == 0;
        let allowed = match of_pattern {
            true => self.access == "all",
            false => self.may_watch(tree),
        };
        if self.asked > 0 || !allowed {
            return;
        }
        let message = match (of_pattern, self.pattern, self.trees.contains_key(tree)) {
            (true, true, _) => json!({ "type": "unsubscribe", "pattern": PATTERN }),
            (true, false, _) => json!({ "type": "subscribe", "pattern": PATTERN }),
            (false, _, true) => json!({ "type": "unsubscribe", "tree": tree }),
            (false, _, false) => json!({ "type": "subscribe", "tree": tree }),
        };
        self.asked += 1;
        let connection = self.client().guard.connection();
        connection.receive(&message.to_string()).await;
    }

    fn hear(&mut self, lines: Vec<String>) {
        for line in lines {
            let message = self.checker.message(&line).unwrap();
            self.take(&message);
        }
    }

    fn take(&mut self, message: &Value) {
        let data = &message["data"];
        let tree = data["tree"].as_str();
        match (
            message["event_type"].as_str().unwrap(),
            message["task_id"].as_str(),
        ) {
            ("subscribed", None) => {
                self.asked -= 1;
                match tree {
                    Some(tree) => _ = self.trees.insert(tree.to_owned(), BTreeSet::new()),
                    None => self.pattern = true,
                }
            }
            ("subscribed", Some(task)) => {
                assert!(self.may_watch(task), "{message}");
                if data.get("snapshot").is_some() {
                    // The task begins anew, and so do its memberships.
                    self.leaves(task);
                }
                if let Some(tree) = tree {
                    let members = self.trees.get_mut(tree).expect("a tree that was confirmed");
                    assert!(members.insert(task.to_owned()), "told twice: {message}");
                }
            }
            ("unsubscribed", Some(task)) => self.leaves(task),
            ("unsubscribed", None) => {
                self.asked -= 1;
                match tree {
                    Some(tree) => _ = self.trees.remove(tree).expect("a tree that was confirmed"),
                    None => self.pattern = false,
                }
                // The server has restored all tasks before.
                self.awaited.clear();
                for task in TASKS {
                    if !self.watches(task) {
                        // From here on, an event of the task is a fault.
                        self.checker.forget(task);
                    }
                }
            }
            ("error", _) => panic!("{message}"),
            _ => {}
        }
    }

    fn leaves(&mut self, task: &str) {
        self.awaited.remove(task);
        for members in self.trees.values_mut() {
            members.remove(task);
        }
    }

    fn watches(&self, task: &str) -> bool {
        let by_pattern = self.pattern && task.starts_with(PATTERN.trim_end_matches('*'));
        by_pattern || self.trees.values().any(|members| members.contains(task))
    }

    async fn read(&mut self) {
        let lines = self.client().read_unchecked().await;
        self.hear(lines);
    }

    /// Loses the connection, and comes back. The new connection tells again which tasks belong to
    /// the trees.
    async fn come_back(mut self, world: &World, random: &mut Rng) -> Self {
        if self.asked > 0 {
            self.read().await;
        }
        let pipe = PipeSocket::new([60, 1_000, 20_000][random.usize(..3)]);
        let token = Some(self.resume_token.clone());
        let client = self.client.take().expect("a connection");
        let lines = client.leave();
        self.hear(lines);
        let told = self.checker.tasks().filter(|(task, _)| self.watches(task));
        let told = told.map(|(task, known)| (id(task), known.epoch.clone()));
        let told: Vec<_> = told.collect();
        let known = |task: &&str| self.watches(task) || self.awaited.contains(*task);
        self.awaited = TASKS.into_iter().filter(known).collect();
        self.checker = self.checker.resumed(|task| self.awaited.contains(task));
        self.trees.values_mut().for_each(BTreeSet::clear);
        let client = world.through(pipe, self.access, "c", token, WireChecker::default());
        self.client = Some(client.await);
        if random.bool() {
            self.read().await;
            for (task, epoch) in told {
                let state = world.bus.snapshot(&task);
                if state.is_some_and(|state| Some(&state.epoch) == epoch.as_ref()) {
                    let known = self.checker.task(task.as_str());
                    assert!(known.is_some(), "the client has lost {task}");
                }
            }
        }
        self
    }

    /// Compares what the client knows with the bus.
    async fn check(&mut self, bus: &EventBus) {
        self.read().await;
        assert_eq!(self.asked, 0, "a request has no answer");
        for (tree, members) in &self.trees {
            let mut below = vec![id(tree)];
            while let Some(task) = below.pop() {
                if self.may_watch(task.as_str()) {
                    assert!(members.contains(task.as_str()), "{tree} lacks {task}");
                }
                below.extend(bus.children(&task, "", None, usize::MAX).await.unwrap());
            }
        }
        for task in TASKS.iter().filter(|task| self.watches(task)) {
            if let Some(state) = bus.snapshot(&id(task)) {
                self.checker.compare(&state).unwrap();
            }
        }
    }
}

/// Changes a task. An event that is not allowed now is refused and changes nothing.
async fn change(bus: &EventBus, random: &mut Rng) {
    let task = id(some(random, &TASKS));
    let event = match random.u8(..9) {
        0..=2 => {
            let parent: TaskId = id(some(random, &TASKS));
            NewEvent::subtask_started("part", &parent)
        }
        3 => NewEvent::task_started("alone"),
        4 => NewEvent::task_completed(None),
        5 => {
            _ = bus.remove(&task).await.unwrap();
            return;
        }
        6 => NewEvent::log("x".repeat(random.usize(..2_000))),
        _ => NewEvent::progress(f64::from(random.u8(..100)), "working"),
    };
    _ = bus.publish(&task, event).await;
}

async fn simulate(seed: u64) {
    let mut random = Rng::with_seed(seed);
    let bus = EventBus::new(BusConfig::default().framing(LINES)).unwrap();
    let config = ConnectionsConfig::default().limits(unpaced());
    // Few tasks per slice, so that much happens between two slices.
    let world = World::configured(bus, config.slice(random.usize(1..3)));
    let mut watcher = Watcher::connect(&world, &mut random).await;
    for _ in 0..STEPS {
        match random.u8(..12) {
            0..=5 => change(&world.bus, &mut random).await,
            6..=7 => watcher.change(&mut random).await,
            8..=9 => {
                let lines = watcher.client().turn_unchecked().await;
                watcher.hear(lines);
            }
            10 => {
                for _ in 0..random.usize(..20) {
                    tokio::task::yield_now().await;
                }
            }
            _ if random.u8(..4) == 0 => watcher = watcher.come_back(&world, &mut random).await,
            _ => watcher.read().await,
        }
    }
    watcher.check(&world.bus).await;
}

#[test]
fn a_client_knows_the_tasks_of_its_trees_whatever_happens() {
    simulate_seeds(0, 2, SEEDS, simulate);
}

#[test]
fn a_client_knows_the_tasks_of_its_trees_whatever_happens_too() {
    simulate_seeds(1, 2, SEEDS, simulate);
}
