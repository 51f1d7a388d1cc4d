//! Every default and bound of the store, with its unit and its reason.

use std::time::Duration;

/// Between two syncs in `interval` mode: a blink for people, a long time for a
/// disk, so that a sync a blink costs next to nothing.
pub const SYNC_INTERVAL: Duration = Duration::from_millis(50);

/// Bytes of events kept per task on disk: a day of a task that reports twice a second.
pub const MAX_TASK_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of events kept on disk over all tasks. Past it the tasks that ended
/// first lose their events first. The engine may take up to twice as much
/// until it has tidied up.
pub const MAX_TOTAL_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// How long an event stays on disk, whatever room there is: a week.
pub const EVENTS_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Appends and other changes that may wait for the writer. Publishers of more
/// wait their turn.
pub(crate) const MAX_COMMANDS: usize = 1_024;

/// Bytes of events in one commit of the engine: it takes what waits, up to here.
pub(crate) const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// How long a sync waits for more to share it, at most, and how often it looks
/// whether they have come.
pub(crate) const MAX_GATHER: Duration = Duration::from_millis(2);
pub(crate) const GATHER_STEP: Duration = Duration::from_micros(50);

/// A task's state is written when so many events were written since, and not
/// fewer bytes of them than the state itself has. So states never are more than
/// half of what is written, and a start replays little.
pub(crate) const EVENTS_A_STATE: u64 = 64;

/// The engine's cache of blocks, in bytes: readers that are far behind read in
/// sequence, so a larger one would serve few.
pub(crate) const CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// Reads from disk at a time; more wait. Each holds a page of events.
pub(crate) const MAX_READS: usize = 16;

/// How often an engine that failed is opened anew.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// Bytes that the disk must take before an engine that failed makes way for a
/// new one: more than opening it writes.
pub(crate) const PROBE_BYTES: usize = 1024 * 1024;

/// The writer tidies up so often, whether anybody publishes or not.
pub(crate) const TIDY: Duration = Duration::from_secs(1);

/// The same while there is more to tidy up than a turn takes, as long as somebody
/// publishes: a few milliseconds of work each time.
pub(crate) const TIDY_MORE: Duration = Duration::from_millis(50);

/// How often the writer looks whether its directory is still there.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// Deletions of events, and states, written in one go while tidying up: a few
/// milliseconds, for which publishers may have to wait.
pub(crate) const SLICE: u64 = 512;
