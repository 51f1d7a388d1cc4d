//! The service in an axum application: its login, its router, its listener and its stop.
#![cfg(feature = "axum")]

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::serve::IncomingStream;
use bytes::Bytes;
use http::Response;
use serde_json::json;
use tidings_bus::{BusConfig, EventBus};
use tidings_connections::{
    Access, AuthError, Authenticator, ConnectionManager, ConnectionsConfig, Credentials,
    Permission, Permissions, Principal, Scope,
};
use tidings_protocol::{Data, NewEvent, TaskId};
use tidings_testkit::{DEADLINE, TestClient, eventually, http_exchange};
use tidings_transport::{
    AxumListener, ExtraRoute, PeerAddr, RequestParts, TidingsService, TransportConfig, WEBSOCKET,
    cookie,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// An authenticator that recognises users by a cookie.
struct Sessions;

#[async_trait]
impl Authenticator for Sessions {
    async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Principal, AuthError> {
        let request: &RequestParts = credentials.request().ok_or(AuthError::Missing)?;
        let user = cookie(&request.headers, "session").ok_or(AuthError::Missing)?;
        Ok(person(user))
    }
}

/// Returns a user who may watch the user's own tasks.
fn person(user: &str) -> Principal {
    let own: Scope = format!("{user}-*").parse().into_iter().collect();
    let permissions = Permissions::default().with(Permission::Watch, own);
    Principal::new(permissions).subject(user)
}

struct Program {
    addr: SocketAddr,
    bus: EventBus,
    service: TidingsService,
    listener: TcpListener,
}

impl Program {
    async fn new(authenticator: Option<Arc<dyn Authenticator>>) -> Self {
        Self::with(ConnectionsConfig::default(), authenticator).await
    }

    async fn with(
        config: ConnectionsConfig,
        authenticator: Option<Arc<dyn Authenticator>>,
    ) -> Self {
        let bus = EventBus::new(BusConfig::default()).unwrap();
        let manager = match authenticator {
            Some(known) => ConnectionManager::with_authenticator(bus.clone(), config, known),
            None => ConnectionManager::new(bus.clone(), config),
        };
        let prefix = ExtraRoute::open("/prefix", |asked| {
            Response::new(Bytes::from(asked.prefix().to_owned()))
        });
        let transport = TransportConfig::default().route(prefix);
        let service = TidingsService::new(manager.unwrap(), transport).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            addr: listener.local_addr().unwrap(),
            bus,
            service,
            listener,
        }
    }
}

async fn get(addr: SocketAddr, path: &str, header: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\n{header}Connection: close\r\n\r\n");
    let answer = http_exchange(addr, request.as_bytes()).await;
    (answer.status, answer.text().to_string())
}

const HOST: &str = "Host: localhost\r\n";

