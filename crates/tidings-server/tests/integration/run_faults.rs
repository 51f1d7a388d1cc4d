//! `tidings run` under faults: which events must not be lost.

#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Server, finish, tidings};
use serde_json::Value;

/// The time limit of each wait in a test.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

struct World {
    _server: Server,
    url: String,
}

impl World {
    fn start() -> Self {
        let server = Server::start(&mut tidings(&["--listen", "127.0.0.1:0", "--log", "error"]));
        let url = format!("http://{}", server.addr());
        Self {
            _server: server,
            url,
        }
    }

    /// Returns the command `tidings run` for the task `job`.
    fn run(&self, options: &[&str], command: &[&str]) -> Command {
        let mut run = tidings(&[
            "run", "--url", &self.url, "--task", "job", "--linger", "60s",
        ]);
        run.args(options).arg("--").args(command);
        run
    }

    /// Returns the retained events of the task.
    fn events(&self) -> Vec<Value> {
        let watch = ["watch", "job", "--since", "0", "--json", "--until-end"];
        let output = finish(tidings(&watch).env("TIDINGS_URL", &self.url));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|message| message.get("offset").is_some())
            .collect()
    }

    fn task(&self) -> Value {
        let output = finish(tidings(&["tasks", "job*", "--json"]).env("TIDINGS_URL", &self.url));
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// Waits until the task satisfies the condition.
    fn until(&self, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let task = self.task();
            if is(&task) {
                return task;
            }
            assert!(Instant::now() < deadline, "{task:#}");
        }
    }
}

fn messages(events: &[Value]) -> Vec<&str> {
    let logs = events.iter().filter(|event| event["event_type"] == "log");
    logs.map(|event| event["data"]["message"].as_str().unwrap())
        .collect()
}

pub(crate) fn wait(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    panic!("it did not end");
}

#[test]
fn a_runner_that_is_killed_shows_as_lost() {
    let world = World::start();
    let mut run = world.run(&["--lease", "1s"], &["sh", "-c", "echo $$; exec sleep 600"]);
    let mut child = run.stdout(Stdio::piped()).spawn().unwrap();
    let mut pid = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut pid).unwrap();
    // A command without output is not lost, because its runner renews the lease.
    let renewed = |task: &Value| task["offset"].as_u64() >= Some(6);
    world.until(|task| renewed(task) && task["status"] == "running");
    child.kill().unwrap();
    child.wait().unwrap();
    let task = world.until(|task| task["status"] == "failed");
    assert_eq!(task["error"]["code"], "lost");
    let _ = Command::new("kill").args(["-9", pid.trim()]).status();
}

#[test]
fn a_runner_that_was_asleep_for_long_goes_on_with_a_new_run() {
    let world = World::start();
    let mut run = world.run(&["--lease", "1s"], &["sh", "-c", "read go; echo done"]);
    let mut child = run
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    world.until(|task| task["status"] == "running");
    let signal = |name: &str| {
        let pid = child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    };
    signal("STOP");
    let task = world.until(|task| task["status"] == "failed");
    assert_eq!(task["error"]["code"], "lost");
    signal("CONT");
    // On a busy machine the task may have been lost more than once.
    let is_anew = |task: &Value| task["run"].as_u64() >= Some(2);
    world.until(|task| task["status"] == "running" && is_anew(task));
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(wait(&mut child), Some(0));
    let task = world.until(|task| task["status"] != "running");
    assert_eq!(task["status"], "completed");
}

