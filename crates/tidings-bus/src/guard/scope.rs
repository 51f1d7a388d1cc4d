//! A task as a scope: work whose end is reported whatever becomes of it.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use serde::Serialize;
use serde_json::Value;
use tidings_protocol::{Cancelled, IdError, NewEvent, Outcome, TaskError, TaskId};
use tokio::time::Instant;

use super::{BoxError, Reporter, Task, TaskBuilder};
use crate::bus::EventBus;
use crate::deliver::subscription::Filter;
use crate::publish::append::{PublishError, Published};
use crate::store::StoreError;

/// Why the work of a task came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The work was not begun: the start was refused, or the bus has been shut down.
    #[error("the task was not started")]
    NotStarted(#[source] PublishError),
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
    /// - The command `cancel`, or [`EventBus::shutdown`], cancels it.
    ///   Work that has asked for [`cancelled`](Reporter::cancelled) or
    ///   [`commands`](Reporter::commands) decides when to stop: an `Err` is then the
    ///   task's cancellation. Other work is dropped at its next `await`.
    ///
    /// Returns when the end is in the log.
    ///
    /// ```no_run
    /// # async fn example(bus: tidings_bus::EventBus) -> Result<(), tidings_bus::guard::RunError> {
    /// let size = bus
    ///     .begin("copy-1")
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
        let _open = reporter.bus().shared.scopes.token();
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
                cancel(task, &cancelled).await;
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

async fn cancel(task: Task, cancelled: &Cancelled) {
    task.answer_cancel();
    let reason = format!("cancelled by {}", cancelled.by);
    settle(task, NewEvent::task_cancelled(reason.as_str())).await;
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

/// Waits until the log has the end.
async fn settle(task: Task, event: NewEvent) {
    let task_id = task.id().clone();
    if let Err(error) = task.end(event).await {
        tracing::warn!(%task_id, %error, "the end of a task was refused");
    }
}

impl EventBus {
    /// Does work as a task; see [`TaskBuilder::run`].
    ///
    /// # Errors
    /// The task was not started, failed, or was cancelled.
    ///
    /// # Cancel safety
    /// Dropped, the work is dropped and the task is reported as failed.
    pub async fn run<I, F, W, T>(&self, task_id: I, work: F) -> Result<T, RunError>
    where
        I: TryInto<TaskId>,
        I::Error: Into<IdError>,
        F: FnOnce(Reporter) -> W,
        W: Future<Output = Result<T, BoxError>>,
        T: Serialize,
    {
        self.begin(task_id).run(work).await
    }

    /// Publishes one event without waiting, from any thread: for `Drop`, rayon and
    /// plain threads.
    ///
    /// # Errors
    /// As [`publish`](Self::publish). A bus with a store has to wait for it, and
    /// answers `Unavailable`.
    pub fn try_publish(
        &self,
        task_id: &TaskId,
        event: NewEvent,
    ) -> Result<Published, PublishError> {
        if self.has_store() {
            let cause = "an event goes to the store first: use publish";
            let error = StoreError::Unavailable(cause.into());
            return Err(PublishError::Unavailable(Arc::new(error)));
        }
        let prepared = self.shared.prepare(event)?;
        self.shared
            .publish_alone(task_id, &prepared, Instant::now())
    }

    pub(super) fn has_store(&self) -> bool {
        self.shared.store.is_some()
    }

    /// Waits until a task has ended. A task that has ended already is not waited for;
    /// one that is not known yet is. None if the bus is shut down before.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn wait(&self, task_id: &TaskId) -> Option<Outcome> {
        // Subscribed first: the end is in the state or comes as an event.
        let mut deliveries = self.subscribe(Filter::task(task_id.clone()));
        loop {
            if let Some(outcome) = self.snapshot(task_id).as_ref().and_then(Outcome::of) {
                return Some(outcome);
            }
            deliveries.recv().await?;
        }
    }
}
