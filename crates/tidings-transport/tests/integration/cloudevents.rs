//! CloudEvents arrive over HTTP and WebSocket, and are sent over WebSocket.

use serde_json::{Value, json};
use tidings_protocol::{NewEvent, Source, TaskId};
use tidings_testkit::{HttpResponse, TestConfig, TestServer};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

type Stream =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn connect(server: &TestServer, path: &str, protocols: &str) -> (Stream, Option<String>) {
    let mut request = server.ws(path).into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", protocols.parse().unwrap());
    let (stream, response) = tokio_tungstenite::connect_async(request).await.unwrap();
    let chosen = response.headers().get("sec-websocket-protocol");
    let chosen = chosen.map(|value| value.to_str().unwrap().to_owned());
    (stream, chosen)
}

/// Returns the next message, which must be a valid CloudEvent.
async fn next(stream: &mut Stream) -> Value {
    use futures_util::StreamExt;
    let message = tokio::time::timeout(tidings_testkit::DEADLINE, stream.next());
    let message = message.await.expect("in time").expect("a message");
    let event: Value = serde_json::from_str(message.unwrap().to_text().unwrap()).unwrap();
    assert_eq!(event["specversion"], "1.0", "{event}");
    for attribute in ["id", "source", "type", "time"] {
        assert!(
            event[attribute]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{event}"
        );
    }
    assert!(event["data"].is_object(), "{event}");
    event
}

async fn send(stream: &mut Stream, message: &Value) {
    use futures_util::SinkExt;
    stream
        .send(Message::text(message.to_string()))
        .await
        .unwrap();
}

async fn post(
    server: &TestServer,
    kind: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> HttpResponse {
    let mut all = vec![("content-type", kind)];
    all.extend_from_slice(headers);
    server
        .http("POST", "/api/tasks/t/events", &all, &body.to_string())
        .await
}

fn event(id: &str, data: &Value) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "/ci/7", "type": "progress_update", "data": data })
}

#[tokio::test]
async fn events_and_control_messages_come_as_cloudevents() {
    let server = TestServer::start(TestConfig::default()).await;
    let task: TaskId = "t".parse().unwrap();
    let (mut stream, chosen) =
        connect(&server, "/ws/tasks/t", "cloudevents.json, tidings.v1").await;
    assert_eq!(chosen.as_deref(), Some("cloudevents.json"));
    let hello = next(&mut stream).await;
    assert_eq!(hello["type"], "connection_established");
    assert_eq!(hello["source"], "/ws");
    let mut ids = vec![hello["id"].clone()];
    for number in 1..=3 {
        let log = NewEvent::log("hi").with_source(Source::new("agent 7").unwrap());
        let published = server.bus().publish(&task, log).await.unwrap();
        let event = next(&mut stream).await;
        assert_eq!(event["type"], "log");
        assert_eq!(event["subject"], "t");
        assert_eq!(event["source"], "/api/tasks/t");
        assert_eq!(event["id"], format!("{}:{number}", published.epoch));
        assert_eq!(event["tidingsoffset"], number.to_string());
        assert_eq!(event["tidingssource"], "agent 7");
        assert_eq!(event["data"], json!({ "message": "hi" }));
        ids.push(event["id"].clone());
    }
    ids.dedup();
    assert_eq!(ids.len(), 4, "an id is used once");
    server.stop().await;
}

