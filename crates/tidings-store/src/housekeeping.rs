//! Housekeeping: work beside publishing. It deletes trimmed events, and trims events that are too
//! old or too many. It also updates the rows of tasks, so that a start replays few events. Each
//! commit deletes up to twice as many events as it adds. The remaining work has turns of its own.

use std::collections::BinaryHeap;
use std::ops::Bound;
use std::time::{Duration, Instant};

use tidings_bus::protocol::{Event, TaskId, Timestamp};

use crate::batch::Batch;
use crate::defaults::{SLICE, TIDY, TIDY_MORE};
use crate::engine::{event_key, read_key};
use crate::error::{Damage, Failure};
use crate::index::Entry;
use crate::recovery;

/// The time between two searches for events that are too old.
const AGES_EVERY: Duration = Duration::from_secs(60);

/// The number of tasks that are visited, or written, in one turn.
const TASKS_A_TURN: usize = 64;

/// The number of tasks that one turn visits in search of room. This takes some milliseconds.
const PAGE: usize = 4_096;

/// The most tasks that one search selects for the removal of their events.
const MOST_FOUND: usize = 16_384;

/// The time of day that decides which events are too old. This is a pure state machine.
///
/// Its time advances at most twice as fast as real time. So if the wall clock jumps forward by a
/// week, no events are deleted by mistake. After a wrong clock is corrected, this clock catches up
/// within the time for which it was wrong.
#[derive(Debug, Default)]
struct AgeClock {
    believed: Option<(Timestamp, Instant)>,
}

impl AgeClock {
    /// Reads the wall clock. The first reading is always accepted.
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

/// The jump of the wall clock, in milliseconds, that is logged. An inaccurate clock drifts less.
const JUMP_MILLIS: u64 = 60 * 60 * 1_000;

#[derive(Default)]
pub(crate) struct Housekeeping {
    /// `true` if the last turn left work.
    more: bool,
    /// When the last turn ran.
    turned: Option<Instant>,
    /// `true` if there was a commit since then.
    busy: bool,
    /// The walk through all tasks in search of old events.
    ages: Option<Walk>,
    /// The walk in search of events to make room.
    search: Option<Search>,
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

    /// Postpones the rest of the work.
    pub(crate) fn rest(&mut self) {
        self.more = false;
    }

    /// Deletes up to twice as many events as a batch adds, in the same commit. Separate turns alone
    /// would fall behind.
    pub(crate) fn keep_pace(&mut self, batch: &mut Batch<'_>) -> Result<(), Failure> {
        self.busy = true;
        let events = batch.events;
        if events > 0 && self.more {
            self.more = delete(batch, 2 * events)?;
        }
        shed(batch)
    }

    pub(crate) fn turn(&mut self, batch: &mut Batch<'_>) -> Result<(), Failure> {
        self.more = delete(batch, SLICE)?;
        if !std::mem::take(&mut self.busy) {
            // A state that is written while events arrive would soon have to be written again.
            self.more |= write_states(batch)?;
        }
        self.more |= self.forget_old(batch)?;
        self.more |= make_room(&mut self.search, batch)?;
        self.turned = Some(Instant::now());
        Ok(())
    }

