//! A client proves with its resume token that it is the same client, and continues.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tidings_bus::{EventBus, LogLimits};
use tidings_protocol::{ClientId, Data, NewEvent, TaskId};
use tidings_testkit::{RawClient, TestClient, TestConfig, TestServer, WireChecker, eventually};

async fn publish(bus: &EventBus, id: &str, count: u64) {
    for _ in 0..count {
        let event = NewEvent::new("own".parse().unwrap(), Data::empty());
        bus.publish(&TaskId::new(id).unwrap(), event).await.unwrap();
    }
}

/// Connects a client. Returns the client and its token.
async fn connect(server: &TestServer, path: &str) -> (TestClient, String) {
    let mut client = TestClient::connect(server.ws(path)).await;
    let hello = client.until("connection_established").await;
    let token = hello["data"]["resume_token"].as_str().unwrap().to_owned();
    (client, token)
}

async fn all_away(server: &TestServer, count: u64) {
    eventually("they are away", || {
        let stats = server.manager().stats();
        stats.connected == 0 && stats.away == count
    })
    .await;
}

/// Checks a refusal: `error`, `going_away` and a close code.
async fn forbidden(server: &TestServer, query: &str) {
    let client = RawClient::connect(server.addr(), &format!("/ws/tasks/t?{query}")).await;
    let (messages, code) = client.to_end().await;
    assert_eq!(code, Some(4403), "{query}: {messages:?}");
    assert_eq!(messages[0]["event_type"], "error", "{query}");
    assert_eq!(messages[0]["data"]["code"], "forbidden", "{query}");
    assert_eq!(messages[1]["data"]["reconnect"], "never", "{query}");
}

