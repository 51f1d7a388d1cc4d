//! Several tasks on one stream of server-sent events.

use std::collections::BTreeMap;

use serde_json::Value;
use tidings_connections::Principal;
use tidings_protocol::{NewEvent, Position, TaskId};
use tidings_testkit::{
    EventStream, SseEvent, TestConfig, TestServer, Tokens, WireChecker, eventually, permissions,
};

fn task(id: &str) -> TaskId {
    TaskId::new(id).unwrap()
}

async fn publish(server: &TestServer, id: &str, event: NewEvent) {
    server.bus().publish(&task(id), event).await.unwrap();
}

async fn open(server: &TestServer, query: &str, last: Option<&str>) -> EventStream {
    let headers = last.map(|id| format!("Last-Event-ID: {id}\r\n"));
    let path = format!("/api/events?{query}");
    EventStream::open(server.addr(), &path, &headers.unwrap_or_default()).await
}

/// Returns the positions in an `id:`.
fn positions(id: &str) -> BTreeMap<String, Position> {
    let mut epoch = String::new();
    let mut positions = BTreeMap::new();
    for item in id.split(',').filter(|item| !item.is_empty()) {
        let (task_id, place) = item.split_once('@').unwrap();
        let offset = match place.split_once(':') {
            Some((named, offset)) => {
                epoch = named.to_owned();
                offset
            }
            None => place,
        };
        let position = format!("{epoch}:{offset}").parse().unwrap();
        positions.insert(task_id.to_owned(), position);
    }
    positions
}

async fn next(stream: &mut EventStream, checker: &mut WireChecker) -> (SseEvent, Value) {
    let event = stream.next().await.unwrap();
    let message = checker.message(&event.data).unwrap();
    (event, message)
}

fn assert_state(checker: &WireChecker, server: &TestServer, id: &str) {
    let truth = server.bus().snapshot(&task(id)).unwrap();
    if let Err(violation) = checker.compare(&truth) {
        panic!("{id}: {violation}");
    }
}

#[tokio::test]
async fn one_stream_brings_several_tasks_and_its_ids_have_all_positions() {
    let server = TestServer::start(TestConfig::default()).await;
    publish(&server, "a", NewEvent::log("1")).await;
    let mut stream = open(&server, "task=a&task=b&task=a", None).await;
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    let mut checker = WireChecker::default();
    let (_, hello) = next(&mut stream, &mut checker).await;
    assert_eq!(hello["event_type"], "connection_established");
    for (id, offset) in [("a", 1), ("b", 0)] {
        let (event, message) = next(&mut stream, &mut checker).await;
        assert_eq!(message["event_type"], "subscribed");
        assert_eq!(message["data"]["task_id"], id);
        assert_eq!(message["data"]["offset"], offset);
        assert_eq!(event.id, None, "control messages are no position");
    }
    let mut due = BTreeMap::from([("a", 1), ("b", 0)]);
    for id in ["b", "a", "b"] {
        publish(&server, id, NewEvent::log("x")).await;
        let (event, message) = next(&mut stream, &mut checker).await;
        assert_eq!(message["task_id"], id);
        *due.get_mut(id).unwrap() += 1;
        let told = positions(&event.id.unwrap());
        let told: BTreeMap<_, _> = told
            .iter()
            .map(|(id, position)| (id.as_str(), position.offset.get()))
            .collect();
        assert_eq!(told, due);
    }
    assert_state(&checker, &server, "a");
    assert_state(&checker, &server, "b");
    drop(stream);
    server.stop().await;
}

/// The first ids name only the tasks that have begun. The others begin where the URL says.
#[tokio::test]
async fn a_task_that_had_not_begun_before_the_cut_loses_nothing() {
    let server = TestServer::start(TestConfig::default()).await;
    for (id, events) in [("a", 7), ("b", 4)] {
        for n in 1..=events {
            publish(&server, id, NewEvent::log(n.to_string())).await;
        }
    }
    let query = "task=a&task=b&since=a@0,b@0";
    let mut stream = open(&server, query, None).await;
    let last = loop {
        let event = stream.next().await.unwrap();
        if let Some(id) = event.id {
            break id;
        }
    };
    drop(stream);
    publish(&server, "b", NewEvent::log("5")).await;
    let mut stream = open(&server, query, Some(&last)).await;
    let mut offsets = Vec::new();
    while offsets.last() != Some(&5) {
        let event = stream.next().await.unwrap();
        let message: Value = serde_json::from_str(&event.data).unwrap();
        if message["task_id"] == "b" {
            offsets.extend(message["offset"].as_u64());
        }
    }
    assert_eq!(offsets, [1, 2, 3, 4, 5]);
    drop(stream);
    server.stop().await;
}

