//! A real Redis for a test: its own process, port and directory.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::DEADLINE;

/// Ports tried before something else must be wrong.
const ATTEMPTS: usize = 20;

/// A `redis-server` on a free port; killed when the test is over.
#[derive(Debug)]
pub struct RedisServer {
    program: &'static str,
    port: u16,
    dir: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts one that keeps nothing on disk.
    ///
    /// # Panics
    /// When there is no `redis-server`: it is Debian's package of that name.
    pub fn start() -> Self {
        Self::with(&["--save", ""])
    }

    /// Starts one with these arguments.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn with(arguments: &[&str]) -> Self {
        Self::run("redis-server", arguments, &[])
    }

    /// Starts a sentinel that watches this server under the name `main`.
    ///
    /// # Panics
    /// When there is no `redis-sentinel`: it is Debian's package of that name.
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
        // Between the look for a free port and its use somebody else may take it.
        for _ in 0..ATTEMPTS {
            let port = free_port();
            let dir = std::env::temp_dir().join(format!("tidings-{program}-{port}"));
            // What a killed test may have left under the same number.
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

    /// Starts it and waits until it answers; false if it has ended instead.
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
        // Another server may answer under this port: it must be this one.
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

    /// `redis://…`, as clients take it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it keeps its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Sends one command, its words separated by spaces; gives the answer as it
    /// came, the first part of it if it is long.
    ///
    /// # Errors
    /// The server does not answer within [`DEADLINE`].
    pub fn command(&self, line: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.write_all(format!("{line}\r\n").as_bytes())?;
        let mut bytes = [0; 16 * 1024];
        let count = stream.read(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
    }

    /// Waits until `done` says so.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn wait_until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !done(self) {
            assert!(Instant::now() < deadline, "in time: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, with what its disk has.
    pub fn start_again(&mut self) {
        self.kill();
        let log = self.dir.join("log");
        assert!(
            self.spawn(),
            "it ends at once: {}",
            std::fs::read_to_string(log).unwrap_or_default()
        );
    }

    /// Stops it without ending it: it neither answers nor hangs up.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
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

/// A port that is free, and so is the one 10,000 higher, on which a cluster's
/// servers talk. Both lie below those that the system gives to connections that
/// go out: a server that is started again finds its port as it left it.
fn free_port() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    loop {
        let port = fastrand::u16(10_000..22_000);
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
}
