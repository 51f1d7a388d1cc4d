//! The progress output of common tools.
//!
//! Each function reads the format of one tool, as the tool's own program prints it. No
//! function accepts a line of prose that only contains a percentage.

use super::{Kind, Reading};

/// Values from earlier lines that later lines need.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The length of ffmpeg's input, in seconds.
    duration: Option<f64>,
}

impl Memory {
    /// Reads a line that is final.
    pub(super) fn line(&mut self, text: &str) -> Option<Reading> {
        if !may_show_progress(text) {
            return None;
        }
        let text = text.trim();
        known(text).or_else(|| self.ffmpeg(text))
    }

    /// Reads a row that the tool overwrites.
    pub(super) fn row(&mut self, text: &str) -> Option<Reading> {
        self.line(text).or_else(|| any(text.trim()))
    }

    /// `Duration: 00:01:40.00, start: …`, then `frame= … time=00:00:50.00 bitrate=…`
    fn ffmpeg(&mut self, text: &str) -> Option<Reading> {
        if let Some(rest) = text.strip_prefix("Duration: ") {
            self.duration = clock(rest.split(',').next()?);
            return None;
        }
        let at = text.find("time=")?;
        if !text.contains("bitrate=") {
            return None;
        }
        let time = clock(text[at + 5..].split_whitespace().next()?)?;
        let duration = self.duration.filter(|duration| *duration > 0.0)?;
        Some(Reading::percent((time / duration * 100.0).min(100.0))?.whole())
    }
}

/// Returns true if a line has a character that occurs in every known format. Most lines of a flood
/// have none.
fn may_show_progress(text: &str) -> bool {
    let is_mark = |byte| matches!(byte, b'%' | b'/' | b':');
    text.bytes().any(is_mark) || text.trim_start().starts_with("Progress ")
}

/// Recognises a tool by the format of its line.
fn known(text: &str) -> Option<Reading> {
    let whole = cargo(text)
        .or_else(|| ninja(text))
        .or_else(|| cmake(text))
        .or_else(|| docker(text))
        .or_else(|| pytest(text));
    let one = || {
        rsync(text)
            .or_else(|| curl(text))
            .or_else(|| pip(text))
            .or_else(|| git(text))
            .or_else(|| wget(text))
            .or_else(|| tqdm(text))
    };
    whole.map(Reading::whole).or_else(one)
}

/// `Building [====>      ] 12/34: serde, tokio`
fn cargo(text: &str) -> Option<Reading> {
    let (verb, rest) = text.split_once(" [")?;
    if !matches!(
        verb,
        "Building" | "Checking" | "Fetch" | "Updating" | "Downloading"
    ) {
        return None;
    }
    let (bar, rest) = rest.split_once("] ")?;
    if !bar.bytes().all(|byte| matches!(byte, b'=' | b'>' | b' ')) {
        return None;
    }
    let end = rest.find([':', ',', ' ']).unwrap_or(rest.len());
    let (current, total) = rest[..end].split_once('/')?;
    let message = rest[end..].trim_start_matches([':', ',']);
    Reading::count(current.parse().ok()?, total.parse().ok()?, message)
}

/// `[+] Building 12.3s (5/12)`, and compose's `[+] Pulling 3/12`.
fn docker(text: &str) -> Option<Reading> {
    let rest = text.strip_prefix("[+] ")?;
    let (verb, rest) = rest.split_once(' ')?;
    let count = rest.rsplit_once('(').map_or(rest, |(_, count)| count);
    let count = count.split([')', ' ']).next()?;
    let (current, total) = count.split_once('/')?;
    Reading::count(current.parse().ok()?, total.parse().ok()?, verb)
}

/// `tests/test_a.py ....s...   [ 45%]`
fn pytest(text: &str) -> Option<Reading> {
    let (test, percent) = text.strip_suffix("%]")?.rsplit_once('[')?;
    if percent.len() != 3 || !test.contains(".py") || !test.ends_with(' ') {
        return None;
    }
    Reading::percent(percent.trim().parse().ok()?)
}

/// `Receiving objects:  45% (450/1000), 1.20 MiB | 2.30 MiB/s`. With `remote: ` in front, it is the
/// work of another machine.
fn git(text: &str) -> Option<Reading> {
    let text = text.strip_prefix("remote: ").unwrap_or(text);
    let (stage, rest) = text.split_once(':')?;
    let (percent, rest) = rest.trim_start().split_once("% (")?;
    let (current, total) = rest.split_once(')')?.0.split_once('/')?;
    let percent: f64 = percent.parse().ok()?;
    let (current, total) = (current.parse().ok()?, total.parse().ok()?);
    let reading = Reading::count(current, total, "")?;
    // Accept the line only if the counts confirm the percentage.
    ((reading.percent - percent).abs() <= 1.0).then(|| reading.stage(stage))
}

