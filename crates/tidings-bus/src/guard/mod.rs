//! A task that this process does: begun, reported on, and ended whatever happens.
//!
//! The names are those of `tidings-client`, so code can move from a process with a
//! bus to a process with a client and back.

mod builder;
mod cancel;
mod commands;
mod parts;
mod queue;
mod reporter;
mod scope;

use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

use serde_json::Value;
use tidings_protocol::{NewEvent, TaskError};
use tokio::sync::oneshot;

use crate::publish::append::{PublishError, Published};

pub use builder::TaskBuilder;
pub use commands::{Command, Commands};
pub use parts::{Output, TaskStep};
pub use queue::{Losses, Refusal};
pub use reporter::Reporter;
pub use scope::RunError;
pub use tidings_protocol::Cancelled;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A running task of this process, and the duty to say how it ended.
///
/// Reports, all that [`Reporter`] has, never wait, fail or panic. Without a store an
/// event is in the log when the report returns. With a store reports are published in
/// order by a task of the bus; while the store is unavailable they wait in a bounded
/// queue. What was dropped, or refused for good, is told when the task ends.
///
/// Dropped without an end, by an early return or a panic, the task is reported as
/// failed.
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
#[derive(Debug)]
pub struct Task {
    reporter: Reporter,
    _owner: Owner,
}

/// Ends a task when it is dropped.
#[derive(Debug)]
struct Owner(Reporter);

impl Drop for Owner {
    fn drop(&mut self) {
        let error = if std::thread::panicking() {
            TaskError::new("the program that did this panicked").with_code("panicked")
        } else {
            TaskError::new("the program stopped working on this task without saying how it ended")
                .with_code("dropped")
        };
        // Refused if the task has ended already.
        drop(self.0.end(NewEvent::task_failed(error)));
    }
}

impl Deref for Task {
    type Target = Reporter;

    fn deref(&self) -> &Reporter {
        &self.reporter
    }
}

/// A task whose end is in its log.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Ended {
    /// The place of the end in the task's log.
    pub published: Published,
    /// Reports before the end that are not in the log.
    pub losses: Losses,
}

impl Task {
    /// Returns a handle to report with, which is cheap to clone and has no duty to
    /// say how the task ended.
    pub fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// Ends it well. The end is on its way when this returns.
    ///
    /// # Errors
    /// The end was refused, or the bus has been shut down.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing back.
    pub fn complete(self, result: impl Into<Option<Value>>) -> Ending {
        self.end(NewEvent::task_completed(result))
    }

    /// Ends it badly: with a text, a [`TaskError`] or any error.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub fn fail(self, error: impl Into<BoxError>) -> Ending {
        self.end(NewEvent::task_failed(TaskError::of(error)))
    }

    /// Ends it early, on purpose.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub fn cancel<'a>(self, reason: impl Into<Option<&'a str>>) -> Ending {
        self.end(NewEvent::task_cancelled(reason))
    }

    /// Ends it with this event.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub fn end(self, event: NewEvent) -> Ending {
        let answer = self.reporter.end(event);
        let reporter = self.reporter.clone();
        Ending { answer, reporter }
    }
}

/// The end of a task on its way: a future.
///
/// The end was given to the bus when this was made. Dropping the future takes nothing
/// back.
#[derive(Debug)]
#[must_use = "await it to know that the log has the end, or drop it explicitly"]
pub struct Ending {
    answer: Answer,
    reporter: Reporter,
}

impl Future for Ending {
    type Output = Result<Ended, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = std::task::ready!(Pin::new(&mut self.answer).poll(cx));
        let published = answer.unwrap_or(Err(PublishError::Closed));
        Poll::Ready(published.map(|published| Ended {
            published,
            losses: self.reporter.losses(),
        }))
    }
}

type Answer = oneshot::Receiver<Result<Published, PublishError>>;
