//! TLS in front of Tidings, by rustls.
//!
//! [`Tls`] is an [`Acceptor`] for
//! [`Server::secured`](tidings_transport::Server::secured). It speaks TLS 1.2
//! and 1.3, and offers HTTP/2 and HTTP/1.1 (ALPN). Its certificate can be
//! exchanged at any time: connections that are there keep the one that they
//! have, those that come get the new one.
//!
//! A crate of its own, so that who has TLS in front of the server, or embeds
//! Tidings where it is there already, pulls in none. Its neighbour is
//! `tidings-transport`, which accepts.

mod certificate;

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use tidings_transport::{Accepted, Acceptor, BoxedStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;

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
        let provider = Arc::new(aws_lc_rs::default_provider());
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
        let provider = aws_lc_rs::default_provider();
        self.current.replace(&provider, chain, key)
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

#[async_trait]
impl Acceptor for Tls {
    async fn accept(&self, stream: BoxedStream) -> io::Result<Accepted> {
        let stream = self.acceptor.accept(stream).await?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Accepted::new(Box::new(stream), h2))
    }
}
