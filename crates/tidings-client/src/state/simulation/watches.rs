//! Checks the updates of a watch one by one.

use super::*;

#[derive(Default)]
pub(super) struct Followed {
    pub(super) checker: Checker,
    pub(super) state: StateChecker,
}

pub(super) struct SimWatch {
    pub(super) target: Target,
    pub(super) start: Start,
    pub(super) tasks: BTreeMap<TaskId, Followed>,
    pub(super) connected: bool,
}

impl SimWatch {
    pub(super) fn check(&mut self, update: &Update, ledger: &mut Ledger) {
        match update {
            Update::Snapshot(snapshot) => {
                let head = snapshot.offset.get();
                let mut state = StateChecker::default();
                state.snapshot(snapshot);
                let followed = Followed {
                    state,
                    checker: match (&self.start, &self.target) {
                        (Start::Live, Target::Task(_)) => Checker::from(head + 1),
                        (Start::Retained, Target::Task(_)) => Checker::from(1),
                        (Start::After(position), Target::Task(_)) => {
                            Checker::from(position.offset.get() + 1)
                        }
                        // If the task appeared while the connection was lost, the watch
                        // gets all its events.
                        _ => Checker::with_history(head),
                    },
                };
                let known = self.tasks.insert(snapshot.task_id.clone(), followed);
                let Some(known) = known else { return };
                // Before the first event, the watch is told the epoch in which the task
                // began.
                let told = known.checker.delivered() + known.checker.resets();
                let told = told + known.checker.gaps().len() as u64;
                assert_eq!(told, 0, "a second snapshot without a gap");
                let followed = self.tasks.get_mut(&snapshot.task_id);
                followed.expect("inserted above").checker = Checker::from(1);
            }
            Update::Event(event) => {
                let followed = self
                    .tasks
                    .get_mut(&event.task_id)
                    .expect("a snapshot first");
                if let Err(violation) = followed
                    .checker
                    .merged(event.first_offset().get(), event.offset.get())
                {
                    panic!("{}: {violation}", event.task_id);
                }
                let state = followed.state.state().expect("a state from the snapshot");
                if let Some(id) = &event.event_id {
                    ledger.seen(&event.task_id, &state.epoch, id, event.offset.get());
                }
                if let Err(violation) = followed.state.event(event) {
                    panic!("{}: {violation}", event.task_id);
                }
            }
            Update::Reset {
                task_id,
                offset,
                snapshot,
                ..
            } => {
                let followed = self.tasks.get_mut(task_id).expect("a snapshot first");
                followed.checker.reset(offset.get());
                followed.state.snapshot(snapshot);
            }
            Update::Gap {
                task_id,
                gap,
                snapshot,
            } => {
                let followed = self.tasks.get_mut(task_id).expect("a snapshot first");
                if let Err(violation) = followed.checker.gap(*gap, snapshot.is_some()) {
                    panic!("{task_id}: {violation}");
                }
                if let Some(snapshot) = snapshot {
                    followed.state.snapshot(snapshot);
                }
            }
            Update::Removed { task_id } => {
                self.tasks.remove(task_id).expect("a snapshot first");
            }
            Update::Disconnected { .. } => self.connected = false,
            Update::Reconnected => {
                assert!(!self.connected, "reconnected, but was never told of a loss");
                self.connected = true;
            }
            other => panic!("an update of a kind that nobody checks: {other:?}"),
        }
    }
}
