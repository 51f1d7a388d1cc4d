//! Why a client command did not do what was asked.

use std::io;
use std::path::PathBuf;

use tidings_client::{CommandError, InvalidUrl, ListError, PublishError, Stopped, WatchError};

/// What ends a client command; the exit codes are those of BSD's `sysexits.h`,
/// but for those that a command gives a meaning of its own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientFailure {
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    #[error("{what} is wrong: {why}")]
    Argument { what: &'static str, why: String },
    #[error("line {line} of the input is wrong: {why}")]
    Input { line: usize, why: String },
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Watch(#[from] WatchError),
    #[error(transparent)]
    List(#[from] ListError),
    #[error("there is no answer from {url} within {}", humantime::format_duration(*.after))]
    Timeout {
        url: String,
        after: std::time::Duration,
    },
    #[error("{program} cannot be run")]
    Spawn {
        program: String,
        #[source]
        cause: io::Error,
    },
    #[error("{} cannot be read", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{} cannot be written", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("the system does not let the command start")]
    System(#[source] io::Error),
}

impl ClientFailure {
    pub(crate) fn code(&self) -> u8 {
        const USAGE: u8 = 64;
        const DATA: u8 = 65;
        const NO_INPUT: u8 = 66;
        const UNAVAILABLE: u8 = 69;
        const OS: u8 = 71;
        const CANNOT_CREATE: u8 = 73;
        const NO_PERMISSION: u8 = 77;
        match self {
            Self::Url(_) | Self::Argument { .. } => USAGE,
            Self::Input { .. } => DATA,
            Self::Publish(PublishError::Stopped(stopped))
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
            Self::System(_) => OS,
        }
    }
}
