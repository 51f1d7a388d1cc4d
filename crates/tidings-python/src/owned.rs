//! Values that belong to the process that created them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::PyResult;

use crate::failure::Gone;

/// A value that only the process that created it may touch.
///
/// After `fork` the child has a copy of the memory, but none of the threads. A lock that was held
/// by one of these threads stays locked for ever. Data that the parent has buffered is for the
/// parent to send. Therefore the child can neither use nor drop the value, and its memory is left
/// alone.
///
/// The same holds after a panic. If a program closes all descriptors, as daemons do, it also closes
/// Tokio's. Tokio then panics in the thread that calls it.
#[derive(Debug)]
pub(crate) struct Owned<T> {
    process: u32,
    broken: AtomicBool,
    value: Option<T>,
}

impl<T> Owned<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            process: std::process::id(),
            broken: AtomicBool::new(false),
            value: Some(value),
        }
    }

    fn is_usable(&self) -> bool {
        self.process == std::process::id() && !self.broken.load(Ordering::Relaxed)
    }

    /// Calls `act` with the value.
    ///
    /// # Errors
    /// Returns [`Gone`] if another process has created the value, or if a panic has broken it.
    pub(crate) fn with<'a, R>(&'a self, act: impl FnOnce(&'a T) -> R) -> PyResult<R> {
        let value = self.value.as_ref().filter(|_| self.is_usable());
        let value = value.ok_or_else(|| Gone::new_err("another process has made this"))?;
        catch_unwind(AssertUnwindSafe(|| act(value))).map_err(|_| {
            self.broken.store(true, Ordering::Relaxed);
            Gone::new_err("the client's descriptors were closed")
        })
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        let value = self.value.take();
        if self.is_usable() {
            // Catch a panic here, because it would end the interpreter.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
        } else {
            std::mem::forget(value);
        }
    }
}
