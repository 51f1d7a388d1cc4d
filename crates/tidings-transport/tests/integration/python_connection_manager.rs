//! The behaviour that the tests of the Python version's connection manager checked, over real
//! sockets.

use std::time::SystemTime;

use serde_json::{Value, json};
use tidings_bus::EventBus;
use tidings_protocol::{ClientId, Data, NewEvent, TaskId, Timestamp};
use tidings_testkit::{RawClient, TestClient, TestConfig, TestServer, WireChecker, eventually};

fn task(id: &str) -> TaskId {
    TaskId::new(id).unwrap()
}

fn client(id: &str) -> ClientId {
    ClientId::new(id).unwrap()
}

fn data(value: Value) -> Data {
    Data::from_value(value).unwrap()
}

async fn progress(bus: &EventBus, id: &str, percents: impl IntoIterator<Item = u8>) {
    for percent in percents {
        let event = NewEvent::progress(f64::from(percent), None);
        bus.publish(&task(id), event).await.unwrap();
    }
}

#[tokio::test]
async fn connect_new_client() {
    let server = TestServer::start(TestConfig::default()).await;
    let mut watcher = TestClient::connect(server.ws("/ws/tasks/t1")).await;
    let hello = watcher.next().await.unwrap();
    assert_eq!(hello["event_type"], "connection_established");
    assert_eq!(hello["data"]["protocol"], "tidings.v1");
    assert_eq!(hello["data"]["offset"], 0);
    assert_eq!(hello["data"]["snapshot"]["status"], "pending");
    let id = hello["data"]["client_id"].as_str().unwrap();
    assert!(
        id.starts_with("client_") && id.len() == "client_".len() + 32,
        "{id}"
    );
    assert_eq!(server.manager().stats().connected, 1);
    server.stop().await;
}

#[tokio::test]
async fn connect_with_custom_client_id() {
    let server = TestServer::start(TestConfig::default()).await;
    let url = server.ws("/ws/tasks/t1?client_id=laptop-7");
    let mut watcher = TestClient::connect(url.clone()).await;
    let hello = watcher.until("connection_established").await;
    assert_eq!(hello["data"]["client_id"], "laptop-7");
    assert!(server.manager().connection(&client("laptop-7")).is_some());

    let mut thief = TestClient::connect(url).await;
    assert_eq!(thief.until("error").await["data"]["code"], "forbidden");
    assert_eq!(thief.close_code().await, Some(4403));
    assert!(
        thief.checker().going_away().is_some(),
        "told before it was closed"
    );
    watcher.send(&json!({ "type": "ping", "ref": 1 })).await;
    assert_eq!(
        watcher.until("pong").await["data"]["ref"],
        1,
        "the owner is undisturbed"
    );
    server.stop().await;
}

#[tokio::test]
async fn disconnect_client() {
    let server = TestServer::start(TestConfig::default()).await;
    let url = server.ws("/ws/tasks/t1?client_id=laptop");
    let mut leaver = TestClient::connect(url).await;
    leaver.until("connection_established").await;
    leaver.close().await;
    let manager = server.manager().clone();
    eventually("the client is away", || {
        manager.stats().connected == 0 && manager.stats().away == 1
    })
    .await;
    assert!(
        server.bus().task(&task("t1")).is_none(),
        "nobody watches it any more"
    );

    let mut kicked = TestClient::connect(server.ws("/ws?client_id=kicked")).await;
    kicked.until("connection_established").await;
    assert!(manager.kick(&client("kicked")).await.unwrap());
    assert_eq!(kicked.close_code().await, Some(1000));
    assert_eq!(kicked.checker().going_away().unwrap()["reconnect"], "never");
    assert!(
        !manager.kick(&client("kicked")).await.unwrap(),
        "it is gone"
    );
    server.stop().await;
}

