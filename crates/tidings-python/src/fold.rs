//! The public fold: the state of a task, computed from messages.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use tidings_client::protocol::{self, Event, ServerMessage, TaskSnapshot};

use crate::failure::wrong;
use crate::watch::json;

/// Folds the messages about one task into the task's state.
#[derive(Debug, Default)]
#[pyclass(frozen, module = "tidings._native")]
pub(crate) struct Fold {
    fold: Mutex<protocol::Fold>,
}

impl Fold {
    fn with<T>(&self, act: impl FnOnce(&mut protocol::Fold) -> T) -> T {
        act(&mut self.fold.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods]
impl Fold {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Folds a message from the server.
    fn message(&self, text: &str) -> PyResult<()> {
        let message = ServerMessage::decode(text).map_err(|error| wrong(&error))?;
        self.with(|fold| fold.message(&message))
            .map_err(|error| wrong(&error))
    }

    /// Replaces the state with a snapshot.
    fn snapshot(&self, text: &str) -> PyResult<()> {
        let snapshot: TaskSnapshot = serde_json::from_str(text).map_err(|error| wrong(&error))?;
        self.with(|fold| fold.snapshot(Arc::new(snapshot)));
        Ok(())
    }

    /// Folds an event.
    fn event(&self, text: &str) -> PyResult<()> {
        let event: Event = serde_json::from_str(text).map_err(|error| wrong(&error))?;
        self.with(|fold| fold.event(&event))
            .map_err(|error| wrong(&error))
    }

    /// Returns the current state as JSON, or `None` before the first snapshot.
    fn state(&self) -> PyResult<Option<String>> {
        let state = self.with(|fold| fold.state().cloned());
        Ok(state.map(|state| json(&*state)).transpose()?)
    }
}
