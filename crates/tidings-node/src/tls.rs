//! The certificate: loading it from its files, now and when they change.

use std::path::PathBuf;
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
}

impl TlsFiles {
    pub(crate) fn from_options(options: &Options) -> Result<Option<Self>, NodeConfigError> {
        match (&options.tls_cert, &options.tls_key) {
            (None, None) => Ok(None),
            (Some(chain), Some(key)) => Ok(Some(Self {
                chain: chain.clone(),
                key: key.clone(),
            })),
            _ => Err(NodeConfigError::Setting(
                "a certificate needs its key, and a key its certificate: --tls-cert FILE --tls-key FILE".into(),
            )),
        }
    }

    pub(crate) fn load(&self) -> Result<Tls, NodeConfigError> {
        let tls = Tls::new(&read(&self.chain)?, &read(&self.key)?);
        tls.map_err(|cause| self.failure(cause))
    }

    fn reload(&self, tls: &Tls) -> Result<(), NodeConfigError> {
        let replaced = tls.replace(&read(&self.chain)?, &read(&self.key)?);
        replaced.map_err(|cause| self.failure(cause))
    }

    fn failure(&self, cause: tidings_tls::CertificateError) -> NodeConfigError {
        NodeConfigError::Certificate {
            path: self.chain.clone(),
            cause,
        }
    }
}

/// Replaces the certificate when its file changes, or on request. If the new certificate does not
/// work, the old one stays in use. That happens between the writing of its two files, for example.
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
