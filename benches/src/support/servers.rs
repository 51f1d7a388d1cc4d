//! The servers that are compared. Each prints its address and serves one load.

use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tidings_bus::{BusConfig, EventBus, LogLimits, SkipPolicy};
use tidings_connections::{
    AuthError, Authenticator, ClientLimits, ConnectionManager, ConnectionsConfig, Credentials,
    Permissions, Principal,
};
use tidings_node::Server;
use tidings_redis::{Redis, RedisConfig};
use tidings_store::{DiskStore, StoreConfig, Sync};
use tidings_transport::{TidingsService, TransportConfig, WEBSOCKET};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

pub(crate) const KINDS: &[&str] = &["bare", "tidings", "axum"];

/// Tells the bare server how large an event is.
pub(crate) const EVENT_BYTES_VAR: &str = "TIDINGS_BENCH_EVENT_BYTES";

/// Tells a node of a cluster where Redis is.
pub(crate) const REDIS_VAR: &str = "TIDINGS_BENCH_REDIS";

/// Tells a durable server where its directory is.
pub(crate) const DISK_VAR: &str = "TIDINGS_BENCH_DISK";

pub(crate) fn run(kind: &str) {
    // A durable server has a thread for its disk. It shares all cores with the loader.
    if let Ok(directory) = std::env::var(DISK_VAR) {
        return on_cores(2, with_disk(kind, directory.as_ref()));
    }
    // There are two nodes over Redis. They share all cores with Redis and the loader.
    if kind != "tidings-redis" {
        super::process::pin_to_core(0);
    }
    match kind {
        "bare" => bare(),
        "tidings" => on_one_core(tidings(ConnectionsConfig::default())),
        // An hour of heartbeats in two minutes.
        "tidings-heartbeats" => on_one_core(tidings(
            ConnectionsConfig::default().heartbeat_interval(super::peers::HEARTBEAT),
        )),
        // With this log, a watcher whose socket gets a little room stays far behind, and a client
        // that reconnects receives everything.
        "tidings-deep" => on_one_core(tidings_with(
            BusConfig::default().log_limits(LogLimits {
                max_events: 3_000,
                max_bytes: 1024 * 1024,
            }),
            ConnectionsConfig::default().skip(SkipPolicy::NEVER),
        )),
        "tidings-strangers" => on_one_core(tidings_for_strangers()),
        "tidings-redis" => on_one_core(tidings_over_redis()),
        "hyper" => on_one_core(hyper_upgrade()),
        "axum-http" => on_one_core(axum_over_http()),
        "axum" => on_one_core(axum_and_broadcast()),
        other => panic!("there is no server {other}"),
    }
}

fn on_one_core(server: impl Future<Output = ()>) {
    on_cores(1, server);
}

fn on_cores(cores: usize, server: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores)
        .enable_all()
        .build()
        .unwrap()
        .block_on(server);
}

/// Runs a server of the disk bench.
async fn with_disk(kind: &str, directory: &std::path::Path) {
    let sync = match kind {
        "plain-disk" => return super::disk::plain_server(directory).await,
        "tidings-memory" => return tidings(ConnectionsConfig::default()).await,
        "tidings-interval" => Sync::default(),
        "tidings-every-commit" => Sync::EveryCommit,
        other => panic!("there is no server {other}"),
    };
    let config = StoreConfig::default().sync(sync);
    let (store, _) = DiskStore::open(directory, config).await.unwrap();
    let bus = EventBus::open(BusConfig::default().framing(WEBSOCKET), Arc::new(store));
    let bus = bus.await.unwrap();
    serve(ConnectionManager::new(bus, ConnectionsConfig::default()).unwrap()).await;
}

pub(crate) fn say(addr: SocketAddr) {
    println!("{addr}");
    std::io::stdout().flush().unwrap();
}

async fn tidings(connections: ConnectionsConfig) {
    tidings_with(BusConfig::default(), connections).await;
}

async fn tidings_with(bus: BusConfig, connections: ConnectionsConfig) {
    let bus = EventBus::new(bus.framing(WEBSOCKET)).unwrap();
    serve(ConnectionManager::new(bus, connections).unwrap()).await;
}

