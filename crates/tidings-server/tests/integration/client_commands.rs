//! The commands `watch`, `publish`, `tasks`, `command`, `completions` and `man`.

use std::io::Write;
use std::process::{Output, Stdio};

use crate::support::{DEADLINE, Server, finish, lines, refusal, tidings};
use serde_json::Value;

struct Running {
    _server: Server,
    url: String,
}

impl Running {
    fn start() -> Self {
        let server = Server::start(&mut tidings(&["--listen", "127.0.0.1:0", "--log", "error"]));
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
}

#[test]
fn an_event_is_published_and_its_place_printed() {
    let server = Running::start();
    let words = [
        "publish",
        "build-1",
        "progress_update",
        "progress=40",
        "message=linking it",
    ];
    let place = server.text(&words);
    assert!(place.trim_end().ends_with(":1"), "{place}");
    let json = [
        "publish",
        "build-1",
        "log",
        r#"{"message":"two"}"#,
        "--event-id",
        "two",
    ];
    let place = server.text(&json);
    assert!(server.text(&json).contains("was there already"));
    assert!(place.trim_end().ends_with(":2"), "{place}");
    let lines = server.text(&["tasks"]);
    assert!(lines.contains("build-1") && lines.contains("40 %") && lines.contains("linking it"));
}

#[test]
fn lines_of_standard_input_are_published_in_order() {
    let server = Running::start();
    let publish = |input: &str| {
        let mut command = tidings(&["publish", "build-1"]);
        command
            .env("TIDINGS_URL", &server.url)
            .stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    };
    let lines: String = (0..600)
        .map(|number| format!("{{\"event_type\":\"count\",\"data\":{{\"number\":{number}}}}}\n\n"))
        .collect();
    let output = publish(&lines);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().lines().count(),
        600
    );
    let good = "{\"event_type\":\"count\"}\n".repeat(50);
    let output = publish(&format!("{good}not json\n{good}"));
    assert_eq!(output.status.code(), Some(65));
    // The valid lines before it are published, and the command says so.
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(told.lines().count(), 50);
    assert!(told.trim_end().ends_with(":650"), "{told}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("line 51"), "{stderr}");
    let snapshot = server.text(&["get", "build-1", "--json"]);
    let snapshot: Value = serde_json::from_str(&snapshot).unwrap();
    assert_eq!(snapshot["offset"], 650);
    // The error also names a line that the server refuses.
    let end = "{\"event_type\":\"task_completed\"}\n";
    let output = publish(&format!(
        "{end}{{\"event_type\":\"progress_update\",\"data\":{{\"progress\":1}}}}\n"
    ));
    assert_eq!(output.status.code(), Some(76));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("line 2") && stderr.contains("invalid_transition"),
        "{stderr}"
    );
    let output = publish("{\"event_type\":\"count\"}\n{\"data\":{}}\n");
    assert_eq!(output.status.code(), Some(65));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("line 2") && stderr.contains("event_type"),
        "{stderr}"
    );
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    let server = Running::start();
    server.text(&["publish", "done", "task_completed"]);
    let output = server.client(&["publish", "done", "progress_update", "progress=1"]);
    assert_eq!(output.status.code(), Some(76));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("invalid_transition"), "{stderr}");
}

