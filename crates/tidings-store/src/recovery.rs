//! From what is on disk to what the writer knows: one row a task, and of tasks
//! that were being written to the few events that their rows lack. The history
//! is not read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_bus::protocol::{Epoch, Event, Payload, TaskId};
use tidings_bus::{StoredRules, StoredTask};

use crate::config::Sync;
use crate::engine::{Engine, event_key, read_key};
use crate::error::Damage;
use crate::index::{Entry, Index, Tail};
use crate::outputs;
use crate::rows::{BACKUP, CHANGES, ERA, Era, OwnedRow, SYNC};

/// What opening a store found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// The store was made just now.
    pub created: bool,
    /// The last process stopped in order.
    pub clean: bool,
    /// It is a backup, and this its first start.
    pub backup: bool,
    /// Every task has a new epoch: after an unclean stop, and in a backup,
    /// events may have been seen that are not on disk.
    pub epoch_changed: bool,
    /// Tasks that are there.
    pub tasks: u64,
    /// Events that are there.
    pub events: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Events that were read again to bring states up to date.
    pub replayed: u64,
    /// How long it took.
    pub took: Duration,
}

/// What was read.
pub(crate) struct Loaded {
    pub(crate) index: Index,
    pub(crate) era: Era,
    /// Those that a bus has in memory from the start.
    pub(crate) tasks: Vec<StoredTask>,
    pub(crate) replayed: u64,
}

/// Tasks that a bus has in memory from the start, beside those that have a lease. A
/// store with more of them opens in little memory; the others come on demand.
pub(crate) const AT_ONCE: usize = 10_000;

pub(crate) fn row<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Damage> {
    serde_json::from_slice(bytes).map_err(|cause| Damage::Row {
        what: what.to_owned(),
        cause,
    })
}

fn fact<T: DeserializeOwned>(engine: &Engine, name: &str) -> Result<Option<T>, Damage> {
    let found = engine.meta.get(name)?;
    found.map(|bytes| row(name, &bytes)).transpose()
}

/// How a directory was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Left {
    /// By a stop in order.
    Clean,
    /// By a crash.
    Unclean,
    /// It is a backup that was not started yet.
    Backup,
}

/// What decides about the epoch that follows.
pub(crate) struct Standing {
    pub(crate) left: Left,
    /// How the last process that had it synced.
    pub(crate) sync: Option<Sync>,
}

impl Standing {
    /// `clean`: changes at the last stop in order, if that was the last stop.
    pub(crate) fn read(engine: &Engine, clean: Option<u64>) -> Result<Self, Damage> {
        let said: Option<String> = fact(engine, SYNC)?;
        let said = said.as_deref();
        Ok(Self {
            left: match clean {
                _ if said == Some(BACKUP) => Left::Backup,
                Some(_) => Left::Clean,
                None => Left::Unclean,
            },
            sync: said.and_then(|text| text.parse().ok()),
        })
    }

    /// Whether all that anybody has seen is there, and nothing else was ever
    /// seen under the offsets that come next.
    pub(crate) fn epoch_goes_on(&self) -> bool {
        match self.left {
            Left::Clean => true,
            Left::Unclean => self.sync == Some(Sync::EveryCommit),
            Left::Backup => false,
        }
    }
}

/// Refuses a directory that was closed in order and holds less than it did then.
pub(crate) fn check(clean: Option<u64>, index: &Index) -> Result<(), Damage> {
    match clean {
        Some(closed) if closed != index.changes => Err(Damage::Shorter {
            closed,
            found: index.changes,
        }),
        _ => Ok(()),
    }
}

pub(crate) fn era(engine: &Engine) -> Result<Era, Damage> {
    Ok(fact(engine, ERA)?.unwrap_or_default())
}

/// The era after one that ended with events seen that may not be on disk.
pub(crate) fn next_era(era: &Era) -> Era {
    let text = uuid::Uuid::new_v4().simple().to_string();
    Era {
        number: era.number + 1,
        // Twelve hexadecimal digits, and a letter that no bus's own begin with.
        epoch: Epoch::new(format!("r{}", &text[..12])).ok(),
    }
}

/// The state in a row, under the epoch that counts now.
fn renamed(mut row: OwnedRow, era: &Era) -> OwnedRow {
    if row.era < era.number
        && let Some(epoch) = &era.epoch
    {
        row.snapshot.epoch = epoch.clone();
    }
    row
}