#[tokio::test]
async fn the_subprotocol_that_the_client_likes_best_is_spoken() {
    let server = TestServer::start(TestConfig::default()).await;
    for (offered, expected) in [
        ("tidings.v1, cloudevents.json", "tidings.v1"),
        ("other, cloudevents.json", "cloudevents.json"),
    ] {
        let (_, chosen) = connect(&server, "/ws", offered).await;
        assert_eq!(chosen.as_deref(), Some(expected), "{offered}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_subscribes_in_words_of_ours_and_publishes_in_its_own() {
    let server = TestServer::start(TestConfig::default()).await;
    let (mut stream, _) = connect(&server, "/ws", "cloudevents.json").await;
    next(&mut stream).await;
    send(&mut stream, &json!({ "type": "subscribe", "task_id": "t" })).await;
    assert_eq!(next(&mut stream).await["type"], "subscribed");
    let mut given = event("a-1", &json!({ "progress": 40 }));
    given["subject"] = json!("t");
    send(&mut stream, &given).await;
    let (one, other) = (next(&mut stream).await, next(&mut stream).await);
    let (ack, update) = if one["type"] == "ack" {
        (one, other)
    } else {
        (other, one)
    };
    assert_eq!(ack["data"]["ref"], "a-1");
    assert_eq!(update["type"], "progress_update");
    assert_eq!(update["tidingsid"], "/ci/7 a-1");
    assert_eq!(update["tidingssource"], "/ci/7");

    let mut wrong = event("a-2", &json!([1]));
    wrong["subject"] = json!("t");
    send(&mut stream, &wrong).await;
    let error = next(&mut stream).await;
    assert_eq!(error["data"]["code"], "invalid_event");
    assert!(
        error["data"]["message"]
            .as_str()
            .unwrap()
            .contains("`data`"),
        "{error}"
    );
    server.stop().await;
}

#[tokio::test]
async fn http_takes_all_three_modes_and_the_same_event_once() {
    let server = TestServer::start(TestConfig::default()).await;
    let one = event("1", &json!({ "progress": 10 }));
    let answer = post(
        &server,
        "application/cloudevents+json; charset=utf-8",
        &[],
        &one,
    )
    .await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.json()["offset"], 1);

    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/ci/7"),
        ("ce-type", "progress_update"),
    ];
    let again = post(
        &server,
        "application/json",
        &binary,
        &json!({ "progress": 10 }),
    )
    .await;
    assert_eq!(again.json()["offset"], 1, "{}", again.text());
    assert_eq!(again.json()["duplicate"], true);

    let batch = json!([event("2", &json!({ "progress": 20 })), { "specversion": "0.3" }]);
    let answers = post(&server, "application/cloudevents-batch+json", &[], &batch).await;
    assert_eq!(answers.status, 207);
    assert_eq!(answers.json()[0]["offset"], 2);
    assert_eq!(answers.json()[1]["code"], "invalid_event");

    let page = server.get("/api/tasks/t/events?since=0").await.json();
    let events = page["events"].as_array().unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["event_id"], "/ci/7 1");
    assert_eq!(events[0]["source"], "/ci/7");
    server.stop().await;
}

/// An id belongs to its source. Another source may use the same id, even if the two contain special
/// characters.
#[tokio::test]
async fn no_two_sources_share_an_id() {
    let server = TestServer::start(TestConfig::default()).await;
    let pairs = [
        ("a", "b c"),
        ("a b", "c"),
        ("a", "3 b c"),
        ("a 3", "b c"),
        ("a b c", "d"),
        ("a b", "c d"),
        ("a", "b c d"),
    ];
    for (number, (source, id)) in (1..).zip(pairs) {
        let mut event = event(id, &json!({ "progress": 1 }));
        event["source"] = json!(source);
        for duplicate in [false, true] {
            let answer = post(&server, "application/cloudevents+json", &[], &event).await;
            let answer = answer.json();
            assert_eq!(answer["offset"], number, "{source:?} {id:?}: {answer}");
            assert_eq!(answer["duplicate"], duplicate, "{source:?} {id:?}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_by_name() {
    let server = TestServer::start(TestConfig::default()).await;
    let without = |field: &str| {
        let mut event = event("1", &json!({}));
        event.as_object_mut().unwrap().remove(field);
        event
    };
    let with = |field: &str, value: Value| {
        let mut event = event("1", &json!({}));
        event[field] = value;
        event
    };
    for (body, named) in [
        (without("id"), "`id`"),
        (without("source"), "`source`"),
        (without("type"), "`type`"),
        (with("specversion", json!("0.3")), "`specversion`"),
        (with("type", json!("Upper.Case")), "`type`"),
        (with("data", json!("text")), "`data`"),
        (with("data_base64", json!("AA==")), "`data_base64`"),
        (
            with("datacontenttype", json!("text/xml")),
            "`datacontenttype`",
        ),
        (with("id", json!("x".repeat(200))), "`id`"),
        (json!(7), "CloudEvent"),
    ] {
        let answer = post(&server, "application/cloudevents+json", &[], &body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.json()["code"], "invalid_event", "{body}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(named), "{body}: {detail}");
    }
    let missing = post(
        &server,
        "application/json",
        &[("ce-specversion", "1.0")],
        &json!({}),
    )
    .await;
    assert!(missing.text().contains("ce-id"), "{}", missing.text());
    server.stop().await;
}
