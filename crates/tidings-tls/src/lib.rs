//! TLS for a Tidings server, built on rustls.
//!
//! [`Tls`] performs the handshake on a stream. It supports TLS 1.2 and 1.3, and offers HTTP/2 and
//! HTTP/1.1 through ALPN. The certificate can be replaced at any time. Existing connections keep
//! the old certificate, and new connections get the new one.
//!
//! TLS is a separate crate, so that a program behind a TLS proxy, or with its own TLS, does not
//! need it. Its neighbour is `tidings-node`, whose accept loop uses a [`Tls`].

mod certificate;

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::server::TlsStream;

pub use certificate::CertificateError;
use certificate::{Current, client_verifier};

/// The protocols that the server offers, the preferred one first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A TLS server with one replaceable certificate. Clones share it.
///
/// ```no_run
/// use std::fs;
/// use tidings_tls::Tls;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = Tls::new(&fs::read("chain.pem")?, &fs::read("key.pem")?)?;
/// // The files have been renewed:
/// tls.replace(&fs::read("chain.pem")?, &fs::read("key.pem")?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
}

impl Tls {
    /// Creates a TLS server from a chain of certificates and its private key, both as PEM. The
    /// server's own certificate comes first in the chain.
    ///
    /// # Errors
    /// Returns [`CertificateError`] if the certificate or the key cannot be used.
    pub fn new(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let provider = Arc::new(ring::default_provider());
        let current = Arc::new(Current::new(&provider, chain, key)?);
        let acceptor = acceptor(provider, &current, WebPkiClientVerifier::no_client_auth())?;
        Ok(Self { acceptor, current })
    }

    /// Asks each client for a certificate from one of these authorities, given as PEM. A client may
    /// have none: an authenticator decides what it may do, and sees the certificates that it has.
    /// A client with a certificate from another authority is refused.
    ///
    /// # Errors
    /// Returns [`CertificateError`] if there is no usable authority.
    pub fn ask_clients(self, authorities: &[u8]) -> Result<Self, CertificateError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = client_verifier(&provider, authorities)?;
        let acceptor = acceptor(provider, &self.current, verifier)?;
        Ok(Self { acceptor, ..self })
    }

    /// Replaces the certificate for future connections.
    ///
    /// # Errors
    /// Returns [`CertificateError`] if the new certificate or key cannot be used. The old one then
    /// stays in use.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), CertificateError> {
        let provider = ring::default_provider();
        self.current.replace(&provider, chain, key)
    }

    /// Performs the handshake. Returns the encrypted stream, and whether both sides agreed on
    /// HTTP/2. The caller must limit the time.
    ///
    /// # Errors
    /// Returns an error if the client does not speak TLS, or if it disconnects.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropping the future drops the stream, which closes the connection.
    pub async fn accept<S>(&self, stream: S) -> io::Result<(TlsStream<S>, bool)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.acceptor.accept(stream).await?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((stream, h2))
    }
}

/// Returns what performs the handshakes.
fn acceptor(
    provider: Arc<CryptoProvider>,
    current: &Arc<Current>,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Result<TlsAcceptor, CertificateError> {
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(CertificateError::Key)?;
    let mut config = config
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::clone(current) as Arc<_>);
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}
