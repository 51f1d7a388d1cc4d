//! Subscriptions to trees, and commands for them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_bus::{AccountId, BusConfig, EventBus, Kind, MemoryStore, Store};
use tidings_connections::{
    ClientLimits, ConnectRequest, ConnectionGuard, ConnectionManager, ConnectionsConfig,
    Credentials, Permission, Permissions, Principal, Scope,
};
use tidings_protocol::{ClientId, Data, NewEvent, Secret, TaskId};
use tidings_testkit::{LINES, LineReader, LineWire, PipeSocket, Tokens, WireChecker, connect};

pub(crate) struct World {
    pub(crate) bus: EventBus,
    manager: ConnectionManager,
}

pub(crate) struct Client {
    pub(crate) guard: ConnectionGuard,
    pipe: PipeSocket,
    reader: LineReader,
    pub(crate) checker: WireChecker,
    /// The bytes that arrived.
    bytes: usize,
}

/// Time is paused in these tests, so a client that had to wait would wait forever.
pub(crate) fn unpaced() -> ClientLimits {
    let mut limits = ClientLimits::for_strangers();
    limits.work_per_client = None;
    limits
}

fn permissions(watch: &str, command: &str) -> Permissions {
    let scope = |text: &str| -> Scope { text.split(' ').map(|one| one.parse().unwrap()).collect() };
    Permissions::default()
        .with(Permission::Watch, scope(watch))
        .with(Permission::Command, scope(command))
}

impl World {
    pub(crate) fn new(bus: BusConfig) -> Self {
        Self::with(bus, unpaced())
    }

    pub(crate) fn with(bus: BusConfig, limits: ClientLimits) -> Self {
        Self::around(EventBus::new(bus.framing(LINES)).unwrap(), limits)
    }

    fn around(bus: EventBus, limits: ClientLimits) -> Self {
        Self::configured(bus, ConnectionsConfig::default().limits(limits))
    }

    pub(crate) fn configured(bus: EventBus, config: ConnectionsConfig) -> Self {
        tidings_bus::lock::check_order();
        let person = |watch, command| Principal::new(permissions(watch, command)).subject("ada");
        let tokens = Tokens::default()
            .with("all", person("*", "*"))
            .with("some", person("top a-1 b-1 b-1-x", "top b-1-x"))
            .with("less", person("top b-1", "top"))
            .with("holes", person("a a-2 b b-2 c", "a"));
        let manager =
            ConnectionManager::with_authenticator(bus.clone(), config, Arc::new(tokens)).unwrap();
        Self { bus, manager }
    }

    pub(crate) async fn begin(&self, task: &str, parent: Option<&str>) {
        let mut data = json!({ "name": task });
        if let Some(parent) = parent {
            data["parent_task_id"] = json!(parent);
        }
        self.publish(task, "task_started", data).await;
    }

    pub(crate) async fn publish(&self, task: &str, event_type: &str, data: Value) {
        let data = Data::from_value(data).unwrap();
        let event = NewEvent::new(event_type.parse().unwrap(), data);
        let published = self.bus.publish(&id(task), event).await;
        published.unwrap();
    }

    /// `top` has the children `a-1` and `hidden`, and `hidden` has the child `b-1`.
    pub(crate) async fn plant(&self) {
        self.begin("b-1", Some("hidden")).await;
        self.begin("hidden", Some("top")).await;
        self.begin("top", None).await;
        self.begin("a-1", Some("top")).await;
        self.begin("elsewhere", None).await;
    }

    pub(crate) async fn connect(&self, token: &str, client: &str) -> Client {
        self.resume(token, client, None, WireChecker::default())
            .await
    }

    pub(crate) async fn resume(
        &self,
        token: &str,
        client: &str,
        resume_token: Option<Secret>,
        checker: WireChecker,
    ) -> Client {
        let pipe = PipeSocket::new(1 << 20);
        self.through(pipe, token, client, resume_token, checker)
            .await
    }