/// The same client connects again and again while publishers run. Each connection continues exactly
/// where the previous one ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_connection_replaces_the_older_without_loss_or_doubling() {
    const REPLACEMENTS: usize = 50;
    let mut config = TestConfig::default();
    // All events are retained, so there is no excuse for a loss.
    config.bus = config.bus.log_limits(LogLimits {
        max_events: u64::MAX,
        max_bytes: 200 << 20,
    });
    let server = TestServer::start(config).await;
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = {
        let (bus, stop) = (server.bus().clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                publish(&bus, "t", 5).await;
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
            publish(&bus, "t", 1).await;
        })
    };
    let mut path = "/ws/tasks/t?client_id=laptop".to_owned();
    let mut connections = Vec::new();
    for number in 0..=REPLACEMENTS {
        let mut client = RawClient::connect(server.addr(), &path).await;
        let hello = client.next_text().await;
        assert_eq!(hello["data"]["client_id"], "laptop");
        assert_eq!(
            hello["data"]["recovered"], true,
            "connection {number}: {hello}"
        );
        let token = hello["data"]["resume_token"].as_str().unwrap();
        path = format!("/ws/tasks/t?client_id=laptop&resume_token={token}");
        connections.push(tokio::spawn(async move {
            let (mut messages, code) = client.to_end().await;
            messages.insert(0, hello);
            (messages, code)
        }));
        // The connection receives something before it is replaced.
        let seen = server.bus().stats().deliveries;
        eventually("events flow", || {
            server.bus().stats().deliveries > seen + 20
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    publishing.await.unwrap();
    let id = ClientId::new("laptop").unwrap();
    let manager = server.manager().clone();
    eventually("the last one has everything", || {
        manager.connection(&id).is_some_and(|info| info.lag == 0)
    })
    .await;
    assert_eq!(manager.stats().connected, 1);
    assert_eq!(manager.stats().resumed, REPLACEMENTS as u64);
    let cut = stop_and_check(server, connections).await;
    assert!(cut < REPLACEMENTS / 2, "{cut} were not told");
}

type Connection = tokio::task::JoinHandle<(Vec<Value>, Option<u16>)>;

/// Stops the server, and checks everything that one client received on all of its connections.
/// Returns how many connections were cut within an event, so that no close frame could follow.
async fn stop_and_check(server: TestServer, connections: Vec<Connection>) -> usize {
    let task = TaskId::new("t").unwrap();
    let head = server.bus().snapshot(&task).unwrap().offset;
    server.stop().await;
    let mut checker = WireChecker::default();
    let last = connections.len() - 1;
    let mut cut = 0;
    for (number, connection) in connections.into_iter().enumerate() {
        checker = checker.resumed(|_| true);
        let (messages, code) = connection.await.unwrap();
        for message in &messages {
            checker
                .message(&message.to_string())
                .unwrap_or_else(|violation| panic!("connection {number}: {violation}"));
        }
        if code.is_none() && number < last {
            cut += 1;
            continue;
        }
        let (expected, reconnect) = if number < last {
            (4409, "never")
        } else {
            (1012, "after")
        };
        assert_eq!(code, Some(expected), "connection {number}");
        let goodbye = messages.last().unwrap();
        assert_eq!(goodbye["event_type"], "going_away");
        assert_eq!(goodbye["data"]["reconnect"], reconnect);
    }
    let end = checker.task("t").unwrap().checker.expected();
    assert_eq!(end, Some(head.get() + 1), "all of it came");
    cut
}

/// A connection that does not read is replaced in the middle of an event. The newer connection
/// continues exactly after the last event that the older one still receives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_connection_is_replaced_without_loss_or_doubling() {
    let mut config = TestConfig::default();
    config.bus = config.bus.log_limits(LogLimits {
        max_events: u64::MAX,
        max_bytes: 200 << 20,
    });
    config.connections = config.connections.close_timeout(Duration::from_secs(10));
    let server = TestServer::start(config).await;
    let mut old = RawClient::connect_narrow(server.addr(), "/ws/tasks/t?client_id=mine").await;
    let hello = old.next_text().await;
    let token = hello["data"]["resume_token"].as_str().unwrap().to_owned();
    let id = ClientId::new("mine").unwrap();
    let data = Data::from_value(json!({ "text": "x".repeat(10_000) })).unwrap();
    let big = NewEvent::new("own".parse().unwrap(), data);
    let manager = server.manager().clone();
    while !manager.connection(&id).unwrap().blocked {
        server
            .bus()
            .publish(&TaskId::new("t").unwrap(), big.clone())
            .await
            .unwrap();
        tokio::task::yield_now().await;
    }
    publish(server.bus(), "t", 5).await;
    let path = format!("/ws/tasks/t?client_id=mine&resume_token={token}");
    let new = RawClient::connect(server.addr(), &path).await;
    let newer = tokio::spawn(new.to_end());
    eventually("the newer one has everything", || {
        manager
            .connection(&id)
            .is_some_and(|info| !info.blocked && info.lag == 0)
    })
    .await;
    // Only now does the older connection read. It was cut within an event, so no close frame could
    // follow.
    let (mut messages, code) = old.to_end().await;
    assert_eq!(code, None);
    messages.insert(0, hello);
    let older = tokio::spawn(async move { (messages, code) });
    assert_eq!(stop_and_check(server, vec![older, newer]).await, 1);
}

/// Many connections of one client at the same time. One remains, and the others were told that they
/// were replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_race_one_is_left() {
    const RACERS: usize = 40;
    let server = TestServer::start(TestConfig::default()).await;
    let (first, token) = connect(&server, "/ws/tasks/t?client_id=mine").await;
    let addr = server.addr();
    let racers: Vec<_> = (0..RACERS)
        .map(|_| {
            let path = format!("/ws/tasks/t?client_id=mine&resume_token={token}");
            tokio::spawn(async move { RawClient::connect(addr, &path).await.to_end().await })
        })
        .collect();
    let manager = server.manager().clone();
    eventually("all have come", || {
        manager.stats().accepted == RACERS as u64 + 1
    })
    .await;
    eventually("one is left", || manager.stats().connected == 1).await;
    publish(server.bus(), "t", 1).await;
    // A client that the fan-out has not reached yet would receive the event after it reconnects.
    eventually("one has it", || server.bus().stats().deliveries > 0).await;
    server.stop().await;
    let mut codes = Vec::new();
    let mut delivered = 0;
    for racer in racers {
        let (messages, code) = racer.await.unwrap();
        assert_eq!(
            messages[0]["event_type"], "connection_established",
            "{messages:?}"
        );
        delivered += messages
            .iter()
            .filter(|message| message["offset"].is_u64())
            .count();
        codes.push(code);
    }
    codes.sort_unstable();
    let mut expected = vec![Some(4409); RACERS];
    expected[0] = Some(1012);
    assert_eq!(codes, expected);
    assert_eq!(delivered, 1, "only one of them was there for the event");
    first.cut();
}

#[tokio::test]
async fn without_the_right_token_an_id_is_not_given_away() {
    let server = TestServer::start(TestConfig::default()).await;
    let (mut owner, token) = connect(&server, "/ws/tasks/t?client_id=mine").await;
    let (_other, others) = connect(&server, "/ws/tasks/t?client_id=other").await;
    let wrong = [
        "client_id=mine".to_owned(),
        "client_id=mine&resume_token=".to_owned(),
        "client_id=mine&resume_token=nonsense".to_owned(),
        format!("client_id=mine&resume_token={others}"),
        format!(
            "client_id=mine&resume_token={}",
            token.replace(|c: char| c.is_alphabetic(), "0")
        ),
    ];
    for query in &wrong {
        forbidden(&server, query).await;
    }
    // The result is the same whether the owner is connected or not.
    owner.send(&json!({ "type": "ping" })).await;
    owner.until("pong").await;
    let seen = owner.close().await;
    eventually("it is away", || server.manager().stats().away == 1).await;
    for query in &wrong {
        forbidden(&server, query).await;
    }
    assert_eq!(
        server.manager().stats().rejected,
        2 * wrong.len() as u64,
        "each is counted"
    );
    let path = format!("/ws/tasks/t?client_id=mine&resume_token={token}");
    let mut back = TestClient::connect_as(server.ws(&path), seen.resumed(|_| true)).await;
    let hello = back.until("connection_established").await;
    assert_eq!(hello["data"]["resume_token"], token.as_str());
    server.stop().await;
}

