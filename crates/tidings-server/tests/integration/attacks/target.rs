//! The server under attack, and functions to talk to it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};

use crate::support::{self, Server, tidings};

pub(crate) const SECRET: &[u8] = b"a secret of more than 32 bytes, for tests";

/// Two servers: one verifies tokens with a secret, the other with a public key.
pub(crate) struct Target {
    server: Server,
    rsa: Server,
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, bytes).unwrap();
    path
}

pub(crate) const PUBLIC_KEY: &[u8] = include_bytes!("rsa-public.pem");

impl Target {
    pub(crate) fn start() -> Self {
        let secret = file("attacks.key", SECRET);
        let public = file("attacks.pem", PUBLIC_KEY);
        let start = |key: &PathBuf, algorithm: &str| {
            Server::start(
                tidings(&[
                    "--listen",
                    "127.0.0.1:0",
                    "--auth",
                    "jwt",
                    "--jwt-audience",
                    "tidings",
                    "--jwt-leeway",
                    "5s",
                    "--jwt-algorithm",
                    algorithm,
                    // A short timeout, so that the test does not wait long for slow clients to be
                    // closed.
                    "--header-timeout",
                    "500ms",
                    "--body-timeout",
                    "500ms",
                    "--heartbeat-interval",
                    "500ms",
                    // The attacks that are not floods also connect quickly.
                    "--handshake-rate",
                    "2000",
                    // All clients in these tests come from one address.
                    "--address-connections",
                    "5000",
                ])
                .arg("--jwt-key")
                .arg(key),
            )
        };
        Self {
            server: start(&secret, "HS256"),
            rsa: start(&public, "RS256"),
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.server.addr().parse().unwrap()
    }

    pub(crate) fn rsa_addr(&self) -> SocketAddr {
        self.rsa.addr().parse().unwrap()
    }

    /// Returns the memory that the server uses now.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// Returns the server's peak memory since the last reset of the peak.
    pub(crate) fn peak_kib(&self) -> u64 {
        self.memory("VmHWM:")
    }

    pub(crate) fn forget_peak(&self) {
        // proc(5): writing 5 resets the peak to the current value.
        fs::write(format!("/proc/{}/clear_refs", self.server.id()), "5").unwrap();
    }

    fn memory(&self, what: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(what)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn lives(&self) -> bool {
        self.http("GET", "/healthz", "", "", "")
            .starts_with("HTTP/1.1 200")
    }

    /// Sends a request and returns the whole response. Each of `headers` includes its line break.
    pub(crate) fn http(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &str,
        body: &str,
    ) -> String {
        self.http_at(self.addr(), method, path, token, headers, body)
    }

    pub(crate) fn http_at(
        &self,
        addr: SocketAddr,
        method: &str,
        path: &str,
        token: &str,
        headers: &str,
        body: &str,
    ) -> String {
        let token = if token.is_empty() {
            String::new()
        } else {
            format!("Authorization: Bearer {token}\r\n")
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{token}{headers}Content-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        exchange(addr, request.as_bytes())
    }

    /// Opens a WebSocket.
    pub(crate) fn ws(&self, path: &str, token: &str, headers: &str) -> Ws {
        self.ws_at(self.addr(), path, token, headers)
    }

    pub(crate) fn ws_at(&self, addr: SocketAddr, path: &str, token: &str, headers: &str) -> Ws {
        let token = if token.is_empty() {
            String::new()
        } else {
            format!("Authorization: Bearer {token}\r\n")
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{token}{headers}\r\n"
        );
        let mut stream = connect(addr);
        stream.write_all(request.as_bytes()).unwrap();
        let mut ws = Ws {
            stream,
            bytes: Vec::new(),
        };
        while !ws.bytes.windows(4).any(|four| four == b"\r\n\r\n") {
            assert!(ws.fill(), "an answer to the handshake");
        }
        let end = ws
            .bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        ws.bytes.drain(..end + 4);
        ws
    }
}

pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    support::connect(&addr.to_string())
}

/// Sends bytes, and returns everything that the server sends until it closes.
pub(crate) fn exchange(addr: SocketAddr, request: &[u8]) -> String {
    support::exchange(&addr.to_string(), request)
}

/// Returns the status of a response, or 0 if there is none.
pub(crate) fn status(answer: &str) -> u16 {
    let code = answer.split(' ').nth(1);
    code.and_then(|code| code.parse().ok()).unwrap_or_default()
}

/// Something that the server sent: a text, or the code of a close frame.
#[derive(Debug)]
pub(crate) enum Got {
    Text(String),
    Close(u16),
    End,
}

pub(crate) struct Ws {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Ws {
    fn fill(&mut self) -> bool {
        let mut part = [0; 16 * 1024];
        match self.stream.read(&mut part) {
            Ok(count) if count > 0 => {
                self.bytes.extend_from_slice(&part[..count]);
                true
            }
            _ => false,
        }
    }

    /// Sends a masked frame. Returns `false` if the connection is gone.
    pub(crate) fn send(&mut self, first: u8, payload: &[u8]) -> bool {
        self.stream.write_all(&frame(first, payload)).is_ok()
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    pub(crate) fn text(&mut self, message: &Value) {
        self.send(0x81, message.to_string().as_bytes());
    }

    pub(crate) fn next(&mut self) -> Got {
        loop {
            let length = match *self.bytes {
                [_, short, ..] if short < 126 => Some((2, usize::from(short))),
                [_, 126, high, low, ..] => Some((4, usize::from(u16::from_be_bytes([high, low])))),
                [_, 127, _, _, _, _, a, b, c, d, ..] => {
                    Some((10, u32::from_be_bytes([a, b, c, d]) as usize))
                }
                _ => None,
            };
            if let Some((head, length)) = length
                && self.bytes.len() >= head + length
            {
                let frame: Vec<u8> = self.bytes.drain(..head + length).collect();
                match frame[0] & 0x0f {
                    1 => return Got::Text(String::from_utf8_lossy(&frame[head..]).into_owned()),
                    8 => return Got::Close(u16::from_be_bytes([frame[head], frame[head + 1]])),
                    _ => continue,
                }
            }
            if !self.fill() {
                return Got::End;
            }
        }
    }

    /// Returns the close code, or 0 if the connection was cut.
    pub(crate) fn close_code(&mut self) -> u16 {
        loop {
            match self.next() {
                Got::Close(code) => return code,
                Got::End => return 0,
                Got::Text(_) => {}
            }
        }
    }

    /// Returns the next text that contains `wanted`, or `None` if the connection ends first.
    pub(crate) fn until(&mut self, wanted: &str) -> Option<String> {
        loop {
            match self.next() {
                Got::Text(text) if text.contains(wanted) => return Some(text),
                Got::Text(_) => {}
                _ => return None,
            }
        }
    }

    /// Returns the error code of the answer to a message, or the answer's type.
    pub(crate) fn ask(&mut self, mut message: Value) -> String {
        message["ref"] = json!("asked");
        self.text(&message);
        let answer = self.until("\"asked\"").expect("an answer");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let code = answer["data"]["code"].as_str();
        code.or(answer["event_type"].as_str()).unwrap().to_owned()
    }
}

/// Returns a frame as a client sends it. The mask of zeros is valid, and changes nothing.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
        medium @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend_from_slice(payload);
    frame
}

fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

/// The number of the current attack. Each attack has its own subject.
static ATTACKER: AtomicUsize = AtomicUsize::new(0);

/// Makes later tokens name another subject.
pub(crate) fn next_attacker() {
    ATTACKER.fetch_add(1, Ordering::Relaxed);
}

/// Returns valid claims, changed by the attack.
pub(crate) fn claims(change: impl FnOnce(&mut Value, u64)) -> Value {
    let mut claims = json!({
        "sub": format!("mallory-{}", ATTACKER.load(Ordering::Relaxed)), "aud": "tidings", "exp": now() + 600,
        "tidings": {"watch": ["build-*"], "publish": ["build-*"], "command": ["build-*"]},
    });
    change(&mut claims, now());
    claims
}

pub(crate) fn sign(header: &Header, claims: &Value, secret: &[u8]) -> String {
    let header = serde_json::to_vec(header).unwrap();
    let claims = claims.to_string();
    let parts = [&header, claims.as_bytes()].map(|part| BASE64URL_NOPAD.encode(part));
    let text = parts.join(".");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let signature = ring::hmac::sign(&key, text.as_bytes());
    format!("{text}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}

/// Returns a valid token for `build-*`.
pub(crate) fn good() -> String {
    sign(&Header::new(Algorithm::HS256), &claims(|_, _| {}), SECRET)
}

/// Returns a valid token of another subject, for everything.
pub(crate) fn owner() -> String {
    let claims = claims(|claims, _| {
        claims["sub"] = json!("owner");
        claims["tidings"] =
            json!({"watch": ["*"], "publish": ["*"], "command": ["*"], "admin": ["*"]});
    });
    sign(&Header::new(Algorithm::HS256), &claims, SECRET)
}
