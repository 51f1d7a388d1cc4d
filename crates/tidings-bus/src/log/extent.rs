//! The offsets of a log: what is in memory, what a store has, and their order. Pure.
//!
//! `oldest ≤ first ≤ head + 1`, and `first ≤ saved + 1 ≤ head + 1`: an event leaves memory only
//! if the store has it, or if no store is written behind.

/// The offsets of a log.
#[derive(Debug)]
pub(super) struct Extent {
    /// The oldest offset in memory, or `head + 1` if memory has no events.
    first: u64,
    /// The oldest offset in the store, if the store has older events than memory.
    stored_first: Option<u64>,
    head: u64,
    /// The newest offset in a write-behind store. `None` if no store is written behind.
    saved: Option<u64>,
    /// The bytes of the events after `saved`, overhead included.
    waiting: usize,
}

impl Extent {
    /// Creates the offsets of a log whose next event is `next`, without events in memory.
    pub(super) fn at(next: u64) -> Self {
        Self {
            first: next,
            stored_first: None,
            head: next - 1,
            saved: None,
            waiting: 0,
        }
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// Returns the number of events in memory.
    pub(super) fn len(&self) -> u64 {
        self.head + 1 - self.first
    }

    /// Returns the oldest offset in the store, if the store has older events than memory.
    pub(super) fn stored_first(&self) -> Option<u64> {
        self.stored_first
    }

    /// Returns the oldest offset that can be read, from memory or from the store.
    pub(super) fn oldest(&self) -> u64 {
        self.stored_first
            .map_or(self.first, |stored| stored.min(self.first))
    }

    /// Returns the newest offset that the store has. Returns the head if nothing waits.
    pub(super) fn saved(&self) -> u64 {
        self.saved.unwrap_or(self.head)
    }

    /// Returns the bytes that the store does not have yet.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Adds an event of `bytes` bytes. Returns its offset.
    pub(super) fn push(&mut self, bytes: usize) -> u64 {
        self.head += 1;
        if self.saved.is_some() {
            self.waiting += bytes;
        }
        self.head
    }

    /// Returns whether the oldest event in memory may leave memory.
    pub(super) fn may_drop(&self) -> bool {
        self.first <= self.saved()
    }

    /// Drops the oldest event from memory.
    pub(super) fn drop_first(&mut self) {
        debug_assert!(self.may_drop(), "the store does not have the event");
        self.first += 1;
    }

    /// Drops all events from memory. Returns their number. The caller no longer needs the events
    /// that are not saved.
    pub(super) fn drop_all(&mut self) -> u64 {
        let dropped = self.len();
        self.first = self.head + 1;
        dropped
    }

    /// Records that a write-behind store has everything up to `offset`, and no more. `waiting`
    /// are the bytes of the later events. Returns the bytes that waited before.
    pub(super) fn set_saved(&mut self, offset: u64, waiting: usize) -> usize {
        self.saved = Some(offset);
        std::mem::replace(&mut self.waiting, waiting)
    }

    /// Records the oldest offset that the store has.
    pub(super) fn set_stored_first(&mut self, offset: u64) {
        self.stored_first = Some(offset);
    }

    /// Continues after another head, without events in memory. A write-behind store has
    /// everything up to there.
    pub(super) fn resume(&mut self, next: u64, stored_first: Option<u64>) {
        let behind = self.saved.is_some();
        *self = Self {
            stored_first,
            saved: behind.then_some(next - 1),
            ..Self::at(next)
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(offset: u64) -> usize {
        usize::try_from(offset).unwrap()
    }

    #[derive(Debug, Clone)]
    enum Change {
        Push(usize),
        Save(u64),
        Drop,
        Trim(u64),
        Resume(u64),
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            4 => (1usize..9).prop_map(Change::Push),
            2 => (0u64..4).prop_map(Change::Save),
            3 => Just(Change::Drop),
            1 => (1u64..20).prop_map(Change::Trim),
            1 => (1u64..20).prop_map(Change::Resume),
        ]
    }

    proptest! {
        /// The offsets keep their order, and the bytes that wait are those of the unsaved events.
        #[test]
        fn the_offsets_keep_their_order(
            behind in any::<bool>(),
            changes in prop::collection::vec(change(), 0..60),
        ) {
            let mut extent = Extent::at(1);
            // The sizes of all events, by their offsets.
            let mut sizes = vec![0];
            if behind {
                extent.set_saved(0, 0);
            }
            for change in changes {
                let saved = extent.saved();
                match change {
                    Change::Push(bytes) => {
                        let offset = extent.push(bytes);
                        sizes.push(bytes);
                        prop_assert_eq!(place(offset), sizes.len() - 1);
                    }
                    Change::Save(more) if behind => {
                        let saved = (saved + more).min(extent.head());
                        let waiting = sizes[place(saved) + 1..].iter().sum();
                        extent.set_saved(saved, waiting);
                    }
                    Change::Drop if extent.len() > 0 && extent.may_drop() => extent.drop_first(),
                    Change::Trim(first) => extent.set_stored_first(first.min(extent.first())),
                    Change::Resume(next) => {
                        extent.resume(next, None);
                        sizes = vec![0; place(next)];
                    }
                    Change::Save(_) | Change::Drop => {}
                }
                prop_assert!(extent.oldest() <= extent.first());
                prop_assert!(extent.first() <= extent.saved() + 1);
                prop_assert!(extent.saved() <= extent.head());
                prop_assert_eq!(extent.len(), extent.head() + 1 - extent.first());
                let waiting: usize = sizes[place(extent.saved()) + 1..].iter().sum();
                prop_assert_eq!(extent.waiting(), waiting);
            }
        }
    }
}
