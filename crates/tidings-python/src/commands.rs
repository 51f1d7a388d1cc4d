//! The commands that are sent to a task.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use pyo3::prelude::*;
use serde_json::Value;
use tidings_client::Receipt;

use crate::bell::timeout;
use crate::failure::{Fault, wrong};
use crate::owned::Owned;
use crate::watch::Source;

/// The commands that are sent to a task. Take them with `poll`.
#[derive(Debug)]
#[pyclass(frozen, module = "tidings._native")]
pub(crate) struct Commands {
    source: Owned<Source<tidings_client::Commands>>,
}

impl Commands {
    pub(crate) fn new(commands: tidings_client::Commands) -> Self {
        Self {
            source: Source::new(commands),
        }
    }
}

#[pymethods]
impl Commands {
    /// Takes the next command, or returns `None` if there is none yet.
    fn poll(&self) -> PyResult<Option<Command>> {
        match self.source.with(Source::poll)? {
            Poll::Ready(Some(Ok(command))) => Ok(Some(Command::new(command))),
            Poll::Ready(Some(Err(error))) => Err(Fault::from(error).into()),
            Poll::Ready(None) => Err(Fault::new("stopped", "the client has stopped").into()),
            Poll::Pending => Ok(None),
        }
    }

    /// Waits until there may be a command, for at most `seconds`. Returns whether there may be one.
    #[pyo3(signature = (seconds = None))]
    fn wait(&self, py: Python<'_>, seconds: Option<f64>) -> PyResult<bool> {
        let bell = self.source.with(Source::bell)?;
        bell.wait(py, timeout(seconds)?)
    }

    /// Registers a callback. It is called once, from any thread, when there may be a command.
    fn on_ready(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
        let bell = self.source.with(Source::bell)?;
        bell.on_ring(py, callback);
        Ok(())
    }
}

/// A command, which the program must answer.
#[derive(Debug)]
#[pyclass(frozen, module = "tidings._native")]
pub(crate) struct Command {
    command: Owned<Mutex<Option<tidings_client::Command>>>,
    /// The id of the command.
    #[pyo3(get)]
    id: String,
    /// The name of the command.
    #[pyo3(get)]
    name: String,
    /// The arguments as JSON.
    #[pyo3(get)]
    args: Option<String>,
    /// The name of the user or program that sent the command.
    #[pyo3(get)]
    by: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Command {
    fn new(command: tidings_client::Command) -> Self {
        Self {
            id: command.id().as_str().to_owned(),
            name: command.name().to_owned(),
            args: command.args().map(|args| args.as_str().to_owned()),
            by: command.by().to_owned(),
            command: Owned::new(Mutex::new(Some(command))),
        }
    }

    fn answer(&self, answer: impl FnOnce(tidings_client::Command) -> Receipt) -> PyResult<()> {
        let answered = self.command.with(|command| {
            let command = lock(command).take();
            // The client repeats the answer until the server has received it.
            command.map(|command| drop(answer(command)))
        })?;
        match answered {
            Some(()) => Ok(()),
            None => Err(Fault::new("ended", "the command was answered already").into()),
        }
    }
}

#[pymethods]
impl Command {
    /// Answers that the program will carry out the command.
    fn accept(&self) -> PyResult<()> {
        self.command.with(|command| {
            if let Some(command) = lock(command).as_mut() {
                drop(command.accept());
            }
        })
    }

    /// Answers that the command is carried out.
    #[pyo3(signature = (result = None))]
    fn complete(&self, result: Option<&str>) -> PyResult<()> {
        let result: Option<Value> = result
            .map(serde_json::from_str)
            .transpose()
            .map_err(|error| wrong(&error))?;
        self.answer(|command| command.complete(result))
    }

    /// Answers that the program will not carry out the command, and why.
    fn reject(&self, reason: &str) -> PyResult<()> {
        self.answer(|command| command.reject(reason))
    }
}
