//! Reloads the settings that can change while a node runs.

use std::sync::{Arc, Mutex, PoisonError};

use tidings_transport::TidingsService;
use tokio::sync::Notify;

use crate::auth::Keys;
use crate::config::NodeConfig;
use crate::error::NodeConfigError;
use crate::limits::limits;
use crate::logging::LogFilter;
use crate::options::Options;
use tidings_connections::chain;

/// The options whose new value takes effect at once. Keys and certificates are read again too, from
/// the files named at the start of the server.
const CHANGEABLE: [&str; 13] = [
    "log",
    "allow-origin",
    "address-connections",
    "subject-connections",
    "handshake-rate",
    "message-rate",
    "byte-rate",
    "client-message-rate",
    "client-byte-rate",
    "client-task-rate",
    "client-work-rate",
    "failure-rate",
    "client-refusal-rate",
];

/// The changeable options that work only if connections were counted from the start.
const COUNTED: [&str; 2] = ["address-connections", "subject-connections"];

/// A handle that makes a node read its configuration, keys and certificate again. Clones belong to
/// the same node.
#[derive(Debug, Clone)]
pub struct ReloadHandle(Arc<Reload>);

/// The result of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// The options whose new value is now in effect.
    pub changed: Vec<String>,
    /// The options that have a new value, which takes effect only after a restart.
    pub kept: Vec<String>,
}

/// The sources of a reload, and the parts of the node that it changes.
pub(crate) struct Reload {
    /// The flags and environment variables, which cannot change.
    pub(crate) given: Options,
    /// The same options together with those of the file, as it was when it was last read.
    pub(crate) in_force: Mutex<Options>,
    /// True if clients without authentication could connect from other machines at the start. A
    /// reload does not change that.
    pub(crate) strangers: bool,
    pub(crate) filter: Option<LogFilter>,
    pub(crate) service: TidingsService,
    pub(crate) keys: Option<Keys>,
    /// Asks for the certificate to be read again.
    pub(crate) certificate: Arc<Notify>,
}

impl std::fmt::Debug for Reload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reload")
            .field("in_force", &self.in_force)
            .finish_non_exhaustive()
    }
}

impl ReloadHandle {
    pub(crate) fn new(reload: Reload) -> Self {
        Self(Arc::new(reload))
    }

    /// Reads the configuration file, the keys and the certificate again, and logs the result. The
    /// file is applied as a whole or not at all: a file with an error changes nothing.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or contains an error. The old configuration then
    /// stays in effect.
    pub fn reload(&self) -> Result<Reloaded, NodeConfigError> {
        if let Some(keys) = &self.0.keys {
            keys.read_again();
        }
        self.0.certificate.notify_one();
        let read = self.0.read_again();
        match &read {
            Ok(Reloaded { changed, kept }) => {
                if !kept.is_empty() {
                    let options = kept.join(", ");
                    tracing::warn!(
                        options,
                        "these options have changed, but take effect only after a restart"
                    );
                }
                let options = changed.join(", ");
                tracing::info!(options, "the configuration was read again");
            }
            Err(error) => {
                let error = chain(error);
                tracing::warn!(
                    error,
                    "the configuration could not be reloaded; the old one stays in effect"
                );
            }
        }
        read
    }
}

impl Reload {
    fn read_again(&self) -> Result<Reloaded, NodeConfigError> {
        let config = NodeConfig::load(self.given.clone())?;
        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let (changed, kept): (Vec<_>, Vec<_>) = in_force
            .changed(&config.in_force)
            .into_iter()
            .partition(|name| self.can_change(name));
        let origins = config.transport.allowed_origins.clone();
        self.service
            .set_allowed_origins(origins)
            .map_err(NodeConfigError::setting)?;
        let limits = limits(&config.in_force, self.strangers);
        self.service.manager().set_limits(limits);
        if let Some(filter) = &self.filter {
            filter.set(&config.log);
        }
        *in_force = config.in_force;
        Ok(Reloaded { changed, kept })
    }

    fn can_change(&self, name: &str) -> bool {
        let limits = self.service.manager().config().limits;
        let counting =
            limits.connections_per_address.is_some() || limits.connections_per_subject.is_some();
        CHANGEABLE.contains(&name) && (counting || !COUNTED.contains(&name))
    }
}
