//! Heartbeats for all connections from one timer.
//!
//! The timer ticks [`SLOTS`] times per interval. Each tick serves the connections whose number
//! belongs to it. This spreads the load, and a connection needs no timer of its own.
//! no timer of its own.

use std::sync::Arc;
use std::time::Duration;

use tidings_protocol::{ControlMessage, Offset};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::close::CloseReason;
use crate::connection::Connection;
use crate::defaults::{MAX_HEADS, UNANSWERED_HEARTBEATS};
use crate::manager::Inner;
use crate::subscriptions::Mark;

/// The number of ticks per heartbeat interval.
const SLOTS: u32 = 25;

/// The number of connections that are served between two yields.
const BATCH: usize = 128;

/// The longest time between two checks of deadlines.
const DEADLINE_CHECK: Duration = Duration::from_millis(500);

/// The number of deadline checks between two cleanups of the limits, which remove quiet clients. It
/// amounts to about a minute.
const CHECKS_A_TIDY: u32 = 120;

/// Runs the timer until the manager is dropped.
pub(crate) async fn run(
    manager: std::sync::Weak<Inner>,
    interval: Duration,
    stop: CancellationToken,
) {
    let period = interval / SLOTS;
    let mut slot = 0;
    let mut checks = 0u32;
    let mut next_beat = Instant::now() + period;
    let mut next_check = Instant::now() + DEADLINE_CHECK.min(period);
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(next_beat.min(next_check)) => {}
            () = stop.cancelled() => return,
        }
        let Some(manager) = manager.upgrade() else {
            return;
        };
        let now = Instant::now();
        if now >= next_check {
            next_check = now + DEADLINE_CHECK.min(period);
            manager.stalls.check(now);
            manager.expire_away(now);
            manager.end_expired();
            checks = checks.wrapping_add(1);
            if checks.is_multiple_of(CHECKS_A_TIDY) {
                manager.limiter.tidy();
            }
        }
        if now >= next_beat {
            // If the timer falls behind, it does not catch up in a burst.
            next_beat = (next_beat + period).max(now);
            for (count, connection) in manager
                .registry
                .in_slot(slot, SLOTS)
                .into_iter()
                .enumerate()
            {
                connection.heartbeat();
                if count % BATCH == BATCH - 1 {
                    tokio::task::yield_now().await;
                }
            }
            slot = (slot + 1) % SLOTS;
        }
    }
}

impl Connection {
    /// Sends a ping and a heartbeat in one write. If earlier ones were not answered, closes the
    /// connection instead.
    pub(crate) fn heartbeat(self: &Arc<Self>) {
        if self.wire().answers_pings() && self.count_heartbeat() >= UNANSWERED_HEARTBEATS {
            self.close(CloseReason::HeartbeatTimeout);
            return;
        }
        let mut out = self.lock();
        // A full socket has its own deadline, and heartbeats must not pile up behind it.
        if out.blocked || !out.is_open() {
            return;
        }
        let mut heads = Vec::new();
        for (_, sub) in out.subs.iter_mut() {
            let at = Mark::from(*sub.reader.cursor());
            let quiet = sub.last_heartbeat == at;
            sub.last_heartbeat = at;
            if let (true, Some(task_id)) = (quiet && heads.len() < MAX_HEADS, sub.source.task_id())
            {
                let head = Offset::new(sub.source.topic().head()).unwrap_or(Offset::MAX);
                heads.push((task_id.clone(), head));
            }
        }
        let mut bytes = Vec::new();
        self.wire().ping(&mut bytes);
        self.encode(&ControlMessage::heartbeat(heads), &mut bytes);
        self.write_control(&mut out, &bytes);
    }
}
