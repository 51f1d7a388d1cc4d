//! The certificate authorities that a client trusts.

#[cfg(feature = "tls")]
use std::{io, sync::Arc};

#[cfg(feature = "tls")]
use tokio::sync::OnceCell;
#[cfg(feature = "tls")]
use tokio_rustls::rustls::crypto::ring;
#[cfg(feature = "tls")]
use tokio_rustls::rustls::pki_types::CertificateDer;
#[cfg(feature = "tls")]
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Authorities that are trusted in addition to the system's. Clones are cheap.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust {
    #[cfg(feature = "tls")]
    extra: Arc<[CertificateDer<'static>]>,
    /// The TLS settings, made once and shared by all connections. Reading the system's
    /// certificates takes long, and the settings hold the sessions that TLS resumes.
    #[cfg(feature = "tls")]
    config: Arc<OnceCell<Arc<ClientConfig>>>,
}

#[cfg(feature = "tls")]
impl Trust {
    /// Parses the authorities of a PEM file. Returns `None` if the file has no
    /// certificate, or an unreadable one.
    pub(crate) fn parse(pem: &[u8]) -> Option<Self> {
        use tokio_rustls::rustls::pki_types::pem::PemObject as _;

        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let extra = read.ok().filter(|extra| !extra.is_empty())?;
        let mut roots = RootCertStore::empty();
        for certificate in &extra {
            roots.add(certificate.clone()).ok()?;
        }
        Some(Self {
            extra: extra.into(),
            config: Arc::default(),
        })
    }

    /// Returns the settings of TLS, the same for every connection.
    pub(crate) async fn config(&self) -> io::Result<Arc<ClientConfig>> {
        let make = || async {
            let extra = Arc::clone(&self.extra);
            // The system's certificates are files, several hundred on some systems.
            tokio::task::spawn_blocking(move || make(&extra))
                .await
                .map_err(io::Error::other)?
        };
        self.config.get_or_try_init(make).await.cloned()
    }
}

#[cfg(feature = "tls")]
fn make(extra: &[CertificateDer<'static>]) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs().certs;
    let (added, _) =
        roots.add_parsable_certificates(found.into_iter().chain(extra.iter().cloned()));
    if added == 0 {
        return Err(io::Error::other("the system has no certificates to trust"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_connections_share_what_was_read_once() {
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = rcgen::CertificateParams::default()
            .self_signed(&key)
            .unwrap();
        let trust = Trust::parse(authority.pem().as_bytes()).unwrap();
        let first = trust.clone().config().await.unwrap();
        let again = trust.config().await.unwrap();
        assert!(
            Arc::ptr_eq(&first, &again),
            "sessions are resumed out of it"
        );
    }
}
