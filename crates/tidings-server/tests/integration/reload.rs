//! SIGHUP makes the server read its file and keys again. The tests of `tidings-node` check what a
//! reload changes.

#![cfg(unix)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Logs, exchange, finish, tidings};
use serde_json::Value;

/// A server with a configuration file that the test rewrites, and its log.
struct Running {
    logs: Logs,
    folder: tempfile::TempDir,
}

impl Running {
    fn start(file: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tidings.toml");
        fs::write(&path, file).unwrap();
        fs::write(
            folder.path().join("secret"),
            "the first secret, of more than 32 bytes",
        )
        .unwrap();
        let mut command: Command = tidings(&["--listen", "127.0.0.1:0", "--log-format", "json"]);
        command
            .current_dir(folder.path())
            .arg("--config")
            .arg(&path)
            .args(more);
        let logs = Logs::start(&mut command);
        Self { logs, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes another file and waits until the server logs the result.
    fn reload(&mut self, file: &str) -> Value {
        fs::write(self.path("tidings.toml"), file).unwrap();
        self.logs.signal("HUP");
        self.logs.line("the configuration")
    }

    /// Returns the head of a response.
    fn ask(&self, path: &str, headers: &str) -> String {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
        exchange(self.logs.addr(), request.as_bytes())
    }
}

#[test]
fn origins_limits_and_the_log_change_while_it_runs() {
    let mut server = Running::start("client-message-rate = 1000000\n", &[]);
    let friend = "Origin: https://friend.example\r\n";
    assert!(server.ask("/api/tasks", friend).starts_with("HTTP/1.1 403"));
    let line = server.reload(
        "allow-origin = [\"https://friend.example\"]\nlog = \"debug\"\nclient-message-rate = 1\n",
    );
    assert_eq!(
        line["options"].as_str(),
        Some("log, allow-origin, client-message-rate"),
        "{line}"
    );
    let answer = server.ask("/api/tasks", friend);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("access-control-allow-origin: https://friend.example"),
        "{answer}"
    );
    server.logs.line("answered a request");
    let limited = (0..4).any(|_| server.ask("/api/tasks", "").starts_with("HTTP/1.1 429"));
    assert!(limited, "a new limit");
    server.reload("");
    assert!(server.ask("/api/tasks", "").starts_with("HTTP/1.1 200"));
    assert!(server.ask("/api/tasks", friend).starts_with("HTTP/1.1 403"));
}

#[test]
fn another_secret_is_in_force_and_the_old_one_is_not() {
    let mut server = Running::start("", &["--auth", "jwt", "--jwt-key", "secret"]);
    let token = |server: &Running| {
        let words = [
            "token",
            "--subject",
            "ada",
            "--watch",
            "*",
            "--expires",
            "1h",
        ];
        let made = finish(tidings(&words).arg("--jwt-key").arg(server.path("secret")));
        let text = String::from_utf8(made.stdout).unwrap();
        format!("Authorization: Bearer {}\r\n", text.trim())
    };
    let old = token(&server);
    assert!(server.ask("/api/tasks", &old).starts_with("HTTP/1.1 200"));
    fs::write(
        server.path("secret"),
        "the second secret, of more than 32 bytes",
    )
    .unwrap();
    let new = token(&server);
    assert!(server.ask("/api/tasks", &new).starts_with("HTTP/1.1 401"));
    server.reload("");
    assert!(server.ask("/api/tasks", &new).starts_with("HTTP/1.1 200"));
    assert!(server.ask("/api/tasks", &old).starts_with("HTTP/1.1 401"));
}