#[tokio::test]
async fn a_cookie_says_who_it_is_for_requests_and_for_websockets() {
    let program = Program::new(Some(Arc::new(Sessions))).await;
    let (addr, bus) = (program.addr, program.bus.clone());
    let app = Router::new().fallback_service(program.service);
    tokio::spawn(async move { axum::serve(program.listener, app).await });
    let task: TaskId = "ada-1".parse().unwrap();
    bus.publish(&task, NewEvent::task_started("t"))
        .await
        .unwrap();

    assert_eq!(get(addr, "/api/tasks/ada-1", HOST).await.0, 401);
    let with = |user: &str| format!("{HOST}Cookie: theme=dark; session={user}\r\n");
    assert_eq!(get(addr, "/api/tasks/ada-1", &with("ada")).await.0, 200);
    assert_eq!(get(addr, "/api/tasks/ada-1", &with("bob")).await.0, 403);

    let handshake = format!(
        "GET /ws/tasks/ada-1 HTTP/1.1\r\n{}Connection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        with("ada")
    );
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(handshake.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    while !String::from_utf8_lossy(&got).contains("connection_established") {
        assert!(stream.read_buf(&mut got).await.unwrap() > 0, "{got:?}");
    }
}

#[tokio::test]
async fn an_access_of_the_hosts_middleware_counts() {
    let program = Program::new(Some(Arc::new(Sessions))).await;
    let (addr, bus) = (program.addr, program.bus.clone());
    let login = from_fn(async |mut request: Request, next: Next| {
        let user = request.headers().get("x-user").cloned();
        if let Some(user) = user.as_ref().and_then(|user| user.to_str().ok()) {
            request.extensions_mut().insert(Access::of(person(user)));
        }
        next.run(request).await
    });
    let app = Router::new().fallback_service(program.service).layer(login);
    tokio::spawn(async move { axum::serve(program.listener, app).await });
    let task: TaskId = "ada-1".parse().unwrap();
    bus.publish(&task, NewEvent::task_started("t"))
        .await
        .unwrap();
    let user = |name: &str| format!("{HOST}X-User: {name}\r\n");
    assert_eq!(get(addr, "/api/tasks/ada-1", &user("ada")).await.0, 200);
    assert_eq!(get(addr, "/api/tasks/ada-1", &user("bob")).await.0, 403);
    assert_eq!(get(addr, "/api/tasks/ada-1", HOST).await.0, 401);
}

#[tokio::test]
async fn a_prefix_and_the_clients_address_are_read_by_themselves() {
    let program = Program::new(None).await;
    let (addr, bus) = (program.addr, program.bus.clone());
    let app = Router::new()
        .nest_service("/deep/tidings", program.service.clone())
        .into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(program.listener, app).await });
    assert_eq!(
        get(addr, "/deep/tidings/prefix", HOST).await,
        (200, "/deep/tidings".to_owned())
    );
    let _client = TestClient::connect(format!("ws://{addr}/deep/tidings/ws")).await;
    let (_, connections) = get(addr, "/deep/tidings/api/connections", HOST).await;
    assert!(connections.contains("127.0.0.1"), "{connections}");
    // The test has not set the framing, so the service has.
    assert_eq!(bus.framing().name, WEBSOCKET.name);
}

#[tokio::test]
async fn the_listener_for_axum_answers_to_names_of_this_machine_alone() {
    let program = Program::new(None).await;
    let addr = program.addr;
    let listener = AxumListener::new(program.listener, &program.service).unwrap();
    let app = Router::new()
        .fallback_service(program.service)
        .into_make_service_with_connect_info::<PeerAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    assert_eq!(get(addr, "/api/tasks", HOST).await.0, 200);
    let evil = "Host: evil.example\r\n";
    assert_eq!(get(addr, "/api/tasks", evil).await.0, 421);
    let mut client = TestClient::connect(format!("ws://{addr}/ws")).await;
    client.until("connection_established").await;
    let (_, connections) = get(addr, "/api/connections", HOST).await;
    assert!(connections.contains("127.0.0.1"), "{connections}");
}

#[tokio::test]
async fn one_stop_sends_websockets_and_event_streams_away_and_ends_the_server() {
    let program = Program::new(None).await;
    let addr = program.addr;
    let stop = CancellationToken::new();
    let drained = program.service.drain_on(stop.clone(), Duration::ZERO);
    let app = Router::new().fallback_service(program.service.clone());
    let stopped = stop.clone().cancelled_owned();
    let serving = tokio::spawn(async move {
        let serve = axum::serve(program.listener, app).with_graceful_shutdown(stopped);
        serve.await.unwrap();
    });
    let mut watcher = TestClient::connect(format!("ws://{addr}/ws")).await;
    watcher.until("connection_established").await;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request =
        format!("GET /api/tasks/t/events HTTP/1.1\r\n{HOST}Accept: text/event-stream\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    while !String::from_utf8_lossy(&got).contains("connection_established") {
        assert!(stream.read_buf(&mut got).await.unwrap() > 0, "{got:?}");
    }
    stop.cancel();
    watcher.until("going_away").await;
    stream.read_to_end(&mut got).await.unwrap();
    assert!(String::from_utf8_lossy(&got).contains("going_away"));
    drained.await;
    serving.await.unwrap();
    assert_eq!(program.service.manager().connected(), 0);
}

/// The socket that axum's own listener shows for a connection, after `PeerAddr` has seen it.
#[derive(Clone)]
struct Socket(Arc<std::net::TcpStream>);

