//! Tests recorded sessions of real tools. They check the lines that a person would see
//! and the progress. `tests/recordings/README.md` describes the origin of the
//! recordings.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tidings_client::protocol::{EventType, LogStream, NewEvent, Timestamp};
use tokio::time::Instant;

use super::backlog::Copied;
use super::narrate::{Moment, Narrator};
use super::screen::Size;

/// The tools, and whether each shows its progress in per cent or as a count.
const TOOLS: [(&str, bool); 20] = [
    ("apt", true),
    ("cargo", true),
    ("cmake", true),
    ("curl", true),
    ("dd", false),
    ("docker", true),
    ("ffmpeg", true),
    ("git", true),
    ("gradle", true),
    ("make", false),
    ("ninja", true),
    ("npm", false),
    ("pip", true),
    ("pv", true),
    ("pytest", true),
    ("rsync", true),
    ("ssh", false),
    ("tqdm", true),
    ("vim", false),
    ("wget", true),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings")
}

/// Splits a recording where the tool usually pauses: after each state of a row, and
/// before each frame.
fn writes(bytes: &[u8]) -> Vec<&[u8]> {
    let mut writes = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let ends = (1..rest.len()).find(|at| {
            let (before, after) = rest.split_at(*at);
            let returned = before.ends_with(b"\r") && !after.starts_with(b"\n");
            let frame = after.starts_with(b"\x1b[") && {
                let end = after.iter().skip(2).position(|byte| !byte.is_ascii_digit());
                end.is_some_and(|end| after[end + 2] == b'A')
            };
            returned || frame
        });
        let (write, after) = rest.split_at(ends.unwrap_or(rest.len()));
        writes.push(write);
        rest = after;
    }
    writes
}

/// Returns the events of a recording whose bytes arrive in these pieces, ten pieces a
/// second.
fn told<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<NewEvent> {
    let start = Instant::now();
    let mut narrator = Narrator::new(Size::USUAL, None);
    let mut events = Vec::new();
    let mut at = Moment {
        now: start,
        wall: Timestamp::from_millis(0),
    };
    for piece in pieces {
        let copied = Copied::Output(LogStream::Stdout, piece.to_vec());
        events.extend(narrator.take(&copied, at));
        at.now += Duration::from_millis(100);
        events.extend(narrator.tick(at));
    }
    events.extend(narrator.finish(at));
    events
}

fn lines(events: &[NewEvent]) -> Vec<String> {
    let logs = events
        .iter()
        .filter(|event| event.event_type == EventType::Log);
    let messages = logs.map(|event| event.data.get()["message"].as_str().unwrap().to_owned());
    let lines = messages.flat_map(|text| text.split('\n').map(str::to_owned).collect::<Vec<_>>());
    lines.collect()
}

fn progress(events: &[NewEvent]) -> Vec<(u64, String)> {
    let updates = events
        .iter()
        .filter(|event| event.event_type == EventType::ProgressUpdate);
    let read = |event: &NewEvent| {
        let data = event.data.get();
        let number = |key: &str| data.get(key).and_then(Value::as_f64);
        let percent = number("progress").unwrap_or_else(|| {
            number("current").unwrap_or(0.0) / number("total").unwrap_or(1.0) * 100.0
        });
        let text = |key: &str| data.get(key).and_then(Value::as_str).unwrap_or_default();
        let words = [text("stage"), text("message")].join(" ");
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 100"
        )]
        let percent = percent.round() as u64;
        (percent, words.trim().to_owned())
    };
    updates.map(read).collect()
}

#[test]
fn twenty_tools_keep_their_lines_and_show_their_progress() {
    let mut table =
        String::from("| tool | bytes | lines kept | progress seen |\n|---|---|---|---|\n");
    let mut wrong = Vec::new();
    for (tool, shows) in TOOLS {
        let bytes = std::fs::read(folder().join(tool)).unwrap();
        let events = told(writes(&bytes));
        let (lines, progress) = (lines(&events), progress(&events));
        assert_eq!(!progress.is_empty(), shows, "{tool}: {progress:?}");
        let mut text = String::new();
        for line in &lines {
            let _ = writeln!(text, "|{line}");
        }
        for (percent, words) in &progress {
            let _ = writeln!(text, "{}", format!("{percent} % {words}").trim_end());
        }
        let path = folder().join(format!("{tool}.expected"));
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        if text != expected {
            wrong.push(format!("{tool}:\n{text}\nand not\n{expected}"));
        }
        let ends = match (progress.first(), progress.last()) {
            (Some(first), Some(last)) => format!("{} to {} %", first.0, last.0),
            _ => "none".to_owned(),
        };
        let count = progress.len();
        let _ = writeln!(
            table,
            "| {tool} | {} | {} | {ends} ({count}) |",
            bytes.len(),
            lines.len()
        );
    }
    #[expect(clippy::print_stderr, reason = "the table is what one runs this for")]
    {
        eprintln!("{table}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// No line is lost, at any length of the pieces and at any speed.
#[test]
fn pieces_of_any_length_lose_no_line() {
    for (tool, _) in TOOLS {
        let bytes = std::fs::read(folder().join(tool)).unwrap();
        let whole = lines(&told([&bytes[..]]));
        for piece in [1, 7, 100, 1_000] {
            let pieces = lines(&told(bytes.chunks(piece)));
            // Slow frames are reported before they are complete. No line is lost by
            // that.
            let is_told = |line: &&String| {
                let mut told = pieces.iter().map(|told| told.trim_end());
                told.any(|told| told == line.trim_end())
            };
            let missing = whole.iter().find(|line| !is_told(line));
            assert_eq!(missing, None, "{tool} in pieces of {piece}: {pieces:#?}");
        }
    }
}
