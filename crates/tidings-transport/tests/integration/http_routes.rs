//! Every HTTP route, used as in a script.

use serde_json::{Value, json};
use tidings_bus::LogLimits;
use tidings_protocol::TaskId;
use tidings_testkit::{HttpResponse, TestClient, TestConfig, TestServer, http_exchange};
use tidings_transport::Origins;

async fn start() -> TestServer {
    TestServer::start(TestConfig::default()).await
}

async fn post(server: &TestServer, path: &str, body: &Value) -> HttpResponse {
    let kind = [("Content-Type", "application/json")];
    server.http("POST", path, &kind, &body.to_string()).await
}

async fn publish(server: &TestServer, id: &str, body: &Value) -> Value {
    answered(server, id, body, 201).await
}

/// Publishes, and checks the status of the answer.
async fn answered(server: &TestServer, id: &str, body: &Value, status: u16) -> Value {
    let answer = post(server, &format!("/api/tasks/{id}/events"), body).await;
    assert_eq!(answer.status, status, "{}", answer.text());
    let kind = match status {
        200..300 => "application/json",
        _ => "application/problem+json",
    };
    assert_eq!(answer.header("content-type"), Some(kind));
    answer.json()
}

fn step(number: u64) -> Value {
    json!({ "event_type": "own", "data": { "n": number } })
}

#[tokio::test]
async fn a_body_in_a_content_encoding_is_refused() {
    let server = TestServer::start(TestConfig::default()).await;
    let event = r#"{"event_type":"log","data":{"message":"hello"}}"#;
    for (codings, status) in [
        (&[("Content-Encoding", "gzip")][..], 415),
        (
            &[("Content-Encoding", "identity"), ("Content-Encoding", "br")],
            415,
        ),
        (&[("Content-Encoding", "Identity")], 201),
        (&[], 201),
    ] {
        let answer = server
            .http("POST", "/api/tasks/t/events", codings, event)
            .await;
        assert_eq!(answer.status, status, "{codings:?}: {}", answer.text());
    }
    server.stop().await;
}

#[tokio::test]
async fn one_event_is_published_and_seen() {
    let server = start().await;
    let mut watcher = TestClient::connect(server.ws("/ws/tasks/t")).await;
    let hello = watcher.until("connection_established").await;
    let event = json!({
        "event_type": "progress_update", "data": { "progress": 40, "own": [1] },
        "event_id": "e-1", "source": "script",
    });
    let answer = publish(&server, "t", &event).await;
    let epoch = &hello["data"]["epoch"];
    assert_eq!(
        answer,
        json!({ "epoch": epoch, "offset": 1, "duplicate": false })
    );
    let seen = watcher.next().await.unwrap();
    assert_eq!(seen["offset"], 1);
    for field in ["event_type", "data", "event_id", "source"] {
        assert_eq!(seen[field], event[field], "{field}");
    }
    // A retry is safe.
    let again = publish(&server, "t", &event).await;
    assert_eq!(
        again,
        json!({ "epoch": epoch, "offset": 1, "duplicate": true })
    );
    publish(&server, "t", &step(2)).await;
    assert_eq!(
        watcher.next().await.unwrap()["offset"],
        2,
        "the retry has sent nothing"
    );
    server.stop().await;
}

#[tokio::test]
async fn the_header_idempotency_key_serves_as_event_id() {
    let server = start().await;
    let send = async |body: &Value, key: &str| {
        let headers = [
            ("Idempotency-Key", key),
            ("Content-Type", "application/json"),
        ];
        let path = "/api/tasks/t/events";
        let answer = server.http("POST", path, &headers, &body.to_string()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    };
    assert_eq!(send(&step(1), "key").await["duplicate"], false);
    assert_eq!(send(&step(1), "key").await["duplicate"], true);
    assert_eq!(
        send(&step(1), "\"key\"").await["duplicate"],
        true,
        "quoted, as the draft says"
    );
    assert_eq!(send(&step(1), "other").await["offset"], 2);
    // A complete batch that is sent again.
    let batch = json!([step(3), step(4)]);
    let offsets = |answer: &Value| {
        let all = answer.as_array().unwrap().iter();
        all.map(|one| (one["offset"].as_u64().unwrap(), one["duplicate"] == true))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        offsets(&send(&batch, "batch").await),
        [(3, false), (4, false)]
    );
    assert_eq!(
        offsets(&send(&batch, "batch").await),
        [(3, true), (4, true)]
    );
    server.stop().await;
}

#[tokio::test]
async fn an_idempotency_key_that_leaves_no_room_for_a_number_is_refused_whole() {
    let server = start().await;
    let batch = json!([step(1), step(2)]).to_string();
    let send = async |key: &str| {
        let headers = [
            ("Idempotency-Key", key),
            ("Content-Type", "application/json"),
        ];
        let path = "/api/tasks/t/events";
        server.http("POST", path, &headers, &batch).await
    };
    for length in [127, 128, 129] {
        let answer = send(&"k".repeat(length)).await;
        assert_eq!(answer.status, 400, "{length}: {}", answer.text());
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains("Idempotency-Key"), "{detail}");
    }
    let answer = server.http("GET", "/api/tasks/t", &[], "").await;
    assert_eq!(answer.status, 404, "nothing of it was accepted");
    for _ in 0..2 {
        assert_eq!(send(&"k".repeat(126)).await.status, 201);
    }
    let task = server.http("GET", "/api/tasks/t", &[], "").await.json();
    assert_eq!(task["offset"], 2, "{task}");
    server.stop().await;
}

