//! The index: the data that the writer has in memory. It knows which tasks exist, and more about
//! the tasks that were written lately.
//!
//! If a task's row is up to date, the row contains everything. The index then needs only a few
//! bytes for the task, see [`Known`]. Memory therefore hardly grows with the number of tasks on
//! disk. The index holds whole entries for tasks whose rows lack events; [`Index::oldest_tail`]
//! bounds these. It also holds the entries of the [`MAX_CURRENT`](defaults::MAX_CURRENT) tasks that
//! were written last. The index charges its memory to the account that pays for the store.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use tidings_bus::protocol::{Epoch, Offset, TaskId, TaskSnapshot, Timestamp};
use tidings_bus::{Account, Charge, Kind};

use crate::defaults;
use crate::known::Known;

/// A task after its newest commit.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The number that identifies the task in keys.
    pub(crate) number: u64,
    pub(crate) epoch: Epoch,
    /// The oldest readable offset. Equal to `next` if no event is readable.
    pub(crate) first: u64,
    /// The offset of the next event.
    pub(crate) next: u64,
    /// The approximate bytes of the events from `first` on. Trimmed events are subtracted by the
    /// average size.
    pub(crate) bytes: u64,
    /// The time of the newest event.
    pub(crate) touched: Timestamp,
    pub(crate) ended: bool,
    /// The size of the row in bytes.
    pub(crate) row_bytes: u64,
    pub(crate) state: State,
}

/// The place of a task's newest state.
#[derive(Debug, Clone)]
pub(crate) enum State {
    /// The state is in the row.
    Row,
    /// The state is in a row that will be committed.
    Written(Arc<TaskSnapshot>),
    /// The state is here, because events were written after the row.
    Tail(Tail),
}

/// Events that a task's row does not include.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    /// The state after these events.
    pub(crate) snapshot: Arc<TaskSnapshot>,
    /// The key of the task in `Index::tails`.
    turn: u64,
    /// The bytes that are counted for this tail.
    weight: u64,
}

impl State {
    /// Returns the bytes that the state takes in memory.
    fn bytes(&self) -> u64 {
        match self {
            Self::Row => 0,
            Self::Written(snapshot) => bytes_of(snapshot),
            Self::Tail(tail) => bytes_of(&tail.snapshot),
        }
    }
}

/// Returns the bytes that a snapshot takes in memory.
fn bytes_of(snapshot: &TaskSnapshot) -> u64 {
    let texts = snapshot.known_bytes().unwrap_or(0);
    (size_of::<TaskSnapshot>() + texts) as u64
}

impl Entry {
    pub(crate) fn events(&self) -> u64 {
        self.next - self.first
    }

    /// Returns how many of the oldest events hold about this number of bytes.
    pub(crate) fn events_in(&self, bytes: u64) -> u64 {
        let average = (self.bytes / self.events().max(1)).max(1);
        bytes.div_ceil(average).min(self.events())
    }

    /// Removes the events before `first`. Returns their number of bytes.
    pub(crate) fn forget(&mut self, first: u64) -> u64 {
        let first = first.clamp(self.first, self.next);
        let gone = first - self.first;
        let bytes = if first == self.next {
            self.bytes
        } else {
            self.bytes / self.events().max(1) * gone
        };
        self.first = first;
        self.bytes -= bytes;
        bytes
    }

    pub(crate) fn first_offset(&self) -> Offset {
        Offset::new(self.first).unwrap_or(Offset::MAX)
    }

    pub(crate) fn next_offset(&self) -> Offset {
        Offset::new(self.next).unwrap_or(Offset::MAX)
    }

    /// Returns the task's newest state, or `None` if it is in the row.
    pub(crate) fn snapshot(&self) -> Option<&Arc<TaskSnapshot>> {
        match &self.state {
            State::Row => None,
            State::Written(snapshot) => Some(snapshot),
            State::Tail(tail) => Some(&tail.snapshot),
        }
    }

    /// Returns the events that the row does not include.
    pub(crate) fn tail(&self) -> Option<&Tail> {
        match &self.state {
            State::Tail(tail) => Some(tail),
            State::Row | State::Written(_) => None,
        }
    }
}

