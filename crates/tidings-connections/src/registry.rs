//! The registry of clients, connected and disconnected: a map by client, and a list by number.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use slab::Slab;
use tidings_bus::{Account, AccountId, Charge, Kind};
use tidings_protocol::ClientId;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::resume::{Away, Kept};

/// The number of clients that a pass over all clients visits under one lock. A client that connects
/// meanwhile waits no longer than that takes.
pub(crate) const AT_ONCE: usize = 256;

/// When a disconnected client expires.
pub(crate) type Expiry = (Instant, ClientId);

/// What is known about a client.
pub(crate) enum Client {
    Connected {
        connection: Arc<Connection>,
        slot: usize,
    },
    Away(Box<Away>),
}

/// A client that was removed from the registry.
pub(crate) enum Taken {
    Connected(Arc<Connection>),
    Away(Box<Away>),
}

#[derive(Default)]
pub(crate) struct Clients {
    pub(crate) by_id: HashMap<ClientId, Client>,
    connected: Slab<Arc<Connection>>,
    /// The expiries of the disconnected clients, one entry for each.
    expiries: BTreeMap<Expiry, ()>,
    /// The same, for each account that has disconnected clients.
    by_account: HashMap<AccountId, BTreeSet<Expiry>>,
    /// The clients whose state is being handed over. There is at most one per thread.
    settling: Vec<ClientId>,
    /// The number of threads that wait for one of them.
    waiting: usize,
}

impl Clients {
    pub(crate) fn connected(&self) -> usize {
        self.connected.len()
    }

    pub(crate) fn away(&self) -> usize {
        self.expiries.len()
    }

    /// Returns whether a client is registered, or its state is being handed over.
    pub(crate) fn knows(&self, id: &ClientId) -> bool {
        self.by_id.contains_key(id) || self.settling.contains(id)
    }

    pub(crate) fn insert(&mut self, connection: Arc<Connection>) {
        let slot = self.connected.insert(Arc::clone(&connection));
        let id = connection.client_id().clone();
        self.by_id
            .insert(id, Client::Connected { connection, slot });
    }

    /// Removes a connection. Returns `false` if its client has another connection by now.
    pub(crate) fn remove(&mut self, connection: &Arc<Connection>) -> bool {
        match self.by_id.get(connection.client_id()) {
            Some(Client::Connected {
                connection: known,
                slot,
            }) if Arc::ptr_eq(known, connection) => {
                let slot = *slot;
                self.by_id.remove(connection.client_id());
                self.connected.remove(slot);
                if self.connected.is_empty() {
                    self.connected = Slab::new();
                }
                true
            }
            _ => false,
        }
    }

    /// Removes a client, connected or not.
    pub(crate) fn take(&mut self, id: &ClientId) -> Option<Taken> {
        match self.by_id.get(id)? {
            Client::Connected { connection, .. } => {
                let connection = Arc::clone(connection);
                self.remove(&connection);
                Some(Taken::Connected(connection))
            }
            Client::Away(_) => self.take_away(id).map(Taken::Away),
        }
    }

    pub(crate) fn keep(&mut self, id: ClientId, away: Box<Away>) {
        let account = away.charge.account().id().clone();
        let expiry = (away.until, id.clone());
        self.by_account
            .entry(account)
            .or_default()
            .insert(expiry.clone());
        self.expiries.insert(expiry, ());
        self.by_id.insert(id, Client::Away(away));
    }

    /// Removes a disconnected client.
    pub(crate) fn take_away(&mut self, id: &ClientId) -> Option<Box<Away>> {
        if !matches!(self.by_id.get(id), Some(Client::Away(_))) {
            return None;
        }
        match self.by_id.remove(id) {
            Some(Client::Away(away)) => {
                let expiry = (away.until, id.clone());
                self.expiries.remove(&expiry);
                let account = away.charge.account().id();
                if let Some(of_account) = self.by_account.get_mut(account) {
                    of_account.remove(&expiry);
                    if of_account.is_empty() {
                        self.by_account.remove(account);
                    }
                }
                Some(away)
            }
            _ => None,
        }
    }

