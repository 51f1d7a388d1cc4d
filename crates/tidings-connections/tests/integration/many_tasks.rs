//! Patterns over many tasks: what a client makes the server hold and do is bounded, charged to the
//! client, and given back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_bus::{AccountId, BusConfig, EventBus, Group, Kind};
use tidings_connections::defaults::CURSOR_BYTES;
use tidings_connections::{
    Access, ClientLimits, ConnectRequest, ConnectionGuard, ConnectionManager, ConnectionsConfig,
    Credentials, Principal, Rate,
};
use tidings_protocol::{ClientId, Data, NewEvent, TaskId};
use tidings_testkit::{LINES, LineReader, LineWire, PipeSocket, Tokens, connect, permissions};

const TASKS: usize = 2_000;

struct World {
    bus: EventBus,
    manager: ConnectionManager,
}

/// A client over a pipe.
struct Client {
    guard: ConnectionGuard,
    pipe: PipeSocket,
    reader: LineReader,
}

impl World {
    async fn new(bus: BusConfig, limits: ClientLimits) -> Self {
        tidings_bus::lock::check_order();
        let bus = EventBus::new(bus.framing(LINES)).unwrap();
        let config = ConnectionsConfig::default().limits(limits);
        let subject = |name: &str, allowed| Principal::new(permissions(allowed)).subject(name);
        let tokens = Tokens::default()
            .with("ada", subject("ada", "watch *"))
            .with("narrow", subject("ada", "watch task-1*"))
            .with("other", subject("ada", "watch other-*"))
            .with("bo", subject("bo", "watch *"));
        let manager =
            ConnectionManager::with_authenticator(bus.clone(), config, Arc::new(tokens)).unwrap();
        for number in 0..TASKS {
            let event = NewEvent::new("own".parse().unwrap(), Data::empty());
            bus.publish(&task(number), event).await.unwrap();
        }
        Self { bus, manager }
    }

    async fn access(&self, token: &str) -> Access {
        let shown = Credentials::new(Some(token), None);
        self.manager.authenticate(shown).await.unwrap()
    }

    async fn connect(&self, token: &str, id: &str, capacity: usize) -> Client {
        let pipe = PipeSocket::new(capacity);
        let mut request = ConnectRequest::new(self.access(token).await);
        request.client_id = Some(ClientId::new(id).unwrap());
        let socket = Box::new(pipe.clone());
        let guard = connect(&self.manager, request, socket, &LineWire).unwrap();
        Client {
            guard,
            pipe,
            reader: LineReader::default(),
        }
    }

    fn held(&self, subject: &str, kind: Kind) -> u64 {
        let account = AccountId::subject(subject);
        self.bus.ledger().account(&account).held(kind)
    }
}

fn task(number: usize) -> TaskId {
    TaskId::new(format!("task-{number:04}")).unwrap()
}

impl Client {
    async fn send(&self, message: Value) {
        let text = message.to_string();
        self.guard.connection().receive(&text).await;
    }

    /// Polls the connection's task until it waits for something other than its next turn.
    async fn drive(&self) {
        for _ in 0..TASKS {
            let turn = std::future::poll_fn(|cx| {
                let _ = self.guard.connection().poll_drive(cx);
                std::task::Poll::Ready(())
            });
            turn.await;
        }
    }

    async fn read(&mut self) -> Vec<Value> {
        let mut lines = Vec::new();
        loop {
            // Let the fan-out run.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            self.drive().await;
            let bytes = self.pipe.take(usize::MAX);
            if bytes.is_empty() {
                break;
            }
            lines.extend(self.reader.take(&bytes));
        }
        let parsed = lines.iter().map(|line| serde_json::from_str(line).unwrap());
        parsed.collect()
    }

    fn cursors(&self) -> usize {
        self.guard.connection().info().subscriptions.len()
    }
}

fn tasks_of(messages: &[Value], event_type: &str) -> BTreeSet<String> {
    let these = messages
        .iter()
        .filter(|message| message["event_type"] == event_type);
    these
        .filter_map(|message| message["task_id"].as_str().map(str::to_owned))
        .collect()
}

fn strangers() -> ClientLimits {
    let mut limits = ClientLimits::for_strangers();
    // Time is paused in these tests, so a client that had to wait would wait forever.
    limits.work_per_client = None;
    limits
}