/// The index of all tasks.
#[derive(Debug, Default)]
pub(crate) struct Index {
    entries: HashMap<TaskId, Entry>,
    known: Known,
    /// The tasks with a tail. The task whose tail is oldest comes first.
    tails: BTreeMap<u64, TaskId>,
    tail_bytes: u64,
    /// The bytes of the states of all entries.
    state_bytes: u64,
    turn: u64,
    /// The tasks whose rows were up to date at some time, in that order.
    current: VecDeque<TaskId>,
    /// The number of the next new task. It is larger than every number in use, including the
    /// numbers in the keys of events that are still to be deleted.
    pub(crate) next_number: u64,
    /// The bytes of events over all tasks.
    pub(crate) bytes: u64,
    /// The number of commits since the store was created.
    pub(crate) changes: u64,
    /// The charge for the index. `None` until an account pays.
    charge: Option<Charge>,
}

impl Index {
    /// Charges the index to this account.
    pub(crate) fn charge_to(&mut self, account: &Account) {
        self.charge = Some(account.take(Kind::Store, 0));
        self.recount();
    }

    /// Replaces the index after it was loaded again. The same account pays.
    pub(crate) fn replace(&mut self, loaded: Self) {
        let charge = self.charge.take();
        *self = Self { charge, ..loaded };
        self.recount();
    }

    /// Returns the bytes that the index takes in memory.
    pub(crate) fn held(&self) -> u64 {
        let entries = self.entries.len() as u64 * defaults::ENTRY_BYTES;
        self.known.bytes() + entries + self.state_bytes
    }

    /// Charges the current bytes of the index.
    fn recount(&mut self) {
        let held = self.held();
        if let Some(charge) = self.charge.as_mut().filter(|charge| charge.bytes() != held) {
            charge.resize(held);
        }
    }

    /// Returns the number of tasks.
    pub(crate) fn len(&self) -> u64 {
        self.known.len()
    }

    /// Returns whether a task may exist. If it returns `false`, the task does not exist.
    pub(crate) fn has(&self, task_id: &TaskId) -> bool {
        self.known.contains(task_id)
    }

    /// Returns the entry of a task without reading the disk, or `None` if the entry is not in
    /// memory.
    pub(crate) fn get(&self, task_id: &TaskId) -> Option<&Entry> {
        self.entries.get(task_id)
    }

    pub(crate) fn get_mut(&mut self, task_id: &TaskId) -> Option<&mut Entry> {
        self.entries.get_mut(task_id)
    }

    /// Adds a new task without events.
    pub(crate) fn add(&mut self, task_id: &TaskId, epoch: &Epoch) {
        let entry = Entry {
            number: self.next_number,
            epoch: epoch.clone(),
            first: 1,
            next: 1,
            bytes: 0,
            touched: Timestamp::default(),
            ended: false,
            row_bytes: 0,
            state: State::Row,
        };
        self.next_number += 1;
        self.known.add(task_id);
        self.entries.insert(task_id.clone(), entry);
        self.recount();
    }

    /// Adds a task that was found at the start.
    pub(crate) fn found(&mut self, task_id: &TaskId, entry: Entry) {
        self.next_number = self.next_number.max(entry.number + 1);
        self.bytes += entry.bytes;
        self.known.add(task_id);
        if self.current.len() < defaults::MAX_CURRENT {
            self.current.push_back(task_id.clone());
            self.entries.insert(task_id.clone(), entry);
        }
        self.recount();
    }

    /// Adds the entry of a task that was read from its row.
    pub(crate) fn adopt(&mut self, task_id: &TaskId, entry: Entry) {
        self.entries.entry(task_id.clone()).or_insert(entry);
        self.recount();
    }