#[tokio::test]
async fn every_good_line_is_accepted_and_a_malformed_one_refused_alone() {
    let server = start().await;
    for (name, bad) in [
        ("cut", "{\"event_type\":"),
        ("text", "no JSON"),
        ("array", "[1]"),
    ] {
        let mut lines: Vec<String> = (0..50).map(|n| step(n).to_string()).collect();
        lines.push(bad.to_owned());
        lines.push(step(50).to_string());
        let headers = [("Content-Type", "application/x-ndjson")];
        let path = format!("/api/tasks/{name}/events");
        let answer = server
            .http("POST", &path, &headers, &lines.join("\n"))
            .await;
        assert_eq!(answer.status, 207, "{}", answer.text());
        let answers = answer.json();
        for (number, answer) in answers.as_array().unwrap().iter().enumerate() {
            match number {
                50 => assert_eq!(answer["status"], 400, "{answer}"),
                _ => assert!(answer["offset"].is_u64(), "{number}: {answer}"),
            }
        }
        let task = server
            .http("GET", &format!("/api/tasks/{name}"), &[], "")
            .await;
        assert_eq!(task.json()["offset"], 51, "{name}");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_event_of_another_run_is_refused() {
    let server = start().await;
    let started = json!({ "event_type": "task_started", "event_id": "start-1" });
    let answer = publish(&server, "t", &started).await;
    assert_eq!(answer["run"], 1, "{answer}");
    let again = publish(&server, "t", &started).await;
    assert_eq!(
        (&again["duplicate"], &again["run"]),
        (&json!(true), &json!(1))
    );
    let event = |run: u32| json!({ "event_type": "own", "run": run });
    assert!(publish(&server, "t", &event(1)).await.get("run").is_none());
    let refused = answered(&server, "t", &event(2), 409).await;
    assert_eq!(refused["code"], "wrong_run", "{refused}");
    server.stop().await;
}

#[tokio::test]
async fn a_batch_is_answered_one_by_one() {
    let server = start().await;
    let bad = json!({ "event_type": "progress_update", "data": { "progress": 101 } });
    let array = json!([step(1), bad, step(2), 7, { "event_type": "NO" }]);
    let answer = answered(&server, "t", &array, 207).await;
    let answers = answer.as_array().unwrap();
    assert_eq!(answers.len(), 5);
    assert_eq!(
        (&answers[0]["offset"], &answers[2]["offset"]),
        (&json!(1), &json!(2))
    );
    for wrong in [1, 3, 4] {
        assert_eq!(answers[wrong]["status"], 400, "{answer}");
        assert_eq!(answers[wrong]["code"], "invalid_event", "{answer}");
        assert!(answers[wrong]["detail"].is_string());
    }
    assert_eq!(publish(&server, "t", &json!([])).await, json!([]));

    let lines = format!("{}\n\r\n{{\n{}\n", step(3), step(4));
    for kind in [
        "application/x-ndjson",
        "application/x-ndjson; charset=utf-8",
    ] {
        let headers = [("Content-Type", kind)];
        let answer = server
            .http("POST", "/api/tasks/t/events", &headers, &lines)
            .await;
        assert_eq!(answer.status, 207);
        let answer = answer.json();
        let answers = answer.as_array().unwrap();
        assert_eq!(answers.len(), 3, "an empty line is none");
        assert!(answers[0]["offset"].is_u64() && answers[2]["offset"].is_u64());
        assert_eq!(answers[1]["code"], "invalid_message");
    }
    let one = json!({ "event_type": "task_completed" });
    let late = json!({ "event_type": "progress_update", "data": { "progress": 1 } });
    let answer = answered(&server, "t", &json!([one, late]), 207).await;
    assert_eq!(answer[1]["code"], "invalid_transition");
    assert_eq!(answer[1]["status"], 409);
    let single = post(&server, "/api/tasks/t/events", &late).await;
    assert_eq!(
        (single.status, single.json()["code"].as_str()),
        (409, Some("invalid_transition"))
    );
    server.stop().await;
}

#[tokio::test]
async fn bodies_have_a_size_and_a_type() {
    let mut config = TestConfig::default();
    config.transport = config.transport.max_body_bytes(2_048);
    let server = TestServer::start(config).await;
    let large = json!({ "event_type": "own", "data": { "x": "x".repeat(3_000) } }).to_string();
    let path = "/api/tasks/t/events";
    let known = server.http("POST", path, &[], &large).await;
    assert_eq!(
        (known.status, known.json()["code"].as_str()),
        (413, Some("too_large"))
    );
    // A body of unknown length is refused as soon as it is too long.
    let chunked = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    let unknown = http_exchange(server.addr(), chunked.as_bytes()).await;
    assert_eq!(
        (unknown.status, unknown.json()["code"].as_str()),
        (413, Some("too_large"))
    );
    // A body with a huge announced length is refused at once, without waiting for it.
    let announced = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(
        http_exchange(server.addr(), announced.as_bytes())
            .await
            .status,
        413
    );

    for (kind, status) in [
        ("application/xml", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/json; charset=utf-8", 201),
        ("text/plain", 201),
    ] {
        let answer = server
            .http(
                "POST",
                path,
                &[("Content-Type", kind)],
                &step(1).to_string(),
            )
            .await;
        assert_eq!(answer.status, status, "{kind}");
    }
    assert_eq!(server.bus().stats().events_published, 2);
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
async fn connections_are_listed_kicked_and_written_to() {
    let server = start().await;
    let mut one = TestClient::connect(server.ws("/ws/tasks/t?client_id=one")).await;
    let mut two = TestClient::connect(server.ws("/ws/tasks/u?client_id=two")).await;
    one.until("connection_established").await;
    two.until("connection_established").await;
    let ids = async |query: &str| {
        let answer = server.get(&format!("/api/connections{query}")).await.json();
        let all = answer["connections"].as_array().unwrap().iter();
        let mut ids: Vec<_> = all
            .map(|info| info["client_id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    };
    assert_eq!(ids("").await, ["one", "two"]);
    assert_eq!(ids("?task=u").await, ["two"]);
    assert_eq!(ids("?task=v").await, [""; 0]);
    let info = server.get("/api/connections/one").await.json();
    assert_eq!(info["client_id"], "one");
    assert_eq!(info["transport"], "websocket");
    assert_eq!(
        info["subscriptions"],
        json!([{ "task_id": "t", "offset": 0, "lag": 0 }])
    );
    assert!(info["connected_at"].is_string() && info["remote_addr"].is_string());

    let note = json!({ "event_type": "note", "data": { "text": "hello" } });
    for offset in 1..=2 {
        let sent = post(&server, "/api/connections/one/messages", &note).await;
        assert_eq!(
            (sent.status, sent.json()),
            (202, json!({ "offset": offset }))
        );
        let message = one.until("personal_message").await;
        assert_eq!(message["data"]["offset"], offset);
        assert_eq!(message["data"]["data"], note["data"]);
    }
    let wrong = post(
        &server,
        "/api/connections/one/messages",
        &json!({ "data": {} }),
    )
    .await;
    assert_eq!(wrong.status, 400);

    let kicked = server.http("DELETE", "/api/connections/one", &[], "").await;
    assert_eq!((kicked.status, kicked.body.len()), (204, 0));
    assert_eq!(one.close_code().await, Some(1000));
    assert_eq!(server.get("/api/connections/one").await.status, 404);
    assert_eq!(
        server
            .http("DELETE", "/api/connections/one", &[], "")
            .await
            .status,
        404
    );
    assert_eq!(
        post(&server, "/api/connections/one/messages", &note)
            .await
            .status,
        404
    );
    assert_eq!(ids("").await, ["two"]);
    server.stop().await;
}

#[tokio::test]
async fn the_server_tells_of_itself() {
    let server = start().await;
    publish(&server, "t", &step(1)).await;
    let mut watcher = TestClient::connect(server.ws("/ws/tasks/t")).await;
    watcher.until("connection_established").await;
    publish(&server, "t", &json!({ "event_type": "task_started" })).await;
    watcher.until("task_started").await;

    let stats = server.get("/api/stats").await.json();
    assert_eq!(stats["bus"]["events_published"], 2);
    assert_eq!(stats["bus"]["deliveries"], 1);
    assert_eq!(stats["bus"]["tasks_by_status"]["running"], 1);
    assert_eq!(stats["connections"]["connected"], 1);
    assert_eq!(
        server.get("/healthz").await.json(),
        json!({ "status": "ok" })
    );
    let ready = server.get("/readyz").await;
    assert_eq!(
        (ready.status, ready.json()),
        (200, json!({ "status": "ready" }))
    );
    let index = server.get("/").await.json();
    assert_eq!(index["protocol"], "tidings.v1");
    let openapi = server.get("/api/openapi.json").await.json();
    for path in index["routes"].as_array().unwrap() {
        let path = path.as_str().unwrap();
        // Every listed route is described, and every described route exists.
        let described = openapi["paths"].get(path).is_some();
        assert!(
            described || path == "/api/openapi.json" || path == "/",
            "{path}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn cors_answers_listed_pages_only() {
    let page = "https://app.example";
    let mut config = TestConfig::default();
    config.transport = config
        .transport
        .allowed_origins(Origins::List(vec![page.to_owned()]));
    let server = TestServer::start(config).await;
    let preflight = async |origin: &str| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            (
                "Access-Control-Request-Headers",
                "content-type, idempotency-key",
            ),
        ];
        server
            .http("OPTIONS", "/api/tasks/t/events", &headers, "")
            .await
    };
    let listed = preflight(page).await;
    assert_eq!(listed.status, 200);
    assert_eq!(listed.header("access-control-allow-origin"), Some(page));
    let methods = listed
        .header("access-control-allow-methods")
        .unwrap()
        .to_owned();
    for method in ["GET", "POST", "DELETE"] {
        assert!(methods.contains(method), "{methods}");
    }
    let headers = listed.header("access-control-allow-headers").unwrap();
    assert!(headers.contains("content-type") && headers.contains("idempotency-key"));
    let other = preflight("https://evil.example").await;
    assert_eq!(other.header("access-control-allow-origin"), None);
    let get = async |origin| {
        server
            .http("GET", "/healthz", &[("Origin", origin)], "")
            .await
    };
    assert_eq!(
        get(page).await.header("access-control-allow-origin"),
        Some(page)
    );
    let other = get("https://evil.example").await;
    assert_eq!(other.header("access-control-allow-origin"), None);
    server.stop().await;

    // Without a list of origins, pages of other origins are refused.
    let server = start().await;
    let answer = server
        .http("GET", "/healthz", &[("Origin", page)], "")
        .await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert!(server.bus().snapshot(&TaskId::new("t").unwrap()).is_none());
    server.stop().await;
}

/// The length of an answer is proportional to the number of items, so both are bounded. A body of 1
/// MiB once got an answer of 91 MiB.
#[tokio::test]
async fn a_batch_and_its_answer_are_bounded() {
    const MOST: usize = 1 << 20;
    let server = TestServer::start(TestConfig::default()).await;
    let post = async |kind: &str, body: &str| {
        let headers = [("content-type", kind)];
        server
            .http("POST", "/api/tasks/t/events", &headers, body)
            .await
    };
    let zeros = format!("[{}0]", "0,".repeat(500_000));
    for (kind, body) in [
        ("application/json", zeros.as_str()),
        ("application/cloudevents-batch+json", &zeros),
        ("application/x-ndjson", &"x\n".repeat(500_000)),
    ] {
        let answer = post(kind, body).await;
        assert_eq!(answer.status, 413, "{kind}");
        assert_eq!(answer.json()["code"], "too_large", "{kind}");
        assert!(answer.text().contains("1000 events"), "{}", answer.text());
    }
    let tasks = server.get("/api/tasks").await.json();
    assert_eq!(tasks["tasks"], json!([]), "nothing of it was taken");
    // The longest possible error text for one item.
    let name = "ü".repeat(500);
    let wrong = format!(r#"{{"event_type":"{name}","data":{{}}}}"#);
    for (kind, separator, around) in [
        ("application/json", ",", ("[", "]")),
        ("application/x-ndjson", "\n", ("", "")),
    ] {
        let body = vec![wrong.as_str(); 1_000].join(separator);
        let answer = post(kind, &format!("{}{body}{}", around.0, around.1)).await;
        let answers = answer.json();
        assert_eq!(answers.as_array().map(Vec::len), Some(1_000), "{kind}");
        let length = answer.text().len();
        assert!(length <= MOST, "{kind}: {length} bytes");
    }
    server.stop().await;
}

/// The bytes of a page are limited, whatever it contains. A hundred unread lists of large snapshots
/// once took 3.8 GB.
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
