//! The commands `logs`, `get`, `wait`, `rm`, `connections`, `kick` and `send`.

use std::process::{Child, Output, Stdio};

use crate::support::{Server, finish, lines, tidings};
use serde_json::{Value, json};

struct World {
    _server: Server,
    url: String,
}

impl World {
    fn start() -> Self {
        Self::with(&[])
    }

    fn with(options: &[&str]) -> Self {
        let mut server = tidings(&["--listen", "127.0.0.1:0", "--log", "error"]);
        let server = Server::start(server.args(["--max-events", "5000"]).args(options));
        let url = format!("http://{}", server.addr());
        Self {
            _server: server,
            url,
        }
    }

    fn client(&self, arguments: &[&str]) -> Output {
        finish(tidings(arguments).env("TIDINGS_URL", &self.url))
    }

    fn text(&self, arguments: &[&str]) -> String {
        let output = self.client(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?} {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn log(&self, task: &str, data: &Value) {
        self.text(&["publish", task, "log", &data.to_string()]);
    }

    /// Starts a command whose lines are read one by one.
    fn background(&self, arguments: &[&str]) -> (Child, std::sync::mpsc::Receiver<String>) {
        let mut command = tidings(arguments);
        command.env("TIDINGS_URL", &self.url).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let lines = lines(child.stdout.take().unwrap());
        (child, lines)
    }

    fn start_task(&self, task: &str) {
        self.text(&["publish", task, "task_started", "name=It"]);
    }
}

fn line(lines: &std::sync::mpsc::Receiver<String>) -> String {
    lines
        .recv_timeout(crate::support::DEADLINE)
        .expect("a line")
}

#[test]
fn the_whole_history_is_printed_as_it_was_written() {
    let world = World::start();
    let script = "i=0; while [ $i -lt 3000 ]; do echo \"line $i\"; i=$((i+1)); done; \
                  printf 'a\\tb\\n\\n'; echo error >&2; printf '%s\\n' \"$(printf 'y%.0s' $(seq 20000))\"";
    let mut run = tidings(&[
        "run", "-q", "--task", "job", "--linger", "60s", "sh", "-c", script,
    ]);
    let output = finish(run.env("TIDINGS_URL", &world.url));
    assert_eq!(
        world
            .text(&["logs", "job", "--stream", "stdout"])
            .as_bytes(),
        output.stdout
    );
    assert_eq!(
        world.text(&["logs", "job", "--stream", "stderr"]),
        "error\n"
    );
    // With `--follow`, an ended task is shown completely, and ends the command.
    assert_eq!(
        world
            .text(&["logs", "job", "-f", "--stream", "stdout"])
            .as_bytes(),
        output.stdout
    );
    let tail = world.text(&["logs", "job", "--tail", "3", "--stream", "stdout"]);
    assert_eq!(tail, format!("a\tb\n\n{}\n", "y".repeat(20_000)));
    assert_eq!(world.text(&["logs", "job", "--tail", "0"]), "");
}

#[test]
fn more_than_a_page_is_told_in_order_and_what_is_missing_is_named() {
    let world = World::start();
    let input: String = (0..6_000)
        .map(|number| {
            let data = json!({"message": format!("line {number}")});
            json!({"event_type": "log", "data": data}).to_string() + "\n"
        })
        .collect();
    let mut publish = tidings(&["publish", "many"]);
    publish
        .env("TIDINGS_URL", &world.url)
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let mut child = publish.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, input.as_bytes()).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    let output = world.client(&["logs", "many"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let first = text.lines().next().unwrap();
    let first: usize = first.strip_prefix("line ").unwrap().parse().unwrap();
    assert!(first > 0 && first <= 5_000, "{first}");
    assert!(
        stderr.contains(&format!("events 1 to {first} are missing")),
        "{stderr}"
    );
    let expected: String = (first..6_000)
        .map(|number| format!("line {number}\n"))
        .collect();
    assert!(text == expected, "{} lines", text.lines().count());
}

#[test]
fn a_server_without_time_is_waited_for() {
    let world = World::with(&["--client-work-rate", "2000", "--max-task-bytes", "10MiB"]);
    let mut publish = tidings(&["publish", "many"]);
    let publish = publish.env("TIDINGS_URL", &world.url).stdin(Stdio::piped());
    let mut child = publish.stdout(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let line = json!({"event_type": "log", "data": {"message": "line"}}).to_string() + "\n";
    std::io::Write::write_all(&mut stdin, line.repeat(4_500).as_bytes()).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert_eq!(world.text(&["logs", "many"]), "line\n".repeat(4_500));
}

#[test]
fn what_comes_is_followed_until_the_task_has_ended() {
    let world = World::start();
    let (mut child, lines) = world.background(&["logs", "later", "-f", "--timestamps"]);
    // The task does not exist yet.
    world.start_task("later");
    world.log(
        "later",
        &json!({"message": "one\ntwo", "time": "2026-11-23T04:45:00.000Z"}),
    );
    assert_eq!(line(&lines), "2026-11-23T04:45:00.000Z one");
    assert_eq!(line(&lines), "2026-11-23T04:45:00.000Z two");
    world.log("later", &json!({"message": "\u{1b}[2Jevil"}));
    assert!(line(&lines).ends_with(" ·[2Jevil"));
    world.text(&["publish", "later", "task_completed"]);
    assert!(child.wait().unwrap().success());
}

#[test]
fn only_newer_lines_of_a_stream_are_chosen() {
    let world = World::start();
    world.log(
        "job",
        &json!({"message": "old", "time": "2020-01-01T00:00:00.000Z"}),
    );
    world.log("job", &json!({"message": "new"}));
    world.log("job", &json!({"message": "bad", "stream": "stderr"}));
    assert_eq!(world.text(&["logs", "job", "--since", "1h"]), "new\nbad\n");
    assert_eq!(
        world.text(&["logs", "job", "--since", "2019-12-31T00:00:00Z"]),
        "old\nnew\nbad\n"
    );
    assert_eq!(world.text(&["logs", "job", "--stream", "stderr"]), "bad\n");
    let json = world.text(&["logs", "job", "--tail", "1", "-o", "json"]);
    let event: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(event["data"]["message"], "bad");
    let words = json!({"output_id": "answer", "text": "Hel"});
    world.text(&["publish", "job", "output_delta", &words.to_string()]);
    let words = json!({"output_id": "answer", "text": "lo"});
    world.text(&["publish", "job", "output_delta", &words.to_string()]);
    assert_eq!(
        world.text(&["logs", "job", "--stream", "output"]),
        "Hello\n"
    );
}

#[test]
fn a_task_that_is_not_there_is_named_with_a_code_of_its_own() {
    let world = World::start();
    for arguments in [
        &["get", "nobody"][..],
        &["logs", "nobody"],
        &["rm", "nobody"],
        &["rm", "nobody*"],
        &["wait", "nobody", "--must-exist"],
        &["wait", "nobody", "--timeout", "300ms"],
        &["watch", "nobody", "--must-exist"],
        &["watch", "nobody*", "--must-exist"],
        &["watch", "nobody", "--until-end", "--timeout", "300ms"],
        &["command", "nobody", "cancel"],
        &["kick", "nobody"],
        &["send", "nobody", "notice"],
    ] {
        let output = world.client(arguments);
        assert_eq!(output.status.code(), Some(66), "{arguments:?} {output:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("nobody"), "{arguments:?} {stderr}");
    }
}

#[test]
fn a_task_that_is_removed_while_it_is_waited_for_has_an_end_of_its_own() {
    let world = World::start();
    for arguments in [
        &["watch", "d", "--until-end"][..],
        &["watch", "d", "--until-end", "--json"],
        &["watch", "d*", "--until-end"],
        &["wait", "d"],
        &["wait", "d*", "-o", "json"],
        &["logs", "d", "-f"],
        &["logs", "d", "-f", "--tail", "5", "-o", "json"],
        &["command", "d", "dance"],
        &["command", "d", "dance", "-o", "json"],
    ] {
        world.start_task("d");
        let (mut child, lines) = world.background(arguments);
        // A waiting command prints nothing before the end. It is connected when it watches.
        while !world
            .text(&["connections", "-o", "json"])
            .lines()
            .any(|line| {
                let client: Value = serde_json::from_str(line).unwrap();
                client["subscriptions"][0]["task_id"] == "d" || client["patterns"][0] == "d*"
            })
        {}
        if arguments[0] == "command" {
            // The command waits for its answer only after the server has taken it.
            assert!(line(&lines).contains("requested"));
        }
        assert_eq!(world.text(&["rm", "d"]), "d removed\n");
        let code = child.wait().unwrap().code();
        let told: Vec<String> = lines.iter().collect();
        assert_eq!(code, Some(4), "{arguments:?} {told:?}");
        // `logs` prints only what the task has put out.
        if arguments[0] != "logs" {
            assert!(
                told.last().unwrap().contains("removed"),
                "{arguments:?} {told:?}"
            );
        }
    }
}

#[test]
fn a_task_that_does_not_end_in_time_is_named() {
    let world = World::start();
    world.start_task("slow");
    for command in [&["wait"][..], &["watch", "--until-end"]] {
        let arguments = [command, &["slow", "--timeout", "300ms"]].concat();
        let output = world.client(&arguments);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            stderr.contains("slow has not ended within 300ms"),
            "{stderr}"
        );
    }
    // While the server is unreachable, nothing is known about a task.
    let away = [
        "wait",
        "slow",
        "--timeout",
        "300ms",
        "--url",
        "http://127.0.0.1:1",
    ];
    assert_eq!(finish(&mut tidings(&away)).status.code(), Some(69));
}

#[test]
fn each_end_is_told_once_and_the_code_is_the_worst() {
    let world = World::start();
    for (task, event, data) in [
        ("end-1", "task_completed", "result=good"),
        ("end-2", "task_cancelled", "reason=enough"),
        ("end-3", "task_failed", "error=broken"),
    ] {
        world.start_task(task);
        world.text(&["publish", task, event, data]);
    }
    let output = world.client(&["wait", "end-1", "end-*"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut told: Vec<_> = text.lines().collect();
    told.sort_unstable();
    assert_eq!(told.len(), 3, "{text}");
    assert!(
        told[1].contains("cancelled") && told[1].ends_with(": enough"),
        "{text}"
    );
    assert!(told[2].ends_with(": broken"), "{text}");
    let json = world.text(&["wait", "end-1", "-o", "json"]);
    let end: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        end,
        json!({"task_id": "end-1", "status": "completed", "result": "good", "error": null})
    );
}

#[test]
fn a_pattern_removes_all_that_match_and_nothing_else() {
    let world = World::start();
    for task in ["bench-1", "bench-2", "build-1"] {
        world.start_task(task);
    }
    assert_eq!(
        world.text(&["rm", "bench-*"]),
        "bench-1 removed\nbench-2 removed\n"
    );
    let left = world.text(&["tasks", "--json"]);
    assert_eq!(left.lines().count(), 1);
    let described = world.text(&["get", "build-1"]);
    assert!(
        described.starts_with("task        build-1\n"),
        "{described}"
    );
    assert!(described.contains("status      running\n"), "{described}");
}

#[test]
fn a_client_is_listed_gets_a_message_and_is_kicked() {
    let world = World::start();
    world.start_task("job");
    let (mut child, lines) = world.background(&["watch", "job", "--json"]);
    line(&lines);
    let listed = world.text(&["connections", "--task", "job", "-o", "json"]);
    assert_eq!(listed.lines().count(), 1, "{listed}");
    let client: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(client["subscriptions"][0]["task_id"], "job");
    let id = client["client_id"].as_str().unwrap();
    let table = world.text(&["connections"]);
    assert!(table.starts_with("CLIENT") && table.contains(id), "{table}");
    assert_eq!(
        world.text(&["send", id, "notice", "text=hi", "n:=5"]),
        "1\n"
    );
    assert_eq!(world.text(&["kick", id]), format!("{id} kicked\n"));
    assert_eq!(child.wait().unwrap().code(), Some(69));
}

/// Returns what a command shows in a terminal of this width.
#[cfg(unix)]
fn shown(world: &World, columns: u16, arguments: &[&str], no_color: bool) -> String {
    let (pty, pts) = pty_process::blocking::open().unwrap();
    pty.resize(pty_process::Size::new(24, columns)).unwrap();
    let mut command = pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(arguments)
        .env("TIDINGS_URL", &world.url)
        .env("TERM", "xterm-256color");
    command = match no_color {
        true => command.env("NO_COLOR", "1"),
        false => command.env_remove("NO_COLOR"),
    };
    terminal(&pty, command.spawn(pts).unwrap())
}

/// Returns all that a command shows in its terminal.
#[cfg(unix)]
fn terminal(pty: &pty_process::blocking::Pty, mut child: Child) -> String {
    let mut bytes = Vec::new();
    // A terminal whose last process has ended returns EIO.
    let _ = std::io::Read::read_to_end(&mut &*pty, &mut bytes);
    child.wait().unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(unix)]
#[test]
fn a_watch_shows_the_task_in_every_terminal() {
    let world = World::start();
    world.start_task("job");
    world.text(&["publish", "job", "task_failed", "error=disk full"]);
    for (term, stderr, bars) in [
        (Some("xterm"), true, true),
        (Some("xterm"), false, true),
        (Some("dumb"), true, false),
        (None, true, false),
    ] {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        let mut command = pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(["watch", "job", "--until-end", "--url", &world.url]);
        command = match term {
            Some(term) => command.env("TERM", term),
            None => command.env_remove("TERM"),
        };
        if !stderr {
            command = command.stderr(Stdio::null());
        }
        let shown = terminal(&pty, command.spawn(pts).unwrap());
        let expected = if bars {
            "✗ job failed"
        } else {
            "job is failed"
        };
        assert!(shown.contains(expected), "{term:?} {stderr} {shown:?}");
        assert!(shown.contains("disk full"), "{term:?} {stderr} {shown:?}");
        assert_eq!(shown.contains('\u{1b}'), bars, "{term:?} {shown:?}");
    }
}

#[cfg(unix)]
#[test]
fn rows_fit_the_terminal_and_colours_can_be_turned_off() {
    let world = World::start();
    world.start_task("job");
    let message = format!("message={}", "a long message ".repeat(20));
    world.text(&["publish", "job", "progress_update", "progress=5", &message]);
    let table = shown(&world, 60, &["tasks"], false);
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(
        table.lines().all(|line| line.chars().count() <= 60),
        "{table}"
    );
    assert!(table.contains('…'), "{table}");
    // Lines are not cut in a pipe.
    assert!(
        world
            .text(&["tasks"])
            .contains(&"a long message ".repeat(19))
    );
    // `wait` for a task with a child: the bars of both tasks are below each other.
    world.text(&[
        "publish",
        "sub",
        "task_started",
        "parent_task_id=job",
        "name=Sub",
    ]);
    let watch = ["watch", "sub", "job", "--until-end", "--timeout", "1s"];
    let bars = shown(&world, 100, &watch, false);
    assert!(bars.contains("└ sub"), "{bars:?}");
    assert!(bars.contains("\u{1b}[36m"), "{bars:?}");
    let plain = shown(&world, 100, &watch, true);
    assert!(
        plain.contains("└ sub") && !plain.contains("\u{1b}[36m"),
        "{plain:?}"
    );
}
