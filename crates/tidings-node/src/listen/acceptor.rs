//! What stands between a TCP socket and HTTP: the seam for TLS.

use std::io;

use async_trait::async_trait;
use tidings_tls::Tls;
use tokio::io::{AsyncRead, AsyncWrite};

/// A stream that can be read and written.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// A stream of whatever kind.
pub type BoxedStream = Box<dyn Stream>;

/// A connection after its handshake.
#[non_exhaustive]
pub struct Accepted {
    /// What HTTP is spoken over.
    pub stream: BoxedStream,
    /// Both sides have agreed on HTTP/2; else it is HTTP/1.1.
    pub h2: bool,
}

impl Accepted {
    /// A connection after its handshake.
    pub fn new(stream: BoxedStream, h2: bool) -> Self {
        Self { stream, h2 }
    }
}

/// Shakes hands on a connection before HTTP: TLS, as `tidings-tls` does it.
#[async_trait]
pub trait Acceptor: Send + Sync + 'static {
    /// Shakes hands.
    ///
    /// # Errors
    /// The client speaks something else, or went away. The time that this may
    /// take is bounded by the caller.
    async fn accept(&self, stream: BoxedStream) -> io::Result<Accepted>;
}

#[async_trait]
impl Acceptor for Tls {
    async fn accept(&self, stream: BoxedStream) -> io::Result<Accepted> {
        let (stream, h2) = Tls::accept(self, stream).await?;
        Ok(Accepted::new(Box::new(stream), h2))
    }
}
