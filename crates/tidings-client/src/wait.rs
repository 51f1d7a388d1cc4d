//! Waiting for a task, and its state.

use std::sync::Arc;

use tidings_protocol::{Outcome, TaskId, TaskSnapshot};

use crate::client::Client;
use crate::error::{Stopped, WatchError};
use crate::update::Update;

impl Client {
    /// Waits until a task has ended. A task that has ended already is not waited for;
    /// one that is not known yet is.
    ///
    /// # Errors
    /// The task may not be watched, or the client has stopped.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn wait(&self, task_id: &TaskId) -> Result<Outcome, WatchError> {
        let mut watch = self.watch(task_id);
        while watch.recv().await?.is_some() {
            if let Some(outcome) = watch.state(task_id).and_then(Outcome::of) {
                return Ok(outcome);
            }
        }
        Err(WatchError::Stopped(Stopped::Closed))
    }

    /// Returns the state of a task now. A task that nothing was published to is
    /// pending, at offset 0.
    ///
    /// # Errors
    /// The task may not be watched, or the client has stopped.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn snapshot(&self, task_id: &TaskId) -> Result<Arc<TaskSnapshot>, WatchError> {
        let mut watch = self.watch(task_id);
        while let Some(update) = watch.recv().await? {
            if let Update::Snapshot(state) = update {
                return Ok(state);
            }
        }
        Err(WatchError::Stopped(Stopped::Closed))
    }
}
