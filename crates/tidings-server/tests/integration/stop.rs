//! The ways in which the server stops.

#![cfg(unix)]

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{Server, connect, tidings};

/// Opens a WebSocket by hand and reads until the greeting arrives.
fn watch(addr: &str) -> TcpStream {
    let mut stream = connect(addr);
    let request = format!(
        "GET /ws/tasks/test_001 HTTP/1.1\r\nhost: {addr}\r\nupgrade: websocket\r\n\
         connection: upgrade\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut seen = Vec::new();
    while !contains(&seen, b"connection_established") {
        let mut bytes = [0; 4_096];
        let count = stream.read(&mut bytes).unwrap();
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&bytes[..count]);
    }
    stream
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_signal_stops_a_quiet_server_quickly() {
    for (command, signal) in [("serve", "TERM"), ("serve", "INT"), ("demo", "TERM")] {
        // If the server waited for its deadline, the test would time out.
        let arguments = [command, "--listen", "127.0.0.1:0", "--drain-deadline", "1h"];
        let server = Server::start(&mut tidings(&arguments));
        server.signal(signal);
        assert_eq!(server.wait(), Some(0), "{command} {signal}");
    }
}

#[test]
fn watchers_are_told_to_come_back() {
    let server = Server::start(&mut tidings(&["--listen", "127.0.0.1:0"]));
    let mut watcher = watch(server.addr());
    server.signal("TERM");
    let mut seen = Vec::new();
    // A close frame: opcode, length, code.
    let [high, low] = 1012_u16.to_be_bytes();
    let is_close = |seen: &[u8]| {
        seen.windows(4)
            .any(|at| at[0] == 0x88 && at[2..] == [high, low])
    };
    while !is_close(&seen) {
        let mut bytes = [0; 4_096];
        let count = watcher.read(&mut bytes).unwrap();
        assert_ne!(
            count,
            0,
            "no close 1012 in {}",
            String::from_utf8_lossy(&seen)
        );
        seen.extend_from_slice(&bytes[..count]);
    }
    assert!(
        contains(&seen, b"going_away"),
        "{}",
        String::from_utf8_lossy(&seen)
    );
    assert!(
        contains(&seen, b"reconnect_after_ms"),
        "{}",
        String::from_utf8_lossy(&seen)
    );
    drop(watcher);
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_client_that_hangs_does_not_keep_the_server() {
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--drain-deadline",
        "300ms",
        "--body-timeout",
        "1h",
    ];
    let server = Server::start(&mut tidings(&arguments));
    // A request that never ends.
    let mut hanging = TcpStream::connect(server.addr()).unwrap();
    let head =
        "POST /api/tasks/a/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{";
    hanging.write_all(head.as_bytes()).unwrap();
    let _watcher = watch(server.addr());
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_second_signal_stops_at_once() {
    for (signal, expected) in [("TERM", 143), ("INT", 130)] {
        let arguments = [
            "--listen",
            "127.0.0.1:0",
            "--drain-deadline",
            "1h",
            "--body-timeout",
            "1h",
        ];
        let server = Server::start(&mut tidings(&arguments));
        let addr = server.addr().to_owned();
        let mut hanging = TcpStream::connect(&addr).unwrap();
        let head =
            "POST /api/tasks/a/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{";
        hanging.write_all(head.as_bytes()).unwrap();
        // Connections are accepted in order. When the second is served, the first has been
        // accepted.
        let mut watcher = watch(&addr);
        server.signal("TERM");
        // When the watcher's connection ends, the first signal has arrived.
        let mut byte = [0];
        assert_ne!(watcher.read(&mut byte).unwrap(), 0);
        server.signal(signal);
        assert_eq!(server.wait(), Some(expected));
    }
}
