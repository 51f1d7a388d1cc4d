//! Debts of clients. A client may owe a limited amount, and its debt shrinks by a fixed amount per
//! second.
//!
//! A rate must know the amount before the work. A debt can be checked before the work, and the
//! amount can be added afterwards.

use std::collections::HashMap;
use std::time::Duration;

use tidings_bus::lock::{Guard, Lock, place};
use tokio::time::Instant;

use super::Who;
use super::bucket::{Bucket, Rate};

/// The most clients with a debt that are tracked at a time. The debts of further clients are not
/// tracked. Each debt takes about 60 bytes.
const MAX_DEBTORS: usize = 100_000;

/// The debts of many clients.
pub(crate) struct Debts {
    rate: Rate,
    /// No other lock is taken while this lock is held. It is held for one step only.
    buckets: Lock<HashMap<Who, Bucket>, place::Leaf>,
}

impl Debts {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            buckets: Lock::default(),
        }
    }

    fn lock(&self) -> Guard<'_, HashMap<Who, Bucket>, place::Leaf> {
        self.buckets.lock()
    }

    /// Checks that a client may cause more work.
    ///
    /// # Errors
    /// Returns the time until the client owes little enough.
    pub(crate) fn check(&self, who: &Who, now: Instant) -> Result<(), Duration> {
        match self.lock().get(who) {
            Some(bucket) => bucket.check(self.rate, now),
            None => Ok(()),
        }
    }

    /// Adds the cost of finished work to the debt of a client.
    pub(crate) fn add(&self, who: &Who, amount: usize, now: Instant) {
        if let Some(bucket) = bucket(&mut self.lock(), who, now) {
            bucket.owe(self.rate, amount, now);
        }
    }

    /// Adds the cost of future work to the debt of a client. Returns how long the client must wait
    /// before the work.
    ///
    /// # Errors
    /// Returns the wait if it is longer than `most`. Nothing was added.
    pub(crate) fn reserve(
        &self,
        who: &Who,
        amount: usize,
        most: Duration,
        now: Instant,
    ) -> Result<Duration, Duration> {
        match bucket(&mut self.lock(), who, now) {
            Some(bucket) => bucket.reserve(self.rate, amount, most, now),
            None => Ok(Duration::ZERO),
        }
    }

    /// Subtracts a reserved cost that did not arise.
    pub(crate) fn give_back(&self, who: &Who, amount: usize) {
        if let Some(bucket) = self.lock().get_mut(who) {
            bucket.give_back(self.rate, amount);
        }
    }

    /// Removes the clients that owe nothing.
    pub(crate) fn tidy(&self, now: Instant) {
        let mut buckets = self.lock();
        buckets.retain(|_, bucket| !bucket.is_full(now));
        buckets.shrink_to_fit();
    }
}

/// Returns the bucket of a client, or `None` if too many clients are tracked already.
fn bucket<'a>(
    buckets: &'a mut HashMap<Who, Bucket>,
    who: &Who,
    now: Instant,
) -> Option<&'a mut Bucket> {
    if buckets.len() >= MAX_DEBTORS && !buckets.contains_key(who) {
        buckets.retain(|_, bucket| !bucket.is_full(now));
        if buckets.len() >= MAX_DEBTORS {
            return None;
        }
    }
    Some(buckets.entry(who.clone()).or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(name: &str) -> Who {
        Who::Subject(name.into())
    }

    #[test]
    fn a_debt_stops_its_client_until_enough_of_it_is_forgotten() {
        let debts = Debts::new(Rate::new(10, 100));
        let (ada, bo) = (who("ada"), who("bo"));
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        debts.add(&ada, 99, start);
        assert_eq!(debts.check(&ada, start), Ok(()));
        // The cost is known only after the work, and may exceed the burst.
        debts.add(&ada, 51, start);
        assert_eq!(debts.check(&ada, start), Err(Duration::from_millis(5_000)));
        assert_eq!(debts.check(&bo, start), Ok(()), "each for itself");
        assert!(debts.check(&ada, after(4_900)).is_err());
        assert_eq!(debts.check(&ada, after(5_000)), Ok(()));
        debts.tidy(after(14_000));
        assert_eq!(debts.lock().len(), 1);
        debts.tidy(after(15_000));
        assert!(debts.lock().is_empty());
    }

    #[test]
    fn no_more_clients_are_followed_than_there_is_room_for() {
        let debts = Debts::new(Rate::new(1, 1));
        let start = Instant::now();
        for number in 0..MAX_DEBTORS + 10 {
            debts.add(&who(&number.to_string()), 5, start);
        }
        assert_eq!(debts.lock().len(), MAX_DEBTORS);
        // Clients that no longer owe anything make room for others.
        let later = start + Duration::from_secs(6);
        debts.add(&who("late"), 5, later);
        assert_eq!(debts.lock().len(), 1);
        assert!(debts.check(&who("late"), later).is_err());
    }
}
