//! Every default of this crate, with its unit and its reason.

use std::time::Duration;

/// How many hash tags tasks are spread over, and so how many slots of a
/// cluster are used: enough for 64 masters with four each, few enough that a
/// list of all tasks is one pipeline. All nodes must agree; it is no option.
pub const BUCKETS: u16 = 256;

/// What keys and channels begin with.
pub const PREFIX: &str = "tidings";

/// How long making a connection may take, handshake included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one command may take. Redis answers within a millisecond; one that
/// takes longer than this is stopped, overloaded or cut off.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a command waits for Redis to come back before it fails: long
/// enough for a restart, short enough that a publisher is not left hanging.
pub const WAIT: Duration = Duration::from_secs(3);

/// How often Redis is asked for a sign of life, on both connections.
pub const PING_INTERVAL: Duration = Duration::from_secs(1);

/// The least pause before connecting again; it doubles from here, with jitter.
pub const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// The longest pause before connecting again. A Redis that has come back gets
/// all nodes within about this time, and not all at once.
pub const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How often each watched task is compared with Redis, in case the notice of
/// its latest event was dropped and no other followed.
pub const RECHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Notices taken from Redis and not yet from us. Beyond them notices are
/// dropped and every watched task is compared with Redis instead.
pub const PENDING_NOTICES: usize = 16 * 1024;

/// How often a node says that it lives.
pub const NODE_HEARTBEAT: Duration = Duration::from_secs(2);

/// How long a node counts as alive after that, by Redis's clock: four
/// heartbeats may be late, and a dead node is asked in vain no longer than this.
pub const NODE_TTL: Duration = Duration::from_secs(10);

/// The largest message between nodes: well below the 8 MB at which Redis, as it
/// comes, cuts off a subscriber that is slow for a minute.
pub const MAIL_BYTES: usize = 4 * 1024 * 1024;

/// Messages of other nodes not yet looked at. Beyond them messages are dropped,
/// and every client of this node is compared with Redis instead.
pub const PENDING_MAIL: usize = 1_024;
