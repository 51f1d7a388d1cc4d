//! Recovery: loads the writer's index from disk. It reads one row for each task. For tasks that
//! were being written, it also reads the few events that their rows lack. It does not read the
//! history.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_bus::protocol::{Epoch, Event, Payload, TaskId, TaskSnapshot};
use tidings_bus::{Related, StoredRules, StoredTask};

use crate::config::Sync;
use crate::engine::{Engine, event_key, read_key};
use crate::error::Damage;
use crate::index::{Entry, Index, State};
use crate::outputs;
use crate::rows::{BACKUP, Brief, CHANGES, ERA, Era, OwnedRow, SYNC, TaskRow};

/// The result of opening a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// `true` if the store was created just now.
    pub created: bool,
    /// `true` if the last process stopped in order.
    pub clean: bool,
    /// `true` if the store is a backup that starts for the first time.
    pub backup: bool,
    /// `true` if every task has a new epoch. This is so after an unclean stop and in a backup,
    /// because subscribers may have seen events that are not on disk.
    pub epoch_changed: bool,
    /// The number of tasks.
    pub tasks: u64,
    /// The number of events.
    pub events: u64,
    /// The size of the events in bytes.
    pub bytes: u64,
    /// The number of events that were read again to update states.
    pub replayed: u64,
    /// How long the opening took.
    pub took: Duration,
}

/// The loaded data.
pub(crate) struct Loaded {
    pub(crate) index: Index,
    pub(crate) era: Era,
    /// The tasks that a bus has in memory from the start, each with the bytes of its events.
    pub(crate) tasks: Vec<(StoredTask, u64)>,
    /// The number of events of all tasks.
    pub(crate) events: u64,
    pub(crate) replayed: u64,
}

impl Loaded {
    /// Adds a task whose row is up to date.
    fn add(&mut self, task_id: &TaskId, entry: Entry) -> Entry {
        self.events += entry.events();
        self.index.found(task_id, entry.clone());
        entry
    }

    /// Adds a task whose row may lack events.
    fn add_with_tail(
        &mut self,
        engine: &Engine,
        mut row: OwnedRow,
        mut entry: Entry,
    ) -> Result<(Arc<TaskSnapshot>, Entry), Damage> {
        let (events, bytes) = replay(engine, &mut row)?;
        let snapshot = Arc::new(row.snapshot);
        self.replayed += events;
        entry.next = snapshot.offset.get() + 1;
        entry.bytes += bytes;
        entry.touched = snapshot.updated_at.unwrap_or_default();
        entry.ended = snapshot.status.is_terminal();
        let entry = self.add(&snapshot.task_id, entry);
        if events > 0 {
            self.index.adopt(&snapshot.task_id, entry.clone());
            let state = Arc::clone(&snapshot);
            self.index.follow(&snapshot.task_id, (events, bytes), state);
        }
        Ok((snapshot, entry))
    }
}

/// The number of tasks that a bus has in memory from the start, beside the tasks with a lease. A
/// store with more tasks opens in little memory, and the bus loads the others on demand.
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

/// How the last process left a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Left {
    /// It stopped in order.
    Clean,
    /// It crashed.
    Unclean,
    /// There was no process: the directory is a backup that was not started yet.
    Backup,
}

/// The facts that decide about the next epoch.
pub(crate) struct Standing {
    pub(crate) left: Left,
    /// How the last process synced.
    pub(crate) sync: Option<Sync>,
}

impl Standing {
    /// Reads the facts. `clean` is the number of changes at the last stop, if the last stop was
    /// orderly.
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

    /// Returns whether tasks keep their epochs. This requires that all events that subscribers have
    /// seen are on disk, and that the next offsets were never used for other events.
    pub(crate) fn epoch_goes_on(&self) -> bool {
        match self.left {
            Left::Clean => true,
            Left::Unclean => self.sync == Some(Sync::EveryCommit),
            Left::Backup => false,
        }
    }
}

/// Refuses a directory that holds less than at its last orderly stop.
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

/// Returns the next era, for a store whose subscribers may have seen events that are not on disk.
pub(crate) fn next_era(era: &Era) -> Era {
    let text = uuid::Uuid::new_v4().simple().to_string();
    Era {
        number: era.number + 1,
        // The epoch has a letter and twelve hexadecimal digits. Epochs that a bus creates never
        // begin with this letter.
        epoch: Epoch::new(format!("r{}", &text[..12])).ok(),
    }
}

/// Returns a row whose state has the current epoch.
fn renamed(mut row: OwnedRow, era: &Era) -> OwnedRow {
    if let Some(epoch) = new_name(row.era, era) {
        row.snapshot.epoch = epoch;
    }
    row
}

/// Returns the current epoch for a row of an earlier era, or `None` for a row of the current era.
fn new_name(written_in: u32, era: &Era) -> Option<Epoch> {
    era.epoch.clone().filter(|_| written_in < era.number)
}

/// Reads a task's index entry from its row.
pub(crate) fn read_entry(
    engine: &Engine,
    era: &Era,
    task_id: &TaskId,
) -> Result<Option<Entry>, Damage> {
    let found = engine.tasks.get(task_id.as_str())?;
    let entry = found.map(|bytes| entry_in(task_id.as_str(), &bytes, era));
    Ok(entry.transpose()?.map(|(_, entry)| entry))
}

