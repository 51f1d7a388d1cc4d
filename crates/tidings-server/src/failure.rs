//! Why a command did not do what was asked, and how that is told.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) use tidings_cli::chain;
use tidings_node::{NodeConfigError, StartError};
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
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] NodeConfigError),
    /// The server does not start.
    #[error(transparent)]
    Start(StartError),
    /// Arguments that do not go together.
    #[error("{0}")]
    Arguments(&'static str),
    /// An argument that only the library behind it found wrong.
    #[error("the configuration cannot work")]
    Setting(#[source] Box<dyn Error + Send + Sync>),
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
            | Self::Arguments(_)
            | Self::Setting(_)
            | Self::Key { .. } => 64, // EX_USAGE
            Self::Config(error) => configuration(error),
            Self::Start(error) => match error {
                StartError::Config(error) => configuration(error),
                StartError::Listen { .. } => 69, // EX_UNAVAILABLE
                StartError::Store(error) => directory(error),
                _ => 74, // EX_IOERR
            },
            Self::Unreadable { .. } => 66, // EX_NOINPUT
            Self::Unwritable { .. } => 73, // EX_CANTCREAT
            Self::System(_) => 71,         // EX_OSERR
            Self::Running { .. } => 75,    // EX_TEMPFAIL
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
            Self::Client(failure) => return failure.report(),
            failure => writeln!(io::stderr(), "error: {}", chain(failure).trim_end()),
        };
        ExitCode::from(self.code())
    }
}

/// For a configuration that cannot work.
fn configuration(error: &NodeConfigError) -> u8 {
    match error {
        NodeConfigError::FileUnreadable { .. } | NodeConfigError::Unreadable { .. } => 66, // EX_NOINPUT
        _ => 64, // EX_USAGE
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::Start(error)
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
