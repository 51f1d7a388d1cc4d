//! The errors of the client commands.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use tidings_client::protocol::{ErrorCode, LogStream};
use tidings_client::{CommandError, InvalidUrl, ListError, ReceiptError, Stopped, WatchError};

use crate::BenchError;
use crate::code;
use crate::text::clean;

/// An error that ends a client command. The exit codes are those of BSD's `sysexits.h`,
/// unless a command defines its own meaning.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The address of the server is not valid.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// An argument is not valid.
    #[error("{what} is wrong: {why}")]
    Argument {
        /// The argument.
        what: &'static str,
        /// The reason.
        why: String,
    },
    /// A value is well-formed, but no event can have it.
    #[error("{what} is wrong: {why}")]
    Data {
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
    /// The event of a line of standard input was not published.
    #[error("line {line} of the input is not published")]
    Line {
        /// The number of the line.
        line: usize,
        /// The reason.
        #[source]
        cause: ReceiptError,
    },
    /// The task does not exist.
    #[error("there is no task {task}")]
    NoTask {
        /// The task, or the pattern that no task matches.
        task: String,
    },
    /// The client does not exist.
    #[error("there is no client {client}")]
    NoClient {
        /// The client.
        client: String,
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
    /// A request over HTTP failed.
    #[error(transparent)]
    List(#[from] ListError),
    /// The server did not answer in time.
    #[error("there is no answer from {url} within {}", humantime::format_duration(*.after))]
    Timeout {
        /// The address of the server.
        url: String,
        /// The time that the command waited.
        after: std::time::Duration,
    },
    /// The command to run could not be started.
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
    /// A stream of the command that runs cannot be written.
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
    /// A measurement failed.
    #[error(transparent)]
    Bench(BenchError),
}

impl Failure {
    /// Prints the error on standard error, and returns the exit code.
    pub fn report(&self) -> ExitCode {
        if !self.is_closed_pipe() {
            let text = chain(self);
            // If standard error is closed, there is no reader to tell.
            let _ = writeln!(io::stderr(), "error: {}", clean(text.trim_end()));
        }
        ExitCode::from(self.code())
    }

    /// Returns true if the reader of standard output has closed the pipe, as `| head`
    /// does. The command then ends without an error message.
    fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Returns the exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Url(_) | Self::Argument { .. } => code::USAGE,
            Self::Data { .. } | Self::Input { .. } => code::DATA,
            Self::NoTask { .. } | Self::NoClient { .. } => code::NO_INPUT,
            Self::Publish(error) | Self::Line { cause: error, .. } => match error {
                ReceiptError::Stopped(stopped) => ended(stopped),
                ReceiptError::Refused { code, .. } => refused(code),
                _ => code::REFUSED,
            },
            Self::Command(error) => match error {
                CommandError::Stopped(stopped) => ended(stopped),
                CommandError::Refused { code, .. } => refused(code),
                CommandError::Unconfirmed => code::UNAVAILABLE,
                _ => code::REFUSED,
            },
            Self::Watch(error) => match error {
                WatchError::Stopped(stopped) => ended(stopped),
                WatchError::Refused { code, .. } => refused(code),
                _ => code::REFUSED,
            },
            Self::List(ListError::Refused { status, .. }) => match status {
                401 | 403 => code::NO_PERMISSION,
                400 | 413 | 422 => code::REFUSED,
                // The server does not offer this, or not at the moment.
                _ => code::UNAVAILABLE,
            },
            Self::List(_) | Self::Timeout { .. } => code::UNAVAILABLE,
            Self::Spawn { cause, .. } => match cause.kind() {
                // Use the exit code of a shell.
                io::ErrorKind::NotFound => 127,
                _ => 126,
            },
            Self::Read { .. } => code::NO_INPUT,
            Self::Write { .. } => code::CANNOT_CREATE,
            Self::Output(_) if self.is_closed_pipe() => 0,
            Self::Output(_) | Self::Unwritten { .. } => code::IO,
            Self::System(_) => code::OS,
            Self::Bench(error) => error.code(),
        }
    }
}

fn ended(stopped: &Stopped) -> u8 {
    match stopped {
        Stopped::Unauthenticated | Stopped::Forbidden => code::NO_PERMISSION,
        _ => code::UNAVAILABLE,
    }
}

fn refused(error: &ErrorCode) -> u8 {
    match error {
        ErrorCode::Unauthenticated | ErrorCode::Forbidden => code::NO_PERMISSION,
        ErrorCode::TaskNotFound => code::NO_INPUT,
        ErrorCode::Unavailable | ErrorCode::RateLimited => code::UNAVAILABLE,
        _ => code::REFUSED,
    }
}

fn name(stream: LogStream) -> &'static str {
    match stream {
        LogStream::Stderr => "error",
        _ => "output",
    }
}

/// Formats an error with its causes, separated by colons.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Leave out a cause that the error before has already quoted.
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}
