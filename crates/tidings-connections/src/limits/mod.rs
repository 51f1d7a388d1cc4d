//! How much of the server one client may use.
//!
//! A client is its subject, where it has proved one, and else its address; an
//! IPv6 address counts by its /64, which is what one household or host gets.

mod bucket;
mod debt;
mod limit;
mod rate;
mod who;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tidings_protocol::TaskId;
use tokio::time::Instant;

use crate::auth::Access;
pub use bucket::Rate;
use debt::Debts;
pub use limit::{Limit, LimitStats, Limited};
pub(crate) use rate::{Keyed, Own};
pub(crate) use who::Who;

/// What one client may use at most; none: as much as it likes.
///
/// Without limits by default: who embeds Tidings, and who runs it for this
/// machine alone, knows its clients. [`for_strangers`](Self::for_strangers) has
/// the values for everybody else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientLimits {
    /// Connections (WebSocket, SSE) at a time from one address.
    pub connections_per_address: Option<usize>,
    /// Connections (WebSocket, SSE) at a time of one subject.
    pub connections_per_subject: Option<usize>,
    /// Connections that are begun from one address, whatever becomes of them.
    pub handshakes_per_address: Option<Rate>,
    /// Messages on one connection.
    pub messages_per_connection: Option<Rate>,
    /// Bytes received on one connection, whatever they are.
    pub bytes_per_connection: Option<Rate>,
    /// Messages, requests and published events of one client over all its connections.
    pub messages_per_client: Option<Rate>,
    /// Bytes of messages and bodies of one client over all its connections.
    pub bytes_per_client: Option<Rate>,
    /// Tasks that one client makes by publishing to them first.
    pub tasks_per_client: Option<Rate>,
    /// Requests from one address that come to nothing before it is known who
    /// asks: bad tokens, no tokens, paths that lead nowhere.
    pub failures_per_address: Option<Rate>,
    /// Work that one client causes beyond its messages: tasks matched by patterns
    /// and lists, and events read from history, each one unit.
    pub work_per_client: Option<Rate>,
    /// Messages and requests of one client, over all its connections, that are
    /// refused: malformed, not allowed, or too many.
    pub refusals_per_client: Option<Rate>,
}

impl ClientLimits {
    /// For a server that people reach whom nobody knows: far above what a busy
    /// dashboard or a chatty worker needs, and far below what a flood takes.
    pub fn for_strangers() -> Self {
        Self {
            // A company behind one address has some hundred people.
            connections_per_address: Some(1_000),
            connections_per_subject: Some(1_000),
            handshakes_per_address: Some(Rate::new(100, 1_000)),
            messages_per_connection: Some(Rate::new(2_000, 4_000)),
            bytes_per_connection: Some(Rate::new(4 << 20, 8 << 20)),
            messages_per_client: Some(Rate::new(5_000, 10_000)),
            bytes_per_client: Some(Rate::new(8 << 20, 16 << 20)),
            tasks_per_client: Some(Rate::new(100, 2_000)),
            // An office whose tokens have all expired comes back once, not for ever.
            failures_per_address: Some(Rate::new(10, 500)),
            // Each takes some 10 µs, so a client has a fifth of a core: a dashboard
            // of 40,000 tasks opens in two seconds. At once it takes no longer
            // than others do not feel.
            work_per_client: Some(Rate::steady(20_000, 5_000)),
            // A client that listens has slowed down long before.
            refusals_per_client: Some(Rate::new(100, 1_000)),
        }
    }
}

/// How long whoever has too many connections is told to wait: one may end any
/// time, or never.
const CONNECTION_RETRY: Duration = Duration::from_secs(5);

/// The limits in force, and who stands where.
pub(crate) struct Limiter {
    rules: RwLock<Rules>,
    /// Whether connections are counted at all, from the beginning or never: a
    /// count that began later would not know those that are there.
    counting: bool,
    connections: Mutex<HashMap<Who, usize>>,
    hits: [AtomicU64; Limit::ALL.len()],
}

/// What may be exchanged while the server runs.
struct Rules {
    limits: ClientLimits,
    handshakes: Option<Keyed>,
    messages: Option<Keyed>,
    bytes: Option<Keyed>,
    tasks: Option<Keyed>,
    failures: Option<Debts>,
    work: Option<Debts>,
    refusals: Option<Debts>,
}