/// A client is cut off again and again, in the middle of anything, and comes back with the last id
/// that it has seen.
#[tokio::test]
async fn a_stream_that_is_cut_resumes_every_task_exactly() {
    const TASKS: [&str; 5] = ["a", "b", "c", "d", "e"];
    const EVENTS: u64 = 400;
    let server = TestServer::start(TestConfig::default()).await;
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let query = TASKS.map(|id| format!("task={id}")).join("&");
    let mut last = String::new();
    // The next offset of each task, over all connections.
    let due = TASKS.map(|id| (id.to_owned(), 1));
    let mut due: BTreeMap<_, _> = due.into_iter().collect();
    let mut published = BTreeMap::<&str, u64>::new();
    // All tasks are watched from before their first event.
    let mut resumed = false;
    loop {
        let id = Some(last.as_str()).filter(|last| !last.is_empty());
        let mut stream = open(&server, &query, id).await;
        let mut checker = WireChecker::default();
        for (id, position) in positions(&last) {
            checker.ask_since(&id, position);
        }
        let (_, hello) = next(&mut stream, &mut checker).await;
        assert_eq!(hello["event_type"], "connection_established");
        let mut announced = 0;
        let mut until_cut = random.u32(1..60);
        loop {
            let total: u64 = published.values().sum();
            if total < EVENTS && random.f32() < 0.7 {
                let id = TASKS[random.usize(0..TASKS.len())];
                let text = "x".repeat(random.usize(1..2_000));
                let event = match random.u8(0..3) {
                    0 => NewEvent::log(text),
                    1 => NewEvent::output_delta("o", text),
                    _ => NewEvent::progress(f64::from(random.u8(0..100)), None),
                };
                publish(&server, id, event).await;
                *published.entry(id).or_default() += 1;
            }
            let received: u64 = due_sum(&due);
            if received == total && announced == TASKS.len() {
                if total == EVENTS {
                    for id in TASKS {
                        assert_state(&checker, &server, id);
                    }
                    assert!(resumed, "there were cuts");
                    drop(stream);
                    server.stop().await;
                    return;
                }
                continue;
            }
            let (event, message) = next(&mut stream, &mut checker).await;
            match message["event_type"].as_str().unwrap() {
                "subscribed" => {
                    announced += 1;
                    assert_eq!(message["data"]["recovered"], true);
                }
                _ => {
                    let id = message["task_id"].as_str().unwrap();
                    let offset = message["offset"].as_u64().unwrap();
                    let from = message["from"].as_u64().unwrap_or(offset);
                    let next: &mut u64 = due.get_mut(id).unwrap();
                    assert_eq!(from, *next, "seed {seed}: every offset of {id} once");
                    *next = offset + 1;
                    last = event.id.unwrap();
                    for (id, position) in positions(&last) {
                        assert_eq!(position.offset.get() + 1, due[&id], "{id}");
                    }
                }
            }
            until_cut = until_cut.saturating_sub(1);
            // The first connection lasts until all tasks have a position.
            if until_cut == 0 && positions(&last).len() == TASKS.len() {
                resumed = true;
                break;
            }
        }
    }
}

fn due_sum(due: &BTreeMap<String, u64>) -> u64 {
    due.values().map(|next| next - 1).sum()
}

