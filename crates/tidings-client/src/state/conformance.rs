//! Runs the vectors of `docs/conformance` against this client, which must pass all of
//! them.
//!
//! The protocol crate folds and reduces. Scripts drive the state machine with a clock
//! that the script controls.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tidings_protocol::{
    ClientRequest, CloseCode, Event, Fold, NewEvent, Payload, Reconnect, Secret, ServerMessage,
    Target, TaskCommanded, TaskId, TaskSnapshot,
};
use tokio::time::Instant;

use super::{Input, Output, RequestId, State, WatchId};
use crate::config::ClientConfig;
use crate::error::Loss;
use crate::update::{Start, Update};

fn vectors(name: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/conformance");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    let mut file: Value = serde_json::from_str(&text).unwrap();
    serde_json::from_value(file["vectors"].take()).unwrap()
}

/// One client. The script plays the network.
struct Script {
    state: State,
    now: Instant,
    /// The tokens that the source has still to return.
    tokens: VecDeque<String>,
    has_source: bool,
    started: bool,
    connecting: Option<Option<Secret>>,
    closed_at: Option<Instant>,
    /// Messages that the client has sent on this connection and that no step has named
    /// yet.
    sent: VecDeque<Value>,
    reference: Value,
    watch: Option<WatchId>,
    /// Whether the watch is one of a tree.
    of_tree: bool,
    publish: Option<RequestId>,
    published: Option<u64>,
    command: Option<RequestId>,
    /// The answer to the command: null if it has failed.
    commanded: Option<Value>,
}

impl Script {
    fn new(tokens: &Value) -> Self {
        let mut tokens: VecDeque<String> = serde_json::from_value(tokens.clone()).unwrap();
        let has_source = tokens.len() > 1;
        let fixed = if has_source { None } else { tokens.pop_front() };
        let config = ClientConfig::default().seed(1);
        let fixed = fixed.as_deref().map(Secret::from);
        Self {
            state: State::new(config, fixed, has_source),
            now: Instant::now(),
            tokens,
            has_source,
            started: false,
            connecting: None,
            closed_at: None,
            sent: VecDeque::new(),
            reference: Value::Null,
            watch: None,
            of_tree: false,
            publish: None,
            published: None,
            command: None,
            commanded: None,
        }
    }

    fn handle(&mut self, input: Input) {
        self.state.handle(input, self.now);
        self.outputs();
    }

    fn outputs(&mut self) {
        while let Some(output) = self.state.poll_output() {
            match output {
                Output::Connect(token) => self.connecting = Some(token),
                Output::Send(text) => self.sent.push_back(serde_json::from_str(&text).unwrap()),
                Output::RefreshToken => {
                    assert!(self.has_source);
                    let token = self.tokens.pop_front().map(|token| Secret::from(&*token));
                    self.state.handle(Input::Token(token), self.now);
                }
                Output::Acknowledged(id, answer) if Some(id) == self.publish => {
                    self.published = Some(answer.unwrap().offset.get());
                }
                Output::TreeCommanded(id, tasks) if Some(id) == self.command => {
                    let words = tasks.iter().map(|task| match task {
                        TaskCommanded::Refused { task_id, code, .. } => format!("{task_id} {code}"),
                        asked => format!("{} asked", asked.task_id()),
                    });
                    self.commanded = Some(words.collect());
                }
                Output::Commanded(id, Err(_)) if Some(id) == self.command => {
                    self.commanded = Some(Value::Null);
                }
                _ => {}
            }
        }
    }

    fn step(&mut self, step: &Value) {
        let (name, value) = step.as_object().unwrap().iter().next().unwrap();
        match name.as_str() {
            "watch" => {
                let start = match value["since"].as_str() {
                    None => Start::Live,
                    Some("0") => Start::Retained,
                    Some(position) => Start::After(position.parse().unwrap()),
                };
                let task = |id: &Value| serde_json::from_value::<TaskId>(id.clone()).unwrap();
                self.of_tree = value.get("tree").is_some();
                let target = match value.get("tree") {
                    Some(tree) => Target::Tree(task(tree)),
                    None => Target::Task(task(&value["task_id"])),
                };
                self.watch = Some(self.state.watch(&target, start, self.now));
                self.start();
            }
            "command" => {
                let request = ClientRequest::Command {
                    task_id: serde_json::from_value(value["task_id"].clone()).unwrap(),
                    command: value["command"].as_str().unwrap().to_owned(),
                    args: serde_json::from_value(value["args"].clone()).unwrap(),
                    tree: true,
                };
                self.command = Some(self.state.ask(request).unwrap());
                self.start();
            }
            "commanded" => assert_eq!(self.commanded.as_ref(), Some(value)),
            "publish" => {
                let task: TaskId = serde_json::from_value(value["task_id"].clone()).unwrap();
                let event: NewEvent = serde_json::from_value(value.clone()).unwrap();
                self.publish = Some(self.state.publish(task, event, false).unwrap());
                self.start();
            }
            "renews" => {
                let token = Secret::from(value.as_str().unwrap());
                self.state.set_token(token, self.now).unwrap();
                self.outputs();
            }
            "connects" => self.connects(value),
            "server" => {
                let mut message = value.clone();
                if message["data"]["ref"] == "$ref" {
                    message["data"]["ref"] = self.reference.clone();
                }
                let message = ServerMessage::decode(&message.to_string()).unwrap();
                self.handle(Input::Message(Box::new(message)));
            }
            "sends" => self.sends(value),
            "closes" => {
                self.closed_at = Some(self.now);
                self.sent.clear();
                self.handle(Input::Lost(Loss::Closed {
                    code: u16::try_from(value.as_u64().unwrap()).ok(),
                    reason: String::new(),
                }));
            }
            "stops" => assert!(self.state.stopped().is_some(), "it goes on"),
            "told" => assert_eq!(self.told(), *value),
            "published" => assert_eq!(self.published, value.as_u64()),
            other => panic!("no step is called {other}"),
        }
    }