    /// Connects through a pipe.
    pub(crate) async fn through(
        &self,
        pipe: PipeSocket,
        token: &str,
        client: &str,
        resume_token: Option<Secret>,
        checker: WireChecker,
    ) -> Client {
        let shown = Credentials::new(Some(token), None);
        let access = self.manager.authenticate(shown).await.unwrap();
        let mut request = ConnectRequest::new(access);
        request.client_id = Some(ClientId::new(client).unwrap());
        request.resume_token = resume_token;
        let socket = Box::new(pipe.clone());
        let guard = connect(&self.manager, request, socket, &LineWire).unwrap();
        Client {
            guard,
            pipe,
            reader: LineReader::default(),
            checker,
            bytes: 0,
        }
    }

    fn held(&self) -> u64 {
        let account = AccountId::subject("ada");
        self.bus.ledger().account(&account).held(Kind::Pattern)
    }
}

pub(crate) fn id(task: &str) -> TaskId {
    TaskId::new(task).unwrap()
}

impl Client {
    pub(crate) async fn ask(&mut self, message: Value) -> Vec<Value> {
        let text = message.to_string();
        self.guard.connection().receive(&text).await;
        self.read().await
    }

    /// Lets the connection's own task run once, and reads what has arrived. Checks every message.
    pub(crate) async fn turn(&mut self) -> Vec<Value> {
        let lines = self.turn_unchecked().await;
        self.check(&lines)
    }

    /// Lets the connection's own task run once, and reads what has arrived.
    pub(crate) async fn turn_unchecked(&mut self) -> Vec<String> {
        let turn = std::future::poll_fn(|cx| {
            let _ = self.guard.connection().poll_drive(cx);
            std::task::Poll::Ready(())
        });
        turn.await;
        self.arrived()
    }

    fn arrived(&mut self) -> Vec<String> {
        let bytes = self.pipe.take(usize::MAX);
        self.bytes += bytes.len();
        self.reader.take(&bytes)
    }

    fn check(&mut self, lines: &[String]) -> Vec<Value> {
        let messages = lines.iter().map(|line| self.checker.message(line).unwrap());
        messages.collect()
    }

    /// Reads until no work is left. Checks every message.
    pub(crate) async fn read(&mut self) -> Vec<Value> {
        let lines = self.read_unchecked().await;
        self.check(&lines)
    }

    /// Reads until no work is left.
    pub(crate) async fn read_unchecked(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut quiet = 0;
        while quiet < 3 {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            let before = self.bytes;
            for _ in 0..100 {
                lines.extend(self.turn_unchecked().await);
            }
            quiet = if self.bytes == before { quiet + 1 } else { 0 };
        }
        lines
    }

    /// Ends the connection, and reads what has arrived until then.
    pub(crate) fn leave(mut self) -> Vec<String> {
        let lines = self.arrived();
        drop(self.guard);
        lines
    }
}

/// Returns the tasks that were announced through this tree.
pub(crate) fn announced(messages: &[Value], tree: &str) -> BTreeSet<String> {
    let these = messages
        .iter()
        .filter(|message| message["event_type"] == "subscribed" && message["data"]["tree"] == tree);
    these
        .filter_map(|message| message["task_id"].as_str().map(str::to_owned))
        .collect()
}

pub(crate) fn set(tasks: &[&str]) -> BTreeSet<String> {
    tasks.iter().map(|task| (*task).to_owned()).collect()
}

pub(crate) fn subscribe(tree: &str) -> Value {
    json!({ "type": "subscribe", "ref": 1, "tree": tree })
}

