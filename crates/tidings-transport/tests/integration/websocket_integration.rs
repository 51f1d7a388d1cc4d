//! The classic flow from end to end: a producer and two subscribers over WebSocket.

use serde_json::json;
use tidings_testkit::{TestClient, TestConfig, TestServer};

#[tokio::test]
async fn websocket_integration() {
    let server = TestServer::start(TestConfig::default()).await;
    let mut first = TestClient::connect(server.ws("/ws/tasks/test_001")).await;
    let mut second = TestClient::connect(server.ws("/ws/tasks/test_001")).await;
    first.until("connection_established").await;
    second.until("connection_established").await;
    let mut producer = TestClient::connect(server.ws("/ws/tasks/test_001")).await;
    producer.until("connection_established").await;

    let mut events = vec![("task_started", json!({ "name": "Test" }))];
    events.extend((1..=5).map(|step| ("progress_update", json!({ "progress": step * 20 }))));
    events.push(("task_completed", json!({ "result": { "ok": true } })));
    for (number, (event_type, data)) in events.iter().enumerate() {
        producer
            .send(&json!({
                "type": "publish", "ref": number, "event_type": event_type, "data": data,
                "event_id": format!("event-{number}"), "source": "tests",
            }))
            .await;
        let ack = producer.until("ack").await;
        assert_eq!(ack["data"]["ref"], number);
        assert_eq!(ack["data"]["offset"], number + 1);
        assert_eq!(ack["data"]["duplicate"], false);
    }
    for watcher in [&mut first, &mut second] {
        for (number, (event_type, data)) in events.iter().enumerate() {
            let event = watcher.next().await.unwrap();
            assert_eq!(event["event_type"], *event_type);
            assert_eq!(event["task_id"], "test_001");
            assert_eq!(event["offset"], number + 1);
            assert_eq!(event["event_id"], format!("event-{number}"));
            assert_eq!(event["source"], "tests");
            assert_eq!(event["data"], *data);
        }
    }
    // A retry gets the first offset, and is not published again.
    producer
        .send(&json!({
            "type": "publish", "ref": "again", "event_type": "task_completed",
            "event_id": "event-6", "data": {},
        }))
        .await;
    let ack = producer.until("ack").await;
    assert_eq!(
        (&ack["data"]["offset"], &ack["data"]["duplicate"]),
        (&json!(7), &json!(true))
    );

    // A client that connects after the end still learns the end.
    let mut late = TestClient::connect(server.ws("/ws/tasks/test_001")).await;
    let hello = late.until("connection_established").await;
    assert_eq!(hello["data"]["snapshot"]["status"], "completed");
    assert_eq!(hello["data"]["snapshot"]["result"], json!({ "ok": true }));
    assert_eq!(hello["data"]["offset"], 7);
    assert_eq!(server.stop().await, 0);
}

#[tokio::test]
async fn what_is_pipelined_is_answered_in_order() {
    let server = TestServer::start(TestConfig::default()).await;
    let mut producer = TestClient::connect(server.ws("/ws")).await;
    producer.until("connection_established").await;
    // More events than are published together, mixed with other messages.
    let count = 600;
    for number in 0..count {
        let publish = |progress| {
            json!({
                "type": "publish", "ref": number, "task_id": format!("t{}", number % 3),
                "event_type": "progress_update", "data": { "progress": progress },
            })
        };
        let message = match number {
            100 | 101 => publish(150),
            200 => json!({ "type": "ping", "ref": number }),
            300 => json!({ "type": "unsubscribe", "ref": number, "task_id": "other" }),
            400 => json!({ "type": "publish", "ref": number }),
            _ => publish(50),
        };
        producer.send(&message).await;
    }
    let mut offsets = [0; 3];
    for number in 0..count {
        let answer = producer.next().await.unwrap();
        assert_eq!(answer["data"]["ref"], number, "{answer}");
        let expected = match number {
            200 => "pong",
            100 | 101 | 300 | 400 => "error",
            _ => "ack",
        };
        assert_eq!(answer["event_type"], expected, "{answer}");
        if expected == "ack" {
            offsets[number % 3] += 1;
            assert_eq!(answer["data"]["offset"], offsets[number % 3]);
        }
    }
    assert_eq!(server.stop().await, 0);
}

#[tokio::test]
async fn only_what_has_a_ref_is_acknowledged() {
    let server = TestServer::start(TestConfig::default()).await;
    let mut producer = TestClient::connect(server.ws("/ws")).await;
    producer.until("connection_established").await;
    let event = |event_type: &str| {
        json!({
            "type": "publish", "task_id": "t", "event_type": event_type,
            "data": {}, "run": if event_type == "late" { 7 } else { 0 },
        })
    };
    producer.send(&event("own")).await;
    producer
        .send(&json!({ "type": "command", "task_id": "t", "command": "cancel" }))
        .await;
    // A refusal is sent even if the message has no `ref`.
    producer.send(&event("late")).await;
    let refused = producer.next().await.unwrap();
    assert_eq!(refused["event_type"], "error", "{refused}");
    assert_eq!(refused["data"]["code"], "wrong_run", "{refused}");
    let mut start = event("task_started");
    start["ref"] = json!(1);
    producer.send(&start).await;
    let ack = producer.next().await.unwrap();
    assert_eq!(ack["event_type"], "ack", "{ack}");
    assert_eq!(
        (&ack["data"]["offset"], &ack["data"]["run"]),
        (&json!(3), &json!(1))
    );
    server.stop().await;
}
