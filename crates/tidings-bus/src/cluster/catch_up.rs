//! Decides the next step to make a log equal to a store. Pure.

use tidings_protocol::{Epoch, Offset};

use crate::store::StoredTask;

/// The place of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Here {
    pub(crate) epoch: Epoch,
    /// The offset after the log's newest event.
    pub(crate) next: Offset,
}

/// The events that a store has of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct There {
    epoch: Epoch,
    /// The oldest event, or one past the newest if there is none.
    first: Offset,
    head: Offset,
}

impl There {
    pub(crate) fn of(stored: &StoredTask) -> Self {
        Self {
            epoch: stored.snapshot.epoch.clone(),
            first: stored.first,
            head: stored.snapshot.offset,
        }
    }
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: the log has all that the store has.
    Done,
    /// Read the events from the log's next offset on.
    Read,
    /// Read the whole task, because the log cannot continue.
    Reload,
    /// Another node has removed the task.
    Removed,
    /// The store's head is behind the events that were delivered here, in the same epoch.
    WentBack,
}

/// An event that was read and could not be taken in. For example, a newer node wrote it. Reading
/// it again would fail again, for ever, and would hold the task's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stuck {
    pub(crate) at: Offset,
}

/// The way of a log to its store, step by step.
#[derive(Debug, Default)]
pub(crate) struct CatchUp {
    /// The place from which events were read in the last step.
    read: Option<Here>,
}

impl CatchUp {
    /// Chooses the next step. `there` is `None` if the store does not have the task.
    ///
    /// # Errors
    /// Fails if the log has not moved since the events after it were read.
    pub(crate) fn next(&mut self, here: &Here, there: Option<&There>) -> Result<Next, Stuck> {
        let read = self.read.take();
        let next = match there {
            None if here.next == Offset::FIRST => Next::Done,
            None => Next::Removed,
            Some(there) if here.epoch != there.epoch || here.next < there.first => Next::Reload,
            Some(there) if there.head.next() < here.next => Next::WentBack,
            Some(there) if there.head < here.next => Next::Done,
            Some(_) if read.as_ref() == Some(here) => return Err(Stuck { at: here.next }),
            Some(_) => Next::Read,
        };
        Ok(next)
    }

    /// Records that events were read from a place, and taken in as far as possible.
    pub(crate) fn note_read(&mut self, from: Here) {
        self.read = Some(from);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn here(epoch: &str, next: u64) -> Here {
        Here {
            epoch: Epoch::new(epoch).unwrap(),
            next: Offset::new(next).unwrap(),
        }
    }

    fn there(epoch: &str, first: u64, head: u64) -> There {
        There {
            epoch: Epoch::new(epoch).unwrap(),
            first: Offset::new(first).unwrap(),
            head: Offset::new(head).unwrap(),
        }
    }

    #[test]
    fn a_log_is_brought_up_to_the_store_step_by_step() {
        let step = |next, first, head| {
            let there = there("e", first, head);
            CatchUp::default().next(&here("e", next), Some(&there))
        };
        assert_eq!(step(4, 1, 3), Ok(Next::Done));
        assert_eq!(step(4, 1, 4), Ok(Next::Read));
        assert_eq!(step(4, 4, 9), Ok(Next::Read), "what came before is here");
        assert_eq!(step(4, 5, 9), Ok(Next::Reload), "4 is nowhere any more");
        assert_eq!(step(4, 1, 2), Ok(Next::WentBack));
        let mut catch_up = CatchUp::default();
        let other = catch_up.next(&here("e", 4), Some(&there("other", 1, 3)));
        assert_eq!(other, Ok(Next::Reload));
        assert_eq!(catch_up.next(&here("e", 4), None), Ok(Next::Removed));
        assert_eq!(catch_up.next(&here("e", 1), None), Ok(Next::Done));
    }

    #[test]
    fn an_event_that_cannot_be_taken_in_is_read_once() {
        let mut catch_up = CatchUp::default();
        let (at, there) = (here("e", 4), there("e", 1, 9));
        assert_eq!(catch_up.next(&at, Some(&there)), Ok(Next::Read));
        catch_up.note_read(at.clone());
        let stuck = Stuck { at: at.next };
        assert_eq!(catch_up.next(&at, Some(&there)), Err(stuck));
        assert_eq!(catch_up.next(&here("e", 5), Some(&there)), Ok(Next::Read));
    }

    proptest! {
        /// Whatever happens to the store between two steps, the log reaches the store when it
        /// rests, and no step repeats for ever.
        #[test]
        fn every_way_ends(
            start in (0usize..2, 1u64..12),
            changes in prop::collection::vec((0usize..2, 1u64..12, 0u64..12), 0..6),
            rest in (0usize..2, 1u64..12, 0u64..12),
            page in 1u64..5,
        ) {
            let store = |(epoch, first, more): (usize, u64, u64)| {
                there(["e", "f"][epoch], first, (first - 1 + more).max(1))
            };
            let mut at = here(["e", "f"][start.0], start.1);
            let mut catch_up = CatchUp::default();
            let mut changes = changes.into_iter().map(store);
            let rest = store(rest);
            for _ in 0..40 {
                let there = changes.next().unwrap_or_else(|| rest.clone());
                match catch_up.next(&at, Some(&there)) {
                    Ok(Next::Done) => {
                        prop_assert_eq!((&at.epoch, at.next), (&there.epoch, there.head.next()));
                        return Ok(());
                    }
                    Ok(Next::WentBack) => {
                        prop_assert!(at.epoch == there.epoch && at.next > there.head.next());
                        return Ok(());
                    }
                    Ok(Next::Reload) => at = here(there.epoch.as_str(), there.head.get() + 1),
                    Ok(Next::Read) => {
                        prop_assert!(at.next >= there.first && at.next <= there.head);
                        catch_up.note_read(at.clone());
                        let next = (at.next.get() + page).min(there.head.get() + 1);
                        at.next = Offset::new(next).unwrap();
                    }
                    Ok(Next::Removed) | Err(_) => prop_assert!(false, "the log has moved"),
                }
            }
            prop_assert!(false, "the way has no end");
        }
    }
}