#[tokio::test]
async fn a_position_in_the_query_is_older_than_the_header() {
    let server = TestServer::start(TestConfig::default()).await;
    for _ in 0..5 {
        publish(&server, "a", NewEvent::log("x")).await;
        publish(&server, "b", NewEvent::log("x")).await;
    }
    let epoch = server.bus().snapshot(&task("a")).unwrap().epoch.clone();
    let query = format!("task=a&task=b&task=c&since=a@{epoch}:1,b@0,gone@3");
    let mut stream = open(&server, &query, None).await;
    let mut checker = WireChecker::default();
    checker.ask_since("a", format!("{epoch}:1").parse().unwrap());
    checker.ask_retained("b");
    let mut seen = BTreeMap::<String, u64>::new();
    while seen.get("a") < Some(&5) || seen.get("b") < Some(&5) {
        let (_, message) = next(&mut stream, &mut checker).await;
        if let Some(offset) = message["offset"].as_u64() {
            seen.insert(message["task_id"].as_str().unwrap().to_owned(), offset);
        }
    }
    assert_eq!(checker.task("a").unwrap().checker.delivered(), 4);
    assert_eq!(checker.task("b").unwrap().checker.delivered(), 5);
    let mut stream = open(&server, &query, Some(&format!("a@{epoch}:4"))).await;
    let mut checker = WireChecker::default();
    checker.ask_since("a", format!("{epoch}:4").parse().unwrap());
    loop {
        let (event, message) = next(&mut stream, &mut checker).await;
        if message["offset"].is_u64() {
            assert_eq!(message["offset"], 5);
            assert_eq!(positions(&event.id.unwrap())["a"].offset.get(), 5);
            break;
        }
    }
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn patterns_and_trees_are_on_the_same_stream() {
    let server = TestServer::start(TestConfig::default()).await;
    publish(&server, "build-1", NewEvent::log("x")).await;
    publish(&server, "root", NewEvent::task_started("root")).await;
    let child = NewEvent::subtask_started("leaf", &task("root"));
    publish(&server, "leaf", child).await;
    let mut stream = open(&server, "pattern=build-*&tree=root&task=a", None).await;
    let mut checker = WireChecker::default();
    let mut known = Vec::new();
    while !["build-1", "root", "leaf", "a"]
        .iter()
        .all(|id| known.iter().any(|known| known == id))
    {
        let (_, message) = next(&mut stream, &mut checker).await;
        if message["data"]["snapshot"].is_object() {
            known.push(message["task_id"].as_str().unwrap().to_owned());
        }
    }
    // The id has positions only of tasks that the client named: there may be any number of others.
    publish(&server, "build-2", NewEvent::log("x")).await;
    loop {
        let (event, message) = next(&mut stream, &mut checker).await;
        if message["offset"].is_u64() && message["task_id"] == "build-2" {
            let told = positions(&event.id.unwrap());
            assert_eq!(told.keys().collect::<Vec<_>>(), ["a"]);
            break;
        }
    }
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn each_task_needs_its_permission() {
    let ada = Principal::new(permissions("watch build-*, command build-1")).subject("ada");
    let tokens = Tokens::default().with("t", ada);
    let server = TestServer::start_asking(TestConfig::default(), tokens).await;
    publish(&server, "secret", NewEvent::log("x")).await;
    let path = "/api/events?task=build-1&task=secret&pattern=secret-*&task=build-2&tree=secret";
    let token = "Authorization: Bearer t\r\n";
    let mut stream = EventStream::open(server.addr(), path, token).await;
    let mut checker = WireChecker::default();
    let mut refused = Vec::new();
    let mut allowed = Vec::new();
    while refused.len() < 3 || allowed.len() < 2 {
        let (_, message) = next(&mut stream, &mut checker).await;
        let data = &message["data"];
        match message["event_type"].as_str().unwrap() {
            "subscribed" => allowed.push((data["task_id"].clone(), data["permissions"].clone())),
            "unsubscribed" => {
                assert_eq!(data["reason"], "forbidden");
                let names = [&data["task_id"], &data["pattern"], &data["tree"]];
                refused.push(
                    names
                        .into_iter()
                        .find_map(Value::as_str)
                        .unwrap()
                        .to_owned(),
                );
            }
            _ => {}
        }
    }
    refused.sort();
    assert_eq!(refused, ["secret", "secret", "secret-*"]);
    // A page need not offer what it may not do.
    allowed.sort_by_key(|(id, _)| id.to_string());
    let [first, second] = [&allowed[0], &allowed[1]];
    assert_eq!(first.1, serde_json::json!(["watch", "answer", "command"]));
    assert_eq!(second.1, serde_json::json!(["watch"]));
    drop(stream);
    let headers = [("Authorization", "Bearer t")];
    for path in [
        "/api/events?task=secret",
        "/api/events?task=secret&pattern=secret-*",
    ] {
        let answer = server.http("GET", path, &headers, "").await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.text());
    }
    server.stop().await;
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_refused_with_the_reason() {
    let server = TestServer::start(TestConfig::default()).await;
    let many = (0..65).map(|n| format!("task=t{n}")).collect::<Vec<_>>();
    let many = format!("/api/events?{}", many.join("&"));
    for (path, status, reason) in [
        ("/api/events", 400, "at least one parameter"),
        ("/api/events?task=", 400, "parameter `task`"),
        ("/api/events?task=a/b", 400, "parameter `task`"),
        ("/api/events?pattern=a*b", 400, "parameter `pattern`"),
        ("/api/events?task=a&since=e:1", 400, "has no `@`"),
        ("/api/events?task=a&history=x", 400, "parameter `history`"),
        (&many, 429, "at most 64"),
    ] {
        let answer = server.http("GET", path, &[], "").await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(reason), "{path}: {}", answer.text());
    }
    let headers = [("Last-Event-ID", "nonsense")];
    let answer = server.http("GET", "/api/events?task=a", &headers, "").await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("Last-Event-ID"), "{}", answer.text());
    server.stop().await;
}

#[tokio::test]
async fn a_stream_that_goes_frees_everything() {
    let server = TestServer::start(TestConfig::default()).await;
    let mut stream = open(&server, "task=a&task=b&pattern=c-*", None).await;
    stream.next().await.unwrap();
    let (manager, bus) = (server.manager().clone(), server.bus().clone());
    eventually("it watches", || bus.stats().tasks == 2).await;
    drop(stream);
    eventually("nothing is left of it", || {
        manager.connected() == 0 && bus.stats().tasks == 0
    })
    .await;
    assert_eq!(manager.stats().away, 0, "it comes back by position");
    server.stop().await;
}
