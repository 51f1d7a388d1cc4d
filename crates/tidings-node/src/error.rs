//! The errors that keep a node from starting.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tidings_store::OpenError;

use crate::value::InvalidValue;

/// A configuration that does not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeConfigError {
    /// An environment variable has the prefix of an option, but is not one.
    #[error(
        "{name} is not an option of tidings; unset it, or see `tidings --help` for the valid names"
    )]
    UnknownVariable {
        /// The variable.
        name: String,
    },
    /// An environment variable has an invalid value.
    #[error("the environment variable {name} is invalid")]
    Variable {
        /// The variable.
        name: String,
        /// The reason why the value is invalid.
        #[source]
        cause: InvalidValue,
    },
    /// The configuration file cannot be read.
    #[error("the configuration file {} cannot be read", .path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        cause: io::Error,
    },
    /// The configuration file contains an error.
    #[error("the configuration file {} contains an error", .path.display())]
    FileWrong {
        /// The file.
        path: PathBuf,
        /// The error and its place. The text has several lines and shows the line of the file.
        #[source]
        cause: toml::de::Error,
    },
    /// A library refused its settings.
    #[error("the configuration is invalid")]
    Setting(#[source] Box<dyn Error + Send + Sync>),
    /// Options for authentication contradict each other.
    #[error("{0}")]
    Auth(&'static str),
    /// Other machines would have access without authentication.
    #[error(
        "refusing to listen on {addr} without authentication: other machines can reach it, \
         and could watch and publish everything. Give --auth jwt --jwt-key FILE (tokens by \
         `tidings token`) or --auth keys --api-keys FILE; or listen on 127.0.0.1; or allow everybody \
         with --allow-anonymous"
    )]
    Exposed {
        /// The address to listen on.
        addr: SocketAddr,
    },
    /// A file that an option names cannot be read.
    #[error("{} cannot be read", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        cause: io::Error,
    },
    /// A file should contain a key for tokens, but does not.
    #[error("{} contains no usable key", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The reason why the key cannot be used.
        #[source]
        cause: tidings_auth::KeyError,
    },
    /// A file should contain the key of answer links, but does not.
    #[error("{} has no key for answer links", .path.display())]
    LinkKey {
        /// The file.
        path: PathBuf,
        /// The reason why the key cannot be used.
        #[source]
        cause: tidings_auth::LinkKeyError,
    },
    /// The certificate and its key do not work.
    #[error("the certificate in {} cannot be used", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The reason why the certificate cannot be used.
        #[source]
        cause: tidings_tls::CertificateError,
    },
    /// A file is not a list of API keys.
    #[error("{} contains no usable keys", .path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// The reason why the list cannot be used.
        #[source]
        cause: tidings_auth::ApiKeysError,
    },
}

impl NodeConfigError {
    /// Wraps the error of a library that refused its settings.
    pub(crate) fn setting(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Setting(Box::new(error))
    }
}

/// The reason why a node cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration does not work.
    #[error(transparent)]
    Config(#[from] NodeConfigError),
    /// The port is in use, or the address does not belong to this machine.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The error of the operating system.
        #[source]
        cause: io::Error,
    },
    /// The data directory is in use or damaged, or it belongs to another program.
    #[error("the data directory cannot be opened")]
    Store(#[source] OpenError),
    /// The content of the store cannot be loaded.
    #[error("the stored data cannot be loaded")]
    Recovery(#[source] tidings_bus::StoreError),
}
