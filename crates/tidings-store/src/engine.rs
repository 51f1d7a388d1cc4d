//! The engine with its keyspaces.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions};

use crate::defaults;

/// The open engine. Dropping the last handle closes it.
pub(crate) struct Engine {
    pub(crate) db: Database,
    /// Task number and offset → the event's JSON.
    pub(crate) events: Keyspace,
    /// Task id → number, extent and state.
    pub(crate) tasks: Keyspace,
    /// Task id → nothing: the task has events that its row does not count in.
    pub(crate) tails: Keyspace,
    /// Task id → what decides about its next events, where that is anything.
    pub(crate) rules: Keyspace,
    /// Task number and output → which part of the output is kept.
    pub(crate) outputs: Keyspace,
    /// Task number, output and block → text.
    pub(crate) texts: Keyspace,
    /// Task number and offset → offset: events from the one to before the
    /// other are to be deleted.
    pub(crate) garbage: Keyspace,
    /// Names → what layers above the bus keep.
    pub(crate) kept: Keyspace,
    /// The store's own facts.
    pub(crate) meta: Keyspace,
}

impl Engine {
    pub(crate) fn open(path: &Path) -> Result<Self, fjall::Error> {
        let db = Database::builder(path)
            .cache_size(defaults::CACHE_BYTES)
            .worker_threads(1)
            .open()?;
        let keyspace = |name| db.keyspace(name, KeyspaceCreateOptions::default);
        Ok(Self {
            events: keyspace("events")?,
            tasks: keyspace("tasks")?,
            tails: keyspace("tails")?,
            rules: keyspace("rules")?,
            outputs: keyspace("outputs")?,
            texts: keyspace("texts")?,
            garbage: keyspace("garbage")?,
            kept: keyspace("kept")?,
            meta: keyspace("meta")?,
            db,
        })
    }
}

/// Events of one task lie together, in order.
pub(crate) fn event_key(number: u64, offset: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key[8..].copy_from_slice(&offset.to_be_bytes());
    key
}

/// What [`event_key`] was made of; none for other keys.
pub(crate) fn read_key(key: &[u8]) -> Option<(u64, u64)> {
    let (number, offset) = key.split_at_checked(8)?;
    Some((
        u64::from_be_bytes(number.try_into().ok()?),
        u64::from_be_bytes(offset.try_into().ok()?),
    ))
}
