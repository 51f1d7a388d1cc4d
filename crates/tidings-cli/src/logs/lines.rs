//! Turns events into the text of a log.

use std::collections::VecDeque;
use std::str::FromStr;

use serde_json::Value;
use tidings_client::protocol::{Event, EventType, Timestamp};

/// A stream of a task's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub(super) enum Stream {
    /// Lines of `log` events that name no other stream.
    Stdout,
    /// Lines of `log` events that are from standard error.
    Stderr,
    /// The words of agents.
    Output,
}

/// A piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) stream: Stream,
    /// The time at which the text was written.
    pub(super) time: Timestamp,
    /// The text without its line end.
    pub(super) text: String,
    /// True if the line ends here. Otherwise, the next piece of the stream continues
    /// the line.
    pub(super) ends: bool,
}

/// Returns the pieces of text in an event.
pub(super) fn pieces(event: &Event) -> Vec<Piece> {
    let data = event.data.get();
    let text = |key: &str| data.get(key).and_then(Value::as_str);
    let written = text("time").and_then(|time| Timestamp::from_str(time).ok());
    let time = written.unwrap_or(event.timestamp);
    let (stream, text, ends) = match event.event_type {
        EventType::Log => {
            let stream = match text("stream") {
                Some("stderr") => Stream::Stderr,
                _ => Stream::Stdout,
            };
            let message = text("message").unwrap_or_default();
            // Some programs end their messages with a line end, and some do not.
            // Messages of `tidings run` have a time and never end so. In them, a line
            // end stands for a blank line.
            let message = match (written, message.strip_suffix('\n')) {
                (None, Some(line)) => line,
                _ => message,
            };
            (
                stream,
                message,
                data.get("continues") != Some(&Value::Bool(true)),
            )
        }
        EventType::OutputDelta => (Stream::Output, text("text").unwrap_or_default(), false),
        EventType::OutputCompleted => (Stream::Output, "", true),
        _ => return Vec::new(),
    };
    let mut lines: Vec<Piece> = text
        .split('\n')
        .map(|line| Piece {
            stream,
            time,
            text: line.strip_suffix('\r').unwrap_or(line).to_owned(),
            ends: true,
        })
        .collect();
    if let Some(last) = lines.last_mut() {
        last.ends = ends;
    }
    lines
}

/// Returns the types of events that contain text.
pub(super) fn types() -> Vec<EventType> {
    vec![
        EventType::Log,
        EventType::OutputDelta,
        EventType::OutputCompleted,
    ]
}

/// The last lines of a text.
#[derive(Debug)]
pub(super) struct Tail {
    most: usize,
    /// The number of complete lines in `pieces`.
    lines: usize,
    pieces: VecDeque<Piece>,
}

impl Tail {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            lines: 0,
            pieces: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, piece: Piece) {
        self.lines += usize::from(piece.ends);
        self.pieces.push_back(piece);
        while self.lines > self.most {
            let first = self.pieces.pop_front();
            self.lines -= usize::from(first.is_some_and(|first| first.ends));
        }
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter()
    }
}

/// Joins pieces into lines as they were written, and adds the time to each if
/// requested.
#[derive(Debug)]
pub(super) struct Writer {
    timestamps: bool,
    raw: bool,
    /// The stream whose line is incomplete.
    open: Option<Stream>,
}

impl Writer {
    pub(super) fn new(timestamps: bool, raw: bool) -> Self {
        Self {
            timestamps,
            raw,
            open: None,
        }
    }

    /// Returns the text to print for a piece.
    pub(super) fn write(&mut self, piece: &Piece) -> String {
        let mut out = String::with_capacity(piece.text.len() + 2);
        let continues = self.open == Some(piece.stream);
        if !continues && piece.text.is_empty() && piece.stream == Stream::Output {
            // This output was already printed completely, or begins empty.
            if !piece.ends || self.open.is_none() {
                return out;
            }
        }
        if !continues {
            if self.open.take().is_some() {
                out.push('\n');
            }
            if self.timestamps {
                out.push_str(&format!("{} ", piece.time));
            }
        }
        match self.raw {
            true => out.push_str(&piece.text),
            false => clean(&piece.text, &mut out),
        }
        if piece.ends {
            out.push('\n');
            self.open = None;
        } else {
            self.open = Some(piece.stream);
        }
        out
    }