/// Runs a server that authenticates clients, with the limits of a server on the internet.
async fn tidings_for_strangers() {
    let bus = EventBus::new(BusConfig::default().framing(WEBSOCKET)).unwrap();
    let connections = ConnectionsConfig::default().limits(ClientLimits::for_strangers());
    let asking = Arc::new(ByName);
    serve(ConnectionManager::with_authenticator(bus, connections, asking).unwrap()).await;
}

/// A client that shows a name as its token has that name. All others are one subject.
struct ByName;

#[async_trait::async_trait]
impl Authenticator for ByName {
    async fn authenticate(&self, shown: Credentials<'_>) -> Result<Principal, AuthError> {
        let name = shown.token.unwrap_or("others");
        Ok(Principal::new(Permissions::all()).subject(name))
    }
}

async fn serve(manager: ConnectionManager) {
    let service = TidingsService::new(manager, TransportConfig::default()).unwrap();
    let server = Server::bind(([127, 0, 0, 1], 0).into(), service)
        .await
        .unwrap();
    say(server.local_addr());
    let never = CancellationToken::new();
    tokio::spawn(server.run(never, Duration::ZERO, Duration::ZERO))
        .await
        .unwrap();
}

/// Runs one node of a cluster.
async fn tidings_over_redis() {
    let config = BusConfig::default();
    let deployment = std::env::var(REDIS_VAR).unwrap().parse().unwrap();
    let redis = Redis::start(RedisConfig::new(deployment).retaining_as(&config));
    assert!(redis.wait(Duration::from_secs(10)).await, "Redis answers");
    let config = config.framing(WEBSOCKET).broker(Some(redis.broker()));
    let bus = EventBus::open(config, redis.store()).await.unwrap();
    // Publishes are refused until messages are received from Redis.
    while !bus.is_available() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let manager = ConnectionManager::new(bus, ConnectionsConfig::default()).unwrap();
    manager.join(redis.clients(), redis.neighbours());
    serve(manager).await;
}

/// Reads a publish, and writes a ready frame to each socket of its task.
fn bare() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    say(listener.local_addr().unwrap());
    let mut tasks: HashMap<String, Vec<TcpStream>> = HashMap::new();
    let event_bytes = std::env::var(EVENT_BYTES_VAR).unwrap().parse().unwrap();
    let payload = super::loader::example_event(event_bytes);
    let mut frame = Vec::new();
    (WEBSOCKET.write_header)(payload.len(), &mut frame);
    frame.extend_from_slice(payload.as_bytes());
    loop {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut path = String::new();
        let mut socket = tungstenite::accept_hdr(
            stream,
            |request: &tungstenite::handshake::server::Request,
             response: tungstenite::handshake::server::Response| {
                path = request.uri().path().to_owned();
                Ok(response)
            },
        )
        .unwrap();
        if let Some(task) = path.strip_prefix("/ws/tasks/") {
            tasks
                .entry(task.to_owned())
                .or_default()
                .push(socket.into_inner());
            continue;
        }
        while let Ok(message) = socket.read() {
            let Ok(text) = message.to_text() else {
                continue;
            };
            let Some(sockets) = task_of(text).and_then(|task| tasks.get_mut(task)) else {
                continue;
            };
            for socket in sockets {
                socket.write_all(&frame).unwrap();
            }
        }
        return;
    }
}

/// Returns the task's id without parsing the text, because this server only shows the limit.
fn task_of(text: &str) -> Option<&str> {
    let rest = text.split_once("\"task_id\":\"")?.1;
    Some(rest.split_once('"')?.0)
}

type Channels = Arc<Mutex<HashMap<String, broadcast::Sender<String>>>>;

fn channel(channels: &Channels, task: &str) -> broadcast::Sender<String> {
    let mut channels = channels.lock().unwrap();
    channels
        .entry(task.to_owned())
        .or_insert_with(|| broadcast::channel(1_024).0)
        .clone()
}

async fn axum_and_broadcast() {
    let channels = Channels::default();
    let app = Router::new()
        .route("/ws", get(publisher))
        .route("/ws/tasks/{task}", get(watcher))
        .with_state(channels);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    say(listener.local_addr().unwrap());
    tokio::spawn(async move {
        use axum::serve::ListenerExt;
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        axum::serve(listener, app).await.unwrap();
    })
    .await
    .unwrap();
}

