//! The state of each task, kept current from what the watch brings.

use std::collections::BTreeMap;

use tidings_client::Update;
use tidings_client::protocol::{Payload, TaskId, TaskSnapshot};

/// Every task that was heard of.
#[derive(Debug, Default)]
pub(super) struct States(BTreeMap<TaskId, TaskSnapshot>);

impl States {
    /// Takes in an update: a snapshot counts by itself, an event if it is newer.
    pub(super) fn take(&mut self, update: &Update) {
        if let Some(snapshot) = update.snapshot() {
            let state = TaskSnapshot::clone(snapshot);
            self.0.insert(snapshot.task_id.clone(), state);
        }
        let Update::Event(event) = update else {
            return;
        };
        let Some(state) = self.0.get_mut(&event.task_id) else {
            return;
        };
        if event.offset > state.offset
            && let Ok(payload) = Payload::of(event)
        {
            state.apply(&payload, event.offset, event.timestamp);
        }
    }

    pub(super) fn get(&self, task_id: &TaskId) -> Option<&TaskSnapshot> {
        self.0.get(task_id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &TaskSnapshot> {
        self.0.values()
    }
}
