//! The certificate in use and its private key.

use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::rustls;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{
    ClientHello, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier,
};
use tokio_rustls::rustls::sign::CertifiedKey;

/// Why a certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The file of certificates is not PEM.
    #[error("the certificates are not PEM")]
    Chain(#[source] pem::Error),
    /// The file contains no certificate.
    #[error("there is no certificate (`-----BEGIN CERTIFICATE-----`)")]
    Empty,
    /// The key file is not PEM, or contains no private key.
    #[error("there is no private key as PEM")]
    NoKey(#[source] pem::Error),
    /// The key has an unknown kind, or belongs to another certificate.
    #[error("the private key does not belong to the certificate")]
    Key(#[source] rustls::Error),
    /// The authorities for the certificates of clients cannot be used.
    #[error("the authorities for certificates of clients cannot be used")]
    Authorities(#[source] VerifierBuilderError),
}

/// Returns what checks the certificates of clients. A client may have none.
pub(crate) fn client_verifier(
    provider: &Arc<CryptoProvider>,
    authorities: &[u8],
) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(authorities) {
        let authority = authority.map_err(CertificateError::Chain)?;
        roots.add(authority).map_err(CertificateError::Key)?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let verifier = verifier.allow_unauthenticated().build();
    verifier.map_err(CertificateError::Authorities)
}

#[derive(Debug)]
pub(crate) struct Current(RwLock<Arc<CertifiedKey>>);

fn certified(
    provider: &CryptoProvider,
    chain: &[u8],
    key: &[u8],
) -> Result<Arc<CertifiedKey>, CertificateError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(CertificateError::Chain)?;
    if chain.is_empty() {
        return Err(CertificateError::Empty);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(CertificateError::NoKey)?;
    // This also checks that the certificate and the key belong together.
    let certified = CertifiedKey::from_der(chain, key, provider);
    certified.map(Arc::new).map_err(CertificateError::Key)
}

impl Current {
    pub(crate) fn new(
        provider: &CryptoProvider,
        chain: &[u8],
        key: &[u8],
    ) -> Result<Self, CertificateError> {
        Ok(Self(RwLock::new(certified(provider, chain, key)?)))
    }

    pub(crate) fn replace(
        &self,
        provider: &CryptoProvider,
        chain: &[u8],
        key: &[u8],
    ) -> Result<(), CertificateError> {
        let certified = certified(provider, chain, key)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certified;
        Ok(())
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}
