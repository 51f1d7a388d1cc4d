//! The starts of a task's latest runs. A retried start learns its run from them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tidings_protocol::Offset;

/// The number of runs that are remembered. A worker retries its start within seconds, not 16
/// runs later.
const MAX_STARTS: usize = 16;

/// The offsets of the newest `task_started` events. The current run is the last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Starts(VecDeque<Offset>);

impl Starts {
    /// Records the start of a new run.
    pub(crate) fn note(&mut self, offset: Offset) {
        if self.0.back().is_some_and(|last| *last >= offset) {
            return;
        }
        if self.0.len() >= MAX_STARTS {
            self.0.pop_front();
        }
        self.0.push_back(offset);
    }

    /// Returns the run that the `task_started` at `offset` opened, in a task with the current
    /// run `current`. Returns `None` if that start is not remembered.
    pub(crate) fn run_at(&self, offset: Offset, current: u32) -> Option<u32> {
        let later = self.0.iter().rev().position(|start| *start == offset)?;
        current.checked_sub(u32::try_from(later).ok()?)
    }

    /// Returns whether no start is remembered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_found_with_its_run_while_it_is_remembered() {
        let offset = |n| Offset::new(n).unwrap();
        let mut starts = Starts::default();
        for run in 1..=20 {
            starts.note(offset(run * 10));
        }
        assert_eq!(starts.run_at(offset(200), 20), Some(20));
        assert_eq!(starts.run_at(offset(50), 20), Some(5));
        assert_eq!(starts.run_at(offset(40), 20), None, "forgotten");
        assert_eq!(starts.run_at(offset(55), 20), None, "no start");
    }
}
