//! A single thread that publishes, counts frames directly in its read buffers, and checks their
//! offsets. It must never be the bottleneck, because it measures the server.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::frames::{self, Frames};

/// The load of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) tasks: usize,
    /// The number of watchers of all tasks.
    pub(crate) watchers: usize,
    pub(crate) pace: Pace,
    /// The number of bytes of an event's JSON text.
    pub(crate) event_bytes: usize,
}

/// When the next event is published.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// As soon as fewer than this number have yet to reach their last watcher.
    InFlight(usize),
    /// At this rate per second.
    Rate(u32),
}

/// The usual size of an event: 224 bytes of JSON, in a frame of 228 bytes.
pub(crate) const EVENT_BYTES: usize = 224;

/// The result of a load.
pub(crate) struct Seen {
    pub(crate) deliveries: u64,
    pub(crate) elapsed: Duration,
    histogram: Histogram,
}

/// Latencies in microseconds, with one count for each power of 1.05.
#[derive(Clone)]
pub(crate) struct Histogram(Vec<u64>);

/// The ratio between two neighbouring buckets of the histogram.
const BUCKET: f64 = 1.05;

impl Default for Histogram {
    fn default() -> Self {
        Self(vec![0; 512])
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, latency: Duration) {
        let micros = latency.as_secs_f64() * 1e6;
        let bucket = (micros.max(1.0).ln() / BUCKET.ln()) as usize;
        self.0[bucket.min(511)] += 1;
    }

    /// Returns the latency in milliseconds that this share of the events did not exceed.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let total: u64 = self.0.iter().sum();
        let mut seen = 0;
        for (bucket, count) in self.0.iter().enumerate() {
            seen += count;
            if seen as f64 >= total as f64 * share {
                return BUCKET.powi(bucket as i32) / 1_000.0;
            }
        }
        0.0
    }
}

impl Seen {
    pub(crate) fn latency(&self, share: f64) -> f64 {
        self.histogram.quantile(share)
    }
}

/// Returns an event as the servers send it.
pub(crate) fn example_event(bytes: usize) -> String {
    format!(
        "{{\"event_type\":\"progress_update\",\"task_id\":\"bench-0000\",\"offset\":100000,\
         \"timestamp\":\"2026-11-23T04:45:12.123Z\",\"data\":{}}}",
        data(bytes)
    )
}

/// Returns data for an event of about this size. Another 117 bytes surround the data.
pub(crate) fn data(event_bytes: usize) -> String {
    let around = 117 + 29;
    format!(
        "{{\"progress\":40,\"message\":\"{}\"}}",
        "x".repeat(event_bytes.saturating_sub(around))
    )
}

struct Watcher {
    stream: TcpStream,
    task: usize,
    frames: Frames,
    greeted: bool,
    /// The number of events that have arrived.
    events: u64,
}

/// The publishes of a task that are in flight.
struct Task {
    /// When each publish in flight was sent, the oldest first.
    sent: VecDeque<Instant>,
    /// The number of publishes that every watcher has received.
    complete: u64,
    /// The number of all watchers.
    watchers: usize,
    /// For each publish in flight: how many watchers have received it.
    have: VecDeque<usize>,
}

pub(crate) struct Loader {
    poll: Poll,
    watchers: Vec<Watcher>,
    tasks: Vec<Task>,
    publisher: Option<std::net::TcpStream>,
    requests: Vec<Vec<u8>>,
    next_task: usize,
    in_flight: usize,
    pace: Pace,
    next_publish: Instant,
    check: bool,
    buffer: Vec<u8>,
    deliveries: u64,
    histogram: Histogram,
}

pub(crate) fn handshake(addr: SocketAddr, path: &str) -> std::net::TcpStream {
    let mut stream = std::net::TcpStream::connect(addr).expect("the server accepts");
    stream.set_nodelay(true).unwrap();
    stream.write_all(upgrade(addr, path).as_bytes()).unwrap();
    let mut buffer = [0; 4_096];
    loop {
        let count = stream.peek(&mut buffer).unwrap();
        assert!(count > 0, "the server answers the handshake");
        if let Some(end) = head_end(&buffer[..count]) {
            assert!(buffer.starts_with(b"HTTP/1.1 101"), "an upgrade");
            stream.read_exact(&mut buffer[..end]).unwrap();
            return stream;
        }
    }
}

