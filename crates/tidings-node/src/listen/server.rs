//! The accept loop: a listener, connections with deadlines, and the drain.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::server::conn::http1::UpgradeableConnection;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidings_connections::Limit;
use tidings_transport::{
    Body, HandshakeHold, PeerAddr, PeerCertificates, Problem, ResponseFuture, TidingsService,
    WriteDeadline,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::acceptor::{Acceptor, BoxedStream, Stream};
use super::mounts::{Mounted, MountedBody, MountedServices};
use super::places::{Held, Kept, NoPlace, Place, Places};
use super::proxy_protocol;

/// The largest request head in bytes. It has room for URL, cookies and tokens.
const MAX_HEAD: usize = 16 * 1024;

/// The same limit for HTTP/2, which counts 32 bytes more for each field (RFC 9113 §6.5.2).
const MAX_HEAD_H2: u32 = 32 * 1024;

/// The bytes that one HTTP/2 stream buffers for a client that does not read. All streams of a
/// connection together buffer up to 2 MiB.
const SEND_BUFFER_H2: usize = 16 * 1024;

/// The time that a connection gets to end properly, if it makes room for another.
const MAKING_ROOM: Duration = Duration::from_secs(1);

/// The first and the longest pause after `accept` failed, for example because the process has no
/// file descriptors left.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The most connections that may wait for `accept`. Many clients may reconnect in one burst.
const BACKLOG: u32 = 4_096;

/// Serves a [`TidingsService`] on its own TCP port.
///
/// ```
/// use std::time::Duration;
/// use tidings_bus::{BusConfig, EventBus};
/// use tidings_connections::{ConnectionManager, ConnectionsConfig};
/// use tidings_node::Server;
/// use tidings_transport::{TidingsService, TransportConfig, WEBSOCKET};
/// use tokio_util::sync::CancellationToken;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = EventBus::new(BusConfig::default().framing(WEBSOCKET))?;
/// let manager = ConnectionManager::new(bus, ConnectionsConfig::default())?;
/// let service = TidingsService::new(manager, TransportConfig::default())?;
/// let server = Server::bind("127.0.0.1:0".parse()?, service).await?;
/// println!("listening on http://{}", server.local_addr());
///
/// let drain = CancellationToken::new();
/// let (window, deadline) = (Duration::from_secs(5), Duration::from_secs(10));
/// let running = tokio::spawn(server.run(drain.clone(), window, deadline));
/// drain.cancel();
/// assert_eq!(running.await?, 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "a server accepts connections only while run() is polled"]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    service: TidingsService,
    acceptor: Option<Arc<dyn Acceptor>>,
    mounts: MountedServices,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Listens on `addr`. Port 0 chooses a free port, see [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    /// Returns an error if the address is in use, or does not belong to this machine.
    ///
    /// # Cancel safety
    /// The future completes at its first poll.
    pub async fn bind(addr: SocketAddr, service: TidingsService) -> io::Result<Self> {
        let socket = match addr {
            SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
            SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
        };
        // Without this, a restart would have to wait for old connections in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        let listener = socket.listen(BACKLOG)?;
        let local_addr = listener.local_addr()?;
        Ok(Self {
            listener,
            local_addr,
            service,
            acceptor: None,
            mounts: MountedServices::default(),
        })
    }

    /// Sets the routes of the program around the node.
    pub(crate) fn mounts(mut self, mounts: MountedServices) -> Self {
        self.mounts = mounts;
        self
    }

    /// Sets the handshake that every connection performs first, such as TLS.
    pub fn secured(mut self, acceptor: Arc<dyn Acceptor>) -> Self {
        self.acceptor = Some(acceptor);
        self
    }

    /// Returns the address on which the server listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Accepts connections until `drain` is cancelled, then drains. A drain stops accepting and
    /// closes WebSockets with 1012. Each client is told to reconnect after a different part of
    /// `window`. Running requests are finished. Returns when all connections have ended or
    /// `deadline` has passed, with the number of connections that had to be aborted. All tasks of
    /// the server have ended then.
    ///
    /// # Cancel safety
    /// Not cancel safe. Dropping the future stops accepting connections, but does not drain.
    /// Cancel `drain` instead.
    pub async fn run(
        self,
        drain: CancellationToken,
        window: Duration,
        deadline: Duration,
    ) -> usize {
        let Self {
            listener,
            service,
            acceptor,
            mounts,
            local_addr,
        } = self;
        let tracker = TaskTracker::new();
        let abort = CancellationToken::new();
        service.listening_on(local_addr);
        let shared = Arc::new(Shared {
            service: service.clone(),
            acceptor,
            mounts,
            drain: drain.clone(),
            streams: Streams {
                tracker: TaskTracker::new(),
                abort: abort.clone(),
            },
        });
        let places = Places::new(
            service.config().max_http_connections,
            service.config().max_http_connections_per_address,
        );
        let mut pause = ACCEPT_PAUSE.0;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = drain.cancelled() => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    pause = ACCEPT_PAUSE.0;
                    let config = service.config();
                    if !config.trusts(peer.ip())
                        && let Err(limited) = service.manager().note_handshake(peer.ip())
                    {
                        turn_away(&stream, shared.acceptor.is_some(), TOO_MANY);
                        tracing::debug!(%peer, error = %limited, "turned away");
                        continue;
                    }
                    let is_proxy = config.trusts(peer.ip());
                    if let Some(place) = shared.place(&places, &stream, peer, is_proxy) {
                        let (shared, abort) = (Arc::clone(&shared), abort.clone());
                        let places = places.clone();
                        tracker.spawn(async move {
                            let served = serve(stream, peer, shared, places, place);
                            abort.run_until_cancelled(served).await;
                        });
                    }
                }
                Err(error) => {
                    // An error that concerns only one client, such as a reset before `accept`,
                    // needs no pause, but a pause does no harm.
                    tracing::warn!(%error, ?pause, "a connection could not be accepted");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(ACCEPT_PAUSE.1);
                }
            }
        }
        drop(listener);
        tracker.close();
        shared.streams.tracker.close();
        let finish = async {
            tokio::join!(
                service.manager().drain(window),
                tracker.wait(),
                shared.streams.tracker.wait()
            );
        };
        if tokio::time::timeout(deadline, finish).await.is_ok() {
            return 0;
        }
        let left = tracker.len() + service.manager().connected();
        tracing::warn!(
            connections = left,
            "aborting connections that did not end in time"
        );
        abort.cancel();
        tokio::join!(
            tracker.wait(),
            shared.streams.tracker.wait(),
            service.manager().abort()
        );
        left
    }
}

