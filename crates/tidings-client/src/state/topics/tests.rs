//! Tests patterns whose tasks are removed while the connection is lost.

use std::sync::Arc;

use serde_json::Value;
use tidings_protocol::{
    ClientId, ControlMessage, Epoch, Joined, Offset, Reference, ServerMessage, Target, TaskId,
    TaskSnapshot, Timestamp,
};
use tokio::time::Instant;

use crate::config::ClientConfig;
use crate::error::Loss;
use crate::state::{Input, Output, State};
use crate::update::{Start, Update};

struct Bench {
    state: State,
    now: Instant,
}

impl Bench {
    fn said(&mut self, message: ControlMessage) {
        let timestamp = Timestamp::MIN;
        let message = ServerMessage::Control { timestamp, message };
        let input = Input::Message(Box::new(message));
        self.state.handle(input, self.now);
    }

    fn greet(&mut self) {
        self.state.handle(Input::Opened, self.now);
        let id = ClientId::generate();
        self.said(ControlMessage::connection_established(id, "", 25_000, None));
    }

    fn reconnect(&mut self) {
        self.state.handle(Input::Lost(Loss::Silent), self.now);
        self.now = self.state.poll_timeout().unwrap();
        self.state.handle(Input::Tick, self.now);
        self.greet();
    }

    fn sent(&mut self) -> Vec<Value> {
        let outputs = std::iter::from_fn(|| self.state.poll_output());
        let texts = outputs.filter_map(|output| match output {
            Output::Send(text) => serde_json::from_str(&text).ok(),
            _ => None,
        });
        texts.collect()
    }

    /// Answers the subscription to the pattern, and announces these tasks.
    fn announce(&mut self, tasks: &[&str]) {
        let sent = self.sent();
        let asked = sent.iter().find(|message| message["type"] == "subscribe");
        let reference = asked.unwrap()["ref"].as_u64().unwrap();
        let pattern = "*".parse().unwrap();
        let reference = Some(Reference::from(reference));
        self.said(ControlMessage::subscribed_to(
            reference,
            Target::Pattern(pattern),
        ));
        for task in tasks {
            self.said(joined(task));
        }
        // The server answers later messages after the announcements.
        for ping in self
            .sent()
            .iter()
            .filter(|message| message["type"] == "ping")
        {
            let reference = ping["ref"].as_u64().map(Reference::from);
            self.said(ControlMessage::pong(reference));
        }
    }
}

fn joined(task: &str) -> ControlMessage {
    ControlMessage::subscribed(None, Some(Target::Pattern("*".parse().unwrap())), at(task))
}

fn at(task: &str) -> Joined {
    let task_id: TaskId = task.parse().unwrap();
    let epoch: Epoch = "e".parse().unwrap();
    let mut snapshot = TaskSnapshot::new(task_id.clone(), epoch.clone());
    let offset = Offset::new(3).unwrap();
    snapshot.offset = offset;
    Joined {
        task_id,
        epoch,
        offset,
        recovered: true,
        snapshot: Arc::new(snapshot),
        permissions: None,
    }
}

#[test]
fn a_pattern_forgets_a_task_that_went_while_there_was_no_connection() {
    let now = Instant::now();
    let mut state = State::new(ClientConfig::default().seed(1), None, false);
    state.start(now);
    let mut bench = Bench { state, now };
    let target = Target::Pattern("*".parse().unwrap());
    let watch = bench.state.watch(&target, Start::Live, now);
    bench.greet();
    bench.announce(&["stays", "goes"]);
    bench.reconnect();
    bench.announce(&["stays"]);
    let updates = std::iter::from_fn(|| bench.state.take(watch, now));
    let updates: Vec<_> = updates.map(|update| update.unwrap().unwrap()).collect();
    let gone: Vec<_> = updates
        .iter()
        .filter_map(|update| match update {
            Update::Removed { task_id } => Some(task_id.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(gone, ["goes"], "{updates:?}");
    let known: Vec<_> = bench.state.topics.topics.keys().collect();
    assert_eq!(known, [&"stays".parse::<TaskId>().unwrap()]);
}

/// Returns the `ref` of the subscription to a task or a tree.
fn asked(sent: &[Value], target: &str, name: &str) -> Option<Reference> {
    let mut asked = sent
        .iter()
        .filter(|message| message["type"] == "subscribe" && message[target] == name);
    asked.next()?["ref"].as_u64().map(Reference::from)
}

fn snapshots(bench: &mut Bench, watch: super::WatchId) -> Vec<String> {
    let now = bench.now;
    let updates = std::iter::from_fn(|| bench.state.take(watch, now));
    let updates = updates.map(|update| update.unwrap().unwrap());
    let states = updates.filter_map(|update| Some(update.snapshot()?.task_id.to_string()));
    states.collect()
}

#[test]
fn a_tree_brings_what_is_announced_and_what_is_watched_already() {
    let now = Instant::now();
    let mut state = State::new(ClientConfig::default().seed(1), None, false);
    state.start(now);
    let mut bench = Bench { state, now };
    let tree = Target::Tree("top".parse().unwrap());
    let part: TaskId = "part".parse().unwrap();
    let named = bench
        .state
        .watch(&Target::Task(part.clone()), Start::Live, now);
    let watch = bench.state.watch(&tree, Start::Live, now);
    bench.greet();
    let sent = bench.sent();
    let by_name = asked(&sent, "task_id", "part");
    assert!(by_name.is_some(), "{sent:?}");
    bench.said(ControlMessage::subscribed(by_name, None, at("part")));
    let reference = asked(&sent, "tree", "top");
    assert!(reference.is_some(), "{sent:?}");
    bench.said(ControlMessage::subscribed_to(reference, tree.clone()));
    bench.said(ControlMessage::subscribed(
        None,
        Some(tree.clone()),
        at("top"),
    ));
    let top = "top".parse().unwrap();
    bench.said(ControlMessage::subscribed_member(top, part.clone()));
    // Only the server knows where the tree's watch begins in this task.
    let again = asked(&bench.sent(), "task_id", "part");
    assert!(again.is_some());
    bench.said(ControlMessage::subscribed(again, None, at("part")));
    assert_eq!(snapshots(&mut bench, watch), ["top", "part"]);
    assert_eq!(snapshots(&mut bench, named), ["part"]);
    bench.reconnect();
    let sent = bench.sent();
    let reference = asked(&sent, "tree", "top");
    assert!(reference.is_some(), "{sent:?}");
    bench.said(ControlMessage::subscribed_to(reference, tree.clone()));
    bench.said(ControlMessage::subscribed(None, Some(tree), at("born")));
    assert_eq!(snapshots(&mut bench, watch), ["born"]);
}
