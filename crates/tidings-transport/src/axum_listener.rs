//! A listener for `axum::serve` that serves Tidings as well as a node's own listener.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};

use crate::service::{PeerAddr, TidingsService};
use crate::write_deadline::WriteDeadline;

/// The pause after a connection could not be accepted. Other connections may have to end before
/// there are descriptors again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener for `axum::serve`. Its connections have `TCP_NODELAY`, and fail if the client does
/// not read a response in time. If it listens on the loopback address, it accepts only names of
/// this machine.
///
/// ```no_run
/// use axum::Router;
/// use tidings_transport::{AxumListener, PeerAddr, TidingsService};
/// use tokio::net::TcpListener;
///
/// # async fn serve(service: TidingsService) -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:8000").await?;
/// let listener = AxumListener::new(listener, &service)?;
/// let app = Router::new().fallback_service(service);
/// let app = app.into_make_service_with_connect_info::<PeerAddr>();
/// axum::serve(listener, app).await
/// # }
/// ```
#[derive(Debug)]
pub struct AxumListener {
    listener: TcpListener,
    write_timeout: Duration,
}

impl AxumListener {
    /// Creates a listener for this service.
    ///
    /// # Errors
    /// Returns an error if the listener has no address.
    pub fn new(listener: TcpListener, service: &TidingsService) -> io::Result<Self> {
        service.listening_on(listener.local_addr()?);
        Ok(Self {
            listener,
            write_timeout: service.manager().config().write_timeout,
        })
    }
}

/// Sends each event at once. Events are small, and must not wait for more data to fill a packet.
fn set_nodelay(stream: &TcpStream, peer: SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
    }
}

impl Listener for AxumListener {
    type Io = WriteDeadline;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (WriteDeadline, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    set_nodelay(&stream, peer);
                    return (WriteDeadline::new(stream, self.write_timeout), peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// axum's own listener shows its sockets here and nowhere else, so this also sets `TCP_NODELAY`.
impl Connected<IncomingStream<'_, TcpListener>> for PeerAddr {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        set_nodelay(stream.io(), *stream.remote_addr());
        Self(*stream.remote_addr())
    }
}

impl Connected<IncomingStream<'_, AxumListener>> for PeerAddr {
    fn connect_info(stream: IncomingStream<'_, AxumListener>) -> Self {
        Self(*stream.remote_addr())
    }
}
