//! Copies of all stored data, made while the store is in use.

use async_trait::async_trait;
use serde::Serialize;

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupMade {
    /// The directory of the backup, on the machine that made it.
    pub directory: String,
    /// The number of tasks in the backup.
    pub tasks: u64,
    /// The number of their events.
    pub events: u64,
    /// The bytes of these events.
    pub bytes: u64,
}

/// The reason why no backup was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// Another backup is being made. Only one can be made at a time.
    #[error("another backup is being made; wait for it")]
    Busy,
    /// The backup failed, and left no files.
    #[error("the backup was not made")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Makes backups of a store that is in use. The store chooses the directory. A request over the
/// network never chooses it.
#[async_trait]
pub trait Backups: std::fmt::Debug + Send + Sync + 'static {
    /// Makes a backup of the data at one moment.
    ///
    /// # Errors
    /// Fails if another backup is being made, or if the backup could not be made.
    ///
    /// # Cancel safety
    /// A backup that has begun is finished, even if the future is dropped.
    async fn make(&self) -> Result<BackupMade, BackupError>;
}
