//! A client that takes no part in the attacks. The attacks must not affect it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};

use crate::attacks::target::{SECRET, Target, claims, sign, status};
use crate::support::DEADLINE;

const TASKS: usize = 10;

/// The time between two events, if the server answers at once.
const PAUSE: Duration = Duration::from_millis(10);

/// The counts of the client's events.
pub(crate) struct Seen {
    /// Events that the server accepted.
    pub(crate) published: u64,
    /// Events that the watchers received.
    pub(crate) delivered: u64,
    /// The number of tasks that are gone.
    pub(crate) lost: usize,
}

/// A client that publishes to its tasks, one event after the other, and watches all of them.
pub(crate) struct Calm {
    addr: SocketAddr,
    token: String,
    stop: Arc<AtomicBool>,
    publisher: JoinHandle<[u64; TASKS]>,
    watchers: Vec<Watcher>,
}

/// Follows one task to its end. Returns the received offsets.
type Watcher = JoinHandle<Vec<u64>>;

fn path(task: usize) -> String {
    format!("/api/tasks/calm-{task}")
}

/// Connects from a separate address, so that limits of the attacker's address do not apply.
fn connect(addr: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 3], 0)).into())
        .unwrap();
    socket.connect(&addr.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends a request and returns the whole response.
fn ask(addr: SocketAddr, method: &str, path: &str, token: &str, body: &str) -> String {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = connect(addr);
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Publishes an event until the server has accepted it. A busy machine may miss a deadline of the
/// server. The event's id makes another try safe.
fn publish(addr: SocketAddr, token: &str, task: usize, number: u64, kind: &str) {
    let event =
        json!({"event_type": kind, "data": {}, "event_id": format!("calm-{task}-{number}")});
    let deadline = Instant::now() + DEADLINE;
    loop {
        let path = format!("{}/events", path(task));
        let answer = ask(addr, "POST", &path, token, &event.to_string());
        if (200..300).contains(&status(&answer)) {
            return;
        }
        assert!(
            [0, 408].contains(&status(&answer)),
            "the calm client is refused: {answer}"
        );
        assert!(
            Instant::now() < deadline,
            "calm event {number} is not accepted"
        );
    }
}

/// Follows a task until an event of type `last`. HTTP/1.0 has no chunks, so each event is a line.
fn follow(addr: SocketAddr, token: &str, task: usize) -> Watcher {
    let mut stream = connect(addr);
    let request = format!(
        "GET {}/events HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Accept: text/event-stream\r\n\r\n",
        path(task)
    );
    stream.write_all(request.as_bytes()).unwrap();
    thread::spawn(move || {
        let mut offsets = Vec::new();
        for line in BufReader::new(stream).lines() {
            let line = line.expect("the stream goes on");
            let Some(message) = line.strip_prefix("data:") else {
                continue;
            };
            let message: Value = serde_json::from_str(message).unwrap();
            match message["event_type"].as_str() {
                Some("gap" | "reset") => panic!("the calm watcher misses events: {message}"),
                Some("calm" | "last") => offsets.push(message["offset"].as_u64().unwrap()),
                _ => {}
            }
            if message["event_type"] == "last" {
                return offsets;
            }
        }
        panic!(
            "the calm watcher's stream ends after {} events",
            offsets.len()
        );
    })
}

impl Calm {
    pub(crate) fn start(target: &Target) -> Self {
        let claims = claims(|claims, now| {
            claims["sub"] = json!("calm");
            claims["exp"] = json!(now + 24 * 60 * 60);
            claims["tidings"] = json!({"watch": ["calm-*"], "publish": ["calm-*"]});
        });
        let token = sign(&Header::new(Algorithm::HS256), &claims, SECRET);
        let addr = target.addr();
        for task in 0..TASKS {
            publish(addr, &token, task, 1, "calm");
        }
        let watchers = (0..TASKS).map(|task| follow(addr, &token, task)).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, name) = (Arc::clone(&stop), token.clone());
        let publisher = thread::spawn(move || {
            let mut published = [1; TASKS];
            let mut task = 0;
            while !stopped.load(Ordering::Relaxed) {
                published[task] += 1;
                publish(addr, &name, task, published[task], "calm");
                task = (task + 1) % TASKS;
                thread::sleep(PAUSE);
            }
            published
        });
        Self {
            addr,
            token,
            stop,
            publisher,
            watchers,
        }
    }

    /// Stops, and returns the counts of the events. Panics if the client was refused, or if
    /// watchers missed events or received them in another order.
    pub(crate) fn finish(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut published = self.publisher.join().expect("the calm publisher is served");
        let mut delivered = 0;
        for (task, watcher) in self.watchers.into_iter().enumerate() {
            published[task] += 1;
            publish(self.addr, &self.token, task, published[task], "last");
            let offsets = watcher.join().expect("the calm watcher is served");
            let all = offsets[0]..=published[task];
            assert_eq!(offsets, all.collect::<Vec<_>>(), "calm-{task}");
            delivered += offsets.len() as u64;
        }
        let is_lost = |task: &usize| {
            let answer = ask(self.addr, "GET", &path(*task), &self.token, "");
            status(&answer) != 200
        };
        Seen {
            published: published.into_iter().sum(),
            delivered,
            lost: (0..TASKS).filter(is_lost).count(),
        }
    }
}
