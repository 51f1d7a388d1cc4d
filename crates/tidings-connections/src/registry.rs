//! The registry of clients, connected and disconnected: a map by client, and a list by number.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Condvar};

use slab::Slab;
use tidings_bus::lock::{Guard, Lock, place};
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

/// The state of a client in the registry.
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
    /// The connections that have lost their client, for example to a newer connection, and have
    /// not ended yet. The key is the address in memory.
    ending: HashMap<usize, Arc<Connection>>,
    /// The expiries of the disconnected clients, one entry for each.
    expiries: BTreeMap<Expiry, ()>,
    /// The same entries for each account that has disconnected clients.
    by_account: HashMap<AccountId, BTreeSet<Expiry>>,
    /// The clients whose state is being handed over. A thread hands over one client at a time.
    handed_over: Vec<ClientId>,
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
        self.by_id.contains_key(id) || self.handed_over.contains(id)
    }

    pub(crate) fn insert(&mut self, connection: Arc<Connection>) {
        let slot = self.connected.insert(Arc::clone(&connection));
        let id = connection.client_id().clone();
        self.by_id
            .insert(id, Client::Connected { connection, slot });
    }

    /// Removes a connection that has ended. Returns `false` if its client has another connection
    /// by now.
    pub(crate) fn ended(&mut self, connection: &Arc<Connection>) -> bool {
        let registered = self.remove(connection);
        if !registered {
            self.ending.remove(&Arc::as_ptr(connection).addr());
        }
        registered
    }

    /// Takes the client away from a connection. The connection counts as ending from now on.
    pub(crate) fn dismiss(&mut self, connection: &Arc<Connection>) {
        if self.remove(connection) {
            let address = Arc::as_ptr(connection).addr();
            self.ending.insert(address, Arc::clone(connection));
        }
    }

    fn remove(&mut self, connection: &Arc<Connection>) -> bool {
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
                self.dismiss(&connection);
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

    /// Returns all connections that have not ended, registered or not.
    pub(crate) fn alive(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.connections().chain(self.ending.values())
    }

    pub(crate) fn connections(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.connected.iter().map(|(_, connection)| connection)
    }
}

/// The lock around [`Clients`].
#[derive(Default)]
pub(crate) struct Registry {
    clients: Lock<Clients, place::Clients>,
    handover_ended: Condvar,
}

/// The right to hand over the state of one client. While this guard exists, no other connection can
/// take over the state.
pub(crate) struct Handover<'a> {
    registry: &'a Registry,
    id: ClientId,
}

impl Drop for Handover<'_> {
    fn drop(&mut self) {
        let mut clients = self.registry.lock();
        clients.handed_over.retain(|id| *id != self.id);
        let waited_for = clients.waiting > 0;
        drop(clients);
        // Skip this system call in the usual case that no thread waits.
        if waited_for {
            self.registry.handover_ended.notify_all();
        }
    }
}

