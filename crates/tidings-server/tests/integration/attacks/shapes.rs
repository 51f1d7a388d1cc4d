//! Requests and messages with shapes that do not occur by accident.

use crate::attacks::Attack;
use crate::attacks::target::{Got, Target, exchange, good, status};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "line ends within a header",
        run: crlf,
    },
    Attack {
        name: "a head of 1 MiB",
        run: large_head,
    },
    Attack {
        name: "a path of 14 KiB",
        run: long_path,
    },
    Attack {
        name: "request smuggling, 19 shapes",
        run: smuggling,
    },
    Attack {
        name: "a body of 100 MiB, announced",
        run: large_body,
    },
    Attack {
        name: "JSON nested 30,000 deep",
        run: |target| json(target, &("[".repeat(30_000) + &"]".repeat(30_000))),
    },
    Attack {
        name: "JSON with a number of 50,000 digits",
        run: |target| json(target, &"9".repeat(50_000)),
    },
    Attack {
        name: "JSON objects nested 10,000 deep",
        run: |target| {
            json(
                target,
                &(r#"{"x":"#.repeat(10_000) + "1" + &"}".repeat(10_000)),
            )
        },
    },
    Attack {
        name: "JSON numbers beyond any range",
        run: |target| json(target, "[1e999999999,-1e-999999999,1e+400,-0.0e0]"),
    },
    Attack {
        name: "JSON with 8,000 equal keys",
        run: duplicate_keys,
    },
    Attack {
        name: "binary, unmasked, reserved, endless frames",
        run: frames,
    },
];

fn crlf(target: &Target) -> String {
    for (path, header) in [
        ("/api/tasks", "X: a\rb\r\n"),
        ("/api/tasks", "X: a\0b\r\n"),
        ("/api/tasks", "X\r\n: b\r\n"),
        ("/api/tasks\r\nX: b", ""),
    ] {
        let answer = target.http("GET", path, &good(), header, "");
        assert!([400, 0].contains(&status(&answer)), "{header:?}: {answer}");
    }
    let answer = target.http(
        "GET",
        "/api/tasks/a%0d%0aSet-Cookie:%20x=y",
        &good(),
        "",
        "",
    );
    assert_eq!(status(&answer), 400);
    assert!(!answer.contains("\r\nSet-Cookie"), "{answer}");
    "400".to_owned()
}

fn large_head(target: &Target) -> String {
    let one = format!("X: {}\r\n", "x".repeat(1 << 20));
    let many = "X: x\r\n".repeat(100_000);
    for headers in [&one, &many] {
        let answer = target.http("GET", "/api/tasks", "", headers, "");
        assert!([431, 0].contains(&status(&answer)), "{answer}");
    }
    "431, or closed while still sending".to_owned()
}

fn long_path(target: &Target) -> String {
    let answer = target.http("GET", &format!("/{}", "x".repeat(14_000)), &good(), "", "");
    assert_eq!(status(&answer), 414, "{answer}");
    "414".to_owned()
}

