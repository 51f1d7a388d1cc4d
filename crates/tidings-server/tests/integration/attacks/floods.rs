//! Attacks with too much data, with data that comes too slowly, and with too many requests.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::attacks::Attack;
use crate::attacks::target::{Got, Target, Ws, connect, frame, good, owner, status};
use crate::support::DEADLINE;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "slowloris on heads, 200 connections",
        run: slow_heads,
    },
    Attack {
        name: "slowloris on bodies, 50 connections",
        run: slow_bodies,
    },
    Attack {
        name: "slowloris on frames, 50 connections",
        run: slow_frames,
    },
    Attack {
        name: "a flood of pings",
        run: |target| flood(target, &frame(0x89, &[7; 100]), &[], &[]),
    },
    Attack {
        name: "a flood of fragments",
        run: |target| flood(target, &frame(0x00, b"x"), &frame(0x01, b"x"), &[]),
    },
    Attack {
        // The server may read fewer than its limit at a time. Empty fragments are no sign of life.
        name: "a flood of empty fragments",
        run: |target| flood(target, &frame(0x00, b""), &frame(0x01, b"x"), &[4408]),
    },
    Attack {
        name: "a flood of messages",
        run: |target| flood(target, &frame(0x81, br#"{"type":"ping"}"#), &[], &[]),
    },
    Attack {
        name: "a flood of what is no message",
        run: |target| flood(target, &frame(0x81, b"x"), &[], &[]),
    },
    Attack {
        name: "a flood of types that nobody knows",
        run: |target| flood(target, &frame(0x81, br#"{"type":"x"}"#), &[], &[]),
    },
    Attack {
        name: "a flood of tokens that are refused",
        run: |target| {
            let part = frame(0x81, br#"{"type":"authenticate","token":"x"}"#);
            flood(target, &part, &[], &[])
        },
    },
    Attack {
        name: "a batch of 500,000 items, three ways",
        run: batches,
    },
    Attack {
        name: "`*` over 2,000 tasks, 50 watchers that never read",
        run: unread_watchers,
    },
    Attack {
        name: "200 requests for lists and history, never read",
        run: unread_pages,
    },
    Attack {
        name: "1,500 idle HTTP connections",
        run: idle,
    },
    Attack {
        name: "`*`, 300 times, as another client each time",
        run: come_and_go,
    },
    Attack {
        name: "a flood of subscriptions",
        run: subscriptions,
    },
    Attack {
        name: "a flood of patterns, on and off",
        run: patterns,
    },
    Attack {
        name: "1,200 connections of one subject",
        run: connections,
    },
    Attack {
        name: "100 watchers that never read, of 6 MiB",
        run: deaf,
    },
    Attack {
        name: "a flood of new tasks",
        run: tasks,
    },
    Attack {
        name: "100,000 connections, dropped at once",
        run: drops,
    },
];

/// Sends bytes slowly on many connections, until the server has ended all of them.
fn dribble(mut streams: Vec<std::net::TcpStream>, part: &[u8]) -> Vec<String> {
    let deadline = Instant::now() + DEADLINE;
    let mut answers = Vec::new();
    for stream in &streams {
        stream
            .set_read_timeout(Some(Duration::from_millis(5)))
            .unwrap();
    }
    let mut seen: Vec<Vec<u8>> = streams.iter().map(|_| Vec::new()).collect();
    while !streams.is_empty() {
        assert!(
            Instant::now() < deadline,
            "{} are still there",
            streams.len()
        );
        let mut number = 0;
        while number < streams.len() {
            let _ = streams[number].write_all(part);
            let mut bytes = [0; 4096];
            match streams[number].read(&mut bytes) {
                Ok(count) if count > 0 => seen[number].extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => {
                    streams.swap_remove(number);
                    answers.push(String::from_utf8_lossy(&seen.swap_remove(number)).into_owned());
                    continue;
                }
            }
            number += 1;
        }
        thread::sleep(Duration::from_millis(20));
    }
    answers
}

fn slow_heads(target: &Target) -> String {
    let streams = (0..200).map(|_| {
        let mut stream = connect(target.addr());
        stream.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
        stream
    });
    let streams = streams.collect();
    dribble(streams, b"x");
    "all cut".to_owned()
}

fn slow_bodies(target: &Target) -> String {
    let token = good();
    let streams = (0..50).map(|_| {
        let mut stream = connect(target.addr());
        let head = format!(
            "POST /api/tasks/build-1/events HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Bearer {token}\r\nContent-Length: 100000\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    });
    let answers = dribble(streams.collect(), b" ");
    assert!(answers.iter().any(|answer| status(answer) == 408));
    "408, all cut".to_owned()
}

/// Sends each byte of a message in a separate write. Single bytes are no sign of life.
fn slow_frames(target: &Target) -> String {
    let token = good();
    let head = [0x81, 0x80 | 126, 0xff, 0x00, 0, 0, 0, 0];
    let streams = (0..50).map(|_| {
        let mut stream = connect(target.addr());
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        stream.write_all(&head).unwrap();
        stream
    });
    let answers = dribble(streams.collect(), b" ");
    let told = answers
        .iter()
        .filter(|answer| answer.contains("no answer to heartbeats"));
    assert_eq!(told.count(), 50);
    "closed 4408".to_owned()
}

/// Sends up to 64 MiB of the same bytes, or until the server closes the connection. One of the
/// codes in `also` is as good as the usual ones.
fn flood(target: &Target, part: &[u8], first: &[u8], also: &[u16]) -> String {
    let mut ws = target.ws("/ws", &good(), "");
    let chunk = part.repeat(64 * 1024 / part.len());
    ws.write(first);
    let mut sent = 0;
    while sent < 64 << 20 && ws.write(&chunk) {
        sent += chunk.len();
    }
    // After its close frame the server still reads for a moment and discards the data. The close
    // frame may be lost together with unread data.
    let code = ws.close_code();
    assert!(
        [4429, 1009, 0].contains(&code) || also.contains(&code),
        "{code}"
    );
    "closed, the rest forgotten".to_owned()
}

/// Sends messages until the server closes the connection, because it refuses most of them. Returns
/// the number of refusals that the server sent.
fn until_let_go(ws: &mut Ws, count: usize, message: impl Fn(usize) -> Value, code: &str) -> usize {
    let mut refused = 0;
    for number in 0..count {
        let mut message = message(number);
        message["ref"] = json!(number);
        ws.text(&message);
        if number % 100 == 99 {
            let last = format!("\"ref\":{number}");
            loop {
                match ws.next() {
                    Got::Text(text) => {
                        refused +=
                            usize::from(text.contains(code) || text.contains("rate_limited"));
                        if text.contains(&last) {
                            break;
                        }
                    }
                    Got::Close(4429) => return refused,
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    panic!("it goes on after {refused} refusals");
}

/// The answers to all items would be a hundred times as large as the body.
fn batches(target: &Target) -> String {
    let zeros = format!("[{}0]", "0,".repeat(500_000));
    for (kind, body) in [
        ("application/json", zeros.as_str()),
        ("application/cloudevents-batch+json", &zeros),
        ("application/x-ndjson", &"x\n".repeat(500_000)),
    ] {
        let headers = format!("Content-Type: {kind}\r\n");
        let ask = || target.http("POST", "/api/tasks/build-1/events", &good(), &headers, body);
        let mut answer = ask();
        // The refused tokens of the previous attack count against the same address.
        while status(&answer) == 429 {
            thread::sleep(Duration::from_millis(20));
            answer = ask();
        }
        assert_eq!(status(&answer), 413, "{kind}: {answer}");
    }
    "413 at each".to_owned()
}

/// Each of these connections would have 2,000 cursors, and one announcement for each cursor.
fn unread_watchers(target: &Target) -> String {
    let mut publisher = target.ws("/ws", &owner(), "");
    for number in 0..2_000 {
        let event = json!({"type": "publish", "task_id": format!("many-{number}"),
            "event_type": "own", "data": {}, "ref": number});
        // Stay within the rate at which a client may create tasks.
        while publisher.ask(event.clone()) != "ack" {
            thread::sleep(Duration::from_millis(20));
        }
    }
    let watchers = (0..50).map(|_| {
        let mut ws = target.ws("/ws", &owner(), "");
        ws.text(&json!({"type": "subscribe", "pattern": "*"}));
        ws
    });
    let watchers: Vec<_> = watchers.collect();
    assert_eq!(publisher.ask(json!({"type": "ping"})), "pong");
    drop(watchers);
    "cursors come as they are taken".to_owned()
}

/// Each connection asks for more than its socket takes, and reads none of it.
fn unread_pages(target: &Target) -> String {
    let token = owner();
    let ask = |path: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        let mut stream = connect(target.addr());
        let _ = stream.write_all(request.repeat(8).as_bytes());
        stream
    };
    let held: Vec<_> = (0..100)
        .flat_map(|_| {
            [
                "/api/tasks?limit=1000",
                "/api/tasks/many-1/events?limit=1000",
            ]
        })
        .map(ask)
        .collect();
    let mut other = target.ws("/ws", &owner(), "");
    assert_eq!(other.ask(json!({"type": "ping"})), "pong");
    drop(held);
    "answers wait for their readers".to_owned()
}

/// One address may not take all places. The server may also cut connections that are idle.
fn idle(target: &Target) -> String {
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..1_500 {
        let mut stream = connect(target.addr());
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut bytes = [0; 512];
        let count = stream.read(&mut bytes).unwrap_or(0);
        let answer = String::from_utf8_lossy(&bytes[..count]);
        match status(&answer) {
            200 => held.push(stream),
            // The connection was refused with an answer, or cut while the answer was on its way.
            0 | 429 | 503 => refused += 1,
            other => panic!("{other}: {answer}"),
        }
    }
    assert!(held.len() >= 1_000, "{refused} refused");
    format!("{} let in, {refused} refused or cut", held.len())
}

/// The subject's limit also bounds the state that such a client leaves on the server.
fn come_and_go(target: &Target) -> String {
    let token = owner();
    for _ in 0..300 {
        let mut ws = target.ws("/ws", &token, "");
        ws.text(&json!({"type": "subscribe", "pattern": "*"}));
        assert!(
            ws.until("\"subscribed\"").is_some(),
            "the pattern is watched"
        );
    }
    "let in, bounded when they are away".to_owned()
}

fn subscriptions(target: &Target) -> String {
    let mut ws = target.ws("/ws", &good(), "");
    let message = |number| json!({"type": "subscribe", "task_id": format!("build-{number}")});
    let refused = until_let_go(&mut ws, 30_000, message, "too_many_subscriptions");
    assert!(refused >= 900, "{refused}");
    format!("{refused} refused, then closed 4429")
}

/// Each pattern matches all tasks, and each is looked up again.
fn patterns(target: &Target) -> String {
    let mut ws = target.ws("/ws", &good(), "");
    let mut answers = 0;
    for number in 0..2_000 {
        let kind = ["subscribe", "unsubscribe"][number % 2];
        ws.text(&json!({"type": kind, "pattern": "build-*", "ref": number}));
        if number % 100 == 99 {
            let last = format!("\"ref\":{number}");
            while let Got::Text(text) = ws.next() {
                answers += u32::from(text.contains("\"ref\":"));
                if text.contains(&last) {
                    break;
                }
            }
        }
    }
    assert_eq!(answers, 2_000, "each is answered");
    "each answered, in its turn".to_owned()
}

fn connections(target: &Target) -> String {
    let token = good();
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..1_200 {
        let mut ws = target.ws("/ws", &token, "");
        match ws.next() {
            Got::Text(text) if text.contains("connection_established") => held.push(ws),
            // The server says why, and then closes.
            first => {
                let code = ws.close_code();
                assert!(code == 4429, "{first:?}, then {code}");
                refused += 1;
            }
        }
    }
    // Connections that are held do not answer heartbeats, so the server closes them in time.
    assert!(refused > 0 && held.len() >= 1_000, "{refused} refused");
    // Another client can still connect.
    let mut other = target.ws("/ws", &owner(), "");
    assert_eq!(other.ask(json!({"type": "ping"})), "pong");
    format!("{refused} closed 4429")
}

/// Events that these clients do not read stay in the log until retention removes them.
fn deaf(target: &Target) -> String {
    let watchers = (0..100).map(|_| target.ws("/ws/tasks/build-1", &good(), ""));
    let mut watchers: Vec<_> = watchers.collect();
    let mut publisher = target.ws("/ws", &good(), "");
    let padding = "x".repeat(30_000);
    for number in 0..200 {
        let event = json!({"type": "publish", "task_id": "build-1", "event_type": "own",
            "data": {"padding": padding, "number": number}});
        assert_eq!(publisher.ask(event), "ack");
    }
    let told = watchers[0].until("\"event_type\":\"gap\"");
    assert!(told.is_some(), "what it missed is named");
    "kept in the log's bound, a gap for the rest".to_owned()
}

fn tasks(target: &Target) -> String {
    let mut ws = target.ws("/ws", &good(), "");
    let message = |number| {
        json!({"type": "publish", "task_id": format!("build-flood-{number}"),
            "event_type": "own", "data": {}})
    };
    let refused = until_let_go(&mut ws, 60_000, message, "rate_limited");
    format!("{refused} refused, then closed 4429")
}

fn drops(target: &Target) -> String {
    let addr = target.addr();
    for _ in 0..100_000 {
        let stream = std::net::TcpStream::connect(addr).unwrap();
        // Reset the connection, so that this side does not run out of ports.
        socket2::SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
    // A later client can connect, within the rate that one address may use.
    let deadline = Instant::now() + DEADLINE;
    while !target.lives() {
        assert!(Instant::now() < deadline, "nobody gets in any more");
    }
    // The attack has used up the rate of this address. Wait for a second, so that the next check
    // can connect at once.
    std::thread::sleep(Duration::from_secs(1));
    "the server answers after them".to_owned()
}
