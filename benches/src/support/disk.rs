//! Loads that publish and wait for answers, and the plain server that the disk bench compares with.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::routing::{get, post};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::Value;
use tokio::sync::oneshot;

use super::frames::{self, Frames};
use super::loader::{self, EVENT_BYTES};

/// One connection of HTTP.
struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    response: Vec<u8>,
}

/// Many connections that publish one event at a time.
pub(crate) struct HttpLoad {
    poll: Poll,
    all: Vec<Connection>,
}

impl HttpLoad {
    pub(crate) fn connect(addr: SocketAddr, publishers: usize) -> Self {
        let poll = Poll::new().unwrap();
        let connect = |number: usize| {
            let stream = std::net::TcpStream::connect(addr).expect("the server accepts");
            stream.set_nodelay(true).unwrap();
            stream.set_nonblocking(true).unwrap();
            let mut stream = TcpStream::from_std(stream);
            poll.registry()
                .register(&mut stream, Token(number), Interest::READABLE)
                .unwrap();
            let event = format!(
                "{{\"event_type\":\"progress_update\",\"data\":{}}}",
                loader::data(EVENT_BYTES)
            );
            let request = format!(
                "POST /api/tasks/{}/events HTTP/1.1\r\nHost: {addr}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{event}",
                loader::task_id(number),
                event.len()
            );
            Connection {
                stream,
                request: request.into_bytes(),
                response: Vec::new(),
            }
        };
        let all = (0..publishers).map(connect).collect();
        Self { poll, all }
    }

    /// Keeps each connection publishing for this long. Returns the answers per second.
    pub(crate) fn run(mut self, window: Duration) -> f64 {
        for connection in &mut self.all {
            connection.ask();
        }
        let mut events = Events::with_capacity(1_024);
        let mut buffer = vec![0; 64 * 1024];
        // The first answers include the first events of the tasks, and are not counted.
        let mut warm = self.all.len();
        let (mut started, mut answers) = (Instant::now(), 0);
        while warm > 0 || started.elapsed() < window {
            self.poll
                .poll(&mut events, Some(Duration::from_secs(10)))
                .unwrap();
            assert!(!events.is_empty(), "nothing came for ten seconds");
            for event in &events {
                let connection = &mut self.all[event.token().0];
                if !connection.read(&mut buffer) {
                    continue;
                }
                connection.ask();
                if warm > 0 {
                    warm -= 1;
                    started = Instant::now();
                } else {
                    answers += 1;
                }
            }
        }
        f64::from(answers) / started.elapsed().as_secs_f64()
    }
}

impl Connection {
    fn ask(&mut self) {
        self.stream.write_all(&self.request).unwrap();
    }

    /// Reads what has come. Returns whether the answer is complete.
    fn read(&mut self, buffer: &mut [u8]) -> bool {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => panic!("the server closed a publisher's connection"),
                Ok(count) => self.response.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => panic!("a publisher's connection broke: {error}"),
            }
            let Some(end) = loader::head_end(&self.response) else {
                continue;
            };
            let head = String::from_utf8_lossy(&self.response[..end]).to_ascii_lowercase();
            assert!(head.starts_with("http/1.1 201"), "{head}");
            let (_, length) = head.split_once("content-length: ").expect("a length");
            let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
            if self.response.len() >= end + length {
                self.response.clear();
                return true;
            }
        }
    }
}

/// One WebSocket with many publishes in flight, each to a task of its own.
pub(crate) struct SocketLoad {
    stream: std::net::TcpStream,
    requests: Vec<Vec<u8>>,
}

impl SocketLoad {
    pub(crate) fn connect(addr: SocketAddr, in_flight: usize) -> Self {
        let stream = loader::handshake(addr, "/ws");
        let request = |task| {
            frames::masked(&format!(
                "{{\"type\":\"publish\",\"ref\":{task},\"task_id\":\"{}\",\
                 \"event_type\":\"progress_update\",\"data\":{}}}",
                loader::task_id(task),
                loader::data(EVENT_BYTES)
            ))
        };
        let requests = (0..in_flight).map(request).collect();
        Self { stream, requests }
    }

