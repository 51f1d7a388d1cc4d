//! The stage of the simulated tasks: their interface to a server in the same process.

use std::error::Error;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tidings_client::protocol::{CommandRequested, NewEvent, TaskId};

/// Takes the events of the simulated tasks, and delivers commands to them.
#[async_trait]
pub trait Stage: Send + Sync {
    /// Publishes an event of a task.
    ///
    /// # Errors
    /// Returns an error if the event was refused or the server has stopped.
    async fn publish(&self, task: &TaskId, event: NewEvent) -> Result<(), StageError>;

    /// Subscribes to the future commands of a task. The stream ends when the server has
    /// stopped.
    fn commands(&self, task: &TaskId) -> BoxStream<'static, CommandRequested>;
}

/// Returned when an event of a simulated task was not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// The server has stopped. The demo ends.
    #[error("the server has stopped")]
    Closed,
    /// The event was refused. The run starts over.
    #[error("an event of a simulated task was refused")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
}