    /// Returns the text that completes an incomplete line.
    pub(super) fn end(&mut self) -> &'static str {
        match self.open.take() {
            Some(_) => "\n",
            None => "",
        }
    }
}

/// Keeps tabs, because many logs contain them. Replaces all other control characters
/// with a mark.
fn clean(text: &str, out: &mut String) {
    let mut parts = text.split('\t');
    out.push_str(&crate::clean(parts.next().unwrap_or_default()));
    for part in parts {
        out.push('\t');
        out.push_str(&crate::clean(part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(event_type: &str, data: &Value) -> Event {
        let event = json!({
            "event_type": event_type, "task_id": "t", "offset": 1,
            "timestamp": "2026-11-23T04:45:12.123Z", "data": data,
        });
        serde_json::from_value(event).unwrap()
    }

    fn written(events: &[Event], timestamps: bool, raw: bool) -> String {
        let mut writer = Writer::new(timestamps, raw);
        let mut text: String = events
            .iter()
            .flat_map(pieces)
            .map(|piece| writer.write(&piece))
            .collect();
        text.push_str(writer.end());
        text
    }

    #[test]
    fn lines_are_as_they_were_written() {
        let events = [
            event("log", &json!({"message": "a\n\nb\tc"})),
            event("log", &json!({"message": "long ", "continues": true})),
            event("log", &json!({"message": "line\nend\n"})),
            event("progress_update", &json!({"progress": 1})),
            event("log", &json!({"message": ""})),
            event(
                "log",
                &json!({"message": "x\n", "time": "2026-11-23T04:45:00.000Z"}),
            ),
        ];
        assert_eq!(
            written(&events, false, false),
            "a\n\nb\tc\nlong line\nend\n\nx\n\n"
        );
    }

    #[test]
    fn a_line_of_another_stream_does_not_mix_with_one_that_goes_on() {
        let events = [
            event("log", &json!({"message": "half", "continues": true})),
            event("log", &json!({"message": "error", "stream": "stderr"})),
            event("log", &json!({"message": " of it"})),
            event("output_delta", &json!({"output_id": "o", "text": "Hel"})),
            event(
                "output_delta",
                &json!({"output_id": "o", "text": "lo\nyou"}),
            ),
            event(
                "output_completed",
                &json!({"output_id": "o", "text": "Hello\nyou"}),
            ),
            event("log", &json!({"message": "after"})),
        ];
        let text = "half\nerror\n of it\nHello\nyou\nafter\n";
        assert_eq!(written(&events, false, false), text);
    }

    #[test]
    fn times_are_those_of_the_lines() {
        let events = [
            event(
                "log",
                &json!({"message": "a\nb", "time": "2026-11-23T04:45:00.000Z"}),
            ),
            event("log", &json!({"message": "c"})),
        ];
        let text =
            "2026-11-23T04:45:00.000Z a\n2026-11-23T04:45:00.000Z b\n2026-11-23T04:45:12.123Z c\n";
        assert_eq!(written(&events, true, false), text);
    }

    #[test]
    fn only_raw_text_can_control_a_terminal() {
        let events = [event("log", &json!({"message": "\u{1b}[2Ja\u{9b}b"}))];
        assert_eq!(written(&events, false, false), "·[2Ja·b\n");
        assert_eq!(written(&events, false, true), "\u{1b}[2Ja\u{9b}b\n");
    }

    #[test]
    fn a_tail_counts_lines_and_not_pieces() {
        let mut tail = Tail::new(2);
        for number in 0..5 {
            let message = format!("{number}a");
            for piece in pieces(&event(
                "log",
                &json!({"message": message, "continues": true}),
            )) {
                tail.push(piece);
            }
            for piece in pieces(&event("log", &json!({"message": "b"}))) {
                tail.push(piece);
            }
        }
        let mut writer = Writer::new(false, false);
        let text: String = tail.pieces().map(|piece| writer.write(piece)).collect();
        assert_eq!(text, "3ab\n4ab\n");
    }
}
