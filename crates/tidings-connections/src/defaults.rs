//! The default settings of connections, with units and reasons.

use std::time::Duration;

/// The time between two heartbeats. Common proxies drop idle connections after 30 s or 60 s, so it
/// is shorter than that.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(25);

/// The number of heartbeats without any sign of life after which a connection is closed.
pub const UNANSWERED_HEARTBEATS: u8 = 2;

/// How long a write may make no progress at all. A slow reader reads something in this time. A dead
/// one does not.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the writing of a close may take.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the cursors and the inbox of a disconnected client are kept.
pub const OFFLINE_TTL: Duration = Duration::from_secs(5 * 60);

/// The most disconnected clients to keep. The one that has been disconnected longest is deleted
/// first.
pub const MAX_AWAY: usize = 100_000;

/// The most connections at a time. Each needs a file descriptor, and most systems allow 1,024 to
/// 20,000 of those by default.
pub const MAX_CONNECTIONS: usize = 15_000;

/// The longest time that a request waits after its client has caused much work. A request that
/// would wait longer is refused.
pub const WORK_WAIT: Duration = Duration::from_secs(5);

/// The most tasks and patterns that one connection may subscribe to by name.
pub const MAX_SUBSCRIPTIONS: usize = 1_000;

/// The largest message accepted from a client, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// The number of undelivered events from which on a subscriber skips events that it may miss.
pub const SKIP_BEHIND: u64 = tidings_bus::defaults::SKIP_BEHIND;

/// The most messages in the inbox of one client.
pub const INBOX_MESSAGES: u64 = 100;

/// The most bytes in the inbox of one client.
pub const INBOX_BYTES: usize = 256 * 1024;

/// The most bytes of answers that may wait for a client that does not read. Beyond it, the server
/// does not read from the client either, so the client cannot make the server hold more.
pub const MAX_PENDING_ANSWERS: usize = 64 * 1024;

/// The number of tasks that a change of subscriptions visits before it yields to others.
pub const SLICE: usize = 64;

/// The bytes that are charged for each further cursor of a connection. They cover the cursor, its
/// entry in the list of its task, and its entries in the connection's index and list of turns.
pub const CURSOR_BYTES: u64 = 144;

/// The bytes that are charged in addition while the announcement of a cursor waits.
pub const OPENING_BYTES: u64 = 192;

/// The bytes that are charged for a disconnected client: its entries in the registry.
pub const KEPT_CLIENT_BYTES: u64 = 512;

/// The bytes that are charged for each position of a disconnected client.
pub const KEPT_POSITION_BYTES: u64 = 96;

/// The most events that `history=N` may request.
pub const MAX_HISTORY: u32 = 1_000;

/// The most offsets in one heartbeat. A connection with more quiet tasks gets the others in the
/// next heartbeats.
pub const MAX_HEADS: usize = 256;
