//! Updates the states of parents after changes of their children.
//!
//! [`Schedule`] is the pure part. It says when the bus looks at a parent next, at most four
//! times a second for any number of changes. The driver below it compares the parent's state
//! with the sums over its children, and publishes the difference.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tidings_protocol::{
    ChildrenUpdate, InvalidTransition, NewEvent, Payload, TaskId, TaskSnapshot,
};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::families::{Counted, Families};
use super::kin::{Sums, parts_of};
use crate::lock::{Guard, Lock, place};
use crate::publish::append::{Prepared, PublishError};
use crate::shared::Shared;
use crate::store::StoreError;

/// The least time between two updates of one parent. It allows four updates a second.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);

/// The pause after an update that could not be published.
const RETRY: Duration = Duration::from_secs(1);

/// How often the bus asks a shared store for parents that no node looks at. The node that
/// changed a child may have stopped.
const POLL: Duration = Duration::from_secs(5);

/// The number of parents that are looked at together.
const AT_A_TIME: usize = 64;

/// The state of one parent that was looked at recently, or will be.
#[derive(Debug, Default)]
struct Parent {
    /// True if a child has changed since the look began.
    changed: bool,
    /// True while a worker looks at the parent.
    busy: bool,
}

/// The times at which parents are looked at. Pure.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    parents: HashMap<TaskId, Parent>,
    queue: BTreeSet<(Instant, TaskId)>,
}

impl Schedule {
    /// Records that a child has changed. Returns whether the parent is due at once.
    pub(crate) fn mark(&mut self, parent: &TaskId, now: Instant) -> bool {
        if let Some(known) = self.parents.get_mut(parent) {
            known.changed = true;
            return false;
        }
        let (changed, busy) = (true, false);
        self.parents
            .insert(parent.clone(), Parent { changed, busy });
        self.queue.insert((now, parent.clone()));
        true
    }

    /// Returns when the next parent comes up.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes the parents that need a look now. The caller returns each of them with
    /// [`done`](Self::done).
    pub(crate) fn due(&mut self, now: Instant) -> Vec<TaskId> {
        let mut due = Vec::new();
        while self.queue.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, parent)) = self.queue.pop_first() else {
                break;
            };
            let Some(known) = self.parents.get_mut(&parent) else {
                continue;
            };
            if known.changed {
                (known.changed, known.busy) = (false, true);
                due.push(parent);
            } else {
                // The pause is over, and nothing has changed.
                self.parents.remove(&parent);
            }
        }
        due
    }

    /// Ends a look at a parent. If something has changed since the look began, or if `again`,
    /// the parent is looked at again after `pause`.
    pub(crate) fn done(&mut self, parent: &TaskId, again: bool, pause: Duration, now: Instant) {
        let Some(known) = self.parents.get_mut(parent) else {
            return;
        };
        known.busy = false;
        known.changed |= again;
        self.queue.insert((now + pause, parent.clone()));
    }
}

/// The schedule of a bus, and the driver that waits for it.
#[derive(Default)]
pub(crate) struct Due {
    schedule: Lock<Schedule, place::Leaf>,
    changed: Notify,
}

impl Due {
    fn lock(&self) -> Guard<'_, Schedule, place::Leaf> {
        self.schedule.lock()
    }

    /// Asks for a look at a parent soon.
    pub(super) fn mark(&self, parent: &TaskId) {
        if self.lock().mark(parent, Instant::now()) {
            self.changed.notify_one();
        }
    }
}

/// Returns the update that a parent must publish about its children.
pub(super) fn update_of(sums: &Sums) -> ChildrenUpdate {
    let [pending, running, completed, failed, cancelled] = sums.counts;
    let mut update = ChildrenUpdate::default();
    update.pending = pending;
    update.running = running;
    update.completed = completed;
    update.failed = failed;
    update.cancelled = cancelled;
    update.progress = sums.progress();
    update
}

/// Returns whether a parent's state already contains this update.
fn shows(state: &TaskSnapshot, update: &ChildrenUpdate) -> bool {
    let Some(children) = &state.children else {
        return update.total() == 0;
    };
    let says = [
        (children.pending, update.pending),
        (children.running, update.running),
        (children.completed, update.completed),
        (children.failed, update.failed),
        (children.cancelled, update.cancelled),
    ];
    // A number may differ in its last bit after writing and reading.
    says.iter().all(|(says, is)| says == is)
        && children.progress.map(parts_of) == update.progress.map(parts_of)
}

/// The next step after a look at a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing. The parent's state matches its children.
    Rest,
    /// Look at the parent again after this pause.
    Again(Duration),
}

