//! Many tasks on one connection, by name and by pattern. Each event arrives once.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidings_bus::EventBus;
use tidings_protocol::{Data, NewEvent, TaskId};
use tidings_testkit::{TestClient, TestConfig, TestServer};

async fn publish(bus: &EventBus, id: &str, count: u64) {
    for _ in 0..count {
        let event = NewEvent::new("own".parse().unwrap(), Data::empty());
        bus.publish(&TaskId::new(id).unwrap(), event).await.unwrap();
    }
}

async fn connect(server: &TestServer) -> TestClient {
    let mut client = TestClient::connect(server.ws("/ws?client_id=board")).await;
    client.until("connection_established").await;
    client
}

/// Sends a request, and reads until its answer.
async fn ask(client: &mut TestClient, request: Value, answer: &str) -> Value {
    let mut request = request;
    request["ref"] = json!("asked");
    client.send(&request).await;
    loop {
        let message = client.until(answer).await;
        if message["data"]["ref"] == "asked" {
            return message;
        }
    }
}

/// Checks that nothing but a pong is on its way.
async fn is_quiet(client: &mut TestClient) {
    client.send(&json!({ "type": "ping" })).await;
    let message = client.next().await.unwrap();
    assert_eq!(message["event_type"], "pong", "{message}");
}

fn delivered(client: &TestClient, id: &str) -> u64 {
    client
        .checker()
        .task(id)
        .map_or(0, |task| task.checker.delivered())
}

#[tokio::test]
async fn overlapping_subscriptions_bring_each_event_once() {
    let server = TestServer::start(TestConfig::default()).await;
    publish(server.bus(), "build-1", 2).await;
    let mut client = connect(&server).await;
    for request in [
        json!({ "type": "subscribe", "task_id": "build-1" }),
        json!({ "type": "subscribe", "pattern": "build-*" }),
        json!({ "type": "subscribe", "pattern": "*" }),
        json!({ "type": "subscribe", "pattern": "bu*" }),
        json!({ "type": "subscribe", "task_id": "build-2" }),
    ] {
        ask(&mut client, request, "subscribed").await;
    }
    for _ in 0..20 {
        for id in ["build-1", "build-2", "build-3", "render-1"] {
            publish(server.bus(), id, 1).await;
        }
    }
    for (id, end) in [
        ("build-1", 22),
        ("build-2", 20),
        ("build-3", 20),
        ("render-1", 20),
    ] {
        client.until_offset(id, end).await;
        assert_eq!(delivered(&client, id), 20, "{id}");
    }
    is_quiet(&mut client).await;
    let info = &server.manager().connections(None)[0];
    assert_eq!((info.subscriptions.len(), info.patterns.len()), (4, 3));
    client.close().await;
    server.stop().await;
}

#[tokio::test]
async fn a_thousand_tasks_under_one_pattern() {
    const TASKS: usize = 1_000;
    let server = TestServer::start(TestConfig::default()).await;
    let ids: Vec<_> = (0..TASKS).map(|number| format!("task-{number}")).collect();
    let (there, to_come) = ids.split_at(TASKS / 2);
    for id in there {
        publish(server.bus(), id, 3).await;
    }
    let mut client = connect(&server).await;
    ask(
        &mut client,
        json!({ "type": "subscribe", "pattern": "*" }),
        "subscribed",
    )
    .await;
    // An event that comes before its task is announced is in the announced state.
    for id in there {
        client.until_offset(id, 3).await;
    }
    // Half of the tasks appear later.
    for round in 0..3 {
        for id in &ids {
            publish(server.bus(), id, 1).await;
        }
        for (number, id) in ids.iter().enumerate() {
            let before = if number < there.len() { 3 } else { 0 };
            client.until_offset(id, before + round + 1).await;
        }
    }
    for id in there.iter().chain(to_come) {
        assert_eq!(delivered(&client, id), 3, "{id}");
    }
    assert_eq!(client.checker().tasks().count(), TASKS);
    is_quiet(&mut client).await;
    client.close().await;
    server.stop().await;
}

