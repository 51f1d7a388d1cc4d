//! Publishing over HTTP.

use serde_json::{Value, json};
use tidings_testkit::{TestClient, TestConfig, TestServer, http_exchange};

use super::{answered, post, publish, start, step};

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
