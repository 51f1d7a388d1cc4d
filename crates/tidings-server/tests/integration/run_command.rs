//! `tidings run`: the output that passes through it, and the events that it publishes.

#![cfg(unix)]

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;

use crate::support::{DEADLINE, Server, finish, lines, tidings};
use serde_json::Value;

/// Starts a server on a free port, or on a port that another server had.
fn server(addr: &str) -> Server {
    Server::start(&mut tidings(&["--listen", addr, "--log", "error"]))
}

/// Returns the command `tidings run` for a shell script.
fn run(addr: &str, options: &[&str], script: &str) -> Command {
    let url = format!("http://{addr}");
    let mut command = tidings(&["run", "--url", &url, "--task", "job"]);
    command.args(options).args(["--", "sh", "-c", script]);
    command
}

/// Returns all events of the task, once it has ended.
fn events(addr: &str) -> Vec<Value> {
    let url = format!("http://{addr}");
    let mut watch = tidings(&["watch", "job", "--since", "0", "--json", "--until-end"]);
    let output = finish(watch.args(["--url", &url]));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|message| message.get("offset").is_some())
        .collect()
}

fn types(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["event_type"].as_str().unwrap())
        .collect()
}

/// A run in the background, with its standard input and its output lines.
struct Background {
    child: Child,
    lines: Receiver<String>,
}

impl Background {
    fn start(command: &mut Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = lines(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("a line in time")
    }

    /// Returns the exit code, or the signal that has ended the run.
    fn wait(mut self) -> Option<i32> {
        let deadline = std::time::Instant::now() + DEADLINE;
        while std::time::Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().or(status.signal());
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let _ = self.child.kill();
        panic!("it did not end");
    }
}

#[test]
fn bytes_and_status_are_the_commands_own_without_a_server() {
    let script = "printf 'a\\0b\\r\\n\\377'; printf 'x\\r' >&2; exit 7";
    let output = finish(&mut run(
        "127.0.0.1:1",
        &["--quiet", "--linger", "0s"],
        script,
    ));
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(output.stdout, b"a\0b\r\n\xff");
    assert_eq!(output.stderr, b"x\r");
}

#[test]
fn a_lot_of_output_is_whole_without_a_server() {
    let script = "i=0; while [ $i -lt 20000 ]; do echo line-$i; i=$((i+1)); done";
    let output = finish(&mut run(
        "127.0.0.1:1",
        &["--quiet", "--linger", "0s"],
        script,
    ));
    let expected: String = (0..20_000)
        .map(|number| format!("line-{number}\n"))
        .collect();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        output.stdout == expected.as_bytes(),
        "{} bytes",
        output.stdout.len()
    );
}

#[test]
fn a_signal_that_ends_the_command_ends_the_runner() {
    let options = ["--quiet", "--linger", "0s"];
    let output = finish(&mut run("127.0.0.1:1", &options, "kill -TERM $$"));
    assert_eq!(output.status.signal(), Some(15));
}

#[test]
fn input_reaches_the_command_and_signals_do() {
    let script = "trap 'echo told; exit 5' TERM; read line; echo \"got $line\"; \
        while :; do sleep 0.05; done";
    let mut running = Background::start(&mut run("127.0.0.1:1", &["--linger", "0s"], script));
    running
        .child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"hello\n")
        .unwrap();
    assert_eq!(running.line(), "got hello");
    let pid = running.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(running.line(), "told");
    assert_eq!(running.wait(), Some(5));
}

#[test]
fn a_terminal_of_its_own_changes_no_byte() {
    let script = "test -t 1 && test -t 2 && printf 'a terminal\\nof its own\\n'";
    let options = ["--quiet", "--linger", "0s", "--pty", "always"];
    let output = finish(&mut run("127.0.0.1:1", &options, script));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "a terminal\nof its own\n"
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn what_cannot_be_run_is_named() {
    for (program, code) in [("/nowhere/program", 127), ("/", 126)] {
        for pty in ["never", "always"] {
            let words = ["run", "--url", "http://127.0.0.1:1", "--pty", pty, "--"];
            let output = finish(tidings(&words).arg(program));
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{stderr}");
            let told = format!("{program} cannot be run");
            assert!(stderr.contains(&told), "{stderr}");
        }
    }
}

#[test]
fn a_command_without_a_name_is_not_found() {
    for pty in ["never", "always"] {
        let words = ["run", "--url", "http://127.0.0.1:1", "--pty", pty, "--", ""];
        let output = finish(&mut tidings(&words));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(127), "{stderr}");
        let told = "error: '' cannot be run: command not found";
        assert!(stderr.contains(told), "{stderr}");
    }
}