/// A client that watched 20,900 tasks and read nothing once cost 4.5 MB.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_gets_no_cursors_for_it() {
    let world = World::new(BusConfig::default(), strangers()).await;
    let mut client = world.connect("ada", "a", 4_096).await;
    client
        .send(json!({"type": "subscribe", "pattern": "*"}))
        .await;
    client.drive().await;
    let cursors = client.cursors();
    assert!((2..200).contains(&cursors), "{cursors} cursors");
    let held = world.held("ada", Kind::Cursor);
    assert!(
        held > CURSOR_BYTES * cursors as u64,
        "announcements that wait are charged: {held} bytes for {cursors} cursors"
    );
    assert!(
        client.guard.connection().is_backed_up(),
        "nothing more is read from it"
    );
    // The client receives everything as fast as it reads, and loses no event that happens
    // meanwhile.
    let fresh = TaskId::new("new").unwrap();
    for id in [&task(0), &task(TASKS - 1), &fresh] {
        let event = NewEvent::new("own".parse().unwrap(), Data::empty());
        world.bus.publish(id, event).await.unwrap();
    }
    let messages = client.read().await;
    assert_eq!(tasks_of(&messages, "subscribed").len(), TASKS + 1);
    assert_eq!(client.cursors(), TASKS + 1);
    assert!(!client.guard.connection().is_backed_up());
    let heads = |id: &TaskId| {
        let of_task = messages
            .iter()
            .filter(|message| message["task_id"] == id.as_str());
        let offsets = of_task.filter_map(|message| {
            let at = &message["data"]["offset"];
            message["offset"].as_u64().max(at.as_u64())
        });
        offsets.max()
    };
    assert_eq!(heads(&task(0)), Some(2));
    assert_eq!(heads(&task(TASKS - 1)), Some(2));
    assert_eq!(heads(&fresh), Some(1));
    // The first cursor is part of the connection, and nothing waits to be announced any more.
    assert_eq!(world.held("ada", Kind::Cursor), CURSOR_BYTES * TASKS as u64);
    drop(client);
    assert_eq!(world.held("ada", Kind::Cursor), 0);
}

/// Answers come in the order of the requests, however long each request takes.
#[tokio::test(start_paused = true)]
async fn a_pattern_on_and_off_is_answered_in_order() {
    let world = World::new(BusConfig::default(), ClientLimits::default()).await;
    let mut client = world.connect("ada", "a", 1_000).await;
    for number in 0..10 {
        let kind = ["subscribe", "unsubscribe"][number % 2];
        client
            .send(json!({"type": kind, "pattern": "*", "ref": number}))
            .await;
    }
    client
        .send(json!({"type": "unsubscribe", "pattern": "*", "ref": 10}))
        .await;
    let messages = client.read().await;
    let answers: Vec<_> = messages
        .iter()
        .filter_map(|message| Some((message["data"]["ref"].as_u64()?, &message["event_type"])))
        .map(|(number, kind)| format!("{number} {}", kind.as_str().unwrap()))
        .collect();
    let expected: Vec<_> = (0..11)
        .map(|number| match number {
            10 => "10 error".to_owned(),
            number if number % 2 == 0 => format!("{number} subscribed"),
            number => format!("{number} unsubscribed"),
        })
        .collect();
    assert_eq!(answers, expected);
    assert_eq!(client.cursors(), 0);
    let watchers = (0..TASKS).map(|number| world.bus.task(&task(number)).unwrap());
    assert_eq!(
        watchers
            .map(|task| task.topic().watcher_count())
            .sum::<usize>(),
        0
    );
}

/// A client at the limit of its account receives an error and keeps nothing of the pattern. No
/// other client is affected.
#[tokio::test(start_paused = true)]
async fn a_pattern_that_does_not_fit_is_refused_and_leaves_nothing() {
    let bus = BusConfig::default().account_bytes(Some(100_000));
    let world = World::new(bus, strangers()).await;
    let mut client = world.connect("ada", "a", 64 * 1024).await;
    client
        .send(json!({"type": "subscribe", "pattern": "*"}))
        .await;
    let messages = client.read().await;
    let error = messages
        .iter()
        .find(|message| message["event_type"] == "error")
        .unwrap();
    assert_eq!(error["data"]["code"], "too_many_subscriptions");
    let text = error["data"]["message"].as_str().unwrap();
    assert!(
        text.contains("*") && text.contains("100000 bytes"),
        "{text}"
    );
    let end = messages.last().unwrap();
    assert_eq!(end["event_type"], "unsubscribed", "{end}");
    assert_eq!(end["data"]["pattern"], "*");
    assert_eq!(
        end["data"]["reason"], "removed",
        "no token has forbidden it"
    );
    assert_eq!(client.cursors(), 0);
    assert_eq!(world.held("ada", Kind::Cursor), 0);
    // A narrower pattern fits, and so do the requests of other clients.
    client
        .send(json!({"type": "subscribe", "pattern": "task-00*"}))
        .await;
    client.read().await;
    assert_eq!(client.cursors(), 100);
    let mut other = world.connect("bo", "b", 64 * 1024).await;
    other
        .send(json!({"type": "subscribe", "pattern": "task-01*"}))
        .await;
    other.read().await;
    assert_eq!(other.cursors(), 100);
}