/// Returns the request for an upgrade.
pub(crate) fn upgrade(addr: SocketAddr, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Returns where the head of a response ends, if it is complete.
pub(crate) fn head_end(response: &[u8]) -> Option<usize> {
    let end = response
        .windows(4)
        .position(|window| window == b"\r\n\r\n")?;
    Some(end + 4)
}

pub(crate) fn task_id(task: usize) -> String {
    format!("bench-{task:04}")
}

/// Returns a masked text frame with a publish. It has no `ref`, so the server does not answer it.
pub(crate) fn request(task: usize, event_bytes: usize) -> Vec<u8> {
    publish("", task, event_bytes)
}

/// Returns a masked text frame with a publish that the server answers with an `ack`.
pub(crate) fn request_with_ref(task: usize, event_bytes: usize) -> Vec<u8> {
    publish("\"ref\":7,", task, event_bytes)
}

fn publish(reference: &str, task: usize, event_bytes: usize) -> Vec<u8> {
    frames::masked(&format!(
        "{{\"type\":\"publish\",{reference}\"task_id\":\"{}\",\
         \"event_type\":\"progress_update\",\"data\":{}}}",
        task_id(task),
        data(event_bytes)
    ))
}

/// Publishes the first event of each task.
fn make_tasks(addr: SocketAddr, load: &Load) {
    let mut publisher = handshake(addr, "/ws");
    let mut frames = Frames::default();
    let mut buffer = vec![0; 64 * 1024];
    for task in 0..load.tasks {
        publisher
            .write_all(&request_with_ref(task, load.event_bytes))
            .unwrap();
        let mut answered = false;
        while !answered {
            let count = publisher.read(&mut buffer).unwrap();
            assert!(count > 0, "the server answers a publish");
            frames.feed(&buffer[..count], |_, head| {
                answered |= head.starts_with(b"{\"event_type\":\"ack\"");
            });
        }
    }
}

impl Loader {
    pub(crate) fn connect(addr: SocketAddr, load: &Load, check: bool) -> Self {
        Self::across(addr, addr, load, check)
    }

    /// Watches at one address and publishes at another.
    pub(crate) fn across(
        addr: SocketAddr,
        publish_at: SocketAddr,
        load: &Load,
        check: bool,
    ) -> Self {
        let poll = Poll::new().unwrap();
        // A task that does not exist has no epoch yet on which two nodes could agree. Its first
        // watchers would be told about another epoch with its first event.
        let before = if addr == publish_at {
            0
        } else {
            make_tasks(publish_at, load);
            1
        };
        let mut loader = Self {
            poll,
            watchers: Vec::new(),
            tasks: (0..load.tasks)
                .map(|_| Task {
                    sent: VecDeque::new(),
                    complete: before,
                    watchers: load.watchers / load.tasks,
                    have: VecDeque::new(),
                })
                .collect(),
            publisher: None,
            requests: (0..load.tasks)
                .map(|task| request(task, load.event_bytes))
                .collect(),
            next_task: 0,
            in_flight: 0,
            pace: load.pace,
            next_publish: Instant::now(),
            check,
            buffer: vec![0; 256 * 1024],
            deliveries: 0,
            histogram: Histogram::default(),
        };
        let mut greeting = [0; 4_096];
        for number in 0..load.watchers {
            let task = number % load.tasks;
            let stream = handshake(addr, &format!("/ws/tasks/{}", task_id(task)));
            loader.watchers.push(Watcher {
                stream: TcpStream::from_std(stream.try_clone().unwrap()),
                task,
                frames: Frames::default(),
                greeted: false,
                events: before,
            });
            // The bare server sends no greeting. With any other server, a watcher starts at its
            // greeting, and the snapshot contains earlier events.
            while check && !loader.watchers[number].greeted {
                let count = (&stream).read(&mut greeting).unwrap();
                assert!(count > 0, "the server greets");
                loader.take(number, &greeting[..count], Instant::now());
            }
            stream.set_nonblocking(true).unwrap();
            let (token, stream) = (Token(number), &mut loader.watchers[number].stream);
            let registry = loader.poll.registry();
            registry
                .register(stream, token, Interest::READABLE)
                .unwrap();
        }
        // Connect the publisher last, because the bare server only serves the publisher after that.
        let publisher = handshake(publish_at, "/ws");
        let mut acks = publisher.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while matches!(acks.read(&mut buffer), Ok(count) if count > 0) {}
        });
        loader.publisher = Some(publisher);
        loader
    }

    /// Gives every publish a `ref`, so that the server answers it.
    pub(crate) fn ask_for_answers(&mut self, event_bytes: usize) {
        let tasks = 0..self.tasks.len();
        self.requests = tasks
            .map(|task| request_with_ref(task, event_bytes))
            .collect();
    }

    /// Keeps the load up for this long, then waits for the events in flight.
    pub(crate) fn run(&mut self, window: Duration) -> Seen {
        self.warm_up();
        self.deliveries = 0;
        self.histogram = Histogram::default();
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

    /// Keeps the load up for this long, and measures until the last of it has come:
    /// an event that comes late counts as late. None if that takes a minute.
    pub(crate) fn run_to_the_end(&mut self, window: Duration) -> Option<Seen> {
        self.deliveries = 0;
        self.histogram = Histogram::default();
        let start = Instant::now();
        while start.elapsed() < window {
            self.publish();
            self.wait();
        }
        while self.in_flight > 0 {
            if start.elapsed() > window + Duration::from_secs(60) {
                return None;
            }
            self.wait();
        }
        Some(Seen {
            deliveries: self.deliveries,
            elapsed: start.elapsed(),
            histogram: self.histogram.clone(),
        })
    }

    fn warm_up(&mut self) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(200) {
            self.publish();
            self.wait();
        }
    }

    /// Publishes everything that is due, in one write.
    fn publish(&mut self) {
        let mut bytes = Vec::new();
        let now = Instant::now();
        while self.is_due(now) {
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

    fn is_due(&mut self, now: Instant) -> bool {
        match self.pace {
            Pace::InFlight(max) => self.in_flight < max,
            Pace::Rate(rate) => {
                let due = self.next_publish <= now;
                if due {
                    self.next_publish = now + Duration::from_secs(1) / rate;
                }
                due
            }
        }
    }

    fn wait(&mut self) {
        let mut events = Events::with_capacity(1_024);
        let timeout = match self.pace {
            Pace::InFlight(_) => Duration::from_secs(10),
            Pace::Rate(_) if self.in_flight > 0 => Duration::from_millis(1),
            Pace::Rate(_) => self.next_publish.saturating_duration_since(Instant::now()),
        };
        self.poll.poll(&mut events, Some(timeout)).unwrap();
        let paced = matches!(self.pace, Pace::Rate(_));
        assert!(
            paced || !events.is_empty(),
            "nothing came for ten seconds: {} in flight",
            self.in_flight
        );
        let mut buffer = std::mem::take(&mut self.buffer);
        for event in &events {
            let number = event.token().0;
            // The readiness is edge-triggered, so read to the end.
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

    /// Counts and checks the events in the bytes that a watcher received.
    fn take(&mut self, number: usize, bytes: &[u8], now: Instant) {
        let watcher = &mut self.watchers[number];
        let task = &mut self.tasks[watcher.task];
        watcher.frames.feed(bytes, |_, head| {
            assert!(
                !frames::is_gap(head),
                "watcher {number} was told of a gap, though it kept up"
            );
            watcher.greeted |= head.starts_with(b"{\"event_type\":\"connection_est");
            if !frames::is_event(head) {
                return;
            }
            watcher.events += 1;
            if self.check {
                let offset = frames::number(head, frames::OFFSET);
                let expected = Some(watcher.events);
                assert_eq!(offset, expected, "watcher {number}: the next offset");
            }
            self.deliveries += 1;
            let at = (watcher.events - task.complete - 1) as usize;
            self.histogram.add(now.duration_since(task.sent[at]));
            task.have[at] += 1;
            while task.have.front().is_some_and(|have| *have == task.watchers) {
                task.have.pop_front();
                task.sent.pop_front();
                task.complete += 1;
                self.in_flight -= 1;
            }
        });
    }
}