#[test]
fn streams_that_are_one_keep_the_order_of_writes() {
    let tidings = env!("CARGO_BIN_EXE_tidings");
    let write = "for i in $(seq 300); do echo out $i; echo err $i >&2; done";
    let run = format!("{tidings} run -q --url http://127.0.0.1:1 --linger 0s");
    let expected: String = (1..=300)
        .map(|number| format!("out {number}\nerr {number}\n"))
        .collect();
    for pty in ["never", "always"] {
        let script = format!("{run} --pty {pty} -- sh -c '{write}' 2>&1");
        let output = finish(Command::new("sh").args(["-c", &script]));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{pty}");
    }
}

#[test]
fn a_script_without_an_interpreter_is_run_by_a_shell() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a-script");
    std::fs::write(&path, "echo \"the script says $1\"\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, executable).unwrap();
    let paths = std::env::var("PATH").unwrap();
    let paths = format!("{}:{paths}", folder.path().display());
    for pty in ["never", "always"] {
        for program in [path.to_str().unwrap(), "a-script"] {
            let words = ["run", "-q", "--url", "http://127.0.0.1:1", "--linger", "0s"];
            let mut run = tidings(&words);
            run.args(["--pty", pty, "--", program, "a  b"]);
            let output = finish(run.env("PATH", &paths));
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            assert_eq!(output.stdout, b"the script says a  b\n", "{pty} {program}");
        }
    }
}

