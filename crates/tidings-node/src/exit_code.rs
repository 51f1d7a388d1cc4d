//! Exit codes for errors, from BSD's `sysexits.h`.

#[cfg(feature = "clap")]
use tidings_store::CopyError;
use tidings_store::OpenError;

use crate::error::{NodeConfigError, StartError};
#[cfg(feature = "clap")]
use crate::files::FileError;

const USAGE: u8 = 64;
const DATA: u8 = 65;
const NO_INPUT: u8 = 66;
const UNAVAILABLE: u8 = 69;
#[cfg(feature = "clap")]
const OS: u8 = 71;
const CANNOT_CREATE: u8 = 73;
const IO: u8 = 74;
const TRY_AGAIN: u8 = 75;

impl NodeConfigError {
    /// Returns the exit code of a program that ends because of this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::FileUnreadable { .. } | Self::Unreadable { .. } => NO_INPUT,
            _ => USAGE,
        }
    }
}

impl StartError {
    /// Returns the exit code of a program that ends because of this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(error) => error.exit_code(),
            Self::Listen { .. } => UNAVAILABLE,
            Self::Store(error) => directory(error),
            Self::Recovery(_) => IO,
        }
    }
}

#[cfg(feature = "clap")]
impl FileError {
    /// Returns the exit code of a program that ends because of this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Arguments(_)
            | Self::Issue(_)
            | Self::NewKey(_)
            | Self::Explain(_)
            | Self::Key { .. } => USAGE,
            Self::Unreadable { .. } => NO_INPUT,
            Self::Unwritable { .. } => CANNOT_CREATE,
            Self::Running { .. } => TRY_AGAIN,
            Self::Store(error) => directory(error),
            Self::Copy(error) => match error {
                CopyError::Source(error) => directory(error),
                CopyError::Damaged(_) => DATA,
                _ => CANNOT_CREATE,
            },
            Self::Input(_) => OS,
        }
    }
}

/// Returns the exit code for a data directory that cannot be opened.
fn directory(error: &OpenError) -> u8 {
    match error {
        OpenError::InUse { .. } => TRY_AGAIN,
        OpenError::Missing { .. } => NO_INPUT,
        OpenError::Io { .. } => CANNOT_CREATE,
        _ => DATA,
    }
}
