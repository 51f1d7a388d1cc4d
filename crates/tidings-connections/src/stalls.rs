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

struct Stall {
    connection: Weak<Connection>,
    /// The connection's count of writes when the clock was started.
    progress: u32,
    deadline: Instant,
}

/// Connections whose sockets are full, and goodbyes on their way out.
#[derive(Default)]
pub(crate) struct Stalls {
    waiting: Mutex<Vec<Stall>>,
}

impl Stalls {
    fn lock(&self) -> MutexGuard<'_, Vec<Stall>> {
        self.waiting
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn watch(&self, connection: Weak<Connection>, progress: u32, limit: Duration) {
        let deadline = Instant::now() + limit;
        self.lock().push(Stall {
            connection,
            progress,
            deadline,
        });
    }

    /// Ends what has stood still for too long.
    pub(crate) fn check(&self, now: Instant) {
        let due: Vec<Stall> = {
            let mut waiting = self.lock();
            let (due, rest) = std::mem::take(&mut *waiting)
                .into_iter()
                .partition(|stall| stall.deadline <= now);
            *waiting = rest;
            due
        };
        for stall in due {
            let Some(connection) = stall.connection.upgrade() else {
                continue;
            };
            let (blocked, phase, progress) = {
                let out = connection.lock();
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