/// `  450K .......... .......... ..........  45% 1.20M 3s`, if wget has no terminal.
fn wget(text: &str) -> Option<Reading> {
    let mut words = text.split_whitespace();
    let offset = words.next()?.strip_suffix('K')?;
    offset.parse::<u64>().ok()?;
    let mut dots = 0;
    for word in words {
        if word.bytes().all(|byte| byte == b'.' || byte == b',') {
            dots += 1;
        } else {
            let percent = word.strip_suffix('%')?.parse().ok()?;
            return if dots > 0 {
                Reading::percent(percent)
            } else {
                None
            };
        }
    }
    None
}

/// `name:  45%|████▌     | 45/100 [00:01<00:02, 30.00it/s]`
fn tqdm(text: &str) -> Option<Reading> {
    let (head, rest) = text.split_once("%|")?;
    let (_, rest) = rest.split_once("| ")?;
    let (count, times) = rest.split_once(" [")?;
    if !times.contains('<') || !times.contains(']') {
        return None;
    }
    let (name, percent) = match head.rsplit_once(':') {
        Some((name, percent)) => (name, percent),
        None => ("", head),
    };
    let percent = Reading::percent(percent.trim().parse().ok()?)?;
    let counted = count.split_once('/').and_then(|(current, total)| {
        Reading::count(current.parse().ok()?, total.parse().ok()?, "")
    });
    let mut reading = counted.unwrap_or(percent).about(name);
    reading.kind = Kind::Loop;
    Some(reading)
}

/// `[12/34] Building CXX object foo.o`
fn ninja(text: &str) -> Option<Reading> {
    let (count, message) = text.strip_prefix('[')?.split_once(']')?;
    let (current, total) = count.split_once('/')?;
    Reading::count(
        current.trim().parse().ok()?,
        total.trim().parse().ok()?,
        message,
    )
}

/// `[ 45%] Building CXX object foo.o`, as CMake's makefiles print it.
fn cmake(text: &str) -> Option<Reading> {
    let (percent, message) = text.strip_prefix('[')?.split_once("%]")?;
    Some(Reading::percent(percent.trim().parse().ok()?)?.about(message))
}

/// `1,234,567  45%   12.34MB/s    0:00:12 (xfr#1, to-chk=0/2)`
fn rsync(text: &str) -> Option<Reading> {
    let mut words = text.split_whitespace();
    let (bytes, percent, speed) = (words.next()?, words.next()?, words.next()?);
    let is_bytes = bytes.starts_with(|c: char| c.is_ascii_digit())
        && bytes
            .chars()
            .all(|c| c.is_ascii_digit() || ",.KMGT".contains(c));
    if !is_bytes || !speed.ends_with("/s") {
        return None;
    }
    Reading::percent(percent.strip_suffix('%')?.parse().ok()?)
}

/// The meter: ` 45  100M   45 45.0M    0     0  10.0M      0  0:00:10  0:00:04  0:00:06 10.0M`,
/// and with `-#`: `########                45.2%`.
fn curl(text: &str) -> Option<Reading> {
    if text.starts_with('#') {
        let (bar, percent) = text.rsplit_once([' ', '#'])?;
        if bar.chars().all(|c| matches!(c, '#' | ' ')) {
            return Reading::percent(percent.strip_suffix('%')?.parse().ok()?);
        }
        return None;
    }
    let words: Vec<_> = text.split_whitespace().collect();
    let is_clock = |word: &str| word.matches(':').count() == 2;
    if words.len() != 12 || words[8..11].iter().filter(|word| is_clock(word)).count() != 3 {
        return None;
    }
    Reading::percent(words[0].parse().ok()?)
}

/// `━━━━━━━━━━━━ 1.2/3.4 MB 5.6 MB/s eta 0:00:01`, and with `--progress-bar raw`:
/// `Progress 1234 of 5678`.
fn pip(text: &str) -> Option<Reading> {
    if let Some(rest) = text.strip_prefix("Progress ") {
        let (done, total) = rest.split_once(" of ")?;
        return ratio(done, total);
    }
    if !text.starts_with(['━', '╸', '╺']) {
        return None;
    }
    let rest = text.trim_start_matches(['━', '╸', '╺', ' ']);
    let (done, total) = rest.split_whitespace().next()?.split_once('/')?;
    ratio(done, total)
}

fn ratio(done: &str, total: &str) -> Option<Reading> {
    let (done, total): (f64, f64) = (done.parse().ok()?, total.parse().ok()?);
    if total > 0.0 {
        Reading::percent(done / total * 100.0)
    } else {
        None
    }
}

/// Reads a percentage in an overwritten line of any tool.
fn any(text: &str) -> Option<Reading> {
    let end = text.find('%')?;
    let start = text[..end]
        .rfind(|c: char| !c.is_ascii_digit() && c != '.' && c != ',')
        .map_or(0, |at| {
            at + text[at..].chars().next().map_or(1, char::len_utf8)
        });
    let number = text[start..end].trim_start_matches(['.', ',']);
    let start = end - number.len();
    // A number directly after a letter is a rest of an earlier state.
    if text[..start].ends_with(char::is_alphanumeric) {
        return None;
    }
    let reading = Reading::percent(number.replace(',', ".").parse().ok()?)?;
    // In `Reading package lists... 45%`, the words before the number name the stage.
    let stage = text[..start].trim_end_matches(|c: char| !c.is_alphanumeric());
    let is_words = stage.starts_with(char::is_alphabetic) && stage.len() <= 60;
    Some(if is_words {
        reading.stage(stage)
    } else {
        reading
    })
}