    /// Keeps the publishes in flight for this long. Returns the acknowledgements per second.
    pub(crate) fn run(mut self, window: Duration) -> f64 {
        let mut frames = Frames::default();
        self.stream.write_all(&self.requests.concat()).unwrap();
        self.await_acks(&mut frames, self.requests.len());
        self.stream.write_all(&self.requests.concat()).unwrap();
        let started = Instant::now();
        let (mut acks, mut next) = (0, 0);
        while started.elapsed() < window {
            let come = self.await_acks(&mut frames, 1);
            acks += come;
            let mut bytes = Vec::new();
            for _ in 0..come {
                bytes.extend_from_slice(&self.requests[next]);
                next = (next + 1) % self.requests.len();
            }
            self.stream.write_all(&bytes).unwrap();
        }
        acks as f64 / started.elapsed().as_secs_f64()
    }

    /// Waits for at least this number of acknowledgements. Returns how many came.
    fn await_acks(&mut self, frames: &mut Frames, count: usize) -> usize {
        let mut buffer = [0; 64 * 1024];
        let mut seen = 0;
        while seen < count {
            let read = self.stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the server answers");
            frames.feed(&buffer[..read], |_, head| {
                assert!(
                    !head.starts_with(b"{\"event_type\":\"error\""),
                    "{}",
                    String::from_utf8_lossy(head)
                );
                seen += usize::from(head.starts_with(b"{\"event_type\":\"ack\""));
            });
        }
        seen
    }
}

/// An event that waits for a sync, and who waits for it.
type Waiting = (Vec<u8>, oneshot::Sender<()>);

#[derive(Clone)]
struct Log(mpsc::Sender<Waiting>);

impl Log {
    /// Starts the thread that appends everything that waits, syncs once, and answers.
    fn open(path: &Path) -> Self {
        let mut file = File::create(path).unwrap();
        let (sender, waiting) = mpsc::channel::<Waiting>();
        std::thread::spawn(move || {
            while let Ok(first) = waiting.recv() {
                let group: Vec<_> = std::iter::once(first).chain(waiting.try_iter()).collect();
                let bytes: Vec<u8> = group.iter().flat_map(|(event, _)| event).copied().collect();
                file.write_all(&bytes).unwrap();
                file.sync_data().unwrap();
                for (_, answer) in group {
                    // The publisher may have gone.
                    let _ = answer.send(());
                }
            }
        });
        Self(sender)
    }

    fn append(&self, event: Vec<u8>) -> oneshot::Receiver<()> {
        let (sender, stored) = oneshot::channel();
        self.0.send((event, sender)).unwrap();
        stored
    }
}

/// Runs a server that stores events in a plain file, and answers after the sync.
pub(crate) async fn plain_server(directory: &Path) {
    let app = Router::new()
        .route("/ws", get(publish_over_websocket))
        .route("/api/tasks/{task}/events", post(publish_over_http))
        .with_state(Log::open(&directory.join("log")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    super::servers::say(listener.local_addr().unwrap());
    tokio::spawn(async move {
        use axum::serve::ListenerExt;
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        axum::serve(listener, app).await.unwrap();
    })
    .await
    .unwrap();
}

async fn publish_over_http(State(log): State<Log>, body: String) -> (StatusCode, String) {
    let event: Value = serde_json::from_str(&body).unwrap();
    log.append(event.to_string().into_bytes()).await.unwrap();
    (StatusCode::CREATED, "{\"offset\":1}".to_owned())
}

async fn publish_over_websocket(
    State(log): State<Log>,
    upgrade: WebSocketUpgrade,
) -> axum::response::Response {
    upgrade.on_upgrade(|socket: WebSocket| async move {
        use futures_util::{SinkExt, StreamExt};
        let (mut answers, mut messages) = socket.split();
        let (sender, mut stored) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut waiting = Vec::new();
            while stored.recv_many(&mut waiting, 1_024).await > 0 {
                for (message, answer) in waiting.drain(..) {
                    let answer: oneshot::Receiver<()> = answer;
                    let message: u64 = message;
                    answer.await.unwrap();
                    let ack = format!("{{\"event_type\":\"ack\",\"data\":{{\"ref\":{message}}}}}");
                    if answers.feed(Message::Text(ack.into())).await.is_err() {
                        return;
                    }
                }
                if answers.flush().await.is_err() {
                    return;
                }
            }
        });
        while let Some(Ok(Message::Text(text))) = messages.next().await {
            let event: Value = serde_json::from_str(&text).unwrap();
            let message = event["ref"].as_u64().unwrap();
            let answer = log.append(event.to_string().into_bytes());
            if sender.send((message, answer)).is_err() {
                return;
            }
        }
    })
}
