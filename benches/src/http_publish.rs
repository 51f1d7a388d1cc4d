//! How many events can one producer publish per second?
//!
//! `cargo bench --bench http_publish` measures it over WebSocket, one at a time and pipelined. It
//! also measures HTTP with keep-alive, with 1, 10 and 100 events per request, in interleaved rounds
//! with an axum handler that parses the same JSON, keeps nothing and answers 201. There are no
//! watchers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::frames::Frames;
use crate::support::loader::{self, EVENT_BYTES};
use crate::support::process::{self, ServerProcess};
use crate::support::report::median;
use crate::support::{Args, frames, results};

const ROUNDS: usize = 7;

/// The numbers of events in a request, and the results that they are recorded as.
const BATCHES: [(usize, &str); 3] = [
    (1, "http_1_to_axum"),
    (10, "http_10_to_axum"),
    (100, "http_100_to_axum"),
];

pub(crate) fn main() {
    let args = Args::read();
    let (rounds, window) = if args.quick {
        (1, Duration::from_millis(200))
    } else {
        (ROUNDS, Duration::from_millis(700))
    };
    process::pin_to_core(1);
    for (name, pipelined) in [
        ("WebSocket, one at a time", 1),
        ("WebSocket, 64 pipelined", 64),
    ] {
        if args.wants(name) {
            let server = ServerProcess::start("tidings");
            let mut stream = loader::handshake(server.addr(), "/ws");
            let request = loader::request_with_ref(0, EVENT_BYTES).repeat(pipelined);
            let mut frames = Frames::default();
            let seen = measure(&server, pipelined, window, || {
                stream.write_all(&request).unwrap();
                await_acks(&mut stream, &mut frames, pipelined);
            });
            println!(
                "{name:<28}{:>12.0} events/s{:>10.2} \u{b5}s",
                seen.rate, seen.micros
            );
        }
    }
    for (events, key) in BATCHES {
        if args.wants(&format!("HTTP, {events} a request")) {
            compare(events, key, rounds, window, args.quick);
        }
    }
}

/// What one round has shown.
struct Seen {
    /// Events per second.
    rate: f64,
    /// The server's processor time per event.
    micros: f64,
}

/// Compares Tidings with the handler, for this number of events in each request.
fn compare(events: usize, key: &str, rounds: usize, window: Duration, quick: bool) {
    let (mut own, mut other) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        own.push(over_http("tidings", events, window));
        other.push(over_http("axum-http", events, window));
    }
    let of = |seen: &[Seen], field: fn(&Seen) -> f64| median(seen.iter().map(field));
    let ratio = |field: fn(&Seen) -> f64| {
        let pairs = own.iter().zip(&other);
        median(pairs.map(|(own, other)| field(own) / field(other)))
    };
    let rate: fn(&Seen) -> f64 = |seen| seen.rate;
    let micros: fn(&Seen) -> f64 = |seen| seen.micros;
    println!(
        "HTTP, {events} a request: tidings {:.0} events/s, {:.2} \u{b5}s each; axum {:.0} \
         events/s, {:.2} \u{b5}s each; ratio {:.2} of events, {:.2} of processor time",
        of(&own, rate),
        of(&own, micros),
        of(&other, rate),
        of(&other, micros),
        ratio(rate),
        ratio(micros),
    );
    if !quick {
        results::record(key, ratio(rate));
    }
}

fn over_http(kind: &str, events: usize, window: Duration) -> Seen {
    let event = format!(
        "{{\"event_type\":\"progress_update\",\"data\":{}}}",
        loader::data(EVENT_BYTES)
    );
    let body = if events == 1 {
        event
    } else {
        format!("[{}]", vec![event; events].join(","))
    };
    let server = ServerProcess::start(kind);
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_nodelay(true).unwrap();
    let request = format!(
        "POST /api/tasks/bench-0001/events HTTP/1.1\r\nHost: {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        server.addr(),
        body.len()
    );
    measure(&server, events, window, || {
        stream.write_all(request.as_bytes()).unwrap();
        await_response(&mut stream);
    })
}

/// Repeats `turn`, which publishes this number of events, for the length of the window.
fn measure(
    server: &ServerProcess,
    events: usize,
    window: Duration,
    mut turn: impl FnMut(),
) -> Seen {
    // The first turns also pay for things that are created only once.
    let start = Instant::now();
    while start.elapsed() < window / 5 {
        turn();
    }
    let before = server.run_time();
    let mut turns = 0;
    let start = Instant::now();
    while start.elapsed() < window {
        turn();
        turns += 1;
    }
    let elapsed = start.elapsed().as_secs_f64();
    let count = (turns * events) as f64;
    Seen {
        rate: count / elapsed,
        micros: (server.run_time() - before) * 1e6 / count,
    }
}

fn await_acks(stream: &mut TcpStream, frames: &mut Frames, count: usize) {
    let mut buffer = [0; 64 * 1024];
    let mut seen = 0;
    while seen < count {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the server answers");
        frames.feed(&buffer[..read], |opcode, head| {
            let ack = head.starts_with(b"{\"event_type\":\"ack\"");
            // Before the acks there is a greeting, at any time a heartbeat with its ping, and
            // nothing else.
            let other = opcode == frames::PING
                || head.starts_with(b"{\"event_type\":\"connection_established\"")
                || head.starts_with(b"{\"event_type\":\"heartbeat\"");
            assert!(ack || other, "an ack: {}", String::from_utf8_lossy(head));
            seen += usize::from(ack);
        });
    }
}

fn await_response(stream: &mut TcpStream) {
    let mut response = Vec::new();
    let mut buffer = [0; 64 * 1024];
    loop {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the server answers");
        response.extend_from_slice(&buffer[..read]);
        if let Some(end) = loader::head_end(&response) {
            let head = String::from_utf8_lossy(&response[..end]).to_ascii_lowercase();
            assert!(head.starts_with("http/1.1 20"), "{head}");
            let (_, length) = head.split_once("content-length: ").expect("a length");
            let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
            if response.len() >= end + length {
                return;
            }
        }
    }
}