#[tokio::test]
async fn a_client_is_forgotten_after_the_offline_time() {
    let mut config = TestConfig::default();
    config.connections = config
        .connections
        .offline_ttl(Duration::from_millis(100))
        .heartbeat_interval(Duration::from_millis(500));
    let server = TestServer::start(config).await;
    publish(server.bus(), "t", 3).await;
    let (client, token) = connect(&server, "/ws/tasks/t?client_id=mine").await;
    client.close().await;
    all_away(&server, 0).await;
    publish(server.bus(), "t", 4).await;
    // The id is free, the token is useless, and missed events are not delivered.
    let path = format!("/ws/tasks/t?client_id=mine&resume_token={token}");
    let (mut back, fresh) = connect(&server, &path).await;
    assert_ne!(fresh, token);
    assert_eq!(server.manager().stats().resumed, 0);
    publish(server.bus(), "t", 1).await;
    back.until_offset("t", 8).await;
    assert_eq!(back.checker().task("t").unwrap().checker.delivered(), 1);
    server.stop().await;
}

#[tokio::test]
async fn tasks_that_appeared_meanwhile_under_a_pattern_come_from_their_first_event() {
    let server = TestServer::start(TestConfig::default()).await;
    let (mut client, token) = connect(&server, "/ws?client_id=board").await;
    client
        .send(&json!({ "type": "subscribe", "pattern": "build-*" }))
        .await;
    client.until("subscribed").await;
    publish(server.bus(), "build-1", 2).await;
    client.until_offset("build-1", 2).await;
    let seen = client.close().await;
    all_away(&server, 1).await;
    publish(server.bus(), "build-1", 3).await;
    publish(server.bus(), "build-2", 4).await;
    publish(server.bus(), "render-1", 4).await;

    let path = format!("/ws?client_id=board&resume_token={token}");
    let mut back = TestClient::connect_as(server.ws(&path), seen.resumed(|_| true)).await;
    back.until("connection_established").await;
    while !["build-1", "build-2"]
        .iter()
        .all(|id| at(&back, id) == Some(if *id == "build-1" { 6 } else { 5 }))
    {
        back.next().await.unwrap();
    }
    let delivered = |id: &str| back.checker().task(id).map(|task| task.checker.delivered());
    assert_eq!(delivered("build-1"), Some(3), "from where it was");
    assert_eq!(delivered("build-2"), Some(4), "from the first");
    assert_eq!(delivered("render-1"), None);
    // The pattern is still active.
    publish(server.bus(), "build-3", 1).await;
    back.until_offset("build-3", 1).await;
    server.stop().await;
}

fn at(client: &TestClient, id: &str) -> Option<u64> {
    client.checker().task(id)?.checker.expected()
}

#[tokio::test]
async fn a_position_says_better_than_the_kept_cursor() {
    let server = TestServer::start(TestConfig::default()).await;
    let (mut client, token) = connect(&server, "/ws/tasks/t?client_id=mine").await;
    publish(server.bus(), "t", 6).await;
    client.until_offset("t", 6).await;
    client.close().await;
    all_away(&server, 1).await;
    let epoch = server
        .bus()
        .snapshot(&TaskId::new("t").unwrap())
        .unwrap()
        .epoch
        .clone();
    let mut checker = WireChecker::default();
    let since = format!("{epoch}:2");
    checker.ask_since("t", since.parse().unwrap());
    let path = format!("/ws/tasks/t?client_id=mine&resume_token={token}&since={since}");
    let mut back = TestClient::connect_as(server.ws(&path), checker).await;
    back.until_offset("t", 6).await;
    assert_eq!(back.checker().task("t").unwrap().checker.delivered(), 4);
    server.stop().await;
}

#[tokio::test]
async fn no_more_are_kept_than_allowed_and_the_longest_away_goes_first() {
    let mut config = TestConfig::default();
    config.connections = config.connections.max_away(2);
    let server = TestServer::start(config).await;
    publish(server.bus(), "t", 1).await;
    let mut tokens = Vec::new();
    let mut seen = Vec::new();
    for (number, id) in ["a", "b", "c"].into_iter().enumerate() {
        let (client, token) = connect(&server, &format!("/ws/tasks/t?client_id={id}")).await;
        seen.push(client.close().await);
        all_away(&server, (number as u64 + 1).min(2)).await;
        tokens.push(token);
    }
    publish(server.bus(), "t", 3).await;
    forbidden(&server, "client_id=b").await;
    forbidden(&server, "client_id=c").await;
    let (_a, fresh) = connect(&server, "/ws/tasks/t?client_id=a").await;
    assert_ne!(fresh, tokens[0], "it was forgotten");
    let path = format!("/ws/tasks/t?client_id=b&resume_token={}", tokens[1]);
    let mut b = TestClient::connect_as(server.ws(&path), seen[1].resumed(|_| true)).await;
    b.until_offset("t", 4).await;
    assert_eq!(b.checker().task("t").unwrap().checker.delivered(), 3);
    server.stop().await;
}