#[tokio::test]
async fn send_personal_message() {
    let server = TestServer::start(TestConfig::default()).await;
    let mut one = TestClient::connect(server.ws("/ws?client_id=one")).await;
    let mut other = TestClient::connect(server.ws("/ws?client_id=other")).await;
    one.until("connection_established").await;
    other.until("connection_established").await;
    for number in 1..=3_u64 {
        let offset = server
            .manager()
            .send_personal(
                &client("one"),
                "note".parse().unwrap(),
                data(json!({ "n": number })),
            )
            .await
            .unwrap();
        assert_eq!(offset.get(), number);
    }
    for number in 1..=3_u64 {
        let message = one.until("personal_message").await;
        assert!(message.get("offset").is_none(), "it is no event of a task");
        assert_eq!(
            message["data"],
            json!({ "event_type": "note", "data": { "n": number }, "offset": number })
        );
    }
    other.send(&json!({ "type": "ping" })).await;
    assert_eq!(
        other.next().await.unwrap()["event_type"],
        "pong",
        "nothing came before it"
    );
    let nobody = server
        .manager()
        .send_personal(&client("nobody"), "note".parse().unwrap(), Data::empty())
        .await;
    assert!(nobody.is_err());
    server.stop().await;
}

#[tokio::test]
async fn broadcast_to_task() {
    let server = TestServer::start(TestConfig::default()).await;
    let mut watchers = Vec::new();
    for _ in 0..10 {
        let mut watcher = TestClient::connect(server.ws("/ws/tasks/t1")).await;
        watcher.until("connection_established").await;
        watchers.push(watcher);
    }
    let mut elsewhere = TestClient::connect(server.ws("/ws/tasks/t2")).await;
    elsewhere.until("connection_established").await;
    progress(server.bus(), "t1", 1..=50).await;
    for watcher in &mut watchers {
        watcher.until_offset("t1", 50).await;
        let seen = watcher.checker().task("t1").unwrap();
        assert_eq!(
            (seen.checker.delivered(), seen.checker.gaps().len()),
            (50, 0)
        );
    }
    elsewhere.send(&json!({ "type": "ping" })).await;
    assert_eq!(elsewhere.next().await.unwrap()["event_type"], "pong");
    server.stop().await;
}

#[tokio::test]
async fn message_queuing_for_offline_client() {
    let server = TestServer::start(TestConfig::default()).await;
    let mut watcher = TestClient::connect(server.ws("/ws/tasks/t1?client_id=laptop")).await;
    let hello = watcher.until("connection_established").await;
    let token = hello["data"]["resume_token"].as_str().unwrap().to_owned();
    watcher
        .send(&json!({ "type": "subscribe", "task_id": "t2" }))
        .await;
    watcher.until("subscribed").await;
    progress(server.bus(), "t1", 1..=3).await;
    progress(server.bus(), "t2", 1..=2).await;
    watcher.until_offset("t1", 3).await;
    watcher.until_offset("t2", 2).await;
    let seen = watcher.close().await;
    let manager = server.manager().clone();
    eventually("the client is away", || manager.stats().away == 1).await;

    progress(server.bus(), "t1", 4..=9).await;
    progress(server.bus(), "t2", 3..=4).await;
    manager
        .send_personal(&client("laptop"), "note".parse().unwrap(), Data::empty())
        .await
        .unwrap();

    let url = server.ws(&format!(
        "/ws/tasks/t1?client_id=laptop&resume_token={token}"
    ));
    let mut back = TestClient::connect_as(url, seen.resumed(|_| true)).await;
    let hello = back.until("connection_established").await;
    assert_eq!(hello["data"]["recovered"], true);
    assert_eq!(hello["data"]["resume_token"], token.as_str());
    let mut note = false;
    while back
        .checker()
        .task("t2")
        .and_then(|t2| t2.checker.expected())
        != Some(5)
        || back.checker().task("t1").unwrap().checker.expected() != Some(10)
        || !note
    {
        note |= back.next().await.unwrap()["event_type"] == "personal_message";
    }
    let delivered = |id: &str| back.checker().task(id).unwrap().checker.delivered();
    assert_eq!(
        (delivered("t1"), delivered("t2")),
        (6, 2),
        "what it missed, and no more"
    );
    assert_eq!(manager.stats().resumed, 1);
    server.stop().await;
}

