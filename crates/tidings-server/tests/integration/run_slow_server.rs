//! `tidings run` with a server that is slow, restarts, refuses and stalls.

#![cfg(unix)]

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;

use serde_json::Value;
use tidings_testkit::{Throttle, ThrottledProxy};
use tokio::runtime::Runtime;

use crate::support::{DEADLINE, Server, finish, lines, tidings};

/// Prints 1.3 MB for each line of its input, which then appears in both streams.
const SCRIPT: &str = "while read x; do seq 1 200000; echo \"got $x\"; echo \"err $x\" >&2; done; \
                      exit 7";

const PHASES: [&str; 5] = ["slow", "killed", "restarted", "refusing", "stalled"];

fn server(addr: &str) -> Server {
    Server::start(&mut tidings(&["--listen", addr, "--log", "error"]))
}

/// A real server behind a slow network.
struct Slow {
    runtime: Runtime,
    server: Server,
    proxy: ThrottledProxy,
}

impl Slow {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let server = server("127.0.0.1:0");
        let upstream = server.addr().parse().unwrap();
        let proxy = runtime.block_on(ThrottledProxy::start(upstream));
        Self {
            runtime,
            server,
            proxy,
        }
    }

    fn run(&self, linger: &str) -> Command {
        let url = format!("http://{}", self.proxy.addr());
        tidings(&[
            "run", "-q", "--task", "job", "--linger", linger, "--url", &url, "--",
        ])
    }
}

/// A command whose output lines arrive here.
struct Lines {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    seen: Vec<String>,
}

impl Lines {
    fn start(command: &mut Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        Self {
            child,
            stdout,
            stderr,
            seen: Vec::new(),
        }
    }

    /// Asks for a batch of output, and waits until all of it has come.
    fn ask(&mut self, word: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{word}\n").as_bytes()).unwrap();
        let last = format!("got {word}");
        while self.seen.last() != Some(&last) {
            let line = self.stdout.recv_timeout(DEADLINE);
            self.seen.push(line.expect("the command's output"));
        }
        let line = self.stderr.recv_timeout(DEADLINE);
        assert_eq!(line.expect("a line of stderr"), format!("err {word}"));
    }

    /// Ends the input. Returns all lines of stdout, the remaining lines of stderr, and the exit
    /// code.
    fn end(mut self) -> (Vec<String>, Vec<String>, Option<i32>) {
        drop(self.child.stdin.take());
        // Both pipes close when the command and `tidings run` have ended.
        while let Ok(line) = self.stdout.recv_timeout(DEADLINE) {
            self.seen.push(line);
        }
        let mut rest = Vec::new();
        while let Ok(line) = self.stderr.recv_timeout(DEADLINE) {
            rest.push(line);
        }
        (self.seen, rest, self.child.wait().unwrap().code())
    }
}

#[test]
fn a_command_does_not_notice_a_server_that_is_slow_restarts_refuses_and_stalls() {
    let mut slow = Slow::start();
    let addr = slow.server.addr().to_owned();
    let mut run = Lines::start(slow.run("0s").args(["sh", "-c", SCRIPT]));
    let mut bare = Lines::start(Command::new("sh").args(["-c", SCRIPT]));
    for phase in PHASES {
        match phase {
            "killed" => slow.server.signal("KILL"),
            "restarted" => slow.server = server(&addr),
            "refusing" => slow.proxy.set(Throttle::Refusing),
            "stalled" => slow.proxy.set(Throttle::Stalled),
            _ => {}
        }
        run.ask(phase);
        bare.ask(phase);
    }
    // No more bytes pass to or from the server, and the command still ends.
    let (stdout, stderr, code) = run.end();
    let (expected, expected_stderr, expected_code) = bare.end();
    assert!(stdout == expected, "{} lines", stdout.len());
    assert_eq!((stderr, code), (expected_stderr, expected_code));
    assert_eq!(code, Some(7));
    drop(slow.runtime);
}

#[test]
fn a_slow_server_learns_all_that_fits_while_the_runner_lingers() {
    let slow = Slow::start();
    let script = "seq 1 2000; echo the-end; exit 3";
    let output = finish(slow.run("10m").args(["sh", "-c", script]));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let url = format!("http://{}", slow.server.addr());
    let watch = ["watch", "job", "--since", "0", "--json", "--until-end"];
    let watched = finish(tidings(&watch).args(["--url", &url]));
    let text = String::from_utf8(watched.stdout).unwrap();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let messages = events.iter().filter(|event| event["event_type"] == "log");
    let told: Vec<_> = messages
        .map(|event| event["data"]["message"].as_str().unwrap())
        .collect();
    let expected: Vec<_> = (1..=2000).map(|number| number.to_string()).collect();
    assert_eq!(told.join("\n"), format!("{}\nthe-end", expected.join("\n")));
    let end = events.last().unwrap();
    assert_eq!(end["data"]["error"]["code"], "exit_3", "{end}");
}