    /// Charges the account for a client that will be kept. If there is no room, clients that have
    /// been disconnected longest are deleted and returned. The account's own clients go first. If
    /// it has none and keeps no more than `most` bytes, the clients of the account with the most
    /// clients go.
    pub(crate) fn make_room(
        &mut self,
        account: &Account,
        bytes: u64,
        most: u64,
    ) -> (Option<Charge>, Vec<Kept>) {
        let mut gone = Vec::new();
        loop {
            let is_full = account.held(Kind::KeptClient) + bytes > most;
            let charged = match is_full {
                true => None,
                false => account.charge(Kind::KeptClient, bytes).ok(),
            };
            if charged.is_some() {
                return (charged, gone);
            }
            let own = self.by_account.get(account.id());
            let victims = match own {
                Some(own) => Some(own),
                None if is_full => None,
                None => self.by_account.values().max_by_key(|all| all.len()),
            };
            let victim = victims
                .and_then(|all| all.first())
                .map(|(_, id)| id.clone());
            let Some(away) = victim.and_then(|id| self.take_away(&id)) else {
                return (None, gone);
            };
            // Dropping `away` frees its charge before the next attempt.
            let Away { kept, .. } = *away;
            gone.push(kept);
        }
    }

    /// Removes up to [`AT_ONCE`] clients that have expired or exceed `max`, and returns them. Those
    /// that have been disconnected longest come first.
    pub(crate) fn take_expired(&mut self, now: Instant, max: usize) -> Vec<Kept> {
        let mut expired = Vec::new();
        while expired.len() < AT_ONCE
            && let Some(((until, id), ())) = self.expiries.first_key_value()
        {
            if *until > now && self.expiries.len() <= max {
                break;
            }
            let id = id.clone();
            expired.extend(self.take_away(&id).map(|away| away.kept));
        }
        expired
    }

    /// Returns up to [`AT_ONCE`] disconnected clients after the given one.
    pub(crate) fn away_after(&self, after: Option<&Expiry>) -> Vec<(&Expiry, &Away)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let some = self.expiries.range((from, Bound::Unbounded)).take(AT_ONCE);
        some.filter_map(|(expiry, ())| match self.by_id.get(&expiry.1) {
            Some(Client::Away(away)) => Some((expiry, &**away)),
            _ => None,
        })
        .collect()
    }

    pub(crate) fn connections(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.connected.iter().map(|(_, connection)| connection)
    }
}

/// The lock around [`Clients`].
#[derive(Default)]
pub(crate) struct Registry {
    clients: Mutex<Clients>,
    settled: Condvar,
}

/// While this guard exists, no other connection can take over the client's state.
pub(crate) struct Settling<'a> {
    registry: &'a Registry,
    id: ClientId,
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        let mut clients = self.registry.lock();
        clients.settling.retain(|id| *id != self.id);
        let waited_for = clients.waiting > 0;
        drop(clients);
        // Skip this system call in the usual case that no thread waits.
        if waited_for {
            self.registry.settled.notify_all();
        }
    }
}

impl Registry {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no other thread is handing over the client's state. Cursors and inbox pass from
    /// one connection to the next in several steps. A connection that came in between would find
    /// nothing. The wait is short, because no step awaits.
    pub(crate) fn settle(&self, id: &ClientId) -> Settling<'_> {
        let mut clients = self.lock();
        while clients.settling.contains(id) {
            clients.waiting += 1;
            clients = self
                .settled
                .wait(clients)
                .unwrap_or_else(PoisonError::into_inner);
            clients.waiting -= 1;
        }
        clients.settling.push(id.clone());
        Settling {
            registry: self,
            id: id.clone(),
        }
    }

    /// Returns the connections of the next [`AT_ONCE`] numbers, possibly none. Returns `None` after
    /// the last number.
    pub(crate) fn connected_from(&self, number: &mut usize) -> Option<Vec<Arc<Connection>>> {
        let clients = self.lock();
        let end = clients.connected.capacity().min(*number + AT_ONCE);
        let numbers = std::mem::replace(number, end)..end;
        if numbers.is_empty() {
            return None;
        }
        let connected = numbers.filter_map(|number| clients.connected.get(number));
        Some(connected.cloned().collect())
    }

    /// Returns the connections whose number belongs to this slot of the heartbeat wheel.
    pub(crate) fn in_slot(&self, slot: u32, slots: u32) -> Vec<Arc<Connection>> {
        self.lock()
            .connected
            .iter()
            .filter(|(number, _)| number % slots as usize == slot as usize)
            .map(|(_, connection)| Arc::clone(connection))
            .collect()
    }
}
