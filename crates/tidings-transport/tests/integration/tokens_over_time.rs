//! Tokens that expire, and tokens that are renewed on an existing connection.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidings_bus::ManualClock;
use tidings_connections::Principal;
use tidings_protocol::{Data, NewEvent, TaskId, Timestamp};
use tidings_testkit::{
    EventStream, TestClient, TestConfig, TestServer, Tokens, eventually, permissions,
};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::Request;

const NOW: u64 = 1_800_000_000_000;

fn until(name: &str, allowed: &str, seconds: u64) -> Principal {
    Principal::new(permissions(allowed))
        .subject(name)
        .expires_at(Some(Timestamp::from_millis(NOW + seconds * 1_000)))
}

async fn server() -> (TestServer, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(NOW));
    let mut config = TestConfig::default();
    config.bus = config
        .bus
        .clock(Arc::clone(&clock) as Arc<dyn tidings_bus::Clock>);
    // Deadlines are checked once in a 25th of this time.
    config.connections = config
        .connections
        .heartbeat_interval(Duration::from_secs(1));
    let tokens = Tokens::default()
        .with("short", until("ada", "watch build-*", 60))
        .with("long", until("ada", "watch build-*", 3_600))
        .with("narrow", until("ada", "watch build-2", 3_600))
        .with("wide", until("ada", "watch *", 3_600))
        .with("others", until("bo", "watch *", 3_600));
    (TestServer::start_asking(config, tokens).await, clock)
}

fn ws(server: &TestServer, path: &str, token: &str) -> Request<()> {
    let mut request = server.ws(path).into_client_request().unwrap();
    let value = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert("authorization", value);
    request
}

async fn publish(server: &TestServer, id: &str) {
    let task = TaskId::new(id).unwrap();
    let event = NewEvent::new("own".parse().unwrap(), Data::empty());
    server.bus().publish(&task, event).await.unwrap();
}

/// Waits until everything that was sent before has been handled.
async fn settle(client: &mut TestClient) {
    client
        .send(&json!({"type": "ping", "ref": "settled"}))
        .await;
    client.until("pong").await;
}

#[tokio::test]
async fn the_end_of_a_token_is_the_end_of_its_connection() {
    let (server, clock) = server().await;
    let mut short = TestClient::connect(ws(&server, "/ws/tasks/build-1", "short")).await;
    short.until("connection_established").await;
    let mut long = TestClient::connect(ws(&server, "/ws/tasks/build-1", "long")).await;
    long.until("connection_established").await;
    let mut stream = EventStream::open(
        server.addr(),
        "/api/tasks/build-1/events",
        "Authorization: Bearer short\r\n",
    )
    .await;
    clock.set(NOW + 60_000);
    assert_eq!(
        short.until("error").await["data"]["code"],
        "unauthenticated"
    );
    let goodbye = short.until("going_away").await;
    assert_eq!(goodbye["data"]["reconnect"], "never");
    assert_eq!(short.close_code().await, Some(4401));
    while stream.next().await.is_some() {}
    assert!(stream.ended_well());
    assert!(stream.seen().contains("unauthenticated"));
    assert_eq!(server.manager().stats().tokens_expired, 2);
    publish(&server, "build-1").await;
    long.until_offset("build-1", 1).await;
    server.stop().await;
}

#[tokio::test]
async fn a_renewed_token_goes_on_past_the_end_of_the_one_before() {
    let (server, clock) = server().await;
    let mut client = TestClient::connect(ws(&server, "/ws/tasks/build-1", "short")).await;
    let mut other = TestClient::connect(ws(&server, "/ws/tasks/build-1", "short")).await;
    client
        .send(&json!({"type": "authenticate", "token": "long"}))
        .await;
    settle(&mut client).await;
    settle(&mut other).await;
    clock.set(NOW + 60_000);
    assert_eq!(
        other.close_code().await,
        Some(4401),
        "the end has been looked at"
    );
    publish(&server, "build-1").await;
    client.until_offset("build-1", 1).await;
    clock.set(NOW + 3_600_000);
    assert_eq!(client.close_code().await, Some(4401));
    server.stop().await;
}

#[tokio::test]
async fn a_token_that_is_refused_changes_nothing() {
    let (server, clock) = server().await;
    let mut client = TestClient::connect(ws(&server, "/ws/tasks/build-1", "short")).await;
    for (token, code) in [("guess", "unauthenticated"), ("others", "forbidden")] {
        client
            .send(&json!({"type": "authenticate", "token": token, "ref": token}))
            .await;
        let error = client.until("error").await;
        assert_eq!(error["data"]["code"], code);
        assert_eq!(error["data"]["ref"], token);
    }
    publish(&server, "build-1").await;
    client.until_offset("build-1", 1).await;
    clock.set(NOW + 60_000);
    assert_eq!(client.close_code().await, Some(4401), "its own end holds");
    server.stop().await;
}

