//! What clients owe: so much may be owed at once, and so much a second is forgotten.
//!
//! Unlike a rate, a debt can be looked at before the work is done, and its amount
//! may be known only afterwards.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Who;
use super::bucket::{Bucket, Rate};

/// Clients that owe something at a time, at most: beyond it a client more is not
/// followed. Each takes some 60 bytes.
const MAX_DEBTORS: usize = 100_000;

/// The debts of many clients.
pub(crate) struct Debts {
    rate: Rate,
    /// A leaf lock, held for the length of one step.
    buckets: Mutex<HashMap<Who, Bucket>>,
}

impl Debts {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            buckets: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Who, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that a client may do more.
    ///
    /// # Errors
    /// The client owes too much; how long until it does not.
    pub(crate) fn check(&self, who: &Who, now: Instant) -> Result<(), Duration> {
        match self.lock().get(who) {
            Some(bucket) => bucket.check(self.rate, now),
            None => Ok(()),
        }
    }

    /// Adds what a client has cost.
    pub(crate) fn add(&self, who: &Who, amount: usize, now: Instant) {
        if let Some(bucket) = bucket(&mut self.lock(), who, now) {
            bucket.owe(self.rate, amount, now);
        }
    }

    /// Adds what a client is about to cost. Returns how long the client has to
    /// wait before it does.
    ///
    /// # Errors
    /// That is longer than `most`, and nothing was added.
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

    /// Takes away what was reserved, and cost nothing.
    pub(crate) fn give_back(&self, who: &Who, amount: usize) {
        if let Some(bucket) = self.lock().get_mut(who) {
            bucket.give_back(self.rate, amount);
        }
    }

    /// Forgets those who owe nothing.
    pub(crate) fn tidy(&self, now: Instant) {
        let mut buckets = self.lock();
        buckets.retain(|_, bucket| !bucket.is_full(now));
        buckets.shrink_to_fit();
    }
}

/// Returns the bucket of a client; none if too many clients are followed already.
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
        // Known only when it is done: more than there may be at once.
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
        // Those who owe nothing any more make room.
        let later = start + Duration::from_secs(6);
        debts.add(&who("late"), 5, later);
        assert_eq!(debts.lock().len(), 1);
        assert!(debts.check(&who("late"), later).is_err());
    }
}
