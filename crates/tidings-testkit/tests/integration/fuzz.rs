//! Fuzzing of every decoder that reads bytes from outside, with mutations of a corpus.
//!
//! Each decoder runs for one second, or for `FUZZ_SECONDS`. The seed is printed, and
//! `TIDINGS_FUZZ_SEED` repeats a run. Input that causes a panic or a hang is written to a file. It
//! belongs into the corpus, and becomes a test. Coverage-guided fuzzers need another compiler
//! channel; these mutations do not.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use tidings_auth::{Algorithm, ApiKeys, JwtAuthenticator, JwtConfig, KeySource, explain};
use tidings_bus::{BusConfig, EventBus};
use tidings_connections::{Authenticator, ConnectionManager, ConnectionsConfig, Credentials};
use tidings_protocol::{
    ClientMessage, Event, Json, Limits, NewEvent, Position, Reference, ServerMessage, Since,
    Target, TaskSnapshot, Timestamp,
};
use tidings_testkit::{DEADLINE, handshake};
use tidings_transport::{TidingsService, TransportConfig, WEBSOCKET};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The largest input. Larger input is refused because of its size.
const MAX_INPUT: usize = 8 * 1024;

/// Pieces of text that have a meaning for some decoder.
const WORDS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"true",
    b"-1",
    b"1e400",
    b"18446744073709551616",
    b"\"type\":",
    b"\"task_id\":",
    b"\"data\":",
    b"\"ref\":",
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"X-Forwarded-For: ::1\r\n",
    b"Forwarded: for=\"[::1]:0\"\r\n",
    b"%00",
    b"%ff",
    b"..",
    b"*",
    b":",
    b".",
    b"\x81\x80\0\0\0\0",
    b"\x88\x80\0\0\0\0",
    b"\x01\xfe\xff\xff",
    b"Authorization: Bearer a.b.c\r\n",
    b"Last-Event-ID: e:1\r\n",
    b"Accept: text/event-stream\r\n",
];

