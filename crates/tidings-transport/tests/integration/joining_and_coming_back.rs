//! Where a subscriber starts, and where it continues after a break.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidings_bus::{BusConfig, EventBus, LogLimits};
use tidings_protocol::{NewEvent, Position, TaskId};
use tidings_testkit::{TestClient, TestConfig, TestServer, WireChecker, eventually};

fn task() -> TaskId {
    TaskId::new("t").unwrap()
}

async fn publish(bus: &EventBus, count: u64) {
    for _ in 0..count {
        let event = NewEvent::new("step".parse().unwrap(), tidings_protocol::Data::empty());
        bus.publish(&task(), event).await.unwrap();
    }
}

/// Starts a server whose tasks keep ten events.
async fn short_memory() -> TestServer {
    let limits = LogLimits {
        max_events: 10,
        max_bytes: 1 << 20,
    };
    let bus = BusConfig::default().log_limits(limits);
    TestServer::start(TestConfig {
        bus,
        ..TestConfig::default()
    })
    .await
}

async fn since(server: &TestServer, position: Position) -> TestClient {
    let mut checker = WireChecker::default();
    checker.ask_since("t", position.clone());
    TestClient::connect_as(server.ws(&format!("/ws/tasks/t?since={position}")), checker).await
}

fn delivered(watcher: &TestClient) -> u64 {
    watcher.checker().task("t").unwrap().checker.delivered()
}

