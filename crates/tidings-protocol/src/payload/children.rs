//! The payload about a task's children.

use serde::{Deserialize, Serialize};

use super::{Broken, Check};

/// Data of `children_update`, which the bus makes: what the children of the task are
/// doing. All of its fields replace those of the last one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ChildrenUpdate {
    /// How many children are pending.
    pub pending: u64,
    /// How many children are running.
    pub running: u64,
    /// How many children have completed.
    pub completed: u64,
    /// How many children have failed.
    pub failed: u64,
    /// How many children were cancelled.
    pub cancelled: u64,
    /// The progress of all children in per cent, each with its `weight`. Null if there
    /// are none, or if none has a weight.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    #[serde(default)]
    pub progress: Option<f64>,
}

impl ChildrenUpdate {
    /// Returns how many children there are. Numbers that are too large count as the
    /// largest.
    pub fn total(&self) -> u64 {
        let counts = [self.pending, self.running, self.completed, self.failed];
        let counts = counts.into_iter();
        counts.fold(self.cancelled, u64::saturating_add)
    }
}

impl Check for ChildrenUpdate {
    fn check(&self) -> Result<(), Broken> {
        match self.progress {
            // This form of the condition also refuses NaN.
            Some(progress) if !(0.0..=100.0).contains(&progress) => Err(Broken {
                field: "progress",
                expected: "a number from 0 to 100",
            }),
            _ => Ok(()),
        }
    }
}