impl Rules {
    fn new(limits: ClientLimits) -> Self {
        Self {
            limits,
            handshakes: limits.handshakes_per_address.map(Keyed::new),
            messages: limits.messages_per_client.map(Keyed::new),
            bytes: limits.bytes_per_client.map(Keyed::new),
            tasks: limits.tasks_per_client.map(Keyed::new),
            failures: limits.failures_per_address.map(Debts::new),
            work: limits.work_per_client.map(Debts::new),
            refusals: limits.refusals_per_client.map(Debts::new),
        }
    }

    /// Takes what clients have used already from `before`, where the rate is
    /// the same: else whoever has used up everything would begin anew.
    fn inherit(&mut self, mut before: Self) {
        let (new, old) = (self.limits, before.limits);
        for (same, rates, used) in [
            (
                new.handshakes_per_address == old.handshakes_per_address,
                &mut self.handshakes,
                &mut before.handshakes,
            ),
            (
                new.messages_per_client == old.messages_per_client,
                &mut self.messages,
                &mut before.messages,
            ),
            (
                new.bytes_per_client == old.bytes_per_client,
                &mut self.bytes,
                &mut before.bytes,
            ),
            (
                new.tasks_per_client == old.tasks_per_client,
                &mut self.tasks,
                &mut before.tasks,
            ),
        ] {
            if same {
                *rates = used.take();
            }
        }
        if new.failures_per_address == old.failures_per_address {
            self.failures = before.failures.take();
        }
        if new.work_per_client == old.work_per_client {
            self.work = before.work.take();
        }
        if new.refusals_per_client == old.refusals_per_client {
            self.refusals = before.refusals.take();
        }
    }
}

impl Limiter {
    pub(crate) fn new(limits: ClientLimits) -> Self {
        Self {
            rules: RwLock::new(Rules::new(limits)),
            counting: limits.connections_per_address.is_some()
                || limits.connections_per_subject.is_some(),
            connections: Mutex::default(),
            hits: Default::default(),
        }
    }

