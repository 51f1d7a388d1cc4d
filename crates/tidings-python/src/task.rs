//! A task that this process does.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use serde_json::Value;
use tidings_client::protocol::{Data, EventType, NewEvent};
use tidings_client::{Ending, Losses, ReceiptError, Reporter, Stopped};
use tokio::runtime::Handle;

use crate::commands::Commands;
use crate::failure::{Fault, wrong};
use crate::operation::{Operation, Outcome};
use crate::owned::Owned;

/// A running task, and the duty to say how it ended.
#[derive(Debug)]
#[pyclass(frozen, module = "tidings._native")]
pub(crate) struct Task {
    inner: Owned<Inner>,
}

#[derive(Debug)]
struct Inner {
    reporter: Reporter,
    /// Nothing once the task has ended.
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

/// Reads an event's type and data.
pub(crate) fn event(event_type: &str, data: &str) -> PyResult<NewEvent> {
    let event_type = EventType::new(event_type).map_err(|error| wrong(&error))?;
    let data = Data::parse(data).map_err(|error| wrong(&error))?;
    Ok(NewEvent::new(event_type, data))
}

#[pymethods]
impl Task {
    /// Reports how far the task is, in per cent.
    #[pyo3(signature = (percent, message = None))]
    fn progress(&self, percent: f64, message: Option<&str>) -> PyResult<()> {
        self.with(|task| task.reporter.progress(percent, message))
    }

    /// Reports how far the task is, as so much of so much.
    #[pyo3(signature = (current, total, message = None))]
    fn progress_of(&self, current: f64, total: f64, message: Option<&str>) -> PyResult<()> {
        self.with(|task| task.reporter.progress_of(current, total, message))
    }

    /// Reports lines of a log.
    fn log(&self, message: &str) -> PyResult<()> {
        self.with(|task| task.reporter.log(message))
    }

    /// Adds to an output.
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

    /// Reports any event; the operation gives the server's answer.
    fn confirm(&self, event_type: &str, data: &str) -> PyResult<Operation> {
        let event = event(event_type, data)?;
        self.with(|task| {
            let receipt = task.reporter.try_publish(event);
            task.spawn(receipt)
        })
    }

    /// Ends the task with this event. The operation gives how many reports were refused
    /// and dropped, as JSON.
    fn end(&self, event_type: &str, data: &str) -> PyResult<Operation> {
        let end = event(event_type, data)?;
        self.finish(|task| task.end(end))
    }

    /// Ends the task as cancelled, as the command `cancel` asks for, which is completed.
    fn cancel(&self, reason: &str) -> PyResult<Operation> {
        self.finish(|task| task.cancel(reason))
    }

    /// Returns whether the task is to stop.
    fn is_cancelled(&self) -> PyResult<bool> {
        self.with(|task| task.reporter.is_cancelled())
    }

    /// Waits until the task is to stop; gives who asked for it, as JSON.
    fn cancelled(&self) -> PyResult<Operation> {
        self.with(|task| {
            let reporter = task.reporter.clone();
            task.spawn(async move {
                let cancelled = reporter.cancelled().await;
                Ok::<_, Stopped>(Value::from(cancelled.by).to_string())
            })
        })
    }

    /// Returns the commands that the task is given. The program then answers `cancel`
    /// itself, too.
    fn commands(&self) -> PyResult<Commands> {
        self.with(|task| Commands::new(task.reporter.commands()))
    }
}

/// What of a task's reports was lost, as JSON.
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