/// Returns `01:02:03.45` in seconds.
fn clock(text: &str) -> Option<f64> {
    let mut seconds = 0.0;
    for part in text.trim().split(':') {
        seconds = seconds * 60.0 + part.parse::<f64>().ok()?;
    }
    Some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(text: &str, transient: bool) -> Option<f64> {
        let mut memory = Memory::default();
        let reading = match transient {
            true => memory.row(text),
            false => memory.line(text),
        };
        let reading = reading?;
        Some((reading.percent * 10.0).round() / 10.0)
    }

    #[test]
    fn common_tools_are_understood() {
        for (text, expected) in [
            (
                "    Building [=====>                   ] 12/48: serde, foo(bin)",
                25.0,
            ),
            ("    Building [                         ] 0/34", 0.0),
            ("       Fetch [====>     ] 10/20, 3.2MiB/s", 50.0),
            ("[12/48] Building CXX object src/a.o", 25.0),
            ("[ 45%] Building CXX object src/a.o", 45.0),
            ("[100%] Built target a", 100.0),
            (
                "      1,234,567  45%   12.34MB/s    0:00:12 (xfr#1, to-chk=0/2)",
                45.0,
            ),
            (
                " 45  100M   45 45.0M    0     0  10.0M      0  0:00:10  0:00:04  0:00:06 10.0M",
                45.0,
            ),
            (
                "100   1M  100   1M    0     0  10.0M      0 --:--:-- --:--:-- --:--:-- 10.0M",
                100.0,
            ),
            ("##############                    45.2%", 45.2),
            (
                "   ━━━━━━━━━━━━╸━━━━━━ 1.2/2.4 MB 5.6 MB/s eta 0:00:01",
                50.0,
            ),
            ("Progress 500 of 1000", 50.0),
            (
                "Receiving objects:  45% (450/1000), 1.20 MiB | 2 MiB/s",
                45.0,
            ),
            ("remote: Compressing objects: 100% (7/7), done.", 100.0),
            (
                "  450K .......... .......... ..........  45% 1.20M 3s",
                45.0,
            ),
            ("tests/test_a.py ....s...                [ 45%]", 45.0),
            ("tests/test_a.py::test_b[1-2] PASSED     [  5%]", 5.0),
            ("[+] Building 12.3s (3/12)  docker:default", 25.0),
            ("[+] Pulling 3/12", 25.0),
            (" 45%|████▌     | 45/100 [00:01<00:02, 30.00it/s]", 45.0),
        ] {
            assert_eq!(percent(text, false), Some(expected), "{text}");
        }
    }

    #[test]
    fn any_percentage_counts_where_the_line_is_written_over() {
        for (text, expected) in [
            ("Reading package lists... 45%", 45.0),
            ("<=====--------> 45% EXECUTING [3s]", 45.0),
            ("Progress: [ 45%]", 45.0),
            (
                " 123MiB 0:00:05 [24.5MiB/s] [=====>      ] 45% ETA 0:00:06",
                45.0,
            ),
            ("file.iso   45%[====>     ] 450M", 45.0),
            (" 99.9% done", 99.9),
            (" 99,9% fertig", 99.9),
            ("3 of 9, 45%", 45.0),
            ("Unpacking...45%", 45.0),
            ("…7%", 7.0),
        ] {
            assert_eq!(percent(text, true), Some(expected), "{text}");
            assert_eq!(percent(text, false), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_progress_is_none() {
        for text in [
            "",
            "%",
            "warning: 95% of the disk is used",
            "[1/0] impossible",
            "[5/4] impossible",
            "[see 1/2] a footnote",
            "Building [x] 1/2",
            "time=00:00:10 bitrate=1k",
            "250%",
            "Coverage: 45% (450/1200)",
            "see test_a.py [45%]",
            "12K . prose 45% more",
            "1 2 3",
        ] {
            assert_eq!(percent(text, false), None, "{text}");
        }
    }

    #[test]
    fn ffmpeg_counts_in_the_length_of_its_input() {
        let mut memory = Memory::default();
        let input = "  Duration: 00:01:40.00, start: 0.000000, bitrate: 1205 kb/s";
        assert_eq!(memory.line(input), None);
        let status = "frame=  500 fps= 50 q=28.0 size=  512kB time=00:00:50.00 bitrate= 419.4kbits/s speed=2x";
        let reading = memory.row(status).unwrap();
        assert_eq!(reading.percent.round(), 50.0);
    }

    #[test]
    fn a_count_brings_its_message() {
        let text = "Building [==>  ] 12/34: serde";
        let reading = Memory::default().row(text).unwrap();
        assert_eq!(reading.count, Some((12, 34)));
        assert_eq!(reading.message.as_deref(), Some("serde"));
    }
}
