//! Limits on how much of the server one client may use.
//!
//! A client counts by its subject if it is authenticated with one, and by its address otherwise. An
//! IPv6 address counts by its first 64 bits, because one household or host gets a whole /64.

mod bucket;
mod debt;
mod limit;
mod rate;
mod who;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidings_bus::lock::{Guard, Lock, Reading, SharedLock, place};
use tidings_protocol::TaskId;
use tokio::time::Instant;

use crate::auth::Access;
pub use bucket::Rate;
use debt::Debts;
pub use limit::{Limit, LimitStats, Limited};
pub(crate) use rate::{Keyed, Own};
pub(crate) use who::Who;

/// The limits of a single client. `None` means no limit.
///
/// By default there are no limits, because an embedder or a server on a private machine knows its
/// clients. [`for_strangers`](Self::for_strangers) has values for a public server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientLimits {
    /// The most connections (WebSocket, SSE) at a time from one address.
    pub connections_per_address: Option<usize>,
    /// The most connections (WebSocket, SSE) at a time of one subject.
    pub connections_per_subject: Option<usize>,
    /// The rate at which one address may begin connections. Connections that fail count too.
    pub handshakes_per_address: Option<Rate>,
    /// The rate of messages on one connection.
    pub messages_per_connection: Option<Rate>,
    /// The rate of bytes received on one connection, of any kind.
    pub bytes_per_connection: Option<Rate>,
    /// The rate of messages, requests and published events of one client, over all its connections.
    pub messages_per_client: Option<Rate>,
    /// The rate of bytes in messages and bodies of one client, over all its connections.
    pub bytes_per_client: Option<Rate>,
    /// The rate of tasks that one client creates by publishing their first event.
    pub tasks_per_client: Option<Rate>,
    /// The rate of requests from one address that fail before their client is authenticated: wrong
    /// tokens, missing tokens and unknown paths.
    pub failures_per_address: Option<Rate>,
    /// The rate of work that one client causes beyond its messages. Each task matched by a pattern
    /// or a list, and each event read from history, is one unit.
    pub work_per_client: Option<Rate>,
    /// The rate of refused messages and requests of one client, over all its connections. They are
    /// malformed, not allowed, or too many.
    pub refusals_per_client: Option<Rate>,
}

impl ClientLimits {
    /// Returns limits for a public server. They are far above the needs of a busy dashboard or
    /// worker, and far below the size of a flood.
    pub fn for_strangers() -> Self {
        Self {
            // A company with some hundred people may share one address.
            connections_per_address: Some(1_000),
            connections_per_subject: Some(1_000),
            handshakes_per_address: Some(Rate::new(100, 1_000)),
            messages_per_connection: Some(Rate::new(2_000, 4_000)),
            bytes_per_connection: Some(Rate::new(4 << 20, 8 << 20)),
            messages_per_client: Some(Rate::new(5_000, 10_000)),
            bytes_per_client: Some(Rate::new(8 << 20, 16 << 20)),
            tasks_per_client: Some(Rate::new(100, 2_000)),
            // An office whose tokens have all expired causes one burst of failures, and no steady
            // stream.
            failures_per_address: Some(Rate::new(10, 500)),
            // One unit takes about 10 µs, so a client has a fifth of a core. A dashboard of 40,000
            // tasks opens in two seconds. A burst is so short that other clients do not notice it.
            work_per_client: Some(Rate::steady(20_000, 5_000)),
            // A client that obeys `retry_after` slows down long before this limit.
            refusals_per_client: Some(Rate::new(100, 1_000)),
        }
    }
}

/// The time that a client with too many connections is told to wait. A place may become free at any
/// time, or never.
const CONNECTION_RETRY: Duration = Duration::from_secs(5);

/// The limits in force, and how much of them each client has used.
pub(crate) struct Limiter {
    rules: SharedLock<Rules, place::Limits>,
    /// `true` if connections are counted. The count must start with the first connection, because a
    /// later start would miss the existing ones.
    counting: bool,
    connections: Lock<HashMap<Who, usize>, place::Counts>,
    hits: [AtomicU64; Limit::ALL.len()],
}

