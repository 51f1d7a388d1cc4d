//! A scope runs work as a task. The end of the work is reported in every case.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use serde::Serialize;
use serde_json::Value;
use tidings_protocol::{Cancelled, NewEvent, TaskError};

use crate::{BoxError, Host, Reporter, Task, TaskBuilder};

/// The reason why the work of a task failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError<E: std::error::Error + 'static> {
    /// The work has not begun. The start was refused, or the bus or the client has
    /// stopped.
    #[error("the task was not started")]
    NotStarted(#[source] E),
    /// The work has failed, and its task has failed as well.
    #[error("the task failed")]
    Failed(#[source] BoxError),
    /// The task was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl<H: Host> TaskBuilder<H> {
    /// Starts the task, does the work, and reports its end.
    ///
    /// - `Ok` completes the task. The value is the task's result; `()` stands for no
    ///   result.
    /// - `Err` fails the task, with the error's causes in the message.
    /// - A panic fails the task with the code `panicked`, and the panic then continues.
    /// - The command `cancel` or the shutdown of the program cancels the task. Work
    ///   that has called [`cancelled`](Reporter::cancelled) or
    ///   [`commands`](Reporter::commands) decides when to stop; its `Err` then cancels
    ///   the task. Other work is dropped at its next `await`.
    ///
    /// Returns when the end is in the log or the log cannot be reached. In the second
    /// case, the end is reported as soon as possible.
    ///
    /// # Errors
    /// Returns an error if the task could not be started, failed, or was cancelled.
    ///
    /// # Cancel safety
    /// If the future is dropped, the work is dropped and the task is reported as
    /// failed.
    pub async fn run<F, W, T>(self, work: F) -> Result<T, RunError<H::Error>>
    where
        F: FnOnce(Reporter<H>) -> W,
        W: Future<Output = Result<T, BoxError>>,
        T: Serialize,
    {
        let task = self.start().await.map_err(RunError::NotStarted)?;
        let reporter = task.reporter();
        let _open = reporter.host().open_scope();
        let work = AssertUnwindSafe(async { work(reporter.clone()).await }).catch_unwind();
        let done = tokio::select! {
            biased;
            done = work => Some(done),
            () = reporter.cancelled_unminded() => None,
        };
        let cancelled = reporter.cancellation();
        match (done, cancelled) {
            (Some(Ok(Ok(value))), _) => {
                settle(task, NewEvent::task_completed(result(&value))).await;
                Ok(value)
            }
            (Some(Err(panic)), _) => {
                drop(task.end(NewEvent::task_failed(panicked(panic.as_ref()))));
                std::panic::resume_unwind(panic)
            }
            (None | Some(Ok(Err(_))), Some(cancelled)) => {
                task.answer_cancel();
                let reason = format!("cancelled by {}", cancelled.by);
                settle(task, NewEvent::task_cancelled(reason.as_str())).await;
                Err(cancelled.into())
            }
            (Some(Ok(Err(error))), None) => {
                let failed = NewEvent::task_failed(TaskError::chain(error.as_ref()));
                settle(task, failed).await;
                Err(RunError::Failed(error))
            }
            (None, None) => unreachable!("only a cancellation ends the work early"),
        }
    }
}

fn result(value: &impl Serialize) -> Option<Value> {
    match serde_json::to_value(value) {
        Ok(Value::Null) => None,
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!(%error, "the result of a task cannot be written as JSON");
            None
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> TaskError {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    let text = text.unwrap_or_else(|| "the program that did this panicked".to_owned());
    TaskError::new(text).with_code("panicked")
}

/// Waits until the log has the end, or cannot be reached.
async fn settle<H: Host>(task: Task<H>, event: NewEvent) {
    let reporter = task.reporter();
    let ending = task.end(event);
    tokio::select! {
        biased;
        ended = ending => if let Err(error) = ended {
            tracing::warn!(task_id = %reporter.id(), %error, "the end of a task was refused");
        },
        () = reporter.host().parted() => {}
    }
}
