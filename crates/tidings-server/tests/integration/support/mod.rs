//! Runs the real binary, with nothing of ours in its environment but what a test sets.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything that a test waits for may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(300);

/// The binary, to be given arguments and variables.
pub(crate) fn tidings(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.args(arguments);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDINGS_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// A connection on which nothing is waited for longer than [`DEADLINE`].
pub(crate) fn connect(addr: &str) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends bytes, and gives all that comes until the server closes; nothing, if it
/// turns the connection away.
pub(crate) fn exchange(addr: &str, request: &[u8]) -> String {
    let mut stream = connect(addr);
    // Who is refused early may not get it all out.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Runs it to its end, which must come by itself.
pub(crate) fn finish(command: &mut Command) -> Output {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let stdout = collect(running.0.stdout.take().unwrap());
    let stderr = collect(running.0.stderr.take().unwrap());
    let status = running.wait();
    let output =
        |from: mpsc::Receiver<Vec<u8>>| from.recv_timeout(DEADLINE).expect("the pipe is closed");
    Output {
        status,
        stdout: output(stdout),
        stderr: output(stderr),
    }
}

/// What it says on standard error when it ends with this code; it must be plain
/// words and not a panic.
pub(crate) fn refusal(command: &mut Command, code: i32) -> String {
    let output = finish(command);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(
        output.stdout.is_empty(),
        "{:?}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(stderr.starts_with("error: "), "{stderr}");
    assert!(
        !stderr.contains("panicked") && !stderr.contains("Error {"),
        "{stderr}"
    );
    stderr
}

fn collect(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        let _ = sender.send(bytes);
    });
    receiver
}

/// A server that listens; killed when the test is over.
pub(crate) struct Server {
    child: Running,
    lines: mpsc::Receiver<String>,
    /// The first line that it printed.
    pub(crate) first_line: String,
}

impl Server {
    /// Starts it, and waits for its first line. Nobody reads what it logs, and
    /// it is to be none the worse for that.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Running(command.spawn().unwrap());
        drop(child.0.stderr.take());
        let lines = lines(child.0.stdout.take().unwrap());
        let first_line = lines.recv_timeout(DEADLINE).expect("a first line");
        Self {
            child,
            lines,
            first_line,
        }
    }

    /// `ADDR:PORT`, from the first line.
    pub(crate) fn addr(&self) -> &str {
        let url = self.first_line.strip_prefix("listening on http");
        url.and_then(|url| url.trim_start_matches('s').strip_prefix("://"))
            .expect("the first line's form")
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.0.id()
    }

    /// The line that it prints next.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("another line")
    }

    /// Sends it a signal, by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.0.id().to_string();
        let status = Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits until it has ended; gives its exit code.
    pub(crate) fn wait(mut self) -> Option<i32> {
        self.child.wait().code()
    }
}

/// A server of which one reads what it logs, as JSON.
pub(crate) struct Logs {
    child: Running,
    lines: mpsc::Receiver<String>,
    addr: String,
    seen: Vec<String>,
}

impl Logs {
    /// Starts it, and waits until it listens.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Running(command.spawn().unwrap());
        let logged = lines(child.0.stderr.take().unwrap());
        let first = lines(child.0.stdout.take().unwrap());
        let first = first.recv_timeout(DEADLINE).expect("a first line");
        let addr = first.rsplit('/').next().unwrap().to_owned();
        Self {
            child,
            lines: logged,
            addr,
            seen: Vec::new(),
        }
    }

    /// `ADDR:PORT`.
    pub(crate) fn addr(&self) -> &str {
        &self.addr
    }

    /// Sends it a signal, by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.0.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.unwrap().success());
    }

    /// The next line with these words in it.
    pub(crate) fn line(&mut self, words: &str) -> serde_json::Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("no line {words:?}: {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(words) {
                return serde_json::from_str(&line).unwrap();
            }
        }
    }

    /// Every line, to the end, which must come by itself.
    pub(crate) fn all(mut self) -> Vec<String> {
        self.child.wait();
        self.seen.extend(self.lines.iter());
        self.seen
    }
}

/// The lines of a pipe, for one who waits for each no longer than a deadline.
pub(crate) fn lines(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// A child that does not outlive its test.
struct Running(Child);

impl Running {
    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server did not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already in most tests.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
