//! How connections begin, live and end: heartbeats, places, resumes over another framing.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tidings_bus::{BusConfig, Clock, EventBus, EventRecord, Framing, Group, ManualClock};
use tidings_connections::{
    Access, AdmissionError, AuthError, Authenticator, ClientLimits, CloseReason, ConnectRequest,
    ConnectionGuard, ConnectionManager, ConnectionsConfig, Credentials, Peer, Principal, Rate,
    SendError, Socket, Wire,
};
use tidings_protocol::{
    ClientId, CloseCode, Data, EventType, NewEvent, Offset, Secret, Since, TaskId, Timestamp,
};
use tidings_testkit::{LINES, LineReader, LineWire, PipeSocket, Tokens, connect, permissions};
use tokio::sync::Notify;

const INTERVAL: Duration = Duration::from_secs(1);

/// The wire of a client that answers pings, as a browser does.
struct Answering;

impl Wire for Answering {
    fn framing(&self) -> Option<Framing> {
        LineWire.framing()
    }

    fn event(&self, record: &EventRecord, out: &mut Vec<u8>) {
        LineWire.event(record, out);
    }

    fn control(&self, json: &str, out: &mut Vec<u8>) {
        LineWire.control(json, out);
    }

    fn ping(&self, _: &mut Vec<u8>) {}

    fn close(&self, _: CloseCode, _: &str, _: &mut Vec<u8>) {}

    fn answers_pings(&self) -> bool {
        true
    }

    fn name(&self) -> &'static str {
        "answering"
    }
}

/// A socket that panics when it is written to.
struct Panicking;

