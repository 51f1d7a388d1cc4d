//! Tokens and keys: one command creates them, and another requires them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use crate::support::{DEADLINE, Server, finish, refusal, tidings};

fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

/// Returns the output of a command that must succeed.
fn printed(arguments: &[&str]) -> String {
    let output = finish(&mut tidings(arguments));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Sends a request, and reads until the response contains `until` or ends.
fn ask(addr: &str, request: &str, until: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while !String::from_utf8_lossy(&answer).contains(until) {
        match stream.read(&mut part).unwrap() {
            0 => break,
            count => answer.extend_from_slice(&part[..count]),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn rest(addr: &str, method: &str, path: &str, token: &str, body: &str) -> String {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    ask(addr, &request, "\u{0}")
}

fn stream(addr: &str, path: &str, token: &str, until: &str) -> String {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer {token}\r\n\
         Accept: text/event-stream\r\n\r\n"
    );
    ask(addr, &request, until)
}

fn websocket(addr: &str, path: &str, token: &str, until: &str) -> String {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: tidings.v1, bearer.{token}\r\n\r\n"
    );
    ask(addr, &request, until)
}

#[test]
fn a_token_opens_what_it_names_and_nothing_else_by_every_way() {
    let key = file("hs256.key", "a secret of more than 32 bytes, for tests\n");
    let key = key.to_str().unwrap();
    let made = printed(&[
        "token",
        "--jwt-key",
        key,
        "--watch",
        "build-*",
        "--expires",
        "1h",
    ]);
    let token = made.strip_suffix('\n').unwrap();
    assert_eq!(
        token.split('.').count(),
        3,
        "alone on standard output: {made}"
    );
    let server = Server::start(&mut tidings(&[
        "--listen",
        "127.0.0.1:0",
        "--auth",
        "jwt",
        "--jwt-key",
        key,
    ]));
    let addr = server.addr();
    let greeting = "connection_established";
    assert!(websocket(addr, "/ws/tasks/build-1", token, greeting).contains(greeting));
    let refused = websocket(addr, "/ws/tasks/secret-1", token, "going_away");
    assert!(refused.contains("\"forbidden\""), "{refused}");
    assert!(stream(addr, "/api/tasks/build-1/events", token, greeting).contains(greeting));
    let refused = stream(addr, "/api/tasks/secret-1/events", token, "forbidden");
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    for (path, status) in [
        ("/api/tasks/build-1", "404"),
        ("/api/tasks/secret-1", "403"),
        ("/api/tasks", "200"),
        ("/metrics", "403"),
    ] {
        let answer = rest(addr, "GET", path, token, "");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{path}: {answer}"
        );
    }
    let answer = rest(addr, "GET", "/api/tasks", "guess", "");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

/// `tidings run` gives the token's file to a script, and to the script's children.
#[test]
fn a_token_comes_from_a_file_with_whatever_editors_add_to_it() {
    let key = file("file.key", "a secret of more than 32 bytes, for tests\n");
    let key = key.to_str().unwrap();
    let made = printed(&["token", "--jwt-key", key, "--watch", "*", "--publish", "*"]);
    let server = Server::start(&mut tidings(&[
        "--listen",
        "127.0.0.1:0",
        "--auth",
        "jwt",
        "--jwt-key",
        key,
    ]));
    let url = format!("http://{}", server.addr());
    let token = made.trim();
    for (number, text) in [
        token.to_owned(),
        format!("{token}\n"),
        format!("\u{feff}{token}\r\n"),
        format!(" {token} \n\n"),
    ]
    .iter()
    .enumerate()
    {
        let path = file(&format!("token-{number}"), text);
        let words = ["publish", "a", "log", "message=x", "--url", &url];
        let output = finish(tidings(&words).arg("--token-file").arg(&path));
        assert_eq!(output.status.code(), Some(0), "{text:?} {output:?}");
        let output = finish(tidings(&words).env("TIDINGS_TOKEN_FILE", &path));
        assert_eq!(output.status.code(), Some(0), "{text:?} {output:?}");
        let output = finish(tidings(&words).env("TIDINGS_TOKEN", text));
        assert_eq!(output.status.code(), Some(0), "{text:?} {output:?}");
        let words = [
            "bench",
            "--connections",
            "1",
            "--duration",
            "20ms",
            "--url",
            &url,
        ];
        let output = finish(tidings(&words).arg("--token-file").arg(&path));
        assert_eq!(output.status.code(), Some(0), "{text:?} {output:?}");
    }
    let script = format!(
        "{} publish progress=40 >/dev/null",
        env!("CARGO_BIN_EXE_tidings")
    );
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let words = [
        "run",
        "-q",
        "--task",
        "job",
        "--url",
        &url,
        "--token-file",
        "token-1",
    ];
    let mut run = tidings(&words);
    run.args(["--", "sh", "-c", &format!("cd / && {script}")])
        .current_dir(folder);
    let output = finish(&mut run);
    #[cfg(unix)]
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_token_that_is_no_use_has_a_code_of_its_own() {
    let key = file("code.key", "a secret of more than 32 bytes, for tests\n");
    let key = key.to_str().unwrap();
    let watch_only = printed(&["token", "--jwt-key", key, "--watch", "build-*"]);
    let server = Server::start(&mut tidings(&[
        "--listen",
        "127.0.0.1:0",
        "--auth",
        "jwt",
        "--jwt-key",
        key,
    ]));
    let url = format!("http://{}", server.addr());
    for arguments in [
        &["watch", "secret", "--until-end"][..],
        &["wait", "secret"],
        &["tasks"],
        &["get", "build-1"],
        &["publish", "build-1", "log", "message=x"],
        &["command", "build-1", "cancel"],
        &["rm", "build-1"],
        &["connections"],
        &["kick", "a"],
        &["logs", "secret"],
        &["bench", "--connections", "1", "--duration", "20ms"],
    ] {
        let mut command = tidings(arguments);
        command.args(["--url", &url]);
        let none = refusal(&mut command, 77);
        assert!(!none.is_empty(), "{arguments:?}");
        if matches!(arguments, ["tasks" | "get" | "bench", ..]) {
            continue;
        }
        let mut command = tidings(arguments);
        command
            .args(["--url", &url])
            .env("TIDINGS_TOKEN", watch_only.trim());
        refusal(&mut command, 77);
    }
    let empty = file("empty-token", "\n");
    let mut command = tidings(&["tasks", "--token-file"]);
    assert!(refusal(command.arg(&empty), 64).contains("holds no token"));
    let mut command = tidings(&["tasks", "--token-file", "/nowhere/token"]);
    assert!(refusal(&mut command, 66).contains("/nowhere/token"));
}

#[test]
fn a_token_is_explained() {
    let key = file("explain.key", "a secret of more than 32 bytes, for tests\n");
    let other = file(
        "explain-other.key",
        "another secret of more than 32 bytes\n",
    );
    let made = printed(&[
        "token",
        "--jwt-key",
        key.to_str().unwrap(),
        "--watch",
        "a-*,b",
        "--admin",
        "*",
        "--subject",
        "ada",
        "--expires",
        "2h",
    ]);
    let token = made.trim();
    let said = printed(&["token", "--explain", token]);
    for expected in [
        "subject    \"ada\"",
        "watch      a-*, b",
        "publish    nothing",
        "admin      *",
        "valid for another 1h 59m",
        "not checked",
        "HS256",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    for (key, expected) in [
        (&key, "good"),
        (&other, "refuses it: the token is not valid"),
    ] {
        let said = printed(&[
            "token",
            "--explain",
            token,
            "--jwt-key",
            key.to_str().unwrap(),
        ]);
        assert!(said.contains(expected), "{said}");
    }
    assert!(
        refusal(&mut tidings(&["token", "--explain", "guess"]), 64)
            .contains("not a JSON Web Token")
    );
    assert!(refusal(&mut tidings(&["token", "--watch", "x"]), 64).contains("--jwt-key"));
    let missing = refusal(&mut tidings(&["token", "--jwt-key", "/nowhere/key"]), 66);
    assert!(missing.contains("/nowhere/key"), "{missing}");
    let wrong = finish(&mut tidings(&["token", "--jwt-key", "k", "--watch", "a b"]));
    assert_eq!(wrong.status.code(), Some(64));
}

#[test]
fn a_key_is_made_and_taken_and_withdrawn() {
    let keys = file("keys.toml", "# our keys\n");
    let path = keys.to_str().unwrap();
    let make = |subject: &str| {
        let made = printed(&[
            "token",
            "--api-keys",
            path,
            "--subject",
            subject,
            "--publish",
            "build-*",
        ]);
        made.trim().to_owned()
    };
    let (ci, other) = (make("ci"), make("other"));
    let text = fs::read_to_string(&keys).unwrap();
    assert!(
        text.starts_with("# our keys\n") && !text.contains(&ci),
        "{text}"
    );
    let server = Server::start(&mut tidings(&[
        "--listen",
        "127.0.0.1:0",
        "--auth=keys",
        "--api-keys",
        path,
    ]));
    let event = r#"{"event_type":"log","data":{"message":"x"}}"#;
    let publish = |path: &str, key: &str| {
        let answer = rest(server.addr(), "POST", path, key, event);
        answer["HTTP/1.1 ".len()..][..3].to_owned()
    };
    for key in [&ci, &other] {
        assert_eq!(publish("/api/tasks/build-1/events", key), "201");
        assert_eq!(publish("/api/tasks/secret-1/events", key), "403");
    }
    assert_eq!(publish("/api/tasks/build-1/events", "tdk_guess"), "401");
    // Remove all entries but the first.
    let end = text.rfind("\n[[key]]").unwrap();
    fs::write(&keys, &text[..end]).unwrap();
    let deadline = std::time::Instant::now() + DEADLINE;
    while publish("/api/tasks/build-1/events", &other) != "401" {
        assert!(
            std::time::Instant::now() < deadline,
            "the key is still taken"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(publish("/api/tasks/build-1/events", &ci), "201");
}

#[test]
fn nobody_listens_to_strangers_by_mistake() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let stderr = refusal(&mut tidings(&["serve", "--listen", listen]), 64);
        for expected in [
            "--auth jwt",
            "--allow-anonymous",
            "127.0.0.1",
            "tidings token",
        ] {
            assert!(stderr.contains(expected), "{stderr}");
        }
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let empty = file("empty.key", "\n");
    let empty = empty.to_str().unwrap();
    let short = file("short.key", "guess me\n");
    let short = short.to_str().unwrap();
    let public = file(
        "public.key",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n",
    );
    let public = public.to_str().unwrap();
    for (arguments, expected) in [
        (&["--auth", "jwt"][..], "--jwt-key"),
        (&["--auth", "keys"], "--api-keys"),
        (&["--jwt-key", "k"], "--auth jwt"),
        (&["--api-keys", "k"], "--auth keys"),
        (
            &["--auth", "jwt", "--jwt-key", "k", "--allow-anonymous"],
            "choose one",
        ),
        (
            &[
                "--auth",
                "jwt",
                "--jwt-algorithm",
                "ES256",
                "--jwt-key",
                "http://id.example/k",
            ],
            "https://",
        ),
        (&["--auth", "jwt", "--jwt-key", empty], "empty"),
        (&["--auth", "jwt", "--jwt-key", short], "32 random bytes"),
        (&["--auth", "jwt", "--jwt-key", public], "--jwt-algorithm"),
        (
            &["--auth", "jwt", "--jwt-key", "https://id.example/k"],
            "--jwt-algorithm",
        ),
        (
            &[
                "--auth",
                "jwt",
                "--jwt-key",
                empty,
                "--jwt-algorithm",
                "RS256",
            ],
            "RSA public key",
        ),
    ] {
        let stderr = refusal(tidings(arguments).args(["--listen", "127.0.0.1:0"]), 64);
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    }
}
