//! Watches: streams of updates, taken one at a time.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use pyo3::prelude::*;
use serde::Serialize;
use tidings_client::protocol::{Event, Gap, Offset, ResetReason, TaskId, TaskSnapshot};
use tidings_client::{Start, Update};

use crate::bell::{Bell, timeout};
use crate::failure::{Fault, chain, wrong};
use crate::owned::Owned;

/// A stream from which Python takes an item after the stream's bell has rung.
///
/// Taking an item is a single step of the consumer. A coroutine that is cancelled while it waits
/// therefore loses no item.
#[derive(Debug)]
pub(crate) struct Source<S> {
    stream: Mutex<S>,
    bell: Arc<Bell>,
}

impl<S: Stream + Unpin> Source<S> {
    pub(crate) fn new(stream: S) -> Owned<Self> {
        Owned::new(Self {
            stream: Mutex::new(stream),
            bell: Arc::default(),
        })
    }

    /// Takes the next item. If there is none yet, the bell rings as soon as there is one.
    pub(crate) fn poll(&self) -> Poll<Option<S::Item>> {
        self.bell.reset();
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let polled = Pin::new(&mut *stream).poll_next(&mut Context::from_waker(&waker));
        drop(stream);
        if polled.is_ready() {
            // There may be another item, for which another thread waits.
            self.bell.ring();
        }
        polled
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&S) -> T) -> T {
        act(&self.stream.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }
}

/// The updates of watched tasks. Take them with `poll`.
#[derive(Debug)]
#[pyclass(frozen, module = "tidings._native")]
pub(crate) struct Watch {
    source: Owned<Source<tidings_client::Watch>>,
}

/// An update, as JSON.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Told<'a> {
    Snapshot {
        snapshot: &'a TaskSnapshot,
    },
    Event {
        event: &'a Event,
    },
    Gap {
        task_id: &'a TaskId,
        gap: &'a Gap,
        snapshot: Option<&'a TaskSnapshot>,
    },
    Removed {
        task_id: &'a TaskId,
    },
    Reset {
        task_id: &'a TaskId,
        reason: ResetReason,
        offset: Offset,
        snapshot: &'a TaskSnapshot,
    },
    Disconnected {
        reason: String,
        retry_in: Option<f64>,
    },
    Reconnected,
    /// A later version of the client may have other kinds of updates.
    Other,
}

impl<'a> From<&'a Update> for Told<'a> {
    fn from(update: &'a Update) -> Self {
        match update {
            Update::Snapshot(snapshot) => Self::Snapshot { snapshot },
            Update::Event(event) => Self::Event { event },
            Update::Gap {
                task_id,
                gap,
                snapshot,
            } => Self::Gap {
                task_id,
                gap,
                snapshot: snapshot.as_deref(),
            },
            Update::Removed { task_id } => Self::Removed { task_id },
            Update::Reset {
                task_id,
                reason,
                offset,
                snapshot,
            } => Self::Reset {
                task_id,
                reason: *reason,
                offset: *offset,
                snapshot,
            },
            Update::Disconnected { loss, retry_in } => Self::Disconnected {
                reason: chain(loss),
                retry_in: retry_in.map(|pause| pause.as_secs_f64()),
            },
            Update::Reconnected => Self::Reconnected,
            _ => Self::Other,
        }
    }
}

/// Writes a value as JSON.
///
/// # Errors
/// Returns an error if the value cannot be written, which would be a bug in this crate.
pub(crate) fn json(value: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::new("invalid", error.to_string()))
}

impl Watch {
    pub(crate) fn new(watch: tidings_client::Watch) -> Self {
        Self {
            source: Source::new(watch),
        }
    }
}

/// Returns where a watch starts: at `since` if it is given, otherwise with this number of `history`
/// events.
pub(crate) fn start(since: Option<&str>, history: u32) -> PyResult<Start> {
    Ok(match since {
        Some(since) => {
            let since: tidings_client::protocol::Since =
                since.parse().map_err(|error| wrong(&error))?;
            Start::from(since)
        }
        None if history > 0 => Start::History(history),
        None => Start::Live,
    })
}

#[pymethods]
impl Watch {
    /// Takes the next update as JSON, or returns `None` if there is none yet.
    fn poll(&self) -> PyResult<Option<String>> {
        match self.source.with(Source::poll)? {
            Poll::Ready(Some(Ok(update))) => Ok(Some(json(&Told::from(&update))?)),
            Poll::Ready(Some(Err(error))) => Err(Fault::from(error).into()),
            Poll::Ready(None) => Err(Fault::new("stopped", "the watch has ended").into()),
            Poll::Pending => Ok(None),
        }
    }

    /// Waits until there may be an update, for at most `seconds`. Returns whether there may be one.
    #[pyo3(signature = (seconds = None))]
    fn wait(&self, py: Python<'_>, seconds: Option<f64>) -> PyResult<bool> {
        let bell = self.source.with(Source::bell)?;
        bell.wait(py, timeout(seconds)?)
    }

    /// Registers a callback. It is called once, from any thread, when there may be an update.
    fn on_ready(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
        let bell = self.source.with(Source::bell)?;
        bell.on_ring(py, callback);
        Ok(())
    }

    /// Ends all present and later calls of `wait` at once.
    fn close(&self) -> PyResult<()> {
        self.source.with(|source| source.bell().close())
    }

    /// Returns a task's state after the last taken update, as JSON.
    fn state(&self, task_id: &str) -> PyResult<Option<String>> {
        let task_id = TaskId::new(task_id).map_err(|error| wrong(&error))?;
        let state = self
            .source
            .with(|source| source.with(|watch| watch.state(&task_id).cloned()))?;
        Ok(state.map(|state| json(&*state)).transpose()?)
    }
}
