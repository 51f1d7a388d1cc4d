//! Does anybody else feel what one hostile client does?
//!
//! `cargo bench --bench hostile`: 50 watchers of ten tasks at 100 publishes a
//! second, beside one hostile trial after another. Each trial has rounds in which
//! calm and attack take turns, and its line has the medians: a machine's noise then
//! falls on both. The hostile client comes from an address of its own, and the server
//! has the limits for strangers. Each line has the most memory that the server held,
//! the p99 latency of the calm clients without and with the trial, and how many of
//! their tasks were lost. Lost tasks, too much memory, and events that do not come
//! fail the bench; so does a latency that is felt. `-- --only=NAME` runs one trial.
//! There is no short form: the attacks of `tidings-server`'s tests run in CI, and count
//! and compare nothing that depends on the machine.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::Args;
use crate::support::frames;
use crate::support::loader::{self, EVENT_BYTES, Load, Loader, Pace};
use crate::support::process::{self, ServerProcess};
use crate::support::report::median;

/// What others do all the while.
const CALM: Load = Load {
    tasks: 10,
    watchers: 50,
    pace: Pace::Rate(100),
    event_bytes: EVENT_BYTES,
};

/// What the server may hold: `max-total-bytes`, and 64 MiB for everything else.
const MOST_BYTES: u64 = (256 + 64) << 20;

/// Latencies under this are not felt, whatever their ratio is.
const NOT_FELT_MS: f64 = 50.0;

/// Between two steps of a trial, so that it takes little of the loader's core.
const PAUSE: Duration = Duration::from_millis(2);

type Stop = Arc<AtomicBool>;

/// A trial: what it is, and what each of so many threads does until it is stopped.
type Trial = (&'static str, usize, fn(SocketAddr, &Stop));

const TRIALS: [Trial; 15] = [
    ("named-tasks", 2, named_tasks),
    ("idle-http", 1, idle_http),
    ("unread-lists", 1, unread_lists),
    ("unread-history", 1, unread_history),
    ("batches", 2, batches),
    ("pattern-on-off", 4, pattern_on_off),
    ("unread-patterns", 1, unread_patterns),
    ("come-and-go", 2, come_and_go),
    ("come-back", 2, come_back),
    ("malformed", 2, malformed),
    ("pings", 2, pings),
    ("frames", 2, ping_frames),
    ("nowhere", 2, nowhere),
    ("not-there", 2, not_there),
    ("large-states", 2, large_states),
];

/// What came of a trial.
#[derive(Default)]
struct Outcome {
    calm: Vec<f64>,
    hostile: Vec<f64>,
    peak: u64,
}

impl Outcome {
    /// One round of calm, and one beside the trial.
    fn round(
        &mut self,
        (name, threads, hostile): Trial,
        calm: &mut Loader,
        server: &ServerProcess,
    ) {
        let mut p99 = |what: &str| {
            let seen = calm.run_to_the_end(WINDOW);
            let seen = seen.unwrap_or_else(|| panic!("{name}, {what}: calm events do not come"));
            assert!(seen.deliveries > 0, "{name}, {what}: no calm event came");
            seen.latency(0.99)
        };
        self.calm.push(p99("calm"));
        let (addr, stop) = (server.addr(), Stop::default());
        let threads: Vec<JoinHandle<()>> = (0..threads)
            .map(|_| {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        hostile(addr, &stop);
                        std::thread::sleep(PAUSE);
                    }
                })
            })
            .collect();
        self.hostile.push(p99("attacked"));
        self.peak = self.peak.max(server.resident());
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap();
        }
    }

    fn is_felt(&self) -> bool {
        let (calm, hostile) = self.medians();
        hostile > NOT_FELT_MS && hostile > 2.0 * calm
    }

    fn medians(&self) -> (f64, f64) {
        let of = |all: &[f64]| median(all.iter().copied());
        (of(&self.calm), of(&self.hostile))
    }
}

pub(crate) fn main() {
    let args = Args::read();
    process::pin_to_core(1);
    let tasks = SUBJECTS * TASKS_OF_A_SUBJECT;
    println!("{tasks} more tasks are there");
    println!(
        "{:<18}{:>10}{:>10}{:>13}{:>10}{:>8}{:>6}",
        "trial", "MiB", "peak MiB", "calm p99 ms", "p99 ms", "ratio", "lost"
    );
    let mut felt = Vec::new();
    for trial in TRIALS {
        let name = trial.0;
        if !args.wants(name) {
            continue;
        }
        let server = ServerProcess::start("tidings-strangers");
        let addr = server.addr();
        for number in 0..SUBJECTS {
            fill(addr, number);
        }
        let memory = server.resident() >> 20;
        let mut outcome = Outcome::default();
        let mut calm = Loader::connect(addr, &CALM, true);
        for _ in 0..ROUNDS {
            outcome.round(trial, &mut calm, &server);
        }
        drop(calm);
        let lost = (0..CALM.tasks)
            .filter(|task| !is_there(addr, *task))
            .count();
        let peak = outcome.peak >> 20;
        let (before, during) = outcome.medians();
        println!(
            "{name:<18}{memory:>10}{peak:>10}{before:>13.2}{during:>10.2}{:>8.2}{lost:>6}",
            during / before
        );
        assert_eq!(lost, 0, "{name}: others' tasks are lost");
        assert!(
            outcome.peak <= MOST_BYTES,
            "{name}: {peak} MiB are resident"
        );
        if outcome.is_felt() {
            felt.push(name);
        }
    }
    assert!(felt.is_empty(), "others felt: {}", felt.join(", "));
}