    /// Adds events that the task's row does not include. Returns whether they are the first such
    /// events.
    pub(crate) fn follow(
        &mut self,
        task_id: &TaskId,
        (events, bytes): (u64, u64),
        snapshot: Arc<TaskSnapshot>,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(task_id) else {
            return false;
        };
        // The state may be larger than the row by now.
        let weight = entry.row_bytes.max(bytes_of(&snapshot)) + defaults::ENTRY_BYTES;
        self.state_bytes -= entry.state.bytes();
        let is_first = if let State::Tail(tail) = &mut entry.state {
            tail.events += events;
            tail.bytes += bytes;
            tail.snapshot = snapshot;
            self.tail_bytes -= tail.weight;
            tail.weight = weight;
            false
        } else {
            self.turn += 1;
            entry.state = State::Tail(Tail {
                events,
                bytes,
                snapshot,
                turn: self.turn,
                weight,
            });
            self.tails.insert(self.turn, task_id.clone());
            true
        };
        self.tail_bytes += weight;
        self.state_bytes += entry.state.bytes();
        self.recount();
        is_first
    }

    /// Records that the task's row is about to be written with this state.
    pub(crate) fn write(&mut self, task_id: &TaskId, snapshot: Arc<TaskSnapshot>, row_bytes: u64) {
        let Some(entry) = self.entries.get_mut(task_id) else {
            return;
        };
        entry.row_bytes = row_bytes;
        let before = std::mem::replace(&mut entry.state, State::Written(snapshot));
        self.state_bytes += entry.state.bytes();
        self.end_state(&before);
        self.recount();
    }

    /// Notes that an entry no longer has this state.
    fn end_state(&mut self, state: &State) {
        self.state_bytes -= state.bytes();
        if let State::Tail(tail) = state {
            self.tails.remove(&tail.turn);
            self.tail_bytes -= tail.weight;
        }
    }

    /// Records that the rows of these tasks were committed. A row is then up to date, unless the
    /// task has had events since.
    pub(crate) fn committed(&mut self, written: Vec<TaskId>) {
        for task_id in written {
            if let Some(entry) = self.entries.get_mut(&task_id)
                && let State::Written(_) = entry.state
            {
                let written = std::mem::replace(&mut entry.state, State::Row);
                self.end_state(&written);
                self.current.push_back(task_id);
            }
        }
        while self.current.len() > defaults::MAX_CURRENT {
            let Some(oldest) = self.current.pop_front() else {
                break;
            };
            let entry = self.entries.get(&oldest);
            if entry.is_some_and(|entry| matches!(entry.state, State::Row)) {
                self.entries.remove(&oldest);
            }
        }
        self.recount();
    }

    /// Removes a task that exists.
    pub(crate) fn remove(&mut self, task_id: &TaskId) {
        let Some(entry) = self.entries.remove(task_id) else {
            return;
        };
        self.known.remove(task_id);
        self.bytes -= entry.bytes;
        self.end_state(&entry.state);
        self.recount();
    }

    /// Returns up to `limit` tasks whose rows lack events. The task whose row has lacked events for
    /// longest comes first.
    pub(crate) fn tails(&self, limit: usize) -> Vec<TaskId> {
        self.tails.values().take(limit).cloned().collect()
    }