#[test]
fn the_outcome_of_a_task_is_the_exit_code_of_a_watch() {
    let server = Running::start();
    for (task, event, code) in [
        ("end-1", "task_completed", 0),
        ("end-2", "task_cancelled", 2),
        ("end-3", "task_failed", 1),
    ] {
        let data = if code == 1 {
            "error=broken"
        } else {
            "reason=enough"
        };
        server.text(&["publish", task, "task_started", "name=It"]);
        server.text(&["publish", task, event, data]);
        let output = server.client(&["watch", task, "--until-end"]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
    // With several tasks, the exit code is that of the worst outcome. Patterns count as well.
    for (targets, code) in [(&["end-1", "end-2"][..], 2), (&["end-*"], 1)] {
        let output = server.client(&[&["watch", "--until-end"], targets].concat());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
}

#[test]
fn targets_that_overlap_count_once() {
    let server = Running::start();
    for task in ["in-1", "in-2"] {
        server.text(&["publish", task, "task_completed"]);
    }
    let targets = ["in-1", "in-*", "in-2", "in-1"];
    for (command, expected) in [
        (
            &["watch", "--until-end"][..],
            ["in-1 is completed", "in-2 is completed"],
        ),
        (&["wait"], ["in-1 completed", "in-2 completed"]),
        (&["rm"], ["in-1 removed", "in-2 removed"]),
    ] {
        let text = server.text(&[command, &targets].concat());
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines.len(), 2, "{text}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.starts_with(expected), "{text}");
        }
    }
}

#[test]
fn json_is_a_message_of_the_protocol_a_line() {
    let server = Running::start();
    server.text(&["publish", "build-1", "task_started", "name=Build"]);
    server.text(&["publish", "build-1", "task_completed"]);
    let text = server.text(&["watch", "build-1", "--json", "--since", "0", "--until-end"]);
    let messages: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(messages[0]["event_type"], "subscribed");
    assert_eq!(messages[0]["data"]["snapshot"]["status"], "completed");
    let offsets: Vec<_> = messages[1..]
        .iter()
        .map(|message| &message["offset"])
        .collect();
    assert_eq!(offsets, [1, 2]);
    let plain = server.text(&["watch", "build-1", "--since", "0", "--until-end"]);
    assert!(plain.contains("build-1 task_started Build\n"), "{plain}");
}

#[test]
fn a_task_that_has_ended_is_not_asked_for_anything() {
    let server = Running::start();
    let run = server.client(&["run", "--task", "job", "-q", "--", "sh", "-c", "exit 3"]);
    assert_eq!(run.status.code(), Some(3), "{run:?}");
    // A long timeout: the test would notice if the command waited.
    let cancel = ["command", "job", "cancel", "--timeout", "3m"];
    let output = server.client(&cancel);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let expected = "job has ended: failed: the command exited with 3 (exit_3)\n";
    assert_eq!(text, expected);
    let json = server.client(&[&cancel[..], &["-o", "json"]].concat());
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["state"], "ended");
    assert_eq!(json["error"]["code"], "exit_3");
    let events = server.client(&["watch", "job", "--since", "0", "--json", "--until-end"]);
    let events = String::from_utf8(events.stdout).unwrap();
    assert!(!events.contains("command_requested"), "{events}");
    // An agent may wait for commands even now.
    server.text(&["command", "job", "again", "--no-wait"]);
}

#[test]
fn a_task_that_ends_instead_of_an_answer_is_not_waited_for() {
    let server = Running::start();
    server.text(&["publish", "job", "task_started"]);
    let mut command = tidings(&["command", "job", "cancel", "--timeout", "3m"]);
    command.env("TIDINGS_URL", &server.url);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = lines(child.stdout.take().unwrap());
    let next = || lines.recv_timeout(DEADLINE).expect("a line in time");
    assert_eq!(next(), "cancel requested of job");
    server.text(&["publish", "job", "task_completed", "result:=7"]);
    assert_eq!(next(), "job has ended: completed: 7");
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn a_command_without_an_agent_is_not_waited_for_for_ever() {
    let server = Running::start();
    let output = server.client(&["command", "nobody", "cancel"]);
    assert_eq!(output.status.code(), Some(66));
    assert!(String::from_utf8_lossy(&output.stderr).contains("task_not_found"));
    server.text(&["publish", "idle", "task_started", "name=Idle"]);
    let output = server.client(&["command", "idle", "cancel", "--timeout", "300ms"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let snapshot = server.text(&["tasks", "idle*", "--json"]);
    let snapshot: Value = serde_json::from_str(snapshot.trim()).unwrap();
    assert_eq!(snapshot["pending_commands"][0]["command"], "cancel");
    server.text(&["command", "idle", "cancel", "grace_ms:=5", "--no-wait"]);
}

#[test]
fn the_first_answer_to_a_question_wins() {
    let server = Running::start();
    let question = [
        "publish",
        "deploy",
        "input_required",
        "input_id=confirm",
        "prompt=Deploy?",
        "choices:=[\"yes\", \"no\"]",
    ];
    server.text(&question);
    let wrong = server.client(&["answer", "deploy", "confirm", "perhaps"]);
    assert_eq!(wrong.status.code(), Some(76), "{wrong:?}");
    let told = server.text(&["answer", "deploy", "confirm", "yes"]);
    assert_eq!(told, "confirm of deploy answered\n");
    let late = server.client(&["answer", "deploy", "confirm", "no"]);
    assert_eq!(late.status.code(), Some(76));
    let stderr = String::from_utf8_lossy(&late.stderr);
    assert!(stderr.contains("already_answered"), "{stderr}");
    let unknown = server.client(&["answer", "nobody", "confirm", "yes"]);
    assert_eq!(unknown.status.code(), Some(66), "{unknown:?}");
}

#[test]
fn a_server_that_is_away_is_named_with_what_to_do() {
    for arguments in [
        &["publish", "a", "log", "message=a", "--timeout", "300ms"][..],
        &["command", "a", "cancel", "--timeout", "300ms"],
    ] {
        let mut command = tidings(arguments);
        let output = finish(command.args(["--url", "http://127.0.0.1:1"]));
        assert_eq!(output.status.code(), Some(69));
        let stderr = String::from_utf8(output.stderr).unwrap();
        for what in ["http://127.0.0.1:1 is away", "--url", "refused"] {
            assert!(stderr.contains(what), "{stderr}");
        }
    }
}

#[test]
fn wrong_usage_is_refused_under_its_name() {
    for (arguments, what) in [
        (&["watch"][..], "TASK|PATTERN"),
        (&["watch", "a b"], "task_id has ' '"),
        (&["watch", "a", "--since", "x"], "--since"),
        (&["publish", "a", "Log"], "[EVENT_TYPE]"),
        (&["publish", "a", "log", "message"], "key=text"),
        (&["publish", "a", "log", "n:=x"], "n:=x is not JSON"),
        (&["publish", "a", "--event-id", "e"], "--event-id"),
        (&["watch", "a", "--timeout", "5s"], "--until-end"),
        (
            &["tasks", "--token", "a", "--token-file", "b"],
            "--token-file",
        ),
        (&["logs", "a", "--since", "yesterday"], "--since"),
        (&["logs"], "TASK"),
        (&["run"], "COMMAND"),
        (&["run", "--tsak", "a", "--", "true"], "--tsak"),
        (&["run", "--task", "--", "true"], "--task"),
        (&["run", "-x", "true"], "-x"),
        (&["tasks", "--url", "localhost"], "localhost"),
        (&["tasks", "--url", "ftp://localhost"], "ftp://localhost"),
    ] {
        let stderr = refusal(&mut tidings(arguments), 64);
        assert!(stderr.contains(what), "{arguments:?} {stderr}");
    }
}

#[test]
fn a_value_that_no_event_can_have_is_refused_under_its_name() {
    for (arguments, what) in [
        (&["publish", "a", "log", "e:=1e400"][..], "value of e"),
        (&["publish", "a", "log", r#"{"e":1e400}"#], "number out of"),
        (&["publish", "a", "progress=1e400"], "value of progress"),
        (&["command", "a", "dance", "e:=-1e400"], "value of e"),
        (&["send", "a", "notice", "e:=1e400"], "value of e"),
        (&["answer", "a", "q", ":=1e400"], "number out of"),
    ] {
        let stderr = refusal(&mut tidings(arguments), 65);
        assert!(stderr.contains(what), "{arguments:?} {stderr}");
    }
}

#[test]
fn help_teaches_by_examples() {
    for command in [
        "bench",
        "watch",
        "publish",
        "run",
        "tasks",
        "get",
        "logs",
        "wait",
        "command",
        "rm",
        "connections",
        "kick",
        "send",
        "completions",
        "man",
    ] {
        let output = finish(&mut tidings(&[command, "--help"]));
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("Examples:"), "{command}: {help}");
        assert!(
            help.contains(&format!("tidings {command}")),
            "{command}: {help}"
        );
    }
}

/// Returns the completions that a shell gets for this command line.
fn completed(words: &[&str]) -> Vec<String> {
    let mut asking = tidings(&["--", "tidings"]);
    asking.args(words).env("TIDINGS_COMPLETE", "fish");
    let output = finish(&mut asking);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let word = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
    text.lines().map(word).collect()
}

#[test]
fn ids_of_tasks_are_completed_from_the_server() {
    let server = Running::start();
    for task in ["build-1", "build-2", "render-1"] {
        server.text(&["publish", task, "task_started", "name=It"]);
    }
    let url = server.url.as_str();
    for command in ["watch", "logs", "get", "wait", "rm", "command"] {
        let words = completed(&[command, "--url", url, "build"]);
        assert_eq!(words, ["build-1", "build-2"], "{command}");
    }
    // If the server is unreachable, completion does not wait for long.
    assert!(completed(&["watch", "--url", "http://127.0.0.1:1", "build"]).is_empty());
}

#[test]
fn completions_and_man_pages_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = finish(&mut tidings(&["completions", shell]));
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.contains("tidings"), "{shell}: {script}");
    }
    assert_eq!(completed(&["watc"]), ["watch"]);
    assert!(completed(&["watch", "--unt"]).contains(&"--until-end".to_owned()));
    assert_eq!(
        completed(&["logs", "x", "--stream", "std"]),
        ["stdout", "stderr"]
    );
    let output = finish(&mut tidings(&["man"]));
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page.starts_with(".ie") || page.contains(".TH"), "{page}");
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("man");
    std::fs::create_dir_all(&folder).unwrap();
    let output = finish(tidings(&["man", "--out"]).arg(&folder));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(folder.join("tidings-watch.1").exists());
}
