//! The present state of each task, from the updates of the watch.

use std::collections::{BTreeMap, BTreeSet};

use tidings_client::Update;
use tidings_client::protocol::{
    Offset, Payload, ResetReason, Target, TaskId, TaskSnapshot, TaskStatus,
};

/// All tasks in the updates so far.
#[derive(Debug, Default)]
pub(crate) struct States {
    tasks: BTreeMap<TaskId, TaskSnapshot>,
    /// Tasks that were removed before their end.
    removed: BTreeSet<TaskId>,
}

impl States {
    /// Applies an update. A snapshot always counts, and an event counts if it is newer.
    pub(super) fn take(&mut self, update: &Update) {
        match update {
            Update::Removed { task_id } => return self.remove(task_id),
            Update::Reset {
                task_id,
                reason: ResetReason::Removed,
                ..
            } => self.remove(task_id),
            _ => {}
        }
        if let Some(snapshot) = update.snapshot() {
            let state = TaskSnapshot::clone(snapshot);
            let had_ended = self
                .get(&state.task_id)
                .is_some_and(|known| known.status.is_terminal());
            // Keep the outcome of an ended task even after the task is removed.
            if had_ended && state.offset == Offset::ZERO {
                return;
            }
            if state.status != TaskStatus::Pending {
                self.removed.remove(&state.task_id);
            }
            self.tasks.insert(snapshot.task_id.clone(), state);
        }
        let Update::Event(event) = update else {
            return;
        };
        self.removed.remove(&event.task_id);
        let Some(state) = self.tasks.get_mut(&event.task_id) else {
            return;
        };
        if event.offset > state.offset
            && let Ok(payload) = Payload::of(event)
        {
            state.apply(&payload, event.offset, event.timestamp);
        }
    }

    fn remove(&mut self, task: &TaskId) {
        match self.tasks.get(task) {
            Some(known) if known.status.is_terminal() => {}
            _ => {
                self.tasks.remove(task);
                self.removed.insert(task.clone());
            }
        }
    }

    pub(super) fn get(&self, task_id: &TaskId) -> Option<&TaskSnapshot> {
        self.tasks.get(task_id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &TaskSnapshot> {
        self.tasks.values()
    }

    /// Returns true if a task was removed before its end.
    pub(super) fn is_removed(&self, task: &TaskId) -> bool {
        self.removed.contains(task)
    }

    /// Returns true if a task has at least one event.
    pub(super) fn has_events(&self, task: &TaskId) -> bool {
        self.get(task)
            .is_some_and(|state| state.offset > Offset::ZERO)
    }

    /// Returns the known tasks of a target, including removed ones.
    pub(super) fn known<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = &'a TaskId> {
        let gone = self.removed.iter();
        let gone = gone.filter(|task| !self.tasks.contains_key(*task));
        let all = self.tasks.keys().chain(gone);
        all.filter(move |task| matches(target, task))
    }
}

fn matches(target: &Target, task: &TaskId) -> bool {
    match (target.task_id(), target.pattern()) {
        (Some(one), _) => one == task,
        (None, Some(pattern)) => pattern.matches(task),
        (None, None) => true,
    }
}
