//! The states of tasks, from the updates of a watch.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_protocol::{TaskId, TaskSnapshot};

use crate::update::Update;

/// The tasks that a watch has told of, each as it is after the last update.
#[derive(Debug, Default)]
pub(crate) struct States(BTreeMap<TaskId, Arc<TaskSnapshot>>);

impl States {
    pub(crate) fn get(&self, task_id: &TaskId) -> Option<&Arc<TaskSnapshot>> {
        self.0.get(task_id)
    }

    /// Counts an update.
    pub(crate) fn take(&mut self, update: &Update) {
        if let Some(state) = update.snapshot() {
            self.0.insert(state.task_id.clone(), Arc::clone(state));
        }
        match update {
            Update::Event(event) => {
                // History is counted in the snapshot already.
                if let Some(state) = self.0.get_mut(&event.task_id)
                    && event.offset > state.offset
                    && let Ok(payload) = event.payload()
                {
                    Arc::make_mut(state).apply(&payload, event.offset, event.timestamp);
                }
            }
            Update::Removed { task_id } => {
                self.0.remove(task_id);
            }
            _ => {}
        }
    }
}
