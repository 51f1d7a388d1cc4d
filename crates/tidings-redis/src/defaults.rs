//! Every default of this crate, with its unit and its reason.

use std::time::Duration;

/// The number of hash tags that tasks are spread over. It is also the number of cluster slots
/// in use. It is enough for 64 masters with four slots each. A list of all tasks still fits one
/// pipeline. All nodes must agree, so it is not an option.
pub const BUCKETS: u16 = 256;

/// The prefix of keys and channels.
pub const PREFIX: &str = "tidings";

/// The longest time for a connection to be made, handshake included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest time for one command. Redis answers within a millisecond. A slower Redis is
/// stopped, overloaded or cut off.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a command waits for Redis to come back before it fails. It is long enough for a
/// restart, and short enough for a waiting publisher.
pub const WAIT: Duration = Duration::from_secs(3);

/// How often the node pings Redis, on both connections.
pub const PING_INTERVAL: Duration = Duration::from_secs(1);

/// The shortest pause before connecting again. The pause doubles from here, with jitter.
pub const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// The longest pause before connecting again. After Redis has come back, all nodes connect
/// within about this time, and not all at once.
pub const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How often each watched task is compared with Redis. The notice of its latest event may have
/// been dropped without a later notice.
pub const RECHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The most notices that were received from Redis and not taken by the bus. Beyond it, notices
/// are dropped and every watched task is compared with Redis.
pub const PENDING_NOTICES: usize = 16 * 1024;

/// How often a node sends its heartbeat.
pub const NODE_HEARTBEAT: Duration = Duration::from_secs(2);

/// How long a node counts as alive after a heartbeat, by Redis's clock. Four heartbeats may be
/// late. Other nodes ask a dead node for no longer than this.
pub const NODE_TTL: Duration = Duration::from_secs(10);

/// The largest message between nodes. It is well below the 8 MB of waiting messages at which Redis,
/// by default, cuts off a subscriber after a minute.
pub const MAIL_BYTES: usize = 4 * 1024 * 1024;

/// The most messages of other nodes that wait. Beyond it, messages are dropped and every client
/// of this node is compared with Redis.
pub const PENDING_MAIL: usize = 1_024;

/// How long one node alone may report the end of a lease, by Redis's clock. If the node dies
/// before it has reported the end, another node reports it after this time.
pub const LEASE_CLAIM: Duration = Duration::from_secs(5);
