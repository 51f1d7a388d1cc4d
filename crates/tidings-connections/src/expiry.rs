//! When tokens expire: one entry for each connection whose token does.
//!
//! Looked at by the manager's one timer. Connections without an end, which are
//! all where nobody is asked for a token, are not in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tidings_protocol::Timestamp;

use crate::close::CloseReason;
use crate::connection::Connection;
use crate::manager::Inner;

/// By time, and then by where the connection lies, which is its own for as
/// long as its entry is there.
type Key = (Timestamp, usize);

#[derive(Default)]
pub(crate) struct Expiries(Mutex<BTreeMap<Key, Weak<Connection>>>);

fn key(connection: &Arc<Connection>, at: Timestamp) -> Key {
    (at, Arc::as_ptr(connection).addr())
}

impl Expiries {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Weak<Connection>>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Follows a connection whose token ended at `before` and now ends at `now`.
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

    /// Takes the connections out whose time is over.
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
}

impl Inner {
    /// Closes the connections whose token has expired.
    pub(crate) fn end_expired(&self) {
        let now = self.bus.config().clock.now();
        for connection in self.expiries.take_due(now) {
            if let Some(connection) = connection.upgrade() {
                connection.close(CloseReason::TokenExpired);
            }
        }
    }
}
