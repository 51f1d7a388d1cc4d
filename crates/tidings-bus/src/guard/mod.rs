//! A task that this process does: begun, reported on, and ended whatever happens.
//!
//! The names are those of `tidings-client`, so code can move from a process with a
//! bus to a process with a client and back.

mod host;
mod job;
mod queue;

use crate::bus::EventBus;
use crate::publish::append::{PublishError, Published};

pub use host::Updates;
pub use job::{Job, Receipt};
pub use tidings_protocol::Cancelled;
pub use tidings_scope::{Answered, BoxError};

/// A running task of this process, and the duty to say how it ended: see
/// [`tidings_scope::Task`].
///
/// Without a store an event is in the log when the report returns. With a store
/// reports are published in order by a task of the bus; while the store is
/// unavailable they wait in a bounded queue.
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
/// How a [`Task`] begins.
pub type TaskBuilder = tidings_scope::TaskBuilder<EventBus>;
/// A handle to report on a task with.
pub type Reporter = tidings_scope::Reporter<EventBus>;
/// A step of a task, and the duty to say how it ended.
pub type TaskStep = tidings_scope::TaskStep<EventBus>;
/// A text of a task that grows.
pub type Output = tidings_scope::Output<EventBus>;
/// The commands given to a task.
pub type Commands = tidings_scope::Commands<EventBus>;
/// A command, to be answered.
pub type Command = tidings_scope::Command<EventBus>;
/// The end of a task on its way: a future.
pub type Ending = tidings_scope::Ending<EventBus>;
/// A task whose end is in its log.
pub type Ended = tidings_scope::Ended<Published, PublishError>;
/// Reports of a task that are not in its log.
pub type Losses = tidings_scope::Losses<PublishError>;
/// A report that was refused for good.
pub type Refusal = tidings_scope::Refusal<PublishError>;
/// Why the work of a task came to nothing.
pub type RunError = tidings_scope::RunError<PublishError>;
/// Why a question has no answer.
pub type AskError = tidings_scope::AskError<PublishError>;
