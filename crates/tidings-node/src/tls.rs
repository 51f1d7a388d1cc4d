//! The certificate. It is loaded from its files at the start, and again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidings_tls::Tls;
use tokio::sync::Notify;

use crate::auth::{Changed, LOOK, read};
use crate::error::NodeConfigError;
use crate::options::Options;
use tidings_connections::chain;

/// The files of the certificate and its key.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    chain: PathBuf,
    key: PathBuf,
    /// The authorities that sign the certificates of clients.
    client_ca: Option<PathBuf>,
}

impl TlsFiles {
    pub(crate) fn from_options(options: &Options) -> Result<Option<Self>, NodeConfigError> {
        match (&options.tls_cert, &options.tls_key) {
            (None, None) if options.tls_client_ca.is_none() => Ok(None),
            (Some(chain), Some(key)) => Ok(Some(Self {
                chain: chain.clone(),
                key: key.clone(),
                client_ca: options.tls_client_ca.clone(),
            })),
            (None, None) => Err(NodeConfigError::Setting(
                "certificates of clients need TLS: --tls-cert FILE --tls-key FILE".into(),
            )),
            _ => Err(NodeConfigError::Setting(
                "a certificate needs its key, and a key its certificate: --tls-cert FILE --tls-key FILE".into(),
            )),
        }
    }

    pub(crate) fn load(&self) -> Result<Tls, NodeConfigError> {
        let tls = Tls::new(&read(&self.chain)?, &read(&self.key)?);
        let tls = tls.map_err(|cause| Self::failure(&self.chain, cause))?;
        match &self.client_ca {
            Some(path) => tls
                .ask_clients(&read(path)?)
                .map_err(|cause| Self::failure(path, cause)),
            None => Ok(tls),
        }
    }

    fn reload(&self, tls: &Tls) -> Result<(), NodeConfigError> {
        let replaced = tls.replace(&read(&self.chain)?, &read(&self.key)?);
        replaced.map_err(|cause| Self::failure(&self.chain, cause))
    }

    fn failure(path: &Path, cause: tidings_tls::CertificateError) -> NodeConfigError {
        NodeConfigError::Certificate {
            path: path.to_owned(),
            cause,
        }
    }
}

/// Replaces the certificate when its file changes, or on request. If the new certificate does not
/// work, the old one stays in use. This happens, for example, between the writing of its two files.
pub(crate) async fn follow(files: TlsFiles, tls: Tls, asked_to: Arc<Notify>) {
    let mut certificate = Changed::new(files.chain.clone());
    let mut key = Changed::new(files.key.clone());
    let mut pending = false;
    loop {
        let asked = tokio::select! {
            () = tokio::time::sleep(LOOK) => false,
            () = asked_to.notified() => true,
        };
        let changed = [certificate.look(), key.look()].contains(&true);
        if !(asked || changed || pending) {
            continue;
        }
        match files.reload(&tls) {
            Ok(()) => {
                pending = false;
                tracing::info!(path = %files.chain.display(), "the certificate was read again");
            }
            Err(error) => {
                let error = chain(&error);
                if asked || !pending {
                    tracing::warn!(
                        error,
                        "the certificate could not be read; the old one stays in use"
                    );
                }
                pending = true;
            }
        }
    }
}