#[test]
fn a_command_runs_where_few_files_may_be_open() {
    let tidings = env!("CARGO_BIN_EXE_tidings");
    for pty in ["never", "always"] {
        let options = format!("--url http://127.0.0.1:1 --linger 0s --pty {pty}");
        for (limit, files) in [(12, "a few"), (6, "hardly any")] {
            let script = format!("ulimit -n {limit}; {tidings} run {options} -- echo {files}");
            let output = finish(Command::new("sh").args(["-c", &script]));
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(0), "{limit} {pty} {stderr}");
            assert_eq!(output.stdout, format!("{files}\n").as_bytes(), "{stderr}");
            assert!(stderr.contains("without a task"), "{stderr}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_leader_of_a_session_has_our_name() {
    let options = ["--quiet", "--linger", "0s", "--pty", "always"];
    let output = finish(&mut run("127.0.0.1:1", &options, "cat /proc/$PPID/comm"));
    assert_eq!(output.stdout, b"tidings\n", "{output:?}");
}

#[test]
fn lines_progress_and_outcome_are_told() {
    let server = server("127.0.0.1:0");
    let script = "echo '[1/4] first'; echo '[3/4] third' >&2; exit 3";
    let output = finish(&mut run(server.addr(), &["--name", "A job"], script));
    assert_eq!(output.status.code(), Some(3));
    let events = events(server.addr());
    assert_eq!(events[0]["data"]["name"], "A job");
    // Progress that comes within a tenth of a second may be reduced to the last update.
    let progress = events
        .iter()
        .rfind(|event| event["event_type"] == "progress_update");
    let current = progress.map(|event| event["data"]["current"].as_u64().unwrap());
    assert!(matches!(current, Some(1 | 3)), "{current:?}");
    let mut logs: Vec<_> = events
        .iter()
        .filter(|event| event["event_type"] == "log")
        .map(|event| {
            (
                event["data"]["stream"].as_str().unwrap(),
                event["data"]["message"].as_str().unwrap(),
            )
        })
        .collect();
    // The lines come from two pipes, so their order is not defined.
    logs.sort_unstable();
    assert_eq!(logs, [("stderr", "[3/4] third"), ("stdout", "[1/4] first")]);
    let last = events.last().unwrap();
    assert_eq!(last["event_type"], "task_failed");
    assert_eq!(last["data"]["error"]["code"], "exit_3");
}

/// Cancels a run of this script. Returns its exit code and the published events.
fn cancelled(options: &[&str], script: &str) -> (Option<i32>, Vec<Value>) {
    let server = server("127.0.0.1:0");
    let mut running = Background::start(&mut run(server.addr(), options, script));
    assert_eq!(running.line(), "ready");
    let url = format!("http://{}", server.addr());
    let ask = |command: &str| {
        // Retry until the server knows the task.
        loop {
            let output = finish(&mut tidings(&["command", "--url", &url, "job", command]));
            if output.status.code() != Some(66) {
                return output;
            }
        }
    };
    let output = ask("dance");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let output = ask("cancel");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let code = running.wait();
    (code, events(server.addr()))
}

#[test]
fn cancel_ends_the_command_and_all_that_it_has_started() {
    let (code, events) = cancelled(&[], "sleep 1000 & echo ready; wait");
    assert_eq!(code, Some(15));
    let types = types(&events);
    assert_eq!(
        types
            .iter()
            .filter(|kind| **kind == "command_accepted")
            .count(),
        1
    );
    assert!(types.contains(&"task_cancelled"), "{types:?}");
    let done = events
        .iter()
        .find(|event| event["event_type"] == "command_completed");
    assert_eq!(done.unwrap()["data"]["result"]["forced"], false);
}

#[test]
fn a_command_that_does_not_heed_a_cancel_is_ended_by_force() {
    let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let (code, events) = cancelled(&["--grace", "200ms"], script);
    assert_eq!(code, Some(9));
    let done = events
        .iter()
        .find(|event| event["event_type"] == "command_completed");
    assert_eq!(done.unwrap()["data"]["result"]["forced"], true);
}

#[test]
fn what_happened_while_the_server_was_away_is_told_when_it_returns() {
    let first = server("127.0.0.1:0");
    let addr = first.addr().to_owned();
    first.signal("KILL");
    first.wait();
    let script = "echo one; read go; echo two";
    let mut running = Background::start(&mut run(&addr, &["--linger", "30s"], script));
    // The command runs although no server is reachable.
    assert_eq!(running.line(), "one");
    let second = server(&addr);
    running
        .child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"\n")
        .unwrap();
    assert_eq!(running.line(), "two");
    assert_eq!(running.wait(), Some(0));
    let events = events(second.addr());
    let offsets: Vec<_> = events
        .iter()
        .map(|event| event["offset"].as_u64().unwrap())
        .collect();
    assert_eq!(offsets, (1..=offsets.len() as u64).collect::<Vec<_>>());
    // Lines that come close together may be in one event.
    let mut kinds = types(&events);
    kinds.dedup();
    assert_eq!(kinds, ["task_started", "log", "task_completed"]);
    let lines: Vec<_> = events
        .iter()
        .filter(|event| event["event_type"] == "log")
        .map(|event| event["data"]["message"].as_str().unwrap())
        .collect();
    assert_eq!(lines.join("\n"), "one\ntwo");
}

#[test]
fn a_server_that_dies_in_the_middle_harms_nothing() {
    let first = server("127.0.0.1:0");
    let addr = first.addr().to_owned();
    let url = format!("http://{addr}");
    let script = "echo one; read go; echo '[2/2] two'";
    let mut watch = tidings(&["watch", "job", "--url", &url, "--json", "--until-end"]);
    let mut watching = Background::start(&mut watch);
    // The subscriber is connected before the first event.
    watching.line();
    let mut running = Background::start(&mut run(&addr, &["--linger", "30s"], script));
    assert_eq!(running.line(), "one");
    // The runner has reported that the task runs.
    while !watching.line().contains("\"one\"") {}
    first.signal("KILL");
    first.wait();
    assert!(watching.line().contains("\"disconnected\""));
    let _second = server(&addr);
    // The new server has no data. The runner reports again that the task runs.
    let mut told = String::new();
    while !told.contains("\"task_started\"") {
        told.push_str(&watching.line());
    }
    running
        .child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"\n")
        .unwrap();
    assert_eq!(running.wait(), Some(0));
    while !told.contains("\"task_completed\"") {
        told.push_str(&watching.line());
    }
    for what in ["\"reconnected\"", "\"epoch_changed\"", "[2/2] two"] {
        assert!(told.contains(what), "{what} in {told}");
    }
    assert_eq!(watching.wait(), Some(0));
}
