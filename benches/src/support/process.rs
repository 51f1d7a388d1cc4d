//! A server in its own process, on its own core.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// The ticks per second in `/proc/<pid>/stat` (`getconf CLK_TCK` on every Linux).
const TICKS: f64 = 100.0;

pub(crate) struct ServerProcess {
    child: Child,
    addr: SocketAddr,
}

/// The CPU time that a process has used, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Cpu {
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            user: self.user - before.user,
            system: self.system - before.system,
        }
    }
}

/// Pins this thread, and the threads that it starts, to one core.
pub(crate) fn pin_to_core(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    if rustix::thread::sched_setaffinity(None, &set).is_err() {
        eprintln!("core {core} is not to be had; server and loader share cores");
    }
}

impl ServerProcess {
    /// Starts this same program as a server.
    pub(crate) fn start(kind: &str) -> Self {
        Self::start_for(kind, super::loader::EVENT_BYTES)
    }

    /// Starts a server for events of this size, which the bare server has to know.
    pub(crate) fn start_for(kind: &str, event_bytes: usize) -> Self {
        Self::start_with(kind, event_bytes, &[])
    }

    /// Starts a node of a cluster, over the Redis at this address.
    pub(crate) fn over_redis(url: &str) -> Self {
        let variables = [(super::servers::REDIS_VAR, url)];
        Self::start_with("tidings-redis", super::loader::EVENT_BYTES, &variables)
    }

    /// Starts a server that stores its events in this directory.
    pub(crate) fn with_disk(kind: &str, directory: &std::path::Path) -> Self {
        let directory = directory.to_str().expect("the path is text");
        let variables = [(super::servers::DISK_VAR, directory)];
        Self::start_with(kind, super::loader::EVENT_BYTES, &variables)
    }

    /// Starts a server that returns free memory to the system at once, instead of at a later
    /// allocation. Its resident memory is then in use.
    pub(crate) fn returning_memory(kind: &str) -> Self {
        let variables = [("MIMALLOC_PURGE_DELAY", "0")];
        Self::start_with(kind, super::loader::EVENT_BYTES, &variables)
    }

    fn start_with(kind: &str, event_bytes: usize, variables: &[(&str, &str)]) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new(program);
        command
            .args(["--serve", kind])
            .env(super::servers::EVENT_BYTES_VAR, event_bytes.to_string())
            .envs(variables.iter().copied());
        Self::listening(command)
    }

    /// Starts another program as a server, on the first core. The caller runs on the second.
    pub(crate) fn start_program(command: Command) -> Self {
        pin_to_core(0);
        let server = Self::listening(command);
        pin_to_core(1);
        server
    }

    /// Starts a server, and waits until it has printed its address.
    fn listening(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program of a server starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output is piped");
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let addr = line.trim().parse().expect("a server prints its address");
        Self { child, addr }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the resident memory of the process itself, in bytes. It excludes the pages of the
    /// program's file, which are loaded when they are first run.
    pub(crate) fn resident(&self) -> u64 {
        self.status("RssAnon:")
    }

    /// Returns the peak of the resident memory, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    }

    /// Returns how long the threads have run, in seconds. It is exact to the nanosecond, while
    /// [`cpu`](Self::cpu) counts ticks.
    pub(crate) fn run_time(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        tasks
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
            .filter_map(|text| text.split(' ').next()?.parse::<f64>().ok())
            .sum::<f64>()
            / 1e9
    }

    pub(crate) fn cpu(&self) -> Cpu {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The second field is in parentheses, and may contain spaces.
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        let ticks = |at: usize| fields[at].parse::<f64>().unwrap() / TICKS;
        Cpu {
            user: ticks(11),
            system: ticks(12),
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
