//! The server is killed again and again while clients publish and watch. Every acknowledged event
//! survives, in order and exactly once, and no subscriber receives anything wrong.
//!
//! `CRASHES` sets the number of crashes (CI uses many). `TIDINGS_SEED` repeats the random moments
//! of a run.
#![cfg(unix)]
#![allow(clippy::print_stdout, reason = "its summary is what it is for")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Server, tidings};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tidings_protocol::{Epoch, Event, Payload, TaskId, TaskSnapshot};
use tidings_testkit::{DEADLINE, TestClient, WireChecker, http_exchange};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

/// The number of tasks at a time, each with its publishers.
const TASKS: usize = 3;
const PUBLISHERS: usize = 4;

/// The number of unanswered publishes of one publisher.
const IN_FLIGHT: usize = 8;

/// The number of crashes after which new tasks are used, so that all history stays retained.
const CRASHES_A_TASK: u64 = 6;

/// The place of an event: task, epoch, offset.
type Place = (String, String, u64);

#[derive(Default)]
struct Seen {
    /// The keys of acknowledged events, by place.
    acknowledged: HashMap<Place, String>,
    /// The content of each place, as seen by any client.
    events: HashMap<Place, String>,
    /// The events that were published and not answered.
    open: HashMap<String, Value>,
    /// The places that were acknowledged before the server reported that no write is pending.
    handed_over: HashSet<Place>,
}

impl Seen {
    fn event(&mut self, epoch: &str, event: &Value) {
        let place = (
            event["task_id"].as_str().unwrap().to_owned(),
            epoch.to_owned(),
            event["offset"].as_u64().unwrap(),
        );
        let mut event = event.clone();
        let Some(before) = self.events.get(&place) else {
            self.events.insert(place, event.to_string());
            return;
        };
        let mut before: Value = serde_json::from_str(before).unwrap();
        // A merged event stands for several events. Its key and its time are those of the last one,
        // and its text ends with the last one's. Each progress update repeats every field, so the
        // data are the same.
        let merged = [&mut event, &mut before].map(|event| {
            let from = event.as_object_mut().unwrap().remove("from");
            let texts = from.is_some() && event["event_type"] == "output_delta";
            texts.then(|| Text::take(event))
        });
        match merged {
            [None, None] => {}
            [Some(one), Some(other)] => one.ends_as(&other, &place),
            [Some(one), None] => one.ends_as(&Text::take(&mut before), &place),
            [None, Some(other)] => other.ends_as(&Text::take(&mut event), &place),
        }
        assert_eq!(before, event, "{place:?} names two events");
    }
}

/// The text of an `output_delta`, and its place in its output.
struct Text {
    at: u64,
    text: String,
}

impl Text {
    /// Takes the text out of an event.
    fn take(event: &mut Value) -> Self {
        let at = event["at"].take().as_u64().unwrap();
        let text = event["data"]["text"].take();
        Self {
            at,
            text: text.as_str().unwrap().to_owned(),
        }
    }

    /// Checks that both texts end at the same place and are equal where they overlap.
    fn ends_as(&self, other: &Self, place: &Place) {
        let end = |text: &Self| text.at + text.text.len() as u64;
        assert_eq!(end(self), end(other), "{place:?} ends elsewhere");
        let (long, short) = match self.text.len() >= other.text.len() {
            true => (self, other),
            false => (other, self),
        };
        assert!(
            long.text.ends_with(&short.text),
            "{place:?} names two texts"
        );
    }
}

/// The driver's model of a task: the state computed from all events read so far.
struct Model {
    state: TaskSnapshot,
    keys: HashSet<String>,
}

struct Run {
    sync: &'static str,
    seen: Arc<Mutex<Seen>>,
    models: BTreeMap<String, Model>,
    /// The subscriber of each task that was cut off.
    watchers: BTreeMap<String, WireChecker>,
    published: u64,
    crashes: u64,
    acknowledged: u64,
    found: u64,
    lost: u64,
    /// States of watchers that were compared.
    compared: u64,
}

