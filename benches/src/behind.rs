//! What does a connection cost that does not read?
//!
//! `cargo bench --bench behind`: the watchers of one task stop reading. When their sockets are full
//! and each is a thousand events behind, the bench measures how much the server's memory has grown
//! per watcher. Publishing itself also makes it grow, by the same amount for few and for many
//! watchers. So the result is the difference between the two.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::loader;
use crate::support::process::{self, ServerProcess};
use crate::support::{Args, frames, results};

const BEHIND: u64 = 1_000;

pub(crate) fn main() {
    let args = Args::read();
    let [few, many] = if args.quick {
        [50, 150]
    } else {
        [1_000, 4_000]
    };
    process::pin_to_core(1);
    let events = events_until_behind(few);
    let [grown_by_few, grown_by_many] = [few, many].map(|watchers| growth(watchers, events));
    let each = (grown_by_many - grown_by_few) / (many - few) as f64;
    println!("a connection {BEHIND} events behind or more: {each:.0} bytes");
    if !args.quick {
        results::record("behind_bytes", each);
    }
}

/// Returns by how many bytes a server grows when this number of watchers falls behind.
fn growth(watchers: usize, events: u64) -> f64 {
    let server = ServerProcess::returning_memory("tidings-deep");
    let mut publisher = full_log(&server);
    let sockets: Vec<Socket> = (0..watchers).map(|_| watch(server.addr())).collect();
    std::thread::sleep(Duration::from_secs(1));
    let idle = server.resident();
    publish(&mut publisher, events);
    // Temporary memory is freed at the next check for stalled connections.
    std::thread::sleep(Duration::from_secs(2));
    publish(&mut publisher, 1);
    let behind = server.resident();
    // Ask for the lag last, because the answer takes memory too.
    let lag = least_lag(server.addr());
    assert!(lag >= BEHIND, "a watcher is only {lag} events behind");
    drop(sockets);
    let grown = behind as f64 - idle as f64;
    println!("{watchers} connections, each {lag} events behind or more: {grown:.0} bytes in all");
    grown
}

/// Returns a publisher to a log that has reached its full size before anybody watches.
fn full_log(server: &ServerProcess) -> std::net::TcpStream {
    let mut publisher = loader::handshake(server.addr(), "/ws");
    publish(&mut publisher, 4 * BEHIND);
    publisher
}

/// Returns how many events fill a socket that is not read and leave it behind. It is measured on
/// another server, because asking for the lag takes memory.
fn events_until_behind(watchers: usize) -> u64 {
    let server = ServerProcess::returning_memory("tidings-deep");
    let mut publisher = full_log(&server);
    let _sockets: Vec<Socket> = (0..watchers).map(|_| watch(server.addr())).collect();
    let mut events = 0;
    while least_lag(server.addr()) < BEHIND {
        assert!(events < 100 * BEHIND, "no lag after {events} events");
        publish(&mut publisher, BEHIND);
        events += BEHIND;
    }
    2 * events + BEHIND
}

/// Publishes this number of events and waits for their answers.
fn publish(publisher: &mut std::net::TcpStream, count: u64) {
    let request = request();
    let mut frames = frames::Frames::default();
    let mut buffer = vec![0; 64 * 1024];
    let mut answered = 0;
    for _ in 0..count.div_ceil(100) {
        let batch = (count - answered).min(100);
        publisher
            .write_all(&request.repeat(batch as usize))
            .unwrap();
        let goal = answered + batch;
        while answered < goal {
            let read = publisher.read(&mut buffer).unwrap();
            frames.feed(&buffer[..read], |_, head| {
                answered += u64::from(head.starts_with(b"{\"event_type\":\"ack\""));
            });
        }
    }
}

/// Returns a publish of an event that is never skipped. With progress events, a watcher whose
/// socket gets a little room would catch up by skipping.
fn request() -> Vec<u8> {
    frames::masked(&format!(
        "{{\"type\":\"publish\",\"task_id\":\"{}\",\"event_type\":\"bench.event\",\"data\":{{\"text\":\"{}\"}}}}",
        loader::task_id(0),
        "x".repeat(96)
    ))
}

/// Connects a watcher with a small window, which reads its greeting and nothing else.
fn watch(addr: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
    // The server's kernel chooses its buffer size by the window and the segment size.
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    socket.set_tcp_mss(536).unwrap();
    socket.connect(&addr.into()).unwrap();
    let path = format!("/ws/tasks/{}", loader::task_id(0));
    (&socket)
        .write_all(loader::upgrade(addr, &path).as_bytes())
        .unwrap();
    let mut response = [0; 2_048];
    let read = (&socket).read(&mut response).unwrap();
    assert!(response[..read].starts_with(b"HTTP/1.1 101"), "an upgrade");
    socket
}

/// Returns the smallest lag of all watchers.
fn least_lag(addr: SocketAddr) -> u64 {
    let task = loader::task_id(0);
    let mut stream = std::net::TcpStream::connect(addr).unwrap();
    let request = format!(
        "GET /api/connections?task={task} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    // In the description of a connection, its own lag follows those of its subscriptions.
    text.match_indices("\"lag\":")
        .filter_map(|(at, key)| {
            let digits = text[at + key.len()..].split(|c: char| !c.is_ascii_digit());
            digits.into_iter().next()?.parse().ok()
        })
        .min()
        .expect("the watchers are connected")
}
