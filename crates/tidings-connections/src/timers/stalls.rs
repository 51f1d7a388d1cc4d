//! Write deadlines, for the connections that need one.
//!
//! A connection enters the list when its socket is full. It leaves at the next check that finds it
//! progressing or gone. Idle connections are never touched.

use std::sync::Weak;
use std::time::Duration;

use tidings_bus::lock::{Guard, Lock, place};
use tokio::time::Instant;

use crate::close::CloseReason;
use crate::connection::Connection;
use crate::outbound::Phase;

/// The longest deadline in milliseconds: twelve days.
const LONGEST: u32 = 1 << 30;

struct Stall {
    connection: Weak<Connection>,
    /// The connection's count of writes when its deadline was set.
    progress: u32,
    /// The deadline, on the list's own clock. It is a short integer, because thousands may wait.
    deadline: u32,
}

/// Connections whose sockets are full, and closes that are being written.
pub(crate) struct Stalls {
    began: Instant,
    waiting: Lock<Vec<Stall>, place::Leaf>,
}

impl Default for Stalls {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            waiting: Lock::default(),
        }
    }
}

impl Stalls {
    fn lock(&self) -> Guard<'_, Vec<Stall>, place::Leaf> {
        self.waiting.lock()
    }

    /// Returns a moment as entries store it: milliseconds, which wrap around after fifty days.
    fn at(&self, moment: Instant) -> u32 {
        let since = moment.saturating_duration_since(self.began);
        u32::try_from(since.as_millis() % (1 << u32::BITS)).unwrap_or(0)
    }

    pub(crate) fn watch(&self, connection: Weak<Connection>, progress: u32, limit: Duration) {
        let limit = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
        let deadline = self.at(Instant::now()).wrapping_add(limit.min(LONGEST));
        self.lock().push(Stall {
            connection,
            progress,
            deadline,
        });
    }

    /// Ends connections that have made no progress for too long.
    pub(crate) fn check(&self, now: Instant) {
        let now = self.at(now);
        let due: Vec<Stall> = {
            let mut waiting = self.lock();
            let due = waiting.extract_if(.., |stall| {
                // On a clock that wraps around, a deadline is over if it is not ahead.
                now.wrapping_sub(stall.deadline) <= LONGEST
            });
            let due = due.collect();
            waiting.shrink_to_fit();
            due
        };
        for stall in due {
            let Some(connection) = stall.connection.upgrade() else {
                continue;
            };
            let (blocked, phase, progress) = {
                let mut out = connection.lock();
                // Keep watching a socket that is full but has made progress.
                let (blocked, progress) = (out.writer.blocked, out.writer.progress);
                out.writer.watched = blocked && out.is_open() && progress != stall.progress;
                (blocked, out.phase, progress)
            };
            match phase {
                Phase::Open if !blocked => {}
                Phase::Open if progress != stall.progress => connection.watch_progress(progress),
                Phase::Open => {
                    connection.close(CloseReason::WriteTimeout);
                    // The close is unlikely to be accepted either.
                    connection.cut_off();
                }
                Phase::Closing(_) => connection.cut_off(),
            }
        }
    }
}
