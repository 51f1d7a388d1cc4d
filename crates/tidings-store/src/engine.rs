//! The engine with its keyspaces.

use std::panic::catch_unwind;
use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions};

use crate::defaults;
use crate::error::Damage;

/// The open engine. Dropping the last handle closes it.
pub(crate) struct Engine {
    pub(crate) db: Database,
    /// Task number and offset → the event's JSON.
    pub(crate) events: Keyspace,
    /// Task id → number, extent and state.
    pub(crate) tasks: Keyspace,
    /// Task id → nothing. The task has events that its row does not include.
    pub(crate) tails: Keyspace,
    /// Task id → the task's rules, which decide about its next events. A task without rules has no
    /// entry.
    pub(crate) rules: Keyspace,
    /// Task number and output → which part of the output is kept.
    pub(crate) outputs: Keyspace,
    /// Task number, output and block → text.
    pub(crate) texts: Keyspace,
    /// Task number and offset → offset. The events from the first offset up to, but not including,
    /// the second are to be deleted.
    pub(crate) garbage: Keyspace,
    /// Name → data of the layers above the bus.
    pub(crate) kept: Keyspace,
    /// Name → facts about the store itself.
    pub(crate) meta: Keyspace,
}

impl Engine {
    /// Opens the engine. It panics at some journals that it cannot read, so this catches it.
    pub(crate) fn open(path: &Path) -> Result<Self, Damage> {
        let opened = catch_unwind(|| Self::open_keyspaces(path));
        Ok(opened.map_err(|_| Damage::EnginePanicked)??)
    }

    fn open_keyspaces(path: &Path) -> Result<Self, fjall::Error> {
        let db = Database::builder(path)
            .cache_size(defaults::CACHE_BYTES)
            .worker_threads(1)
            .open()?;
        let keyspace_of = |name, bytes| {
            let options = || KeyspaceCreateOptions::default().max_memtable_size(bytes);
            db.keyspace(name, options)
        };
        let keyspace = |name| keyspace_of(name, defaults::MEMTABLE_BYTES);
        Ok(Self {
            events: keyspace_of("events", defaults::EVENTS_MEMTABLE_BYTES)?,
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

/// Returns the key of an event. Events of one task are adjacent and in order.
pub(crate) fn event_key(number: u64, offset: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key[8..].copy_from_slice(&offset.to_be_bytes());
    key
}

/// Returns the task number and the offset in an [`event_key`], or `None` for other keys.
pub(crate) fn read_key(key: &[u8]) -> Option<(u64, u64)> {
    let (number, offset) = key.split_at_checked(8)?;
    Some((
        u64::from_be_bytes(number.try_into().ok()?),
        u64::from_be_bytes(offset.try_into().ok()?),
    ))
}
