//! When a client is told to which trees a task belongs: directly after the task's announcement, and
//! never after the end of the task or of the tree.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_bus::watch::Task;
use tidings_bus::{BusConfig, EventBus, PatternWatcher};
use tidings_connections::{ConnectionsConfig, Rate};
use tidings_protocol::{Pattern, Secret};
use tidings_testkit::{LINES, PipeSocket, WireChecker};

use crate::trees::{Client, World, announced, id, set, subscribe, unpaced};

/// Lets the bus announce everything, without the connection's own task.
async fn announce() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Returns the index of the first message like this.
fn first(messages: &[Value], like: impl Fn(&Value) -> bool) -> Option<usize> {
    messages.iter().position(like)
}

fn tells(message: &Value, tree: &str, task: &str) -> bool {
    message["event_type"] == "subscribed"
        && message["task_id"] == task
        && message["data"]["tree"] == tree
}

/// Connects a client that watches these trees and patterns, and whose socket is full.
async fn full(world: &World, trees: &[&str], patterns: &[&str]) -> Client {
    let pipe = PipeSocket::new(4 * 1024);
    let mut client = world
        .through(pipe, "all", "c", None, WireChecker::default())
        .await;
    world.begin("noise", None).await;
    client
        .ask(json!({ "type": "subscribe", "task_id": "noise" }))
        .await;
    for pattern in patterns {
        client
            .ask(json!({ "type": "subscribe", "pattern": pattern }))
            .await;
    }
    for tree in trees {
        client.ask(subscribe(tree)).await;
    }
    let message = "x".repeat(8 * 1024);
    world
        .publish("noise", "log", json!({ "message": message }))
        .await;
    announce().await;
    client
}

