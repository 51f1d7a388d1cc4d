//! Why a client command did not do what was asked.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use tidings_client::protocol::LogStream;
use tidings_client::{CommandError, InvalidUrl, ListError, ReceiptError, Stopped, WatchError};

use crate::BenchError;
use crate::text::clean;

/// What ends a client command; the exit codes are those of BSD's `sysexits.h`,
/// but for those that a command gives a meaning of its own.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The address of the server is none.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// An argument is not what it has to be.
    #[error("{what} is wrong: {why}")]
    Argument {
        /// The argument.
        what: &'static str,
        /// The reason.
        why: String,
    },
    /// A line of standard input is not an event.
    #[error("line {line} of the input is wrong: {why}")]
    Input {
        /// The number of the line.
        line: usize,
        /// The reason.
        why: String,
    },
    /// An event was not published.
    #[error(transparent)]
    Publish(#[from] ReceiptError),
    /// A command was not sent.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A watch ended.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The list of tasks was not read.
    #[error(transparent)]
    List(#[from] ListError),
    /// The server did not answer in time.
    #[error("there is no answer from {url} within {}", humantime::format_duration(*.after))]
    Timeout {
        /// The address of the server.
        url: String,
        /// The time that was waited.
        after: std::time::Duration,
    },
    /// The command to run does not start.
    #[error("{program} cannot be run")]
    Spawn {
        /// The program.
        program: String,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// A file cannot be read.
    #[error("{} cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// A file cannot be written.
    #[error("{} cannot be written", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// Standard output cannot be written.
    #[error("standard output cannot be written")]
    Output(#[source] io::Error),
    /// A stream of a command that is run cannot be written.
    #[error("the command's output cannot be written to standard {}", name(*.stream))]
    Unwritten {
        /// The stream.
        stream: LogStream,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// The system refused threads or memory.
    #[error("the system does not let the command start")]
    System(#[source] io::Error),
    /// A measurement came to nothing.
    #[error(transparent)]
    Bench(BenchError),
}

impl Failure {
    /// Says on standard error what happened, and returns the code to exit with.
    pub fn report(&self) -> ExitCode {
        if !self.is_closed_pipe() {
            let text = chain(self);
            // Nobody is left to be told that standard error is closed.
            let _ = writeln!(io::stderr(), "error: {}", clean(text.trim_end()));
        }
        ExitCode::from(self.code())
    }

    /// Returns whether standard output is a pipe that nobody reads any more, as
    /// behind `| head`. That is a quiet end, and no failure.
    fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Returns the code to exit with.
    pub fn code(&self) -> u8 {
        const USAGE: u8 = 64;
        const DATA: u8 = 65;
        const NO_INPUT: u8 = 66;
        const UNAVAILABLE: u8 = 69;
        const OS: u8 = 71;
        const CANNOT_CREATE: u8 = 73;
        const IO: u8 = 74;
        const NO_PERMISSION: u8 = 77;
        match self {
            Self::Url(_) | Self::Argument { .. } => USAGE,
            Self::Input { .. } => DATA,
            Self::Publish(ReceiptError::Stopped(stopped))
            | Self::Command(CommandError::Stopped(stopped))
            | Self::Watch(WatchError::Stopped(stopped)) => match stopped {
                Stopped::Unauthenticated | Stopped::Forbidden => NO_PERMISSION,
                _ => UNAVAILABLE,
            },
            // The server was asked, and said no.
            Self::Publish(_) | Self::Command(_) | Self::Watch(_) => 1,
            Self::List(ListError::Refused {
                status: 401 | 403, ..
            }) => NO_PERMISSION,
            Self::List(_) | Self::Timeout { .. } => UNAVAILABLE,
            Self::Spawn { cause, .. } => match cause.kind() {
                // As a shell says it.
                io::ErrorKind::NotFound => 127,
                _ => 126,
            },
            Self::Read { .. } => NO_INPUT,
            Self::Write { .. } => CANNOT_CREATE,
            Self::Output(_) if self.is_closed_pipe() => 0,
            Self::Output(_) | Self::Unwritten { .. } => IO,
            Self::System(_) => OS,
            Self::Bench(error) => error.code(),
        }
    }
}

fn name(stream: LogStream) -> &'static str {
    match stream {
        LogStream::Stderr => "error",
        _ => "output",
    }
}

/// Returns an error with its causes, each behind a colon.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // What the error before it has quoted already is not said twice.
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}
