//! One thread that publishes, counts frames straight from its read buffers, and
//! checks their offsets. It must never be the bottleneck: what it measures is
//! the server.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// What is put on the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) tasks: usize,
    /// Over all tasks.
    pub(crate) watchers: usize,
    /// Publishes that have not reached their last watcher.
    pub(crate) in_flight: usize,
}

/// What came of it.
pub(crate) struct Seen {
    pub(crate) deliveries: u64,
    pub(crate) elapsed: Duration,
    /// Latencies in microseconds: a count for each power of 1.05.
    histogram: Vec<u64>,
}

/// Growth from one bucket of the histogram to the next.
const BUCKET: f64 = 1.05;

impl Seen {
    /// The latency, in milliseconds, that this share of deliveries stayed under.
    pub(crate) fn latency(&self, share: f64) -> f64 {
        let total: u64 = self.histogram.iter().sum();
        let mut seen = 0;
        for (bucket, count) in self.histogram.iter().enumerate() {
            seen += count;
            if seen as f64 >= total as f64 * share {
                return BUCKET.powi(bucket as i32) / 1_000.0;
            }
        }
        0.0
    }
}

/// An event as the servers send it: 224 bytes of JSON, a frame of 228.
pub(crate) fn example_event() -> String {
    format!(
        "{{\"event_type\":\"progress_update\",\"task_id\":\"bench-0000\",\"offset\":100000,\
         \"timestamp\":\"2026-11-23T04:45:12.123Z\",\"data\":{}}}",
        data()
    )
}

fn data() -> String {
    format!("{{\"progress\":40,\"message\":\"{}\"}}", "x".repeat(75))
}

struct Watcher {
    stream: TcpStream,
    task: usize,
    /// Of the current frame: bytes of its header, and of its payload to come.
    header: [u8; 10],
    header_len: usize,
    payload_left: usize,
    /// The beginning of the payload, in which the offset lies.
    head: Vec<u8>,
    /// Events that have come.
    events: u64,
}

/// A publish on its way.
struct Task {
    /// When each publish that is in flight was sent, oldest first.
    sent: std::collections::VecDeque<Instant>,
    /// Publishes that every watcher has.
    complete: u64,
    /// Watchers that have the next one.
    watchers: usize,
    have: std::collections::VecDeque<usize>,
}

pub(crate) struct Loader {
    poll: Poll,
    watchers: Vec<Watcher>,
    tasks: Vec<Task>,
    publisher: Option<std::net::TcpStream>,
    requests: Vec<Vec<u8>>,
    next_task: usize,
    in_flight: usize,
    max_in_flight: usize,
    check: bool,
    buffer: Vec<u8>,
    deliveries: u64,
    histogram: Vec<u64>,
}

/// Bytes of a payload that are looked at: the offset lies within.
const HEAD: usize = 120;

pub(crate) fn handshake(addr: SocketAddr, path: &str) -> (std::net::TcpStream, Vec<u8>) {
    let mut stream = std::net::TcpStream::connect(addr).expect("the server accepts");
    stream.set_nodelay(true).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        if let Some(end) = response.windows(4).position(|window| window == b"\r\n\r\n") {
            assert!(response.starts_with(b"HTTP/1.1 101"), "an upgrade");
            return (stream, response.split_off(end + 4));
        }
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the server answers the handshake");
        response.extend_from_slice(&buffer[..count]);
    }
}

fn task_id(task: usize) -> String {
    format!("bench-{task:04}")
}

/// A masked text frame with a publish.
fn request(task: usize) -> Vec<u8> {
    let text = format!(
        "{{\"type\":\"publish\",\"task_id\":\"{}\",\"event_type\":\"progress_update\",\"data\":{}}}",
        task_id(task),
        data()
    );
    let mut frame = Vec::new();
    // A mask of zeros leaves the payload as it is.
    tungstenite::protocol::frame::FrameHeader {
        opcode: tungstenite::protocol::frame::coding::OpCode::Data(
            tungstenite::protocol::frame::coding::Data::Text,
        ),
        mask: Some([0; 4]),
        ..Default::default()
    }
    .format(text.len() as u64, &mut frame)
    .unwrap();
    frame.extend_from_slice(text.as_bytes());
    frame
}

