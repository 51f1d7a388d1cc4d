//! A bell: the client's thread rings it, and Python waits for it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::runtime::is_driver;

/// The time between two checks for signals, such as Ctrl-C, while a thread waits.
const SIGNALS: Duration = Duration::from_millis(100);

/// Notifies Python that the client's thread has made progress.
///
/// A thread waits with [`wait`](Self::wait). An event loop registers a callback with
/// [`on_ring`](Self::on_ring).
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rung: bool,
    /// True if the bell stays rung.
    closed: bool,
    callbacks: Vec<Py<PyAny>>,
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resets the bell to "not rung", unless it is closed.
    pub(crate) fn reset(&self) {
        let mut state = self.lock();
        state.rung = state.closed;
    }

    /// Rings the bell for good. All present and later waits end at once.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.ring();
    }

    pub(crate) fn is_rung(&self) -> bool {
        self.lock().rung
    }

    /// Rings the bell. Each registered callback is called once, with the interpreter. If the
    /// interpreter is shutting down, the callbacks are not called.
    pub(crate) fn ring(&self) {
        let callbacks = {
            let mut state = self.lock();
            state.rung = true;
            std::mem::take(&mut state.callbacks)
        };
        self.rung.notify_all();
        if !callbacks.is_empty() {
            Python::try_attach(|py| callbacks.iter().for_each(|callback| call(py, callback)));
        }
    }

    /// Registers `callback` to be called once when the bell rings. If the bell has already rung,
    /// calls it now. An object that was registered several times is called once.
    pub(crate) fn on_ring(&self, py: Python<'_>, callback: Py<PyAny>) {
        {
            let mut state = self.lock();
            if !state.rung {
                if !state.callbacks.iter().any(|known| known.is(&callback)) {
                    state.callbacks.push(callback);
                }
                return;
            }
        }
        call(py, &callback);
    }

    /// Waits until the bell rings. Releases the interpreter meanwhile. Returns whether the bell has
    /// rung.
    ///
    /// # Errors
    /// Returns the exception of a signal handler, such as `KeyboardInterrupt` after Ctrl-C. Returns
    /// an error on a thread that drives a client, unless the bell has rung.
    pub(crate) fn wait(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<bool> {
        // A timeout too long for the clock counts as no timeout.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        if is_driver() && !self.is_rung() {
            let waits =
                "the client's own thread, which has called this, cannot wait for the client";
            return Err(PyRuntimeError::new_err(waits));
        }
        loop {
            let rung = py.detach(|| self.wait_a_moment(deadline));
            if rung {
                return Ok(true);
            }
            py.check_signals()?;
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(self.is_rung());
            }
        }
    }

    fn wait_a_moment(&self, deadline: Option<Instant>) -> bool {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let moment = left.map_or(SIGNALS, |left| left.min(SIGNALS));
        let state = self.lock();
        let waited = self
            .rung
            .wait_timeout_while(state, moment, |state| !state.rung);
        waited.unwrap_or_else(PoisonError::into_inner).0.rung
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

fn call(py: Python<'_>, callback: &Py<PyAny>) {
    if let Err(error) = callback.call0(py) {
        // The event loop may have been closed in the meantime.
        error.write_unraisable(py, None);
    }
}

/// Reads a timeout in seconds. `None` means no timeout.
///
/// # Errors
/// Returns an error if the number is not a valid duration.
pub(crate) fn timeout(seconds: Option<f64>) -> PyResult<Option<Duration>> {
    let Some(seconds) = seconds else {
        return Ok(None);
    };
    let duration = Duration::try_from_secs_f64(seconds.max(0.0));
    duration
        .map(Some)
        .map_err(|error| crate::failure::wrong(&error))
}
