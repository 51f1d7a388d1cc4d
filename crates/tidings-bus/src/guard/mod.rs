//! Runs a task in this process: begins it, reports on it, and always ends it.
//!
//! The names are those of `tidings-client`, so code can move from a process with a
//! bus to a process with a client and back.

mod host;
mod job;
mod queue;

use crate::bus::EventBus;
use crate::publish::error::{PublishError, Published};

pub use host::Updates;
pub use job::{Job, Receipt};
pub use tidings_protocol::Cancelled;
pub use tidings_scope::{Answered, BoxError};

/// A running task of this process, which must report how it ended. See [`tidings_scope::Task`].
///
/// Without a store, an event is in the log when the report returns. With a store, the bus
/// publishes the reports in order in the background. While the store is unavailable, the
/// reports wait in a bounded queue.
///
/// ```
/// use tidings_bus::{BusConfig, EventBus};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = EventBus::new(BusConfig::default())?;
/// let task = bus.begin("render-7").name("Render").start().await?;
/// task.progress(40.0, "lighting");
/// let ended = task.complete(None).await?;
/// assert!(ended.losses.is_empty());
/// # Ok(())
/// # }
/// ```
pub type Task = tidings_scope::Task<EventBus>;
/// Starts a [`Task`].
pub type TaskBuilder = tidings_scope::TaskBuilder<EventBus>;
/// A handle that reports on a task.
pub type Reporter = tidings_scope::Reporter<EventBus>;
/// A step of a task, which must report how it ended.
pub type TaskStep = tidings_scope::TaskStep<EventBus>;
/// A growing text of a task.
pub type Output = tidings_scope::Output<EventBus>;
/// The commands given to a task.
pub type Commands = tidings_scope::Commands<EventBus>;
/// A command that needs an answer.
pub type Command = tidings_scope::Command<EventBus>;
/// A future that completes when a task has ended.
pub type Ending = tidings_scope::Ending<EventBus>;
/// A task that has ended, with its end in its log.
pub type Ended = tidings_scope::Ended<Published, PublishError>;
/// Reports of a task that never reached its log.
pub type Losses = tidings_scope::Losses<PublishError>;
/// A report that was refused finally.
pub type Refusal = tidings_scope::Refusal<PublishError>;
/// The reason why the work of a task failed.
pub type RunError = tidings_scope::RunError<PublishError>;
/// The reason why a question has no answer.
pub type AskError = tidings_scope::AskError<PublishError>;