fn mutate(rng: &mut fastrand::Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = corpus[rng.usize(..corpus.len())].clone();
    for _ in 0..rng.usize(0..6) {
        let at = rng.usize(..=input.len());
        let to = rng.usize(at..=input.len().min(at + 64));
        match rng.u8(..8) {
            0 if at < input.len() => input[at] ^= 1 << rng.u8(..8),
            1 if at < input.len() => input[at] = rng.u8(..),
            2 => drop(input.drain(at..to)),
            3 => {
                let part = input[at..to].to_vec();
                for _ in 0..rng.usize(1..20) {
                    input.splice(at..at, part.iter().copied());
                }
            }
            4 => drop(input.splice(at..to, WORDS[rng.usize(..WORDS.len())].iter().copied())),
            5 => {
                let other = &corpus[rng.usize(..corpus.len())];
                let from = rng.usize(..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            6 => input.truncate(at),
            _ => input.insert(at, rng.u8(..)),
        }
        input.truncate(MAX_INPUT);
    }
    input
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{name} has a corpus");
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

/// Feeds one decoder for its time. The corpus itself comes first, unchanged.
fn fuzz(name: &str, decode: impl Fn(&[u8])) {
    let seed = number("TIDINGS_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let time = Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(1));
    let mut rng = fastrand::Rng::with_seed(seed);
    let corpus = corpus(name);
    let deadline = Instant::now() + time;
    let (mut executions, mut crashes) = (0_u64, 0);
    let mut next = corpus.clone().into_iter();
    while Instant::now() < deadline && crashes == 0 {
        let input = next.next().unwrap_or_else(|| mutate(&mut rng, &corpus));
        executions += 1;
        if catch_unwind(AssertUnwindSafe(|| decode(&input))).is_err() {
            crashes += 1;
            let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("crash-{name}"));
            std::fs::write(&path, &input).unwrap();
            let _ = writeln!(
                std::io::stderr(),
                "{name}: {} makes it panic",
                path.display()
            );
        }
    }
    let _ = writeln!(
        std::io::stdout(),
        "fuzz {name:<16} {executions:>9} executions, {crashes} crashes, seed {seed}"
    );
    assert_eq!(crashes, 0, "{name}, seed {seed}");
}

#[test]
fn messages() {
    let limits = Limits::default();
    fuzz("messages", |input| {
        let Ok(text) = std::str::from_utf8(input) else {
            return;
        };
        let _ = ClientMessage::decode(text, &limits).map_err(|error| error.to_string());
        let _ = serde_json::from_str::<NewEvent>(text).map_err(|error| error.to_string());
        let _ = serde_json::from_str::<Event>(text);
        let _ = serde_json::from_str::<TaskSnapshot>(text);
        let _ = ServerMessage::decode(text);
        if let Ok(json) = Json::parse(text) {
            assert!(
                Json::parse(json.as_str()).is_ok(),
                "what was taken is taken again"
            );
        }
    });
}

#[test]
fn identifiers() {
    fuzz("identifiers", |input| {
        let Ok(text) = std::str::from_utf8(input) else {
            return;
        };
        if let Ok(target) = text.parse::<Target>() {
            assert_eq!(target.to_string(), text);
        }
        let _ = (text.parse::<Position>(), text.parse::<Since>());
        let _ = (text.parse::<Timestamp>(), Reference::parse(text));
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn service() -> TidingsService {
    let bus = EventBus::new(BusConfig::default().framing(WEBSOCKET)).unwrap();
    let config = ConnectionsConfig::default()
        .offline_ttl(Duration::ZERO)
        .heartbeat_interval(Duration::from_millis(500))
        .close_timeout(Duration::from_millis(50));
    let manager = ConnectionManager::new(bus, config).unwrap();
    let network = "127.0.0.0/8".parse().unwrap();
    let config = TransportConfig::default()
        .trusted_proxies(vec![network])
        .token_in_query(true);
    TidingsService::new(manager, config).unwrap()
}

/// Passes bytes to the whole server over a pipe. The exchange must end. An event stream must end
/// after its client disconnects. If the client sent more than its request, the server notices that
/// at the next heartbeat.
async fn serve(service: &TidingsService, start: &[u8], input: &[u8]) {
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let mut http = hyper::server::conn::http1::Builder::new();
    http.max_buf_size(16 * 1024);
    let service = service.clone();
    let answer =
        hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
            let peer = ([127, 0, 0, 1], 9).into();
            request
                .extensions_mut()
                .insert(tidings_transport::PeerAddr(peer));
            hyper::service::Service::call(&service, request)
        });
    let connection = http
        .serve_connection(TokioIo::new(server), answer)
        .with_upgrades();
    let connection = tokio::spawn(connection);
    let exchange = async {
        let _ = client.write_all(start).await;
        let _ = client.write_all(input).await;
        let _ = client.shutdown().await;
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = client.read(&mut part).await {
            let stream = b"content-type: text/event-stream";
            if part[..count].windows(stream.len()).any(|at| at == stream) {
                break;
            }
        }
        drop(client);
        connection.await
    };
    let ended = tokio::time::timeout(DEADLINE, exchange).await;
    if let Err(error) = ended.expect("it comes to an end") {
        assert!(!error.is_panic(), "{error}");
    }
}

#[test]
fn http_requests() {
    let runtime = runtime();
    let service = runtime.block_on(async { service() });
    // A body without an end lasts until its client disconnects, see `serve`.
    fuzz("http", |input| {
        runtime.block_on(serve(&service, b"", input));
    });
}

/// A regression test for a case that `http_requests` found.
#[test]
fn an_event_stream_ends_though_its_client_sent_more_than_a_request() {
    let runtime = runtime();
    let service = runtime.block_on(async { service() });
    let request = b"GET /api/tasks/t/events HTTP/1.1\r\nHost: localhost\r\n\
        Accept: text/event-stream\r\n\r\n\r\n";
    runtime.block_on(serve(&service, b"", request));
}

#[test]
fn websocket_frames() {
    let runtime = runtime();
    let service = runtime.block_on(async { service() });
    let start = handshake("/ws", "");
    fuzz("websocket", |input| {
        runtime.block_on(serve(&service, start.as_bytes(), input));
    });
}

#[test]
fn tokens() {
    let runtime = runtime();
    let secret = b"a secret of more than 32 bytes, for tests";
    let keys = KeySource::file(Algorithm::HS256, secret).unwrap();
    let asked = JwtAuthenticator::new(JwtConfig::new(Algorithm::HS256), keys);
    fuzz("tokens", |input| {
        let Ok(text) = std::str::from_utf8(input) else {
            return;
        };
        let _ = explain(text).map(|said| said.to_string());
        let _ = runtime.block_on(asked.authenticate(Credentials::new(Some(text), None)));
        let _ = ApiKeys::parse(text).map_err(|error| error.to_string());
        let _ = (
            KeySource::file(Algorithm::RS256, input),
            KeySource::file(Algorithm::EdDSA, input),
        );
    });
}
