//! The order of deadlines. Pure.

use std::collections::BTreeMap;

use tokio::time::Instant;

/// The id of an entry, to cancel it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket {
    at: Instant,
    serial: u64,
}

/// Future deadlines, the earliest first. Cancelled entries leave nothing behind.
#[derive(Debug)]
pub(crate) struct Deadlines<T> {
    queue: BTreeMap<Ticket, T>,
    serial: u64,
}

impl<T> Default for Deadlines<T> {
    fn default() -> Self {
        Self {
            queue: BTreeMap::new(),
            serial: 0,
        }
    }
}

impl<T> Deadlines<T> {
    /// Adds an entry. Returns its id, and whether it comes before all others.
    pub(crate) fn add(&mut self, at: Instant, what: T) -> (Ticket, bool) {
        self.serial += 1;
        let serial = self.serial;
        let ticket = Ticket { at, serial };
        self.queue.insert(ticket, what);
        let first = self.queue.first_key_value();
        (ticket, first.is_some_and(|(first, _)| *first == ticket))
    }

    /// Removes an entry. The entry may have come due already.
    pub(crate) fn cancel(&mut self, ticket: Ticket) {
        self.queue.remove(&ticket);
    }

    /// Returns the time at which the first entry comes due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first_key_value().map(|(ticket, _)| ticket.at)
    }

    /// Returns the number of entries.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Removes and returns the entries that have come due.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<T> {
        let later = Ticket {
            at: now,
            serial: u64::MAX,
        };
        let rest = self.queue.split_off(&later);
        std::mem::replace(&mut self.queue, rest)
            .into_values()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn entries_come_up_in_order_and_cancelled_ones_leave_nothing() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        let (_, first) = deadlines.add(start + 3 * SECOND, "c");
        assert!(first);
        let (a, first) = deadlines.add(start + SECOND, "a");
        assert!(first);
        let (_, first) = deadlines.add(start + 2 * SECOND, "b");
        assert!(!first);
        deadlines.cancel(a);
        assert_eq!(deadlines.next(), Some(start + 2 * SECOND));
        assert_eq!(deadlines.due(start + SECOND), [""; 0]);
        assert_eq!(deadlines.due(start + 3 * SECOND), ["b", "c"], "inclusive");
        assert_eq!(deadlines.next(), None);
    }
}
