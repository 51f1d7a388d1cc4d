//! Why a node does not start.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tidings_store::OpenError;

use crate::value::InvalidValue;

/// A configuration that cannot work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeConfigError {
    /// A variable that looks like an option and is none.
    #[error(
        "{name} is not an option of tidings; unset it, or see `tidings --help` for the names there are"
    )]
    UnknownVariable {
        /// The variable.
        name: String,
    },
    /// A variable whose value cannot be.
    #[error("the variable {name} is wrong")]
    Variable {
        /// The variable.
        name: String,
        /// What is wrong.
        #[source]
        cause: InvalidValue,
    },
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read", .path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The file says something that cannot be.
    #[error("the configuration file {} is wrong", .path.display())]
    FileWrong {
        /// The file.
        path: PathBuf,
        /// What and where; over several lines, with the line in question.
        #[source]
        cause: toml::de::Error,
    },
    /// A setting that only the library behind it found wrong.
    #[error("the configuration cannot work")]
    Setting(#[source] Box<dyn Error + Send + Sync>),
    /// Options that say who may come in, and do not go together.
    #[error("{0}")]
    Auth(&'static str),
    /// Others could come in without being asked who they are.
    #[error(
        "refusing to listen on {addr} without authentication: others than this machine reach it, \
         and could watch and publish everything. Give --auth jwt --jwt-key FILE (tokens by \
         `tidings token`) or --auth keys --api-keys FILE; or listen on 127.0.0.1; or, if everybody \
         may come in, say so with --allow-anonymous"
    )]
    Exposed {
        /// The address.
        addr: SocketAddr,
    },
    /// A file that an option names cannot be read.
    #[error("{} cannot be read", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file that is to have a key for tokens has none.
    #[error("{} has no key that works", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: tidings_auth::KeyError,
    },
    /// A file that is to have the key of answer links has none.
    #[error("{} has no key for answer links", .path.display())]
    LinkKey {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: tidings_auth::LinkKeyError,
    },
    /// A certificate and its key that do not work.
    #[error("the certificate in {} cannot be used", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: tidings_tls::CertificateError,
    },
    /// A file of API keys is none.
    #[error("{} has no keys that work", .path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: tidings_auth::ApiKeysError,
    },
}

impl NodeConfigError {
    /// Wraps the error of a library that found a setting wrong.
    pub(crate) fn setting(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Setting(Box::new(error))
    }
}

/// What keeps a node from starting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] NodeConfigError),
    /// The port is taken, or the address is not this machine's.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The data directory is in use, damaged, or not ours.
    #[error("tasks cannot be kept")]
    Store(#[source] OpenError),
    /// What is in the store cannot be taken in.
    #[error("what is stored cannot be read")]
    Recovery(#[source] tidings_bus::StoreError),
}
