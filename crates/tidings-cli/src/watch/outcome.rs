//! The outcome of the watched tasks.

use tidings_client::protocol::{Target, TaskId, TaskStatus};

use super::states::States;
use crate::code;

/// The outcome, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Completed,
    Cancelled,
    /// The task was removed before it had ended.
    Removed,
    Failed,
}

impl Outcome {
    /// Returns the exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Completed => 0,
            Self::Failed => code::FAILED,
            Self::Cancelled => code::CANCELLED,
            Self::Removed => code::REMOVED,
        }
    }
}

/// Returns the outcome of a task, or `None` if the task has not ended.
pub(super) fn of_task(task: &TaskId, states: &States) -> Option<Outcome> {
    if states.is_removed(task) {
        return Some(Outcome::Removed);
    }
    match states.get(task)?.status {
        TaskStatus::Completed => Some(Outcome::Completed),
        TaskStatus::Cancelled => Some(Outcome::Cancelled),
        TaskStatus::Failed => Some(Outcome::Failed),
        TaskStatus::Pending | TaskStatus::Running => None,
    }
}

/// Returns the outcome of all targets, or `None` if one has not ended. A pattern has
/// ended if it matches at least one task and all its tasks have ended.
pub(super) fn of(targets: &[Target], states: &States) -> Option<Outcome> {
    let mut worst = Outcome::Completed;
    for target in targets {
        let mut tasks = states.known(target).peekable();
        tasks.peek()?;
        for task in tasks {
            worst = worst.max(of_task(task, states)?);
        }
    }
    Some(worst)
}

/// Returns the first target without any event.
pub(super) fn missing<'a>(targets: &'a [Target], states: &States) -> Option<&'a Target> {
    targets.iter().find(|target| {
        let mut known = states.known(target);
        !known.any(|task| states.is_removed(task) || states.has_events(task))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tidings_client::Update;
    use tidings_client::protocol::{Offset, ResetReason, TaskSnapshot};

    fn state(task: &str, status: TaskStatus) -> Arc<TaskSnapshot> {
        let mut state = TaskSnapshot::new(task.parse().unwrap(), "e".parse().unwrap());
        state.status = status;
        if status != TaskStatus::Pending {
            state.offset = Offset::FIRST;
        }
        Arc::new(state)
    }

    fn removed(task: &str) -> Update {
        Update::Reset {
            task_id: task.parse().unwrap(),
            reason: ResetReason::Removed,
            offset: Offset::ZERO,
            snapshot: state(task, TaskStatus::Pending),
        }
    }

    fn targets(texts: &[&str]) -> Vec<Target> {
        let parse = |text: &&str| super::super::target(text).unwrap();
        texts.iter().map(parse).collect()
    }

    #[test]
    fn the_worst_of_all_counts_once_all_have_ended() {
        let mut states = States::default();
        let all = targets(&["a", "b-*"]);
        assert_eq!(of(&all, &states), None);
        states.take(&Update::Snapshot(state("a", TaskStatus::Completed)));
        assert_eq!(of(&all, &states), None, "no task matches the pattern");
        states.take(&Update::Snapshot(state("b-1", TaskStatus::Cancelled)));
        assert_eq!(of(&all, &states), Some(Outcome::Cancelled));
        states.take(&Update::Snapshot(state("b-2", TaskStatus::Running)));
        assert_eq!(of(&all, &states), None);
        states.take(&Update::Snapshot(state("b-2", TaskStatus::Failed)));
        assert_eq!(of(&all, &states), Some(Outcome::Failed));
    }

    #[test]
    fn a_task_that_is_removed_has_ended_until_it_begins_again() {
        let mut states = States::default();
        let all = targets(&["a"]);
        states.take(&Update::Snapshot(state("a", TaskStatus::Running)));
        states.take(&removed("a"));
        assert_eq!(of(&all, &states), Some(Outcome::Removed));
        assert_eq!(missing(&all, &states), None);
        states.take(&Update::Snapshot(state("a", TaskStatus::Running)));
        assert_eq!(of(&all, &states), None);
        // The server reports this to the watcher of a pattern in another way.
        let task_id = "a".parse().unwrap();
        states.take(&Update::Removed { task_id });
        assert_eq!(of(&targets(&["a*"]), &states), Some(Outcome::Removed));
    }

    #[test]
    fn a_task_that_had_ended_before_it_was_removed_keeps_its_outcome() {
        let mut states = States::default();
        states.take(&Update::Snapshot(state("a", TaskStatus::Failed)));
        states.take(&removed("a"));
        assert_eq!(of(&targets(&["a"]), &states), Some(Outcome::Failed));
    }

    #[test]
    fn a_task_without_any_event_is_missing() {
        let mut states = States::default();
        let all = targets(&["a", "b-*"]);
        states.take(&Update::Snapshot(state("a", TaskStatus::Running)));
        assert_eq!(missing(&all, &states), Some(&all[1]));
        states.take(&Update::Snapshot(state("a", TaskStatus::Pending)));
        assert_eq!(missing(&all, &states), Some(&all[0]));
    }
}