impl Shared {
    /// Decides whether a parent's state allows an update. The parent must have events, and the
    /// update must change something. Another node must not have published an update a moment
    /// ago.
    pub(crate) fn check_children(
        &self,
        state: &TaskSnapshot,
        prepared: &Prepared,
    ) -> Result<(), InvalidTransition> {
        let Payload::ChildrenUpdate(update) = &prepared.payload else {
            return Ok(());
        };
        let exists = state.offset.get() > 0;
        if exists && !shows(state, update) && self.pause_left(state).is_zero() {
            return Ok(());
        }
        let event_type = prepared.event.event_type.clone();
        Err(InvalidTransition::new(state.status, event_type))
    }

    /// Returns how long a parent must wait for its next update, if other nodes publish updates
    /// too.
    fn pause_left(&self, state: &TaskSnapshot) -> Duration {
        let Some(children) = state.children.as_ref().filter(|_| self.interest.is_some()) else {
            return Duration::ZERO;
        };
        let now = self.config.clock.now().as_millis();
        // Do not wait for a clock that is behind another node's clock.
        let since = now.checked_sub(children.updated_at.as_millis());
        since.map_or(Duration::ZERO, |since| {
            PAUSE.saturating_sub(Duration::from_millis(since))
        })
    }

    async fn look(self: &Arc<Self>, parent: &TaskId) -> Next {
        match self.try_look(parent).await {
            Ok(next) => next,
            Err(error) => {
                tracing::debug!(%parent, %error, "the children of a task cannot be counted yet");
                Next::Again(RETRY)
            }
        }
    }

    async fn try_look(self: &Arc<Self>, parent: &TaskId) -> Result<Next, StoreError> {
        let families = self.families();
        let counted = match families {
            Some(families) => families.counted(parent).await?,
            None => Counted::own(self.trees.sums(parent)),
        };
        let state = match (&self.store, families) {
            (Some(store), Some(_)) => store.find(parent).await?.map(|stored| stored.snapshot),
            _ => self.find_own(parent).await?,
        };
        let update = update_of(&counted.sums);
        let Some(state) = state else {
            return rest_or_again(families, parent, &counted, false).await;
        };
        if shows(&state, &update) {
            return rest_or_again(families, parent, &counted, true).await;
        }
        let left = self.pause_left(&state);
        if !left.is_zero() {
            return Ok(Next::Again(left));
        }
        // The bus's own events are small and well-formed.
        let Ok(prepared) = Prepared::new(NewEvent::children_update(&update), usize::MAX) else {
            return Ok(Next::Rest);
        };
        Ok(match self.publish_prepared(parent, prepared).await {
            // Another node may have counted earlier and published later.
            Ok(_) if self.config.broker.is_some() => Next::Again(PAUSE),
            Ok(_) | Err(PublishError::Closed) => Next::Rest,
            Err(PublishError::Unavailable(_)) => Next::Again(RETRY),
            // Another event, or another node's update, has come in between.
            Err(_) => Next::Again(PAUSE),
        })
    }
}

/// Ends a look that publishes nothing.
async fn rest_or_again(
    families: Option<&dyn Families>,
    parent: &TaskId,
    counted: &Counted,
    there: bool,
) -> Result<Next, StoreError> {
    let Some(families) = families else {
        // A parent that does not exist is looked at when it appears.
        return Ok(Next::Rest);
    };
    if !there && families.awaits(parent, counted).await? {
        return Ok(Next::Again(PAUSE));
    }
    families.shown(parent, counted).await?;
    Ok(Next::Rest)
}

/// Looks at parents whose children have changed.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let due = &shared.trees.due;
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let next = due.lock().next();
        let timer = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            parent = arrived(&shared) => due.mark(&parent),
            _ = poll.tick(), if shared.interest.is_some() => mark_stirred(&shared).await,
            () = due.changed.notified() => {}
            () = timer => {}
        }
        let parents = due.lock().due(Instant::now());
        futures_util::stream::iter(parents)
            .for_each_concurrent(AT_A_TIME, |parent| {
                let shared = &shared;
                async move {
                    let (again, pause) = match shared.look(&parent).await {
                        Next::Rest => (false, PAUSE),
                        Next::Again(pause) => (true, pause),
                    };
                    let mut schedule = shared.trees.due.lock();
                    schedule.done(&parent, again, pause, Instant::now());
                }
            })
            .await;
    }
}

/// Waits for a task that this node has created in a shared store after the task's children.
async fn arrived(shared: &Shared) -> TaskId {
    match shared.families() {
        Some(families) => families.arrived().await,
        None => std::future::pending().await,
    }
}

/// Marks the parents of a shared store that no node looks at.
async fn mark_stirred(shared: &Arc<Shared>) {
    let Some(families) = shared.families() else {
        return;
    };
    // The store reports its own failure.
    let stirred = families.stirred(Duration::ZERO, AT_A_TIME).await;
    for parent in stirred.unwrap_or_default() {
        shared.trees.due.mark(&parent);
    }
}
