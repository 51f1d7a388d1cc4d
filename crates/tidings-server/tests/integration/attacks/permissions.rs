//! A client with a valid token for `build-*` tries to access other tasks.

use serde_json::json;

use crate::attacks::Attack;
use crate::attacks::target::{Target, good, owner, status};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "watching another's task, four ways",
        run: watching,
    },
    Attack {
        name: "reading another's history and state",
        run: reading,
    },
    Attack {
        name: "publishing to another's task, six ways",
        run: publishing,
    },
    Attack {
        name: "commanding another's task, four ways",
        run: commanding,
    },
    Attack {
        name: "removing a task, kicking, messages, metrics",
        run: administering,
    },
    Attack {
        name: "client-id takeover",
        run: takeover,
    },
    Attack {
        name: "WebSocket from a page of another origin",
        run: hijack,
    },
    Attack {
        name: "REST from a page of another origin",
        run: forgery,
    },
    Attack {
        name: "DNS rebinding (Host: evil.example)",
        run: rebinding,
    },
];

const EVENT: &str = r#"{"event_type":"own","data":{}}"#;

fn watching(target: &Target) -> String {
    let token = good();
    let made = target.http("POST", "/api/tasks/secret-1/events", &owner(), "", EVENT);
    assert_eq!(status(&made), 201);
    assert_eq!(
        target.ws("/ws/tasks/secret-1", &token, "").close_code(),
        4403
    );
    let mut ws = target.ws("/ws", &token, "");
    assert_eq!(
        ws.ask(json!({"type": "subscribe", "task_id": "secret-1", "since": "0"})),
        "forbidden"
    );
    assert_eq!(
        ws.ask(json!({"type": "subscribe", "pattern": "secret-*"})),
        "forbidden"
    );
    assert_eq!(
        ws.ask(json!({"type": "subscribe", "pattern": "*", "since": "0"})),
        "subscribed"
    );
    for task in ["secret-1", "secret-2", "build-1"] {
        let path = format!("/api/tasks/{task}/events");
        assert_eq!(
            status(&target.http("POST", &path, &owner(), "", EVENT)),
            201
        );
    }
    let first = ws.until("\"own\"").expect("an event of build-1");
    assert!(first.contains("build-1"), "{first}");
    let sse = "Accept: text/event-stream\r\n";
    let answer = target.http("GET", "/api/tasks/secret-1/events", &token, sse, "");
    assert_eq!(status(&answer), 403);
    "4403, forbidden, nothing of it, 403".to_owned()
}

fn reading(target: &Target) -> String {
    let token = good();
    for path in [
        "/api/tasks/secret-1",
        "/api/tasks/secret-1/events?since=0",
        "/api/tasks/none-1",
    ] {
        let answer = target.http("GET", path, &token, "", "");
        assert_eq!(status(&answer), 403, "{path}");
    }
    let list = target.http("GET", "/api/tasks", &token, "", "");
    assert!(
        list.contains("build-1") && !list.contains("secret"),
        "{list}"
    );
    "403, not in lists, existence not told".to_owned()
}

fn publishing(target: &Target) -> String {
    let token = good();
    let answer = target.http("POST", "/api/tasks/secret-1/events", &token, "", EVENT);
    assert_eq!(status(&answer), 403);
    let mut ws = target.ws("/ws", &token, "");
    let message =
        json!({"type": "publish", "task_id": "secret-1", "event_type": "own", "data": {}});
    assert_eq!(ws.ask(message), "forbidden");
    // As CloudEvents: in the body, in headers, and with a subject that names another task than the
    // path.
    let event = json!({"specversion": "1.0", "id": "asked", "source": "/x", "type": "own",
        "subject": "secret-1", "data": {}});
    for (headers, body) in [
        (
            "Content-Type: application/cloudevents+json\r\n",
            event.to_string(),
        ),
        (
            "Ce-Specversion: 1.0\r\nCe-Id: 1\r\nCe-Source: /x\r\nCe-Type: own\r\n\
             Content-Type: application/json\r\n",
            "{}".to_owned(),
        ),
    ] {
        let answer = target.http("POST", "/api/tasks/secret-1/events", &token, headers, &body);
        assert_eq!(status(&answer), 403, "{headers}");
    }
    for path in ["/ws", "/ws/tasks/build-1"] {
        let mut ws = target.ws(path, &token, "Sec-WebSocket-Protocol: cloudevents.json\r\n");
        assert!(ws.send(0x81, event.to_string().as_bytes()));
        let answer = ws.until("asked").expect("an answer");
        assert!(answer.contains("forbidden"), "{path}: {answer}");
    }
    "403 or forbidden at each".to_owned()
}

