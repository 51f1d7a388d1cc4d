//! How the watched tasks have ended, if they have.

use tidings_client::protocol::{Target, TaskStatus};

use super::states::States;

/// How it went, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Completed,
    Cancelled,
    Failed,
}

impl Outcome {
    /// The code to exit with.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Completed => 0,
            Self::Failed => 1,
            Self::Cancelled => 2,
        }
    }
}

/// The outcome of all that is watched; none while something has not ended.
/// Of a pattern, there must be a task at all.
pub(super) fn of(targets: &[Target], states: &States) -> Option<Outcome> {
    let mut worst = Outcome::Completed;
    for target in targets {
        let mut some = false;
        for state in states.iter() {
            let meant = match target {
                Target::Task(task) => *task == state.task_id,
                Target::Pattern(pattern) => pattern.matches(&state.task_id),
            };
            if !meant {
                continue;
            }
            some = true;
            worst = worst.max(match state.status {
                TaskStatus::Completed => Outcome::Completed,
                TaskStatus::Cancelled => Outcome::Cancelled,
                TaskStatus::Failed => Outcome::Failed,
                TaskStatus::Pending | TaskStatus::Running => return None,
            });
        }
        if !some {
            return None;
        }
    }
    Some(worst)
}
