//! `--log-format json` writes one object per line, with ids, and never a secret.

#![cfg(unix)]

use std::fs;
use std::io::Write as _;

use crate::support::{Logs, connect, exchange, finish, tidings};

const SECRET: &str = "the secret of the tokens, of more than 32 bytes";

#[test]
fn requests_and_connections_can_be_followed_by_their_ids_and_no_secret_is_in_any_line() {
    follow(&[], true);
}

#[test]
fn no_secret_is_in_any_line_of_a_server_that_cannot_reach_redis() {
    // The server refuses connections, because it cannot know who is connected to other nodes.
    follow(&["--redis", "redis://ada:s3cr3t@127.0.0.1:1"], false);
}

fn follow(options: &[&str], connects: bool) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("secret");
    fs::write(&key, SECRET).unwrap();
    let words = [
        "token",
        "--subject",
        "ada",
        "--watch",
        "*",
        "--expires",
        "1h",
    ];
    let made = finish(tidings(&words).arg("--jwt-key").arg(&key));
    let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    // The most verbose log, with every secret that could leak.
    let mut command = tidings(&[
        "--listen",
        "127.0.0.1:0",
        "--log",
        "trace",
        "--log-format",
        "json",
        "--auth",
        "jwt",
        "--token-in-query",
    ]);
    let mut logs = Logs::start(command.args(options).arg("--jwt-key").arg(&key));
    let addr = logs.addr().to_owned();
    let bad = "bad.token.shown";
    for (path, header) in [
        (
            "/api/tasks/build-1".to_owned(),
            format!("Authorization: Bearer {token}"),
        ),
        (
            format!("/api/tasks/build-1?token={token}"),
            "X: y".to_owned(),
        ),
        (
            "/api/tasks/build-1".to_owned(),
            format!("Authorization: Bearer {bad}"),
        ),
        (format!("/api/tasks/build-1?token={bad}"), "X: y".to_owned()),
    ] {
        exchange(
            &addr,
            format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                 X-Request-Id: req-7\r\n{header}\r\n\r\n"
            )
            .as_bytes(),
        );
    }
    let line = logs.line("answered a request");
    assert_eq!(line["request_id"].as_str(), Some("req-7"), "{line}");
    assert!(
        line["timestamp"].is_string() && line["level"].is_string(),
        "{line}"
    );

    if connects {
        follow_connection(&mut logs, &addr, &token);
    }
    logs.signal("TERM");
    logs.line("\"stopped\"");
    let all = logs.all();
    for secret in [
        SECRET,
        "s3cr3t",
        token.as_str(),
        bad,
        token.rsplit('.').next().unwrap(),
    ] {
        let leak = all.iter().find(|line| line.contains(secret));
        assert!(leak.is_none(), "{leak:?}");
    }
    for line in &all {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

fn follow_connection(logs: &mut Logs, addr: &str, token: &str) {
    // The server waits for the client's close, and the test waits for the log lines about it.
    let mut stream = connect(addr);
    let request = format!(
        "GET /ws?client_id=laptop&token={token} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nX-Request-Id: req-8\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: tidings.v1, bearer.{token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let connected = logs.line("a client is connected");
    assert_eq!(
        connected["client_id"].as_str(),
        Some("laptop"),
        "{connected}"
    );
    assert_eq!(
        connected["span"]["request_id"].as_str(),
        Some("req-8"),
        "{connected}"
    );
    drop(stream);
    let gone = logs.line("a client is gone");
    assert_eq!(gone["client_id"].as_str(), Some("laptop"), "{gone}");
}

#[test]
fn other_formats_are_refused() {
    let text = finish(&mut tidings(&["--log-format", "xml"]));
    assert_eq!(text.status.code(), Some(64));
    assert!(
        String::from_utf8(text.stderr)
            .unwrap()
            .contains("text or json")
    );
}
