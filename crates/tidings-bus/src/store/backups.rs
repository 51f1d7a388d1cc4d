//! Copies of all that is kept, made while it is in use.

use async_trait::async_trait;
use serde::Serialize;

/// A copy that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupMade {
    /// Where it is, on the machine that made it.
    pub directory: String,
    /// Tasks in it.
    pub tasks: u64,
    /// Their events.
    pub events: u64,
    /// Bytes of these.
    pub bytes: u64,
}

/// Why no copy was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// One at a time.
    #[error("another backup is being made; wait for it")]
    Busy,
    /// It came to nothing, and is not there.
    #[error("the backup was not made")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Makes copies of a store that is in use. Where they go is its own affair, and
/// never what somebody asks for over the network.
#[async_trait]
pub trait Backups: std::fmt::Debug + Send + Sync + 'static {
    /// Makes one more: what is stored at one moment.
    ///
    /// # Errors
    /// One is being made, or it could not be made.
    ///
    /// # Cancel safety
    /// One that was begun is made to its end.
    async fn make(&self) -> Result<BackupMade, BackupError>;
}
