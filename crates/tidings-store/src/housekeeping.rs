//! What is done beside publishing: events that were trimmed are deleted, states are
//! brought up to date so that a start replays little, and what is too old or too
//! much goes. Each commit deletes about as many events as it adds. The rest has
//! turns of its own.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tidings_bus::protocol::{Event, TaskId, Timestamp};

use crate::batch::Batch;
use crate::defaults::{SLICE, TIDY, TIDY_MORE};
use crate::engine::{event_key, read_key};
use crate::error::Failure;

/// How often tasks are looked at for events that are too old.
const AGES_EVERY: Duration = Duration::from_secs(60);

/// Tasks looked at, or written, in one turn.
const TASKS_A_TURN: usize = 64;

/// Tasks looked at under one lock of the index.
const PAGE: usize = 1_024;

/// The time of day by which events are too old. Pure.
///
/// The wall clock is believed only as far as time has really passed, and twice
/// that: one jump forward by a week must not delete what is there. A clock that
/// was wrong and is set right is followed within as long as it was wrong.
#[derive(Debug, Default)]
struct AgeClock {
    believed: Option<(Timestamp, Instant)>,
}

impl AgeClock {
    /// Looks at the wall clock. What it says first is believed.
    fn look(&mut self, wall: Timestamp, now: Instant) {
        let believed = match self.believed {
            None => wall,
            Some((before, at)) => {
                let passed = now.saturating_duration_since(at).as_millis();
                let most = u64::try_from(2 * passed).unwrap_or(u64::MAX);
                let most = before.as_millis().saturating_add(most);
                if wall.as_millis() > most.saturating_add(JUMP_MILLIS) {
                    tracing::warn!(%wall, "the clock jumped forward; events are kept as if it had not");
                }
                Timestamp::from_millis(wall.as_millis().min(most))
            }
        };
        self.believed = Some((believed, now));
    }

    fn now(&self) -> Timestamp {
        self.believed.map_or(Timestamp::MIN, |(at, _)| at)
    }
}

/// A difference that is said: more than a clock that runs unevenly has.
const JUMP_MILLIS: u64 = 60 * 60 * 1_000;

#[derive(Default)]
pub(crate) struct Housekeeping {
    /// There is more of it than the last turn did.
    more: bool,
    /// When the last turn was.
    turned: Option<Instant>,
    /// A commit came since then.
    busy: bool,
    /// Tasks to look at.
    ages: VecDeque<TaskId>,
    looked: Option<Instant>,
    clock: AgeClock,
}

impl Housekeeping {
    /// Returns how long it is until the next turn.
    pub(crate) fn due_in(&self) -> Duration {
        let pause = match (self.more, self.busy) {
            (true, false) => Duration::ZERO,
            (true, true) => TIDY_MORE,
            (false, _) => TIDY,
        };
        let since = self.turned.map(|at| at.elapsed());
        since.map_or(TIDY, |since| pause.saturating_sub(since))
    }

    pub(crate) fn is_due(&mut self) -> bool {
        self.turned.get_or_insert_with(Instant::now);
        self.due_in().is_zero()
    }

    /// Leaves the rest for later.
    pub(crate) fn rest(&mut self) {
        self.more = false;
    }

    /// Deletes about as many events as a batch adds, along with it. Turns alone
    /// would fall behind, however often there was one.
    pub(crate) fn keep_pace(&mut self, batch: &mut Batch<'_>) -> Result<(), Failure> {
        self.busy = true;
        let events = batch.events;
        if events > 0 && self.more {
            self.more = delete(batch, 2 * events)?;
        }
        Ok(())
    }

    pub(crate) fn turn(&mut self, batch: &mut Batch<'_>) -> Result<(), Failure> {
        self.more = delete(batch, SLICE)?;
        if !std::mem::take(&mut self.busy) {
            // Of a task that is published to it would soon be written again.
            self.more |= write_states(batch)?;
        }
        self.more |= self.forget_old(batch)?;
        make_room(batch)?;
        self.turned = Some(Instant::now());
        Ok(())
    }