#[tokio::test]
async fn a_narrower_token_takes_away_and_a_wider_one_adds() {
    let (server, _clock) = server().await;
    for id in ["build-1", "build-2", "other"] {
        publish(&server, id).await;
    }
    let mut client = TestClient::connect(ws(&server, "/ws", "long")).await;
    for id in ["build-1", "build-2"] {
        client.checker_mut().ask_retained(id);
    }
    client
        .send(&json!({"type": "subscribe", "pattern": "*", "since": "0"}))
        .await;
    client.until_offset("build-2", 1).await;
    client
        .send(&json!({"type": "authenticate", "token": "narrow"}))
        .await;
    let told = client.until("unsubscribed").await;
    assert_eq!(
        told["task_id"]
            .as_str()
            .or(told["data"]["task_id"].as_str()),
        Some("build-1")
    );
    for id in ["build-1", "build-2", "build-3"] {
        publish(&server, id).await;
    }
    client.until_offset("build-2", 2).await;
    settle(&mut client).await;
    assert!(client.checker().task("build-3").is_none());
    client
        .send(&json!({"type": "authenticate", "token": "wide"}))
        .await;
    for (id, offset) in [("build-1", 2), ("build-3", 1), ("other", 1)] {
        client.until_offset(id, offset).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_left_of_tokens_whose_connections_are_gone() {
    let (server, clock) = server().await;
    for _ in 0..3 {
        let mut client = TestClient::connect(ws(&server, "/ws", "short")).await;
        settle(&mut client).await;
        client.close().await;
    }
    eventually("all are gone", || server.manager().connected() == 0).await;
    clock.set(NOW + 60_000);
    let mut last = TestClient::connect(ws(&server, "/ws", "short")).await;
    assert_eq!(last.close_code().await, Some(4401));
    assert_eq!(
        server.manager().stats().tokens_expired,
        1,
        "the gone do not expire"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_clock_that_jumps_back_ends_nothing_and_one_that_jumps_ahead_no_more_than_it_must() {
    const DAYS: u64 = 10 * 24 * 60 * 60 * 1_000;
    let (server, clock) = server().await;
    let mut client = TestClient::connect(ws(&server, "/ws/tasks/build-1", "short")).await;
    client.until("connection_established").await;
    clock.set(NOW - DAYS);
    publish(&server, "build-1").await;
    client.until_offset("build-1", 1).await;
    settle(&mut client).await;
    clock.set(NOW);
    settle(&mut client).await;
    clock.set(NOW + DAYS);
    assert_eq!(client.close_code().await, Some(4401));
    // When the clock is right again, the token is valid again, and nothing was lost.
    clock.set(NOW);
    publish(&server, "build-1").await;
    let path = "/ws/tasks/build-1?since=0";
    let mut checker = tidings_testkit::WireChecker::default();
    checker.ask_retained("build-1");
    let mut client = TestClient::connect_as(ws(&server, path, "short"), checker).await;
    client.until_offset("build-1", 2).await;
    assert_eq!(server.manager().stats().tokens_expired, 1);
    server.stop().await;
}

/// A client id belongs to its first owner. Another owner who asks for it is not refused, but gets
/// another id.
#[tokio::test]
async fn a_client_belongs_to_its_subject_or_to_its_very_token() {
    let everything = || Principal::new(permissions("watch *, publish *, admin *"));
    let tokens = Tokens::default()
        .with("ada", everything().subject("ada"))
        .with("eve", everything().subject("eve"))
        .with("one", everything())
        .with("two", everything());
    let server = TestServer::start_asking(TestConfig::default(), tokens).await;
    let connect = async |token: &str, query: &str| {
        let mut request = server
            .ws(&format!("/ws?{query}"))
            .into_client_request()
            .unwrap();
        let value = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", value);
        let mut client = TestClient::connect(request).await;
        let hello = client.until("connection_established").await;
        let text = |name: &str| hello["data"][name].as_str().unwrap().to_owned();
        (client, text("client_id"), text("resume_token"))
    };
    for (owner, other) in [
        ("ada", "eve"),
        ("one", "two"),
        ("ada", "one"),
        ("two", "ada"),
    ] {
        let id = format!("{owner}-and-{other}");
        let (client, given, proof) = connect(owner, &format!("client_id={id}")).await;
        assert_eq!(given, id);
        drop(client);
        eventually("it is away", || server.manager().connected() == 0).await;
        let message = r#"{"event_type":"secret","data":{}}"#;
        let headers = [("Authorization", "Bearer ada")];
        let path = format!("/api/connections/{id}/messages");
        assert_eq!(
            server.http("POST", &path, &headers, message).await.status,
            202
        );
        // Neither the id nor the id with the resume token gives access to the other client's state.
        for query in [
            format!("client_id={id}"),
            format!("client_id={id}&resume_token={proof}"),
        ] {
            let (mut thief, given, _) = connect(other, &query).await;
            assert_ne!(given, id, "{other} with {query}");
            thief.send(&json!({"type": "ping"})).await;
            let answer = thief.next().await.unwrap();
            assert_eq!(answer["event_type"], "pong", "{other} got {answer}");
        }
        let (mut client, given, _) =
            connect(owner, &format!("client_id={id}&resume_token={proof}")).await;
        assert_eq!(given, id);
        let message = client.until("personal_message").await;
        assert_eq!(message["data"]["event_type"], "secret");
        drop(client);
        eventually("all are away", || server.manager().connected() == 0).await;
    }
    server.stop().await;
}
