//! Commands for the files of a node. They work without a running node.

mod inspect;
mod token;

use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use tidings_store::{Copied, CopyError, OpenError, back_up};

/// A command for the files of a node.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "a comment here would replace the help of the command"
)]
pub enum FileCommand {
    Token(Box<token::Arguments>),
    Inspect(inspect::Arguments),
}

impl FileCommand {
    /// Runs the command and returns its result.
    ///
    /// # Errors
    /// Returns [`FileError`] if the command fails.
    pub async fn run(self) -> Result<Told, FileError> {
        match self {
            Self::Token(arguments) => token::run(&arguments).await.map(Told::Text),
            Self::Inspect(arguments) => inspect::run(&arguments).await,
        }
    }
}

/// The result of a command for files.
#[derive(Debug)]
pub enum Told {
    /// Lines for people. They may contain text from untrusted sources.
    Text(String),
    /// One JSON object.
    Json(String),
}

/// Copies a data directory that no server has open.
///
/// # Errors
/// Returns [`FileError`] if the directory cannot be copied.
///
/// # Cancel safety
/// If the future is dropped, the copy is still completed in the background.
pub async fn copy_data(from: &Path, into: &Path) -> Result<Copied, FileError> {
    back_up(from, into).await.map_err(|error| match error {
        CopyError::Source(OpenError::InUse { path }) => FileError::Running { path },
        error => FileError::Copy(error),
    })
}

/// The reason why a command for files failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The arguments contradict each other.
    #[error("{0}")]
    Arguments(&'static str),
    /// A token cannot be created from these arguments.
    #[error("the token cannot be created")]
    Issue(#[source] tidings_auth::IssueError),
    /// An API key cannot be created from these arguments.
    #[error("the API key cannot be created")]
    NewKey(#[source] tidings_auth::ApiKeysError),
    /// The text is not a token.
    #[error("the token cannot be read")]
    Explain(#[source] tidings_auth::ExplainError),
    /// A file that an argument names cannot be read.
    #[error("{} cannot be read", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        cause: io::Error,
    },
    /// A file cannot be written to.
    #[error("{} cannot be written", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        cause: io::Error,
    },
    /// A file should contain a key for tokens, but does not.
    #[error("{} contains no usable key", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The reason why the key cannot be used.
        #[source]
        cause: tidings_auth::KeyError,
    },
    /// A server has the data directory open.
    #[error(
        "a server has the data directory {} open: let it make a backup with `tidings backup --url \
         URL` (it must have been started with --backup-dir), and use that; or stop the server first",
        .path.display()
    )]
    Running {
        /// The directory.
        path: PathBuf,
    },
    /// The data directory is damaged, or it belongs to another program.
    #[error("the data directory cannot be opened")]
    Store(#[source] OpenError),
    /// The data directory could not be copied.
    #[error("the backup failed")]
    Copy(#[source] CopyError),
    /// Standard input cannot be read.
    #[error("standard input cannot be read")]
    Input(#[source] io::Error),
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(|cause| FileError::Unreadable {
        path: path.to_owned(),
        cause,
    })
}
