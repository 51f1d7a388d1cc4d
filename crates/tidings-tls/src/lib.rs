//! TLS in front of Tidings, by rustls.
//!
//! [`Tls`] shakes hands on a stream. It speaks TLS 1.2 and 1.3, and offers HTTP/2
//! and HTTP/1.1 (ALPN). Its certificate can be exchanged at any time: connections
//! that are there keep the one that they have, those that come get the new one.
//!
//! TLS is a crate of its own, so that a program with TLS in front of it, or with
//! TLS of its own, pulls in none. Its neighbour is `tidings-node`, whose accept
//! loop takes a [`Tls`].

mod certificate;

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::server::TlsStream;

pub use certificate::CertificateError;
use certificate::Current;

/// What is offered, the best first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// TLS with one certificate at a time. Clones share it.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
}

impl Tls {
    /// With a chain of certificates, the server's own first, and its private
    /// key, both as PEM.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn new(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let provider = Arc::new(ring::default_provider());
        let current = Arc::new(Current::new(&provider, chain, key)?);
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::Key)?;
        let mut config = config
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<_>);
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            current,
        })
    }

    /// Takes another certificate for the connections to come.
    ///
    /// # Errors
    /// See [`CertificateError`]; the one that there is stays then.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), CertificateError> {
        let provider = ring::default_provider();
        self.current.replace(&provider, chain, key)
    }

    /// Shakes hands; returns the stream, and whether both sides have agreed on
    /// HTTP/2. The caller bounds the time that this takes.
    ///
    /// # Errors
    /// The client speaks something else, or went away.
    pub async fn accept<S>(&self, stream: S) -> io::Result<(TlsStream<S>, bool)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.acceptor.accept(stream).await?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((stream, h2))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}
