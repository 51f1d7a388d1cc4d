//! A task that this process runs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use serde_json::Value;
use tidings_client::protocol::{Data, EventType, LogStream, NewEvent, ProgressUpdate};
use tidings_client::{Ending, Losses, ReceiptError, Reporter, Stopped};
use tokio::runtime::Handle;

use crate::commands::Commands;
use crate::failure::{Fault, wrong};
use crate::operation::{Operation, Outcome};
use crate::owned::Owned;

/// A running task. The program must report how it ends.
#[derive(Debug)]
#[pyclass(frozen, module = "tidings._native")]
pub(crate) struct Task {
    inner: Owned<Inner>,
}

#[derive(Debug)]
struct Inner {
    reporter: Reporter,
    /// `None` once the task has ended.
    guard: Mutex<Option<tidings_client::Task>>,
    handle: Handle,
}

impl Task {
    pub(crate) fn new(task: tidings_client::Task, handle: Handle) -> Self {
        Self {
            inner: Owned::new(Inner {
                reporter: task.reporter(),
                guard: Mutex::new(Some(task)),
                handle,
            }),
        }
    }

    fn with<'a, R>(&'a self, act: impl FnOnce(&'a Inner) -> R) -> PyResult<R> {
        self.inner.with(act)
    }

    fn finish(&self, end: impl FnOnce(tidings_client::Task) -> Ending) -> PyResult<Operation> {
        let ending = self.with(|task| {
            let guard = lock(&task.guard).take()?;
            let ending = end(guard);
            Some(task.spawn(async move {
                let losses = ending.await?.losses;
                Ok::<_, ReceiptError>(told(&losses))
            }))
        })?;
        let ended = || Fault::new("ended", "the task has ended already");
        Ok(ending.ok_or_else(ended)?)
    }
}

impl Inner {
    fn spawn<T, E>(&self, future: impl Future<Output = Result<T, E>> + Send + 'static) -> Operation
    where
        Outcome: From<T>,
        Fault: From<E>,
    {
        Operation::spawn(&self.handle, future)
    }
}

/// Creates an event from its type and its data as JSON.
pub(crate) fn event(event_type: &str, data: &str) -> PyResult<NewEvent> {
    let event_type = EventType::new(event_type).map_err(|error| wrong(&error))?;
    let data = Data::parse(data).map_err(|error| wrong(&error))?;
    Ok(NewEvent::new(event_type, data))
}

#[pymethods]
impl Task {
    /// Reports the task's progress.
    #[pyo3(signature = (progress, message, current, total, stage))]
    fn progress(
        &self,
        progress: Option<f64>,
        message: Option<String>,
        current: Option<f64>,
        total: Option<f64>,
        stage: Option<String>,
    ) -> PyResult<()> {
        let mut update = ProgressUpdate::default();
        update.progress = progress;
        update.message = message;
        update.current = current;
        update.total = total;
        update.stage = stage;
        let event = NewEvent::progress_with(&update);
        self.with(|task| task.reporter.publish(event))
    }

    /// Reports lines of a log.
    #[pyo3(signature = (message, level, stream))]
    fn log(&self, message: &str, level: Option<&str>, stream: Option<&str>) -> PyResult<()> {
        let stream: Option<LogStream> = stream
            .map(str::parse)
            .transpose()
            .map_err(|error| wrong(&error))?;
        let event = NewEvent::log_with(message, level, stream);
        self.with(|task| task.reporter.publish(event))
    }

    /// Appends text to an output.
    fn output(&self, output_id: &str, text: &str) -> PyResult<()> {
        self.with(|task| {
            task.reporter
                .publish(NewEvent::output_delta(output_id, text));
        })
    }

    /// Reports any event.
    fn report(&self, event_type: &str, data: &str) -> PyResult<()> {
        let event = event(event_type, data)?;
        self.with(|task| task.reporter.publish(event))
    }

    /// Reports any event. The operation returns the server's answer.
    fn confirm(&self, event_type: &str, data: &str) -> PyResult<Operation> {
        let event = event(event_type, data)?;
        self.with(|task| {
            let receipt = task.reporter.try_publish(event);
            task.spawn(receipt)
        })
    }

    /// Ends the task with this event. The operation returns the numbers of refused and dropped
    /// reports as JSON.
    fn end(&self, event_type: &str, data: &str) -> PyResult<Operation> {
        let end = event(event_type, data)?;
        self.finish(|task| task.end(end))
    }

    /// Ends the task as cancelled, and completes the command `cancel`.
    fn cancel(&self, reason: &str) -> PyResult<Operation> {
        self.finish(|task| task.cancel(reason))
    }

    /// Returns whether the task was asked to stop.
    fn is_cancelled(&self) -> PyResult<bool> {
        self.with(|task| task.reporter.is_cancelled())
    }

    /// Waits until the task is asked to stop. The operation returns the name of the requester as
    /// JSON.
    fn cancelled(&self) -> PyResult<Operation> {
        self.with(|task| {
            let reporter = task.reporter.clone();
            task.spawn(async move {
                let cancelled = reporter.cancelled().await;
                Ok::<_, Stopped>(Value::from(cancelled.by).to_string())
            })
        })
    }

    /// Returns the commands that are sent to the task. From then on, the program must also answer
    /// `cancel`.
    fn commands(&self) -> PyResult<Commands> {
        self.with(|task| Commands::new(task.reporter.commands()))
    }
}

/// Returns the numbers of lost reports and the first refusal, as JSON.
fn told(losses: &Losses) -> String {
    let first = losses.refused.first();
    let first = first.map(|refusal| format!("{}: {}", refusal.event_type, refusal.error));
    let told = serde_json::json!({
        "refused": losses.refused_count,
        "dropped": losses.dropped,
        "first_refused": first,
    });
    told.to_string()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
