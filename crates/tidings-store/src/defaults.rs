//! The defaults and bounds of the store, with units and reasons.

use std::time::Duration;

/// The time between two syncs in `interval` mode. It is short for people and long for a disk, so
/// syncs cost next to nothing.
pub const SYNC_INTERVAL: Duration = Duration::from_millis(50);

/// The most bytes of events to keep on disk for each task. A task that reports twice a second fills
/// them in a day.
pub const MAX_TASK_BYTES: u64 = 64 * 1024 * 1024;

/// The most bytes of events to keep on disk over all tasks. Beyond it, events are removed first
/// from the tasks that ended first. The engine may use up to twice as much until it has cleaned up.
pub const MAX_TOTAL_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// How long an event is kept on disk, even if there is room for it: a week.
pub const EVENTS_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The most appends and other changes that may wait for the writer. Further publishers wait for a
/// free place.
pub(crate) const MAX_COMMANDS: usize = 1_024;

/// The most bytes of events in one commit of the engine. A commit contains all waiting changes, up
/// to this size.
pub(crate) const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// The longest time that a sync waits for more changes to share it. `GATHER_STEP` is the time
/// between two checks for more changes.
pub(crate) const MAX_GATHER: Duration = Duration::from_millis(2);
pub(crate) const GATHER_STEP: Duration = Duration::from_micros(50);

/// The number of new events after which a task's state is written. The new events must also have at
/// least as many bytes as the state. So states are never more than half of all written data, and a
/// start replays few events.
pub(crate) const EVENTS_A_STATE: u64 = 64;

/// The size of the engine's block cache in bytes. Readers that are far behind read in sequence, so
/// a larger cache would help few of them.
pub(crate) const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// The bytes of events that the engine collects in memory before it writes a file. Small events
/// need two to three times as much memory. While the disk is behind, up to five times that.
pub(crate) const EVENTS_MEMTABLE_BYTES: u64 = 4 * 1024 * 1024;

/// The same for each other kind of data, in bytes.
pub(crate) const MEMTABLE_BYTES: u64 = 2 * 1024 * 1024;

/// The approximate bytes of states that are newer than their rows. Beyond it, the oldest states are
/// written, even after few new events.
pub(crate) const MAX_TAIL_BYTES: u64 = 16 * 1024 * 1024;

/// The bytes that are counted for a task in the index, in addition to its state.
pub(crate) const ENTRY_BYTES: u64 = 256;

/// The number of tasks that the index keeps in memory although their rows are up to date. They are
/// the tasks that were written last, and are likely to be written next.
pub(crate) const MAX_CURRENT: usize = 4_096;

/// The threads that read from disk. A disk serves a few reads at a time faster than one, and each
/// thread keeps about a MiB of the allocator's memory.
pub(crate) const READERS: usize = 4;

/// The most reads from disk that wait for a thread or run. Further reads wait before. Each read
/// holds a page of events.
pub(crate) const MAX_READS: usize = 16;

/// The time between two attempts to open an engine again after a failure.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// The bytes that the disk must accept before a failed engine is replaced. This is more than
/// opening a new engine writes.
pub(crate) const PROBE_BYTES: usize = 1024 * 1024;

/// The longest time between two turns of housekeeping.
pub(crate) const TIDY: Duration = Duration::from_secs(1);

/// The time between two turns while publishers are active and one turn was not enough. A turn is a
/// few milliseconds of work.
pub(crate) const TIDY_MORE: Duration = Duration::from_millis(50);

/// The time between two checks that the data directory still exists.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// The most events to delete, or states to write, in one step of housekeeping. A step takes a few
/// milliseconds, and publishers may have to wait for it.
pub(crate) const SLICE: u64 = 512;
