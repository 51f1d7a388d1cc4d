//! Records the published events and the received events, and compares them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use tidings_bus::protocol::{Epoch, Position, ResetReason, TaskId, TaskSnapshot};
use tidings_bus::{Delivery, EventRecord};
use tidings_testkit::{Checker, StateChecker};

/// The answers that one publisher got.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledged {
    pub(crate) task: TaskId,
    pub(crate) id: String,
    pub(crate) position: Position,
}

/// The event that watchers have seen at each place of each log.
#[derive(Default)]
pub(crate) struct Places(Mutex<HashMap<(TaskId, Position), String>>);

impl Places {
    /// Records that an event was seen. The same place must always hold the same event.
    fn saw(&self, task: &TaskId, event: &EventRecord) {
        let mut places = self.0.lock().unwrap();
        let key = (task.clone(), event.position());
        let known = places.entry(key).or_insert_with(|| event.json().to_owned());
        assert_eq!(
            known,
            event.json(),
            "{:?} stands for two events",
            event.position()
        );
    }

    pub(crate) fn epochs(&self) -> usize {
        let places = self.0.lock().unwrap();
        let epochs: HashSet<_> = places
            .keys()
            .map(|(task, position)| (task, &position.epoch))
            .collect();
        epochs.len()
    }
}

/// One watcher of one task, over all of its subscriptions.
pub(crate) struct Watched {
    task: TaskId,
    /// The position to continue from.
    pub(crate) position: Option<Position>,
    checker: Checker,
    state: StateChecker,
    seen: HashSet<Position>,
    ids: HashSet<String>,
    /// The offsets that gaps have named, by epoch.
    named: HashMap<Epoch, BTreeSet<u64>>,
    pub(crate) gaps: u64,
    pub(crate) delivered: u64,
    pub(crate) doubled: u64,
}

impl Watched {
    pub(crate) fn new(task: TaskId) -> Self {
        Self {
            task,
            position: None,
            checker: Checker::from(1),
            state: StateChecker::default(),
            seen: HashSet::new(),
            ids: HashSet::new(),
            named: HashMap::new(),
            gaps: 0,
            delivered: 0,
            doubled: 0,
        }
    }

    /// Starts a new subscription at the position. `state` is the task's state at the join.
    pub(crate) fn subscribes(&mut self, state: &Arc<TaskSnapshot>) {
        let next = self.position.as_ref().map_or(1, |at| at.offset.get() + 1);
        self.checker = Checker::from(next);
        self.state = StateChecker::default();
        self.state.snapshot(state);
    }

    /// Compares the fold of the received events with the state in Redis.
    pub(crate) fn check_state(&self, truth: &TaskSnapshot) {
        if let Err(violation) = self.state.compare(truth) {
            panic!("{}: {violation}", self.task);
        }
    }

    pub(crate) fn take(&mut self, delivery: Delivery, places: &Places) {
        match delivery {
            Delivery::Event(event) => {
                let position = event.position();
                if let Err(violation) = self
                    .checker
                    .merged(event.first_offset().get(), position.offset.get())
                {
                    panic!("{}: {violation} (at {:?})", self.task, self.position);
                }
                places.saw(&self.task, &event);
                let decoded = event.decode().unwrap();
                let known = self.state.state().map(|state| state.epoch.clone());
                if known != Some(position.epoch.clone()) && event.first_offset().get() == 1 {
                    // The task was empty at the join, and another node has begun it since.
                    let empty = TaskSnapshot::new(self.task.clone(), position.epoch.clone());
                    self.state.snapshot(&empty.into());
                }
                if let Err(violation) = self.state.event(&decoded) {
                    panic!("{}: {violation} (at {:?})", self.task, self.position);
                }
                self.ids.extend(decoded.event_id.map(|id| id.to_string()));
                self.delivered += 1;
                if !self.seen.insert(position.clone()) {
                    self.doubled += 1;
                }
                self.position = Some(position);
            }
            Delivery::Reset {
                reason,
                offset,
                snapshot,
                ..
            } => {
                self.checker.reset(offset.get());
                self.state.snapshot(&snapshot);
                self.gaps += 1;
                assert_ne!(
                    reason,
                    ResetReason::Ahead,
                    "no node goes back behind another"
                );
                self.position = Some(Position::new(snapshot.epoch.clone(), offset));
            }
            Delivery::Removed { .. } => panic!("only patterns are told so"),
            Delivery::Gap { gap, snapshot, .. } => {
                if let Err(violation) = self.checker.gap(gap, snapshot.is_some()) {
                    panic!("{}: {violation} (at {:?})", self.task, self.position);
                }
                self.gaps += 1;
                if let Some(snapshot) = &snapshot {
                    self.state.snapshot(snapshot);
                }
                let epoch = match (&snapshot, &self.position) {
                    (Some(snapshot), _) => snapshot.epoch.clone(),
                    (None, Some(position)) => position.epoch.clone(),
                    (None, None) => return,
                };
                let named = self.named.entry(epoch.clone()).or_default();
                named.extend(gap.from.get()..=gap.to.get());
                self.position = Some(Position::new(epoch, gap.to));
            }
            other => panic!("this is no watch: {other:?}"),
        }
    }

    /// Returns whether the watcher has received everything up to this position.
    pub(crate) fn is_at(&self, head: &Position) -> bool {
        self.position.as_ref() == Some(head)
    }

    /// Returns acknowledged events that the watcher neither received nor found in a gap.
    pub(crate) fn lost<'a>(&self, all: &'a [Acknowledged]) -> Vec<&'a Acknowledged> {
        let current = self.position.as_ref().map(|position| &position.epoch);
        all.iter()
            .filter(|acknowledged| acknowledged.task == self.task)
            .filter(|acknowledged| !self.ids.contains(&acknowledged.id))
            .filter(|Acknowledged { position, .. }| {
                // In an old epoch, `epoch_changed` has reported that the remaining events will
                // not come.
                let named = self.named.get(&position.epoch);
                current == Some(&position.epoch)
                    && !named.is_some_and(|named| named.contains(&position.offset.get()))
            })
            .collect()
    }
}