#[tokio::test(start_paused = true)]
async fn a_tree_brings_all_tasks_below_and_those_to_come() {
    let world = World::new(BusConfig::default());
    world.plant().await;
    let mut client = world.connect("all", "c").await;
    let messages = client.ask(subscribe("top")).await;
    let confirmed = messages
        .iter()
        .find(|message| message["data"]["ref"] == 1)
        .unwrap();
    assert_eq!(confirmed["data"], json!({ "ref": 1, "tree": "top" }));
    assert_eq!(
        announced(&messages, "top"),
        set(&["top", "hidden", "a-1", "b-1"])
    );
    // A child of a child appears, then a whole tree is put under it.
    world.begin("c-1", Some("b-1")).await;
    world.begin("late-leaf", Some("late")).await;
    world.begin("late", Some("c-1")).await;
    let messages = client.read().await;
    assert_eq!(
        announced(&messages, "top"),
        set(&["c-1", "late", "late-leaf"])
    );
    world
        .publish("late-leaf", "progress_update", json!({ "progress": 40 }))
        .await;
    world
        .publish("elsewhere", "progress_update", json!({ "progress": 40 }))
        .await;
    let messages = client.read().await;
    let of: Vec<_> = messages
        .iter()
        .map(|message| message["task_id"].as_str().unwrap())
        .collect();
    assert_eq!(of, ["late-leaf"]);
    for task in ["top", "hidden", "a-1", "b-1", "c-1", "late", "late-leaf"] {
        let state = world.bus.snapshot(&id(task)).unwrap();
        client.checker.compare(&state).unwrap();
    }
    let info = client.guard.connection().info();
    assert_eq!(info.trees, [id("top")]);
    let messages = client
        .ask(json!({ "type": "unsubscribe", "ref": 2, "tree": "top" }))
        .await;
    assert_eq!(
        messages.last().unwrap()["data"],
        json!({ "ref": 2, "tree": "top", "reason": "asked" })
    );
    assert_eq!(client.guard.connection().info().subscriptions.len(), 0);
    assert_eq!(world.held(), 0);
    world.begin("after", Some("top")).await;
    assert_eq!(client.read().await, [] as [Value; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_one_may_not_watch_is_left_out_and_not_revealed() {
    let world = World::new(BusConfig::default());
    world.plant().await;
    let mut client = world.connect("some", "c").await;
    let mut messages = client.ask(subscribe("top")).await;
    assert_eq!(announced(&messages, "top"), set(&["top", "a-1", "b-1"]));
    world.begin("secret", Some("b-1")).await;
    world.begin("b-1-x", Some("secret")).await;
    messages.extend(client.read().await);
    assert!(announced(&messages, "top").contains("b-1-x"));
    // The state of an allowed task names the hidden id as its parent. No message is about the
    // hidden task.
    for message in &messages {
        for hidden in ["hidden", "secret"] {
            assert_ne!(message["task_id"], hidden, "{message}");
        }
    }
    let refused = client.ask(subscribe("hidden")).await;
    assert_eq!(refused[0]["data"]["code"], "forbidden", "{refused:?}");
    // The new token allows less.
    let text = json!({ "type": "authenticate", "token": "less" });
    let messages = client.ask(text).await;
    let ended: BTreeSet<_> = messages
        .iter()
        .filter(|message| message["event_type"] == "unsubscribed")
        .map(|message| message["task_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ended, set(&["a-1", "b-1-x"]));
}

#[tokio::test(start_paused = true)]
async fn a_tree_may_be_watched_before_it_is_there_and_lives_through_removals() {
    let world = World::new(BusConfig::default());
    let mut client = world.connect("all", "c").await;
    let messages = client.ask(subscribe("top")).await;
    assert_eq!(announced(&messages, "top"), set(&["top"]));
    world.begin("a-1", Some("top")).await;
    world.begin("top", None).await;
    let messages = client.read().await;
    assert_eq!(announced(&messages, "top"), set(&["a-1"]));
    for task in ["a-1", "top"] {
        assert!(world.bus.remove(&id(task)).await.unwrap());
    }
    let messages = client.read().await;
    let removed = messages.iter().find(|message| message["task_id"] == "a-1");
    assert_eq!(removed.unwrap()["data"]["reason"], "removed");
    world.begin("top", None).await;
    world.begin("a-1", Some("top")).await;
    let messages = client.read().await;
    assert_eq!(announced(&messages, "top"), set(&["a-1"]));
    for task in ["top", "a-1"] {
        let state = world.bus.snapshot(&id(task)).unwrap();
        client.checker.compare(&state).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_watched_already_is_said_to_belong_to_the_tree() {
    let world = World::new(BusConfig::default());
    world.plant().await;
    let mut client = world.connect("all", "c").await;
    client
        .ask(json!({ "type": "subscribe", "task_id": "a-1" }))
        .await;
    client
        .ask(json!({ "type": "subscribe", "pattern": "b-*" }))
        .await;
    let messages = client.ask(subscribe("top")).await;
    assert_eq!(
        announced(&messages, "top"),
        set(&["top", "hidden", "a-1", "b-1"])
    );
    for task in ["a-1", "b-1"] {
        let said = messages.iter().find(|message| message["task_id"] == task);
        let expected = json!({ "task_id": task, "tree": "top" });
        assert_eq!(said.unwrap()["data"], expected);
    }
    let messages = client.ask(subscribe("hidden")).await;
    assert_eq!(announced(&messages, "hidden"), set(&["hidden", "b-1"]));
    // Cursors that only the tree needed end together with it.
    client
        .ask(json!({ "type": "unsubscribe", "tree": "top" }))
        .await;
    let left = client.guard.connection().info().subscriptions;
    let left: BTreeSet<_> = left.iter().map(|sub| sub.task_id.to_string()).collect();
    assert_eq!(left, set(&["a-1", "hidden", "b-1"]));
}

#[tokio::test(start_paused = true)]
async fn a_new_task_of_two_trees_is_announced_before_it_is_said_to_belong_to_the_second() {
    for trees in [["top", "hidden"], ["hidden", "top"]] {
        let world = World::new(BusConfig::default());
        world.plant().await;
        let mut client = world.connect("all", "c").await;
        for tree in trees {
            client.ask(subscribe(tree)).await;
        }
        world.begin("b-2", Some("hidden")).await;
        let messages = client.read().await;
        let of_it = messages
            .iter()
            .filter(|message| message["task_id"] == "b-2");
        let of_it: Vec<_> = of_it.take(3).collect();
        assert_eq!(of_it[0]["data"]["offset"], 0, "{of_it:?}");
        assert_eq!(of_it[1]["data"]["offset"], Value::Null, "{of_it:?}");
        assert_eq!(of_it[2]["event_type"], "task_started", "{of_it:?}");
        for tree in trees {
            assert_eq!(announced(&messages, tree), set(&["b-2"]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_goes_on_in_its_tree() {
    let world = World::new(BusConfig::default());
    world.plant().await;
    let mut client = world.connect("all", "c").await;
    let messages = client.read().await;
    let token = messages[0]["data"]["resume_token"].as_str().unwrap();
    let token = Secret::from(token.to_owned());
    client.ask(subscribe("top")).await;
    let checker = client.checker.resumed(|_| true);
    drop(client);
    world
        .publish("b-1", "progress_update", json!({ "progress": 10 }))
        .await;
    world.begin("born-away", Some("b-1")).await;
    let mut client = world.resume("all", "c", Some(token), checker).await;
    let messages = client.read().await;
    assert_eq!(
        announced(&messages, "top"),
        set(&["top", "hidden", "a-1", "b-1", "born-away"])
    );
    world.begin("born-after", Some("born-away")).await;
    let messages = client.read().await;
    assert_eq!(announced(&messages, "top"), set(&["born-after"]));
    for task in ["top", "hidden", "a-1", "b-1", "born-away", "born-after"] {
        let state = world.bus.snapshot(&id(task)).unwrap();
        client.checker.compare(&state).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_tree_is_charged_and_ends_where_there_is_no_room() {
    let mut config = BusConfig::default();
    config.account_bytes = Some(64 * 1024);
    let world = World::new(config);
    world.begin("top", None).await;
    for number in 0..2_000 {
        world.begin(&format!("child-{number}"), Some("top")).await;
    }
    let mut client = world.connect("all", "c").await;
    let messages = client.ask(subscribe("top")).await;
    let error = messages
        .iter()
        .find(|message| message["event_type"] == "error");
    let Some(error) = error else {
        panic!("{} messages, {} bytes held", messages.len(), world.held());
    };
    let data = &error["data"];
    assert_eq!(data["code"], "too_many_subscriptions", "{data}");
    let end = messages.last().unwrap();
    let expected = json!({ "tree": "top", "reason": "removed" });
    assert_eq!(end["data"], expected);
    assert_eq!(world.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_command_goes_down_the_tree_and_is_answered_for_each_task() {
    let world = World::new(BusConfig::default());
    world.plant().await;
    world.begin("b-1-x", Some("b-1")).await;
    world.begin("ended", Some("top")).await;
    world.publish("ended", "task_completed", json!({})).await;
    let cancel = json!({
        "type": "command", "ref": 7, "task_id": "top", "command": "cancel", "tree": true,
    });
    let mut client = world.connect("all", "c").await;
    let messages = client.ask(cancel.clone()).await;
    let answer = &messages.last().unwrap();
    assert_eq!(answer["event_type"], "commanded", "{answer}");
    let tasks = answer["data"]["tasks"].as_array().unwrap();
    let asked: Vec<_> = tasks
        .iter()
        .map(|task| task["task_id"].as_str().unwrap())
        .collect();
    assert_eq!(asked, ["b-1-x", "b-1", "a-1", "hidden", "top"]);
    for task in tasks {
        let state = world.bus.snapshot(&id(task["task_id"].as_str().unwrap()));
        let state = state.unwrap();
        assert_eq!(task["offset"], state.offset.get(), "{task}");
        let known = serde_json::to_value(&state.pending_commands).unwrap();
        assert_eq!(known[0]["command_id"], task["command_id"], "{known}");
    }
    // Permissions are checked for each task. The answer does not reveal tasks that the client may
    // not watch.
    let mut client = world.connect("some", "d").await;
    let messages = client.ask(cancel).await;
    let answer = messages.last().unwrap();
    let tasks = answer["data"]["tasks"].as_array().unwrap();
    let told: Vec<_> = tasks
        .iter()
        .map(|task| (task["task_id"].as_str().unwrap(), task["code"].as_str()))
        .collect();
    let expected = [
        ("b-1-x", None),
        ("b-1", Some("forbidden")),
        ("a-1", Some("forbidden")),
        ("top", None),
    ];
    assert_eq!(told, expected);
    for (task, code) in [("hidden", "forbidden"), ("nowhere", "forbidden")] {
        let messages = client
            .ask(json!({
                "type": "command", "ref": 8, "task_id": task, "command": "cancel", "tree": true,
            }))
            .await;
        assert_eq!(messages.last().unwrap()["data"]["code"], code);
    }
}

async fn cancelled(client: &mut Client, task: &str) -> Value {
    let messages = client
        .ask(json!({
            "type": "command", "ref": 9, "task_id": task, "command": "cancel", "tree": true,
        }))
        .await;
    messages.last().unwrap()["data"].clone()
}

fn asked(answer: &Value) -> Vec<&str> {
    let tasks = answer["tasks"].as_array().unwrap().iter();
    tasks
        .map(|task| task["task_id"].as_str().unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_command_goes_down_a_tree_whose_topmost_task_does_not_exist() {
    let world = World::new(BusConfig::default());
    let mut client = world.connect("all", "c").await;
    assert_eq!(
        cancelled(&mut client, "top").await["code"],
        "task_not_found"
    );
    world.begin("a-1", Some("top")).await;
    world.begin("b-1", Some("a-1")).await;
    let answer = cancelled(&mut client, "top").await;
    assert_eq!(asked(&answer), ["b-1", "a-1"]);
    assert!(
        world.bus.snapshot(&id("top")).is_none(),
        "a command creates no task"
    );
    // A task in the middle may be gone as well.
    world.begin("top", None).await;
    assert!(world.bus.remove(&id("a-1")).await.unwrap());
    let answer = cancelled(&mut client, "a-1").await;
    assert_eq!(asked(&answer), ["b-1"]);
}

#[tokio::test(start_paused = true)]
async fn each_task_of_a_circle_is_told_and_asked_once() {
    // Two nodes have each accepted one half of the circle.
    let store = Arc::new(MemoryStore::new()) as Arc<dyn Store>;
    let halves = [("a", "b"), ("b", "a")].map(|half| (half, Arc::clone(&store)));
    let mut nodes = Vec::new();
    for (_, store) in &halves {
        let bus = EventBus::open(BusConfig::default(), Arc::clone(store)).await;
        nodes.push(bus.unwrap());
    }
    for (((task, parent), _), bus) in halves.iter().zip(&nodes) {
        let event = NewEvent::subtask_started("part", &id(parent));
        bus.publish(&id(task), event).await.unwrap();
        bus.shutdown().await;
    }
    let bus = EventBus::open(BusConfig::default().framing(LINES), store).await;
    let world = World::around(bus.unwrap(), unpaced());
    world.begin("c", Some("a")).await;
    let mut client = world.connect("all", "c").await;
    let messages = client.ask(subscribe("a")).await;
    assert_eq!(announced(&messages, "a"), set(&["a", "b", "c"]));
    world.begin("d", Some("b")).await;
    let messages = client.read().await;
    assert_eq!(announced(&messages, "a"), set(&["d"]));
    let answer = cancelled(&mut client, "a").await;
    assert_eq!(asked(&answer), ["d", "b", "c", "a"]);
    let answer = cancelled(&mut client, "d").await;
    assert_eq!(asked(&answer), ["d"]);
}

/// Returns the time that this thread has been on a processor, if the system tells.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

/// Returns the processor time of one publish of progress, over this number of tasks.
async fn publish_all(world: &World, name: &str, count: usize, progress: f64) -> Duration {
    let tasks: Vec<_> = (0..count).map(|n| id(&format!("{name}-{n}"))).collect();
    let began = cpu();
    for task in &tasks {
        world.bus.progress(task, progress, "").await.unwrap();
    }
    (cpu() - began) / u32::try_from(count).unwrap()
}

/// The costs of a tree of 10,000 tasks are printed, and not asserted.
#[tokio::test]
async fn ten_thousand_children_are_subscribed_to_and_cancelled() {
    const CHILDREN: usize = 10_000;
    let world = World::with(BusConfig::default(), ClientLimits::default());
    world.begin("top", None).await;
    for number in 0..CHILDREN {
        world.begin(&format!("child-{number}"), Some("top")).await;
    }
    for number in 0..CHILDREN {
        world.begin(&format!("alone-{number}"), None).await;
    }
    let mut publishes = [Duration::MAX; 2];
    // A child whose progress does not change would not change its parent.
    for progress in [10.0, 20.0, 30.0] {
        for (least, name) in publishes.iter_mut().zip(["alone", "child"]) {
            let time = publish_all(&world, name, CHILDREN, progress).await;
            *least = time.min(*least);
        }
    }
    let own = world.bus.ledger().own().clone();
    let held = || [Kind::Cursor, Kind::Pattern].map(|kind| own.held(kind));
    let mut client = world.connect("all", "c").await;
    let (before, began) = (held(), (std::time::Instant::now(), cpu()));
    let messages = client.ask(subscribe("top")).await;
    assert_eq!(announced(&messages, "top").len(), CHILDREN + 1);
    let subscribed = (began.0.elapsed(), cpu() - began.1);
    let bytes = client.bytes;
    let [cursors, members] = [0, 1].map(|at| held()[at] - before[at]);
    let began = (std::time::Instant::now(), cpu());
    let messages = client
        .ask(json!({
            "type": "command", "ref": 7, "task_id": "top", "command": "cancel", "tree": true,
        }))
        .await;
    let answer = messages
        .iter()
        .find(|message| message["event_type"] == "commanded");
    let answer = answer.expect("an answer");
    let tasks = answer["data"]["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), CHILDREN + 1);
    assert_eq!(tasks.last().unwrap()["task_id"], "top");
    let asked = messages
        .iter()
        .filter(|message| message["event_type"] == "command_requested");
    assert_eq!(asked.count(), CHILDREN + 1);
    let cancelled = (began.0.elapsed(), cpu() - began.1);
    #[expect(
        clippy::print_stderr,
        reason = "the figures are what one runs this for"
    )]
    {
        eprintln!(
            "a publish takes {:?} of a processor without a parent, {:?} with one",
            publishes[0], publishes[1]
        );
        eprintln!(
            "subscribed to {} tasks: {bytes} bytes, {cursors} bytes charged for cursors and \
             {members} for the tree, {:?}, {:?} of a processor with the client",
            CHILDREN + 1,
            subscribed.0,
            subscribed.1
        );
        eprintln!(
            "cancelled: {} bytes of answer, {} bytes with the events, {:?}, {:?} of a processor \
             with the client",
            answer.to_string().len(),
            client.bytes - bytes,
            cancelled.0,
            cancelled.1
        );
    }
    let mut messages = client
        .ask(json!({ "type": "unsubscribe", "tree": "top" }))
        .await;
    // Cursors are removed in slices, without messages about them.
    let is_over = |message: &Value| message["event_type"] == "unsubscribed";
    while !messages.iter().any(is_over) {
        messages.extend(client.read().await);
    }
    assert_eq!(held(), before);
}
