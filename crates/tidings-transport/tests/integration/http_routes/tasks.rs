//! Tasks over HTTP: their history, their lists, commands for them.

use serde_json::{Value, json};
use tidings_bus::LogLimits;
use tidings_protocol::TaskId;
use tidings_testkit::{TestClient, TestConfig, TestServer};

use super::{answered, post, publish, start, step};

#[tokio::test]
async fn the_children_of_a_task_are_listed() {
    let server = start().await;
    for (id, parent) in [("a-1", "p"), ("a-2", "p"), ("b", "p"), ("c", "q")] {
        let data = json!({ "name": id, "parent_task_id": parent });
        let started = json!({ "event_type": "task_started", "data": data });
        publish(&server, id, &started).await;
    }
    publish(&server, "a-2", &json!({ "event_type": "task_completed" })).await;
    let list = async |query: &str| {
        let answer = server.get(&format!("/api/tasks?{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let tasks = answer.json()["tasks"].as_array().unwrap().clone();
        let ids = tasks.iter().map(|task| task["task_id"].clone());
        Value::Array(ids.collect())
    };
    assert_eq!(list("parent=p").await, json!(["a-1", "a-2", "b"]));
    assert_eq!(list("parent=p&after=a-1&limit=1").await, json!(["a-2"]));
    assert_eq!(list("parent=p&prefix=a").await, json!(["a-1", "a-2"]));
    assert_eq!(list("parent=p&status=running").await, json!(["a-1", "b"]));
    assert_eq!(list("parent=b").await, json!([]));
    let refused = server.get("/api/tasks?parent=a%20b").await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    let circle = json!({ "event_type": "task_started", "data": { "parent_task_id": "b" } });
    let refused = answered(&server, "p", &circle, 400).await;
    assert_eq!(refused["code"], "invalid_event", "{refused}");
    server.stop().await;
}

#[tokio::test]
async fn history_is_read_page_by_page() {
    let mut config = TestConfig::default();
    config.bus = config.bus.log_limits(LogLimits {
        max_events: 20,
        max_bytes: 1 << 20,
    });
    let server = TestServer::start(config).await;
    let batch: Vec<_> = (1..=50).map(step).collect();
    publish(&server, "t", &json!(batch)).await;
    let epoch = server.get("/api/tasks/t").await.json()["epoch"]
        .as_str()
        .unwrap()
        .to_owned();
    let page = async |query: String| {
        let answer = server.get(&format!("/api/tasks/t/events{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let offsets = |page: &Value| -> Vec<u64> {
        let events = page["events"].as_array().unwrap().iter();
        events
            .map(|event| event["offset"].as_u64().unwrap())
            .collect()
    };
    // The first page names the events that are no longer retained. The others follow in pages.
    let mut at = format!("{epoch}:10");
    let first = page(format!("?since={at}&limit=8")).await;
    assert_eq!(first["gap"]["reason"], "expired");
    assert_eq!(
        (&first["gap"]["from"], &first["gap"]["to"]),
        (&json!(11), &json!(30))
    );
    assert_eq!(first["events"][0]["data"], json!({ "n": 31 }));
    let mut all = offsets(&first);
    at = first["next"].as_str().unwrap().to_owned();
    loop {
        let next = page(format!("?since={at}&limit=8")).await;
        assert!(next.get("gap").is_none(), "{next}");
        at = next["next"].as_str().unwrap().to_owned();
        if offsets(&next).is_empty() {
            break;
        }
        assert!(offsets(&next).len() <= 8);
        all.extend(offsets(&next));
    }
    assert_eq!(all, (31..=50).collect::<Vec<_>>());
    assert_eq!(
        at,
        format!("{epoch}:50"),
        "where to go on once there is more"
    );
    publish(&server, "t", &step(51)).await;
    assert_eq!(offsets(&page(format!("?since={at}")).await), [51]);
    assert_eq!(
        offsets(&page(String::new()).await).len(),
        20,
        "all that is retained"
    );
    let other = page("?since=nowhere:7".to_owned()).await;
    assert_eq!(other["gap"]["reason"], "expired");
    assert!(other["next"].as_str().unwrap().starts_with(&epoch));
    assert_eq!(offsets(&page(format!("?since={epoch}:99")).await), [0; 0]);
    server.stop().await;
}

#[tokio::test]
async fn tasks_are_listed_read_and_deleted() {
    let server = start().await;
    for number in 0..25 {
        let id = format!("build-{number:02}");
        publish(
            &server,
            &id,
            &json!({ "event_type": "task_started", "data": { "name": id } }),
        )
        .await;
        if number % 5 == 0 {
            publish(&server, &id, &json!({ "event_type": "task_completed" })).await;
        }
    }
    publish(&server, "render", &step(1)).await;
    let list = async |query: &str| {
        let answer = server.get(&format!("/api/tasks{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let ids = |page: &Value| -> Vec<String> {
        let tasks = page["tasks"].as_array().unwrap().iter();
        tasks
            .map(|task| task["task_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = list("").await;
    assert_eq!(ids(&all).len(), 26);
    assert!(ids(&all).is_sorted());
    assert_eq!(all["next"], Value::Null);
    assert_eq!(ids(&list("?prefix=ren").await), ["render"]);
    assert_eq!(ids(&list("?status=pending").await), ["render"]);
    let completed = ["build-00", "build-05", "build-10", "build-15", "build-20"];
    assert_eq!(ids(&list("?status=completed").await), completed);
    assert_eq!(ids(&list("?status=failed").await), [""; 0]);
    let (mut paged, mut query) = (Vec::new(), "?prefix=build-&limit=10".to_owned());
    loop {
        let page = list(&query).await;
        paged.extend(ids(&page));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        query = format!("?prefix=build-&limit=10&after={next}");
    }
    assert_eq!(paged, ids(&all)[..25]);

    let task = server.get("/api/tasks/build-05").await;
    assert_eq!(task.status, 200);
    let task = task.json();
    assert_eq!(
        (&task["status"], &task["offset"]),
        (&json!("completed"), &json!(2))
    );
    assert_eq!(task["name"], "build-05");
    let head = server.http("HEAD", "/api/tasks/build-05", &[], "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));

    let gone = server.http("DELETE", "/api/tasks/build-05", &[], "").await;
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    assert_eq!(server.get("/api/tasks/build-05").await.status, 404);
    assert_eq!(
        server
            .http("DELETE", "/api/tasks/build-05", &[], "")
            .await
            .status,
        404
    );
    assert_eq!(ids(&list("").await).len(), 25);
    server.stop().await;
}

#[tokio::test]
async fn a_command_becomes_an_event() {
    let server = start().await;
    let command = json!({ "command": "cancel", "args": { "hard": true } });
    let early = post(&server, "/api/tasks/t/commands", &command).await;
    assert_eq!(
        (early.status, early.json()["code"].as_str()),
        (404, Some("task_not_found"))
    );
    publish(&server, "t", &json!({ "event_type": "task_started" })).await;
    let mut agent = TestClient::connect(server.ws("/ws/tasks/t")).await;
    agent.until("connection_established").await;
    let answer = post(&server, "/api/tasks/t/commands", &command).await;
    assert_eq!(answer.status, 202);
    let answer = answer.json();
    assert_eq!(answer["offset"], 2);
    let event = agent.until("command_requested").await;
    assert_eq!(event["offset"], 2);
    assert_eq!(event["data"]["command_id"], answer["command_id"]);
    assert_eq!(event["data"]["command"], "cancel");
    assert_eq!(event["data"]["args"], json!({ "hard": true }));
    assert!(event["data"]["by"].is_string());
    let pending = &server.get("/api/tasks/t").await.json()["pending_commands"];
    assert_eq!(pending.as_array().unwrap().len(), 1);
    for wrong in [json!({}), json!({ "command": "" }), json!({ "command": 7 })] {
        let answer = post(&server, "/api/tasks/t/commands", &wrong).await;
        assert_eq!(answer.status, 400, "{wrong}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_command_for_a_tree_becomes_an_event_of_each_task() {
    let server = start().await;
    publish(&server, "top", &json!({ "event_type": "task_started" })).await;
    for task in ["one", "two"] {
        let begin = json!({ "event_type": "task_started", "data": { "parent_task_id": "top" } });
        publish(&server, task, &begin).await;
    }
    let end = json!({ "event_type": "task_completed" });
    publish(&server, "two", &end).await;
    let command = json!({ "command": "cancel", "tree": true });
    let answer = post(&server, "/api/tasks/top/commands", &command).await;
    assert_eq!(answer.status, 202);
    let answer = answer.json();
    let tasks = answer["tasks"].as_array().unwrap();
    let asked: Vec<_> = tasks.iter().map(|task| &task["task_id"]).collect();
    assert_eq!(asked, ["one", "top"]);
    for task in tasks {
        let path = format!("/api/tasks/{}", task["task_id"].as_str().unwrap());
        let pending = &server.get(&path).await.json()["pending_commands"];
        assert_eq!(pending[0]["command_id"], task["command_id"]);
    }
    publish(&server, "top", &end).await;
    // The topmost task has ended, and is asked as without `tree`.
    let answer = post(&server, "/api/tasks/top/commands", &command).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json()["tasks"][1]["task_id"], "top");
    for (wrong, status) in [
        (json!({ "command": "", "tree": true }), 400),
        (json!({ "command": "cancel", "tree": 1 }), 400),
    ] {
        let answer = post(&server, "/api/tasks/top/commands", &wrong).await;
        assert_eq!(answer.status, status, "{wrong}");
    }
    let none = post(&server, "/api/tasks/nowhere/commands", &command).await;
    assert_eq!(none.status, 404);
    server.stop().await;
}

/// The bytes of a page are limited, no matter which tasks it contains. A hundred unread lists of
/// large snapshots once took 3.8 GB.
#[tokio::test]
async fn pages_are_bounded_by_their_bytes_and_go_on_where_they_end() {
    const MOST: usize = (1 << 20) + (64 << 10);
    let mut config = TestConfig::default();
    config.bus = config.bus.log_limits(LogLimits {
        max_events: 1_000,
        max_bytes: 16 << 20,
    });
    let server = TestServer::start(config).await;
    let large = "x".repeat(50_000);
    for number in 0..50 {
        let end = json!({ "event_type": "task_started", "data": { "name": "t" } });
        publish(&server, &format!("large-{number:02}"), &end).await;
        let end = json!({ "event_type": "task_completed", "data": { "result": large } });
        publish(&server, &format!("large-{number:02}"), &end).await;
        let event = json!({ "event_type": "own", "data": { "n": number, "text": large } });
        publish(&server, "long", &event).await;
    }
    let mut tasks = Vec::new();
    let mut path = "/api/tasks?limit=1000&prefix=large-".to_owned();
    let mut pages = 0;
    loop {
        pages += 1;
        let answer = server.get(&path).await;
        assert!(answer.text().len() <= MOST, "{} bytes", answer.text().len());
        let page = answer.json();
        let found = page["tasks"].as_array().unwrap();
        tasks.extend(found.iter().map(|task| task["task_id"].clone()));
        match page["next"].as_str() {
            Some(next) => path = format!("/api/tasks?limit=1000&prefix=large-&after={next}"),
            None => break,
        }
    }
    assert!(pages >= 3, "{pages} pages");
    let expected: Vec<_> = (0..50)
        .map(|number| json!(format!("large-{number:02}")))
        .collect();
    assert_eq!(tasks, expected);
    let mut seen = Vec::new();
    let mut since = "0".to_owned();
    loop {
        let path = format!("/api/tasks/long/events?limit=1000&since={since}");
        let answer = server.get(&path).await;
        assert!(answer.text().len() <= MOST, "{} bytes", answer.text().len());
        let page = answer.json();
        let events = page["events"].as_array().unwrap();
        if events.is_empty() {
            break;
        }
        seen.extend(
            events
                .iter()
                .map(|event| event["data"]["n"].as_u64().unwrap()),
        );
        since = page["next"].as_str().unwrap().to_owned();
    }
    assert_eq!(seen, (0..50).collect::<Vec<_>>());
    server.stop().await;
}

/// Responses that a client does not read are charged to it until it reads them.
#[tokio::test]
async fn unread_answers_are_charged_to_whoever_leaves_them() {
    use tidings_bus::{EventBus, Group};
    use tidings_connections::{ClientLimits, ConnectionManager, ConnectionsConfig};
    use tidings_transport::{PeerAddr, TidingsService, TransportConfig, WEBSOCKET};

    let config = tidings_bus::BusConfig::default().account_bytes(Some(3 << 20));
    let bus = EventBus::new(config.framing(WEBSOCKET)).unwrap();
    let limits = ConnectionsConfig::default().limits(ClientLimits::for_strangers());
    let manager = ConnectionManager::new(bus.clone(), limits).unwrap();
    let service = TidingsService::new(manager, TransportConfig::default()).unwrap();
    for number in 0..40 {
        let task = TaskId::new(format!("t{number}")).unwrap();
        let end = tidings_protocol::NewEvent::task_started("t");
        bus.publish(&task, end).await.unwrap();
        let end = tidings_protocol::NewEvent::task_completed(json!("x".repeat(50_000)));
        bus.publish(&task, end).await.unwrap();
    }
    let ask = async |last: u8, path: &str| {
        let mut request = tungstenite::http::Request::new(http_body_util::Empty::new());
        *request.uri_mut() = path.parse().unwrap();
        let addr = std::net::SocketAddr::from(([192, 0, 2, last], 1));
        request.extensions_mut().insert(PeerAddr(addr));
        service.handle(request).await
    };
    let mut held = Vec::new();
    let refused = loop {
        let answer = ask(1, "/api/tasks?limit=1000").await;
        if answer.status() != 200 {
            break answer;
        }
        held.push(answer);
        assert!(held.len() < 50, "there is no end of it");
    };
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(held.len() >= 2);
    let charged = bus.ledger().held(Group::Clients);
    assert!(charged > 2 << 20 && charged <= 3 << 20, "{charged}");
    assert_eq!(ask(2, "/api/tasks").await.status(), 200, "another's answer");
    held.clear();
    assert_eq!(bus.ledger().held(Group::Clients), 0);
    assert_eq!(ask(1, "/api/tasks").await.status(), 200);
}
