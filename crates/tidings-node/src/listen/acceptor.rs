//! The seam for TLS, between a TCP socket and HTTP.

use std::io;

use async_trait::async_trait;
use tidings_tls::Tls;
use tidings_transport::PeerCertificates;
use tokio::io::{AsyncRead, AsyncWrite};

/// A stream that can be read and written.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// A boxed stream of any kind.
pub type BoxedStream = Box<dyn Stream>;

/// A connection after its handshake.
#[non_exhaustive]
pub struct Accepted {
    /// The stream that carries HTTP.
    pub stream: BoxedStream,
    /// True if both sides agreed on HTTP/2. Otherwise, the connection uses HTTP/1.1.
    pub h2: bool,
    /// The certificates that the client has shown. Requests carry them as an extension.
    pub certificates: Option<PeerCertificates>,
}

impl Accepted {
    /// Creates an accepted connection of a client that has shown no certificate.
    pub fn new(stream: BoxedStream, h2: bool) -> Self {
        Self {
            stream,
            h2,
            certificates: None,
        }
    }
}

/// Performs a handshake on a connection before HTTP starts. `tidings-tls` implements it for TLS.
#[async_trait]
pub trait Acceptor: Send + Sync + 'static {
    /// Performs the handshake. The caller limits the time.
    ///
    /// # Errors
    /// Returns an error if the client uses another protocol, or if it disconnects.
    ///
    /// # Cancel safety
    /// Not cancel safe. Dropping the future drops the stream, which closes the connection.
    async fn accept(&self, stream: BoxedStream) -> io::Result<Accepted>;
}

#[async_trait]
impl Acceptor for Tls {
    async fn accept(&self, stream: BoxedStream) -> io::Result<Accepted> {
        let (stream, h2) = Tls::accept(self, stream).await?;
        let shown = stream.get_ref().1.peer_certificates();
        let certificates = shown.map(|shown| {
            let shown = shown.iter().map(|certificate| certificate.to_vec());
            PeerCertificates(shown.collect())
        });
        Ok(Accepted {
            certificates,
            ..Accepted::new(Box::new(stream), h2)
        })
    }
}