    /// Puts other limits in force.
    pub(crate) fn set(&self, limits: ClientLimits) {
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *rules, Rules::new(limits));
        rules.inherit(before);
    }

    /// Held for the length of one check.
    fn rules(&self) -> RwLockReadGuard<'_, Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Who, usize>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn hit(&self, limited: Limited) -> Limited {
        self.hits[limited.limit as usize].fetch_add(1, Ordering::Relaxed);
        limited
    }

    /// Counts a connection of these, unless one of them has too many.
    pub(crate) fn join(&self, all: &[Who]) -> Result<(), Limited> {
        let mut counts = self.counts();
        self.has_room(all, &counts)?;
        for who in all {
            *counts.entry(who.clone()).or_default() += 1;
        }
        Ok(())
    }

    /// Whether one more connection of these would be counted.
    pub(crate) fn room(&self, all: &[Who]) -> Result<(), Limited> {
        self.has_room(all, &self.counts())
    }

    fn has_room(&self, all: &[Who], counts: &HashMap<Who, usize>) -> Result<(), Limited> {
        let limits = self.rules().limits;
        for who in all {
            let (limit, max) = match who {
                Who::Subject(_) => (Limit::SubjectConnections, limits.connections_per_subject),
                _ => (Limit::AddressConnections, limits.connections_per_address),
            };
            let there = counts.get(who).copied().unwrap_or_default();
            if max.is_some_and(|max| there >= max) {
                return Err(self.hit(Limited {
                    limit,
                    retry_after: CONNECTION_RETRY,
                }));
            }
        }
        Ok(())
    }

    /// Counts a connection of these no more.
    pub(crate) fn leave(&self, all: &[Who]) {
        let mut counts = self.counts();
        for who in all {
            if let Some(count) = counts.get_mut(who) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(who);
                }
            }
        }
    }

    /// Whether any limit is in force.
    pub(crate) fn limits_anything(&self) -> bool {
        self.rules().limits != ClientLimits::default()
    }

    /// Whether connections are counted at all: a count for each costs memory.
    pub(crate) fn counts_connections(&self) -> bool {
        self.counting
    }

    fn keyed(
        &self,
        rates: Option<&Keyed>,
        who: Option<Who>,
        count: usize,
        limit: Limit,
    ) -> Result<(), Limited> {
        let (Some(rates), Some(who)) = (rates, who) else {
            return Ok(());
        };
        rates
            .take(who, count)
            .map_err(|retry_after| self.hit(Limited { limit, retry_after }))
    }

    /// Takes note of a connection that begins.
    pub(crate) fn handshake(&self, who: Who) -> Result<(), Limited> {
        self.keyed(
            self.rules().handshakes.as_ref(),
            Some(who),
            1,
            Limit::Handshakes,
        )
    }

    /// Takes note of messages, requests, events, or frames that are none of these.
    pub(crate) fn messages(&self, who: Option<Who>, count: usize) -> Result<(), Limited> {
        self.keyed(self.rules().messages.as_ref(), who, count, Limit::Messages)
    }

    /// Takes note of bytes.
    pub(crate) fn bytes(&self, who: Option<Who>, count: usize) -> Result<(), Limited> {
        self.keyed(self.rules().bytes.as_ref(), who, count, Limit::Bytes)
    }

    /// Takes note of a task that is made, if this one is.
    pub(crate) fn task(
        &self,
        who: Option<Who>,
        task_id: &TaskId,
        is_known: impl FnOnce(&TaskId) -> bool,
    ) -> Result<(), Limited> {
        // Not under the lock: it asks the bus.
        if self.rules().tasks.is_none() || is_known(task_id) {
            return Ok(());
        }
        self.keyed(self.rules().tasks.as_ref(), who, 1, Limit::Tasks)
    }

    /// Checks that requests from an address do not come to nothing all the time.
    pub(crate) fn may_fail(&self, address: &Who) -> Result<(), Limited> {
        let rules = self.rules();
        let Some(failures) = &rules.failures else {
            return Ok(());
        };
        let checked = failures.check(address, Instant::now());
        checked.map_err(|retry_after| {
            self.hit(Limited {
                limit: Limit::Failures,
                retry_after,
            })
        })
    }

    /// Takes note of a request from an address that came to nothing.
    pub(crate) fn failed(&self, address: &Who) {
        if let Some(failures) = &self.rules().failures {
            failures.add(address, 1, Instant::now());
        }
    }

    /// Reserves work that a client is about to cause. Returns how long to wait
    /// before it is done.
    pub(crate) fn reserve_work(&self, who: Option<&Who>, units: usize) -> Duration {
        let rules = self.rules();
        let (Some(work), Some(who)) = (&rules.work, who) else {
            return Duration::ZERO;
        };
        let reserved = work.reserve(who, units, Duration::MAX, Instant::now());
        reserved.unwrap_or_default()
    }

    /// The same for a client that does not wait longer than `most`.
    ///
    /// # Errors
    /// It would have to, and nothing was reserved.
    pub(crate) fn reserve_work_within(
        &self,
        who: Option<&Who>,
        units: usize,
        most: Duration,
    ) -> Result<Duration, Limited> {
        let rules = self.rules();
        let (Some(work), Some(who)) = (&rules.work, who) else {
            return Ok(Duration::ZERO);
        };
        let reserved = work.reserve(who, units, most, Instant::now());
        reserved.map_err(|retry_after| {
            self.hit(Limited {
                limit: Limit::Work,
                retry_after,
            })
        })
    }

    /// Gives back work that was reserved and not done.
    pub(crate) fn spare_work(&self, who: Option<&Who>, units: usize) {
        if let (Some(work), Some(who)) = (&self.rules().work, who) {
            work.give_back(who, units);
        }
    }

    /// Takes note of a message or request of a client that was refused.
    pub(crate) fn refused(&self, who: Option<&Who>) {
        if let (Some(refusals), Some(who)) = (&self.rules().refusals, who) {
            refusals.add(who, 1, Instant::now());
        }
    }

    /// Checks that a client is not refused all the time.
    pub(crate) fn heeds(&self, who: Option<&Who>) -> Result<(), Limited> {
        let rules = self.rules();
        let (Some(refusals), Some(who)) = (&rules.refusals, who) else {
            return Ok(());
        };
        let checked = refusals.check(who, Instant::now());
        checked.map_err(|retry_after| {
            self.hit(Limited {
                limit: Limit::Refusals,
                retry_after,
            })
        })
    }

    /// Takes note of work that a client has caused.
    pub(crate) fn worked(&self, who: Option<&Who>, units: usize) {
        if let (Some(work), Some(who)) = (&self.rules().work, who) {
            work.add(who, units, Instant::now());
        }
    }

    /// What one connection may do, kept with it from its first message on.
    pub(crate) fn own(&self) -> Own {
        let limits = self.rules().limits;
        Own::new(limits.messages_per_connection, limits.bytes_per_connection)
    }

    /// Whether a connection has limits of its own.
    pub(crate) fn has_own(&self) -> bool {
        let limits = self.rules().limits;
        limits.messages_per_connection.is_some()
            || limits.bytes_per_connection.is_some()
            || limits.messages_per_client.is_some()
            || limits.bytes_per_client.is_some()
    }

    /// Counts a refusal by a limit that somebody else keeps.
    pub(crate) fn count(&self, limit: Limit) {
        self.hits[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a refusal by a connection's own limit.
    pub(crate) fn hit_own(&self, limit: Limit, retry_after: Duration) -> Limited {
        self.hit(Limited { limit, retry_after })
    }

    /// Forgets those who have all of what they may again.
    pub(crate) fn tidy(&self) {
        let rules = self.rules();
        let all = [
            &rules.handshakes,
            &rules.messages,
            &rules.bytes,
            &rules.tasks,
        ];
        for rates in all.into_iter().flatten() {
            rates.tidy();
        }
        let all = [&rules.failures, &rules.work, &rules.refusals];
        for debts in all.into_iter().flatten() {
            debts.tidy(Instant::now());
        }
    }

    pub(crate) fn stats(&self) -> LimitStats {
        let get = |limit: Limit| self.hits[limit as usize].load(Ordering::Relaxed);
        LimitStats {
            address_connections: get(Limit::AddressConnections),
            subject_connections: get(Limit::SubjectConnections),
            handshakes: get(Limit::Handshakes),
            messages: get(Limit::Messages),
            bytes: get(Limit::Bytes),
            tasks: get(Limit::Tasks),
            failures: get(Limit::Failures),
            work: get(Limit::Work),
            http_connections: get(Limit::HttpConnections),
            refusals: get(Limit::Refusals),
        }
    }
}

impl Access {
    /// Whom the limits of a client count against.
    pub(crate) fn who(&self, addr: Option<std::net::SocketAddr>) -> Option<Who> {
        let subject = self.subject().map(|name| Who::Subject(name.clone()));
        subject.or_else(|| addr.map(|addr| Who::of(addr.ip())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somebody() -> Option<Who> {
        Some(Who::Subject("ada".into()))
    }

    #[test]
    fn limits_are_exchanged_and_what_was_used_stays_used() {
        let mut limits = ClientLimits {
            messages_per_client: Some(Rate::new(1, 2)),
            ..ClientLimits::default()
        };
        let limiter = Limiter::new(limits);
        while limiter.messages(somebody(), 1).is_ok() {}
        limits.bytes_per_client = Some(Rate::new(1, 10));
        limiter.set(limits);
        assert!(limiter.messages(somebody(), 1).is_err(), "not anew");
        assert!(limiter.bytes(somebody(), 11).is_err(), "a new one");
        limits.messages_per_client = None;
        limiter.set(limits);
        assert!(limiter.messages(somebody(), 1).is_ok());
        assert_eq!(limiter.stats().bytes, 1);
    }

    #[test]
    fn fewer_connections_than_there_are_let_nobody_else_in() {
        let all = [Who::Subject("ada".into())];
        let most = |count| ClientLimits {
            connections_per_subject: Some(count),
            ..ClientLimits::default()
        };
        let limiter = Limiter::new(most(3));
        limiter.join(&all).unwrap();
        limiter.join(&all).unwrap();
        limiter.set(most(1));
        assert!(limiter.join(&all).is_err());
        limiter.leave(&all);
        assert!(limiter.join(&all).is_err());
        limiter.leave(&all);
        limiter.join(&all).unwrap();
    }
}