/// Sends a refusal without reading anything. One write to a new socket always succeeds. Over TLS
/// nothing is sent, because that would need a handshake, and handshakes are the load to avoid.
fn turn_away(stream: &TcpStream, secured: bool, answer: &[u8]) {
    if !secured {
        // The connection is closed whether or not the client reads the answer.
        let _ = stream.try_write(answer);
    }
}

/// The answer to an address that opens too many connections at a time, or has too many.
const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";

/// The answer if no place is left for another connection.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";

/// The state that all connections of a server share.
struct Shared {
    service: TidingsService,
    acceptor: Option<Arc<dyn Acceptor>>,
    mounts: MountedServices,
    drain: CancellationToken,
    streams: Streams,
}

/// Spawns the tasks of HTTP/2 streams, one for each request.
#[derive(Clone)]
struct Streams {
    tracker: TaskTracker,
    abort: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let abort = self.abort.clone();
        self.tracker.spawn(abort.run_until_cancelled_owned(stream));
    }
}

impl Shared {
    /// Returns a place for a new connection, or sends the client a refusal.
    fn place(
        &self,
        places: &Places,
        stream: &TcpStream,
        peer: SocketAddr,
        is_proxy: bool,
    ) -> Option<Place> {
        let (answer, why) = match places.enter(peer.ip(), is_proxy) {
            Ok(place) if place.makes_room() || place.is_for_probes() => {
                self.service.manager().count_limited(Limit::HttpConnections);
                return Some(place);
            }
            Ok(place) => return Some(place),
            Err(NoPlace::AddressFull) => (TOO_MANY, "its address has too many connections"),
            Err(NoPlace::Full) => (FULL, "the server has no place for another connection"),
        };
        self.service.manager().count_limited(Limit::HttpConnections);
        turn_away(stream, self.acceptor.is_some(), answer);
        tracing::debug!(%peer, why, "turned away");
        None
    }
}

