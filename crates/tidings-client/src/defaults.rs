//! All defaults of the client, with their units and reasons.

use std::time::Duration;

/// The upper bound of the pause before the first reconnect. A server that restarts is
/// back within about a second.
pub const BACKOFF_BASE: Duration = Duration::from_millis(250);

/// The longest pause between two attempts. A person who waits for a server to come back
/// should not wait longer.
pub const BACKOFF_CAP: Duration = Duration::from_secs(15);

/// The shortest pause before a reconnect, even if the server asks for less. A hundred
/// clients that are told to reconnect at once must not overload the server.
pub const BACKOFF_FLOOR: Duration = Duration::from_millis(50);

/// The age at which a connection counts as stable. After a stable connection, the
/// pauses start again with the shortest bound.
pub const STABLE_AFTER: Duration = Duration::from_secs(5);

/// The time limit for connecting, including the greeting.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The time limit for a token source. A slow identity provider answers within seconds.
/// The client must not wait for one that hangs.
pub const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);

/// The time without any answer after which the client closes the connection. The client
/// sends a ping at half this time, so the server's heartbeat interval does not matter.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// The number of publishes that may wait for their answer, sent or unsent.
pub const MAX_PENDING: usize = 8_192;

/// The bytes of publishes that may wait for their answer, sent or unsent.
pub const MAX_PENDING_BYTES: usize = 8 * 1024 * 1024;

/// The number of publishes that are sent and not yet answered. A server remembers 1,024
/// event ids per task. The client uses half, so the server recognises every publish
/// that is sent again as a duplicate.
pub const MAX_IN_FLIGHT: usize = 512;

/// The number of commands that may wait for their answer.
pub const MAX_COMMANDS: usize = 256;

/// The number of updates that may wait in one watch. Further updates stay in the
/// server's log, and the watch reads them from there later.
pub const WATCH_UPDATES: usize = 1_024;

/// The bytes of updates that may wait in one watch. Further updates stay in the
/// server's log.
pub const WATCH_BYTES: usize = 1024 * 1024;

/// The largest message that the client publishes, in bytes. It applies if the server's
/// greeting names no limit.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// The largest message that the client accepts from the server, in bytes. A snapshot
/// has at most 64 KiB.
pub const MAX_INCOMING_BYTES: usize = 1024 * 1024;

/// The pause before the client repeats a subscription that the server has temporarily
/// refused.
pub const RETRY_SUBSCRIBE: Duration = Duration::from_secs(1);

/// The largest page of tasks, in bytes: a hundred snapshots of at most 64 KiB each.
pub const MAX_LIST_BYTES: usize = 8 * 1024 * 1024;
