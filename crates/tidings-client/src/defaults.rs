//! Every default of the client, with its unit and its reason.

use std::time::Duration;

/// The pause before the first reconnect, at most: a server that restarts is
/// back within a second or so.
pub const BACKOFF_BASE: Duration = Duration::from_millis(250);

/// The longest pause between two attempts: somebody who watches a server come
/// back does not want to wait longer.
pub const BACKOFF_CAP: Duration = Duration::from_secs(15);

/// The shortest pause before a reconnect, whatever the server says: a hundred
/// clients that are all told `now` must not become a flood.
pub const BACKOFF_FLOOR: Duration = Duration::from_millis(50);

/// A connection that lived this long makes the next pause a first one again.
pub const STABLE_AFTER: Duration = Duration::from_secs(5);

/// How long connecting may take, the greeting included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a token source may take: a slow identity provider answers within
/// seconds, and one that hangs must not be waited for.
pub const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Without any answer for this long the connection is given up. A ping asks for
/// one at half the time, so the server's own heartbeats do not matter.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// Publishes that may wait for their answer, sent or not.
pub const MAX_PENDING: usize = 8_192;

/// Bytes of publishes that may wait for their answer, sent or not.
pub const MAX_PENDING_BYTES: usize = 8 * 1024 * 1024;

/// Publishes that are sent and not answered. Half of the 1,024 ids of a task
/// that a server remembers, so what is sent again is known to it as a duplicate.
pub const MAX_IN_FLIGHT: usize = 512;

/// Commands that may wait for their answer.
pub const MAX_COMMANDS: usize = 256;

/// Updates that wait in one watch for the program to take them. Past it the
/// server's log is the queue: the watch goes on from there.
pub const WATCH_UPDATES: usize = 1_024;

/// Bytes of updates that wait in one watch, likewise.
pub const WATCH_BYTES: usize = 1024 * 1024;

/// Bytes of a message that is published, where the server's greeting does not say how
/// many it accepts.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Bytes of a message from the server. Snapshots have 64 KiB at most.
pub const MAX_INCOMING_BYTES: usize = 1024 * 1024;

/// After a subscription was refused for the moment, when to ask again.
pub const RETRY_SUBSCRIBE: Duration = Duration::from_secs(1);

/// Bytes of a page of tasks: a hundred snapshots of 64 KiB at most each.
pub const MAX_LIST_BYTES: usize = 8 * 1024 * 1024;
