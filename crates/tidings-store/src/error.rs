//! Errors of opening a data directory.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tidings_bus::StoreError;

/// The reason why a store could not be opened. Nothing was changed in the directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the directory open.
    #[error(
        "the data directory {} is in use by another process; stop that one, or name another directory",
        .path.display()
    )]
    InUse {
        /// The path of the directory.
        path: PathBuf,
    },
    /// The directory contains files that are not from a store.
    #[error(
        "the directory {} is not empty and holds no store of tidings; name an empty or a new one",
        .path.display()
    )]
    Foreign {
        /// The path of the directory.
        path: PathBuf,
    },
    /// The directory was created by a version with another format.
    #[error(
        "the data directory {} has the format {found:?}, and this version reads {expected:?}; use the version that made it",
        .path.display()
    )]
    Version {
        /// The path of the directory.
        path: PathBuf,
        /// The format of the directory.
        found: String,
        /// The format that this version reads.
        expected: &'static str,
    },
    /// The content of the directory is inconsistent.
    #[error(
        "the data directory {} is damaged; restore a backup into an empty directory, or move this one away to start anew",
        .path.display()
    )]
    Damaged {
        /// The path of the directory.
        path: PathBuf,
        /// The damage that was found.
        #[source]
        cause: Damage,
    },
    /// The directory contains no store, and the caller did not ask to create one.
    #[error("there is no store of tidings in {}", .path.display())]
    Missing {
        /// The path of the directory.
        path: PathBuf,
    },
    /// The operating system returned an error.
    #[error("the data directory {} cannot be used", .path.display())]
    Io {
        /// The path of the directory.
        path: PathBuf,
        /// The cause.
        #[source]
        cause: io::Error,
    },
}

/// The damage in a data directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The engine's files are missing.
    #[error("its engine's files are missing")]
    EngineMissing,
    /// The engine cannot read its files.
    #[error("its engine cannot read it")]
    Engine(#[source] fjall::Error),
    /// The engine panicked while it read its files. The log has the text of the panic.
    #[error("its engine panicked at it")]
    EnginePanicked,
    /// A row does not have the form that this store writes.
    #[error("the row of {what} cannot be read")]
    Row {
        /// The thing that the row describes.
        what: String,
        /// The cause.
        #[source]
        cause: serde_json::Error,
    },
    /// Events are missing between other events.
    #[error("task {task} lacks event {offset}")]
    Hole {
        /// The id of the task.
        task: String,
        /// The first missing offset.
        offset: u64,
    },
    /// Text of an output is missing.
    #[error("text of output {output} is missing")]
    Output {
        /// The id of the output.
        output: String,
    },
    /// The directory holds fewer changes than at its last orderly stop.
    #[error(
        "the directory was closed after change {closed}, but its data ends with change {found}"
    )]
    Shorter {
        /// The number of changes at that stop.
        closed: u64,
        /// The number of changes that were found.
        found: u64,
    },
}

impl From<fjall::Error> for Damage {
    fn from(error: fjall::Error) -> Self {
        Self::Engine(error)
    }
}

/// A failure of the engine. Every change in the failed commit gets it as its answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the disk refused the write")]
    Io(#[source] Arc<io::Error>),
    #[error("the storage engine refused the write")]
    Engine(#[source] Arc<fjall::Error>),
    #[error("the stored data cannot be read")]
    Row(#[source] Arc<StoreError>),
    #[error("the store is closed")]
    Closed,
    #[error("the engine failed and is being opened anew")]
    Down,
}

impl From<fjall::Error> for Failure {
    fn from(error: fjall::Error) -> Self {
        match error {
            fjall::Error::Io(error) => Self::Io(Arc::new(error)),
            error => Self::Engine(Arc::new(error)),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        Self::Unavailable(Box::new(failure))
    }
}