    /// Removes events that are older than `events_ttl`.
    fn forget_old(&mut self, batch: &mut Batch<'_>) -> Result<bool, Failure> {
        if self.ages.is_none() && self.looked.is_none_or(|at| at.elapsed() >= AGES_EVERY) {
            self.looked = Some(Instant::now());
            self.ages = Some(Walk::default());
            self.clock.look(batch.config.clock.now(), Instant::now());
        }
        let ttl = u64::try_from(batch.config.events_ttl.as_millis()).unwrap_or(u64::MAX);
        let now = self.clock.now().as_millis();
        let limit = Timestamp::from_millis(now.saturating_sub(ttl));
        let Some(walk) = &mut self.ages else {
            return Ok(false);
        };
        let page = walk.next(batch, TASKS_A_TURN)?;
        if page.is_empty() {
            self.ages = None;
            return Ok(false);
        }
        for (task_id, entry) in page {
            let (number, first, next) = (entry.number, entry.first, entry.next);
            if at(batch, number, first)?.is_none_or(|at| at >= limit) {
                continue;
            }
            // Find the first event that is young enough. Timestamps never decrease.
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

/// Deletes up to `limit` events that were trimmed. Returns whether there are more.
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

/// Writes the states of tasks that have become quiet.
fn write_states(batch: &mut Batch<'_>) -> Result<bool, Failure> {
    let tails = batch.index().tails(TASKS_A_TURN);
    for task_id in &tails {
        batch.write_state(task_id).map_err(refused)?;
    }
    Ok(tails.len() == TASKS_A_TURN)
}

/// Writes the oldest states until the remaining ones fit in memory.
fn shed(batch: &mut Batch<'_>) -> Result<(), Failure> {
    loop {
        let oldest = batch.index().oldest_tail();
        let Some(oldest) = oldest else { return Ok(()) };
        batch.write_state(&oldest).map_err(refused)?;
    }
}

/// A walk through all tasks in the order of their ids, a page at a time.
#[derive(Default)]
struct Walk {
    after: Option<Vec<u8>>,
}

impl Walk {
    /// Returns the next tasks. The list is empty at the end.
    fn next(&mut self, batch: &Batch<'_>, limit: usize) -> Result<Vec<(TaskId, Entry)>, Failure> {
        let after = self.after.take();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = batch.engine.tasks.range((start, Bound::Unbounded));
        let mut page = Vec::new();
        for found in rows.take(limit) {
            let (key, value) = found.into_inner()?;
            let name = String::from_utf8_lossy(&key);
            let read = recovery::entry_in(&name, &value, batch.era);
            let (task_id, entry) = read.map_err(|damage| refused(unreadable(damage)))?;
            // The index may have a newer entry.
            let newer = batch.index().get(&task_id).cloned();
            page.push((task_id, newer.unwrap_or(entry)));
            self.after = Some(key.to_vec());
        }
        Ok(page)
    }
}

/// A search for tasks whose events can be removed to make room.
struct Search {
    walk: Walk,
    found: Foremost,
}

/// The tasks that lose their events first: tasks that ended, earliest first, then tasks that were
/// quiet longest. It holds just enough tasks for the wanted number of bytes. This is a pure state
/// machine.
struct Foremost {
    wanted: u64,
    bytes: u64,
    tasks: BinaryHeap<(bool, Timestamp, TaskId, u64)>,
}

impl Foremost {
    fn new(wanted: u64) -> Self {
        Self {
            wanted,
            bytes: 0,
            tasks: BinaryHeap::new(),
        }
    }

    fn add(&mut self, task_id: TaskId, entry: &Entry) {
        if entry.events() == 0 {
            return;
        }
        self.bytes += entry.bytes;
        self.tasks
            .push((!entry.ended, entry.touched, task_id, entry.bytes));
        while let Some((.., bytes)) = self.tasks.peek()
            && (self.bytes - bytes >= self.wanted || self.tasks.len() > MOST_FOUND)
        {
            self.bytes -= bytes;
            self.tasks.pop();
        }
    }

    /// Returns the tasks in the order of removal.
    fn into_tasks(self) -> Vec<TaskId> {
        let sorted = self.tasks.into_sorted_vec();
        sorted
            .into_iter()
            .map(|(_, _, task_id, _)| task_id)
            .collect()
    }
}

/// Returns the bytes to remove: the excess over the limit, and some more, so that it happens
/// rarely.
fn excess(batch: &Batch<'_>) -> u64 {
    let target = batch.config.max_total_bytes / 20 * 19;
    batch.index().bytes.saturating_sub(target)
}

/// Removes events until all tasks together are within their limit. Returns whether there is more
/// work.
fn make_room(search: &mut Option<Search>, batch: &mut Batch<'_>) -> Result<bool, Failure> {
    if search.is_none() && batch.index().bytes <= batch.config.max_total_bytes {
        return Ok(false);
    }
    let excess_now = excess(batch);
    let current = search.get_or_insert_with(|| Search {
        walk: Walk::default(),
        found: Foremost::new(excess_now),
    });
    let page = current.walk.next(batch, PAGE)?;
    let over = page.len() < PAGE;
    for (task_id, entry) in page {
        current.found.add(task_id, &entry);
    }
    if !over {
        return Ok(true);
    }
    let found = search.take().map(|search| search.found.into_tasks());
    for task_id in found.unwrap_or_default() {
        let excess = excess(batch);
        if excess == 0 {
            break;
        }
        batch.trim_most(&task_id, excess).map_err(refused)?;
    }
    Ok(batch.index().bytes > batch.config.max_total_bytes)
}

fn trim(batch: &mut Batch<'_>, task_id: &TaskId, first: u64) -> Result<(), Failure> {
    batch.trim_to(task_id, first).map_err(refused)
}

fn unreadable(damage: Damage) -> tidings_bus::StoreError {
    tidings_bus::StoreError::Unavailable(Box::new(damage))
}

fn refused(error: tidings_bus::StoreError) -> Failure {
    Failure::Row(std::sync::Arc::new(error))
}

/// Returns the time of an event, or `None` if the event does not exist.
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

    fn entry(ended: bool, touched: u64, bytes: u64) -> Entry {
        Entry {
            number: 0,
            epoch: tidings_bus::protocol::Epoch::new("e").unwrap(),
            first: 1,
            next: 2,
            bytes,
            touched: Timestamp::from_millis(touched),
            ended,
            row_bytes: 0,
            state: crate::index::State::Row,
        }
    }

    #[test]
    fn those_that_ended_first_and_then_the_longest_quiet_make_room() {
        let mut found = Foremost::new(250);
        let tasks = [
            ("quiet", entry(false, 1, 100)),
            ("busy", entry(false, 9, 100)),
            ("ended-late", entry(true, 8, 100)),
            ("ended-early", entry(true, 7, 100)),
            (
                "empty",
                Entry {
                    next: 1,
                    ..entry(true, 0, 0)
                },
            ),
        ];
        for (task_id, entry) in tasks {
            found.add(task_id.parse().unwrap(), &entry);
        }
        let found = found.into_tasks();
        let found: Vec<_> = found.iter().map(TaskId::as_str).collect();
        assert_eq!(found, ["ended-early", "ended-late", "quiet"]);
    }

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