/// The limits that can be replaced while the server runs.
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

    /// Takes over the usage from `before` wherever the rate has not changed. Without this, a client
    /// that has used up its limits would start afresh.
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
            rules: SharedLock::new(Rules::new(limits)),
            counting: limits.connections_per_address.is_some()
                || limits.connections_per_subject.is_some(),
            connections: Lock::default(),
            hits: Default::default(),
        }
    }

    /// Replaces the limits.
    pub(crate) fn set(&self, limits: ClientLimits) {
        let mut rules = self.rules.write();
        let before = std::mem::replace(&mut *rules, Rules::new(limits));
        rules.inherit(before);
    }

    /// Locks the limits for one check.
    fn rules(&self) -> Reading<'_, Rules, place::Limits> {
        self.rules.read()
    }

    fn counts(&self) -> Guard<'_, HashMap<Who, usize>, place::Counts> {
        self.connections.lock()
    }

    fn hit(&self, limited: Limited) -> Limited {
        self.hits[limited.limit as usize].fetch_add(1, Ordering::Relaxed);
        limited
    }

    /// Counts a connection for all of these, unless one of them has too many connections. If it
    /// replaces a connection, that connection's own `leave` releases the places in `given_up`.
    pub(crate) fn join(&self, all: &[Who], given_up: &[Who]) -> Result<(), Limited> {
        let mut counts = self.counts();
        self.has_room(all, given_up, &counts)?;
        for who in all {
            *counts.entry(who.clone()).or_default() += 1;
        }
        Ok(())
    }

    /// Returns whether [`join`](Self::join) would count one more connection.
    pub(crate) fn room(&self, all: &[Who], given_up: &[Who]) -> Result<(), Limited> {
        self.has_room(all, given_up, &self.counts())
    }

    fn has_room(
        &self,
        all: &[Who],
        given_up: &[Who],
        counts: &HashMap<Who, usize>,
    ) -> Result<(), Limited> {
        let limits = self.rules().limits;
        for who in all {
            let (limit, max) = match who {
                Who::Subject(_) => (Limit::SubjectConnections, limits.connections_per_subject),
                _ => (Limit::AddressConnections, limits.connections_per_address),
            };
            let there = counts.get(who).copied().unwrap_or_default();
            let there = there.saturating_sub(usize::from(given_up.contains(who)));
            if max.is_some_and(|max| there >= max) {
                return Err(self.hit(Limited {
                    limit,
                    retry_after: CONNECTION_RETRY,
                }));
            }
        }
        Ok(())
    }

    /// Ends the count of a connection for all of these.
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

    /// Returns whether any limit is in force.
    pub(crate) fn limits_anything(&self) -> bool {
        self.rules().limits != ClientLimits::default()
    }

    /// Returns whether connections are counted. Each counted address or subject costs memory.
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

    /// Counts a connection that begins.
    pub(crate) fn handshake(&self, who: Who) -> Result<(), Limited> {
        self.keyed(
            self.rules().handshakes.as_ref(),
            Some(who),
            1,
            Limit::Handshakes,
        )
    }

    /// Counts messages, requests, events, or frames that are none of these.
    pub(crate) fn messages(&self, who: Option<Who>, count: usize) -> Result<(), Limited> {
        self.keyed(self.rules().messages.as_ref(), who, count, Limit::Messages)
    }

    /// Counts bytes.
    pub(crate) fn bytes(&self, who: Option<Who>, count: usize) -> Result<(), Limited> {
        self.keyed(self.rules().bytes.as_ref(), who, count, Limit::Bytes)
    }

    /// Counts a task that is about to be created. A task that already exists is not counted.
    pub(crate) fn task(
        &self,
        who: Option<Who>,
        task_id: &TaskId,
        is_known: impl FnOnce(&TaskId) -> bool,
    ) -> Result<(), Limited> {
        // The lock must not be held here, because `is_known` asks the bus.
        if self.rules().tasks.is_none() || is_known(task_id) {
            return Ok(());
        }
        self.keyed(self.rules().tasks.as_ref(), who, 1, Limit::Tasks)
    }

    /// Checks that not too many requests from an address have failed.
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

    /// Counts a failed request from an address.
    pub(crate) fn failed(&self, address: &Who) {
        if let Some(failures) = &self.rules().failures {
            failures.add(address, 1, Instant::now());
        }
    }

    /// Reserves work that a client is about to cause. Returns how long to wait before the work.
    pub(crate) fn reserve_work(&self, who: Option<&Who>, units: usize) -> Duration {
        let rules = self.rules();
        let (Some(work), Some(who)) = (&rules.work, who) else {
            return Duration::ZERO;
        };
        let reserved = work.reserve(who, units, Duration::MAX, Instant::now());
        reserved.unwrap_or_default()
    }

    /// Like [`reserve_work`](Self::reserve_work), but for a client that waits at most `most`.
    ///
    /// # Errors
    /// Returns an error if the wait would be longer. Nothing was reserved.
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

    /// Releases reserved work that was not done.
    pub(crate) fn spare_work(&self, who: Option<&Who>, units: usize) {
        if let (Some(work), Some(who)) = (&self.rules().work, who) {
            work.give_back(who, units);
        }
    }

    /// Counts a refused message or request of a client.
    pub(crate) fn refused(&self, who: Option<&Who>) {
        if let (Some(refusals), Some(who)) = (&self.rules().refusals, who) {
            refusals.add(who, 1, Instant::now());
        }
    }

    /// Checks that not too many messages and requests of a client were refused.
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

    /// Counts work that a client has caused.
    pub(crate) fn worked(&self, who: Option<&Who>, units: usize) {
        if let (Some(work), Some(who)) = (&self.rules().work, who) {
            work.add(who, units, Instant::now());
        }
    }

    /// Returns the rates of one connection. The connection keeps them from its first message on.
    pub(crate) fn own(&self) -> Own {
        let limits = self.rules().limits;
        Own::new(limits.messages_per_connection, limits.bytes_per_connection)
    }

    /// Returns whether the messages or bytes of a connection are limited.
    pub(crate) fn has_own(&self) -> bool {
        let limits = self.rules().limits;
        limits.messages_per_connection.is_some()
            || limits.bytes_per_connection.is_some()
            || limits.messages_per_client.is_some()
            || limits.bytes_per_client.is_some()
    }

    /// Counts a refusal by a limit that the caller enforces.
    pub(crate) fn count(&self, limit: Limit) {
        self.hits[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a refusal by a connection's own limit.
    pub(crate) fn hit_own(&self, limit: Limit, retry_after: Duration) -> Limited {
        self.hit(Limited { limit, retry_after })
    }

    /// Removes the entries of clients whose limits are fully available again.
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
    /// Returns the subject or the address that the limits of this client count. Returns `None` if
    /// neither is known.
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
        limiter.join(&all, &[]).unwrap();
        limiter.join(&all, &[]).unwrap();
        limiter.set(most(1));
        assert!(limiter.join(&all, &[]).is_err());
        limiter.leave(&all);
        assert!(limiter.join(&all, &[]).is_err());
        limiter.leave(&all);
        limiter.join(&all, &[]).unwrap();
    }
}
