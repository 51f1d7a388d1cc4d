//! The states of tasks, from the updates of a watch.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_protocol::{Fold, TaskId, TaskSnapshot};

use crate::update::Update;

/// The tasks that a watch has told of, each as it is after the last update.
#[derive(Debug, Default)]
pub(crate) struct States(BTreeMap<TaskId, Fold>);

impl States {
    pub(crate) fn get(&self, task_id: &TaskId) -> Option<&Arc<TaskSnapshot>> {
        self.0.get(task_id)?.state()
    }

    /// Counts an update.
    pub(crate) fn take(&mut self, update: &Update) {
        if let Some(state) = update.snapshot() {
            let fold = self.0.entry(state.task_id.clone()).or_default();
            fold.snapshot(Arc::clone(state));
        }
        match update {
            Update::Event(event) => {
                if let Some(fold) = self.0.get_mut(&event.task_id)
                    && let Err(error) = fold.event(event)
                {
                    tracing::debug!(%error, task_id = %event.task_id, "an event was not counted");
                }
            }
            Update::Removed { task_id } => {
                self.0.remove(task_id);
            }
            _ => {}
        }
    }
}