/// Returns the index entry of a row.
pub(crate) fn entry_in(name: &str, bytes: &[u8], era: &Era) -> Result<(TaskId, Entry), Damage> {
    let row = row(name, bytes)?;
    let entry = entry_of(&row, bytes.len(), era);
    Ok((row.snapshot.task_id, entry))
}

/// Returns the place of a task in trees, from its row, or `None` for a task outside of trees.
pub(crate) fn related_in(name: &str, bytes: &[u8]) -> Result<Option<Related>, Damage> {
    let brief: TaskRow<Brief> = row(name, bytes)?;
    if brief.snapshot.parent_task_id.is_none() && brief.snapshot.children.is_none() {
        return Ok(None);
    }
    let whole: OwnedRow = row(name, bytes)?;
    Ok(Related::of(&whole.snapshot))
}

fn entry_of(row: &TaskRow<Brief>, row_bytes: usize, era: &Era) -> Entry {
    let state = &row.snapshot;
    Entry {
        number: row.number,
        epoch: new_name(row.era, era).unwrap_or_else(|| state.epoch.clone()),
        first: row.first,
        next: state.offset.get() + 1,
        bytes: row.bytes,
        touched: state.updated_at.unwrap_or_default(),
        ended: state.status.is_terminal(),
        row_bytes: row_bytes as u64,
        state: State::Row,
    }
}

/// Reads a task's row.
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

/// Reads a task's rules, which decide about its next events.
pub(crate) fn read_rules(engine: &Engine, task_id: &TaskId) -> Result<StoredRules, Damage> {
    match engine.rules.get(task_id.as_str())? {
        Some(bytes) => row(&format!("{task_id}'s rules"), &bytes),
        None => Ok(StoredRules::default()),
    }
}

/// Reads the rules of tasks in parallel with their rows. Both are in the order of task ids, so one
/// pass over each is enough, and no rules stay in memory.
struct RulesInOrder<'a> {
    found: std::iter::Peekable<Rules<'a>>,
}

type Rules<'a> = Box<dyn Iterator<Item = Result<(Vec<u8>, Vec<u8>), fjall::Error>> + 'a>;

impl<'a> RulesInOrder<'a> {
    fn new(engine: &'a Engine) -> Self {
        let found = engine.rules.iter().map(|found| {
            let (key, value) = found.into_inner()?;
            Ok((key.to_vec(), value.to_vec()))
        });
        let found: Rules<'a> = Box::new(found);
        Self {
            found: found.peekable(),
        }
    }

    /// Returns the rules of the task with this key. The keys must be asked for in ascending order.
    fn of(&mut self, key: &[u8]) -> Result<StoredRules, Damage> {
        while let Some(next) = self.found.next_if(|next| match next {
            Ok((found, _)) => &found[..] <= key,
            Err(_) => true,
        }) {
            let (found, value) = next?;
            if found == key {
                let name = String::from_utf8_lossy(key);
                return row(&format!("{name}'s rules"), &value);
            }
        }
        Ok(StoredRules::default())
    }
}

/// Reads every row. Keeps the index of all tasks. Keeps the states of tasks with a lease or an open
/// question, and of `at_once` other tasks.
pub(crate) fn load(engine: &Engine, era: Era, at_once: usize) -> Result<Loaded, Damage> {
    let mut index = Index::default();
    index.changes = fact(engine, CHANGES)?.unwrap_or(0);
    let mut tails = HashSet::new();
    for tail in engine.tails.iter() {
        tails.insert(tail.key()?.to_vec());
    }
    for garbage in engine.garbage.iter() {
        if let Some((number, _)) = read_key(&garbage.key()?) {
            index.next_number = index.next_number.max(number + 1);
        }
    }
    let mut rules = RulesInOrder::new(engine);
    let mut loaded = Loaded {
        index,
        era,
        tasks: Vec::new(),
        events: 0,
        replayed: 0,
    };
    for found in engine.tasks.iter() {
        let (key, value) = found.into_inner()?;
        let name = String::from_utf8_lossy(&key);
        let rules = rules.of(&key)?;
        let brief = row::<TaskRow<Brief>>(&name, &value)?;
        let task_id = &brief.snapshot.task_id;
        let entry = entry_of(&brief, value.len(), &loaded.era);
        let is_due = rules.lease_ms.is_some() || !brief.snapshot.pending_inputs.is_empty();
        let has_tail = tails.contains(&key[..]);
        if !has_tail && !is_due && loaded.tasks.len() >= at_once {
            loaded.add(task_id, entry);
            continue;
        }
        let row = renamed(row::<OwnedRow>(&name, &value)?, &loaded.era);
        let (snapshot, entry) = match has_tail {
            true => loaded.add_with_tail(engine, row, entry)?,
            false => (Arc::new(row.snapshot), loaded.add(task_id, entry)),
        };
        let is_due = rules.lease_ms.is_some() || !snapshot.pending_inputs.is_empty();
        if loaded.tasks.len() < at_once || is_due {
            let task = StoredTask {
                first: entry.first_offset(),
                snapshot,
                rules,
                outputs: outputs::read(engine, entry.number)?,
            };
            loaded.tasks.push((task, entry.bytes));
        }
    }
    Ok(loaded)
}

/// Updates a row's state to its task's newest event. Returns the number of events that this took,
/// and their bytes.
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