fn smuggling(target: &Target) -> String {
    let hidden = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Hidden: yes\r\n\r\n";
    for headers in [
        format!(
            "Content-Length: {}\r\nTransfer-Encoding: chunked\r\n",
            hidden.len()
        ),
        format!(
            "Transfer-Encoding: chunked\r\nContent-Length: {}\r\n",
            hidden.len()
        ),
        "Content-Length: 0\r\nContent-Length: 5\r\n".to_owned(),
        "Content-Length: +5\r\n".to_owned(),
        "Content-Length: 5, 6\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Content-Length: -1\r\n".to_owned(),
        "Content-Length: 0x5\r\n".to_owned(),
        "Content-Length: 99999999999999999999\r\n".to_owned(),
        "Content-Length : 5\r\n".to_owned(),
        "Content-Length: 5\r\n 0\r\n".to_owned(),
        "X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(),
        "Transfer-Encoding:\x0bchunked\r\n".to_owned(),
        "Transfer-Encoding: \"chunked\"\r\n".to_owned(),
    ] {
        let token = good();
        let request = format!(
            "POST /api/tasks/build-1/events HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Bearer {token}\r\n{headers}\r\n0\r\n\r\n{hidden}"
        );
        let answer = exchange(target.addr(), request.as_bytes());
        let answers = answer.matches("HTTP/1.1 ").count();
        // A chunked body with a proper end may be followed by another request of the same client.
        // The danger is a message that two parsers read differently.
        let ambiguous = headers.matches("ength").count() + headers.matches("hunked").count() > 1
            || !headers.starts_with("Transfer-Encoding: chunked\r\n");
        let told = status(&answer) >= 400 || answers == 0;
        assert!(told, "{headers:?}: {answer}");
        assert!(
            !ambiguous || !answer.contains("200 OK"),
            "{headers:?}: {answer}"
        );
    }
    // Chunk sizes that two parsers could read differently.
    for chunks in ["ffffffffffffffff1\r\n", "-1\r\n"] {
        let token = good();
        let request = format!(
            "POST /api/tasks/build-1/events HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{hidden}"
        );
        let answer = exchange(target.addr(), request.as_bytes());
        let answers = answer.matches("HTTP/1.1 ").count();
        assert!(
            status(&answer) >= 400 || answers == 0,
            "{chunks:?}: {answer}"
        );
        assert!(!answer.contains("200 OK"), "{chunks:?}: {answer}");
    }
    "400 and closed; nothing is answered twice".to_owned()
}

fn large_body(target: &Target) -> String {
    let token = good();
    let request = format!(
        "POST /api/tasks/build-1/events HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: Bearer {token}\r\nContent-Length: 104857600\r\n\r\n"
    );
    let answer = exchange(target.addr(), request.as_bytes());
    assert_eq!(status(&answer), 413, "{answer}");
    "413, unread".to_owned()
}

/// Sends a JSON value as an event's data, by REST and by message.
fn json(target: &Target, value: &str) -> String {
    let event = format!(r#"{{"event_type":"own","data":{{"x":{value}}}}}"#);
    let answer = target.http("POST", "/api/tasks/build-1/events", &good(), "", &event);
    let rest = status(&answer);
    assert!([201, 400, 413].contains(&rest), "{answer}");
    let mut ws = target.ws("/ws", &good(), "");
    let message = format!(
        r#"{{"type":"publish","task_id":"build-1","ref":"asked",{}"#,
        &event[1..]
    );
    ws.send(0x81, message.as_bytes());
    let answer = ws.until("\"event_type\":\"error\"");
    assert!(rest == 201 || answer.is_some(), "an error, and not the end");
    format!("{rest}; the connection lives")
}

fn duplicate_keys(target: &Target) -> String {
    let keys: Vec<_> = (0..8_000).map(|_| "\"x\":1").collect();
    json(target, &format!("{{{}}}", keys.join(",")))
}

fn frames(target: &Target) -> String {
    let endless = [
        0x81,
        0x80 | 127,
        0x7f,
        0xff,
        0xff,
        0xff,
        0xff,
        0xff,
        0xff,
        0xff,
        0,
        0,
        0,
        0,
    ];
    for (bytes, code) in [
        (&[0x82, 0x81, 0, 0, 0, 0, 1][..], 1003),
        (&[0x81, 1, b'x'], 1002),
        (&[0x83, 0x80, 0, 0, 0, 0], 1002),
        (&[0xc1, 0x80, 0, 0, 0, 0], 1002),
        (&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe], 1007),
        (&[0x80, 0x80, 0, 0, 0, 0], 1002),
        (&[0x09, 0x80, 0, 0, 0, 0], 1002),
        (&endless, 1009),
    ] {
        let mut ws = target.ws("/ws", &good(), "");
        ws.write(bytes);
        assert_eq!(ws.close_code(), code, "{bytes:x?}");
        assert!(matches!(ws.next(), Got::End));
    }
    "closed 1002, 1003, 1007, 1009".to_owned()
}
