//! Formats ages and lengths of time, short enough for a column.

use std::time::{Duration, SystemTime};

use tidings_client::protocol::{TaskSnapshot, Timestamp};

/// Returns a time in its two largest units: `7s`, `3m12s`, `2h5m`, `4d7h`.
pub(crate) fn short(time: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = time.as_secs();
    let two = |large: u64, unit: &str, small: u64, rest: &str| {
        format!("{}{unit}{}{rest}", seconds / large, seconds % large / small)
    };
    if seconds < MINUTE {
        format!("{seconds}s")
    } else if seconds < HOUR {
        two(MINUTE, "m", 1, "s")
    } else if seconds < DAY {
        two(HOUR, "h", MINUTE, "m")
    } else {
        two(DAY, "d", HOUR, "h")
    }
}

/// Returns the time since a moment. If the clock is behind the server's, the result is
/// zero and never negative.
pub(crate) fn since(moment: Timestamp) -> Duration {
    between(moment, Timestamp::from(SystemTime::now()))
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(to.as_millis().saturating_sub(from.as_millis()))
}

/// Returns the duration of a task's last run, so far or until its end.
pub(crate) fn took(task: &TaskSnapshot) -> Option<Duration> {
    let started = task.started_at?;
    Some(match task.finished_at {
        Some(finished) => between(started, finished),
        None => since(started),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units_are_enough() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m0s"),
            (3_599, "59m59s"),
            (7_500, "2h5m"),
            (86_400 * 4 + 3_600 * 7 + 59, "4d7h"),
        ] {
            assert_eq!(short(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_moment_in_the_future_is_now() {
        let at = Timestamp::from_millis;
        assert_eq!(between(at(5), at(3)), Duration::ZERO);
        assert_eq!(between(at(5), at(1_005)), Duration::from_secs(1));
    }
}
