//! Times of events, in milliseconds of UTC.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// A moment in milliseconds since the Unix epoch. Its text form is RFC 3339 in UTC.
///
/// It lies between 1970 and the end of the year 9999. Moments outside are moved to the nearer end,
/// so that a wrong clock cannot make an event unreadable.
///
/// ```
/// use tidings_protocol::Timestamp;
///
/// let at = Timestamp::from_millis(1_763_873_112_123);
/// assert_eq!(at.to_string(), "2025-11-23T04:45:12.123Z");
/// assert_eq!("2025-11-23T04:45:12.123Z".parse(), Ok(at));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// 1970-01-01T00:00:00.000Z.
    pub const MIN: Self = Self(0);
    /// 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// Creates the moment this many milliseconds after the start of 1970.
    pub const fn from_millis(millis: u64) -> Self {
        if millis > Self::MAX.0 {
            Self::MAX
        } else {
            Self(millis)
        }
    }

    /// Returns the moment this many milliseconds later.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// Returns the milliseconds since the start of 1970.
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        SystemTime::UNIX_EPOCH + Duration::from_millis(timestamp.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.pad(text))
    }
}

/// The length of `2026-11-23T04:45:12.123Z`.
const TEXT_LEN: usize = 24;

/// Where the milliseconds are in that text.
const MILLIS: std::ops::Range<usize> = 20..23;

thread_local! {
    /// The last moment that was formatted, and its text. Thousands of events fall into the same
    /// second, and only their milliseconds differ.
    static LAST: RefCell<(u64, [u8; TEXT_LEN])> = const { RefCell::new((u64::MAX, [0; TEXT_LEN])) };
}

impl Timestamp {
    /// Returns the text as ASCII, without allocating a string.
    pub(crate) fn ascii(self) -> [u8; TEXT_LEN] {
        LAST.with_borrow_mut(|(last, text)| {
            if *last / 1_000 != self.0 / 1_000 {
                let rounded = Self(self.0 / 1_000 * 1_000);
                let whole = humantime::format_rfc3339_millis(rounded.into()).to_string();
                // The year has four digits, because `MAX` limits it.
                text.copy_from_slice(whole.as_bytes());
            }
            if *last != self.0 {
                let millis = self.0 % 1_000;
                for (digit, unit) in text[MILLIS].iter_mut().zip([100, 10, 1]) {
                    *digit = b'0' + u8::try_from(millis / unit % 10).unwrap_or(0);
                }
                *last = self.0;
            }
            *text
        })
    }

    /// Passes the text to `take`, without allocating a string.
    pub(crate) fn with_text<R>(self, take: impl FnOnce(&str) -> R) -> R {
        let text = self.ascii();
        take(std::str::from_utf8(&text).expect("digits and punctuation are ASCII"))
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads RFC 3339 in UTC (`Z`). Digits beyond milliseconds are dropped.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        humantime::parse_rfc3339(text)
            .map(Self::from)
            .map_err(|_| TimestampError)
    }
}

/// The text is not an RFC 3339 time in UTC between 1970 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a time such as `2026-11-23T04:45:12.123Z`")]
#[non_exhaustive]
pub struct TimestampError;

crate::text::text_serde!(
    Timestamp,
    "a time such as `2026-11-23T04:45:12.123Z`",
    with_text
);

#[cfg(feature = "schema")]
crate::schema::custom!(Timestamp, { "type": "string", "format": "date-time" });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_written_and_read() {
        for (at, text) in [
            (Timestamp::MIN, "1970-01-01T00:00:00.000Z"),
            (Timestamp::MAX, "9999-12-31T23:59:59.999Z"),
            (Timestamp::from_millis(u64::MAX), "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(at.to_string(), text);
            assert_eq!(text.parse(), Ok(at));
        }
    }

    #[test]
    fn times_outside_are_moved_to_the_nearer_end() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Timestamp::from(before), Timestamp::MIN);
        let after = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(Timestamp::from(after), Timestamp::MAX);
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "",
            "2026-11-23",
            "2026-11-23T04:45:12+01:00",
            "now",
            "2026-13-01T00:00:00Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
    }
}
