//! The accept loop: a listener, connections with deadlines, and a drain.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1::UpgradeableConnection;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use tidings_transport::{PeerAddr, Problem, ResponseFuture, TidingsService, WriteDeadline, host};

use super::acceptor::{Acceptor, BoxedStream, Stream};
use super::hosts::Hosts;
use super::proxy_protocol;

/// A request's head at most, in bytes: URL, cookies and tokens fit well.
const MAX_HEAD: usize = 16 * 1024;

/// The same for HTTP/2, where each field counts 32 bytes more (RFC 9113 §6.5.2).
const MAX_HEAD_H2: u32 = 32 * 1024;

/// Requests at a time on one HTTP/2 connection; each may be a stream of events.
const MAX_STREAMS: u32 = 128;

/// Bytes that one HTTP/2 stream holds for a client that does not read.
const SEND_BUFFER_H2: usize = 64 * 1024;

/// The first and the longest pause after accepting failed, as it does when the
/// process has no file descriptor left.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Connections that wait for `accept`: a storm of reconnects comes in one burst.
const BACKLOG: u32 = 4_096;

/// Runs a [`TidingsService`] on a TCP port of its own.
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    service: TidingsService,
    acceptor: Option<Arc<dyn Acceptor>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Listens on `addr`; port 0 takes a free one, see [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    /// The address is in use, or not one of this machine's.
    pub async fn bind(addr: SocketAddr, service: TidingsService) -> io::Result<Self> {
        let socket = match addr {
            SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
            SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
        };
        // A restart must not wait for old connections' TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        let listener = socket.listen(BACKLOG)?;
        let local_addr = listener.local_addr()?;
        Ok(Self {
            listener,
            local_addr,
            service,
            acceptor: None,
        })
    }

    /// Has every connection shake hands first: TLS.
    #[must_use]
    pub fn secured(mut self, acceptor: Arc<dyn Acceptor>) -> Self {
        self.acceptor = Some(acceptor);
        self
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Accepts until `drain` is cancelled. Then it stops accepting, closes
    /// WebSockets with 1012, telling each to come back after another part of
    /// `window`, lets requests finish, and returns when all are gone or
    /// `deadline` has passed: with how many had to be aborted.
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
            local_addr,
        } = self;
        let tracker = TaskTracker::new();
        let aborted = CancellationToken::new();
        let hosts = Hosts::of(local_addr, &service.config().allowed_hosts);
        let shared = Arc::new(Shared {
            service: service.clone(),
            acceptor,
            hosts,
            drain: drain.clone(),
            aborted: aborted.clone(),
        });
        let limit = Arc::new(Semaphore::new(service.config().max_http_connections));
        let mut pause = ACCEPT_PAUSE.0;
        loop {
            let next = async {
                // A connection beyond the limit waits in the backlog.
                let permit = Arc::clone(&limit).acquire_owned().await;
                (listener.accept().await, permit)
            };
            let (accepted, permit) = tokio::select! {
                next = next => next,
                () = drain.cancelled() => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    pause = ACCEPT_PAUSE.0;
                    let config = service.config();
                    if !config.trusts(peer.ip())
                        && let Err(limited) = service.manager().note_handshake(peer.ip())
                    {
                        turn_away(&stream, shared.acceptor.is_some());
                        tracing::debug!(%peer, error = %limited, "turned away");
                        continue;
                    }
                    let connection = serve(stream, peer, Arc::clone(&shared));
                    tracker.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    // One client's trouble (reset before accept) needs no pause,
                    // but a pause does it no harm either.
                    tracing::warn!(%error, ?pause, "a connection could not be accepted");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(ACCEPT_PAUSE.1);
                }
            }
        }
        drop(listener);
        tracker.close();
        let finish = async {
            tokio::join!(service.manager().drain(window), tracker.wait());
        };
        if tokio::time::timeout(deadline, finish).await.is_ok() {
            return 0;
        }
        aborted.cancel();
        let left = tracker.len() + service.manager().connected();
        tracing::warn!(
            connections = left,
            "aborting connections that did not end in time"
        );
        left
    }
}

/// Says no without reading anything, in the one write that a new socket always
/// takes; over TLS that would take a handshake, which is what is too much.
fn turn_away(stream: &TcpStream, secured: bool) {
    const NO: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n\
        Content-Length: 0\r\nConnection: close\r\n\r\n";
    if !secured {
        // Whether it is heard changes nothing.
        let _ = stream.try_write(NO);
    }
}