async fn publisher(
    State(channels): State<Channels>,
    upgrade: WebSocketUpgrade,
) -> axum::response::Response {
    upgrade.on_upgrade(|mut socket: WebSocket| async move {
        let mut offsets: HashMap<String, u64> = HashMap::new();
        while let Some(Ok(message)) = socket.recv().await {
            let Message::Text(text) = message else {
                continue;
            };
            let message: serde_json::Value = serde_json::from_str(&text).unwrap();
            let task = message["task_id"].as_str().unwrap();
            let offset = offsets.entry(task.to_owned()).or_default();
            *offset += 1;
            let event = format!(
                "{{\"event_type\":{},\"task_id\":\"{task}\",\"offset\":{offset},\
                 \"timestamp\":\"2026-11-23T04:45:12.123Z\",\"data\":{}}}",
                message["event_type"], message["data"]
            );
            // Sending fails if there is no watcher.
            let _ = channel(&channels, task).send(event);
        }
    })
}

async fn watcher(
    Path(task): Path<String>,
    State(channels): State<Channels>,
    upgrade: WebSocketUpgrade,
) -> axum::response::Response {
    let mut events = channel(&channels, &task).subscribe();
    upgrade.on_upgrade(|mut socket: WebSocket| async move {
        let hello = "{\"event_type\":\"connection_established\",\"data\":{}}";
        if socket.send(Message::Text(hello.into())).await.is_err() {
            return;
        }
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(event) => {
                        if socket.send(Message::Text(event.into())).await.is_err() {
                            return;
                        }
                    }
                    // A real server would lose events here, without any message.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                message = socket.recv() => if message.is_none() {
                    return;
                },
            }
        }
    })
}

/// Runs a handler that parses events and answers 201 with a number for each. It keeps nothing.
async fn axum_over_http() {
    #[derive(serde::Deserialize)]
    struct Event {
        #[serde(rename = "event_type")]
        _event_type: String,
        #[serde(rename = "data")]
        _data: serde_json::Value,
    }
    #[derive(serde::Serialize)]
    struct Accepted {
        epoch: &'static str,
        offset: u64,
        duplicate: bool,
    }
    static OFFSET: AtomicU64 = AtomicU64::new(0);
    fn accept(_: Event) -> Accepted {
        Accepted {
            epoch: "7f3a9c0d1e2b",
            offset: OFFSET.fetch_add(1, Ordering::Relaxed),
            duplicate: false,
        }
    }
    async fn handle(Path(_task): Path<String>, body: axum::body::Bytes) -> impl IntoResponse {
        let answer = if body.starts_with(b"[") {
            let events: Vec<Event> = serde_json::from_slice(&body).unwrap();
            let accepted: Vec<_> = events.into_iter().map(accept).collect();
            serde_json::to_vec(&accepted)
        } else {
            let event = serde_json::from_slice(&body).unwrap();
            serde_json::to_vec(&accept(event))
        };
        let json = [(hyper::header::CONTENT_TYPE, "application/json")];
        (hyper::StatusCode::CREATED, json, answer.unwrap())
    }
    let app = Router::new().route("/api/tasks/{task}/events", post(handle));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    say(listener.local_addr().unwrap());
    tokio::spawn(async move {
        use axum::serve::ListenerExt;
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        axum::serve(listener, app).await.unwrap();
    })
    .await
    .unwrap();
}

/// Runs the minimum of an upgrade: hyper's handshake, and an idle socket.
async fn hyper_upgrade() {
    use http_body_util::Empty;
    use hyper::body::{Bytes, Incoming};
    use hyper::{Request, Response};
    use hyper_util::rt::TokioIo;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    say(listener.local_addr().unwrap());
    let accept = async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let answer = hyper::service::service_fn(|mut request: Request<Incoming>| async {
                    let response: Response<Empty<Bytes>> =
                        tungstenite::handshake::server::create_response_with_body(
                            &request,
                            Empty::new,
                        )
                        .unwrap();
                    tokio::spawn(async move {
                        let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
                        let parts = upgraded
                            .downcast::<TokioIo<tokio::net::TcpStream>>()
                            .unwrap();
                        let stream = parts.io.into_inner();
                        stream.readable().await.unwrap();
                    });
                    Ok::<_, std::convert::Infallible>(response)
                });
                // A client that disconnects is not an error here.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer)
                    .with_upgrades()
                    .await;
            });
        }
    };
    tokio::spawn(accept).await.unwrap();
}