    fn start(&mut self) {
        if !std::mem::replace(&mut self.started, true) {
            self.state.start(self.now);
        }
        self.outputs();
    }

    fn connects(&mut self, expected: &Value) {
        let token = loop {
            assert!(self.state.stopped().is_none(), "it has stopped");
            if let Some(token) = self.connecting.take() {
                break token;
            }
            self.now = self.state.poll_timeout().expect("something is to come");
            self.handle(Input::Tick);
        };
        let token = token.as_ref().map(Secret::reveal);
        assert_eq!(token, expected["token"].as_str());
        let after = Duration::from_millis(expected["after_ms"].as_u64().unwrap());
        if let Some(closed_at) = self.closed_at {
            assert!(self.now >= closed_at + after, "too early");
        }
        self.sent.clear();
        self.handle(Input::Opened);
    }

    fn sends(&mut self, expected: &Value) {
        let fields = expected.as_object().unwrap();
        let same = |sent: &Value| sent["type"] == expected["type"];
        let at = self.sent.iter().position(same);
        let sent = at.and_then(|at| self.sent.remove(at));
        let sent = sent.unwrap_or_else(|| panic!("nothing like {expected} was sent"));
        for (name, value) in fields {
            assert_eq!(sent[name], *value, "`{name}` of {sent}");
        }
        self.reference = sent["ref"].clone();
    }

    /// Returns the watch's updates since the last call, without snapshots.
    fn told(&mut self) -> Value {
        let mut told = Vec::new();
        while let Some(taken) = self.state.take(self.watch.unwrap(), self.now) {
            let update = taken.unwrap().unwrap();
            let task = update.task_id().filter(|_| self.of_tree);
            let task = task.map_or(String::new(), |task_id| format!("{task_id} "));
            let words = match update {
                Update::Event(event) if event.from.is_some() => {
                    Some(format!("event {}-{}", event.first_offset(), event.offset))
                }
                Update::Event(event) => Some(format!("event {}", event.offset)),
                Update::Gap { gap, .. } => {
                    Some(format!("gap {}-{} {}", gap.from, gap.to, gap.reason))
                }
                Update::Reset {
                    reason,
                    offset,
                    snapshot,
                    ..
                } => Some(format!("reset {}:{offset} {reason}", snapshot.epoch)),
                _ => None,
            };
            told.extend(words.map(|words| task + &words));
        }
        self.outputs();
        serde_json::to_value(told).unwrap()
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "the count is told")]
fn every_vector_passes() {
    let mut count = 0;
    let mut pass = |name: &str, check: &dyn Fn(&Value)| {
        for vector in vectors(name) {
            println!("{name}: {}", vector["name"]);
            check(&vector);
            count += 1;
        }
    };
    pass("reduce.json", &|vector| {
        let mut state: TaskSnapshot = serde_json::from_value(vector["start"].clone()).unwrap();
        let events: Vec<Event> = serde_json::from_value(vector["events"].clone()).unwrap();
        for event in events {
            let payload = Payload::of(&event).unwrap();
            state.apply(&payload, event.offset, event.timestamp);
        }
        let expected: TaskSnapshot = serde_json::from_value(vector["snapshot"].clone()).unwrap();
        assert_eq!(state, expected);
    });
    pass("fold.json", &|vector| {
        let mut fold = Fold::default();
        for message in vector["messages"].as_array().unwrap() {
            let message = ServerMessage::decode(&message.to_string()).unwrap();
            fold.message(&message).unwrap();
        }
        let expected: TaskSnapshot = serde_json::from_value(vector["state"].clone()).unwrap();
        assert_eq!(**fold.state().unwrap(), expected);
    });
    pass("close.json", &|vector| {
        let code = u16::try_from(vector["code"].as_u64().unwrap()).unwrap();
        let told = vector["going_away"].get("reconnect").cloned();
        let then: Reconnect = match told {
            Some(told) => serde_json::from_value(told).unwrap(),
            None => CloseCode::from_code(code).map_or(Reconnect::Backoff, CloseCode::reconnect),
        };
        assert_eq!(then.as_str(), vector["then"]);
    });
    pass("script.json", &|vector| {
        let mut script = Script::new(&vector["tokens"]);
        for step in vector["steps"].as_array().unwrap() {
            println!("  {step:.200}");
            script.step(step);
        }
    });
    println!("{count} conformance vectors");
    assert!(count > 100);
}