/// Serves one connection until it ends or becomes a WebSocket.
async fn serve(
    mut stream: TcpStream,
    mut peer: SocketAddr,
    shared: Arc<Shared>,
    places: Places,
    mut place: Place,
) {
    // Events are small, and must not wait for more data to fill a packet.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
    }
    let limit = shared.service.config().header_read_timeout;
    if shared.service.config().proxy_protocol {
        if !shared.service.config().trusts(peer.ip()) {
            tracing::debug!(%peer, "the connection does not come from a trusted proxy");
            return;
        }
        let header = proxy_protocol::read(&mut stream);
        match tokio::time::timeout(limit, header).await {
            Ok(Ok(Some(client))) => {
                peer = client;
                if let Err(limited) = shared.service.manager().note_handshake(peer.ip()) {
                    turn_away(&stream, shared.acceptor.is_some(), TOO_MANY);
                    tracing::debug!(%peer, error = %limited, "turned away");
                    return;
                }
                // Up to here the connection was counted for the proxy's address.
                drop(place);
                match shared.place(&places, &stream, peer, false) {
                    Some(own) => place = own,
                    None => return,
                }
            }
            // The proxy itself connects, to check the server's health.
            Ok(Ok(None)) => {}
            _ => {
                tracing::debug!(%peer, "the connection has no header of the PROXY protocol");
                return;
            }
        }
    }
    let stream = WriteDeadline::new(stream, shared.service.manager().config().write_timeout);
    let Some(acceptor) = &shared.acceptor else {
        let hold = Some(stream.handshake_hold());
        let client = Client {
            peer,
            certificates: None,
        };
        return http1(stream, hold, client, &shared, place).await;
    };
    let handshake = acceptor.accept(Box::new(stream));
    let handshake = tokio::select! {
        handshake = tokio::time::timeout(limit, handshake) => handshake,
        () = place.ended() => return,
    };
    match handshake {
        Ok(Ok(accepted)) => {
            let client = Client {
                peer,
                certificates: accepted.certificates,
            };
            if accepted.h2 {
                Box::pin(http2(accepted.stream, client, &shared, place)).await;
            } else {
                Box::pin(http1(accepted.stream, None, client, &shared, place)).await;
            }
        }
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a handshake failed"),
        Err(_) => tracing::debug!(%peer, "a handshake took too long"),
    }
}

/// The body of a response: from the service, or from a mounted service.
type AnswerBody = Either<Body, MountedBody>;

/// A response that is being computed.
enum Answer {
    Service(ResponseFuture, Option<Held>),
    Mounted(Mounted, Option<Held>),
    Refused(Box<Problem>),
}

impl Future for Answer {
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        /// Lets a response hold the place of its connection while it is written.
        fn hold<E: 'static>(held: &mut Option<Held>, response: Kept<E>) -> Kept<E> {
            match held.take() {
                Some(held) => held.hold(response),
                None => response,
            }
        }
        match self.get_mut() {
            Self::Service(answer, held) => answer
                .as_mut()
                .poll(cx)
                .map_ok(|response| hold(held, response).map(Either::Left)),
            Self::Mounted(answer, held) => answer
                .as_mut()
                .poll(cx)
                .map_ok(|response| hold(held, response).map(Either::Right)),
            Self::Refused(problem) => {
                let response = problem.as_ref().clone().into_response();
                Poll::Ready(Ok(response.map(Either::Left)))
            }
        }
    }
}

/// The client at the other end of a connection.
#[derive(Clone)]
struct Client {
    peer: SocketAddr,
    /// The certificates that it has shown.
    certificates: Option<PeerCertificates>,
}