/// How long calm and attack take turns, and how often.
const WINDOW: Duration = Duration::from_millis(1_000);
const ROUNDS: usize = 5;

/// Subjects that have made tasks before.
const SUBJECTS: usize = 10;

/// Tasks that one subject may make at once.
const TASKS_OF_A_SUBJECT: usize = 1_900;

/// Makes tasks that nobody touches any more.
fn fill(addr: SocketAddr, subject: usize) {
    let mut stream = websocket(addr, &format!("filler-{subject}")).expect("a connection");
    for number in 0..TASKS_OF_A_SUBJECT {
        let text = format!(
            r#"{{"type":"publish","task_id":"idle-{subject}-{number}","event_type":"own","data":{{}}}}"#
        );
        stream.write_all(&frames::masked(&text)).expect("a write");
    }
    let last = frames::masked(r#"{"type":"ping","ref":"last"}"#);
    stream.write_all(&last).expect("a write");
    let mut seen = Vec::new();
    let mut bytes = [0; 4096];
    while !seen.windows(6).any(|part| part == b"\"pong\"") {
        let count = stream.read(&mut bytes).expect("an answer");
        assert!(count > 0, "the server ends the connection");
        seen.extend_from_slice(&bytes[..count]);
    }
}

fn is_there(addr: SocketAddr, task: usize) -> bool {
    let path = format!("/api/tasks/{}", loader::task_id(task));
    let Ok(mut stream) = TcpStream::connect(addr) else {
        return false;
    };
    let request = get(&path, "owner", "Connection: close\r\n");
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

fn get(path: &str, name: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {name}\r\n{headers}\r\n"
    )
}

/// Connects from an address of its own, which has limits too.
fn arrive(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into())?;
    socket.connect(&addr.into())?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    Ok(stream)
}

fn websocket(addr: SocketAddr, name: &str) -> std::io::Result<TcpStream> {
    websocket_at(addr, "/ws", name)
}

fn websocket_at(addr: SocketAddr, path: &str, name: &str) -> std::io::Result<TcpStream> {
    let header = format!("\r\nAuthorization: Bearer {name}\r\n\r\n");
    let request = loader::upgrade(addr, path).replace("\r\n\r\n", &header);
    let mut stream = arrive(addr)?;
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}

/// Takes what has come, without waiting; false at the end.
fn drain(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 64 * 1024];
    let _ = stream.set_nonblocking(true);
    let alive = loop {
        match stream.read(&mut bytes) {
            Ok(0) => break false,
            Ok(_) => {}
            Err(error) => break error.kind() == ErrorKind::WouldBlock,
        }
    };
    let _ = stream.set_nonblocking(false);
    alive
}

