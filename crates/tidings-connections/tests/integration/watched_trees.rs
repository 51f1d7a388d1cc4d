//! Clients of trees under many faults at once: a seeded simulation.
//!
//! Tasks name parents, end, are removed and come back below another parent. Clients subscribe to
//! trees and patterns and unsubscribe, read slowly, and come back after a lost connection. At the
//! end, each client must know the tasks of its trees, and the state of each.
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

const SEEDS: u64 = 1_000;
const STEPS: usize = 80;
const TASKS: [&str; 7] = ["a", "a-1", "a-2", "b", "b-1", "b-2", "c"];
const TREES: [&str; 3] = ["a", "a-1", "b"];
const PATTERN: &str = "a-*";

fn some<'a>(random: &mut Rng, names: &[&'a str]) -> &'a str {
    names[random.usize(..names.len())]
}

/// A client, and what the messages have told it.
struct Watcher {
    client: Client,
    token: Secret,
    /// The tasks of each tree that the client is subscribed to.
    trees: BTreeMap<String, BTreeSet<String>>,
    pattern: bool,
    /// The number of requests without an answer.
    asked: usize,
}

impl Watcher {
    async fn connect(world: &World, random: &mut Rng) -> Self {
        let pipe = PipeSocket::new([60, 1_000, 20_000][random.usize(..3)]);
        let checker = WireChecker::default();
        let mut client = world.through(pipe, "all", "c", None, checker).await;
        let messages = client.read().await;
        let token = messages[0]["data"]["resume_token"].as_str().unwrap();
        Self {
            token: Secret::from(token.to_owned()),
            client,
            trees: BTreeMap::new(),
            pattern: false,
            asked: 0,
        }
    }

    /// Changes a subscription. Only the server knows whether a change without an answer has taken
    /// effect, so one is asked for at a time.
    async fn change(&mut self, random: &mut Rng) {
        if self.asked > 0 {
            return;
        }
        let tree = some(random, &TREES);
        let message = match (random.u8(..4), self.trees.contains_key(tree)) {
            (0, _) if self.pattern => json!({ "type": "unsubscribe", "pattern": PATTERN }),
            (0, _) => json!({ "type": "subscribe", "pattern": PATTERN }),
            (_, true) => json!({ "type": "unsubscribe", "tree": tree }),
            (_, false) => json!({ "type": "subscribe", "tree": tree }),
        };
        self.asked += 1;
        self.client
            .guard
            .connection()
            .receive(&message.to_string())
            .await;
    }

    fn take(&mut self, messages: &[Value]) {
        for message in messages {
            let data = &message["data"];
            let task = message["task_id"].as_str().or(data["task_id"].as_str());
            match (message["event_type"].as_str().unwrap(), task) {
                ("subscribed", None) => {
                    self.asked -= 1;
                    match data["tree"].as_str() {
                        Some(tree) => drop(self.trees.insert(tree.to_owned(), BTreeSet::new())),
                        None => self.pattern = true,
                    }
                }
                ("subscribed", Some(task)) => {
                    if data.get("snapshot").is_some() {
                        // A task that has come back is told anew.
                        self.leaves(task);
                    }
                    if let Some(tree) = data["tree"].as_str() {
                        let members = self.trees.get_mut(tree).expect("a tree that was confirmed");
                        assert!(members.insert(task.to_owned()), "told twice: {message}");
                    }
                }
                ("unsubscribed", Some(task)) => self.leaves(task),
                ("unsubscribed", None) => {
                    self.asked -= 1;
                    let ended = match data["tree"].as_str() {
                        Some(tree) => self.trees.remove(tree).expect("a tree that was confirmed"),
                        None => {
                            self.pattern = false;
                            TASKS.iter().map(|task| (*task).to_owned()).collect()
                        }
                    };
                    for task in ended {
                        if !self.watches(&task) {
                            self.client.checker.forget(&task);
                        }
                    }
                }
                ("error", _) => panic!("{message}"),
                _ => {}
            }
        }
    }

    fn leaves(&mut self, task: &str) {
        for members in self.trees.values_mut() {
            members.remove(task);
        }
    }

    fn watches(&self, task: &str) -> bool {
        let by_pattern = self.pattern && task.starts_with(PATTERN.trim_end_matches('*'));
        by_pattern || self.trees.values().any(|members| members.contains(task))
    }

    async fn read(&mut self) {
        let messages = self.client.read().await;
        self.take(&messages);
    }

    async fn come_back(mut self, world: &World) -> Self {
        if self.asked > 0 {
            self.read().await;
        }
        let checker = self.client.checker.resumed(|task| self.watches(task));
        drop(self.client);
        let token = Some(self.token.clone());
        self.client = world.resume("all", "c", token, checker).await;
        self
    }

    /// Compares what the client knows with the bus.
    async fn check(&mut self, bus: &EventBus) {
        while self.asked > 0 {
            self.read().await;
        }
        self.read().await;
        for (tree, members) in &self.trees {
            let mut below = vec![id(tree)];
            while let Some(task) = below.pop() {
                assert!(members.contains(task.as_str()), "{tree} lacks {task}");
                below.extend(bus.children(&task, "", None, usize::MAX).await.unwrap());
            }
        }
        for task in TASKS.iter().filter(|task| self.watches(task)) {
            if let Some(state) = bus.snapshot(&id(task)) {
                self.client.checker.compare(&state).unwrap();
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
                let messages = watcher.client.turn().await;
                watcher.take(&messages);
            }
            10 => {
                for _ in 0..random.usize(..20) {
                    tokio::task::yield_now().await;
                }
            }
            _ if random.u8(..4) == 0 => watcher = watcher.come_back(&world).await,
            _ => watcher.read().await,
        }
    }
    watcher.check(&world.bus).await;
}

#[test]
fn a_client_knows_the_tasks_of_its_trees_whatever_happens() {
    simulate_seeds(0, 1, SEEDS, simulate);
}
