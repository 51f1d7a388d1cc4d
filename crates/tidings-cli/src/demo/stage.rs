//! The place where simulated tasks play: what they need of a server in the same process.

use std::error::Error;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tidings_client::protocol::{CommandRequested, NewEvent, TaskId};

/// Takes the events of the simulated tasks, and brings them commands.
#[async_trait]
pub trait Stage: Send + Sync {
    /// Publishes an event of a task.
    ///
    /// # Errors
    /// The event was refused, or the server has stopped.
    async fn publish(&self, task: &TaskId, event: NewEvent) -> Result<(), StageError>;

    /// Subscribes to the commands that a task gets from now on. The stream ends
    /// when the server has stopped.
    fn commands(&self, task: &TaskId) -> BoxStream<'static, CommandRequested>;
}

/// An event of a simulated task was not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// The server has stopped; the play is over.
    #[error("the server has stopped")]
    Closed,
    /// The event was refused; the run starts over.
    #[error("an event of a simulated task was refused")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
}
