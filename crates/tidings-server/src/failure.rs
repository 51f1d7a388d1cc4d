//! Why a command did not do what was asked, and how that is told.

use std::error::Error;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) use tidings_cli::chain;
use tidings_store::{CopyError, OpenError};

/// What ends the program with something else than success. Exit codes are
/// those of BSD's `sysexits.h`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Clap found a flag, or a variable that it knows, wrong; it prints well.
    #[error("the command line is wrong")]
    Usage(#[source] clap::Error),
    /// A variable that looks like one of ours and is none.
    #[error(
        "{name} is not an option of tidings; unset it, or see `tidings --help` for the names there are"
    )]
    UnknownVariable {
        /// The variable.
        name: String,
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
    /// A file that is to be added to cannot be.
    #[error("{} cannot be written", .path.display())]
    Unwritable {
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
    /// A directory that is to be looked at, and that a server has.
    #[error(
        "a server has the data directory {} open: have it make a backup, by `tidings backup --url \
         URL` (it must have been started with --backup-dir), and look at that; or stop it first",
        .path.display()
    )]
    Running {
        /// The directory.
        path: PathBuf,
    },
    /// A copy of a data directory was not made.
    #[error("no backup was made")]
    Backup(#[source] CopyError),
    /// What is in the store cannot be taken in.
    #[error("what is stored cannot be read")]
    Recovery(#[source] tidings_bus::StoreError),
    /// The system refused threads or signal handlers.
    #[error("the system does not let the server start")]
    System(#[source] io::Error),
    /// A client command did not do what was asked.
    #[error(transparent)]
    Client(#[from] tidings_cli::Failure),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Usage(_)
            | Self::UnknownVariable { .. }
            | Self::FileWrong { .. }
            | Self::Setting(_)
            | Self::Auth(_)
            | Self::Exposed { .. }
            | Self::Key { .. }
            | Self::Certificate { .. }
            | Self::Keys { .. } => 64, // EX_USAGE
            Self::FileUnreadable { .. } | Self::Unreadable { .. } => 66, // EX_NOINPUT
            Self::Unwritable { .. } => 73,                               // EX_CANTCREAT
            Self::Listen { .. } => 69,                                   // EX_UNAVAILABLE
            Self::System(_) => 71,                                       // EX_OSERR
            Self::Recovery(_) => 74,                                     // EX_IOERR
            Self::Running { .. } => 75,                                  // EX_TEMPFAIL
            Self::Store(error) => directory(error),
            Self::Backup(error) => match error {
                CopyError::Source(error) => directory(error),
                CopyError::Damaged(_) => 65, // EX_DATAERR
                _ => 73,                     // EX_CANTCREAT
            },
            Self::Client(failure) => failure.code(),
        }
    }

    /// Says it on standard error; gives the code to exit with.
    pub(crate) fn report(&self) -> ExitCode {
        // Nobody is left to be told that standard error is closed.
        let _ = match self {
            Self::Usage(error) => error.print(),
            failure => writeln!(io::stderr(), "error: {}", chain(failure).trim_end()),
        };
        ExitCode::from(self.code())
    }
}

/// For a data directory that cannot be opened.
fn directory(error: &OpenError) -> u8 {
    match error {
        OpenError::InUse { .. } => 75,   // EX_TEMPFAIL
        OpenError::Missing { .. } => 66, // EX_NOINPUT
        OpenError::Io { .. } => 73,      // EX_CANTCREAT
        _ => 65,                         // EX_DATAERR
    }
}
