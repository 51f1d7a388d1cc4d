//! The accept loop: a listener, connections with deadlines, and a drain.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::service::{PeerAddr, TidingsService};
use crate::write_deadline::WriteDeadline;

/// A request's head at most, in bytes: URL, cookies and tokens fit well.
const MAX_HEAD: usize = 16 * 1024;

/// The first and the longest pause after accepting failed, as it does when the
/// process has no file descriptor left.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Connections that wait for `accept`: a storm of reconnects comes in one burst.
const BACKLOG: u32 = 4_096;

/// Runs a [`TidingsService`] on a TCP port of its own.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    service: TidingsService,
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
        })
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
            listener, service, ..
        } = self;
        let tracker = TaskTracker::new();
        let aborted = CancellationToken::new();
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
                    let connection = serve_http(
                        stream,
                        peer,
                        service.clone(),
                        drain.clone(),
                        aborted.clone(),
                    );
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

/// Serves one HTTP connection until it ends or becomes a WebSocket.
async fn serve_http(
    stream: TcpStream,
    peer: SocketAddr,
    service: TidingsService,
    drain: CancellationToken,
    aborted: CancellationToken,
) {
    // Events are small and must not wait for more to come.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
    }
    let header_timeout = service.config().header_read_timeout;
    let stream = WriteDeadline::new(stream, service.manager().config().write_timeout);
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(PeerAddr(peer));
        hyper::service::Service::call(&service, request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                result = connection.as_mut() => result,
                () = aborted.cancelled() => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "an HTTP connection ended early");
    }
}
