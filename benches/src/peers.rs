//! How does Tidings compare with what one would use instead?
//!
//! `cargo bench --bench peers` puts the same loads on Tidings, on axum with `broadcast`, on Bun, on
//! Node.js with `ws`, and on FastAPI with uvicorn. `bash benches/peers/install` installs the last
//! three from their registries; the bench skips those that are missing. Their programs are in
//! `benches/peers`. All of them parse a publish, number it and write an event with its time. Only
//! Tidings also validates, keeps a history and a state, and recovers.
//!
//! Each server runs on one core and the loader on the other, in interleaved rounds. The loader
//! checks every offset.
//!
//! `-- --quick` runs one short round of each. `-- --only='4 in flight'` runs a single load.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::support::loader::{EVENT_BYTES, Load, Loader, Pace};
use crate::support::peers::Peers;
use crate::support::process::{self, ServerProcess};
use crate::support::report::{Measured, Report, median};
use crate::support::{Args, results};

const ROUNDS: usize = 5;
const WINDOW: Duration = Duration::from_millis(1_500);
const IDLE: &str = "idle";
const IDLE_WATCHERS: usize = 5_000;

/// A server that is compared.
struct Rival {
    name: &'static str,
    /// The program and its arguments, or `None` for a server inside this program.
    program: Option<(PathBuf, Vec<PathBuf>)>,
    version: String,
}

impl Rival {
    fn inside(name: &'static str) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            name,
            program: None,
            version,
        }
    }

    /// Returns a server that may be installed. `ask` makes its program print the versions.
    fn installed(
        name: &'static str,
        program: PathBuf,
        arguments: Vec<PathBuf>,
        ask: &[&str],
    ) -> Option<Self> {
        let answer = command(&program).args(ask).output().ok();
        let Some(answer) = answer.filter(|answer| answer.status.success()) else {
            println!("{name} is skipped: `bash benches/peers/install` installs it");
            return None;
        };
        let version = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        Some(Self {
            name,
            program: Some((program, arguments)),
            version,
        })
    }

    fn start(&self) -> ServerProcess {
        match &self.program {
            None => ServerProcess::start(self.name),
            Some((program, arguments)) => {
                let mut command = command(program);
                command.args(arguments);
                ServerProcess::start_program(command)
            }
        }
    }
}

/// Returns the directory into which `benches/peers/install` installs.
fn installed_in() -> PathBuf {
    let target = results::directory();
    target.parent().expect("it lies in target/").join("peers")
}

/// Returns a command that finds the installed packages of Node.js.
fn command(program: &PathBuf) -> Command {
    let mut command = Command::new(program);
    command.env("NODE_PATH", installed_in().join("node_modules"));
    command
}

fn rivals() -> Vec<Rival> {
    let bin = installed_in().join("python/bin");
    let source = |name: &str| {
        let sources = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers");
        vec![sources.join(name)]
    };
    let bun = Rival::installed("bun", bin.join("bun"), source("bun.js"), &["--version"]);
    let ask = "console.log(require('ws/package.json').version, 'on Node.js', process.version)";
    let ws = Rival::installed("ws", "node".into(), source("ws.cjs"), &["-e", ask]);
    let ask = "import sys, fastapi, uvicorn; print(fastapi.__version__, 'with uvicorn', \
               uvicorn.__version__, 'on Python', sys.version.split()[0])";
    let fastapi = Rival::installed(
        "fastapi",
        bin.join("python"),
        source("fastapi_app.py"),
        &["-c", ask],
    );
    let inside = ["tidings", "axum"].map(Rival::inside);
    inside
        .into_iter()
        .chain([bun, ws, fastapi].into_iter().flatten())
        .collect()
}

fn load(tasks: usize, in_flight: usize) -> Load {
    Load {
        tasks,
        watchers: 1_000,
        pace: Pace::InFlight(in_flight),
        event_bytes: EVENT_BYTES,
    }
}

pub(crate) fn main() {
    let args = Args::read();
    let (rounds, window, watchers) = if args.quick {
        (1, Duration::from_millis(300), 500)
    } else {
        (ROUNDS, WINDOW, IDLE_WATCHERS)
    };
    let rivals = rivals();
    for rival in &rivals {
        println!("{}: {}", rival.name, rival.version);
    }
    process::pin_to_core(1);
    let mut report = Report::default();
    for (shape, load) in [
        ("1,000 tasks x 1, 64 in flight", load(1_000, 64)),
        ("1 task x 1,000, 1 in flight", load(1, 1)),
        ("1 task x 1,000, 4 in flight", load(1, 4)),
        ("1 task x 1,000, 64 in flight", load(1, 64)),
    ] {
        for round in (0..rounds).filter(|_| args.wants(shape)) {
            for rival in &rivals {
                let server = rival.start();
                let mut loader = Loader::connect(server.addr(), &load, true);
                let before = server.cpu();
                let seen = loader.run(window);
                let cpu = server.cpu().since(&before);
                eprintln!("{shape}: {} round {}", rival.name, round + 1);
                report.add(shape, rival.name, Measured::new(&seen, cpu));
            }
        }
    }
    println!("{report}");
    if args.wants(IDLE) {
        println!("memory of {watchers} idle watchers of one task, KiB each");
        for rival in &rivals {
            let each = (0..rounds.min(3)).map(|_| idle(rival, watchers));
            println!("{:<18}{:>14.2}", rival.name, median(each));
        }
    }
}

/// Returns the resident memory of an idle watcher, in KiB.
fn idle(rival: &Rival, watchers: usize) -> f64 {
    const REST: Duration = Duration::from_secs(1);
    let server = rival.start();
    let mut peers = Peers::new(server.addr());
    // The first watchers load code and pages that later watchers share.
    peers.come_all(100, |_| "/ws/tasks/bench".to_owned());
    peers.idle(REST);
    let before = server.resident();
    peers.come_all(watchers, |_| "/ws/tasks/bench".to_owned());
    peers.idle(REST);
    server.resident().saturating_sub(before) as f64 / watchers as f64 / 1_024.0
}