impl Run {
    fn new(sync: &'static str) -> Self {
        Self {
            sync,
            seen: Arc::default(),
            models: BTreeMap::new(),
            watchers: BTreeMap::new(),
            published: 0,
            crashes: 0,
            acknowledged: 0,
            found: 0,
            lost: 0,
            compared: 0,
        }
    }

    fn keeps_epochs(&self) -> bool {
        self.sync == "every-commit"
    }

    fn tasks(&self) -> Vec<String> {
        let generation = self.crashes / CRASHES_A_TASK;
        (0..TASKS).map(|n| format!("t{generation}-{n}")).collect()
    }

    /// Starts the server, checks its data, uses it, and kills it.
    async fn cycle(&mut self, path: &Path, random: &mut fastrand::Rng) {
        let data = path.to_str().unwrap();
        let arguments = ["--listen", "127.0.0.1:0", "--data-dir", data, "--sync"];
        let mut command = tidings(&arguments);
        command.args([
            self.sync,
            "--max-events",
            "100000",
            "--max-task-bytes",
            "64MiB",
        ]);
        let server = Server::start(&mut command);
        let addr = server.addr().to_owned();
        self.check(&addr).await;
        if self.crashes.is_multiple_of(CRASHES_A_TASK) {
            self.watchers.clear();
            self.models.clear();
            self.seen.lock().unwrap().open.clear();
        }
        let mut watching = JoinSet::new();
        for task in self.tasks() {
            let watcher = self.watch(&addr, &task).await;
            let seen = Arc::clone(&self.seen);
            watching.spawn(follow(watcher, task, seen));
        }
        let mut publishing = JoinSet::new();
        let open = std::mem::take(&mut self.seen.lock().unwrap().open);
        let mut again: Vec<_> = open.into_iter().collect();
        for publisher in 0..PUBLISHERS {
            let share = again.len().div_ceil(PUBLISHERS - publisher);
            let again = again.split_off(again.len() - share);
            let events = Events {
                again,
                name: format!("{}-{publisher}", self.crashes),
                tasks: self.tasks(),
                random: random.fork(),
                count: 0,
            };
            publishing.spawn(publish(addr.clone(), events, Arc::clone(&self.seen)));
        }
        let asking = tokio::spawn(note_handed_over(addr.clone(), Arc::clone(&self.seen)));
        // The moment of the crash is random. No result depends on the duration.
        tokio::time::sleep(Duration::from_micros(random.u64(1_000..90_000))).await;
        drop(server); // With SIGKILL.
        for published in publishing.join_all().await {
            self.published += published;
        }
        asking.await.unwrap();
        for (task, checker) in watching.join_all().await {
            self.watchers.insert(task, checker);
        }
        self.crashes += 1;
    }

    /// Subscribes to a task again, at its subscriber's position or at the beginning.
    async fn watch(&self, addr: &str, task: &str) -> TestClient {
        let url = format!("ws://{addr}/ws/tasks/{task}");
        let before = self.watchers.get(task);
        // Before its first event, a task is not on disk.
        let position = before
            .and_then(|checker| checker.task(task)?.position())
            .filter(|position| position.offset.get() > 0);
        let mut checker = WireChecker::default();
        let Some(position) = position else {
            checker.ask_retained(task);
            return TestClient::connect_as(format!("{url}?since=0"), checker).await;
        };
        checker.ask_since(task, position.clone());
        let mut client = TestClient::connect_as(format!("{url}?since={position}"), checker).await;
        let hello = client.until("connection_established").await;
        let went_on = hello["data"]["recovered"] == true;
        let known = hello["data"]["epoch"].as_str() == Some(position.epoch.as_str());
        if self.keeps_epochs() {
            assert!(went_on, "{task} from {position}: {hello}");
        } else {
            assert!(!went_on && !known, "{task} from {position}: {hello}");
            let reset = client.until("reset").await;
            assert_eq!(reset["data"]["reason"], "epoch_changed");
        }
        client
    }

