//! Asking a server for a backup of what it keeps.

use hyper::Method;
use serde::Deserialize;

use crate::client::Client;
use crate::http::ListError;

/// A backup that a server made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ServerBackup {
    /// Where it is, on the server's machine.
    pub directory: String,
    /// Tasks in it.
    pub tasks: u64,
    /// Their events.
    pub events: u64,
    /// Bytes of these.
    pub bytes: u64,
}

impl Client {
    /// Has the server make a backup, in the directory that it was given for that.
    /// Takes as long as copying all that it keeps.
    ///
    /// # Errors
    /// The server cannot be reached, may not be asked for this (it wants the
    /// permission `admin`), makes no backups, makes one just now, or failed.
    ///
    /// # Cancel safety
    /// A backup that was begun is made to its end.
    pub async fn back_up(&self) -> Result<ServerBackup, ListError> {
        let body = self.exchange(Method::POST, "/api/backups").await?;
        serde_json::from_slice(&body).map_err(|error| ListError::Answer(error.into()))
    }
}
