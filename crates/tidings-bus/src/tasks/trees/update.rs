//! The update that a parent publishes about its children. Pure.

use std::time::Duration;

use tidings_protocol::{ChildrenUpdate, TaskSnapshot, Timestamp};

use super::kin::{Sums, parts_of};

/// The least time between two updates of one parent. It allows four updates a second.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);

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
pub(super) fn shows(state: &TaskSnapshot, update: &ChildrenUpdate) -> bool {
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

/// Decides whether a parent's state allows an update. The parent must have events, and the
/// update must change something. Another node must not have published an update a moment
/// ago.
pub(crate) fn is_due(state: &TaskSnapshot, update: &ChildrenUpdate, left: Duration) -> bool {
    state.offset.get() > 0 && !shows(state, update) && left.is_zero()
}

/// Returns how long a parent must wait for its next update, if other nodes publish updates too.
pub(crate) fn pause_left(state: &TaskSnapshot, now: Timestamp) -> Duration {
    let Some(children) = &state.children else {
        return Duration::ZERO;
    };
    // Do not wait for a clock that is behind another node's clock.
    let since = now.as_millis().checked_sub(children.updated_at.as_millis());
    since.map_or(Duration::ZERO, |since| {
        PAUSE.saturating_sub(Duration::from_millis(since))
    })
}