    /// Compares the server's data with what its clients have seen.
    async fn check(&mut self, addr: &str) {
        let seen = Arc::clone(&self.seen);
        let mut seen = seen.lock().unwrap().take_acknowledged();
        let handed_over = std::mem::take(&mut self.seen.lock().unwrap().handed_over);
        for task in self.tasks_known() {
            let Some(mut page) = self.page(addr, &task).await else {
                continue;
            };
            self.compare(&task);
            loop {
                let epoch = page["epoch"].as_str().unwrap().to_owned();
                let events = page["events"].as_array().unwrap().clone();
                assert!(
                    page.get("gap").is_none_or(Value::is_null),
                    "{}",
                    page["gap"]
                );
                for event in &events {
                    self.take_in(&task, &epoch, event);
                }
                if events.is_empty() {
                    break;
                }
                page = self.page(addr, &task).await.unwrap();
            }
            let body = get(addr, &format!("/api/tasks/{task}")).await.unwrap();
            let snapshot: TaskSnapshot = serde_json::from_value(body).unwrap();
            let model = &self.models[&task];
            assert_eq!(model.state, snapshot, "{task}: its state is its events'");
        }
        for ((task, epoch, offset), key) in seen.drain() {
            self.acknowledged += 1;
            let at = |epoch: &str| (task.clone(), epoch.to_owned(), offset);
            let now = self
                .models
                .get(&task)
                .map(|model| model.state.epoch.to_string());
            let events = self.seen.lock().unwrap();
            let there = now.as_deref().and_then(|now| events.events.get(&at(now)));
            match there {
                Some(text) => {
                    let event: Value = serde_json::from_str(text).unwrap();
                    assert_eq!(event["event_id"], *key, "{task} {epoch}:{offset}");
                    self.found += 1;
                }
                None => {
                    let place = (task, epoch, offset);
                    assert!(
                        !handed_over.contains(&place),
                        "{place:?} had been handed over"
                    );
                    self.lost += 1;
                }
            }
        }
    }

    fn tasks_known(&self) -> Vec<String> {
        if self.crashes == 0 {
            return Vec::new();
        }
        // The tasks at the time of the last crash.
        let generation = (self.crashes - 1) / CRASHES_A_TASK;
        (0..TASKS).map(|n| format!("t{generation}-{n}")).collect()
    }

    /// Returns the next events of a task that the driver has not read yet.
    async fn page(&mut self, addr: &str, task: &str) -> Option<Value> {
        let body = get(addr, &format!("/api/tasks/{task}")).await?;
        let epoch: Epoch = body["epoch"].as_str().unwrap().parse().unwrap();
        let known = self.models.get(task);
        if known.is_none_or(|model| model.state.epoch != epoch) {
            if let Some(model) = known {
                assert!(
                    !self.keeps_epochs(),
                    "{task}: {} became {epoch}",
                    model.state.epoch
                );
            }
            let task_id: TaskId = task.parse().unwrap();
            let model = Model {
                state: TaskSnapshot::new(task_id, epoch.clone()),
                keys: HashSet::new(),
            };
            self.models.insert(task.to_owned(), model);
        }
        let at = self.models[task].state.offset;
        let since = if at.get() == 0 {
            "0".to_owned()
        } else {
            format!("{epoch}:{at}")
        };
        // Request certain types, because a page without types contains merged events.
        let types = "progress_update,log,step_started,output_delta";
        let path = format!("/api/tasks/{task}/events?since={since}&limit=500&type={types}");
        let mut page = get(addr, &path).await.unwrap();
        page["epoch"] = json!(epoch.as_str());
        Some(page)
    }

