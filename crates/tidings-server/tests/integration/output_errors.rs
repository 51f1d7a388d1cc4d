//! Commands whose output cannot be written, and data that contains terminal control characters.

#![cfg(target_os = "linux")]

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use crate::support::{Server, finish, tidings};

/// Starts a server with one task that has ended.
fn server() -> (Server, String) {
    let server = Server::start(&mut tidings(&["--listen", "127.0.0.1:0", "--log", "error"]));
    let url = format!("http://{}", server.addr());
    (server, url)
}

/// Publishes an event with this JSON as its data.
fn publish(url: &str, task: &str, event_type: &str, data: &str) {
    let arguments = ["publish", "--url", url, task, event_type, data];
    let output = finish(&mut tidings(&arguments));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// Runs a command whose standard output is full. Returns its exit code and its error output.
fn into_full(mut command: Command) -> (Option<i32>, String) {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    command.stdout(full).stderr(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), stderr)
}

#[test]
fn output_that_cannot_be_written_is_told_and_shows_in_the_code() {
    let (_server, url) = server();
    publish(&url, "done", "task_started", "{}");
    publish(&url, "done", "task_completed", "{}");
    for arguments in [
        &["tasks"][..],
        &["tasks", "--json"],
        &["watch", "done", "--json", "--until-end"],
        &["watch", "done", "--until-end"],
        &["publish", "a", "log", "message=a"],
        &["command", "done", "cancel", "--no-wait"],
        &["bench", "--connections", "1", "--duration", "10ms"],
        &["completions", "bash"],
        &["man"],
        &["run", "--task", "a", "--", "echo", "hi"],
        &["run", "--task", "b", "--pty", "always", "--", "echo", "hi"],
        &["--help"],
        &["watch", "--help"],
        &["--version"],
        &["check-config"],
    ] {
        let mut command = tidings(arguments);
        if !matches!(arguments[0], "--help" | "--version" | "check-config") {
            command.env("TIDINGS_URL", &url);
        }
        let (code, stderr) = into_full(command);
        assert_eq!(code, Some(74), "{arguments:?} {stderr}");
        assert!(
            stderr.contains("standard output") && stderr.contains("No space left"),
            "{arguments:?} {stderr}"
        );
    }
}

#[test]
fn a_pipe_that_nobody_reads_any_more_is_no_failure() {
    let (_server, url) = server();
    publish(&url, "done", "task_completed", "{}");
    for arguments in [
        &["tasks"][..],
        &["watch", "done", "--json", "--until-end"],
        &["publish", "a", "log", "message=a"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
    ] {
        let mut command = tidings(arguments);
        if arguments[0] != "--help" {
            command.env("TIDINGS_URL", &url);
        }
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        command.stdout(writer).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{arguments:?} {output:?}");
    }
}

#[test]
fn data_cannot_control_a_terminal() {
    let (_server, url) = server();
    // Clears the screen with C0 and C1 codes, hides text with DEL, and reverses the direction.
    let evil = r"\u001b[2J\u009b2J\u007f\u202e\r\n\u0007end";
    let text = |key: &str| format!(r#"{{"{key}":"{evil}"}}"#);
    publish(&url, "evil", "task_started", &text("name"));
    let message = text("message").replace('{', "{\"progress\":1,");
    publish(&url, "evil", "progress_update", &message);
    publish(&url, "evil", "log", &text("message"));
    publish(&url, "evil", "x.own", &text("anything"));
    publish(&url, "evil", "task_failed", &text("error"));
    for arguments in [
        &["tasks"][..],
        &["tasks", "--json"],
        &["watch", "evil", "--since", "0", "--until-end"],
        &["watch", "evil", "--since", "0", "--until-end", "--json"],
    ] {
        let output = finish(tidings(arguments).env("TIDINGS_URL", &url));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("end"), "{arguments:?} {text:?}");
        let harmful = |c: &char| (c.is_control() && *c != '\n') || *c == '\u{202e}';
        let found: Vec<char> = text.chars().filter(harmful).collect();
        // JSON output keeps the direction marks, because it is for programs.
        let found: Vec<_> = if arguments.contains(&"--json") {
            found.into_iter().filter(|c| c.is_control()).collect()
        } else {
            found
        };
        assert!(found.is_empty(), "{arguments:?} {found:?} in {text:?}");
    }
}

#[test]
fn what_a_task_says_to_a_command_cannot_control_a_terminal() {
    let (_server, url) = server();
    publish(&url, "job", "task_started", "{}");
    let mut asking = tidings(&["command", "job", "dance", "--url", &url]);
    asking.stdout(Stdio::piped()).stderr(Stdio::piped());
    let asking = asking.spawn().unwrap();
    // The command is pending as soon as the server has received it.
    let id = loop {
        let output = finish(tidings(&["tasks", "--json"]).env("TIDINGS_URL", &url));
        let task: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        if let Some(id) = task["pending_commands"][0]["command_id"].as_str() {
            break id.to_owned();
        }
    };
    let data = format!(r#"{{"command_id":"{id}","reason":"\u001b[2J\u009bno"}}"#);
    publish(&url, "job", "command_rejected", &data);
    let output = asking.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("rejected: ·[2J·no\n"), "{text:?}");
}
