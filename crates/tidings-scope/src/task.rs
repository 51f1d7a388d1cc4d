//! A running task and its end.

use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

use serde_json::Value;
use tidings_protocol::{NewEvent, TaskError};

use crate::{BoxError, Host, Losses, Reporter};

/// A running task, and the duty to say how it ended.
///
/// Reports, all that [`Reporter`] has, never wait, fail or panic, so reporting
/// cannot harm the work that it reports:
///
/// - Reports arrive in order. What is refused for a while is tried again.
/// - While the server or the store is away reports wait in a bounded buffer. When it
///   is full the oldest progress, log lines and output give way.
/// - What was dropped, or refused for good, is told when the task ends.
/// - Room is always kept for the end and for answers to commands.
///
/// Dropped without [`complete`](Self::complete), [`fail`](Self::fail) or
/// [`cancel`](Self::cancel), by an early return or a panic, the task is reported as
/// failed. The program's runtime must live a moment longer for that.
///
/// If the start is refused, nothing is reported: the task is another worker's.
#[derive(Debug)]
pub struct Task<H: Host> {
    reporter: Reporter<H>,
    owner: Owner<H>,
}

/// Ends a task when it is dropped.
#[derive(Debug)]
struct Owner<H: Host>(Reporter<H>);

impl<H: Host> Drop for Owner<H> {
    fn drop(&mut self) {
        self.0.ears().close();
        self.0.leave(given_up());
        // Told here and not where a report is refused: locks are held there, and what
        // takes the program's log may report on the task itself.
        let losses = self.0.losses();
        if !losses.is_empty() {
            let first = losses.refused.first().map(|first| first.error.to_string());
            tracing::warn!(
                task_id = %self.0.id(),
                refused = losses.refused_count,
                dropped = losses.dropped,
                first,
                "reports of a task are not in its log"
            );
        }
    }
}

/// Returns the end of a task that is dropped without one: by a panic, or otherwise.
pub fn given_up() -> NewEvent {
    NewEvent::task_failed(dropped(
        "the program stopped working on this task without saying how it ended",
    ))
}

pub(crate) fn dropped(otherwise: &str) -> TaskError {
    if std::thread::panicking() {
        TaskError::new("the program that did this panicked").with_code("panicked")
    } else {
        TaskError::new(otherwise).with_code("dropped")
    }
}

impl<H: Host> Deref for Task<H> {
    type Target = Reporter<H>;

    fn deref(&self) -> &Reporter<H> {
        &self.reporter
    }
}

impl<H: Host> Task<H> {
    pub(crate) fn new(reporter: Reporter<H>) -> Self {
        Self {
            owner: Owner(reporter.clone()),
            reporter,
        }
    }

    /// Returns a handle to report with, which is cheap to clone and has no duty to
    /// say how the task ended.
    pub fn reporter(&self) -> Reporter<H> {
        self.reporter.clone()
    }

    /// Ends the task well. The end is on its way when this returns; the future waits
    /// until the log has it, and tells which reports before it were lost.
    ///
    /// # Errors
    /// The end was refused or, earlier, the start; or the bus or the client has stopped.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing back.
    pub fn complete(self, result: impl Into<Option<Value>>) -> Ending<H> {
        self.end(NewEvent::task_completed(result))
    }

    /// Ends the task badly: with a text, a [`TaskError`] or any error, whose chain of
    /// causes goes into the message. Waits as [`complete`](Self::complete) does.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub fn fail(self, error: impl Into<BoxError>) -> Ending<H> {
        self.end(NewEvent::task_failed(TaskError::of(error)))
    }

    /// Ends the task early, on purpose. Waits as [`complete`](Self::complete) does.
    ///
    /// If the command `cancel` was [heard](Reporter::cancelled), it is completed.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub fn cancel<'a>(self, reason: impl Into<Option<&'a str>>) -> Ending<H> {
        self.reporter.answer_cancel();
        self.end(NewEvent::task_cancelled(reason))
    }

    /// Ends the task with this event. Waits as [`complete`](Self::complete) does.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub fn end(self, event: NewEvent) -> Ending<H> {
        let receipt = self.reporter.end(event);
        Ending {
            receipt,
            owner: self.owner,
        }
    }
}

/// A task whose end is in its log.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Ended<P, E> {
    /// The place of the end in the task's log.
    pub published: P,
    /// Reports before the end that are not in the log.
    pub losses: Losses<E>,
}

/// The end of a task on its way: a future.
///
/// The end is on its way already. Dropping the future takes nothing back.
#[derive(Debug)]
#[must_use = "await it to know that the log has the end, or drop it explicitly"]
pub struct Ending<H: Host> {
    receipt: H::Receipt,
    owner: Owner<H>,
}

impl<H: Host> Future for Ending<H> {
    type Output = Result<Ended<H::Place, H::Error>, H::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = std::task::ready!(Pin::new(&mut self.receipt).poll(cx));
        Poll::Ready(answer.map(|published| Ended {
            published,
            losses: self.owner.0.losses(),
        }))
    }
}
