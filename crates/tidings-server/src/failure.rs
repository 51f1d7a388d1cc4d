//! The errors that end a command, their messages and their exit codes.

use std::io::{self, Write as _};
use std::process::ExitCode;

use tidings_cli::chain;
use tidings_node::{FileError, NodeConfigError, StartError};

/// An error that ends the program. The exit codes are those of BSD's `sysexits.h`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the command line is invalid")]
    Usage(#[source] clap::Error),
    #[error(transparent)]
    Config(#[from] NodeConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Files(#[from] FileError),
    #[error(transparent)]
    Client(#[from] tidings_cli::Failure),
    /// The system refused to create threads or signal handlers.
    #[error("the system refused threads or signal handlers")]
    System(#[from] io::Error),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64, // EX_USAGE
            Self::Config(error) => error.exit_code(),
            Self::Start(error) => error.exit_code(),
            Self::Files(error) => error.exit_code(),
            Self::Client(failure) => failure.code(),
            Self::System(_) => 71, // EX_OSERR
        }
    }

    /// Prints the error to standard error. Returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        // If standard error is closed, there is no other place to report that.
        let _ = match self {
            Self::Usage(error) => error.print(),
            Self::Client(failure) => return failure.report(),
            failure => writeln!(io::stderr(), "error: {}", chain(failure).trim_end()),
        };
        ExitCode::from(self.code())
    }
}
