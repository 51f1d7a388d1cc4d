//! A byte stream over TCP, with or without TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::trust::Trust;

/// A connection to a server, with or without TLS.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerStream {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl ServerStream {
    /// Performs the TLS handshake. The system or the program must trust the server's
    /// certificate.
    #[cfg(feature = "tls")]
    pub(crate) async fn secure(stream: TcpStream, host: &str, trust: &Trust) -> io::Result<Self> {
        use tokio_rustls::rustls::pki_types::ServerName;

        let config = trust.config().await?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connector = tokio_rustls::TlsConnector::from(config);
        let stream = connector.connect(name, stream).await?;
        Ok(Self::Tls(Box::new(stream)))
    }

    /// This build has no TLS. [`Endpoint::parse`](crate::endpoint::Endpoint) has
    /// already refused such a URL.
    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_async, reason = "as its counterpart with TLS")]
    pub(crate) async fn secure(_: TcpStream, _: &str, _: &Trust) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Passes a call on to the stream inside.
macro_rules! on {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Plain($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            #[cfg(feature = "tls")]
            Self::Tls($stream) => {
                let $stream = Pin::new($stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for ServerStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        on!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, stream => stream.poll_shutdown(cx))
    }
}
