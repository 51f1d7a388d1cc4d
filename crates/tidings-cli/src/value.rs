//! Parses the values of options in the same way as the server's options.

use std::time::Duration;

use bytesize::ByteSize;

/// The longest time: ten years. Longer times approach the limits of the system's clocks.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Parses a length of time of at least `LEAST` milliseconds.
pub(crate) fn time<const LEAST: u64>(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text)
        .map_err(|_| "expected a time with its unit such as 250ms, 25s, 5m or 1h".to_owned())?;
    let least = Duration::from_millis(LEAST);
    if time < least {
        let least = humantime::format_duration(least);
        return Err(format!("must be at least {least}"));
    }
    if time > LONGEST {
        return Err("must be at most 3650d".to_owned());
    }
    Ok(time)
}

/// Parses a count of at least `LEAST`.
pub(crate) fn count<const LEAST: u64>(text: &str) -> Result<u64, String> {
    let count = text
        .parse()
        .map_err(|_| "expected a whole number such as 1000".to_owned())?;
    if count < LEAST {
        return Err(format!("must be at least {LEAST}"));
    }
    Ok(count)
}

/// Parses a number of bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let size: Result<ByteSize, _> = text.parse();
    size.map(|size| size.as_u64())
        .map_err(|_| "expected a size such as 256KiB, 64KB or 1048576 (bytes)".to_owned())
}

/// Converts a number to a length. A number that is too large for this machine becomes the largest
/// length.
pub(crate) fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_both_kinds() {
        for (text, bytes) in [("256KiB", 262_144), ("64KB", 64_000), ("1024", 1_024)] {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        for wrong in ["", "KiB", "1 parsec", "-1", "1e3"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_need_a_unit() {
        for (text, ms) in [("250ms", 250), ("25s", 25_000), ("1h", 3_600_000)] {
            assert_eq!(time::<0>(text).unwrap().as_millis(), ms, "{text}");
        }
        for wrong in ["", "25", "-1s", "11y", "99999999999999999y"] {
            assert!(time::<0>(wrong).is_err(), "{wrong}");
        }
        assert_eq!(time::<10>("9ms").unwrap_err(), "must be at least 10ms");
    }

    #[test]
    fn counts_are_whole_and_bounded() {
        assert_eq!(count::<1>("7").unwrap(), 7);
        for wrong in ["0", "-1", "1.5", "many", "99999999999999999999"] {
            assert!(count::<1>(wrong).is_err(), "{wrong}");
        }
    }
}
