//! Operations that are in progress.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyBool;
use tidings_client::Acknowledged;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::bell::{Bell, timeout};
use crate::failure::Fault;
use crate::owned::Owned;
use crate::task::Task;

/// The result of an operation.
#[derive(Debug)]
pub(crate) enum Outcome {
    Nothing,
    Flag(bool),
    Count(usize),
    Json(String),
    Published(Acknowledged),
    Task((tidings_client::Task, Handle)),
}

type Given = Result<Outcome, Fault>;

#[derive(Debug, Default)]
struct Slot {
    bell: Arc<Bell>,
    given: Mutex<Option<Given>>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<Given>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sender of an operation's result. It also rings the bell if the future is dropped without a
/// result, as when the client's thread ends.
struct Answer(Arc<Slot>);

impl Answer {
    fn give(&self, given: Given) {
        self.0.lock().get_or_insert(given);
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.give(Err(Fault::new("stopped", "the client has stopped")));
        self.0.bell.ring();
    }
}

/// An operation in progress. Wait for it, or register a callback.
#[derive(Debug)]
#[pyclass(frozen, module = "tidings._native")]
pub(crate) struct Operation {
    inner: Owned<(Arc<Slot>, AbortHandle)>,
}

impl Operation {
    pub(crate) fn spawn<T, E>(
        handle: &Handle,
        future: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Self
    where
        Outcome: From<T>,
        Fault: From<E>,
    {
        let slot = Arc::new(Slot::default());
        let answer = Answer(Arc::clone(&slot));
        let running = handle.spawn(async move {
            let given = future.await;
            answer.give(given.map(Outcome::from).map_err(Fault::from));
        });
        Self {
            inner: Owned::new((slot, running.abort_handle())),
        }
    }
}

#[pymethods]
impl Operation {
    /// Waits until the operation is done, for at most `seconds`. Returns whether it is done.
    #[pyo3(signature = (seconds = None))]
    fn wait(&self, py: Python<'_>, seconds: Option<f64>) -> PyResult<bool> {
        let bell = self.inner.with(|inner| &inner.0.bell)?;
        bell.wait(py, timeout(seconds)?)
    }

    /// Registers a callback. It is called once, from any thread, when the operation is done.
    fn on_done(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
        let bell = self.inner.with(|inner| &inner.0.bell)?;
        bell.on_ring(py, callback);
        Ok(())
    }

    /// Returns the result once. Raises an exception if the operation has failed.
    fn take(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let given = self.inner.with(|inner| inner.0.lock().take())?;
        match given {
            Some(Ok(outcome)) => outcome.into_python(py),
            Some(Err(fault)) => Err(fault.into()),
            None => Err(Fault::new("pending", "there is no answer, or it was taken").into()),
        }
    }

    /// Gives the operation up. Events that were sent stay sent.
    fn cancel(&self) -> PyResult<()> {
        self.inner.with(|inner| inner.1.abort())
    }
}

impl Outcome {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(match self {
            Self::Nothing => py.None(),
            Self::Flag(flag) => PyBool::new(py, flag).to_owned().into_any().unbind(),
            Self::Count(count) => count.into_pyobject(py)?.into_any().unbind(),
            Self::Json(text) => text.into_pyobject(py)?.into_any().unbind(),
            Self::Published(published) => {
                let fields = (
                    published.epoch.as_str(),
                    published.offset.get(),
                    published.duplicate,
                    published.run,
                );
                fields.into_pyobject(py)?.into_any().unbind()
            }
            Self::Task((task, handle)) => Py::new(py, Task::new(task, handle))?.into_any(),
        })
    }
}

macro_rules! outcomes {
    ($($type:ty => $variant:ident),*) => {$(
        impl From<$type> for Outcome {
            fn from(value: $type) -> Self {
                Self::$variant(value)
            }
        }
    )*};
}

outcomes!(bool => Flag, usize => Count, String => Json, Acknowledged => Published, (tidings_client::Task, Handle) => Task);

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Nothing
    }
}
