//! A task as a scope: work whose end is reported whatever becomes of it.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use serde::Serialize;
use serde_json::Value;
use tidings_protocol::{Cancelled, NewEvent, TaskError};

use super::{Ending, Reporter, Task, TaskBuilder};
use crate::error::{BoxError, ReceiptError};
use crate::state::Status;

/// Why the work of a task came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The work was not begun: the server refused the start, or the client has stopped.
    #[error("the task was not started")]
    NotStarted(#[source] ReceiptError),
    /// The work failed, and the task with it.
    #[error("the task failed")]
    Failed(#[source] BoxError),
    /// The task was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl TaskBuilder {
    /// Starts the task, does the work, and reports how it ended.
    ///
    /// - `Ok` completes the task. The value is its result; `()` is none.
    /// - `Err` fails it, with the error's causes in the message.
    /// - A panic fails it with the code `panicked`, and goes on.
    /// - The command `cancel`, or [`Client::close`](crate::Client::close), cancels it.
    ///   Work that has asked for [`cancelled`](Reporter::cancelled) or
    ///   [`commands`](Reporter::commands) decides when to stop: an `Err` is then the
    ///   task's cancellation. Other work is dropped at its next `await`.
    ///
    /// Returns when the server has the end, or when there is no connection to it; the
    /// client then sends the end as soon as it can.
    ///
    /// ```no_run
    /// # async fn example(client: tidings_client::Client) -> Result<(), tidings_client::RunError> {
    /// let size = client
    ///     .task("copy-1")
    ///     .name("Copy")
    ///     .run(|task| async move {
    ///         task.progress(50.0, "half of it");
    ///         let bytes = std::fs::copy("a", "b")?;
    ///         Ok(bytes)
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The task was not started, failed, or was cancelled.
    ///
    /// # Cancel safety
    /// Dropped, the work is dropped and the task is reported as failed.
    pub async fn run<F, W, T>(self, work: F) -> Result<T, RunError>
    where
        F: FnOnce(Reporter) -> W,
        W: Future<Output = Result<T, BoxError>>,
        T: Serialize,
    {
        let task = self.start().await.map_err(RunError::NotStarted)?;
        let reporter = task.reporter();
        let _open = reporter.client().open_scope();
        let work = AssertUnwindSafe(async { work(reporter.clone()).await }).catch_unwind();
        let done = tokio::select! {
            biased;
            done = work => Some(done),
            () = reporter.cancelled_unminded() => None,
        };
        let cancelled = reporter.cancellation();
        match (done, cancelled) {
            (Some(Ok(Ok(value))), _) => {
                settle(&reporter, task.complete(result(&value))).await;
                Ok(value)
            }
            (Some(Err(panic)), _) => {
                drop(task.end(NewEvent::task_failed(panicked(panic.as_ref()))));
                std::panic::resume_unwind(panic)
            }
            (None | Some(Ok(Err(_))), Some(cancelled)) => {
                settle(&reporter, cancel(task, &cancelled)).await;
                Err(cancelled.into())
            }
            (Some(Ok(Err(error))), None) => {
                let failed = NewEvent::task_failed(TaskError::chain(error.as_ref()));
                settle(&reporter, task.end(failed)).await;
                Err(RunError::Failed(error))
            }
            (None, None) => unreachable!("only a cancellation ends the work early"),
        }
    }
}

fn cancel(task: Task, cancelled: &Cancelled) -> Ending {
    task.answer_cancel();
    let reason = format!("cancelled by {}", cancelled.by);
    task.cancel(reason.as_str())
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

/// Waits until the server has the end, while there is a connection.
async fn settle(reporter: &Reporter, ending: Ending) {
    let mut status = reporter.client().watch_status();
    let parted = async { drop(status.wait_for(|status| *status != Status::Connected).await) };
    tokio::select! {
        ended = ending => if let Err(error) = ended {
            tracing::warn!(task = %reporter.id(), %error, "the end of a task was refused");
        },
        () = parted => {}
    }
}