/// Reads one task's row.
pub(crate) fn read_row(
    engine: &Engine,
    era: &Era,
    task_id: &TaskId,
) -> Result<Option<OwnedRow>, Damage> {
    let found = engine.tasks.get(task_id.as_str())?;
    let found = found
        .map(|bytes| row(task_id.as_str(), &bytes))
        .transpose()?;
    Ok(found.map(|found| renamed(found, era)))
}

/// Reads what decides about a task's next events.
pub(crate) fn read_rules(engine: &Engine, task_id: &TaskId) -> Result<StoredRules, Damage> {
    match engine.rules.get(task_id.as_str())? {
        Some(bytes) => row(&format!("{task_id}'s rules"), &bytes),
        None => Ok(StoredRules::default()),
    }
}

/// Reads every row. Keeps the index of all tasks, and the states of those with a
/// lease or an open question and of `at_once` others.
pub(crate) fn load(engine: &Engine, era: Era, at_once: usize) -> Result<Loaded, Damage> {
    let mut index = Index {
        changes: fact(engine, CHANGES)?.unwrap_or(0),
        ..Index::default()
    };
    let mut tails = HashSet::new();
    for tail in engine.tails.iter() {
        tails.insert(tail.key()?.to_vec());
    }
    for garbage in engine.garbage.iter() {
        if let Some((number, _)) = read_key(&garbage.key()?) {
            index.next_number = index.next_number.max(number + 1);
        }
    }
    let mut rules = HashMap::new();
    for found in engine.rules.iter() {
        let (key, value) = found.into_inner()?;
        let name = String::from_utf8_lossy(&key);
        rules.insert(key.to_vec(), row(&format!("{name}'s rules"), &value)?);
    }
    let mut tasks = Vec::new();
    let mut replayed = 0;
    for found in engine.tasks.iter() {
        let (key, value) = found.into_inner()?;
        let name = String::from_utf8_lossy(&key);
        let mut row = renamed(row::<OwnedRow>(&name, &value)?, &era);
        let mut tail = None;
        let (mut events, mut bytes) = (0, 0);
        if tails.contains(&key[..]) {
            (events, bytes) = replay(engine, &mut row)?;
            replayed += events;
        }
        let snapshot = Arc::new(row.snapshot);
        if events > 0 {
            tail = Some(Tail {
                events,
                bytes,
                snapshot: Arc::clone(&snapshot),
            });
        }
        let entry = Entry {
            number: row.number,
            epoch: snapshot.epoch.clone(),
            first: row.first,
            next: snapshot.offset.get() + 1,
            bytes: row.bytes + bytes,
            touched: snapshot.updated_at.unwrap_or_default(),
            ended: snapshot.status.is_terminal(),
            row_bytes: value.len() as u64,
            tail,
        };
        index.next_number = index.next_number.max(row.number + 1);
        index.bytes += entry.bytes;
        let rules: StoredRules = rules.remove(&key[..]).unwrap_or_default();
        let is_due = rules.lease_ms.is_some() || !snapshot.pending_inputs.is_empty();
        if tasks.len() < at_once || is_due {
            tasks.push(StoredTask {
                first: entry.first_offset(),
                snapshot: Arc::clone(&snapshot),
                rules,
                outputs: outputs::read(engine, entry.number)?,
            });
        }
        index.tasks.insert(snapshot.task_id.clone(), entry);
    }
    Ok(Loaded {
        index,
        era,
        tasks,
        replayed,
    })
}

/// Brings a row's state up to its task's newest event; gives how many events
/// that took, and their bytes.
fn replay(engine: &Engine, row: &mut OwnedRow) -> Result<(u64, u64), Damage> {
    let (mut events, mut size) = (0, 0);
    let from = event_key(row.number, row.snapshot.offset.get() + 1);
    for found in engine.events.range(from..event_key(row.number + 1, 0)) {
        let (key, json) = found.into_inner()?;
        let expected = row.snapshot.offset.next();
        let name = || row.snapshot.task_id.to_string();
        if read_key(&key).is_none_or(|(_, offset)| offset != expected.get()) {
            return Err(Damage::Hole {
                task: name(),
                offset: expected.get(),
            });
        }
        let wrong = |cause| Damage::Row {
            what: format!("event {expected} of {}", name()),
            cause,
        };
        let event: Event = serde_json::from_slice(&json).map_err(wrong)?;
        let payload =
            Payload::of(&event).map_err(|error| wrong(serde::de::Error::custom(error)))?;
        row.snapshot.apply(&payload, event.offset, event.timestamp);
        events += 1;
        size += json.len() as u64;
    }
    Ok((events, size))
}
