//! `/api/backups`: copies all stored data.

use http::{Response, StatusCode};
use tidings_bus::BackupError;
use tidings_connections::chain;
use tidings_protocol::ErrorCode;

use crate::body::{Body, json};
use crate::problem::Problem;
use crate::service::Core;

impl Core {
    /// Makes another backup, if the server has a directory for backups.
    pub(crate) async fn back_up(&self) -> Result<Response<Body>, Problem> {
        let backups = self
            .config
            .backups
            .as_ref()
            .ok_or_else(Problem::no_backups)?;
        match backups.make().await {
            Ok(made) => Ok(json(StatusCode::CREATED, &made)),
            Err(error @ BackupError::Busy) => Err(Problem::conflict(error.to_string())),
            Err(error) => Err(Problem::new(ErrorCode::Unavailable, chain(&error))),
        }
    }
}
