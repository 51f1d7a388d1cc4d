//! A task that this program does: begun, reported on, and ended whatever happens.

mod builder;
mod cancel;
mod end;
mod parts;
mod reporter;
mod scope;

use std::ops::Deref;

use serde_json::Value;
use tidings_protocol::{NewEvent, TaskError};

use crate::error::BoxError;
use crate::publish::Receipt;
pub use builder::TaskBuilder;
pub use end::{Ended, Ending, Losses, Refusal};
pub use parts::{Output, TaskStep};
pub use reporter::Reporter;
pub use scope::RunError;

/// A running task, and the duty to say how it ended.
///
/// ```no_run
/// # async fn example(client: tidings_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let task = client.task("render-7").name("Render").start().await?;
/// task.progress(40.0, "lighting");
/// let ended = task.complete(None).await?;
/// if !ended.losses.is_empty() {
///     eprintln!("not everything was reported: {:?}", ended.losses);
/// }
/// # Ok(())
/// # }
/// ```
///
/// Reports, all that [`Reporter`] has, never wait, fail or panic, so reporting
/// cannot harm the work that it reports:
///
/// - Reports are sent in order. What the server refuses for a while is tried again.
/// - While the server is away reports wait in a bounded buffer. When it is full
///   the oldest progress, log lines and output give way.
/// - What was dropped, or refused for good, is told when the task ends.
/// - Room is always kept for the end and for answers to commands.
///
/// Dropped without [`complete`](Self::complete), [`fail`](Self::fail) or
/// [`cancel`](Self::cancel), by an early return or a panic, the task is reported as
/// failed. The report is sent by the client's own task, so the runtime must live a
/// moment longer: [`Client::close`](crate::Client::close) waits for it.
///
/// If the server refuses the start, nothing is reported: the task is another
/// worker's. If the server loses its memory, the task is started anew there first.
#[derive(Debug)]
pub struct Task {
    reporter: Reporter,
    owner: Owner,
}

/// Ends a task when it is dropped.
#[derive(Debug)]
pub(crate) struct Owner {
    reporter: Reporter,
}

impl Owner {
    fn losses(&self) -> Losses {
        self.reporter.losses()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.reporter.ears().close();
        self.reporter.leave(|| {
            let error = if std::thread::panicking() {
                TaskError::new("the program that did this panicked").with_code("panicked")
            } else {
                TaskError::new(
                    "the program stopped working on this task without saying how it ended",
                )
                .with_code("dropped")
            };
            NewEvent::task_failed(error)
        });
    }
}

impl Deref for Task {
    type Target = Reporter;

    fn deref(&self) -> &Reporter {
        &self.reporter
    }
}

impl Task {
    /// Returns a handle to report with, which is cheap to clone and has no duty to
    /// say how the task ended.
    pub fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// Ends it well. The end is on its way when this returns; the future waits
    /// until the server has it, and tells which reports before it were lost.
    ///
    /// # Errors
    /// The server refused the end or, earlier, the start; or the client has stopped.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing back.
    pub fn complete(self, result: impl Into<Option<Value>>) -> Ending {
        self.end(NewEvent::task_completed(result))
    }

    /// Ends it badly: with a text, a [`TaskError`] or any error, whose chain of
    /// causes goes into the message. Waits as [`complete`](Self::complete) does.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub fn fail(self, error: impl Into<BoxError>) -> Ending {
        self.end(NewEvent::task_failed(TaskError::of(error)))
    }

    /// Ends it early, on purpose. Waits as [`complete`](Self::complete) does.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub fn cancel<'a>(self, reason: impl Into<Option<&'a str>>) -> Ending {
        self.end(NewEvent::task_cancelled(reason))
    }

    /// Ends it with this event. Waits as [`complete`](Self::complete) does.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub fn end(self, event: NewEvent) -> Ending {
        let receipt = self.reporter.end(event);
        Ending {
            owner: self.owner,
            receipt,
        }
    }

    /// Ends it with this event, without waiting for anything: the client sends it
    /// when it can.
    ///
    /// # Errors
    /// The start was refused, or the client has stopped.
    pub fn end_now(self, event: NewEvent) -> Result<Receipt, crate::ReceiptError> {
        self.reporter.end(event)
    }
}
