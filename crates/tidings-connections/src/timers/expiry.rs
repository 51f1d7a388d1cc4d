//! The expiry of tokens: one entry for each connection whose token expires.
//!
//! The manager's single timer checks the entries. Connections without an expiry have no entry.
//! Without authentication, no connection has one.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use tidings_bus::lock::{Guard, Lock, place};
use tidings_protocol::Timestamp;

use crate::connection::Connection;

/// Sorted by time, then by the address of the connection in memory. The address is unique as long
/// as the entry exists.
type Key = (Timestamp, usize);

#[derive(Default)]
pub(crate) struct Expiries(Lock<BTreeMap<Key, Weak<Connection>>, place::Leaf>);

fn key(connection: &Arc<Connection>, at: Timestamp) -> Key {
    (at, Arc::as_ptr(connection).addr())
}

impl Expiries {
    fn lock(&self) -> Guard<'_, BTreeMap<Key, Weak<Connection>>, place::Leaf> {
        self.0.lock()
    }

    /// Moves the entry of a connection whose token expired at `before` and now expires at `now`.
    pub(crate) fn follow(
        &self,
        connection: &Arc<Connection>,
        before: Option<Timestamp>,
        now: Option<Timestamp>,
    ) {
        if before == now {
            return;
        }
        let mut entries = self.lock();
        if let Some(before) = before {
            entries.remove(&key(connection, before));
        }
        if let Some(now) = now {
            entries.insert(key(connection, now), Arc::downgrade(connection));
        }
    }

    /// Removes the connections whose tokens have expired, and returns them.
    fn take_due(&self, now: Timestamp) -> Vec<Weak<Connection>> {
        let mut entries = self.lock();
        let mut due = Vec::new();
        while let Some(entry) = entries.first_entry()
            && entry.key().0 <= now
        {
            due.push(entry.remove());
        }
        due
    }

    /// Closes the connections whose tokens have expired.
    pub(super) fn check(&self, now: Timestamp) {
        for connection in self.take_due(now) {
            if let Some(connection) = connection.upgrade() {
                // The client may have renewed its token in the meantime.
                connection.expire(now);
            }
        }
    }
}