#[tokio::test]
async fn a_task_that_is_there_is_announced_with_its_state_and_a_new_one_from_its_beginning() {
    let server = TestServer::start(TestConfig::default()).await;
    for id in ["build-1", "build-2", "render"] {
        publish(server.bus(), id, 5).await;
    }
    let mut client = connect(&server).await;
    client
        .send(&json!({ "type": "subscribe", "ref": 1, "pattern": "build-*" }))
        .await;
    let confirmed = client.next().await.unwrap();
    assert_eq!(confirmed["event_type"], "subscribed");
    assert_eq!(
        (&confirmed["data"]["pattern"], &confirmed["data"]["ref"]),
        (&json!("build-*"), &json!(1))
    );
    let mut announced = BTreeSet::new();
    for _ in 0..2 {
        let message = client.next().await.unwrap();
        assert_eq!(message["event_type"], "subscribed", "{message}");
        assert_eq!(message["data"]["offset"], 5);
        assert_eq!(message["data"]["snapshot"]["offset"], 5);
        announced.insert(message["task_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        announced,
        BTreeSet::from(["build-1".to_owned(), "build-2".to_owned()])
    );
    publish(server.bus(), "build-3", 1).await;
    let message = client.next().await.unwrap();
    assert_eq!(message["event_type"], "subscribed");
    assert_eq!(
        (&message["task_id"], &message["data"]["offset"]),
        (&json!("build-3"), &json!(0))
    );
    assert_eq!(client.next().await.unwrap()["offset"], 1);
    is_quiet(&mut client).await;
    client.close().await;
    server.stop().await;
}

#[tokio::test]
async fn a_pattern_goes_and_what_was_asked_for_by_name_stays() {
    let server = TestServer::start(TestConfig::default()).await;
    for id in ["build-1", "build-2", "build-3"] {
        publish(server.bus(), id, 1).await;
    }
    let mut client = connect(&server).await;
    ask(
        &mut client,
        json!({ "type": "subscribe", "task_id": "build-1" }),
        "subscribed",
    )
    .await;
    ask(
        &mut client,
        json!({ "type": "subscribe", "pattern": "build-*" }),
        "subscribed",
    )
    .await;
    ask(
        &mut client,
        json!({ "type": "subscribe", "pattern": "build-3*" }),
        "subscribed",
    )
    .await;
    ask(
        &mut client,
        json!({ "type": "unsubscribe", "pattern": "build-*" }),
        "unsubscribed",
    )
    .await;
    for id in ["build-1", "build-2", "build-3", "build-4"] {
        publish(server.bus(), id, 2).await;
    }
    client.until_offset("build-1", 3).await;
    client.until_offset("build-3", 3).await;
    is_quiet(&mut client).await;
    assert_eq!(delivered(&client, "build-1"), 2, "by name");
    assert_eq!(
        delivered(&client, "build-2"),
        0,
        "only the pattern wanted it"
    );
    assert_eq!(delivered(&client, "build-3"), 2, "another pattern wants it");
    assert_eq!(delivered(&client, "build-4"), 0, "it appeared afterwards");

    // The reverse: the subscription by name ends, and the pattern keeps the task.
    ask(
        &mut client,
        json!({ "type": "subscribe", "pattern": "*" }),
        "subscribed",
    )
    .await;
    ask(
        &mut client,
        json!({ "type": "unsubscribe", "task_id": "build-1" }),
        "unsubscribed",
    )
    .await;
    let again = json!({ "type": "unsubscribe", "task_id": "build-1" });
    let refused = ask(&mut client, again, "error").await;
    assert_eq!(refused["data"]["code"], "not_subscribed");
    let info = &server.manager().connections(None)[0];
    assert!(
        info.subscriptions
            .iter()
            .any(|sub| sub.task_id.as_str() == "build-1")
    );
    let before = info.delivered;
    publish(server.bus(), "build-1", 1).await;
    let event = client.until("own").await;
    assert_eq!(
        (&event["task_id"], &event["offset"]),
        (&json!("build-1"), &json!(4))
    );
    assert_eq!(server.manager().connections(None)[0].delivered, before + 1);
    client.cut();
    server.stop().await;
}

/// A task that is deleted while a client watches it, and a later task with the same id.
#[tokio::test]
async fn a_task_that_is_removed_and_made_anew_starts_from_one() {
    let server = TestServer::start(TestConfig::default()).await;
    publish(server.bus(), "build-1", 3).await;
    let mut client = connect(&server).await;
    ask(
        &mut client,
        json!({ "type": "subscribe", "pattern": "build-*" }),
        "subscribed",
    )
    .await;
    publish(server.bus(), "build-1", 1).await;
    client.until_offset("build-1", 4).await;
    let old = client.checker().task("build-1").unwrap().epoch.clone();
    assert!(
        server
            .bus()
            .remove(&TaskId::new("build-1").unwrap())
            .await
            .unwrap()
    );
    publish(server.bus(), "build-1", 2).await;
    // The task is announced again, in another epoch, and from its first event on.
    let message = client.until("subscribed").await;
    assert_eq!(message["data"]["offset"], 0);
    client.until_offset("build-1", 2).await;
    assert_eq!(delivered(&client, "build-1"), 2);
    assert_ne!(client.checker().task("build-1").unwrap().epoch, old);
    is_quiet(&mut client).await;
    client.close().await;
    server.stop().await;
}
