//! Every default of the bus, with its unit and its reason.

use std::time::Duration;

/// Events kept per task. A page of history; ten minutes of a chatty build.
pub const MAX_EVENTS: u64 = 1_000;

/// Bytes kept per task: the other bound, for events with large data.
pub const MAX_BYTES: usize = 256 * 1024;

/// Bytes of one output kept whole: a long answer of an agent, many times over.
pub const OUTPUT_BYTES: usize = 1024 * 1024;

/// Bytes of all outputs of one task kept whole.
pub const TASK_OUTPUT_BYTES: usize = 4 * 1024 * 1024;

/// How long a finished task's events stay: a coffee break, a meeting.
pub const FINISHED_EVENTS_TTL: Duration = Duration::from_secs(60 * 60);

/// How long a finished task's snapshot, with its end, stays: until tomorrow.
pub const PINNED_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a task that never ended is kept after its last event.
pub const IDLE_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes kept over all tasks: 1,000 full tasks, a quarter of a small machine.
pub const TOTAL_BYTES: usize = 256 * 1024 * 1024;

/// Producers' event ids remembered per task, for idempotency.
pub const IDEMPOTENCY_IDS: usize = 1_024;

/// How long a producer's event id is remembered: longer than any sane retry.
pub const IDEMPOTENCY_TTL: Duration = Duration::from_secs(5 * 60);

/// The largest event accepted, in bytes of its encoded JSON.
pub const MAX_EVENT_BYTES: usize = 64 * 1024;

/// A subscriber this many events behind starts to skip what it may miss:
/// about a second of a task that reports 250 times a second.
pub const SKIP_BEHIND: u64 = 256;

/// How long handlers may go on after the bus stops: less than the half minute that
/// process managers wait before they kill.
pub const HANDLER_DRAIN: Duration = Duration::from_secs(10);

/// How often retention by time is looked after.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of a task without its events: registry, lists, log, rules and a small snapshot. They count
/// against the total, so that a million empty tasks are bounded too. This is what each of 80,000
/// started tasks took from the allocator, beyond the bytes of their events.
pub const TASK_BYTES: usize = 2_496;

/// How long work that is run as a task has to stop when the bus is shut down. A
/// service manager gives a program 10 s as a rule.
pub const SCOPES_WINDOW: Duration = Duration::from_secs(5);
