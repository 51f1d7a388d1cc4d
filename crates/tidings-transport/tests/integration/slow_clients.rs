//! Clients that are slow, silent or stuck cost only their own connection, and only for a limited
//! time.

use std::time::{Duration, Instant};

use serde_json::json;
use tidings_bus::{EventBus, LogLimits};
use tidings_protocol::{ClientId, Data, GapReason, NewEvent, TaskId};
use tidings_testkit::{
    DEADLINE, RawClient, RawFrame, TestClient, TestConfig, TestServer, WireChecker, eventually,
    http_exchange,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More bytes than any socket holds. The kernel's largest send buffer is 4 MiB.
const FLOOD: usize = 16 * 1024 * 1024;

/// The number of bytes of one event's text.
const EVENT: usize = 16 * 1024;

fn task() -> TaskId {
    TaskId::new("t").unwrap()
}

fn own(text: &str) -> NewEvent {
    let data = Data::from_value(json!({ "text": text })).unwrap();
    NewEvent::new("own".parse().unwrap(), data)
}

/// Publishes more than a socket holds.
async fn flood(bus: &EventBus) {
    let text = "x".repeat(EVENT);
    for _ in 0..FLOOD / EVENT {
        bus.publish(&task(), own(&text)).await.unwrap();
        tokio::task::yield_now().await;
    }
}

/// Waits until the client has missed so much that a gap reports it.
async fn is_blocked(server: &TestServer, id: &str) {
    let (manager, id) = (server.manager().clone(), ClientId::new(id).unwrap());
    eventually("its socket is full", || {
        manager.connection(&id).is_some_and(|info| info.blocked)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_does_not_grow_with_lag_and_a_gap_says_what_was_missed() {
    let mut config = TestConfig::default();
    let limits = LogLimits {
        max_events: 100,
        max_bytes: 256 * 1024,
    };
    config.bus = config.bus.log_limits(limits);
    let server = TestServer::start(config).await;
    let stuck = RawClient::connect_narrow(server.addr(), "/ws/tasks/t?client_id=stuck").await;
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut other = TestClient::connect(server.ws("/ws/tasks/t")).await;
        other.until("connection_established").await;
        others.push(other);
    }
    let text = "x".repeat(EVENT);
    let events = (FLOOD / EVENT) as u64;
    let mut most = 0;
    for number in 1..=events {
        server.bus().publish(&task(), own(&text)).await.unwrap();
        most = most.max(server.bus().stats().bytes);
        for other in &mut others {
            // The others receive everything live while one client does not read at all.
            other.until_offset("t", number).await;
        }
    }
    for other in &others {
        let seen = &other.checker().task("t").unwrap().checker;
        assert_eq!((seen.delivered(), seen.gaps().len()), (events, 0));
    }
    assert!(
        most < 600 * 1024,
        "16 MiB of lag are held nowhere: {most} bytes"
    );
    is_blocked(&server, "stuck").await;
    let info = server
        .manager()
        .connection(&ClientId::new("stuck").unwrap())
        .unwrap();
    assert!(info.lag > 50 && info.delivered < events, "{info:?}");

    // Now the client reads: the delivered events, the gap, and the rest, without a hole.
    let mut stuck = stuck;
    let mut checker = WireChecker::default();
    while checker.task("t").and_then(|task| task.checker.expected()) != Some(events + 1) {
        if let RawFrame::Text(message) = stuck.next().await.unwrap() {
            checker.message(&message.to_string()).unwrap();
        }
    }
    let seen = &checker.task("t").unwrap().checker;
    let missed: u64 = seen
        .gaps()
        .iter()
        .map(|gap| gap.to.get() - gap.from.get() + 1)
        .sum();
    assert_eq!(seen.delivered() + missed, events);
    assert!(
        missed > 0
            && seen
                .gaps()
                .iter()
                .all(|gap| gap.reason == GapReason::Overrun)
    );
    drop((stuck, others));
    server.stop().await;
}

/// Outdated progress is merged while a client does not read. The client receives the latest
/// progress, and all essential events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn superseded_progress_is_merged() {
    let mut config = TestConfig::default();
    let limits = LogLimits {
        max_events: 1_000_000,
        max_bytes: 2 * FLOOD,
    };
    config.bus = config.bus.log_limits(limits);
    let server = TestServer::start(config).await;
    let mut slow = RawClient::connect_narrow(server.addr(), "/ws/tasks/t?client_id=slow").await;
    flood(server.bus()).await;
    is_blocked(&server, "slow").await;
    for percent in 0..1_000 {
        let event = NewEvent::progress(f64::from(percent) / 10.0, None);
        server.bus().publish(&task(), event).await.unwrap();
    }
    let end = server
        .bus()
        .publish(&task(), own("the end"))
        .await
        .unwrap()
        .offset
        .get();
    let mut checker = WireChecker::default();
    while checker.task("t").and_then(|task| task.checker.expected()) != Some(end + 1) {
        if let RawFrame::Text(message) = slow.next().await.unwrap() {
            checker.message(&message.to_string()).unwrap();
        }
    }
    let seen = checker.task("t").unwrap();
    assert!(seen.checker.gaps().is_empty(), "nothing is missing");
    seen.state
        .compare(&server.bus().snapshot(&task()).unwrap())
        .unwrap();
    assert_eq!(
        &seen.event_types[seen.event_types.len() - 2..],
        ["progress_update", "own"]
    );
    let progress = seen
        .event_types
        .iter()
        .filter(|kind| *kind == "progress_update")
        .count();
    assert!(progress < 1_000, "{progress} of 1,000 were still delivered");
    drop(slow);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_without_progress_ends_the_connection() {
    let mut config = TestConfig::default();
    config.connections = config
        .connections
        .write_timeout(Duration::from_millis(100))
        .heartbeat_interval(Duration::from_millis(500))
        .offline_ttl(Duration::ZERO);
    let server = TestServer::start(config).await;
    let before = server.bus().stats().tasks;
    let stuck = RawClient::connect_narrow(server.addr(), "/ws/tasks/t?client_id=stuck").await;
    let streaming = stuck_stream(&server).await;
    eventually("both are connected", || server.manager().connected() == 2).await;
    // A single flood may be faster than the fan-out. Most of it is then a gap, and the sockets are
    // not full.
    let bus = server.bus().clone();
    let flooding = tokio::spawn(async move {
        loop {
            flood(&bus).await;
        }
    });
    let manager = server.manager().clone();
    eventually("both are given up and freed", || manager.connected() == 0).await;
    flooding.abort();
    assert!(flooding.await.unwrap_err().is_cancelled());
    assert_eq!(manager.stats().away, 0);
    assert!(manager.stats().timed_out > 0);
    server.bus().remove(&task()).await.unwrap();
    assert_eq!(server.bus().stats().tasks, before);
    drop((stuck, streaming));
    server.stop().await;
}

/// Opens an SSE stream that the client does not read.
async fn stuck_stream(server: &TestServer) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.addr()).await.unwrap();
    let request =
        "GET /api/tasks/t/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// A client that reads slowly is not disconnected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_not_given_up() {
    const LIMIT: Duration = Duration::from_millis(600);
    let mut config = TestConfig::default();
    config.connections = config.connections.write_timeout(LIMIT);
    let server = TestServer::start(config).await;
    let slow = RawClient::connect(server.addr(), "/ws/tasks/t?client_id=slow").await;
    let mut slow = slow.into_stream();
    let bus = server.bus().clone();
    let flooding = tokio::spawn(async move {
        loop {
            flood(&bus).await;
        }
    });
    is_blocked(&server, "slow").await;
    let begin = Instant::now();
    let mut space = vec![0; 128 * 1024];
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let mut blocked = 0;
    let id = ClientId::new("slow").unwrap();
    // The client reads a little at a time, for several times the limit.
    while begin.elapsed() < 4 * LIMIT {
        assert!(slow.read(&mut space).await.unwrap() > 0, "it was given up");
        let info = server.manager().connection(&id);
        blocked += u32::from(info.unwrap().blocked);
        tick.tick().await;
    }
    flooding.abort();
    assert!(
        blocked > 10,
        "it was slow: {blocked} times its socket was full"
    );
    assert_eq!(server.manager().stats().timed_out, 0);
    drop(slow);
    server.stop().await;
}

async fn fast_heartbeats() -> TestServer {
    let mut config = TestConfig::default();
    config.connections = config
        .connections
        .heartbeat_interval(Duration::from_millis(100));
    TestServer::start(config).await
}

#[tokio::test]
async fn an_idle_client_hears_a_ping_and_the_heads_of_its_quiet_tasks() {
    let server = fast_heartbeats().await;
    let mut idle = RawClient::connect(server.addr(), "/ws/tasks/t").await;
    for _ in 0..3 {
        server.bus().publish(&task(), own("x")).await.unwrap();
    }
    // The client stays connected for far more than two heartbeats, because it answers.
    let (mut events, mut settled) = (0, 0);
    while settled < 7 {
        match idle.next().await.unwrap() {
            RawFrame::Ping => idle.pong().await,
            RawFrame::Text(message) if message["event_type"] == "heartbeat" => {
                panic!("a ping goes before {message}")
            }
            RawFrame::Text(message) => {
                events += u32::from(message["event_type"] == "own");
                continue;
            }
            other => panic!("{other:?} is neither a ping nor a message"),
        }
        let RawFrame::Text(message) = idle.next().await.unwrap() else {
            panic!("a heartbeat follows in the same write");
        };
        assert_eq!(message["event_type"], "heartbeat");
        // A task that moves is not named. The first heartbeat after the last event may see that
        // the task has moved. Every later heartbeat names its head.
        if settled > 0 {
            assert_eq!(message["data"]["heads"], json!({ "t": 3 }));
        }
        settled += u32::from(events == 3);
    }
    assert_eq!(server.manager().stats().timed_out, 0);
    drop(idle);
    server.stop().await;
}

#[tokio::test]
async fn unanswered_pings_end_the_connection() {
    let server = fast_heartbeats().await;
    let mut living = RawClient::connect(server.addr(), "/ws/tasks/t?client_id=living").await;
    let silent = RawClient::connect(server.addr(), "/ws/tasks/t?client_id=silent").await;
    let answering = tokio::spawn(async move {
        while let Some(frame) = living.next().await {
            if frame == RawFrame::Ping {
                living.pong().await;
            }
        }
    });
    let (messages, code) = silent.to_end().await;
    assert_eq!(code, Some(4408));
    let kinds: Vec<_> = messages
        .iter()
        .map(|message| message["event_type"].as_str())
        .collect();
    let expected = [
        "connection_established",
        "heartbeat",
        "heartbeat",
        "going_away",
    ];
    assert_eq!(
        kinds,
        expected.map(Some),
        "two go unanswered, not more and not less"
    );
    assert_eq!(messages[3]["data"]["reconnect"], "now");
    let manager = server.manager().clone();
    eventually("only the living is there", || manager.connected() == 1).await;
    assert!(
        manager
            .connection(&ClientId::new("living").unwrap())
            .is_some()
    );
    assert_eq!(manager.stats().timed_out, 1);
    server.stop().await;
    answering.await.unwrap();
}

async fn impatient() -> TestServer {
    let mut config = TestConfig::default();
    config.transport = config
        .transport
        .header_read_timeout(Duration::from_millis(100))
        .body_read_timeout(Duration::from_millis(100));
    TestServer::start(config).await
}

#[tokio::test]
async fn slow_heads_and_silence_are_timed_out() {
    let server = impatient().await;
    for (what, sent) in [
        ("nothing at all", ""),
        ("half a request line", "GET /healthz HT"),
        (
            "a head without end",
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-More: ",
        ),
        (
            "nothing after an answer",
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
        (
            "half a handshake",
            "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        ),
    ] {
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let end = tokio::time::timeout(DEADLINE / 4, stream.read_to_end(&mut answer)).await;
        assert!(end.is_ok(), "{what} is not waited for");
    }
    // A byte now and then does not extend the deadline.
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    let begin = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while stream.write_all(b"G").await.is_ok() {
        assert!(
            begin.elapsed() < DEADLINE / 4,
            "a drip of bytes keeps a connection"
        );
        tick.tick().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_slow_body_is_answered_with_408() {
    let server = impatient().await;
    let request =
        "POST /api/tasks/t/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{";
    let answer = http_exchange(server.addr(), request.as_bytes()).await;
    assert_eq!(answer.status, 408);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    assert!(server.bus().snapshot(&task()).is_none());
    server.stop().await;
}

/// A client that does not read its response holds its connection no longer than the write timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_takes_is_given_up() {
    let mut config = TestConfig::default();
    config.connections = config.connections.write_timeout(Duration::from_millis(100));
    config.transport = config.transport.max_http_connections(1);
    let limits = LogLimits {
        max_events: 1_000,
        max_bytes: FLOOD,
    };
    config.bus = config.bus.log_limits(limits);
    let server = TestServer::start(config).await;
    flood(server.bus()).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stuck = socket.connect(server.addr()).await.unwrap();
    let request = "GET /api/tasks/t/events?since=0&limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // More than the system's buffers hold.
    let requests = request.repeat(32);
    stuck.write_all(requests.as_bytes()).await.unwrap();
    // The only place is free again, although the first client has never read.
    let deadline = tokio::time::Instant::now() + tidings_testkit::DEADLINE;
    while server.get("/api/tasks").await.status != 200 {
        assert!(tokio::time::Instant::now() < deadline, "it is never free");
    }
    drop(stuck);
    server.stop().await;
}