impl Registry {
    pub(crate) fn lock(&self) -> Guard<'_, Clients, place::Clients> {
        self.clients.lock()
    }

    /// Begins a handover of the client's state. First waits until no other thread hands it over.
    ///
    /// Cursors and inbox pass from one connection to the next in several steps. A connection that
    /// came in between would find nothing. The wait is short, because no step awaits.
    pub(crate) fn hand_over(&self, id: &ClientId) -> Handover<'_> {
        let mut clients = self.lock();
        while clients.handed_over.contains(id) {
            clients.waiting += 1;
            clients = clients.wait(&self.handover_ended);
            clients.waiting -= 1;
        }
        clients.handed_over.push(id.clone());
        Handover {
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

#[cfg(test)]
mod tests {
    use std::io::{self, IoSlice};
    use std::sync::{Mutex, mpsc};
    use std::task::{Context, Poll};
    use std::thread;

    use futures_util::FutureExt as _;
    use tidings_bus::{BusConfig, EventBus, EventRecord, Framing};
    use tidings_protocol::{CloseCode, Secret, TaskId};
    use tokio::runtime::Handle;

    use super::*;
    use crate::auth::Access;
    use crate::config::ConnectionsConfig;
    use crate::manager::{ConnectRequest, ConnectionGuard, ConnectionManager};
    use crate::socket::{Socket, Wire};

    struct Bare;

    impl Wire for Bare {
        fn framing(&self) -> Option<Framing> {
            None
        }

        fn event(&self, _: &EventRecord, _: &mut Vec<u8>) {}

        fn control(&self, json: &str, out: &mut Vec<u8>) {
            out.extend_from_slice(json.as_bytes());
        }

        fn ping(&self, _: &mut Vec<u8>) {}

        fn close(&self, _: CloseCode, _: &str, _: &mut Vec<u8>) {}

        fn answers_pings(&self) -> bool {
            false
        }

        fn name(&self) -> &'static str {
            "bare"
        }
    }

    type Hook = Box<dyn FnOnce() + Send>;

    /// A socket that accepts everything, and calls a hook before it accepts its second write.
    struct Hooked(Mutex<(u8, Option<Hook>)>);

    impl Socket for Hooked {
        fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
            let hook = {
                let (writes, hook) = &mut *self.0.lock().unwrap();
                *writes += 1;
                hook.take_if(|_| *writes == 2)
            };
            if let Some(hook) = hook {
                hook();
            }
            Ok(bufs.iter().map(|buf| buf.len()).sum())
        }

        fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn try_read(&self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }

        fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    fn connect(
        manager: &ConnectionManager,
        token: Option<&str>,
        task: Option<&str>,
        hook: Option<Hook>,
    ) -> ConnectionGuard {
        let mut request = ConnectRequest::new(Access::unrestricted());
        request.client_id = Some(ClientId::new("a").unwrap());
        request.resume_token = token.map(|token| Secret::from(token.to_owned()));
        request.task_id = task.map(|task| TaskId::new(task).unwrap());
        let socket = Box::new(Hooked(Mutex::new((0, hook))));
        let admitted = manager.admit(request).now_or_never().unwrap();
        admitted.unwrap().connect(socket, &Bare).unwrap()
    }

    /// The first connection is told that the second one replaces it. In this moment the same
    /// client connects for the third time, in another thread.
    #[tokio::test]
    async fn a_third_connection_waits_until_the_second_has_everything() {
        let bus = EventBus::new(BusConfig::default()).unwrap();
        let manager = ConnectionManager::new(bus, ConnectionsConfig::default()).unwrap();
        let (begin, begun) = mpsc::channel();
        let (proceed, may_proceed) = mpsc::channel();
        let hook: Hook = Box::new(move || {
            begin.send(()).unwrap();
            may_proceed.recv().unwrap();
        });
        let first = connect(&manager, None, Some("t"), Some(hook));
        let token = first.connection().token().to_string();

        let (runtime, own, shown) = (Handle::current(), manager.clone(), token.clone());
        let third = thread::spawn(move || {
            let _runtime = runtime.enter();
            begun.recv().unwrap();
            let (other, shown) = (own.clone(), shown);
            let third = thread::spawn(move || {
                let _runtime = runtime.enter();
                connect(&other, Some(&shown), None, None)
            });
            while own.inner.registry.lock().waiting == 0 && !third.is_finished() {
                thread::yield_now();
            }
            proceed.send(()).unwrap();
            third.join().unwrap()
        });
        let second = connect(&manager, Some(&token), None, None);
        let third = third.join().unwrap();
        assert!(!second.connection().is_open(), "it was replaced");
        // The rest of a client's state is restored by the connection's task.
        for _ in 0..100 {
            let drive = |cx: &mut Context<'_>| Poll::Ready(third.connection().poll_drive(cx));
            let _ = std::future::poll_fn(drive).await;
        }
        let watched = third.connection().info().subscriptions;
        let watched: Vec<_> = watched.iter().map(|sub| sub.task_id.as_str()).collect();
        assert_eq!(watched, ["t"]);
        drop((first, second, third));
        let mut clients = manager.inner.registry.lock();
        assert_eq!((clients.connected(), clients.away()), (0, 1));
        assert!(clients.ending.is_empty() && clients.handed_over.is_empty());
        assert!(clients.take(&ClientId::new("a").unwrap()).is_some());
    }
}