impl Client {
    /// Tells the service about the client.
    fn note(&self, extensions: &mut http::Extensions) {
        extensions.insert(PeerAddr(self.peer));
        if let Some(certificates) = &self.certificates {
            extensions.insert(certificates.clone());
        }
    }
}

/// Returns the function that answers the requests of one connection.
fn answer(
    client: Client,
    hold: Option<HandshakeHold>,
    shared: &Arc<Shared>,
    place: Place,
) -> impl Fn(Request<Incoming>) -> Answer + use<> {
    let shared = Arc::clone(shared);
    move |mut request| {
        if place.is_for_probes() && !matches!(request.uri().path(), "/healthz" | "/readyz") {
            return Answer::Refused(Box::new(full()));
        }
        if let Some(problem) = shared.service.refusal_of_host(&request) {
            return Answer::Refused(Box::new(problem));
        }
        client.note(request.extensions_mut());
        let held = Some(place.begin());
        match shared.mounts.find(request.uri().path()) {
            Some(mounted) => Answer::Mounted(mounted(request), held),
            None => {
                if let Some(hold) = &hold {
                    request.extensions_mut().insert(hold.clone());
                }
                let answer = hyper::service::Service::call(&shared.service, request);
                Answer::Service(answer, held)
            }
        }
    }
}

fn full() -> Problem {
    Problem::plain(
        StatusCode::SERVICE_UNAVAILABLE,
        "the server has no place for another connection: try again later, or close some; see \
         --max-http-connections",
    )
}

async fn http1<T: Stream>(
    stream: T,
    hold: Option<HandshakeHold>,
    client: Client,
    shared: &Arc<Shared>,
    place: Place,
) {
    let peer = client.peer;
    let connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(shared.service.config().header_read_timeout)
            .max_buf_size(MAX_HEAD)
            .serve_connection(
                TokioIo::new(stream),
                service_fn(answer(client, hold, shared, place.clone())),
            )
            .with_upgrades()
    );
    let finish = |connection: Pin<&mut UpgradeableConnection<_, _>>| connection.graceful_shutdown();
    let end = place.ended();
    drive(connection, finish, end, peer, shared).await;
}

async fn http2(stream: BoxedStream, client: Client, shared: &Arc<Shared>, place: Place) {
    let peer = client.peer;
    let config = shared.service.config();
    let streams = u32::try_from(config.max_http2_streams).unwrap_or(u32::MAX);
    let connection = pin!(
        http2::Builder::new(shared.streams.clone())
            .timer(TokioTimer::new())
            .max_concurrent_streams(streams)
            .max_header_list_size(MAX_HEAD_H2)
            .max_send_buf_size(SEND_BUFFER_H2)
            .keep_alive_interval(Some(shared.service.manager().config().heartbeat_interval))
            .keep_alive_timeout(shared.service.manager().config().write_timeout)
            .serve_connection(
                TokioIo::new(stream),
                service_fn(answer(client, None, shared, place.clone())),
            )
    );
    let finish = |connection: Pin<&mut http2::Connection<_, _, _>>| connection.graceful_shutdown();
    let end = async {
        tokio::select! {
            () = place.ended() => {}
            () = place.idle_for(config.http2_idle_timeout) => {}
        }
    };
    drive(connection, finish, end, peer, shared).await;
}

/// Drives a connection to its end. When the server drains, the connection finishes its requests
/// first. The connection is passed by reference, because moving it would copy it and enlarge the
/// future.
async fn drive<C, E>(
    mut connection: Pin<&mut C>,
    finish: impl FnOnce(Pin<&mut C>),
    end: impl Future<Output = ()>,
    peer: SocketAddr,
    shared: &Shared,
) where
    C: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let result = tokio::select! {
        result = connection.as_mut() => result,
        // The connection is idle, and another connection needs its place.
        () = end => {
            finish(connection.as_mut());
            match tokio::time::timeout(MAKING_ROOM, connection).await {
                Ok(result) => result,
                Err(_) => return,
            }
        }
        () = shared.drain.cancelled() => {
            finish(connection.as_mut());
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "an HTTP connection ended early");
    }
}
