//! Every default of connections, with its unit and its reason.

use std::time::Duration;

/// Between two heartbeats: below the 30 s and 60 s after which common proxies
/// drop an idle connection.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(25);

/// Heartbeats without any sign of life before a connection is given up.
pub const UNANSWERED_HEARTBEATS: u8 = 2;

/// How long a write may make no progress at all. A slow reader drains
/// something in this time; a dead one does not.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a close may take to be written.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the cursors and the inbox of a client that went away are kept.
pub const OFFLINE_TTL: Duration = Duration::from_secs(5 * 60);

/// Clients kept while they are away; the one away longest goes first.
pub const MAX_AWAY: usize = 100_000;

/// Connections at a time. Each costs a file descriptor, and most systems
/// start with 1,024 to 20,000 of those.
pub const MAX_CONNECTIONS: usize = 15_000;

/// How long a request waits for its turn if its client has caused much work. A
/// client that would wait longer is told so instead.
pub const WORK_WAIT: Duration = Duration::from_secs(5);

/// Tasks and patterns that one connection may subscribe to by name.
pub const MAX_SUBSCRIPTIONS: usize = 1_000;

/// The largest message accepted from a client, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// A subscriber this many events behind starts to skip what it may miss.
pub const SKIP_BEHIND: u64 = tidings_bus::defaults::SKIP_BEHIND;

/// Messages kept in the inbox of one client.
pub const INBOX_MESSAGES: u64 = 100;

/// Bytes kept in the inbox of one client.
pub const INBOX_BYTES: usize = 256 * 1024;

/// Bytes of answers that may wait for a client that does not read; past it the
/// client is not read from either, so it cannot make the server hold more.
pub const MAX_PENDING_ANSWERS: usize = 64 * 1024;

/// Tasks that a change of subscriptions looks at before others have their turn.
pub const SLICE: usize = 64;

/// Bytes that one more cursor of a connection is charged for: the cursor, its
/// announcement while that waits, and its entries in two lists.
pub const CURSOR_BYTES: u64 = 320;

/// Bytes that a client is charged for while it is kept: its entries in the registry.
pub const KEPT_CLIENT_BYTES: u64 = 512;

/// Bytes that each position of a client that is kept is charged for.
pub const KEPT_POSITION_BYTES: u64 = 96;

/// Events that `history=N` may ask for.
pub const MAX_HISTORY: u32 = 1_000;

/// Heads told in one heartbeat; a connection with more quiet tasks gets them in turn.
pub const MAX_HEADS: usize = 256;