impl Loader {
    pub(crate) fn connect(addr: SocketAddr, load: &Load, check: bool) -> Self {
        let poll = Poll::new().unwrap();
        let mut loader = Self {
            poll,
            watchers: Vec::new(),
            tasks: (0..load.tasks)
                .map(|_| Task {
                    sent: Default::default(),
                    complete: 0,
                    watchers: load.watchers / load.tasks,
                    have: Default::default(),
                })
                .collect(),
            publisher: None,
            requests: (0..load.tasks).map(request).collect(),
            next_task: 0,
            in_flight: 0,
            max_in_flight: load.in_flight,
            check,
            buffer: vec![0; 256 * 1024],
            deliveries: 0,
            histogram: vec![0; 512],
        };
        for number in 0..load.watchers {
            let task = number % load.tasks;
            let (stream, early) = handshake(addr, &format!("/ws/tasks/{}", task_id(task)));
            stream.set_nonblocking(true).unwrap();
            let mut stream = TcpStream::from_std(stream);
            let token = Token(number);
            loader
                .poll
                .registry()
                .register(&mut stream, token, Interest::READABLE)
                .unwrap();
            loader.watchers.push(Watcher {
                stream,
                task,
                header: [0; 10],
                header_len: 0,
                payload_left: 0,
                head: Vec::with_capacity(HEAD),
                events: 0,
            });
            loader.take(number, &early, Instant::now());
        }
        // Last, since the bare server only serves it from then on.
        let (publisher, _) = handshake(addr, "/ws");
        let mut acks = publisher.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while matches!(acks.read(&mut buffer), Ok(count) if count > 0) {}
        });
        loader.publisher = Some(publisher);
        loader
    }

    /// Keeps the load up for this long, then lets it run dry.
    pub(crate) fn run(&mut self, window: Duration) -> Seen {
        self.warm_up();
        self.deliveries = 0;
        self.histogram.fill(0);
        let start = Instant::now();
        while start.elapsed() < window {
            self.publish();
            self.wait();
        }
        let seen = Seen {
            deliveries: self.deliveries,
            elapsed: start.elapsed(),
            histogram: self.histogram.clone(),
        };
        while self.in_flight > 0 {
            self.wait();
        }
        seen
    }

    fn warm_up(&mut self) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(200) {
            self.publish();
            self.wait();
        }
    }

    /// Publishes until as many as allowed are in flight, in one write.
    fn publish(&mut self) {
        let mut bytes = Vec::new();
        let now = Instant::now();
        while self.in_flight < self.max_in_flight {
            let at = self.next_task;
            self.next_task = (at + 1) % self.tasks.len();
            bytes.extend_from_slice(&self.requests[at]);
            let task = &mut self.tasks[at];
            task.sent.push_back(now);
            task.have.push_back(0);
            self.in_flight += 1;
        }
        if let (Some(publisher), false) = (&mut self.publisher, bytes.is_empty()) {
            publisher.write_all(&bytes).unwrap();
        }
    }

    fn wait(&mut self) {
        let mut events = Events::with_capacity(1_024);
        self.poll
            .poll(&mut events, Some(Duration::from_secs(10)))
            .unwrap();
        assert!(
            !events.is_empty(),
            "nothing came for ten seconds: {} in flight",
            self.in_flight
        );
        let mut buffer = std::mem::take(&mut self.buffer);
        for event in &events {
            let number = event.token().0;
            // Edge-triggered: to the end.
            loop {
                match self.watchers[number].stream.read(&mut buffer) {
                    Ok(0) => panic!("the server closed a watcher's connection"),
                    Ok(count) => {
                        self.take(number, &buffer[..count], Instant::now());
                        if count < buffer.len() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    Err(error) => panic!("a watcher's connection broke: {error}"),
                }
            }
        }
        self.buffer = buffer;
    }

    /// Walks the frames in what a watcher has got.
    fn take(&mut self, number: usize, mut bytes: &[u8], now: Instant) {
        let watcher = &mut self.watchers[number];
        while !bytes.is_empty() {
            if watcher.payload_left == 0 {
                watcher.header[watcher.header_len] = bytes[0];
                watcher.header_len += 1;
                bytes = &bytes[1..];
                let header = &watcher.header[..watcher.header_len];
                let payload = match (header.get(1).copied(), header.len()) {
                    (Some(126), 4) => usize::from(u16::from_be_bytes([header[2], header[3]])),
                    (Some(127), 10) => {
                        u64::from_be_bytes(header[2..10].try_into().unwrap()) as usize
                    }
                    (Some(short), 2) if short < 126 => usize::from(short),
                    _ => continue,
                };
                watcher.header_len = 0;
                watcher.payload_left = payload;
                watcher.head.clear();
                continue;
            }
            let count = watcher.payload_left.min(bytes.len());
            let wanted = (HEAD - watcher.head.len()).min(count);
            watcher.head.extend_from_slice(&bytes[..wanted]);
            watcher.payload_left -= count;
            bytes = &bytes[count..];
            if watcher.payload_left > 0 || !watcher.head.starts_with(b"{\"event_type\":\"progress_")
            {
                continue;
            }
            watcher.events += 1;
            if self.check {
                let offset = offset_in(&watcher.head);
                assert_eq!(
                    offset,
                    Some(watcher.events),
                    "watcher {number}: the next offset"
                );
            }
            self.deliveries += 1;
            let task = &mut self.tasks[watcher.task];
            let at = (watcher.events - task.complete - 1) as usize;
            let micros = now.duration_since(task.sent[at]).as_secs_f64() * 1e6;
            let bucket = (micros.max(1.0).ln() / BUCKET.ln()) as usize;
            self.histogram[bucket.min(511)] += 1;
            task.have[at] += 1;
            while task.have.front().is_some_and(|have| *have == task.watchers) {
                task.have.pop_front();
                task.sent.pop_front();
                task.complete += 1;
                self.in_flight -= 1;
            }
        }
    }
}

fn offset_in(head: &[u8]) -> Option<u64> {
    let key = b"\"offset\":";
    let start = head.windows(key.len()).position(|window| window == key)? + key.len();
    let digits = head[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
}
