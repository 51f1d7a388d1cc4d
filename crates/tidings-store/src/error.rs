//! Why a directory was not opened.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tidings_bus::StoreError;

/// Why a store could not be opened. Nothing was changed in the directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "the data directory {} is in use by another process; stop that one, or name another directory",
        .path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// There is something in it that no store has put there.
    #[error(
        "the directory {} is not empty and holds no store of tidings; name an empty or a new one",
        .path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// It was made by a version that laid things out in another way.
    #[error(
        "the data directory {} has the format {found:?}, and this version reads {expected:?}; use the version that made it",
        .path.display()
    )]
    Version {
        /// The directory.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What this version knows.
        expected: &'static str,
    },
    /// What is in it does not fit together.
    #[error(
        "the data directory {} is damaged; restore a backup into an empty directory, or move this one away to start anew",
        .path.display()
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What was found.
        #[source]
        cause: Damage,
    },
    /// There is no store, and none was to be made.
    #[error("there is no store of tidings in {}", .path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// The system refused.
    #[error("the data directory {} cannot be used", .path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// What is wrong with a directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The engine's files are not there.
    #[error("its engine's files are missing")]
    EngineMissing,
    /// The engine does not read its files.
    #[error("its engine cannot read it")]
    Engine(#[source] fjall::Error),
    /// A row is none that this store wrote.
    #[error("the row of {what} cannot be read")]
    Row {
        /// Of what.
        what: String,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
    /// Events are missing in the middle.
    #[error("task {task} lacks event {offset}")]
    Hole {
        /// The task.
        task: String,
        /// The first offset that is missing.
        offset: u64,
    },
    /// Text of an output is missing.
    #[error("text of output {output} is missing")]
    Output {
        /// The output.
        output: String,
    },
    /// It was closed in order, and holds less than it did then.
    #[error("it was closed after change {closed}, and ends with change {found}")]
    Shorter {
        /// Changes when it was closed.
        closed: u64,
        /// Changes that are there.
        found: u64,
    },
}

impl From<fjall::Error> for Damage {
    fn from(error: fjall::Error) -> Self {
        Self::Engine(error)
    }
}

/// A failure of the engine, to be told to all whose changes were in one commit.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the disk did not take it")]
    Io(#[source] Arc<io::Error>),
    #[error("the engine did not take it")]
    Engine(#[source] Arc<fjall::Error>),
    #[error("what is stored cannot be read")]
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
