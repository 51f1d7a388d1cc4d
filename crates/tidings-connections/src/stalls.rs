//! Write deadlines, for the connections that need one.
//!
//! A connection enters when its socket is full and leaves at the next look
//! that finds it moving or gone; the idle thousands are never touched.

use std::sync::{Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::close::CloseReason;
use crate::connection::Connection;
use crate::outbound::Phase;

/// The longest that is waited, in milliseconds: twelve days.
const LONGEST: u32 = 1 << 30;

struct Stall {
    connection: Weak<Connection>,
    /// The connection's count of writes when the clock was started.
    progress: u32,
    /// Of the list's clock. Short, for thousands may wait.
    deadline: u32,
}

/// Connections whose sockets are full, and goodbyes on their way out.
pub(crate) struct Stalls {
    began: Instant,
    waiting: Mutex<Vec<Stall>>,
}

impl Default for Stalls {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            waiting: Mutex::default(),
        }
    }
}

impl Stalls {
    fn lock(&self) -> MutexGuard<'_, Vec<Stall>> {
        self.waiting
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A moment as entries have it: milliseconds that start over after fifty days.
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

    /// Ends what has stood still for too long.
    pub(crate) fn check(&self, now: Instant) {
        let now = self.at(now);
        let due: Vec<Stall> = {
            let mut waiting = self.lock();
            let due = waiting.extract_if(.., |stall| {
                // Over when not ahead, on a clock that starts over.
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
                // Looked at again, if it is full but has moved.
                out.watched = out.blocked && out.is_open() && out.progress != stall.progress;
                (out.blocked, out.phase, out.progress)
            };
            match phase {
                Phase::Open if !blocked => {}
                Phase::Open if progress != stall.progress => connection.watch_progress(progress),
                Phase::Open => {
                    connection.close(CloseReason::WriteTimeout);
                    // The goodbye will not be taken either, most likely.
                    connection.abandon();
                }
                Phase::Closing(_) => connection.abandon(),
            }
        }
    }
}