/// Clients that connected, watched everything and disconnected were once kept for five minutes
/// each. They used 1.6 GB after 19 s.
#[tokio::test(start_paused = true)]
async fn clients_that_are_kept_are_bounded_for_each_account() {
    let bus = BusConfig::default().account_bytes(Some(2_000_000));
    let world = World::new(bus, strangers()).await;
    let mut calm = world.connect("bo", "calm", 64 * 1024).await;
    calm.send(json!({"type": "subscribe", "task_id": "task-0001"}))
        .await;
    calm.read().await;
    drop(calm);
    for number in 0..40 {
        let mut client = world.connect("ada", &format!("c{number}"), 1 << 20).await;
        client
            .send(json!({"type": "subscribe", "pattern": "*"}))
            .await;
        client.read().await;
        drop(client);
        let held = world.held("ada", Kind::KeptClient);
        assert!(held > 0 && held <= 2_000_000, "{held} bytes after {number}");
    }
    let away = world.manager.stats().away;
    assert!((2..=11).contains(&away), "{away} are kept");
    assert!(
        world.held("bo", Kind::KeptClient) > 0,
        "the calm one is kept"
    );
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(world.manager.stats().away, 0);
    assert_eq!(world.bus.ledger().held(Group::Clients), 0);
}

/// Tasks that a new token does not allow are no longer delivered at once, although it takes some
/// turns until their cursors are gone.
#[tokio::test(start_paused = true)]
async fn a_narrower_token_holds_at_once_and_a_pattern_that_is_lost_is_over() {
    let world = World::new(BusConfig::default(), ClientLimits::default()).await;
    let mut client = world.connect("ada", "a", 1 << 20).await;
    for pattern in ["*", "task-*", "task-00*"] {
        client
            .send(json!({"type": "subscribe", "pattern": pattern}))
            .await;
    }
    client.read().await;
    client
        .send(json!({"type": "authenticate", "token": "narrow"}))
        .await;
    // The connection has not been driven since, so most cursors still exist.
    for id in [task(0), task(TASKS - 1), task(1_000)] {
        let event = NewEvent::new("own".parse().unwrap(), Data::empty());
        world.bus.publish(&id, event).await.unwrap();
    }
    let messages = client.read().await;
    assert_eq!(
        tasks_of(&messages, "own"),
        ["task-1000".into(), "task-1999".into()].into()
    );
    let lost: BTreeSet<_> = messages
        .iter()
        .filter(|message| message["event_type"] == "unsubscribed")
        .filter_map(|message| message["data"]["pattern"].as_str())
        .collect();
    assert_eq!(lost, ["task-00*"].into());
    assert_eq!(client.cursors(), 1_000);
    // Tasks that the token allows again appear.
    client
        .send(json!({"type": "authenticate", "token": "ada"}))
        .await;
    client.read().await;
    assert_eq!(client.cursors(), TASKS);
}

/// A client that causes too much work has to wait, but is not refused.
#[tokio::test(start_paused = true)]
async fn whoever_causes_much_work_is_served_slower() {
    let mut limits = ClientLimits::default();
    limits.work_per_client = Some(Rate::new(100, 3_000));
    let world = World::new(BusConfig::default(), limits).await;
    let mut client = world.connect("ada", "a", 1 << 20).await;
    let mut other = world.connect("bo", "b", 1 << 20).await;
    let began = tokio::time::Instant::now();
    for number in 0..6 {
        let kind = ["subscribe", "unsubscribe"][number % 2];
        client
            .send(json!({"type": kind, "pattern": "*", "ref": number}))
            .await;
    }
    client.read().await;
    assert!(client.guard.connection().is_backed_up(), "it has to wait");
    other
        .send(json!({"type": "subscribe", "pattern": "*", "ref": 9}))
        .await;
    assert_eq!(tasks_of(&other.read().await, "subscribed").len(), TASKS);
    let mut last = false;
    while !last {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let messages = client.read().await;
        last = messages.iter().any(|message| message["data"]["ref"] == 5);
    }
    // By the paused clock, 12,000 tasks were visited, and 3,000 of them at once.
    assert!(
        began.elapsed() > Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
}
