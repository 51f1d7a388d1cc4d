//! Failures, as Python exceptions.

use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use tidings_client::{CommandError, ListError, ReceiptError, Stopped, WatchError};

create_exception!(
    _native,
    Failure,
    PyException,
    "Something went wrong: `kind`, the protocol's code if there is one, and a message."
);
create_exception!(
    _native,
    Gone,
    PyException,
    "The object belongs to another process, or its client has broken: make another."
);

/// A failure that will become an exception.
#[derive(Debug)]
pub(crate) struct Fault {
    kind: &'static str,
    code: Option<String>,
    message: String,
}

impl Fault {
    pub(crate) fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: None,
            message: message.into(),
        }
    }

    fn of(kind: &'static str, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(kind, chain(error))
    }

    fn refused(code: impl ToString, message: &str) -> Self {
        Self {
            kind: "refused",
            code: Some(code.to_string()),
            message: message.to_owned(),
        }
    }

    fn stopped(stopped: &Stopped) -> Self {
        Self::of("stopped", stopped)
    }
}

/// Returns the text of an error and all its causes, separated by colons.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

impl From<Fault> for PyErr {
    fn from(fault: Fault) -> Self {
        Failure::new_err((fault.kind, fault.code, fault.message))
    }
}

impl From<ReceiptError> for Fault {
    fn from(error: ReceiptError) -> Self {
        match &error {
            ReceiptError::Refused { code, message } => Self::refused(code, message),
            ReceiptError::Stopped(stopped) => Self::stopped(stopped),
            ReceiptError::BufferFull | ReceiptError::Dropped => Self::of("full", &error),
            ReceiptError::Ended => Self::of("ended", &error),
            _ => Self::of("invalid", &error),
        }
    }
}

impl From<CommandError> for Fault {
    fn from(error: CommandError) -> Self {
        match &error {
            CommandError::Refused { code, message } => Self::refused(code, message),
            CommandError::Stopped(stopped) => Self::stopped(stopped),
            CommandError::BufferFull => Self::of("full", &error),
            CommandError::TooLarge { .. } => Self::of("invalid", &error),
            _ => Self::of("unconfirmed", &error),
        }
    }
}

impl From<WatchError> for Fault {
    fn from(error: WatchError) -> Self {
        match &error {
            WatchError::Refused { code, message } => Self::refused(code, message),
            WatchError::Stopped(stopped) => Self::stopped(stopped),
            _ => Self::of("stopped", &error),
        }
    }
}

impl From<ListError> for Fault {
    fn from(error: ListError) -> Self {
        match &error {
            ListError::Refused { status, detail } => Self::refused(status, detail),
            _ => Self::of("unreachable", &error),
        }
    }
}

impl From<Stopped> for Fault {
    fn from(stopped: Stopped) -> Self {
        Self::stopped(&stopped)
    }
}

/// Returns an exception for a wrong argument of a call.
pub(crate) fn wrong(error: &(dyn std::error::Error + 'static)) -> PyErr {
    PyValueError::new_err(chain(error))
}