#[tokio::test(start_paused = true)]
async fn no_membership_is_told_after_the_end_of_its_tree() {
    let world = World::new(BusConfig::default());
    world.plant().await;
    let mut client = full(&world, &["top"], &["b-*"]).await;
    world.begin("b-2", Some("hidden")).await;
    announce().await;
    let messages = client
        .ask(json!({ "type": "unsubscribe", "ref": 2, "tree": "top" }))
        .await;
    let end = first(&messages, |message| message["data"]["ref"] == 2).unwrap();
    let told = first(&messages[end + 1..], |message| {
        message["data"]["tree"] == "top"
    });
    assert_eq!(told, None, "{messages:?}");
    let task = first(&messages, |message| message["task_id"] == "b-2").unwrap();
    assert_eq!(messages[task]["data"]["pattern"], "b-*");
    let state = world.bus.snapshot(&id("b-2")).unwrap();
    client.checker.compare(&state).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_task_that_an_ended_tree_brought_is_announced_through_what_still_watches_it() {
    for (trees, other) in [
        (vec!["top"], json!({ "pattern": "b-*" })),
        (vec!["top", "hidden"], json!({ "tree": "hidden" })),
    ] {
        let world = World::new(BusConfig::default());
        world.plant().await;
        let mut client = full(&world, &trees, &[]).await;
        world.begin("b-2", Some("hidden")).await;
        announce().await;
        let mut again = other.clone();
        again["type"] = json!("subscribe");
        let connection = client.guard.connection();
        connection.receive(&again.to_string()).await;
        let messages = client
            .ask(json!({ "type": "unsubscribe", "ref": 2, "tree": "top" }))
            .await;
        let end = first(&messages, |message| message["data"]["ref"] == 2).unwrap();
        let told = |message: &Value| message["data"]["tree"] == "top";
        assert_eq!(first(&messages[end + 1..], told), None, "{messages:?}");
        let said = messages
            .iter()
            .filter(|message| message["event_type"] == "subscribed" && message["task_id"] == "b-2");
        let said: Vec<_> = said.collect();
        assert_eq!(said.len(), 1, "{said:?}");
        for (name, value) in other.as_object().unwrap() {
            assert_eq!(said[0]["data"][name], *value);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_membership_is_told_before_the_first_event_of_its_task() {
    struct Other;
    impl PatternWatcher for Other {
        fn discovered(&self, _: usize, _: &Arc<Task>) {}
    }

    let world = World::new(BusConfig::default());
    world.plant().await;
    let mut client = world.connect("all", "c").await;
    client
        .ask(json!({ "type": "subscribe", "pattern": "b-*" }))
        .await;
    for tree in ["top", "hidden"] {
        client.ask(subscribe(tree)).await;
    }
    // The bus tells all these watchers of the task before it tells the trees. The connection's own
    // task runs in between.
    for _ in 0..200 {
        let pattern = Pattern::everything();
        world.bus.attach_pattern(&pattern, Arc::new(Other), 0);
    }
    world.begin("b-2-x", Some("b-2")).await;
    world.begin("b-2", Some("hidden")).await;
    world.publish("b-2", "task_completed", json!({})).await;
    let mut messages = Vec::new();
    for _ in 0..100 {
        tokio::task::yield_now().await;
        messages.extend(client.turn().await);
    }
    messages.extend(client.read().await);
    let event = |message: &Value| message["task_id"] == "b-2" && message["offset"].is_u64();
    let event = first(&messages, event).unwrap();
    for tree in ["top", "hidden"] {
        let told = first(&messages, |message| tells(message, tree, "b-2"));
        assert!(
            told.is_some_and(|told| told < event),
            "{tree}: {messages:?}"
        );
        // The task below was there before.
        assert_eq!(announced(&messages, tree), set(&["b-2", "b-2-x"]));
        let times = messages
            .iter()
            .filter(|message| tells(message, tree, "b-2"));
        assert_eq!(times.count(), 1, "{messages:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_removed_task_leaves_its_trees_though_the_socket_is_full() {
    let world = World::new(BusConfig::default());
    world.plant().await;
    let mut client = full(&world, &["top"], &["b-*"]).await;
    assert!(world.bus.remove(&id("b-1")).await.unwrap());
    world.begin("b-1", None).await;
    announce().await;
    world.begin("below", Some("b-1")).await;
    let messages = client.read().await;
    let task = first(&messages, |message| message["task_id"] == "b-1").unwrap();
    assert_eq!(messages[task]["data"]["pattern"], "b-*");
    assert_eq!(announced(&messages, "top"), set(&[]), "{messages:?}");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_comes_back_is_said_to_belong_to_all_its_trees() {
    let world = World::new(BusConfig::default());
    world.plant().await;
    let mut client = full(&world, &["top", "hidden"], &["b-*"]).await;
    assert!(world.bus.remove(&id("b-1")).await.unwrap());
    world.begin("b-1", Some("hidden")).await;
    let messages = client.read().await;
    for tree in ["top", "hidden"] {
        assert_eq!(announced(&messages, tree), set(&["b-1"]), "{messages:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_removed_before_a_walk_reaches_it_does_not_join_the_tree() {
    let mut limits = unpaced();
    limits.work_per_client = Some(Rate::steady(1, 1));
    let world = World::with(BusConfig::default(), limits);
    world.plant().await;
    let mut client = world.connect("all", "c").await;
    let mut messages = client.ask(subscribe("top")).await;
    let found = announced(&messages, "top");
    assert!(!found.contains("b-1"), "the walk does not wait: {found:?}");
    assert!(world.bus.remove(&id("b-1")).await.unwrap());
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(1_000)).await;
        messages.extend(client.read().await);
    }
    assert_eq!(announced(&messages, "top"), set(&["top", "hidden", "a-1"]));
    world.begin("b-1", Some("elsewhere")).await;
    assert_eq!(client.read().await, [] as [Value; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_is_told_all_trees_of_its_tasks() {
    for trees in [["top", "hidden"], ["hidden", "top"]] {
        let world = World::new(BusConfig::default());
        world.plant().await;
        let mut client = world.connect("all", "c").await;
        let messages = client.read().await;
        let token = messages[0]["data"]["resume_token"].as_str().unwrap();
        let token = Secret::from(token.to_owned());
        for tree in trees {
            client.ask(subscribe(tree)).await;
        }
        let checker = client.checker.resumed(|_| true);
        drop(client);
        let mut client = world.resume("all", "c", Some(token), checker).await;
        let messages = client.read().await;
        let all = set(&["top", "hidden", "a-1", "b-1"]);
        assert_eq!(announced(&messages, "top"), all);
        assert_eq!(announced(&messages, "hidden"), set(&["hidden", "b-1"]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_returning_client_that_unsubscribes_at_once_watches_nothing_again() {
    for target in [json!({ "pattern": "*" }), json!({ "tree": "top" })] {
        let config = ConnectionsConfig::default().limits(unpaced());
        let bus = EventBus::new(BusConfig::default().framing(LINES)).unwrap();
        // The client's cursors are restored one after the other.
        let world = World::configured(bus, config.slice(1));
        world.plant().await;
        let mut client = world.connect("all", "c").await;
        let messages = client.read().await;
        let token = messages[0]["data"]["resume_token"].as_str().unwrap();
        let token = Secret::from(token.to_owned());
        let mut message = target;
        message["type"] = json!("subscribe");
        client.ask(message.clone()).await;
        let checker = client.checker.resumed(|_| true);
        drop(client);
        let mut client = world.resume("all", "c", Some(token), checker).await;
        message["type"] = json!("unsubscribe");
        let messages = client.ask(message).await;
        let end = messages.last().unwrap();
        assert_eq!(end["event_type"], "unsubscribed", "{messages:?}");
        let left = client.guard.connection().info().subscriptions;
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Returns the offsets at which a task was announced.
fn offsets(messages: &[Value], task: &str) -> Vec<u64> {
    let announced = messages
        .iter()
        .filter(|message| message["event_type"] == "subscribed" && message["task_id"] == task);
    announced
        .filter_map(|message| message["data"]["offset"].as_u64())
        .collect()
}

/// A world in which a job visits one task at a time, and a client of the tree `top` there.
async fn slow_client() -> (World, Client, Secret) {
    let config = ConnectionsConfig::default().limits(unpaced());
    let bus = EventBus::new(BusConfig::default().framing(LINES)).unwrap();
    let world = World::configured(bus, config.slice(1));
    world.plant().await;
    let mut client = world.connect("all", "c").await;
    let messages = client.read().await;
    let token = messages[0]["data"]["resume_token"].as_str().unwrap();
    let token = Secret::from(token.to_owned());
    client.ask(subscribe("top")).await;
    (world, client, token)
}

/// Loses the connection of a client of `top`, and connects it again.
async fn back(world: &World, client: Client, token: &Secret) -> Client {
    let checker = client.checker.resumed(|_| true);
    drop(client);
    world.resume("all", "c", Some(token.clone()), checker).await
}

#[tokio::test(start_paused = true)]
async fn a_returning_client_that_ends_another_subscription_goes_on_in_its_tree() {
    let (world, mut client, token) = slow_client().await;
    client
        .ask(json!({ "type": "subscribe", "pattern": "b-*" }))
        .await;
    let mut client = back(&world, client, &token).await;
    let unsubscribe = json!({ "type": "unsubscribe", "pattern": "b-*" });
    let mut messages = client.ask(unsubscribe).await;
    world
        .publish("b-1", "log", json!({ "message": "on" }))
        .await;
    messages.extend(client.read().await);
    let head = world.bus.snapshot(&id("b-1")).unwrap().offset.get() - 1;
    assert_eq!(offsets(&messages, "b-1"), [head], "{messages:?}");
    assert!(announced(&messages, "top").contains("b-1"));
    let state = world.bus.snapshot(&id("b-1")).unwrap();
    client.checker.compare(&state).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_new_connection_breaks_at_once_receives_nothing_twice() {
    let (world, client, token) = slow_client().await;
    // This connection restores some of the cursors.
    let mut client = back(&world, client, &token).await;
    client.turn().await;
    let mut client = back(&world, client, &token).await;
    let messages = client.read().await;
    for task in ["top", "hidden", "a-1", "b-1"] {
        let head = world.bus.snapshot(&id(task)).unwrap().offset.get();
        assert_eq!(offsets(&messages, task), [head], "{task}: {messages:?}");
    }
    let all = set(&["top", "hidden", "a-1", "b-1"]);
    assert_eq!(announced(&messages, "top"), all);
}

#[tokio::test(start_paused = true)]
async fn a_task_with_another_parent_stays_in_the_tree_of_a_client_that_comes_back() {
    let (world, client, token) = slow_client().await;
    world.publish("a-1", "task_completed", json!({})).await;
    world.begin("a-1", Some("elsewhere")).await;
    let mut client = back(&world, client, &token).await;
    client.read().await;
    world.begin("a-1-x", Some("a-1")).await;
    let mut client = back(&world, client, &token).await;
    let messages = client.read().await;
    let tasks = ["top", "hidden", "a-1", "a-1-x", "b-1"];
    assert_eq!(announced(&messages, "top"), set(&tasks));
    world.begin("a-1-y", Some("a-1")).await;
    let messages = client.read().await;
    assert_eq!(announced(&messages, "top"), set(&["a-1-y"]));
    for task in tasks {
        let state = world.bus.snapshot(&id(task)).unwrap();
        client.checker.compare(&state).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_removed_task_that_one_may_not_watch_leaves_the_tree() {
    let world = World::new(BusConfig::default());
    world.plant().await;
    let mut client = world.connect("some", "c").await;
    client.ask(subscribe("top")).await;
    assert!(world.bus.remove(&id("hidden")).await.unwrap());
    world.begin("hidden", Some("elsewhere")).await;
    world.begin("b-1-x", Some("hidden")).await;
    let messages = client.read().await;
    assert_eq!(announced(&messages, "top"), set(&[]), "{messages:?}");
    // Back in the tree, the task brings its children again.
    assert!(world.bus.remove(&id("hidden")).await.unwrap());
    world.begin("hidden", Some("a-1")).await;
    let messages = client.read().await;
    assert_eq!(announced(&messages, "top"), set(&["b-1-x"]), "{messages:?}");
}