#[tokio::test]
async fn get_task_connections() {
    let server = TestServer::start(TestConfig::default()).await;
    let mut clients = Vec::new();
    for (id, path) in [
        ("a", "/ws/tasks/t1"),
        ("b", "/ws/tasks/t1"),
        ("c", "/ws/tasks/t2"),
    ] {
        let mut client = TestClient::connect(server.ws(&format!("{path}?client_id={id}"))).await;
        client.until("connection_established").await;
        clients.push(client);
    }
    let of = |id: Option<&str>| {
        let id = id.map(task);
        let mut ids: Vec<_> = server
            .manager()
            .connections(id.as_ref())
            .iter()
            .map(|info| info.client_id.to_string())
            .collect();
        ids.sort();
        ids
    };
    assert_eq!(of(Some("t1")), ["a", "b"]);
    assert_eq!(of(Some("t2")), ["c"]);
    assert_eq!(of(Some("t3")), [""; 0]);
    assert_eq!(of(None), ["a", "b", "c"]);
    server.stop().await;
}

#[tokio::test]
async fn connection_info_tracking() {
    let server = TestServer::start(TestConfig::default()).await;
    let request = tungstenite::ClientRequestBuilder::new(
        server.ws("/ws/tasks/t1?client_id=laptop").parse().unwrap(),
    )
    .with_header("User-Agent", "tests/1.0");
    let begin = Timestamp::from(SystemTime::now());
    let mut watcher = TestClient::connect_as(request, WireChecker::default()).await;
    watcher.until("connection_established").await;
    watcher
        .send(&json!({ "type": "subscribe", "pattern": "build-*" }))
        .await;
    watcher.until("subscribed").await;
    progress(server.bus(), "t1", 1..=5).await;
    watcher.until_offset("t1", 5).await;
    let info = server.manager().connection(&client("laptop")).unwrap();
    assert_eq!(info.transport, "websocket");
    assert_eq!(info.user_agent.as_deref(), Some("tests/1.0"));
    assert!(info.remote_addr.unwrap().ip().is_loopback());
    assert_eq!((info.delivered, info.received, info.lag), (5, 1, 0));
    assert_eq!(info.patterns.len(), 1);
    assert_eq!(info.subscriptions.len(), 1);
    assert_eq!(info.subscriptions[0].task_id, task("t1"));
    assert_eq!(
        (info.subscriptions[0].offset, info.subscriptions[0].lag),
        (5, 0)
    );
    assert!(!info.blocked);
    let now = Timestamp::from(SystemTime::now());
    assert!((begin..=now).contains(&info.connected_at), "{info:?}");

    // A client that does not read falls behind, and the list of connections shows it.
    let stuck = RawClient::connect_narrow(server.addr(), "/ws/tasks/t2?client_id=stuck").await;
    let text = "x".repeat(32 * 1024);
    let manager = server.manager().clone();
    let blocked = || manager.connection(&client("stuck")).unwrap().blocked;
    while !blocked() {
        let event = NewEvent::log(text.clone());
        server.bus().publish(&task("t2"), event).await.unwrap();
        tokio::task::yield_now().await;
    }
    let before = manager.connection(&client("stuck")).unwrap();
    progress(server.bus(), "t2", 1..=3).await;
    let info = manager.connection(&client("stuck")).unwrap();
    assert_eq!(info.lag, before.lag + 3);
    assert_eq!(info.subscriptions[0].lag, info.lag);
    assert_eq!(info.delivered, before.delivered);

    assert!(manager.kick(&client("laptop")).await.unwrap());
    assert_eq!(watcher.close_code().await, Some(1000));
    assert!(manager.connection(&client("laptop")).is_none());
    drop(stuck);
    server.stop().await;
}