#[tokio::test]
async fn a_watcher_that_was_cut_gets_exactly_the_rest() {
    let server = TestServer::start(TestConfig::default()).await;
    let mut watcher = TestClient::connect(server.ws("/ws/tasks/t")).await;
    watcher.until("connection_established").await;
    publish(server.bus(), 20).await;
    watcher.until_offset("t", 7).await;
    let position = watcher.checker().task("t").unwrap().position().unwrap();
    watcher.cut();
    publish(server.bus(), 10).await;
    let mut back = since(&server, position).await;
    assert_eq!(
        back.until("connection_established").await["data"]["recovered"],
        true
    );
    back.until_offset("t", 30).await;
    assert_eq!(delivered(&back), 23);
    assert!(back.checker().task("t").unwrap().checker.gaps().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn after_retention_a_gap_names_what_is_gone() {
    let server = short_memory().await;
    publish(server.bus(), 5).await;
    let epoch = server.bus().snapshot(&task()).unwrap().epoch.clone();
    publish(server.bus(), 20).await;
    let position = Position {
        epoch,
        offset: tidings_protocol::Offset::new(5).unwrap(),
    };
    let mut back = since(&server, position).await;
    assert_eq!(
        back.until("connection_established").await["data"]["recovered"],
        false
    );
    let gap = back.until("gap").await;
    assert_eq!(gap["data"]["from"], 6);
    assert_eq!(gap["data"]["to"], 15);
    assert_eq!(gap["data"]["reason"], "expired");
    assert_eq!(gap["data"]["snapshot"]["offset"], 25);
    back.until_offset("t", 25).await;
    assert_eq!(delivered(&back), 10, "what is retained comes after the gap");
    server.stop().await;
}

#[tokio::test]
async fn since_zero_and_history_begin_in_the_past() {
    let server = short_memory().await;
    publish(server.bus(), 8).await;
    let mut checker = WireChecker::default();
    checker.ask_retained("t");
    let mut all = TestClient::connect_as(server.ws("/ws/tasks/t?since=0"), checker).await;
    assert_eq!(
        all.until("connection_established").await["data"]["recovered"],
        true
    );
    all.until_offset("t", 8).await;
    assert_eq!(delivered(&all), 8);

    let mut checker = WireChecker::default();
    checker.ask_history("t");
    let mut some = TestClient::connect_as(server.ws("/ws/tasks/t?history=3"), checker).await;
    for due in 6..=8_u64 {
        assert_eq!(some.until("step").await["offset"], due);
    }
    publish(server.bus(), 1).await;
    some.until_offset("t", 9).await;
    assert_eq!(delivered(&some), 4);
    server.stop().await;
}

#[tokio::test]
async fn a_live_join_begins_after_the_snapshot() {
    let server = TestServer::start(TestConfig::default()).await;
    publish(server.bus(), 4).await;
    let mut live = TestClient::connect(server.ws("/ws/tasks/t")).await;
    let hello = live.next().await.unwrap();
    assert_eq!(hello["event_type"], "connection_established");
    assert_eq!(
        (
            &hello["data"]["offset"],
            &hello["data"]["snapshot"]["offset"]
        ),
        (&4.into(), &4.into())
    );
    publish(server.bus(), 2).await;
    assert_eq!(live.next().await.unwrap()["offset"], 5);
    assert_eq!(live.next().await.unwrap()["offset"], 6);
    server.stop().await;
}

/// A client that connects after the end of a task learns the end, from the event while it is
/// retained, and always from the snapshot. A new run continues after it.
#[tokio::test]
async fn the_end_is_there_for_whoever_comes_after_it() {
    let mut config = TestConfig::default();
    config.bus = config
        .bus
        .finished_events_ttl(Duration::from_millis(50))
        .sweep_interval(Duration::from_millis(10));
    let server = TestServer::start(config).await;
    let mut early = TestClient::connect(server.ws("/ws/tasks/t")).await;
    publish(server.bus(), 3).await;
    let failed = NewEvent::task_failed("out of luck");
    server.bus().publish(&task(), failed).await.unwrap();
    early.until_offset("t", 4).await;
    let epoch = server.bus().snapshot(&task()).unwrap().epoch.clone();
    let bus = server.bus().clone();
    eventually("its events have expired", || {
        bus.stats().events_dropped == 4
    })
    .await;
    let position = Position {
        epoch,
        offset: tidings_protocol::Offset::new(2).unwrap(),
    };
    let mut late = since(&server, position).await;
    let hello = late.until("connection_established").await;
    assert_eq!(hello["data"]["recovered"], false);
    assert_eq!(hello["data"]["snapshot"]["status"], "failed");
    let gap = late.until("gap").await;
    assert_eq!(
        (&gap["data"]["from"], &gap["data"]["to"]),
        (&3.into(), &4.into())
    );
    assert_eq!(gap["data"]["reason"], "expired");
    assert_eq!(gap["data"]["snapshot"]["error"]["message"], "out of luck");
    let mut live = TestClient::connect(server.ws("/ws/tasks/t")).await;
    let hello = live.until("connection_established").await;
    assert_eq!(hello["data"]["snapshot"]["error"]["message"], "out of luck");

    server
        .bus()
        .publish(&task(), NewEvent::task_started("again"))
        .await
        .unwrap();
    for watcher in [&mut early, &mut late, &mut live] {
        assert_eq!(
            watcher.until("task_started").await["offset"],
            5,
            "all are there still"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn after_a_crash_the_epoch_has_changed() {
    let server = TestServer::start(TestConfig::default()).await;
    let addr = server.addr();
    publish(server.bus(), 9).await;
    let epoch = server.bus().snapshot(&task()).unwrap().epoch.clone();
    server.crash().await;
    let server = TestServer::start_at(TestConfig::default(), addr).await;
    publish(server.bus(), 4).await;
    let mut back = since(
        &server,
        Position {
            epoch,
            offset: tidings_protocol::Offset::new(9).unwrap(),
        },
    )
    .await;
    assert_eq!(
        back.until("connection_established").await["data"]["recovered"],
        false
    );
    let reset = back.until("reset").await;
    assert_eq!(reset["data"]["reason"], "epoch_changed");
    assert_eq!(reset["data"]["offset"], 0, "all of it follows");
    assert_eq!(reset["data"]["snapshot"]["offset"], 4);
    back.until_offset("t", 4).await;
    assert_eq!(delivered(&back), 4);
    server.stop().await;
}

#[tokio::test]
async fn a_claim_ahead_of_the_head_is_answered_with_the_state() {
    let server = TestServer::start(TestConfig::default()).await;
    publish(server.bus(), 4).await;
    let epoch = server.bus().snapshot(&task()).unwrap().epoch.clone();
    let position = Position {
        epoch: epoch.clone(),
        offset: tidings_protocol::Offset::new(99).unwrap(),
    };
    let mut back = since(&server, position).await;
    let hello = back.until("connection_established").await;
    assert_eq!(hello["data"]["recovered"], false);
    assert_eq!(
        hello["data"]["epoch"],
        epoch.as_str(),
        "a claim changes no epoch"
    );
    let reset = back.until("reset").await;
    assert_eq!(reset["data"]["reason"], "ahead");
    assert_eq!(reset["data"]["offset"], 4);
    publish(server.bus(), 1).await;
    back.until_offset("t", 5).await;
    let seen = &back.checker().task("t").unwrap().checker;
    assert_eq!((seen.delivered(), seen.resets()), (1, 1));
    server.stop().await;
}

/// While publishers run at full speed, `snapshot.offset + 1` is the first event, no matter when a
/// client joins. The checker of each client verifies it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joining_has_no_seam() {
    const JOINS: usize = 1_000;
    let server = TestServer::start(TestConfig::default()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..2)
        .map(|_| {
            let (bus, stop) = (server.bus().clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    publish(&bus, 10).await;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for _ in 0..JOINS {
        let mut joiner = TestClient::connect(server.ws("/ws/tasks/t")).await;
        let hello = joiner.until("connection_established").await;
        let head = hello["data"]["offset"].as_u64().unwrap();
        joiner.until_offset("t", head + 3).await;
    }
    stop.store(true, Ordering::Relaxed);
    for publisher in publishers {
        publisher.await.unwrap();
    }
    server.stop().await;
}

/// The server writes the handshake and the first message in one call, and the client wakes up once.
/// This also holds if the first message is a refusal.
#[tokio::test]
async fn what_is_said_first_comes_with_the_end_of_the_handshake() {
    use std::io::{Read, Write};

    let server = TestServer::start(TestConfig::default()).await;
    let addr = server.addr();
    let first = move |path: &str, headers: &str| {
        let mut stream = std::net::TcpStream::connect(addr).unwrap();
        let request = tidings_testkit::handshake(path, headers);
        stream.write_all(request.as_bytes()).unwrap();
        let mut first = [0; 4_096];
        let count = stream.read(&mut first).unwrap();
        let first = String::from_utf8_lossy(&first[..count]).into_owned();
        assert!(first.starts_with("HTTP/1.1 101 "), "{first}");
        first
    };
    let said = tokio::task::spawn_blocking(move || {
        let elsewhere = "Origin: https://elsewhere.example\r\n";
        [
            (first("/ws/tasks/t", ""), "connection_established"),
            (first("/ws", ""), "connection_established"),
            (first("/ws/tasks/t", elsewhere), "going_away"),
        ]
    });
    for (first, expected) in said.await.unwrap() {
        assert!(first.contains(expected), "{first}");
    }
}
