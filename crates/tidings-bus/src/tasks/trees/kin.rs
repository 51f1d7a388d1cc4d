//! The entry of a child in its parent's counts, and the sums of many entries.

use serde::{Deserialize, Serialize};
use tidings_protocol::{MAX_WEIGHT, Payload, TaskId, TaskSnapshot, TaskStarted, TaskStatus};

/// Bytes that a task with a parent costs: its entry in the forest, and its name among its parent's
/// children.
pub(crate) const KIN_BYTES: u64 = 256;

/// The entry of one child in its parent's counts. It follows from the child's state alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Kin {
    /// The parent that the child names.
    pub parent: TaskId,
    /// The child's status.
    pub status: TaskStatus,
    /// The child's weight in its parent's progress, in thousandths.
    pub weight: u64,
    /// The child's progress, in hundredths of a per cent: 0 to 10,000.
    pub progress: u64,
}

impl Kin {
    /// Reads the entry of a task from its state. Returns `None` for a task without a parent.
    pub fn of(snapshot: &TaskSnapshot) -> Option<Self> {
        let parent = snapshot.parent_task_id.as_ref()?;
        Some(Self {
            parent: parent.clone(),
            status: snapshot.status,
            weight: parts(snapshot.weight.unwrap_or(1.0), MAX_WEIGHT, 1_000.0),
            progress: snapshot.progress.map_or(0, parts_of),
        })
    }

    /// Returns the child's part of the weighted progress.
    pub fn done(&self) -> u64 {
        self.weight.saturating_mul(self.progress)
    }
}

/// Returns a progress in per cent as a whole number of hundredths.
pub(crate) fn parts_of(progress: f64) -> u64 {
    parts(progress, 100.0, 100.0)
}

/// Rounds `amount`, at most `most`, to a whole number of parts.
fn parts(amount: f64, most: f64, in_one: f64) -> u64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the amount was bounded just before"
    )]
    let whole = (amount.clamp(0.0, most) * in_one).round() as u64;
    whole
}

/// A task's place in trees, according to the task's state.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Related {
    /// The task's entry in its parent's counts. `None` for a task without a parent.
    pub kin: Option<Kin>,
    /// True if the state mentions children. The state may be out of date, and the children may
    /// be gone.
    pub says_children: bool,
}

impl Related {
    /// Reads a task's place in trees. Returns `None` for a task that is in no tree.
    pub fn of(snapshot: &TaskSnapshot) -> Option<Self> {
        let (kin, says_children) = (Kin::of(snapshot), snapshot.children.is_some());
        (kin.is_some() || says_children).then_some(Self { kin, says_children })
    }
}

/// The sums over the children of one parent. All of them are integers, so sums that are kept by
/// increments never drift.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sums {
    /// The numbers of children that are pending, running, completed, failed and cancelled.
    pub counts: [u64; 5],
    /// The sum of the weights, in thousandths.
    pub weight: u64,
    /// The sum of weight times progress, in thousandths times hundredths of a per cent.
    pub done: u128,
}

/// The place of a status in [`Sums::counts`].
pub(crate) fn place(status: TaskStatus) -> usize {
    match status {
        TaskStatus::Pending => 0,
        TaskStatus::Running => 1,
        TaskStatus::Completed => 2,
        TaskStatus::Failed => 3,
        TaskStatus::Cancelled => 4,
    }
}

impl Sums {
    /// Adds a child.
    pub fn add(&mut self, kin: &Kin) {
        self.counts[place(kin.status)] += 1;
        self.weight += kin.weight;
        self.done += u128::from(kin.done());
    }

    /// Removes a child, exactly as it was added.
    pub fn take(&mut self, kin: &Kin) {
        self.counts[place(kin.status)] -= 1;
        self.weight -= kin.weight;
        self.done -= u128::from(kin.done());
    }

    /// Adds the sums over other children.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.weight += other.weight;
        self.done += other.done;
    }

    /// Returns the weighted progress in per cent, cut to hundredths. It is 100 only when all
    /// work is done. Returns `None` if no child has a weight.
    pub fn progress(&self) -> Option<f64> {
        let hundredths = self.done.checked_div(u128::from(self.weight))?;
        // Every child has at most 10,000.
        let hundredths = u32::try_from(hundredths).unwrap_or(10_000);
        Some(f64::from(hundredths.min(10_000)) / 100.0)
    }

    /// Returns the number of children.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Returns the parent that an event names.
pub(crate) fn named_parent(payload: &Payload) -> Option<&TaskId> {
    match payload {
        Payload::TaskStarted(TaskStarted { parent_task_id, .. }) => parent_task_id.as_ref(),
        _ => None,
    }
}
