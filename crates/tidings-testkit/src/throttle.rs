//! A network that is slow: a TCP proxy that passes few bytes at a time, and that a test can stall
//! or make refuse.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The most bytes that pass at a time in one direction of one connection.
const PIECE: usize = 512;

/// How long each piece takes.
const PAUSE: Duration = Duration::from_millis(5);

/// The receive buffer of the proxy's sockets. With a small one, a sender soon notices that its
/// bytes are not read.
const BUFFER: u32 = 4096;

/// The behaviour of a [`ThrottledProxy`] towards its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throttle {
    /// Passes all bytes, at about 100 KB a second.
    Slow,
    /// Accepts connections, and passes and reads nothing.
    Stalled,
    /// Closes every connection, including new ones.
    Refusing,
}

/// A slow proxy in front of a server.
#[derive(Debug)]
pub struct ThrottledProxy {
    addr: SocketAddr,
    throttle: watch::Sender<Throttle>,
    accepting: JoinHandle<()>,
}

impl ThrottledProxy {
    /// Starts a proxy on a free port. It is [`Throttle::Slow`] at first.
    ///
    /// # Panics
    /// Panics if no port is free.
    pub async fn start(upstream: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        // Accepted connections inherit the size.
        let sized = socket.set_recv_buffer_size(BUFFER);
        sized.expect("a small receive buffer");
        let bound = socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        bound.expect("a free port");
        let listener = socket.listen(64).expect("a listener");
        let addr = listener.local_addr().expect("an address");
        let (throttle, current) = watch::channel(Throttle::Slow);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, upstream, current.clone()));
            }
        });
        Self {
            addr,
            throttle,
            accepting,
        }
    }

    /// Returns the address for clients.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sets what happens from now on, also to connections that exist.
    pub fn set(&self, throttle: Throttle) {
        self.throttle.send_replace(throttle);
    }
}

impl Drop for ThrottledProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.set(Throttle::Refusing);
    }
}

async fn connection(client: TcpStream, upstream: SocketAddr, throttle: watch::Receiver<Throttle>) {
    let mut refusing = throttle.clone();
    let both = async {
        let Ok(server) = TcpStream::connect(upstream).await else {
            return;
        };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::join!(
            relay(from_client, to_server, throttle.clone()),
            relay(from_server, to_client, throttle),
        );
    };
    tokio::select! {
        () = both => {}
        _ = refusing.wait_for(|throttle| *throttle == Throttle::Refusing) => {}
    }
}

async fn relay(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut throttle: watch::Receiver<Throttle>,
) {
    let mut buffer = [0; PIECE];
    loop {
        let flows = throttle.wait_for(|throttle| *throttle != Throttle::Stalled);
        if flows.await.is_err() {
            return;
        }
        let Ok(count @ 1..) = from.read(&mut buffer).await else {
            let _ = to.shutdown().await;
            return;
        };
        tokio::time::sleep(PAUSE).await;
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