    fn take_in(&mut self, task: &str, epoch: &str, event: &Value) {
        self.seen.lock().unwrap().event(epoch, event);
        let model = self.models.get_mut(task).unwrap();
        let key = event["event_id"].as_str().unwrap().to_owned();
        assert!(model.keys.insert(key), "twice in {task}: {event}");
        let event: Event = serde_json::from_value(event.clone()).unwrap();
        assert_eq!(event.offset, model.state.offset.next(), "a hole in {task}");
        let payload = Payload::of(&event).unwrap();
        model.state.apply(&payload, event.offset, event.timestamp);
        self.compare(task);
    }

    /// Folds the events that the task's watcher had received before the crash. Compares the result
    /// with the driver's state, if the driver has read as far.
    fn compare(&mut self, task: &str) {
        let truth = &self.models[task].state;
        let watcher = self
            .watchers
            .get(task)
            .and_then(|watcher| watcher.task(task));
        let state = watcher.and_then(|watcher| Some((watcher, watcher.state.state()?)));
        if let Some((watcher, state)) = state
            && (&state.epoch, state.offset) == (&truth.epoch, truth.offset)
        {
            self.compared += 1;
            if let Err(violation) = watcher.state.compare(truth) {
                panic!("{task}: {violation}");
            }
        }
    }

    fn summary(&self) -> String {
        format!(
            "{:12} crashes {}, published {}, acknowledged {}, found {}, lost {}",
            self.sync, self.crashes, self.published, self.acknowledged, self.found, self.lost
        )
    }
}

impl Seen {
    fn take_acknowledged(&mut self) -> HashMap<Place, String> {
        std::mem::take(&mut self.acknowledged)
    }
}

/// The endless events of one publisher.
struct Events {
    /// The events that were not answered before the last crash, which are published again.
    again: Vec<(String, Value)>,
    name: String,
    tasks: Vec<String>,
    random: fastrand::Rng,
    count: u64,
}

impl Events {
    fn next(&mut self) -> (String, Value) {
        if let Some(again) = self.again.pop() {
            return again;
        }
        self.count += 1;
        let key = format!("{}-{}", self.name, self.count);
        let task = &self.tasks[self.random.usize(..self.tasks.len())];
        let (kind, data) = match self.random.u8(..10) {
            0 => (
                "log",
                json!({ "message": "x".repeat(self.random.usize(..2_000)) }),
            ),
            1 => ("step_started", json!({ "step_id": key })),
            2 => ("output_delta", json!({ "output_id": "o", "text": key })),
            _ => (
                "progress_update",
                json!({ "progress": self.random.u8(..=100), "message": key }),
            ),
        };
        let event = json!({
            "type": "publish", "ref": key, "event_id": key,
            "task_id": task, "event_type": kind, "data": data,
        });
        (key, event)
    }
}

/// Publishes until the connection breaks. Returns the number of events published.
async fn publish(addr: String, mut events: Events, seen: Arc<Mutex<Seen>>) -> u64 {
    let url = format!("ws://{addr}/ws");
    let again = |events: &mut Events| {
        let mut seen = seen.lock().unwrap();
        seen.open.extend(events.again.drain(..));
    };
    let Ok((mut stream, _)) = tokio_tungstenite::connect_async(url).await else {
        again(&mut events);
        return 0;
    };
    let mut published = 0;
    let mut in_flight = 0;
    loop {
        while in_flight < IN_FLIGHT {
            let (key, event) = events.next();
            let text = event.to_string();
            seen.lock().unwrap().open.insert(key, event);
            if stream.send(Message::text(text)).await.is_err() {
                again(&mut events);
                return published;
            }
            published += 1;
            in_flight += 1;
        }
        let received = tokio::time::timeout(DEADLINE, stream.next());
        let Some(Ok(message)) = received.await.expect("an answer in time") else {
            again(&mut events);
            return published;
        };
        let Message::Text(text) = message else {
            continue;
        };
        let message: Value = serde_json::from_str(&text).unwrap();
        let data = &message["data"];
        match message["event_type"].as_str() {
            Some("ack") => {
                let key = data["ref"].as_str().unwrap().to_owned();
                let mut seen = seen.lock().unwrap();
                let event = seen.open.remove(&key).unwrap();
                let place = (
                    event["task_id"].as_str().unwrap().to_owned(),
                    data["epoch"].as_str().unwrap().to_owned(),
                    data["offset"].as_u64().unwrap(),
                );
                seen.acknowledged.insert(place, key);
                in_flight -= 1;
            }
            Some("error") => panic!("refused: {message}"),
            _ => {}
        }
    }
}