#[test]
fn the_end_of_a_flood_is_told_and_what_is_missing_before_it() {
    let world = World::start();
    let script = "seq 1 2500000; echo THE-ERROR; exit 1";
    let mut run = world.run(&[], &["bash", "-c", script]);
    let output = run.stdout(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let events = world.events();
    let messages = messages(&events);
    assert!(
        messages.last().unwrap().ends_with("2500000\nTHE-ERROR"),
        "{messages:?}"
    );
    // Every hole in the retained events is announced by a gap.
    let mut expected: Option<u64> = None;
    for message in messages {
        for line in message.lines() {
            match line.parse::<u64>() {
                Ok(number) => {
                    assert!(
                        expected.is_none_or(|expected| expected == number),
                        "{number}"
                    );
                    expected = Some(number + 1);
                }
                Err(_) if line.contains("bytes of output are missing here") => expected = None,
                // A gap may cut a line in half.
                Err(_) => assert_eq!(line, "THE-ERROR"),
            }
            if line.contains("missing") {
                expected = None;
            }
        }
    }
}

#[test]
fn long_lines_and_characters_arrive_whole() {
    let world = World::start();
    let script = r#"print("x" * 8191 + "é"); print("y" * 20000)"#;
    let output = finish(&mut world.run(&[], &["python3", "-c", script]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let events = world.events();
    let mut text = String::new();
    for event in events.iter().filter(|event| event["event_type"] == "log") {
        text.push_str(event["data"]["message"].as_str().unwrap());
        if event["data"].get("continues").is_none() {
            text.push('\n');
        }
    }
    assert_eq!(
        text,
        format!("{}é\n{}\n", "x".repeat(8191), "y".repeat(20_000))
    );
}

#[test]
fn a_command_knows_its_task_and_a_nested_run_is_a_child() {
    let world = World::start();
    let inner = format!(
        "echo $TIDINGS_TASK $TIDINGS_RUN $TIDINGS_URL; {0} publish progress=40 >/dev/null; \
         {0} run --task inner true",
        env!("CARGO_BIN_EXE_tidings")
    );
    let output = finish(&mut world.run(&[], &["sh", "-c", &inner]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, format!("job 1 {}\n", world.url));
    let events = world.events();
    let update = events
        .iter()
        .find(|event| event["event_type"] == "progress_update");
    assert_eq!(update.unwrap()["data"]["progress"], 40);
    let inner = finish(tidings(&["tasks", "inner*", "--json"]).env("TIDINGS_URL", &world.url));
    let inner: Value = serde_json::from_slice(&inner.stdout).unwrap();
    assert_eq!(inner["parent_task_id"], "job");
    assert_eq!(inner["status"], "completed");
}

#[test]
fn progress_comes_from_a_rule_and_from_the_terminals_own_command() {
    let world = World::start();
    let options = ["--progress", r"step (\d+) of (\d+)"];
    let output = finish(&mut world.run(&options, &["echo", "now step 3 of 4"]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let progress = |events: &[Value]| {
        let update = events
            .iter()
            .rfind(|event| event["event_type"] == "progress_update");
        update.unwrap()["data"].clone()
    };
    let update = progress(&world.events());
    assert_eq!(
        (&update["current"], &update["total"]),
        (&3.into(), &4.into())
    );
    let output = finish(&mut world.run(&[], &["printf", r"\033]9;4;1;35\033\\"]));
    assert_eq!(output.stdout, b"\x1b]9;4;1;35\x1b\\");
    assert_eq!(progress(&world.events())["progress"], 35.0);
    let refused = finish(&mut world.run(&["--progress", "("], &["true"]));
    assert_eq!(refused.status.code(), Some(64));
}

#[test]
fn a_name_that_is_too_long_for_an_event_is_cut() {
    let world = World::start();
    let name = "é".repeat(60_000);
    let output = finish(&mut world.run(&["--name", &name], &["true"]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let task = world.task();
    assert_eq!(task["status"], "completed", "{task:#}");
    let name = task["name"].as_str().unwrap();
    assert!(name.starts_with('é') && name.ends_with('…'), "{name}");
}

#[test]
fn the_two_dashes_are_optional() {
    let world = World::start();
    let mut run = tidings(&["run", "--url", &world.url, "-q", "--task", "job"]);
    let output = finish(run.args(["sh", "-c", "echo $0 $1", "-q", "--task"]));
    assert_eq!(output.stdout, b"-q --task\n", "{output:?}");
}

/// The processes whose environment has this mark.
pub(crate) fn marked(mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if String::from_utf8_lossy(&environment).contains(mark) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found
}

#[test]
fn after_a_cancel_no_process_of_the_command_lives() {
    let scripts = [
        "echo ready; setsid sleep 600 & wait",
        "echo ready; set -m; sleep 600 & wait",
        "bash -ic 'sleep 600 & sleep 600' 2>/dev/null & echo ready; wait",
        // The script forks twice and starts a session of its own, as daemons do.
        "echo ready; (setsid sh -c 'sleep 600 & sleep 600 & wait' &) ; sleep 600",
        "trap '' TERM; echo ready; setsid sh -c 'trap \"\" TERM; sleep 600; sleep 600' & sleep 600",
    ];
    let ways = scripts
        .iter()
        .flat_map(|script| [(script, "never"), (script, "always")]);
    for (at, (script, pty)) in ways.enumerate() {
        let world = World::start();
        let mark = format!("TEST_MARK=cancel-{}-{at}", std::process::id());
        let mut run = world.run(&["--grace", "300ms", "--pty", pty], &["bash", "-c", script]);
        let (name, value) = mark.split_once('=').unwrap();
        run.env(name, value).stdout(Stdio::piped());
        let mut child = run.spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{script} {pty}");
        world.until(|task| task["status"] == "running");
        let cancel = ["command", "job", "cancel"];
        let output = finish(tidings(&cancel).env("TIDINGS_URL", &world.url));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        wait(&mut child);
        assert_eq!(marked(&mark), Vec::<String>::new(), "{script} {pty}");
        assert_eq!(world.task()["status"], "cancelled");
    }
}

#[test]
fn what_a_command_leaves_behind_without_a_cancel_lives_on() {
    let world = World::start();
    let mark = format!("TEST_MARK=left-{}", std::process::id());
    let script = "setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $!";
    let mut run = world.run(&[], &["bash", "-c", script]);
    let (name, value) = mark.split_once('=').unwrap();
    let output = finish(run.env(name, value));
    assert_eq!(output.status.code(), Some(0));
    let left = marked(&mark);
    assert_eq!(left.len(), 1, "{left:?}");
    let pid = String::from_utf8(output.stdout).unwrap();
    let killed = Command::new("kill").args(["-9", pid.trim()]).status();
    assert!(killed.unwrap().success());
}

#[test]
fn what_a_command_leaves_behind_writes_on_after_the_end() {
    let world = World::start();
    // The process writes only after `tidings run` has ended.
    let script = "runner=$PPID; \
        (while grep -qs 'State:.[^Z]' /proc/$runner/status; do sleep 0.05; done; \
        echo late; seq 1 300000; echo late-error >&2) & echo hi; exit 7";
    let output = finish(&mut world.run(&["-q"], &["bash", "-c", script]));
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let mut expected = String::from("hi\nlate\n");
    for number in 1..=300_000 {
        expected.push_str(&format!("{number}\n"));
    }
    assert!(output.stdout == expected.as_bytes(), "{output:?}");
    assert_eq!(output.stderr, b"late-error\n");
    let events = world.events();
    let messages = messages(&events);
    assert_eq!(messages[0], "hi");
    assert_eq!(messages.len(), 3, "{messages:?}");
    let is_told = |message: &&str| message.contains("not in this log");
    assert!(messages[1..].iter().all(is_told), "{messages:?}");
    assert_eq!(world.task()["error"]["code"], "exit_7");
}

#[test]
fn a_command_ends_even_if_what_it_leaves_behind_writes_without_end() {
    let world = World::start();
    for writes in ["exec yes", "while :; do echo x; sleep 0.01; done"] {
        let script = format!("({writes}) & echo $! >&2");
        let mut run = world.run(&["-q"], &["bash", "-c", &script]);
        let run = run.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = run.spawn().unwrap();
        let mut pid = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut pid).unwrap();
        assert_eq!(wait(&mut child), Some(0), "{writes}");
        let killed = Command::new("kill").args(["-9", pid.trim()]).status();
        assert!(killed.unwrap().success(), "{writes}");
    }
}

#[test]
fn output_that_cannot_be_written_is_in_the_log() {
    let world = World::start();
    let script = "echo first; sleep 0.3; echo second; sleep 0.3; echo third";
    for options in [&["-q"][..], &["-q", "--pty", "always"]] {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let mut run = world.run(options, &["sh", "-c", script]);
        let output = run.stdout(full.unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(74), "{output:?}");
        let events = world.events();
        let text = messages(&events).join("\n");
        assert_eq!(text, "first\nsecond\nthird");
        assert_eq!(world.task()["error"]["code"], "output_lost");
        finish(tidings(&["rm", "job"]).env("TIDINGS_URL", &world.url));
    }
    // A command that would write for ever ends.
    let full = std::fs::File::options().write(true).open("/dev/full");
    let mut run = world.run(&["-q"], &["yes"]);
    let output = run.stdout(full.unwrap()).output().unwrap();
    // Rust ignores SIGPIPE, so the runner itself cannot die of it.
    assert_eq!(output.status.code(), Some(128 + 13), "{output:?}");
}

#[test]
fn a_signal_reaches_the_command_from_its_first_moment() {
    let world = World::start();
    // Without the signal, the command would run for ten minutes.
    let script = "kill -TERM $PPID; exec sleep 600";
    let output = finish(&mut world.run(&["-q"], &["sh", "-c", script]));
    assert_eq!(output.status.signal(), Some(15), "{output:?}");
    let task = world.task();
    assert_eq!(task["error"]["code"], "signal_15", "{task:#}");
}

#[test]
fn a_runner_that_waits_for_a_server_that_is_away_can_be_ended() {
    let mut run = tidings(&["run", "-q", "--url", "http://127.0.0.1:1", "--linger", "1h"]);
    run.args(["--", "sh", "-c", "echo ready; exit 3"]);
    let mut child = run.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let deadline = Instant::now() + DEADLINE;
    let code = loop {
        // A signal that comes while the command still runs is for the command.
        let pid = child.id().to_string();
        let _ = Command::new("kill").args(["-INT", &pid]).status();
        if let Some(status) = child.try_wait().unwrap() {
            break status.code().or(status.signal());
        }
        assert!(Instant::now() < deadline, "it waits for the server");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(matches!(code, Some(3 | 2)), "{code:?}");
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let world = World::start();
    // Start the command as `nohup` does.
    let script = format!(
        "trap '' HUP; {} run -q --url {} --task job sh -c 'kill -HUP $$; echo lives'",
        env!("CARGO_BIN_EXE_tidings"),
        world.url
    );
    let output = finish(Command::new("sh").args(["-c", &script]));
    assert_eq!(output.stdout, b"lives\n", "{output:?}");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// Starts a server that accepts connections and calls this function with each.
fn listener(with: impl Fn(std::net::TcpStream) + Send + 'static) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            with(stream);
        }
    });
    url
}

#[test]
fn a_command_does_not_notice_what_the_server_does() {
    let kept = std::sync::Mutex::new(Vec::new());
    let silent = listener(move |stream| kept.lock().unwrap().push(stream));
    let closing = listener(drop);
    let refusing = listener(|mut stream| {
        let mut request = [0; 4096];
        let _ = std::io::Read::read(&mut stream, &mut request);
        let _ = stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    });
    let nonsense = listener(|mut stream| {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n");
    });
    let key = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("run-faults.key");
    std::fs::write(&key, "a secret of more than 32 bytes, for tests\n").unwrap();
    let options = ["--listen", "127.0.0.1:0", "--log", "error", "--auth", "jwt"];
    let locked = Server::start(tidings(&options).arg("--jwt-key").arg(&key));
    let locked = format!("http://{}", locked.addr());
    // The server accepts only events of a few bytes.
    let options = [
        "--listen",
        "127.0.0.1:0",
        "--log",
        "error",
        "--max-event-bytes",
        "1KiB",
    ];
    let narrow = Server::start(&mut tidings(&options));
    let narrow = format!("http://{}", narrow.addr());
    let script = "printf 'out\\0\\r\\n'; printf 'err\\n' >&2; read x; echo \"got $x\"; \
                  head -c 300000 /dev/zero | tr '\\0' 'z'; exit 7";
    for url in [
        "http://127.0.0.1:1",
        &silent,
        &closing,
        &refusing,
        &nonsense,
        &locked,
        &narrow,
    ] {
        let mut run = tidings(&["run", "-q", "--task", "job", "--linger", "0s", "--url", url]);
        let mut child = run
            .args(["--", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(7), "{url}");
        let expected = format!("out\0\r\ngot hello\n{}", "z".repeat(300_000));
        assert!(output.stdout == expected.as_bytes(), "{url}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "err\n", "{url}");
    }
}
