//! The example `deploy` asks, and people answer from the command line and by signed links.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{DEADLINE, Server, exchange, finish, lines, tidings};

/// Returns the command for the example. It lies beside the server's binary.
fn deploy() -> Command {
    let target = Path::new(env!("CARGO_BIN_EXE_tidings")).parent().unwrap();
    let program = target.join("examples").join("deploy");
    assert!(
        program.exists(),
        "there is no {}: run `cargo build -p examples --example deploy`",
        program.display()
    );
    Command::new(program)
}

/// A server with a key for answer links, and the example that asks on it.
struct Asked {
    server: Server,
    _key: tempfile::NamedTempFile,
}

impl Asked {
    fn start() -> Self {
        let key = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(key.path(), "a secret that is long enough for a signature").unwrap();
        let path = key.path().to_str().unwrap();
        let options = ["--listen", "127.0.0.1:0", "--log", "error"];
        let options = [&options[..], &["--answer-link-key", path]].concat();
        let server = Server::start(&mut tidings(&options));
        Self { server, _key: key }
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.addr())
    }

    /// Sends a request. Returns the status and the body.
    fn request(&self, method: &str, path: &str, kind: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let answer = exchange(self.server.addr(), request.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, body) = self.request("POST", path, "application/json", &body.to_string());
        (status, serde_json::from_str(&body).unwrap())
    }

    /// Waits until the task has an open question with this prompt. Returns its id.
    fn question(&self, task: &str, prompt: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let path = format!("/api/inputs?prefix={task}");
            let (_, inputs) = self.request("GET", &path, "text/plain", "");
            let inputs: Value = serde_json::from_str(&inputs).unwrap();
            let mut open = inputs["inputs"].as_array().unwrap().iter();
            if let Some(question) = open.find(|question| question["prompt"] == prompt) {
                return question["input_id"].as_str().unwrap().to_owned();
            }
            assert!(Instant::now() < deadline, "{task} asks: {prompt}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn answer(&self, task: &str, input: &str, value: &str) -> (Option<i32>, String) {
        let mut command = tidings(&["answer", task, input, value]);
        let output = finish(command.env("TIDINGS_URL", self.url()));
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    /// Asks for a link with which `name` answers a question. Returns the path of its page.
    fn link(&self, task: &str, input: &str, name: &str) -> String {
        let path = format!("/api/tasks/{task}/inputs/{input}/links");
        let (status, made) = self.post(&path, &json!({ "for": name }));
        assert_eq!(status, 201, "{made}");
        made["path"].as_str().unwrap().to_owned()
    }
}

/// The example's process, which is killed at the end of the test.
struct Deploy(std::process::Child);

impl Drop for Deploy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_deploy_example_is_answered_from_the_command_line_and_by_a_link() {
    let asked = Asked::start();
    let mut command = deploy();
    command.arg("deploy-1").env("TIDINGS_URL", asked.url());
    command.stdout(std::process::Stdio::piped());
    let mut program = Deploy(command.spawn().unwrap());
    let printed = lines(program.0.stdout.take().unwrap());
    let line = || printed.recv_timeout(DEADLINE).expect("another line");

    // The first question is answered by a link. Whoever looks at the page answers nothing.
    let go = asked.question("deploy-1", "Deploy version 7 to production?");
    let link = asked.link("deploy-1", &go, "ada@example.org");
    let other = asked.link("deploy-1", &go, "bob@example.org");
    for method in ["GET", "HEAD"] {
        assert_eq!(asked.request(method, &link, "text/plain", "").0, 200);
    }
    assert_eq!(
        asked.question("deploy-1", "Deploy version 7 to production?"),
        go
    );
    let form = "application/x-www-form-urlencoded";
    let (status, page) = asked.request("POST", &link, form, "value=true");
    assert_eq!(status, 200);
    assert!(page.contains("Your answer was recorded"), "{page}");
    assert_eq!(line(), "ada@example.org answered true");

    // Every second answer is told who was first, whichever way it comes.
    let first = "ada@example.org";
    for late in [&link, &other] {
        let (status, page) = asked.request("POST", late, form, "value=false");
        assert_eq!(status, 409);
        let text = format!("{first} has answered this question already");
        assert!(page.contains(&text), "{page}");
    }
    let path = format!("/api/tasks/deploy-1/inputs/{go}");
    let (status, problem) = asked.post(&path, &json!({ "value": false }));
    assert_eq!(status, 409);
    assert_eq!(problem["code"], "already_answered");
    assert_eq!(problem["by"], first);
    let (code, told) = asked.answer("deploy-1", &go, ":=false");
    assert_eq!(code, Some(76), "{told}");
    assert!(told.contains(&format!("was answered by {first}")), "{told}");

    // The second question is answered from the command line.
    let replicas = asked.question("deploy-1", "How many replicas?");
    let (code, told) = asked.answer("deploy-1", &replicas, ":=9");
    assert_eq!(code, Some(76), "{told}");
    let (code, told) = asked.answer("deploy-1", &replicas, ":=3");
    assert_eq!(code, Some(0), "{told}");
    assert!(line().ends_with(" answered 3"));
    let deployed = line();
    assert!(deployed.contains(r#""replicas":3"#), "{deployed}");
    assert_eq!(asked.answer("deploy-1", &replicas, ":=3").0, Some(76));
    assert!(program.0.wait().unwrap().success());
}
