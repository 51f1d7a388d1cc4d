//! More load than the server can carry. The server refuses by its limits, keeps the events that it
//! has accepted, stays observable, and recovers without help.

use std::collections::BTreeMap;

use serde_json::json;
use tidings_bus::LogLimits;
use tidings_connections::{ClientLimits, Principal, Rate};
use tidings_testkit::{
    RawClient, RawFrame, TestClient, TestConfig, TestServer, Tokens, eventually, frame, permissions,
};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::frame::coding::{Data, OpCode};

const CONNECTIONS: usize = 60;
const WATCHERS: usize = 40;
const TASKS: usize = 4;
/// The number of connections that flood the server, and what each sends at once.
const FLOODS: usize = 8;
const BURST: usize = 400;

const FLOOD: &str = "Authorization: Bearer flood\r\n";
const OPERATOR: [(&str, &str); 1] = [("Authorization", "Bearer operator")];

async fn server() -> TestServer {
    let mut limits = ClientLimits::default();
    limits.messages_per_client = Some(Rate::new(1_000, 2_000));
    let mut config = TestConfig::default();
    config.connections = config
        .connections
        .max_connections(CONNECTIONS)
        .limits(limits);
    // Subscribers that lag will miss events at the end of the logs.
    config.bus = config.bus.log_limits(LogLimits {
        max_events: 64,
        max_bytes: 64 * 1024,
    });
    let somebody = |name| Principal::new(permissions("watch *, publish *, admin *")).subject(name);
    let names = ["watcher", "flood", "operator"];
    let tokens = names.into_iter().fold(Tokens::default(), |known, name| {
        known.with(name, somebody(name))
    });
    TestServer::start_asking(config, tokens).await
}

fn task(number: usize) -> String {
    format!("build-{}", number % TASKS)
}

async fn watch(server: &TestServer, task: &str) -> TestClient {
    let url = server.ws(&format!("/ws/tasks/{task}"));
    let mut request = url.into_client_request().unwrap();
    let value = "Bearer watcher".parse().unwrap();
    request.headers_mut().insert("authorization", value);
    let mut client = TestClient::connect(request).await;
    client.until("connection_established").await;
    client
}

/// The answers to a flood: the highest acknowledged offset of each task, and the numbers of
/// acknowledged and refused events.
#[derive(Default)]
struct Answers {
    heads: BTreeMap<String, u64>,
    accepted: usize,
    refused: usize,
}

/// Publishes as fast as the socket accepts data, and reads every answer.
async fn flood(mut client: RawClient, number: usize) -> Answers {
    let task = task(number);
    let bytes: Vec<u8> = (0..BURST)
        .flat_map(|event| {
            let message = json!({"type": "publish", "task_id": task, "event_type": "own",
                "data": {"text": "x".repeat(200)}, "ref": event});
            frame(OpCode::Data(Data::Text), message.to_string().as_bytes())
        })
        .collect();
    client.write(&bytes).await;
    let mut answers = Answers::default();
    while answers.accepted + answers.refused < BURST {
        let frame = client.next().await.expect("an answer to each");
        let RawFrame::Text(message) = frame else {
            continue;
        };
        match message["event_type"].as_str() {
            Some("ack") => {
                answers.accepted += 1;
                let offset = message["data"]["offset"].as_u64().unwrap();
                let head = answers.heads.entry(task.clone()).or_default();
                *head = offset.max(*head);
            }
            Some("error") => {
                assert_eq!(message["data"]["code"], "rate_limited", "{message}");
                answers.refused += 1;
            }
            _ => {}
        }
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_refused_what_was_accepted_is_kept_and_it_passes_by_itself() {
    let server = server().await;
    let mut watchers = Vec::new();
    for number in 0..WATCHERS {
        watchers.push(watch(&server, &task(number)).await);
    }
    let mut floods = Vec::new();
    for _ in 0..FLOODS {
        floods.push(RawClient::connect_with(server.addr(), "/ws", FLOOD).await);
    }

    // More connections than allowed. The surplus is told to come back later.
    let mut crowd = Vec::new();
    for _ in 0..3 * CONNECTIONS {
        crowd.push(RawClient::connect_with(server.addr(), "/ws", FLOOD).await);
    }
    eventually("the server is full", || {
        server.manager().connected() >= CONNECTIONS
    })
    .await;
    let not_ready = server.get("/readyz").await;
    assert_eq!(
        (not_ready.status, &not_ready.json()["status"]),
        (503, &json!("full"))
    );
    let running: Vec<_> = floods
        .into_iter()
        .enumerate()
        .map(|(number, client)| tokio::spawn(flood(client, number)))
        .collect();

    // Query the server while all of that happens.
    let metrics = server.http("GET", "/metrics", &OPERATOR, "").await;
    assert_eq!(metrics.status, 200);
    assert_eq!(server.get("/healthz").await.status, 200);
    let mut all = Answers::default();
    for running in running {
        let answers = running.await.unwrap();
        all.accepted += answers.accepted;
        all.refused += answers.refused;
        for (task, head) in answers.heads {
            let known = all.heads.entry(task).or_default();
            *known = head.max(*known);
        }
    }
    assert_eq!(
        all.accepted + all.refused,
        FLOODS * BURST,
        "each is answered"
    );
    assert!(
        all.accepted >= 1_000 && all.refused > 0,
        "{} refused",
        all.refused
    );
    let mut turned_away = 0;
    let mut inside = Vec::new();
    for (number, mut client) in crowd.into_iter().enumerate() {
        // These were connected before the others, so they are served.
        if number < CONNECTIONS - WATCHERS - FLOODS {
            let hello = client.next_text().await;
            assert_eq!(hello["event_type"], "connection_established");
            inside.push(client);
            continue;
        }
        let (_, code) = client.to_end().await;
        assert_eq!(code, Some(1013));
        turned_away += 1;
    }
    let metrics = server.http("GET", "/metrics", &OPERATOR, "").await;
    let line = format!("tidings_connections_rejected_total {turned_away}");
    assert!(metrics.text().contains(&line), "{line}");

    // Every acknowledged event reaches every subscriber, or a gap names it.
    for (number, client) in watchers.iter_mut().enumerate() {
        let task = task(number);
        client.until_offset(&task, all.heads[&task]).await;
    }

    // The crowd disconnects, and the server recovers without help.
    drop(inside);
    eventually("there is room again", || {
        server.manager().connected() == WATCHERS
    })
    .await;
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    let mut late = watch(&server, "build-0").await;
    let head = all.heads["build-0"] + 1;
    let event = r#"{"event_type":"own","data":{}}"#;
    let path = "/api/tasks/build-0/events";
    let published = server.http("POST", path, &OPERATOR, event).await;
    assert_eq!(published.status, 201, "{}", published.text());
    late.until_offset("build-0", head).await;
    watchers[0].until_offset("build-0", head).await;
    server.stop().await;
}