    /// Trims what is older than it may be.
    fn forget_old(&mut self, batch: &mut Batch<'_>) -> Result<bool, Failure> {
        if self.ages.is_empty() && self.looked.is_none_or(|at| at.elapsed() >= AGES_EVERY) {
            self.looked = Some(Instant::now());
            self.ages = batch.index().tasks.keys().cloned().collect();
            self.clock.look(batch.config.clock.now(), Instant::now());
        }
        let ttl = u64::try_from(batch.config.events_ttl.as_millis()).unwrap_or(u64::MAX);
        let now = self.clock.now().as_millis();
        let limit = Timestamp::from_millis(now.saturating_sub(ttl));
        for _ in 0..TASKS_A_TURN {
            let Some(task_id) = self.ages.pop_front() else {
                return Ok(false);
            };
            let known = batch
                .index()
                .tasks
                .get(&task_id)
                .map(|entry| (entry.number, entry.first, entry.next));
            let Some((number, first, next)) = known else {
                continue;
            };
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

/// Deletes up to `limit` of the events that nobody can read any more. Returns
/// whether there are more.
fn delete(batch: &mut Batch<'_>, limit: u64) -> Result<bool, Failure> {
    let mut left = limit;
    for found in batch.engine.garbage.iter() {
        if left == 0 {
            return Ok(true);
        }
        let (key, value) = found.into_inner()?;
        batch.writes.remove(&batch.engine.garbage, key.clone());
        let to: Option<[u8; 8]> = value[..].try_into().ok();
        let (Some((number, from)), Some(to)) = (read_key(&key), to) else {
            continue;
        };
        let to = u64::from_be_bytes(to);
        let end = to.min(from.saturating_add(left));
        for offset in from..end {
            let event = event_key(number, offset);
            batch.writes.remove(&batch.engine.events, event);
        }
        left -= end.saturating_sub(from);
        if end < to {
            let rest = event_key(number, end);
            let garbage = &batch.engine.garbage;
            batch.writes.insert(garbage, rest, to.to_be_bytes());
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes states of tasks that have gone quiet.
fn write_states(batch: &mut Batch<'_>) -> Result<bool, Failure> {
    let tails: Vec<TaskId> = batch
        .index()
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
    if batch.index().bytes <= max {
        return Ok(());
    }
    let target = max / 20 * 19;
    let mut tasks = Vec::new();
    let mut after = None;
    loop {
        // A page at a time: others look things up in between.
        let page = batch.index().page(after.as_ref(), PAGE, |task_id, entry| {
            let order = (!entry.ended, entry.touched);
            (entry.events() > 0, order, task_id.clone())
        });
        let Some((_, _, last)) = page.last() else {
            break;
        };
        after = Some(last.clone());
        let with_events = page.into_iter().filter(|(events, _, _)| *events);
        tasks.extend(with_events.map(|(_, order, task_id)| (order, task_id)));
    }
    tasks.sort();
    for (_, task_id) in tasks {
        let first = {
            let index = batch.index();
            let excess = index.bytes.saturating_sub(target);
            if excess == 0 {
                return Ok(());
            }
            let entry = index.tasks.get(&task_id);
            entry.map(|entry| entry.first + entry.events_in(excess))
        };
        if let Some(first) = first {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_of_the_wall_clock_is_followed_no_faster_than_time_passes_twice() {
        const WEEK: u64 = 7 * 24 * 60 * 60 * 1_000;
        let start = Instant::now();
        let minute = |n: u64| start + Duration::from_secs(60 * n);
        let wall = |millis| Timestamp::from_millis(millis);
        let mut clock = AgeClock::default();
        clock.look(wall(WEEK), minute(0));
        assert_eq!(clock.now(), wall(WEEK), "what it says first");
        clock.look(wall(WEEK + 60_000), minute(1));
        assert_eq!(clock.now(), wall(WEEK + 60_000));
        clock.look(wall(3 * WEEK), minute(2));
        assert_eq!(clock.now(), wall(WEEK + 180_000), "and not two weeks more");
        clock.look(wall(WEEK), minute(3));
        assert_eq!(
            clock.now(),
            wall(WEEK),
            "backwards at once: that deletes nothing"
        );
    }
}
