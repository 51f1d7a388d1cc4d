//! The timer of a manager, which serves all connections. No connection has a timer of its own.
//!
//! * `heartbeat`: pings, and the connections that do not answer them. The timer ticks [`SLOTS`]
//!   times per interval. Each tick serves the connections whose number belongs to it, which spreads
//!   the load.
//! * `stalls`: deadlines of writes and closes
//! * `expiry`: tokens that expire

mod expiry;
mod heartbeat;
mod stalls;

use std::sync::Weak;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::expiry::Expiries;
pub(crate) use self::stalls::Stalls;
use crate::manager::Inner;

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
pub(crate) async fn run(manager: Weak<Inner>, interval: Duration) {
    let period = interval / SLOTS;
    let mut slot = 0;
    let mut checks = 0u32;
    let mut next_beat = Instant::now() + period;
    let mut next_check = Instant::now() + DEADLINE_CHECK.min(period);
    loop {
        tokio::time::sleep_until(next_beat.min(next_check)).await;
        let Some(manager) = manager.upgrade() else {
            return;
        };
        let now = Instant::now();
        if now >= next_check {
            next_check = now + DEADLINE_CHECK.min(period);
            manager.stalls.check(now);
            manager.expire_away(now);
            manager.expiries.check(manager.bus.config().clock.now());
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
                heartbeat::beat(&connection);
                if count % BATCH == BATCH - 1 {
                    tokio::task::yield_now().await;
                }
            }
            slot = (slot + 1) % SLOTS;
        }
    }
}
