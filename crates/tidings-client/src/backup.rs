//! Asks a server for a backup of its tasks.

use hyper::Method;
use serde::Deserialize;

use crate::client::Client;
use crate::http::ListError;

/// A backup that a server made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ServerBackup {
    /// The directory of the backup, on the server's machine.
    pub directory: String,
    /// The number of tasks in the backup.
    pub tasks: u64,
    /// The number of events in the backup.
    pub events: u64,
    /// The size of the events, in bytes.
    pub bytes: u64,
}

impl Client {
    /// Makes the server write a backup to the directory that its operator has
    /// configured. The call takes as long as the server needs to copy all its data.
    ///
    /// # Errors
    /// Returns an error if the server cannot be reached, refuses the request, or fails.
    /// The request needs the permission `admin`. The server also refuses if backups are
    /// not configured or if another backup is running.
    ///
    /// # Cancel safety
    /// If the future is dropped, the server still completes a backup that it has begun.
    pub async fn back_up(&self) -> Result<ServerBackup, ListError> {
        let body = self.exchange(Method::POST, "/api/backups").await?;
        serde_json::from_slice(&body).map_err(|error| ListError::Answer(error.into()))
    }
}