impl Connected<IncomingStream<'_, TcpListener>> for Socket {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        let socket = stream.io().as_fd().try_clone_to_owned().unwrap();
        let socket = std::net::TcpStream::from(socket);
        assert!(!socket.nodelay().unwrap());
        let PeerAddr(peer) = PeerAddr::connect_info(stream);
        assert_eq!(peer, socket.peer_addr().unwrap());
        Self(Arc::new(socket))
    }
}

#[tokio::test]
async fn the_clients_address_comes_with_nodelay_under_axums_own_listener() {
    let program = Program::new(None).await;
    let nodelay =
        async |ConnectInfo(socket): ConnectInfo<Socket>| socket.0.nodelay().unwrap().to_string();
    let app = Router::new()
        .route("/nodelay", axum::routing::get(nodelay))
        .into_make_service_with_connect_info::<Socket>();
    tokio::spawn(async move { axum::serve(program.listener, app).await });
    let answer = get(program.addr, "/nodelay", HOST).await;
    assert_eq!(answer, (200, "true".to_owned()));
}

/// Publishes events until the test ends, more than all buffers between here and a client hold.
async fn flood(bus: EventBus) {
    let data = Data::from_value(json!({ "text": "x".repeat(16 * 1024) })).unwrap();
    let task: TaskId = "t".parse().unwrap();
    loop {
        let event = NewEvent::new("own".parse().unwrap(), data.clone());
        bus.publish(&task, event).await.unwrap();
        tokio::task::yield_now().await;
    }
}

const STREAM: &str =
    "GET /api/tasks/t/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";

/// The service itself gives the stream a write deadline. axum's own listener has none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_stream_that_nobody_reads_ends_under_axums_own_listener() {
    let config = ConnectionsConfig::default().write_timeout(Duration::from_millis(100));
    let program = Program::with(config, None).await;
    let manager = program.service.manager().clone();
    let app = Router::new().fallback_service(program.service);
    tokio::spawn(async move { axum::serve(program.listener, app).await });

    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stuck = socket.connect(program.addr).await.unwrap();
    stuck.write_all(STREAM.as_bytes()).await.unwrap();
    eventually("the client is connected", || manager.connected() == 1).await;
    let flooding = tokio::spawn(flood(program.bus));
    eventually("the client is given up", || manager.connected() == 0).await;
    flooding.abort();
    // The socket is closed as well: what the system had taken comes, and then the end.
    let mut rest = Vec::new();
    let end = tokio::time::timeout(DEADLINE, stuck.read_to_end(&mut rest)).await;
    let ended_in_order = end.unwrap().is_ok() && rest.ends_with(b"0\r\n\r\n");
    assert!(!ended_in_order, "the stream was cut off");
}

/// A stream whose client reads continues for many times the limit, also after a quiet time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_stream_that_is_read_goes_on_under_axums_own_listener() {
    const LIMIT: Duration = Duration::from_millis(50);
    let config = ConnectionsConfig::default().write_timeout(LIMIT);
    let program = Program::with(config, None).await;
    let (bus, manager) = (program.bus, program.service.manager().clone());
    let app = Router::new().fallback_service(program.service);
    tokio::spawn(async move { axum::serve(program.listener, app).await });

    let mut stream = TcpStream::connect(program.addr).await.unwrap();
    stream.write_all(STREAM.as_bytes()).await.unwrap();
    let task: TaskId = "t".parse().unwrap();
    eventually("the client is connected", || manager.connected() == 1).await;
    let mut got = Vec::new();
    for number in 0..4 {
        let last = format!("the end of burst {number}");
        for text in ["x".repeat(60 * 1024).as_str(), last.as_str()] {
            let data = Data::from_value(json!({ "text": text })).unwrap();
            let event = NewEvent::new("own".parse().unwrap(), data);
            bus.publish(&task, event).await.unwrap();
        }
        while !String::from_utf8_lossy(&got).contains(&last) {
            assert!(
                stream.read_buf(&mut got).await.unwrap() > 0,
                "it was cut off"
            );
        }
        tokio::time::sleep(LIMIT * 2).await;
    }
    assert_eq!(manager.connected(), 1);
}