/// Sends the same over and over on a WebSocket, and reads what comes.
fn flood(addr: SocketAddr, stop: &Stop, mut next: impl FnMut() -> Vec<u8>) {
    let Ok(mut stream) = websocket(addr, "eve") else {
        return;
    };
    while !stop.load(Ordering::Relaxed) {
        if stream.write_all(&next()).is_err() || !drain(&mut stream) {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Subscribes to tasks that do not exist.
fn named_tasks(addr: SocketAddr, stop: &Stop) {
    let mut number = 0;
    flood(addr, stop, || {
        number += 1;
        frames::masked(&format!(
            r#"{{"type":"subscribe","task_id":"nobody-{number}"}}"#
        ))
    });
}

/// Holds as many HTTP connections as it gets.
fn idle_http(addr: SocketAddr, stop: &Stop) {
    let mut held = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if let Ok(mut stream) = arrive(addr)
            && stream
                .write_all(get("/healthz", "eve", "").as_bytes())
                .is_ok()
        {
            held.push(stream);
        }
        if held.len() > 3_000 {
            held.clear();
        }
        std::thread::sleep(PAUSE);
    }
}

/// Asks for the longest lists, and takes none.
fn unread_lists(addr: SocketAddr, stop: &Stop) {
    let mut held = Vec::new();
    while !stop.load(Ordering::Relaxed) && held.len() < 200 {
        if let Ok(mut stream) = arrive(addr) {
            let request = get("/api/tasks?limit=1000", "eve", "").repeat(8);
            let _ = stream.write_all(request.as_bytes());
            held.push(stream);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Asks for the longest pages of history, over and over, and takes none.
fn unread_history(addr: SocketAddr, stop: &Stop) {
    let mut held = Vec::new();
    while !stop.load(Ordering::Relaxed) && held.len() < 200 {
        if let Ok(mut stream) = arrive(addr) {
            let path = format!("/api/tasks/{}/events?limit=1000", loader::task_id(0));
            let request = get(&path, "eve", "").repeat(8);
            let _ = stream.write_all(request.as_bytes());
            held.push(stream);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Sends a batch whose answer would be a hundred times as large.
fn batches(addr: SocketAddr, stop: &Stop) {
    let body = format!("[{}0]", "0,".repeat(500_000));
    let request = format!(
        "POST /api/tasks/eve/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer eve\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    repeat(addr, stop, request.as_bytes());
}

/// Subscribes to everything, and lets go of it.
fn pattern_on_off(addr: SocketAddr, stop: &Stop) {
    let on = frames::masked(r#"{"type":"subscribe","pattern":"*"}"#);
    let off = frames::masked(r#"{"type":"unsubscribe","pattern":"*"}"#);
    flood(addr, stop, || [&on[..], &off].concat());
}

/// Watches everything on many connections, and reads nothing.
fn unread_patterns(addr: SocketAddr, stop: &Stop) {
    let on = frames::masked(r#"{"type":"subscribe","pattern":"*"}"#);
    let mut held = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match websocket(addr, "eve") {
            Ok(mut stream) if held.len() < 200 => {
                let _ = stream.write_all(&on);
                held.push(stream);
                std::thread::sleep(PAUSE);
            }
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Comes, watches everything, and goes, as another client each time.
fn come_and_go(addr: SocketAddr, stop: &Stop) {
    let on = frames::masked(r#"{"type":"subscribe","pattern":"*"}"#);
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = websocket(addr, "eve") else {
            return;
        };
        let _ = stream.write_all(&on);
        for _ in 0..20 {
            std::thread::sleep(PAUSE);
            if !drain(&mut stream) {
                break;
            }
        }
    }
}

/// Watches everything, and comes back to it as the same client, over and over.
fn come_back(addr: SocketAddr, stop: &Stop) {
    let on = frames::masked(r#"{"type":"subscribe","pattern":"*"}"#);
    let mut token = String::new();
    let id = format!("eve-{:?}", std::thread::current().id());
    let id: String = id.chars().filter(|c| c.is_alphanumeric()).collect();
    while !stop.load(Ordering::Relaxed) {
        let path = match token.as_str() {
            "" => format!("/ws?client_id={id}"),
            token => format!("/ws?client_id={id}&resume_token={token}"),
        };
        let Ok(mut stream) = websocket_at(addr, &path, "eve") else {
            return;
        };
        let _ = stream.write_all(&on);
        let mut bytes = vec![0; 64 * 1024];
        let count = stream.read(&mut bytes).unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes[..count]);
        if let Some((_, rest)) = text.split_once("\"resume_token\":\"") {
            token = rest.split('"').next().unwrap_or_default().to_owned();
        }
        for _ in 0..20 {
            std::thread::sleep(PAUSE);
            if !drain(&mut stream) {
                break;
            }
        }
    }
}

/// Sends what is no message.
fn malformed(addr: SocketAddr, stop: &Stop) {
    let many = frames::masked("x").repeat(1_000);
    flood(addr, stop, || many.clone());
}

fn pings(addr: SocketAddr, stop: &Stop) {
    let many = frames::masked(r#"{"type":"ping"}"#).repeat(1_000);
    flood(addr, stop, || many.clone());
}

/// Sends pings of the WebSocket protocol, which are no messages.
fn ping_frames(addr: SocketAddr, stop: &Stop) {
    let many = [0x89, 0x80, 1, 2, 3, 4].repeat(1_000);
    flood(addr, stop, || many.clone());
}

/// Asks for tasks that are not there, with a token.
fn not_there(addr: SocketAddr, stop: &Stop) {
    let request = get("/api/tasks/nobody", "eve", "").repeat(100);
    repeat(addr, stop, request.as_bytes());
}

/// Makes tasks with states as large as an event may be.
fn large_states(addr: SocketAddr, stop: &Stop) {
    let mut number = 0;
    let result = "x".repeat(50_000);
    flood(addr, stop, || {
        number = (number + 1) % 1_900;
        let text = format!(
            r#"{{"type":"publish","task_id":"eve-{number}","event_type":"task_completed","data":{{"result":"{result}"}}}}"#
        );
        frames::masked(&text)
    });
}

/// Asks for paths that lead nowhere.
fn nowhere(addr: SocketAddr, stop: &Stop) {
    let request = get("/nowhere", "eve", "").repeat(100);
    repeat(addr, stop, request.as_bytes());
}

/// Sends the same over and over on an HTTP connection, and reads what comes.
fn repeat(addr: SocketAddr, stop: &Stop, request: &[u8]) {
    let Ok(mut stream) = arrive(addr) else {
        return;
    };
    while !stop.load(Ordering::Relaxed) {
        if stream.write_all(request).is_err() || !drain(&mut stream) {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}
