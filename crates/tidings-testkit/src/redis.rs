//! A real Redis for a test, with its own process, port and directory.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::DEADLINE;

/// The number of ports to try before giving up.
const ATTEMPTS: usize = 20;

/// A `redis-server` on a free port. It is killed at the end of the test.
#[derive(Debug)]
pub struct RedisServer {
    program: &'static str,
    port: u16,
    dir: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts a server that stores nothing on disk.
    ///
    /// # Panics
    /// Panics if `redis-server` is missing. Install Debian's package of that name.
    pub fn start() -> Self {
        Self::with(&["--save", ""])
    }

    /// Starts a server with these arguments.
    ///
    /// # Panics
    /// Panics like [`start`](Self::start).
    pub fn with(arguments: &[&str]) -> Self {
        Self::run("redis-server", arguments, &[])
    }

    /// Starts a sentinel that watches this server under the name `main`.
    ///
    /// # Panics
    /// Panics if `redis-sentinel` is missing. Install Debian's package of that name.
    pub fn sentinel_of(master: &RedisServer, quorum: usize) -> Self {
        let port = master.port;
        let config = [
            format!("sentinel monitor main 127.0.0.1 {port} {quorum}"),
            "sentinel down-after-milliseconds main 1000".to_owned(),
            "sentinel failover-timeout main 5000".to_owned(),
            "sentinel parallel-syncs main 1".to_owned(),
        ];
        Self::run("redis-sentinel", &[], &config)
    }

    fn run(program: &'static str, arguments: &[&str], config: &[String]) -> Self {
        let arguments: Vec<_> = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        // Another process may take the port between the search for it and its use.
        for _ in 0..ATTEMPTS {
            let port = free_port();
            let dir = std::env::temp_dir().join(format!("tidings-{program}-{port}"));
            // A killed test may have left a directory with the same number.
            let _ = std::fs::remove_dir_all(&dir);
            std::fs::create_dir_all(&dir).expect("a temporary directory can be made");
            let mut text = format!("port {port}\nbind 127.0.0.1\ndir {}\n", dir.display());
            for line in config {
                text.push_str(line);
                text.push('\n');
            }
            std::fs::write(dir.join("redis.conf"), text).expect("a temporary file can be written");
            let mut server = Self {
                program,
                port,
                dir,
                arguments: arguments.clone(),
                child: None,
            };
            if server.spawn() {
                return server;
            }
        }
        panic!("{program} found no port in {ATTEMPTS} attempts");
    }

    /// Starts the process and waits until it answers. Returns `false` if the process has ended.
    fn spawn(&mut self) -> bool {
        let log = std::fs::File::create(self.dir.join("log")).expect("a log can be written");
        let child = Command::new(self.program)
            .arg(self.dir.join("redis.conf"))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!(
                "{} cannot be started ({error}): install Debian's package",
                self.program
            )
        });
        // Another server may answer on this port, so compare the process id.
        let itself = format!("process_id:{}\r", child.id());
        let deadline = Instant::now() + DEADLINE;
        while !self
            .command("INFO server")
            .is_ok_and(|info| info.contains(&itself))
        {
            if child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return false;
            }
            assert!(
                Instant::now() < deadline,
                "in time: {} answers",
                self.program
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child = Some(child);
        true
    }

    /// Returns the address for clients: `redis://…`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the directory of the server's files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Sends one command, whose words are separated by spaces. Returns the raw answer, or the first
    /// part of a long one.
    ///
    /// # Errors
    /// Returns an error if the server does not answer within [`DEADLINE`].
    pub fn command(&self, line: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.write_all(format!("{line}\r\n").as_bytes())?;
        let mut bytes = [0; 16 * 1024];
        let count = stream.read(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
    }

    /// Waits until `done` returns `true`.
    ///
    /// # Panics
    /// Panics if it does not in time.
    pub fn wait_until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !done(self) {
            assert!(Instant::now() < deadline, "in time: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills the server, like a crash.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The process may already have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts the server again, with the data on its disk.
    pub fn start_again(&mut self) {
        self.kill();
        let log = self.dir.join("log");
        assert!(
            self.spawn(),
            "it ends at once: {}",
            std::fs::read_to_string(log).unwrap_or_default()
        );
    }

    /// Stops the process without ending it. It neither answers nor closes its connections.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets a paused process continue.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let Some(child) = &self.child else { return };
        let pid = child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "a signal is sent"
        );
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Returns a port that is free, and whose port 10,000 higher is free too. Servers of a Redis
/// cluster talk on that one. Both are below the ports that the system uses for outgoing
/// connections, so a server that is restarted finds its port still free.
fn free_port() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    loop {
        let port = fastrand::u16(10_000..22_000);
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
}
