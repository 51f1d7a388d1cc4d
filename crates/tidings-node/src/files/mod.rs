//! Commands for the files of a node, which work without one that runs.

mod inspect;
mod token;

use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use tidings_store::{Copied, CopyError, OpenError, back_up};

/// What can be done with the files of a node.
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
    /// Runs the command, and returns what it found or made.
    ///
    /// # Errors
    /// See [`FileError`].
    pub async fn run(self) -> Result<Told, FileError> {
        match self {
            Self::Token(arguments) => token::run(&arguments).await.map(Told::Text),
            Self::Inspect(arguments) => inspect::run(&arguments).await,
        }
    }
}

/// What a command for files has to tell.
#[derive(Debug)]
pub enum Told {
    /// Lines for people. They may hold text of others.
    Text(String),
    /// One JSON object.
    Json(String),
}

/// Copies a data directory that no server has.
///
/// # Errors
/// See [`FileError`].
pub async fn copy_data(from: &Path, into: &Path) -> Result<Copied, FileError> {
    back_up(from, into).await.map_err(|error| match error {
        CopyError::Source(OpenError::InUse { path }) => FileError::Running { path },
        error => FileError::Copy(error),
    })
}

/// Why a command for files did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Arguments that do not go together.
    #[error("{0}")]
    Arguments(&'static str),
    /// No token is made from these arguments.
    #[error("no token can be made")]
    Issue(#[source] tidings_auth::IssueError),
    /// No API key is made from these arguments.
    #[error("no API key can be made")]
    NewKey(#[source] tidings_auth::ApiKeysError),
    /// The text is no token.
    #[error("the token cannot be read")]
    Explain(#[source] tidings_auth::ExplainError),
    /// A file that an argument names cannot be read.
    #[error("{} cannot be read", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file that is to be added to cannot be.
    #[error("{} cannot be written", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file that is to have a key for tokens has none.
    #[error("{} has no key that works", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: tidings_auth::KeyError,
    },
    /// A directory that is to be looked at, and that a server has.
    #[error(
        "a server has the data directory {} open: have it make a backup, by `tidings backup --url \
         URL` (it must have been started with --backup-dir), and look at that; or stop it first",
        .path.display()
    )]
    Running {
        /// The directory.
        path: PathBuf,
    },
    /// The data directory is damaged, or not ours.
    #[error("tasks cannot be kept")]
    Store(#[source] OpenError),
    /// A copy of a data directory was not made.
    #[error("no backup was made")]
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