impl Socket for Panicking {
    fn try_write(&self, _: &[IoSlice<'_>]) -> io::Result<usize> {
        panic!("a fault of the transport");
    }

    fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn try_read(&self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

type Hook = Box<dyn FnOnce() + Send>;

/// A socket that calls a hook when it is next written to.
struct Hooked {
    pipe: PipeSocket,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl Socket for Hooked {
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let hook = self.hook.lock().unwrap().take();
        if let Some(hook) = hook {
            hook();
        }
        self.pipe.try_write(bufs)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.poll_write_ready(cx)
    }

    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.pipe.try_read(buf)
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.poll_read_ready(cx)
    }
}

struct World {
    bus: EventBus,
    manager: ConnectionManager,
}

struct Client {
    guard: ConnectionGuard,
    pipe: PipeSocket,
    reader: LineReader,
}

impl World {
    fn new(bus: BusConfig, config: ConnectionsConfig) -> Self {
        tidings_bus::lock::check_order();
        let bus = EventBus::new(bus).unwrap();
        let config = config
            .heartbeat_interval(INTERVAL)
            .write_timeout(Duration::from_secs(1_000_000));
        let manager = ConnectionManager::new(bus.clone(), config).unwrap();
        Self { bus, manager }
    }

    async fn publish(&self, task: &str) {
        let event = NewEvent::new("own".parse().unwrap(), Data::empty());
        let task = TaskId::new(task).unwrap();
        self.bus.publish(&task, event).await.unwrap();
    }

    fn try_connect(
        &self,
        request: ConnectRequest,
        capacity: usize,
    ) -> Result<Client, AdmissionError> {
        let pipe = PipeSocket::new(capacity);
        let socket = Box::new(pipe.clone());
        let guard = connect(&self.manager, request, socket, &Answering)?;
        Ok(Client {
            guard,
            pipe,
            reader: LineReader::default(),
        })
    }

    fn connect(&self, request: ConnectRequest, capacity: usize) -> Client {
        self.try_connect(request, capacity).unwrap()
    }
}

fn lines() -> BusConfig {
    BusConfig::default().framing(LINES)
}

fn named(client: &str, token: Option<&str>) -> ConnectRequest {
    let mut request = ConnectRequest::new(Access::unrestricted());
    request.client_id = Some(ClientId::new(client).unwrap());
    request.resume_token = token.map(|token| Secret::from(token.to_owned()));
    request
}

impl Client {
    fn is_open(&self) -> bool {
        self.guard.connection().is_open()
    }

    async fn send(&self, message: Value) {
        let text = message.to_string();
        self.guard.connection().receive(&text).await;
    }

    /// Polls the connection's task often enough for all its turns.
    async fn drive(&self) {
        for _ in 0..1_000 {
            std::future::poll_fn(|cx| {
                let _ = self.guard.connection().poll_drive(cx);
                Poll::Ready(())
            })
            .await;
        }
    }

    fn take(&mut self) -> Vec<Value> {
        let lines = self.reader.take(&self.pipe.take(usize::MAX));
        let parsed = lines.iter().map(|line| serde_json::from_str(line).unwrap());
        parsed.collect()
    }

    /// Reads everything that the server has for this client at the moment.
    async fn read(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            self.drive().await;
            let some = self.take();
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
    }
}

fn offsets(messages: &[Value]) -> Vec<u64> {
    let offsets = messages.iter();
    offsets
        .filter_map(|message| message["offset"].as_u64())
        .collect()
}

/// The bus frames events for WebSocket, and this client reads lines.
#[tokio::test(start_paused = true)]
async fn a_resume_over_another_framing_repeats_nothing() {
    let world = World::new(BusConfig::default(), ConnectionsConfig::default());
    for _ in 0..20 {
        world.publish("t").await;
    }
    let mut partial = 0;
    for capacity in (1..3_500).step_by(7) {
        let client = format!("client-{capacity}");
        let mut first = world.connect(named(&client, None), usize::MAX);
        let hello = &first.take()[0];
        let token = hello["data"]["resume_token"].as_str().unwrap().to_owned();
        drop(first);

        let mut request = named(&client, Some(&token));
        request.task_id = Some(TaskId::new("t").unwrap());
        request.since = Some(Since::Start);
        let mut second = world.connect(request, capacity);
        let mut received = offsets(&second.take());
        partial += usize::from(!received.is_empty() && received.len() < 20);
        second.pipe.break_off();
        drop(second);

        let mut third = world.connect(named(&client, Some(&token)), usize::MAX);
        received.extend(offsets(&third.read().await));
        assert_eq!(received, Vec::from_iter(1..=20), "at {capacity} bytes");
    }
    assert!(
        partial > 50,
        "most of these connections broke between events"
    );
}

#[tokio::test(start_paused = true)]
async fn a_ping_that_was_not_sent_needs_no_answer() {
    let world = World::new(lines(), ConnectionsConfig::default());
    let slow = world.connect(named("slow", None), 10);
    let idle = world.connect(named("idle", None), usize::MAX);
    tokio::time::sleep(10 * INTERVAL).await;
    assert!(slow.is_open(), "its socket is full");
    assert!(!idle.is_open(), "it was pinged and did not answer");
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_message_takes_long_is_not_called_silent() {
    let world = World::new(lines(), ConnectionsConfig::default());
    let client = world.connect(named("busy", None), usize::MAX);
    let mut messages = Box::pin(
        client
            .guard
            .connection()
            .receive_all(std::iter::repeat_n(r#"{"type":"ping"}"#, 100)),
    );
    let waits = std::future::poll_fn(|cx| Poll::Ready(messages.as_mut().poll(cx).is_pending()));
    assert!(waits.await, "it yields after some of them");
    tokio::time::sleep(10 * INTERVAL).await;
    assert!(client.is_open(), "nothing was read from it meanwhile");
    drop(messages);
    tokio::time::sleep(5 * INTERVAL).await;
    assert!(!client.is_open());
}

/// A heartbeat has room for the heads of 256 tasks.
#[tokio::test(start_paused = true)]
async fn heartbeats_name_all_quiet_tasks_in_turn() {
    let world = World::new(lines(), ConnectionsConfig::default());
    for task in 0..600 {
        world.publish(&format!("t-{task}")).await;
    }
    let mut client = world.connect(named("a", None), usize::MAX);
    client
        .send(json!({"type": "subscribe", "pattern": "*"}))
        .await;
    client.read().await;
    let mut named = BTreeSet::new();
    for _ in 0..5 {
        client.guard.connection().saw_life();
        tokio::time::sleep(INTERVAL).await;
        for message in client.read().await {
            if let Some(heads) = message["data"]["heads"].as_object() {
                assert!(heads.len() <= 256);
                named.extend(heads.keys().cloned());
            }
        }
    }
    assert_eq!(named.len(), 600);
}

#[tokio::test(start_paused = true)]
async fn to_subscribe_again_takes_no_further_place() {
    let config = ConnectionsConfig::default().max_subscriptions(2);
    let world = World::new(lines(), config);
    let mut client = world.connect(named("a", None), usize::MAX);
    for target in [json!({"task_id": "t"}), json!({"pattern": "p-*"})] {
        for expected in ["subscribed", "subscribed"] {
            let mut message = target.clone();
            message["type"] = "subscribe".into();
            message["ref"] = 1.into();
            client.send(message).await;
            let answers = client.read().await;
            let answers = answers.iter().filter(|answer| answer["data"]["ref"] == 1);
            let answers: Vec<_> = answers.map(|answer| &answer["event_type"]).collect();
            assert_eq!(answers, [expected], "{target}");
        }
    }
    client
        .send(json!({"type": "subscribe", "task_id": "u", "ref": 2}))
        .await;
    let refused = client.read().await;
    assert_eq!(refused[0]["data"]["code"], "too_many_subscriptions");
}

/// A half-open connection is not yet known to be dead when its client is back.
#[tokio::test(start_paused = true)]
async fn a_client_replaces_its_own_connection_at_the_limit() {
    let mut limits = ClientLimits::default();
    limits.connections_per_address = Some(1);
    let world = World::new(lines(), ConnectionsConfig::default().limits(limits));
    let from_here = |mut request: ConnectRequest| {
        let address: SocketAddr = "192.0.2.1:1000".parse().unwrap();
        request.peer = Peer::new(Some(address));
        request
    };
    let mut first = world.connect(from_here(named("a", None)), usize::MAX);
    let hello = &first.take()[0];
    let token = hello["data"]["resume_token"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        let request = from_here(named("a", Some(&token)));
        let next = world.connect(request, usize::MAX);
        drop(std::mem::replace(&mut first, next));
    }
    let other = from_here(named("b", None));
    assert!(matches!(
        world.try_connect(other.clone(), 1),
        Err(AdmissionError::Limited(_))
    ));
    drop(first);
    world.connect(other, 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_a_client_connects_leaves_its_id_free() {
    let world = World::new(lines(), ConnectionsConfig::default());
    let broken = catch_unwind(AssertUnwindSafe(|| {
        let socket = Box::new(Panicking);
        connect(&world.manager, named("a", None), socket, &LineWire)
    }));
    assert!(broken.is_err());
    let counted = world.manager.connections(None).len();
    assert_eq!(counted, 0);
}

/// The timer has found two expired tokens. While it closes the first connection, the second client
/// renews its token.
#[tokio::test(start_paused = true)]
async fn a_token_renewed_at_the_last_moment_keeps_its_connection() {
    let clock = Arc::new(ManualClock::new(1_000));
    let bus = EventBus::new(lines().clock(clock.clone())).unwrap();
    let until = |millis| {
        let ada = Principal::new(permissions("watch *")).subject("ada");
        ada.expires_at(Some(Timestamp::from_millis(millis)))
    };
    let tokens = Tokens::default()
        .with("first", until(2_000))
        .with("second", until(3_000))
        .with("renewed", until(1_000_000));
    let config = ConnectionsConfig::default();
    let manager = ConnectionManager::with_authenticator(bus, config, Arc::new(tokens)).unwrap();
    let connect_with = async |token| {
        let access = manager
            .authenticate(Credentials::new(Some(token), None))
            .await;
        let hook = Arc::new(Mutex::new(None));
        let socket = Hooked {
            pipe: PipeSocket::new(usize::MAX),
            hook: Arc::clone(&hook),
        };
        let request = ConnectRequest::new(access.unwrap());
        let guard = connect(&manager, request, Box::new(socket), &LineWire);
        (guard.unwrap(), hook)
    };
    let (first, hook) = connect_with("first").await;
    let (second, _) = connect_with("second").await;
    let renews = second.connection().clone();
    *hook.lock().unwrap() = Some(Box::new(move || {
        let message = r#"{"type":"authenticate","token":"renewed"}"#;
        let renewal = pin!(renews.receive(message));
        let done = renewal.poll(&mut Context::from_waker(Waker::noop()));
        assert!(done.is_ready());
    }));
    clock.set(5_000);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!first.connection().is_open());
    assert!(
        hook.lock().unwrap().is_none(),
        "the second client has renewed its token"
    );
    assert!(second.connection().is_open());
}

/// A clock that calls a hook when it is read for the second time from now.
#[derive(Default)]
struct HookedClock(Mutex<(u8, Option<Hook>)>);

impl Clock for HookedClock {
    fn now(&self) -> Timestamp {
        let hook = {
            let (reads, hook) = &mut *self.0.lock().unwrap();
            *reads += 1;
            hook.take_if(|_| *reads == 2)
        };
        if let Some(hook) = hook {
            hook();
        }
        Timestamp::from_millis(1_000)
    }
}

fn message(manager: &ConnectionManager, client: &str) -> Result<Offset, SendError> {
    let client = ClientId::new(client).unwrap();
    let sent = pin!(manager.send_personal(&client, EventType::Log, Data::empty()));
    match sent.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(sent) => sent,
        Poll::Pending => panic!("one node waits for nobody"),
    }
}

/// An operator deletes a client while a message to it is on its way into the client's inbox.
#[tokio::test(start_paused = true)]
async fn a_message_to_a_client_that_is_deleted_meanwhile_is_not_called_sent() {
    let clock = Arc::new(HookedClock::default());
    let world = World::new(lines().clock(clock.clone()), ConnectionsConfig::default());
    let deletes = |manager: &ConnectionManager| {
        let manager = manager.clone();
        let hook: Hook = Box::new(move || {
            let client = ClientId::new("a").unwrap();
            let kicked = pin!(manager.kick(&client));
            let done = kicked.poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(done, Poll::Ready(Ok(true))));
        });
        *clock.0.lock().unwrap() = (0, Some(hook));
    };
    drop(world.connect(named("a", None), usize::MAX));
    message(&world.manager, "a").unwrap();
    deletes(&world.manager);
    let late = message(&world.manager, "a");
    assert!(matches!(late, Err(SendError::Unknown(_))), "{late:?}");
    assert_eq!(world.manager.stats().away, 0);
    let held = world.bus.ledger().held(Group::Clients);
    assert_eq!(held, 0, "nothing is charged for it");
}

#[tokio::test(start_paused = true)]
async fn a_message_to_a_connection_that_is_closing_is_kept() {
    let world = World::new(lines(), ConnectionsConfig::default());
    let mut first = world.connect(named("a", None), usize::MAX);
    let hello = &first.take()[0];
    let token = hello["data"]["resume_token"].as_str().unwrap().to_owned();
    let restart = CloseReason::Restart(Duration::ZERO);
    first.guard.connection().close(restart);
    message(&world.manager, "a").unwrap();
    drop(first);
    let mut second = world.connect(named("a", Some(&token)), usize::MAX);
    let received = second.read().await;
    let types: Vec<_> = received.iter().map(|one| &one["event_type"]).collect();
    assert_eq!(types, ["connection_established", "personal_message"]);
}

/// Knows every token, and takes its time for the token `slow`.
struct Slow(Tokens, Arc<Notify>);

#[async_trait]
impl Authenticator for Slow {
    async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Principal, AuthError> {
        let known = self.0.authenticate(credentials).await;
        if credentials.token == Some("slow") {
            self.1.notified().await;
        }
        known
    }
}

/// The list of expiries holds a weak reference to each connection in it.
#[tokio::test(start_paused = true)]
async fn a_renewed_token_leaves_no_expiry_behind() {
    let clock = Arc::new(ManualClock::new(1_000));
    let bus = EventBus::new(lines().clock(clock)).unwrap();
    let until = |millis| {
        let ada = Principal::new(permissions("watch *")).subject("ada");
        ada.expires_at(Some(Timestamp::from_millis(millis)))
    };
    let tokens = Tokens::default()
        .with("first", until(2_000))
        .with("second", until(3_000))
        .with("slow", until(4_000));
    let checked = Arc::new(Notify::new());
    let slow = Arc::new(Slow(tokens, Arc::clone(&checked)));
    let config = ConnectionsConfig::default();
    let manager = ConnectionManager::with_authenticator(bus, config, slow).unwrap();
    let access = manager.authenticate(Credentials::new(Some("first"), None));
    let request = ConnectRequest::new(access.await.unwrap());
    let socket = Box::new(PipeSocket::new(usize::MAX));
    let guard = connect(&manager, request, socket, &LineWire).unwrap();
    let connection = Arc::clone(guard.connection());
    let before = Arc::weak_count(&connection);
    let renew = |token| json!({"type": "authenticate", "token": token}).to_string();
    connection.receive(&renew("second")).await;
    assert_eq!(Arc::weak_count(&connection), before, "one entry, as before");

    // The client disconnects while its next token is checked.
    let message = renew("slow");
    let mut renewal = pin!(connection.receive(&message));
    let waits = std::future::poll_fn(|cx| Poll::Ready(renewal.as_mut().poll(cx).is_pending()));
    assert!(waits.await);
    drop(guard);
    checked.notify_one();
    renewal.await;
    assert_eq!(Arc::weak_count(&connection), before - 1, "no entry");
}

/// The reason that ends the connection's task is the reason that the metrics count.
#[tokio::test(start_paused = true)]
async fn an_aborted_connection_ends_with_the_reason_that_is_counted() {
    let world = World::new(lines(), ConnectionsConfig::default());
    let client = world.connect(named("a", None), usize::MAX);
    let kicked = world.connect(named("b", None), 10);
    kicked.guard.connection().close(CloseReason::Kicked);
    let aborted = world.manager.clone();
    let mut aborting = Box::pin(async move { aborted.abort().await });
    let waits = std::future::poll_fn(|cx| Poll::Ready(aborting.as_mut().poll(cx).is_pending()));
    assert!(waits.await, "the connections have not ended yet");
    for (client, reason) in [
        (&client, CloseReason::Restart(Duration::ZERO)),
        (&kicked, CloseReason::Kicked),
    ] {
        let ended = std::future::poll_fn(|cx| client.guard.connection().poll_drive(cx));
        assert_eq!(ended.await, reason);
    }
    drop((client, kicked));
    aborting.await;
    let ends = world.manager.ends().into_iter();
    let ends: Vec<_> = ends.filter(|(_, count)| *count > 0).collect();
    let expected = [(Some(CloseCode::Normal), 1), (Some(CloseCode::Restart), 1)];
    assert_eq!(ends, expected);
}

/// Each of these is refused, and refusals are counted against the client.
#[tokio::test(start_paused = true)]
async fn to_end_groups_that_were_never_begun_is_refused_and_counts() {
    for target in [json!({"pattern": "p-*"}), json!({"tree": "t"})] {
        let mut limits = ClientLimits::default();
        // Time is paused, so the client never regains anything.
        limits.refusals_per_client = Some(Rate::new(1, 5));
        let config = ConnectionsConfig::default().limits(limits);
        let world = World::new(lines(), config);
        let mut request = named("a", None);
        request.peer = Peer::new(Some(SocketAddr::from(([192, 0, 2, 1], 1))));
        let mut client = world.connect(request, usize::MAX);
        let mut message = target.clone();
        message["type"] = "unsubscribe".into();
        let mut refused = 0;
        let mut last = Vec::new();
        while client.is_open() {
            client.send(message.clone()).await;
            last = client.read().await;
            let codes = last.iter().map(|answer| &answer["data"]["code"]);
            refused += codes.filter(|code| *code == "not_subscribed").count();
            assert!(refused < 20, "{target} may be repeated for ever");
        }
        assert!(refused > 0, "{target}");
        let last: Vec<_> = last.iter().map(|answer| &answer["event_type"]).collect();
        assert_eq!(
            last,
            ["error", "error", "going_away"],
            "nothing follows the close"
        );
    }
}
