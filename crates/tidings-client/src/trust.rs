//! Which certificates of servers are believed.

#[cfg(feature = "tls")]
use std::sync::Arc;

#[cfg(feature = "tls")]
use tokio_rustls::rustls::pki_types::CertificateDer;

/// Authorities that are believed beside the system's. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust {
    #[cfg(feature = "tls")]
    extra: Arc<[CertificateDer<'static>]>,
}

#[cfg(feature = "tls")]
impl Trust {
    /// Those in a PEM file; none if it has no certificate, or one that is
    /// none.
    pub(crate) fn parse(pem: &[u8]) -> Option<Self> {
        use tokio_rustls::rustls::RootCertStore;
        use tokio_rustls::rustls::pki_types::pem::PemObject as _;

        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let extra = read.ok().filter(|extra| !extra.is_empty())?;
        let mut roots = RootCertStore::empty();
        for certificate in &extra {
            roots.add(certificate.clone()).ok()?;
        }
        Some(Self {
            extra: extra.into(),
        })
    }

    pub(crate) fn extra(&self) -> impl Iterator<Item = CertificateDer<'static>> {
        self.extra.iter().cloned()
    }
}