/// Asks for statistics until the server is gone. Suppose an event is acknowledged before a request,
/// and the answer reports no pending write. Then a crash of the process must not lose that event.
async fn note_handed_over(addr: String, seen: Arc<Mutex<Seen>>) {
    loop {
        let before: Vec<Place> = {
            let seen = seen.lock().unwrap();
            seen.acknowledged.keys().cloned().collect()
        };
        let Ok(stream) = tokio::net::TcpStream::connect(&addr).await else {
            return;
        };
        let Some(stats) = ask(stream).await else {
            return;
        };
        let unsaved = stats["bus"]["bytes_unsaved"].as_u64();
        if unsaved.expect("what is not yet handed over") == 0 {
            seen.lock().unwrap().handed_over.extend(before);
        }
    }
}

/// Returns the server's statistics, or `None` if the server is gone.
async fn ask(mut stream: tokio::net::TcpStream) -> Option<Value> {
    let request = "GET /api/stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer));
    read.await.expect("an answer in time").ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str(body).ok()
}

/// Reads the messages to a subscriber until the connection breaks.
async fn follow(
    mut client: TestClient,
    task: String,
    seen: Arc<Mutex<Seen>>,
) -> (String, WireChecker) {
    while let Some(message) = client.next().await {
        if message.get("offset").is_some() {
            let epoch = client
                .checker()
                .task(&task)
                .and_then(|task| task.epoch.clone());
            let epoch = epoch.expect("an epoch before an event");
            seen.lock().unwrap().event(epoch.as_str(), &message);
        }
    }
    (task, client.cut())
}

/// Returns a JSON resource, or `None` if it does not exist.
async fn get(addr: &str, path: &str) -> Option<Value> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    let response = http_exchange(addr.parse().unwrap(), request.as_bytes()).await;
    match response.status {
        200 => Some(response.json()),
        404 => None,
        status => panic!("{path}: {status} {}", response.text()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_and_no_offset_means_two_events() {
    let given = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let crashes: u64 = given("CRASHES").unwrap_or(24);
    let seed = given("TIDINGS_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("TIDINGS_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut acknowledged, mut found) = (0, 0);
    for (sync, share) in [("every-commit", 3), ("interval:20", 1), ("os", 1)] {
        let directory = tempfile::tempdir().unwrap();
        let mut run = Run::new(sync);
        for _ in 0..(crashes * share).div_ceil(5) {
            run.cycle(&directory.path().join("data"), &mut random).await;
        }
        // Start the server once more, to check what the last crash has left.
        let data = directory.path().join("data");
        let arguments = [
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
            data.to_str().unwrap(),
        ];
        let server = Server::start(&mut tidings(&arguments));
        run.check(server.addr()).await;
        println!("{}", run.summary());
        assert!(
            run.acknowledged > 0,
            "a test that acknowledges nothing shows nothing"
        );
        if run.keeps_epochs() {
            assert_eq!(run.lost, 0, "acknowledged, and gone");
            assert!(run.compared > 0, "no state was compared");
            (acknowledged, found) = (run.acknowledged, run.found);
        }
    }
    println!(
        "crashes {crashes}, acknowledged {acknowledged}, found {found}, lost {}",
        acknowledged - found
    );
}
