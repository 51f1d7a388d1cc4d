//! What is done while nobody publishes, and a little of it in between: events
//! that were trimmed are deleted, states are brought up to date so that a start
//! replays little, and what is too old or too much goes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tidings_bus::protocol::{Event, TaskId, Timestamp};

use crate::batch::Batch;
use crate::defaults::SLICE;
use crate::engine::{event_key, read_key};
use crate::error::Failure;

/// How often tasks are looked at for events that are too old.
const AGES_EVERY: Duration = Duration::from_secs(60);

/// Tasks looked at, or written, in one turn.
const TASKS_A_TURN: usize = 64;

#[derive(Default)]
pub(crate) struct Housekeeping {
    /// There is more of it at once.
    pub(crate) more: bool,
    /// Tasks to look at.
    ages: VecDeque<TaskId>,
    looked: Option<Instant>,
}

impl Housekeeping {
    pub(crate) fn turn(&mut self, batch: &mut Batch<'_>) -> Result<(), Failure> {
        self.more = delete(batch)?;
        self.more |= write_states(batch)?;
        self.more |= self.forget_old(batch)?;
        make_room(batch)?;
        Ok(())
    }

    /// Trims what is older than it may be.
    fn forget_old(&mut self, batch: &mut Batch<'_>) -> Result<bool, Failure> {
        if self.ages.is_empty() && self.looked.is_none_or(|at| at.elapsed() >= AGES_EVERY) {
            self.looked = Some(Instant::now());
            self.ages = batch.index.tasks.keys().cloned().collect();
        }
        let ttl = u64::try_from(batch.config.events_ttl.as_millis()).unwrap_or(u64::MAX);
        let now = batch.config.clock.now().as_millis();
        let limit = Timestamp::from_millis(now.saturating_sub(ttl));
        for _ in 0..TASKS_A_TURN {
            let Some(task_id) = self.ages.pop_front() else {
                return Ok(false);
            };
            let Some(entry) = batch.index.tasks.get(&task_id) else {
                continue;
            };
            let (number, first, next) = (entry.number, entry.first, entry.next);
            if at(batch, number, first)?.is_none_or(|at| at >= limit) {
                continue;
            }
            // The first event that is young enough: timestamps ascend.
            let (mut low, mut high) = (first, next);
            while low < high {
                let middle = low + (high - low) / 2;
                if at(batch, number, middle)?.is_some_and(|at| at < limit) {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            trim(batch, &task_id, low)?;
        }
        Ok(true)
    }
}

/// Deletes a slice of the events that nobody can read any more.
fn delete(batch: &mut Batch<'_>) -> Result<bool, Failure> {
    let Some(found) = batch.engine.garbage.first_key_value() else {
        return Ok(false);
    };
    let (key, value) = found.into_inner()?;
    batch.writes.remove(&batch.engine.garbage, key.clone());
    let to: Option<[u8; 8]> = value[..].try_into().ok();
    let (Some((number, from)), Some(to)) = (read_key(&key), to) else {
        return Ok(true);
    };
    let to = u64::from_be_bytes(to);
    let end = to.min(from.saturating_add(SLICE));
    for offset in from..end {
        batch
            .writes
            .remove(&batch.engine.events, event_key(number, offset));
    }
    if end < to {
        batch.writes.insert(
            &batch.engine.garbage,
            event_key(number, end),
            to.to_be_bytes(),
        );
    }
    Ok(true)
}

/// Writes states of tasks that have gone quiet.
fn write_states(batch: &mut Batch<'_>) -> Result<bool, Failure> {
    let tails: Vec<TaskId> = batch
        .index
        .tasks
        .iter()
        .filter(|(_, entry)| entry.tail.is_some())
        .take(TASKS_A_TURN)
        .map(|(task_id, _)| task_id.clone())
        .collect();
    for task_id in &tails {
        batch.write_state(task_id).map_err(refused)?;
    }
    Ok(tails.len() == TASKS_A_TURN)
}

/// Brings all tasks together under their limit: those that ended first lose
/// their events first, then the longest quiet.
fn make_room(batch: &mut Batch<'_>) -> Result<(), Failure> {
    let max = batch.config.max_total_bytes;
    if batch.index.bytes <= max {
        return Ok(());
    }
    let target = max / 20 * 19;
    let mut tasks: Vec<_> = batch
        .index
        .tasks
        .iter()
        .filter(|(_, entry)| entry.events() > 0)
        .map(|(task_id, entry)| (!entry.ended, entry.touched, task_id.clone()))
        .collect();
    tasks.sort();
    for (_, _, task_id) in tasks {
        let excess = batch.index.bytes.saturating_sub(target);
        if excess == 0 {
            return Ok(());
        }
        if let Some(entry) = batch.index.tasks.get(&task_id) {
            let first = entry.first + entry.events_in(excess);
            trim(batch, &task_id, first)?;
        }
    }
    Ok(())
}

fn trim(batch: &mut Batch<'_>, task_id: &TaskId, first: u64) -> Result<(), Failure> {
    batch.trim_to(task_id, first).map_err(refused)
}

fn refused(error: tidings_bus::StoreError) -> Failure {
    Failure::Row(std::sync::Arc::new(error))
}

/// When an event came; none if it is not there.
fn at(batch: &Batch<'_>, number: u64, offset: u64) -> Result<Option<Timestamp>, Failure> {
    let json = batch.engine.events.get(event_key(number, offset))?;
    Ok(json.and_then(|json| {
        serde_json::from_slice::<Event>(&json)
            .ok()
            .map(|event| event.timestamp)
    }))
}
