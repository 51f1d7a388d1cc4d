//! A running task and its end.

use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

use serde_json::Value;
use tidings_protocol::{NewEvent, TaskError};

use crate::{BoxError, Host, Losses, Reporter};

/// A running task, whose owner must report its end.
///
/// The reports of a [`Reporter`] never wait, fail or panic. Reporting therefore cannot
/// harm the work:
///
/// - Reports arrive in order. A report that is temporarily refused is sent again.
/// - While the server or the store is away, reports wait in a bounded buffer. When the
///   buffer is full, the oldest progress, log lines and output are dropped.
/// - The task's end returns the reports that were dropped, or refused for good.
/// - The end and the answers to commands always have room.
///
/// The owner ends the task with [`complete`](Self::complete), [`fail`](Self::fail) or
/// [`cancel`](Self::cancel). If the task is dropped without an end, by an early return
/// or a panic, it is reported as failed. The program's runtime must then live a moment
/// longer.
///
/// If the start is refused, nothing is reported, because another worker has the task.
#[must_use = "dropping the task reports it as failed: end it with complete()"]
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
        // Log the losses here and not at the refusal. At the refusal, locks are held,
        // and the program's log subscriber may report on this task.
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

/// Returns the end of a task that is dropped without one, by a panic or otherwise.
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

    /// Returns a handle that reports on the task. Clones are cheap, and a handle need
    /// not report the end.
    pub fn reporter(&self) -> Reporter<H> {
        self.reporter.clone()
    }

    /// Ends the task as completed. The end is already on its way when this returns. The
    /// future waits until the log has the end, and returns the lost reports.
    ///
    /// # Errors
    /// Returns an error if the end or the earlier start was refused, or if the bus or
    /// the client has stopped.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the end back.
    pub fn complete(self, result: impl Into<Option<Value>>) -> Ending<H> {
        self.end(NewEvent::task_completed(result))
    }

    /// Ends the task as failed, with a text, a [`TaskError`] or any error. The message
    /// contains the error's chain of causes. The future waits as for
    /// [`complete`](Self::complete).
    ///
    /// # Errors
    /// Returns the same errors as [`complete`](Self::complete).
    pub fn fail(self, error: impl Into<BoxError>) -> Ending<H> {
        self.end(NewEvent::task_failed(TaskError::of(error)))
    }

    /// Ends the task as cancelled. The future waits as for
    /// [`complete`](Self::complete).
    ///
    /// If the command `cancel` was [received](Reporter::cancelled), it is answered as
    /// completed.
    ///
    /// # Errors
    /// Returns the same errors as [`complete`](Self::complete).
    pub fn cancel<'a>(self, reason: impl Into<Option<&'a str>>) -> Ending<H> {
        self.reporter.answer_cancel();
        self.end(NewEvent::task_cancelled(reason))
    }

    /// Ends the task with this event. The future waits as for
    /// [`complete`](Self::complete).
    ///
    /// # Errors
    /// Returns the same errors as [`complete`](Self::complete).
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
    /// The reports before the end that are not in the log.
    pub losses: Losses<E>,
}

/// The future end of a task.
///
/// The end is already on its way. Dropping the future does not take it back.
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
