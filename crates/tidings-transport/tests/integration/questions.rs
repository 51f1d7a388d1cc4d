//! Questions and answers over HTTP, over a WebSocket and by a signed link.

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_auth::LinkKey;
use tidings_connections::Principal;
use tidings_testkit::{HttpResponse, TestClient, TestConfig, TestServer, Tokens, permissions};
use tidings_transport::TransportConfig;

fn config() -> TestConfig {
    let key = LinkKey::new(&[7; 32]).unwrap();
    TestConfig {
        transport: TransportConfig::default().link_signer(Arc::new(key)),
        ..TestConfig::default()
    }
}

async fn start() -> TestServer {
    TestServer::start(config()).await
}

async fn post(server: &TestServer, path: &str, body: &Value) -> HttpResponse {
    let kind = [("Content-Type", "application/json")];
    server.http("POST", path, &kind, &body.to_string()).await
}

async fn ask(server: &TestServer, task: &str, data: &Value) {
    let event = json!({ "event_type": "input_required", "data": data });
    let asked = post(server, &format!("/api/tasks/{task}/events"), &event).await;
    assert_eq!(asked.status, 201, "{}", asked.text());
}

#[tokio::test]
async fn an_answer_over_http_is_checked_and_given_once() {
    let server = start().await;
    let schema = json!({ "type": "integer", "minimum": 1 });
    ask(
        &server,
        "t",
        &json!({ "input_id": "n", "prompt": "How many?", "schema": schema }),
    )
    .await;
    let path = "/api/tasks/t/inputs/n";
    for (value, why) in [(json!(0), "0 is less than"), (json!("three"), "integer")] {
        let refused = post(&server, path, &json!({ "value": value })).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
        let problem = refused.json();
        assert_eq!(problem["code"], "invalid_event");
        assert!(
            problem["detail"].as_str().unwrap().contains(why),
            "{problem}"
        );
    }
    // An array is not the fields of an object.
    for (path, body) in [
        (path, json!([3])),
        ("/api/tasks/t/inputs/n/links", json!(["ada", null])),
        ("/api/tasks/t/commands", json!(["cancel", null, false])),
    ] {
        let refused = post(&server, path, &body).await;
        assert_eq!(refused.status, 400, "{path}: {}", refused.text());
        let detail = &refused.json()["detail"];
        assert_eq!(*detail, "the body: expected a JSON object, found an array");
    }
    let answered = post(&server, path, &json!({ "value": 3 })).await;
    assert_eq!(answered.status, 201, "{}", answered.text());
    assert_eq!(answered.json()["offset"], 2);
    let late = post(&server, path, &json!({ "value": 4 })).await;
    assert_eq!(late.status, 409);
    let problem = late.json();
    assert_eq!(
        (&problem["code"], &problem["by"]),
        (&json!("already_answered"), &json!("http"))
    );
    for (path, body, status) in [
        ("/api/tasks/t/inputs/other", json!({ "value": 1 }), 409),
        ("/api/tasks/none/inputs/n", json!({ "value": 1 }), 404),
        (path, json!({}), 400),
        (path, json!({ "value": null }), 400),
        ("/api/tasks/t/inputs/%ff", json!({ "value": 1 }), 400),
    ] {
        let refused = post(&server, path, &body).await;
        assert_eq!(refused.status, status, "{path}: {}", refused.text());
    }
    let state = server.get("/api/tasks/t").await.json();
    assert_eq!(state["pending_inputs"], json!([]));
    assert_eq!(state["ended_inputs"][0]["by"], "http");
    // The end of a task ends its questions.
    ask(&server, "t", &json!({ "input_id": "q", "prompt": "?" })).await;
    let end = json!({ "event_type": "task_completed" });
    post(&server, "/api/tasks/t/events", &end).await;
    let late = post(&server, "/api/tasks/t/inputs/q", &json!({ "value": 1 })).await;
    let problem = late.json();
    assert_eq!(
        (late.status, &problem["code"]),
        (409, &json!("input_not_open")),
        "{problem}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_schema_that_cannot_be_used_is_refused_when_it_is_asked() {
    let server = start().await;
    for schema in [
        json!({ "type": "strin" }),
        json!({ "$ref": "https://example.org/s.json" }),
    ] {
        let event = json!({ "event_type": "input_required",
            "data": { "input_id": "n", "prompt": "?", "schema": schema } });
        let refused = post(&server, "/api/tasks/t/events", &event).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert_eq!(refused.json()["code"], "invalid_event");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_watcher_answers_over_its_websocket() {
    let server = start().await;
    ask(
        &server,
        "t",
        &json!({ "input_id": "q", "prompt": "?", "choices": ["yes", "no"] }),
    )
    .await;
    let mut client = TestClient::connect(server.ws("/ws/tasks/t?client_id=ada")).await;
    client.until("connection_established").await;
    let answer = |value: Value, reference: u64| json!({ "type": "answer", "input_id": "q", "value": value, "ref": reference });
    for (wrong, code) in [
        (json!("perhaps"), "invalid_event"),
        (Value::Null, "invalid_message"),
    ] {
        client.send(&answer(wrong, 1)).await;
        let error = client.until("error").await;
        assert_eq!(
            (&error["data"]["ref"], &error["data"]["code"]),
            (&json!(1), &json!(code))
        );
    }
    client.send(&answer(json!("yes"), 2)).await;
    // The event and the answer to the request come in either order.
    let (mut provided, mut ack) = (None, None);
    while provided.is_none() || ack.is_none() {
        let message = client.next().await.unwrap();
        match message["event_type"].as_str() {
            Some("input_provided") => provided = Some(message["data"].clone()),
            Some("ack") => ack = Some(message["data"].clone()),
            other => panic!("{other:?}"),
        }
    }
    let given = json!({ "input_id": "q", "value": "yes", "by": "ada" });
    assert_eq!(provided, Some(given));
    let ack = ack.unwrap();
    assert_eq!((&ack["ref"], &ack["offset"]), (&json!(2), &json!(2)));
    client.send(&answer(json!("no"), 3)).await;
    let error = client.until("error").await;
    assert_eq!(error["data"]["code"], "already_answered");
    assert!(
        error["data"]["message"].as_str().unwrap().contains("ada"),
        "{error}"
    );
    server.stop().await;
}

#[tokio::test]
async fn the_inbox_lists_what_one_may_answer_page_by_page() {
    let somebody = |allowed: &str| Principal::new(permissions(allowed)).subject("ada");
    let tokens = Tokens::default()
        .with("all", somebody("answer *, publish *"))
        .with("some", somebody("answer build-*, command deploy-1"))
        .with("none", somebody("watch *"));
    let server = TestServer::start_asking(TestConfig::default(), tokens).await;
    let http = async |method: &str, path: &str, token: &str, body: &str| {
        let value = format!("Bearer {token}");
        server
            .http(method, path, &[("Authorization", value.as_str())], body)
            .await
    };
    for task in ["build-1", "build-2", "deploy-1", "deploy-2"] {
        for input in ["a", "b"] {
            let event = json!({ "event_type": "input_required",
                "data": { "input_id": input, "prompt": "?", "expires_in_ms": 60_000 } });
            let path = format!("/api/tasks/{task}/events");
            let asked = http("POST", &path, "all", &event.to_string()).await;
            assert_eq!(asked.status, 201, "{}", asked.text());
        }
    }
    let list = async |token: &str, query: &str| {
        let page = http("GET", &format!("/api/inputs{query}"), token, "").await;
        assert_eq!(page.status, 200, "{}", page.text());
        let page = page.json();
        let inputs = page["inputs"].as_array().unwrap().iter();
        let names = inputs.map(|input| {
            assert!(input["expires_at"].is_string() && input["requested_at"].is_string());
            format!(
                "{}/{}",
                input["task_id"].as_str().unwrap(),
                input["input_id"].as_str().unwrap()
            )
        });
        (names.collect::<Vec<_>>(), page["next"].clone())
    };
    let (all, next) = list("all", "?status=open").await;
    assert_eq!((all.len(), next), (8, Value::Null));
    let (some, _) = list("some", "").await;
    assert_eq!(
        some,
        [
            "build-1/a",
            "build-1/b",
            "build-2/a",
            "build-2/b",
            "deploy-1/a",
            "deploy-1/b"
        ]
    );
    assert_eq!(list("some", "?prefix=deploy-").await.0.len(), 2);
    assert_eq!(list("none", "").await, (Vec::new(), Value::Null));
    // A page counts questions, and may end between those of one task.
    let (rest, next) = list("all", "?after=build-1").await;
    assert_eq!((rest.len(), next), (6, Value::Null));
    for (token, limit, expected) in [("all", 1, 8), ("all", 3, 8), ("some", 1, 6)] {
        let (mut listed, mut after) = (Vec::new(), String::new());
        loop {
            let query = format!("?limit={limit}{after}");
            let (page, next) = list(token, &query).await;
            assert!(page.len() <= limit, "{page:?}");
            listed.extend(page);
            let Some(next) = next.as_str() else { break };
            after = format!("&after={}", next.replace('/', "%2F"));
        }
        assert_eq!(listed.len(), expected, "{token}: {listed:?}");
        assert!(listed.is_sorted(), "{listed:?}");
    }
    let refused = http("GET", "/api/inputs?after=build-1%2F", "all", "").await;
    assert_eq!(refused.status, 400);
    let refused = http("GET", "/api/inputs?status=closed", "all", "").await;
    assert_eq!(refused.status, 400);
    // An answered question is no longer listed.
    let answered = http(
        "POST",
        "/api/tasks/build-1/inputs/a",
        "some",
        r#"{"value":1}"#,
    )
    .await;
    assert_eq!(answered.status, 201, "{}", answered.text());
    assert_eq!(list("some", "").await.0[0], "build-1/b");
    server.stop().await;
}

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

async fn link(server: &TestServer, input: &str, body: &Value) -> String {
    let made = post(server, &format!("/api/tasks/t/inputs/{input}/links"), body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["path"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_link_shows_its_question_and_answers_by_its_form_alone() {
    let server = start().await;
    let prompt = "Deploy <b>\"now\"</b>?";
    ask(
        &server,
        "t",
        &json!({ "input_id": "q", "prompt": prompt, "choices": ["yes", 2] }),
    )
    .await;
    let path = link(&server, "q", &json!({ "for": "ada@example.org" })).await;
    // A mail program may open the link any number of times.
    for _ in 0..3 {
        let page = server.get(&path).await;
        assert_eq!(page.status, 200);
        let text = page.text();
        assert!(
            text.contains("Deploy &lt;b&gt;&quot;now&quot;&lt;/b&gt;?"),
            "{text}"
        );
        assert!(text.contains(r#"value="&quot;yes&quot;">yes<"#), "{text}");
        assert!(!text.contains("<script"), "{text}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    }
    let state = server.get("/api/tasks/t").await.json();
    assert_eq!(state["offset"], 1, "nobody has answered");
    for wrong in ["value=3", "value=%22", "", "value=null"] {
        let page = server.http("POST", &path, &[FORM], wrong).await;
        assert_eq!(page.status, 422, "{wrong}: {}", page.text());
    }
    // The browser sends the origin `null` here, because the page has no referrer.
    let headers = [FORM, ("Origin", "null")];
    let page = server
        .http("POST", &path, &headers, "value=%22yes%22")
        .await;
    assert_eq!(page.status, 200, "{}", page.text());
    for again in [
        server.http("POST", &path, &[FORM], "value=2").await,
        server.get(&path).await,
    ] {
        assert_eq!(again.status, 409);
        assert!(
            again.text().contains("ada@example.org has answered"),
            "{}",
            again.text()
        );
    }
    let state = server.get("/api/tasks/t").await.json();
    assert_eq!(state["ended_inputs"][0]["value"], "yes");
    server.stop().await;
}

#[tokio::test]
async fn a_link_is_for_one_question_and_for_a_time() {
    let server = start().await;
    ask(&server, "t", &json!({ "input_id": "q", "prompt": "?" })).await;
    let short = link(&server, "q", &json!({ "for": "ada", "expires_in_ms": 1 })).await;
    let path = link(&server, "q", &json!({ "for": "ada" })).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(server.get(&short).await.status, 409, "it has expired");
    let (payload, signature) = path.split_once('.').unwrap();
    for forged in [
        format!("{payload}A.{signature}"),
        format!("{payload}.{}", &signature[1..]),
        format!("{payload}.{}", signature.to_ascii_uppercase()),
        "/answer/x".to_owned(),
    ] {
        assert_eq!(server.get(&forged).await.status, 404, "{forged}");
    }
    // The link is not valid for another question with the same id.
    for event in ["task_started", "task_completed", "task_started"] {
        let event = json!({ "event_type": event, "data": {} });
        assert_eq!(
            post(&server, "/api/tasks/t/events", &event).await.status,
            201
        );
    }
    ask(
        &server,
        "t",
        &json!({ "input_id": "q", "prompt": "Another?" }),
    )
    .await;
    let page = server.http("POST", &path, &[FORM], "text=hello").await;
    assert_eq!(page.status, 409, "{}", page.text());
    let path = link(&server, "q", &json!({ "for": "ada" })).await;
    let page = server
        .http("POST", &path, &[FORM], "text=hello+there")
        .await;
    assert_eq!(page.status, 200, "{}", page.text());
    let state = server.get("/api/tasks/t").await.json();
    assert_eq!(state["ended_inputs"][0]["value"], "hello there");
    for body in [
        json!({}),
        json!({ "for": "" }),
        json!({ "for": "a", "expires_in_ms": 0 }),
    ] {
        let refused = post(&server, "/api/tasks/t/inputs/q/links", &body).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
    }
    server.stop().await;
}

#[tokio::test]
async fn without_a_key_there_are_no_links() {
    let server = TestServer::start(TestConfig::default()).await;
    ask(&server, "t", &json!({ "input_id": "q", "prompt": "?" })).await;
    let refused = post(
        &server,
        "/api/tasks/t/inputs/q/links",
        &json!({ "for": "ada" }),
    )
    .await;
    assert_eq!(refused.status, 404);
    assert!(
        refused.text().contains("--answer-link-key"),
        "{}",
        refused.text()
    );
    assert_eq!(server.get("/answer/x").await.status, 404);
    server.stop().await;
}
