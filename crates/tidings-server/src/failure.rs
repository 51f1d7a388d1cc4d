//! Why a command did not do what was asked, and how that is told.

use std::io::{self, Write as _};
use std::process::ExitCode;

use tidings_cli::chain;
use tidings_node::{FileError, NodeConfigError, StartError};

/// What ends the program with something else than success. Exit codes are
/// those of BSD's `sysexits.h`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the command line is wrong")]
    Usage(#[source] clap::Error),
    #[error(transparent)]
    Config(#[from] NodeConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Files(#[from] FileError),
    #[error(transparent)]
    Client(#[from] tidings_cli::Failure),
    /// The system refused threads or signal handlers.
    #[error("the system does not let the server start")]
    System(#[from] io::Error),
}

impl Failure {
    fn code(&self) -> u8 {
        const USAGE: u8 = 64;
        const OS: u8 = 71;
        match self {
            Self::Usage(_) => USAGE,
            Self::Config(error) => error.exit_code(),
            Self::Start(error) => error.exit_code(),
            Self::Files(error) => error.exit_code(),
            Self::Client(failure) => failure.code(),
            Self::System(_) => OS,
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