fn commanding(target: &Target) -> String {
    let token = good();
    let path = "/api/tasks/secret-1/commands";
    assert_eq!(
        status(&target.http("POST", path, &token, "", r#"{"command":"cancel"}"#)),
        403
    );
    let event = json!({"event_type": "command_requested",
        "data": {"command_id": "c", "command": "cancel", "by": "owner"}});
    let answer = target.http(
        "POST",
        "/api/tasks/secret-1/events",
        &token,
        "",
        &event.to_string(),
    );
    assert_eq!(status(&answer), 403);
    let mut ws = target.ws("/ws", &token, "");
    assert_eq!(
        ws.ask(json!({"type": "command", "task_id": "secret-1", "command": "cancel"})),
        "forbidden"
    );
    let mut message = event;
    message["type"] = json!("publish");
    message["task_id"] = json!("secret-1");
    assert_eq!(ws.ask(message), "forbidden");
    "403, 403, forbidden, forbidden".to_owned()
}

fn administering(target: &Target) -> String {
    let token = good();
    for (method, path) in [
        ("DELETE", "/api/tasks/build-1"),
        ("GET", "/api/connections"),
        ("DELETE", "/api/connections/x"),
        ("POST", "/api/connections/x/messages"),
        ("GET", "/api/stats"),
        ("GET", "/metrics"),
    ] {
        let answer = target.http(method, path, &token, "", "{}");
        assert_eq!(status(&answer), 403, "{method} {path}");
    }
    "403 at six routes".to_owned()
}

fn takeover(target: &Target) -> String {
    let mut victim = target.ws("/ws?client_id=laptop", &owner(), "");
    let hello = victim.until("resume_token").expect("a greeting");
    let hello: serde_json::Value = serde_json::from_str(&hello).unwrap();
    let resume = hello["data"]["resume_token"].as_str().unwrap();
    for path in [
        "/ws?client_id=laptop".to_owned(),
        "/ws?client_id=laptop&resume_token=00000000000000000000000000000000".to_owned(),
        format!("/ws?client_id=laptop&resume_token={resume}"),
    ] {
        let mut other = target.ws(&path, &good(), "");
        let hello = other.until("connection_established").expect("a greeting");
        assert!(!hello.contains("\"laptop\""), "an id of its own: {hello}");
    }
    // Even the subject itself needs more than its id and a wrong resume token.
    for query in ["", "&resume_token=00000000000000000000000000000000"] {
        let path = format!("/ws?client_id=laptop{query}");
        assert_eq!(target.ws(&path, &owner(), "").close_code(), 4403, "{path}");
    }
    assert_eq!(
        victim.ask(json!({"type": "ping"})),
        "pong",
        "the victim is there"
    );
    "another id, with the stolen proof too".to_owned()
}

fn hijack(target: &Target) -> String {
    for origin in [
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
    ] {
        let header = format!("Origin: {origin}\r\n");
        let code = target
            .ws("/ws/tasks/build-1", &good(), &header)
            .close_code();
        assert_eq!(code, 1008, "{origin}");
    }
    "closed 1008".to_owned()
}

fn forgery(target: &Target) -> String {
    let headers = "Origin: https://evil.example\r\nContent-Type: text/plain\r\n";
    for (method, path) in [("POST", "/api/tasks/build-1/events"), ("GET", "/api/tasks")] {
        let answer = target.http(method, path, &good(), headers, EVENT);
        assert_eq!(status(&answer), 403);
        assert!(
            !answer
                .to_lowercase()
                .contains("access-control-allow-origin")
        );
    }
    "403".to_owned()
}

fn rebinding(target: &Target) -> String {
    let token = good();
    let request = format!(
        "GET /api/tasks HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer {token}\r\n\
         Connection: close\r\n\r\n"
    );
    let answer = crate::attacks::target::exchange(target.addr(), request.as_bytes());
    assert_eq!(status(&answer), 421);
    "421".to_owned()
}