/// What all connections of a server have in common.
struct Shared {
    service: TidingsService,
    acceptor: Option<Arc<dyn Acceptor>>,
    hosts: Hosts,
    drain: CancellationToken,
    aborted: CancellationToken,
}

/// Serves one connection until it ends or becomes a WebSocket.
async fn serve(mut stream: TcpStream, mut peer: SocketAddr, shared: Arc<Shared>) {
    // Events are small and must not wait for more to come.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
    }
    let limit = shared.service.config().header_read_timeout;
    if shared.service.config().proxy_protocol {
        if !shared.service.config().trusts(peer.ip()) {
            tracing::debug!(%peer, "no trusted proxy");
            return;
        }
        let header = proxy_protocol::read(&mut stream);
        match tokio::time::timeout(limit, header).await {
            Ok(Ok(Some(client))) => {
                peer = client;
                if let Err(limited) = shared.service.manager().note_handshake(peer.ip()) {
                    turn_away(&stream, shared.acceptor.is_some());
                    tracing::debug!(%peer, error = %limited, "turned away");
                    return;
                }
            }
            // The proxy itself, about its own health.
            Ok(Ok(None)) => {}
            _ => {
                tracing::debug!(%peer, "no header of the PROXY protocol");
                return;
            }
        }
    }
    let stream = WriteDeadline::new(stream, shared.service.manager().config().write_timeout);
    let Some(acceptor) = &shared.acceptor else {
        return http1(stream, peer, &shared).await;
    };
    let handshake = acceptor.accept(Box::new(stream));
    match tokio::time::timeout(limit, handshake).await {
        Ok(Ok(accepted)) if accepted.h2 => Box::pin(http2(accepted.stream, peer, &shared)).await,
        Ok(Ok(accepted)) => Box::pin(http1(accepted.stream, peer, &shared)).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a handshake failed"),
        Err(_) => tracing::debug!(%peer, "a handshake took too long"),
    }
}

/// What answers the requests of one connection.
fn answer(
    peer: SocketAddr,
    shared: &Arc<Shared>,
) -> impl Fn(Request<Incoming>) -> ResponseFuture + use<> {
    let shared = Arc::clone(shared);
    move |mut request| {
        // A client that names no host is no browser.
        if host(&request).is_some_and(|host| !shared.hosts.allow(host)) {
            return Box::pin(async { Ok(misdirected().into_response()) });
        }
        request.extensions_mut().insert(PeerAddr(peer));
        hyper::service::Service::call(&shared.service, request)
    }
}

fn misdirected() -> Problem {
    Problem::plain(
        StatusCode::MISDIRECTED_REQUEST,
        "this server does not answer to the name in the Host header; see --allow-host",
    )
}

async fn http1<T: Stream>(stream: T, peer: SocketAddr, shared: &Arc<Shared>) {
    let connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(shared.service.config().header_read_timeout)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service_fn(answer(peer, shared)))
            .with_upgrades()
    );
    let finish = |connection: Pin<&mut UpgradeableConnection<_, _>>| connection.graceful_shutdown();
    drive(connection, finish, peer, shared).await;
}

async fn http2(stream: BoxedStream, peer: SocketAddr, shared: &Arc<Shared>) {
    let connection = pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEAD_H2)
            .max_send_buf_size(SEND_BUFFER_H2)
            .keep_alive_interval(Some(shared.service.manager().config().heartbeat_interval))
            .keep_alive_timeout(shared.service.manager().config().write_timeout)
            .serve_connection(TokioIo::new(stream), service_fn(answer(peer, shared)))
    );
    let finish = |connection: Pin<&mut http2::Connection<_, _, _>>| connection.graceful_shutdown();
    drive(connection, finish, peer, shared).await;
}

/// Lets a connection run to its end, or, when the server drains, finish. Lent:
/// passed on, it would be here twice, and be carried along.
async fn drive<C, E>(
    mut connection: Pin<&mut C>,
    finish: impl FnOnce(Pin<&mut C>),
    peer: SocketAddr,
    shared: &Shared,
) where
    C: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shared.drain.cancelled() => {
            finish(connection.as_mut());
            tokio::select! {
                result = connection.as_mut() => result,
                () = shared.aborted.cancelled() => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "an HTTP connection ended early");
    }
}
