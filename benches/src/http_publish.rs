//! How many events can one producer publish per second?
//!
//! `cargo bench --bench http_publish` measures it over WebSocket, one at a time and pipelined. It
//! also measures HTTP with keep-alive, one event and 100 events per request. There are no watchers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::frames::Frames;
use crate::support::loader::{self, EVENT_BYTES};
use crate::support::process::{self, ServerProcess};
use crate::support::{Args, frames};

pub(crate) fn main() {
    let args = Args::read();
    let window = Duration::from_millis(if args.quick { 200 } else { 2_000 });
    process::pin_to_core(1);
    let server = ServerProcess::start("tidings");
    for (name, pipelined) in [
        ("WebSocket, one at a time", 1),
        ("WebSocket, 64 pipelined", 64),
    ] {
        if args.wants(name) {
            let mut stream = loader::handshake(server.addr(), "/ws");
            let request = loader::request(0, EVENT_BYTES).repeat(pipelined);
            let mut frames = Frames::default();
            report(name, pipelined, window, || {
                stream.write_all(&request).unwrap();
                await_acks(&mut stream, &mut frames, pipelined);
            });
        }
    }
    let event = "{\"event_type\":\"progress_update\",\"data\":{\"progress\":40,\"message\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}}";
    let batch = format!("[{}]", vec![event; 100].join(","));
    for (name, body, events) in [
        ("HTTP, one a request", event, 1),
        ("HTTP, 100 a request", &batch, 100),
    ] {
        if args.wants(name) {
            let mut stream = TcpStream::connect(server.addr()).unwrap();
            stream.set_nodelay(true).unwrap();
            let request = format!(
                "POST /api/tasks/bench-0001/events HTTP/1.1\r\nHost: {}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                server.addr(),
                body.len()
            );
            report(name, events, window, || {
                stream.write_all(request.as_bytes()).unwrap();
                await_response(&mut stream);
            });
        }
    }
}

/// Repeats `turn` for the length of the window, and prints how many events that were.
fn report(name: &str, events: usize, window: Duration, mut turn: impl FnMut()) {
    let mut turns = 0;
    let start = Instant::now();
    while start.elapsed() < window {
        turn();
        turns += 1;
    }
    let rate = (turns * events) as f64 / start.elapsed().as_secs_f64();
    println!("{name:<28}{rate:>12.0} events/s");
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
