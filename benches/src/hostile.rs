//! Does anybody else feel what one hostile client does?
//!
//! `cargo bench --bench hostile`: 50 watchers of ten tasks at 100 publishes a
//! second, calm, and beside one hostile trial after another. The hostile client
//! comes from an address of its own, and the server has the limits for strangers.
//! Each line has the memory of the server, the p99 latency of the calm clients
//! without and with the trial, and how many of their tasks were lost. `-- --quick`
//! is a short form, and `--only=NAME` runs one trial.

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

/// A trial: what it is, and what one thread of it does until it is stopped.
type Trial = (&'static str, usize, fn(SocketAddr, &Stop));

const TRIALS: [Trial; 10] = [
    ("named-tasks", 2, named_tasks),
    ("idle-http", 1, idle_http),
    ("unread-lists", 1, unread_lists),
    ("batches", 2, batches),
    ("pattern-on-off", 4, pattern_on_off),
    ("unread-patterns", 1, unread_patterns),
    ("come-and-go", 2, come_and_go),
    ("malformed", 2, malformed),
    ("pings", 2, pings),
    ("nowhere", 2, nowhere),
];

pub(crate) fn main() {
    let args = Args::read();
    let (window, subjects) = if args.quick {
        (Duration::from_millis(500), 1)
    } else {
        // All of it is over within two heartbeats, which the loader does not answer.
        (Duration::from_millis(1_500), 10)
    };
    process::pin_to_core(1);
    let server = ServerProcess::start("tidings-strangers");
    let addr = server.addr();
    let mut calm = Loader::connect(addr, &CALM, true);
    for number in 0..subjects {
        fill(addr, number);
    }
    let tasks = subjects * TASKS_OF_A_SUBJECT;
    println!("{tasks} more tasks are there");
    println!(
        "{:<18}{:>10}{:>10}{:>13}{:>10}{:>8}{:>6}",
        "trial", "MiB", "peak MiB", "calm p99 ms", "p99 ms", "ratio", "lost"
    );
    let mut felt = Vec::new();
    for (name, threads, hostile) in TRIALS {
        if !args.wants(name) {
            continue;
        }
        let before = calm.run(window).latency(0.99);
        let memory = server.resident();
        let stop = Stop::default();
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
        let during = calm.run(window).latency(0.99);
        let peak = server.resident();
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap();
        }
        let lost = (0..CALM.tasks)
            .filter(|task| !is_there(addr, *task))
            .count();
        let (memory, peak_mib) = (memory >> 20, peak >> 20);
        println!(
            "{name:<18}{memory:>10}{peak_mib:>10}{before:>13.2}{during:>10.2}{:>8.2}{lost:>6}",
            during / before
        );
        assert_eq!(lost, 0, "{name}: others' tasks are lost");
        assert!(peak <= MOST_BYTES, "{name}: {peak_mib} MiB are resident");
        if during > NOT_FELT_MS && during > 2.0 * before {
            felt.push(name);
        }
    }
    if !felt.is_empty() {
        println!("others felt: {}", felt.join(", "));
    }
}

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
    let header = format!("\r\nAuthorization: Bearer {name}\r\n\r\n");
    let request = loader::upgrade(addr, "/ws").replace("\r\n\r\n", &header);
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

/// Sends a batch whose answer would be a hundred times as large.
fn batches(addr: SocketAddr, stop: &Stop) {
    let body = format!("[{}0]", "0,".repeat(500_000));
    let request = format!(
        "POST /api/tasks/eve/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer eve\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let Ok(mut stream) = arrive(addr) else {
        return;
    };
    while !stop.load(Ordering::Relaxed) {
        if stream.write_all(request.as_bytes()).is_err() || !drain(&mut stream) {
            return;
        }
        std::thread::sleep(PAUSE);
    }
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

/// Sends what is no message.
fn malformed(addr: SocketAddr, stop: &Stop) {
    let many = frames::masked("x").repeat(1_000);
    flood(addr, stop, || many.clone());
}

fn pings(addr: SocketAddr, stop: &Stop) {
    let many = frames::masked(r#"{"type":"ping"}"#).repeat(1_000);
    flood(addr, stop, || many.clone());
}

/// Asks for paths that lead nowhere.
fn nowhere(addr: SocketAddr, stop: &Stop) {
    let request = get("/nowhere", "eve", "").repeat(100);
    let Ok(mut stream) = arrive(addr) else {
        return;
    };
    while !stop.load(Ordering::Relaxed) {
        if stream.write_all(request.as_bytes()).is_err() || !drain(&mut stream) {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}
