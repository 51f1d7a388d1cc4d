//! Waits for a task, and returns its state.

use std::sync::Arc;

use tidings_protocol::{Outcome, TaskId, TaskSnapshot};

use crate::client::Client;
use crate::error::{Stopped, WatchError};
use crate::update::Update;

impl Client {
    /// Waits until a task has ended. If the task has ended already, the call returns at
    /// once. If the task does not exist yet, the call waits for it.
    ///
    /// # Errors
    /// Returns an error if the token does not allow to watch the task, or the client
    /// has stopped.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn wait(&self, task_id: &TaskId) -> Result<Outcome, WatchError> {
        let mut watch = self.watch(task_id);
        while watch.recv().await?.is_some() {
            if let Some(outcome) = watch.state(task_id).and_then(Outcome::of) {
                return Ok(outcome);
            }
        }
        Err(WatchError::Stopped(Stopped::Closed))
    }

    /// Returns the present state of a task. A task without any event is pending, at
    /// offset 0.
    ///
    /// # Errors
    /// Returns an error if the token does not allow to watch the task, or the client
    /// has stopped.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
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
