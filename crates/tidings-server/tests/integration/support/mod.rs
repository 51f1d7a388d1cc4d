//! Runs the real binary. Its environment contains only the variables that a test sets.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The longest time that a test waits for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(300);

/// Returns the command for the binary with these arguments.
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

/// Opens a connection with [`DEADLINE`] as the limit of every wait.
pub(crate) fn connect(addr: &str) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends bytes and returns everything that the server sends until it closes. The result is empty if
/// the server refuses the connection.
pub(crate) fn exchange(addr: &str, request: &[u8]) -> String {
    let mut stream = connect(addr);
    // The server may refuse the connection before it has read everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Runs the command to its end. The test does not stop it.
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

/// Returns the error output of a command that must fail with this exit code. The output must be a
/// message and not a panic.
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

/// A running server, which is killed at the end of the test.
pub(crate) struct Server {
    child: Running,
    lines: mpsc::Receiver<String>,
    /// The first line that the server printed.
    pub(crate) first_line: String,
}

impl Server {
    /// Starts the server and waits for its first line. No test reads the server's log here, and the
    /// server must still work.
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

    /// Returns `ADDR:PORT` from the first line.
    pub(crate) fn addr(&self) -> &str {
        let url = self.first_line.strip_prefix("listening on http");
        url.and_then(|url| url.trim_start_matches('s').strip_prefix("://"))
            .expect("the first line's form")
    }

    /// Returns the id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.0.id()
    }

    /// Returns the next line that the server prints.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("another line")
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.0.id().to_string();
        let status = Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits until the server has ended. Returns its exit code.
    pub(crate) fn wait(mut self) -> Option<i32> {
        self.child.wait().code()
    }
}

/// A server whose JSON log the test reads.
pub(crate) struct Logs {
    child: Running,
    lines: mpsc::Receiver<String>,
    addr: String,
    seen: Vec<String>,
}

impl Logs {
    /// Starts the server and waits until it listens.
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

    /// Returns `ADDR:PORT`.
    pub(crate) fn addr(&self) -> &str {
        &self.addr
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.0.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.unwrap().success());
    }

    /// Returns the next line that contains these words.
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

    /// Returns all lines up to the end. The test does not stop the server.
    pub(crate) fn all(mut self) -> Vec<String> {
        self.child.wait();
        self.seen.extend(self.lines.iter());
        self.seen
    }
}

/// Returns the lines of a pipe as a channel, so that a test can wait with a deadline.
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

/// A child process that is killed at the end of its test.
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
        // In most tests the process has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