    /// Returns the task whose row has lacked events for longest, if the tails exceed their limit.
    pub(crate) fn oldest_tail(&self) -> Option<TaskId> {
        let oldest = || self.tails.values().next().cloned();
        (self.tail_bytes > defaults::MAX_TAIL_BYTES)
            .then(oldest)
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use tidings_bus::{Ledger, LedgerLimits};

    use super::*;

    fn id(n: usize) -> TaskId {
        format!("task-{n}").parse().unwrap()
    }

    fn epoch() -> Epoch {
        Epoch::new("e").unwrap()
    }

    fn snapshot(n: usize) -> Arc<TaskSnapshot> {
        Arc::new(TaskSnapshot::new(id(n), epoch()))
    }

    /// Adds a task, and writes its row with this number of bytes.
    fn add(index: &mut Index, n: usize, row_bytes: u64) {
        index.add(&id(n), &epoch());
        index.write(&id(n), snapshot(n), row_bytes);
        index.committed(vec![id(n)]);
    }

    #[test]
    fn many_tasks_with_rows_that_say_everything_take_few_entries() {
        let mut index = Index::default();
        let tasks = 3 * defaults::MAX_CURRENT;
        for n in 0..tasks {
            add(&mut index, n, 500);
        }
        assert_eq!(index.entries.len(), defaults::MAX_CURRENT);
        assert_eq!(index.len(), tasks as u64);
        assert!(index.has(&id(0)) && index.get(&id(0)).is_none());
    }

    #[test]
    fn a_task_whose_row_is_not_committed_or_lacks_events_keeps_its_entry() {
        let mut index = Index::default();
        index.add(&id(0), &epoch());
        index.write(&id(0), snapshot(0), 500);
        add(&mut index, 1, 500);
        assert!(index.follow(&id(1), (1, 10), snapshot(1)));
        assert!(!index.follow(&id(1), (1, 10), snapshot(1)));
        for n in 2..defaults::MAX_CURRENT + 2 {
            add(&mut index, n, 500);
        }
        assert!(
            index
                .get(&id(0))
                .is_some_and(|entry| entry.snapshot().is_some())
        );
        let tail = index.get(&id(1)).and_then(Entry::tail).expect("its tail");
        assert_eq!((tail.events, tail.bytes), (2, 20));
        assert_eq!(index.tails(9), [id(1)]);
    }

    #[test]
    fn the_account_pays_for_what_the_index_holds_and_for_nothing_after_it() {
        let ledger = Ledger::new(LedgerLimits {
            tasks: u64::MAX,
            clients: 0,
            account: 0,
        });
        let mut index = Index::default();
        add(&mut index, 0, 500);
        index.charge_to(ledger.own());
        let large = |n| {
            let mut large = TaskSnapshot::new(id(n), epoch());
            large.message = Some("x".repeat(10_000));
            Arc::new(large)
        };
        // The bytes of the index if everything is counted again.
        let counted = |index: &Index| {
            let states: u64 = index
                .entries
                .values()
                .map(|entry| entry.state.bytes())
                .sum();
            let entries = index.entries.len() as u64 * defaults::ENTRY_BYTES;
            index.known.bytes() + entries + states
        };
        let held = |index: &Index| {
            let held = ledger.own().held(Kind::Store);
            assert_eq!(held, counted(index));
            held
        };
        let one = held(&index);
        index.follow(&id(0), (1, 10), large(0));
        assert!(held(&index) > one + 10_000);
        index.write(&id(0), large(0), 10_100);
        held(&index);
        index.committed(vec![id(0)]);
        assert_eq!(held(&index), one);
        for n in 1..2 * defaults::MAX_CURRENT {
            add(&mut index, n, 500);
        }
        held(&index);
        index.follow(&id(1), (1, 10), large(1));
        index.follow(&id(5_000), (1, 10), large(5_000));
        index.follow(&id(5_000), (1, 10), snapshot(5_000));
        index.remove(&id(5_000));
        held(&index);
        index.replace(Index::default());
        assert_eq!(held(&index), 0);
        add(&mut index, 0, 500);
        assert_eq!(held(&index), one);
        drop(index);
        assert_eq!(ledger.own().held(Kind::Store), 0);
    }

    #[test]
    fn an_event_after_a_row_was_written_is_not_counted_in_it() {
        let mut index = Index::default();
        index.add(&id(0), &epoch());
        index.write(&id(0), snapshot(0), 500);
        assert!(index.follow(&id(0), (1, 10), snapshot(0)));
        index.committed(vec![id(0)]);
        assert!(
            index
                .get(&id(0))
                .is_some_and(|entry| entry.tail().is_some())
        );
    }

    #[test]
    fn tails_over_the_limit_are_to_be_written_the_oldest_first() {
        let mut index = Index::default();
        let weight = defaults::MAX_TAIL_BYTES / 4;
        for n in 0..5 {
            add(&mut index, n, weight);
            index.follow(&id(n), (1, 10), snapshot(n));
        }
        assert_eq!(index.oldest_tail(), Some(id(0)));
        index.write(&id(0), snapshot(0), weight);
        assert_eq!(index.oldest_tail(), Some(id(1)));
        index.remove(&id(1));
        assert_eq!(index.oldest_tail(), None);
        index.remove(&id(0));
        assert_eq!(
            (index.len(), index.tails(9)),
            (3, vec![id(2), id(3), id(4)])
        );
    }
}
